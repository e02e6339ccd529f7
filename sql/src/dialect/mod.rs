//! PostgreSQL's meaning where DataFusion's differs: what overflows, how a cast rounds, what a literal's type is.
//!
//! Three places, by when the types are known:
//! - [`literal`] and [`spelling`]: on the syntax tree, before planning;
//! - [`operator`]: while an operator is planned, where Postgres' *result type* is another;
//! - [`meaning`]: an analyzer rule after type coercion, where the type is the same and the *value* is another. It runs
//!   before constants are folded, so `1 / 0` and `x / y` fail alike, in queries and in views.
//!
//! Whatever is not here means what DataFusion makes of it; `docs/sql.md` lists the differences that are left.

mod age;
mod arithmetic;
mod cast;
mod date_bin;
mod format;
mod literal;
mod meaning;
mod only_value;
mod operator;
mod round;
mod spelling;
mod sum;
mod template;
mod template_read;
mod zone;

pub(crate) use cast::to_type;
pub(crate) use literal::{literal, narrow, narrow_item};
pub(crate) use only_value::ONLY_VALUE;
pub(crate) use spelling::{spell, union_of};

use crate::error::Result;
use datafusion::execution::{FunctionRegistry, SessionState};
use datafusion::logical_expr::{AggregateUDF, ScalarUDF};
use std::sync::Arc;

/// Gives a planner state the functions and rules of this dialect.
pub(crate) fn install(state: &mut SessionState) -> Result<()> {
    // Asked before DataFusion's own planners, which take operators as they are.
    state.register_expr_planner(Arc::new(operator::Operators))?;
    // The functions replaced go first: under an alias they would survive, and a state copied from this one could
    // register them under their own name again.
    for name in ["date_bin", "to_char", "to_date", "to_timestamp"] {
        state.deregister_udf(name)?;
    }
    state.deregister_udaf("sum")?;
    state.register_udf(Arc::new(ScalarUDF::from(date_bin::DateBin::new())))?;
    for kind in format::KINDS {
        state.register_udf(Arc::new(ScalarUDF::from(format::Format::new(kind))))?;
    }
    state.register_udf(Arc::new(ScalarUDF::from(zone::Timezone::new())))?;
    state.register_udaf(Arc::new(AggregateUDF::from(only_value::OnlyValue::new())))?;
    state.register_udaf(Arc::new(AggregateUDF::from(sum::Sum::new())))?;
    state.add_analyzer_rule(Arc::new(meaning::PostgresMeaning));
    Ok(())
}
