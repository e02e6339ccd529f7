//! Materialized views: from a query's text to the engine's plan, at CREATE and again at every start.
//!
//! The stored definition is the query as the user wrote it. It is planned again at start over the catalog of then;
//! nothing it names can have changed (no ALTER, no DROP while in use), and a plan whose columns differ is refused
//! rather than run.

use crate::error::{Error, Result};
use crate::function::{self, CALL_DEADLINE_DEFAULT};
use crate::lower::lower;
use crate::names;
use crate::pg_catalog::SessionInfo;
use crate::planner::{Base, Planner, Source};
use crate::statement::Kind;
use crate::types::storable;
use crate::walk::walk;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Volatility, cast};
use millpond_engine::ObjectId;
use millpond_engine::catalog::{Catalog, Column, Object};
use millpond_engine::function::CallLimits;
use millpond_engine::plan::Plan;
use sqlparser::ast::{
    Distinct, Expr as SqlExpr, FunctionArguments, GroupByExpr, JoinOperator, Query, Select, SetExpr, SetOperator,
    Statement, TableFactor, Visitor,
};
use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

/// A view's query, planned.
#[derive(Debug)]
pub(crate) struct PlannedView {
    pub(crate) plan: Plan,
    pub(crate) columns: Vec<Column>,
    pub(crate) modules: Vec<ObjectId>,
}

/// Optimiser rules that produce what has no incremental operator.
const RULES_DROPPED: [&str; 3] = [
    "replace_distinct_aggregate",
    "push_down_limit",
    // Makes semi joins of inner ones.
    "eliminate_join",
];

/// Plans `query` as a view whose first columns are called `given`.
pub(crate) async fn plan_view(
    base: &Base,
    catalog: Arc<Catalog>,
    query: &Query,
    given: &[String],
) -> Result<PlannedView> {
    refuse(query)?;
    let state = view_state(base);
    let calls = CallLimits::of_view(CALL_DEADLINE_DEFAULT);
    let mut planner = Planner::new(&state, Source::catalog(catalog), SessionInfo::default(), calls, true)?;
    let statement = Statement::Query(Box::new(query.clone()));
    let (plan, needs) = planner.plan(statement, &[]).await?;
    refuse_volatile(&plan)?;
    let names = column_names(query, &plan, given)?;
    let plan = with_columns(plan, &names)?;
    function::defer(needs.functions.values(), true);
    let optimised = planner.state.optimize(&plan)?;
    let lowered = lower(&optimised, &planner.state)?;
    function::defer(needs.functions.values(), false);
    let schema = lowered.schema();
    let columns = names
        .into_iter()
        .zip(schema.fields())
        .map(|(name, field)| Column { name, data_type: field.data_type().clone(), nullable: field.is_nullable() })
        .collect();
    Ok(PlannedView { plan: lowered, columns, modules: needs.modules.into_iter().collect() })
}

/// Plans a stored view again.
pub(crate) async fn plan_again(base: &Base, catalog: Arc<Catalog>, view: &Object) -> Result<Plan> {
    let statements = crate::parser::parse(&view.definition)?;
    let Some(Kind::Query(query)) = statements.first().map(|s| s.kind.as_ref()) else {
        return Err(Error::internal("the stored definition is not a query"));
    };
    let names: Vec<String> = view.columns.iter().map(|c| c.name.clone()).collect();
    let planned = plan_view(base, catalog, query, &names).await?;
    if planned.columns != view.columns {
        return Err(Error::internal(format!(
            "the query now has the columns {:?} instead of {:?}",
            planned.columns, view.columns
        )));
    }
    Ok(planned.plan)
}

fn view_state(base: &Base) -> SessionState {
    let state = base.state().clone();
    let rules = state.optimizers().iter().filter(|rule| !RULES_DROPPED.contains(&rule.name())).cloned().collect();
    let mut state = SessionStateBuilder::new_from_existing(state).with_optimizer_rules(rules).build();
    state.config_mut().options_mut().optimizer.enable_physical_uncorrelated_scalar_subquery = false;
    // Names that the optimiser makes up count on in these: they must not depend on what was planned before.
    *state.execution_props_mut() = ExecutionProps::new();
    state
}

/// The view's column names; each once.
fn column_names(query: &Query, plan: &LogicalPlan, given: &[String]) -> Result<Vec<String>> {
    let mut names = names::of_query(query, plan.schema());
    if given.len() > names.len() {
        return Err(Error::syntax("CREATE MATERIALIZED VIEW specifies more column names than columns"));
    }
    names.splice(..given.len(), given.iter().cloned());
    let mut seen = HashSet::new();
    for name in &names {
        if name == "?column?" {
            return Err(Error::new("42611", "a column of a materialized view has no name")
                .with_hint("Give every expression a name: SELECT a + b AS total."));
        }
        if !seen.insert(name.as_str()) {
            return Err(Error::new("42701", format!("column \"{name}\" specified more than once"))
                .with_hint("Name the columns: SELECT count(*) AS n, …"));
        }
    }
    Ok(names)
}

/// Renames the columns and casts those whose type cannot be stored.
fn with_columns(plan: LogicalPlan, names: &[String]) -> Result<LogicalPlan> {
    let mut exprs = Vec::with_capacity(names.len());
    for ((qualifier, field), name) in plan.schema().iter().zip(names) {
        let column = Expr::from((qualifier, field));
        let Some(wanted) = storable(field.data_type()) else {
            return Err(Error::unsupported(
                format!("column \"{name}\" has a type that cannot be stored: {}", field.data_type()),
                "Cast it to a type of SQL, for example text.",
            ));
        };
        let column = if &wanted == field.data_type() { column } else { cast(column, wanted) };
        exprs.push(column.alias(name));
    }
    Ok(LogicalPlanBuilder::from(plan).project(exprs)?.build()?)
}

