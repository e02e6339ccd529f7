//! PostgreSQL's meaning where DataFusion's differs: what overflows, how a cast rounds, what a literal's type is.
//!
//! Five places, by when the types are known:
//! - [`literal`] and [`spelling`]: on the syntax tree, before planning;
//! - [`operator`]: while an operator is planned, where Postgres' *result type* is another;
//! - [`agree`]: an analyzer rule before type coercion, where types must agree at all;
//! - [`meaning`]: an analyzer rule after type coercion, where the type is the same and the *value* is another. It runs
//!   before constants are folded, so `1 / 0` and `x / y` fail alike, in queries and in views;
//! - [`guard`]: on the optimised plan, where AND and OR decide what is computed at all.
//!
//! Whatever is not here means what DataFusion makes of it; `docs/sql.md` lists the differences that are left.

mod age;
mod agree;
mod arithmetic;
mod calendar;
mod cast;
mod checked;
mod collation;
mod date_bin;
mod date_part;
mod date_shift;
mod date_trunc;
mod exact_total;
mod float_extreme;
mod float_function;
mod format;
mod guard;
mod interval_scale;
mod literal;
mod meaning;
mod now;
mod only_value;
mod operator;
mod rounding;
mod row_value;
mod rowwise;
mod same;
mod sort_key;
mod spelling;
mod sum;
mod template;
mod template_read;
mod timestamp_scale;
mod zone;

pub(crate) use agree::not_boolean;
pub(crate) use cast::to_type;
pub(crate) use collation::is_collation;
pub(crate) use guard::{GuardedPlanner, guarded};
pub(crate) use literal::{literal, narrow, narrow_item};
pub(crate) use only_value::ONLY_VALUE;
pub(crate) use spelling::{spell, union_of};

use crate::error::Result;
use datafusion::execution::{FunctionRegistry, SessionState};
use datafusion::logical_expr::{AggregateUDF, ScalarUDF};
use datafusion::optimizer::{Analyzer, AnalyzerRule};
use std::sync::Arc;

/// The planner's rules about types and meaning, in order.
pub(crate) fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let mut rules = Analyzer::new().rules;
    rules.insert(0, Arc::new(agree::Agreement));
    rules.push(Arc::new(meaning::PostgresMeaning));
    rules
}

/// Gives a planner state the functions and operators of this dialect.
pub(crate) fn install(state: &mut SessionState) -> Result<()> {
    // Asked before DataFusion's own planners, which take operators as they are.
    state.register_expr_planner(Arc::new(operator::Operators))?;
    // The functions replaced go first: under an alias they would survive, and a state copied from this one could
    // register them under their own name again.
    let mut functions = functions();
    functions.extend(checked::functions(state)?);
    for function in &functions {
        state.deregister_udf(function.name())?;
        for alias in function.aliases() {
            state.deregister_udf(alias)?;
        }
    }
    state.deregister_udaf("sum")?;
    for function in functions {
        state.register_udf(Arc::new(function))?;
    }
    state.register_udaf(Arc::new(AggregateUDF::from(only_value::OnlyValue::new())))?;
    state.register_udaf(Arc::new(AggregateUDF::from(sum::Sum::new())))?;
    Ok(())
}

fn functions() -> Vec<ScalarUDF> {
    let mut functions: Vec<ScalarUDF> = vec![
        date_bin::DateBin::new().into(),
        date_part::DatePart::new(false).into(),
        date_part::DatePart::new(true).into(),
        date_trunc::DateTrunc::new().into(),
        now::Now::new(false).into(),
        now::Now::new(true).into(),
        timestamp_scale::TimestampScale::new().into(),
        zone::Timezone::new().into(),
    ];
    functions.extend(format::KINDS.map(|kind| format::Format::new(kind).into()));
    functions.extend(rounding::KINDS.map(|kind| rounding::Rounding::new(kind).into()));
    functions.extend(float_function::functions().map(ScalarUDF::from));
    functions
}