/// A view must give the same rows whenever it is computed.
fn refuse_volatile(plan: &LogicalPlan) -> Result<()> {
    let mut found = None;
    plan.apply_with_subqueries(|node| {
        for expr in node.expressions() {
            expr.apply(|e| {
                if let Expr::ScalarFunction(call) = e
                    && call.func.signature().volatility != Volatility::Immutable
                {
                    found = Some(call.func.name().to_owned());
                    return Ok(TreeNodeRecursion::Stop);
                }
                Ok(TreeNodeRecursion::Continue)
            })?;
        }
        Ok(if found.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    match found {
        None => Ok(()),
        Some(name) => Err(Error::unsupported(
            format!("function {name} is not supported in materialized views"),
            "Its result changes over time: apply it in the SELECT that reads the view.",
        )),
    }
}

/// Refuses by name, in the user's words, what views cannot maintain yet.
fn refuse(query: &Query) -> Result<()> {
    match walk(query, &mut Refusals) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Refusals;

fn not_yet(what: &str, hint: &str) -> ControlFlow<Error> {
    ControlFlow::Break(Error::unsupported(format!("{what} is not supported in materialized views yet"), hint))
}

const IN_THE_READER: &str = "Apply it in the SELECT that reads the view.";

impl Visitor for Refusals {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Error> {
        if query.order_by.is_some() {
            return not_yet("ORDER BY", IN_THE_READER);
        }
        if query.limit_clause.is_some() || query.fetch.is_some() {
            return not_yet("LIMIT", IN_THE_READER);
        }
        if query.with.as_ref().is_some_and(|with| with.recursive) {
            return not_yet("WITH RECURSIVE", IN_THE_READER);
        }
        if !query.locks.is_empty() {
            return not_yet("FOR UPDATE", "Leave it out.");
        }
        set_operations(&query.body)
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Error> {
        if matches!(select.distinct, Some(Distinct::On(_))) {
            return not_yet("DISTINCT ON", IN_THE_READER);
        }
        match &select.group_by {
            GroupByExpr::Expressions(exprs, modifiers) => {
                let sets =
                    exprs.iter().any(|e| matches!(e, SqlExpr::Rollup(_) | SqlExpr::Cube(_) | SqlExpr::GroupingSets(_)));
                if sets || !modifiers.is_empty() {
                    return not_yet("GROUPING SETS", "Create one view per grouping.");
                }
            }
            GroupByExpr::All(_) => {}
        }
        if select.qualify.is_some() {
            return not_yet("QUALIFY", IN_THE_READER);
        }
        for join in select.from.iter().flat_map(|from| &from.joins) {
            use JoinOperator as J;
            match &join.join_operator {
                J::Join(_) | J::Inner(_) | J::CrossJoin(_) => {}
                J::Left(_) | J::LeftOuter(_) | J::Right(_) | J::RightOuter(_) | J::FullOuter(_) => {}
                J::AsOf { .. } => return not_yet("ASOF JOIN", IN_THE_READER),
                _ => return not_yet("this kind of join", "Inner and outer joins are supported."),
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Error> {
        match factor {
            TableFactor::Derived { lateral: true, .. } => not_yet("LATERAL", "Write it as a join."),
            TableFactor::UNNEST { .. } => not_yet("unnest", "Store one row per element."),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_expr(&mut self, expr: &SqlExpr) -> ControlFlow<Error> {
        match expr {
            SqlExpr::Function(call) if call.over.is_some() => not_yet("a window function (OVER)", IN_THE_READER),
            SqlExpr::Subquery(query) if !is_one_group(&query.body) => not_yet(
                "a scalar subquery with GROUP BY, UNION or VALUES",
                "Select one aggregate: (SELECT max(x) FROM t).",
            ),
            SqlExpr::Function(call) if matches!(call.args, FunctionArguments::Subquery(_)) => {
                not_yet("ARRAY (subquery)", "Write it as a join.")
            }
            SqlExpr::Value(value) if matches!(value.value, sqlparser::ast::Value::Placeholder(_)) => {
                ControlFlow::Break(Error::new("42P02", "a materialized view cannot have parameters"))
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

/// Whether a query has one row if it aggregates.
fn is_one_group(body: &SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty()),
        SetExpr::Query(query) => is_one_group(&query.body),
        _ => false,
    }
}

fn set_operations(body: &SetExpr) -> ControlFlow<Error> {
    match body {
        SetExpr::SetOperation { op, left, right, .. } if *op != SetOperator::Minus => {
            set_operations(left)?;
            set_operations(right)
        }
        SetExpr::SetOperation { op, .. } => not_yet(&op.to_string(), "EXCEPT is supported."),
        _ => ControlFlow::Continue(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_plan_does_not_depend_on_what_was_planned_before() {
        let base = Base::new().unwrap();
        let catalog = crate::pg_catalog::sample_catalog();
        let sql = "SELECT name, sum((id + n) * (id + n)) AS a, max((id + n) * (id + n)) AS b FROM t GROUP BY name";
        let query = crate::parser::parse_query(sql).unwrap();
        let mut plans = Vec::new();
        for _ in 0..2 {
            let planned = plan_view(&base, catalog.clone(), &query, &[]).await.unwrap();
            plans.push(format!("{:?}", planned.plan));
        }
        assert!(plans[0].contains("__common_expr"), "{}", plans[0]);
        assert_eq!(plans[0], plans[1]);
    }
}
