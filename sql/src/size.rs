//! Bounds on what a statement grows to while it is planned and optimised.
//!
//! A plan is a graph: a WITH query that is named twice is in memory once, and the planner, when it looks for references
//! to the query outside, and the optimiser go through it twice. And the optimiser moves filters below what computes their
//! columns, by putting the computations in the columns' place. So a short text can say
//!
//! ```text
//! WITH a1 AS (SELECT l.x FROM a0 AS l, a0 AS r), a2 AS (SELECT l.x FROM a1 AS l, a1 AS r), …    2ⁿ scans
//! WITH a1 AS (SELECT x + x AS x FROM a0), a2 AS (SELECT x + x AS x FROM a1), … WHERE x > 0      2ⁿ additions
//! ```
//!
//! Both are counted here without being made: the first on the syntax tree, before anything is planned, and again, in
//! operators, on the plan; the second on the plan. What is long because its text is long is no fault: a list of 100 000
//! values counts once.

use crate::error::{Error, Result};
use crate::rewrite::WINDOWS_OF_A_ROW_MAX;
use crate::rewrite::build::argument;
use crate::statement::folded;
use crate::walk::walk;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan};
use sqlparser::ast::{Expr as SqlExpr, ObjectNamePart, Query, Statement, TableFactor, Visitor};
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Relations that a statement reads, those of a WITH query each time it is named.
const RELATIONS_MAX: u64 = 10_000;
/// Nodes of the plan as a tree.
const NODES_MAX: u64 = 100_000;
/// Parts of a condition in which every column is written out.
const PARTS_MAX: u64 = 100_000;

/// # Errors
/// 54001 for more relations than can be planned.
pub(crate) fn check_relations(statement: &Statement) -> Result<()> {
    let mut relations = Relations { open: vec![Open::default()] };
    match walk(statement, &mut relations) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// A query whose parts are being visited.
#[derive(Default)]
struct Open {
    relations: u64,
    /// Its WITH queries, by address.
    with: HashMap<*const Query, String>,
    /// Relations of those already counted.
    counted: HashMap<String, u64>,
}

struct Relations {
    open: Vec<Open>,
}

impl Relations {
    fn add(&mut self, relations: u64) -> ControlFlow<Error> {
        let Some(query) = self.open.last_mut() else { return ControlFlow::Continue(()) };
        query.relations = query.relations.saturating_add(relations);
        match query.relations > RELATIONS_MAX {
            true => ControlFlow::Break(too_large("relations", RELATIONS_MAX)),
            false => ControlFlow::Continue(()),
        }
    }
}

impl Visitor for Relations {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Error> {
        let tables = query.with.iter().flat_map(|with| &with.cte_tables);
        let with = tables.map(|cte| (std::ptr::from_ref(cte.query.as_ref()), folded(&cte.alias.name))).collect();
        self.open.push(Open { with, ..Open::default() });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<Error> {
        let relations = self.open.pop().map_or(0, |query| query.relations);
        match self.open.last_mut() {
            Some(around) if around.with.contains_key(&std::ptr::from_ref(query)) => {
                let name = around.with.remove(&std::ptr::from_ref(query)).unwrap_or_default();
                around.counted.insert(name, relations);
                ControlFlow::Continue(())
            }
            _ => self.add(relations),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Error> {
        let TableFactor::Table { name, args, .. } = factor else { return ControlFlow::Continue(()) };
        let [ObjectNamePart::Identifier(name)] = name.0.as_slice() else { return self.add(1) };
        // HOP reads the relation that is its first argument once for each window of a row.
        let hop = args.as_ref().filter(|_| folded(name) == "hop").and_then(|args| args.args.first());
        let (times, name) = match hop.and_then(argument) {
            Some(SqlExpr::Identifier(relation)) => (WINDOWS_OF_A_ROW_MAX as u64, relation),
            Some(_) => return self.add(WINDOWS_OF_A_ROW_MAX as u64),
            None => (1, name),
        };
        let name = folded(name);
        let known = self.open.iter().rev().find_map(|query| query.counted.get(&name)).copied();
        self.add(known.unwrap_or(1).max(1).saturating_mul(times))
    }
}

/// Counts the nodes of `plan` as a tree.
///
/// # Errors
/// 54001 for more than can be planned.
pub(crate) fn check_size(plan: &LogicalPlan) -> Result<u64> {
    Ok(Sizes::default().of(plan)?.nodes)
}

struct Size {
    nodes: u64,
    /// Parts of each output column, written in columns of tables.
    columns: Vec<u64>,
}

/// By address: nodes that stand in several places are looked at once.
#[derive(Default)]
struct Sizes(HashMap<*const LogicalPlan, Arc<Size>>);

impl Sizes {
    fn of(&mut self, plan: &LogicalPlan) -> Result<Arc<Size>> {
        if let Some(known) = self.0.get(&std::ptr::from_ref(plan)) {
            return Ok(known.clone());
        }
        let inputs = plan.inputs();
        let sizes = inputs.iter().map(|input| self.of(input)).collect::<Result<Vec<_>>>()?;
        let mut nodes = sizes.iter().fold(1u64, |sum, size| sum.saturating_add(size.nodes));
        for subquery in subqueries(plan)? {
            nodes = nodes.saturating_add(self.of(&subquery)?.nodes);
        }
        if nodes > NODES_MAX {
            return Err(too_large("operators", NODES_MAX));
        }
        let scope = Scope { inputs: &inputs, sizes: &sizes };
        check_conditions(plan, &scope)?;
        let size = Arc::new(Size { nodes, columns: columns(plan, &scope) });
        self.0.insert(plan, size.clone());
        Ok(size)
    }
}

fn too_large(what: &str, limit: u64) -> Error {
    Error::new("54001", format!("statement is too large to plan: more than {limit} {what}"))
        .with_hint("A WITH query counts each time it is named; store its rows in a table or a materialized view.")
}

/// Plans inside the expressions of a node.
fn subqueries(plan: &LogicalPlan) -> Result<Vec<Arc<LogicalPlan>>> {
    let mut found = Vec::new();
    if matches!(plan, LogicalPlan::Values(_)) {
        return Ok(found);
    }
    plan.apply_expressions(|expr| {
        expr.apply(|expr| {
            match expr {
                Expr::ScalarSubquery(subquery) => found.push(subquery.subquery.clone()),
                Expr::InSubquery(test) => found.push(test.subquery.subquery.clone()),
                Expr::Exists(test) => found.push(test.subquery.subquery.clone()),
                _ => {}
            }
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(found)
}

/// What the expressions of a node are written in.
struct Scope<'a> {
    inputs: &'a [&'a LogicalPlan],
    sizes: &'a [Arc<Size>],
}

impl Scope<'_> {
    /// Parts of an expression as it stands, and with its columns written out.
    fn parts(&self, expr: &Expr) -> (u64, u64) {
        let (mut bare, mut whole) = (0u64, 0u64);
        let _ = expr.apply(|expr| {
            bare += 1;
            whole = whole.saturating_add(match expr {
                Expr::Column(column) => self.column(column).unwrap_or(1),
                _ => 1,
            });
            Ok(TreeNodeRecursion::Continue)
        });
        (bare, whole)
    }

    fn column(&self, column: &datafusion::common::Column) -> Option<u64> {
        self.inputs
            .iter()
            .zip(self.sizes)
            .find_map(|(input, size)| size.columns.get(input.schema().maybe_index_of_column(column)?).copied())
    }
}

/// What filters through other nodes.
fn check_conditions(plan: &LogicalPlan, scope: &Scope<'_>) -> Result<()> {
    let conditions: Vec<&Expr> = match plan {
        LogicalPlan::Filter(filter) => vec![&filter.predicate],
        LogicalPlan::Join(join) => {
            join.on.iter().flat_map(|(left, right)| [left, right]).chain(join.filter.as_ref()).collect()
        }
        _ => return Ok(()),
    };
    for condition in conditions {
        let (bare, whole) = scope.parts(condition);
        if whole > PARTS_MAX && whole > 2 * bare {
            return Err(too_large("parts in a condition", PARTS_MAX));
        }
    }
    Ok(())
}

fn columns(plan: &LogicalPlan, scope: &Scope<'_>) -> Vec<u64> {
    let width = plan.schema().fields().len();
    let whole = |exprs: &[Expr]| exprs.iter().map(|expr| scope.parts(expr).1).collect::<Vec<_>>();
    let mut found = match plan {
        LogicalPlan::Projection(projection) => whole(&projection.expr),
        LogicalPlan::Aggregate(aggregate) => whole(&aggregate.group_expr),
        LogicalPlan::Union(_) => (0..width)
            .map(|at| scope.sizes.iter().filter_map(|size| size.columns.get(at)).max().copied().unwrap_or(1))
            .collect(),
        _ => scope.sizes.iter().flat_map(|size| size.columns.iter().copied()).collect(),
    };
    found.resize(width, 1);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planner::Base;
    use datafusion::sql::parser::Statement as DfStatement;
    use sqlparser::dialect::PostgreSqlDialect;
    use sqlparser::parser::Parser;

    async fn check(sql: &str) -> Result<u64> {
        let base = Base::new()?;
        let statement = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap().remove(0);
        check_relations(&statement)?;
        check_size(&base.state().statement_to_plan(DfStatement::Statement(Box::new(statement))).await?)
    }

    /// `a0`, then `levels` queries each made of the one before it.
    fn chain(level: &str, levels: usize, last: &str) -> String {
        let queries: Vec<String> =
            (1..=levels).map(|n| format!("a{n} AS ({})", level.replace('@', &format!("a{}", n - 1)))).collect();
        let from = format!("a{levels}");
        format!("WITH a0 AS (SELECT 1 AS x), {} {}", queries.join(", "), last.replace('@', &from))
    }

    #[tokio::test]
    async fn what_grows_is_refused_and_what_is_long_is_not() {
        let doubled = "SELECT l.x FROM @ AS l, @ AS r";
        let added = "SELECT x + x AS x FROM @";
        let all = "SELECT * FROM @";
        for sql in [
            chain(doubled, 10, all),
            chain(added, 30, all),
            chain(added, 12, "SELECT * FROM @ WHERE x > 0"),
            format!("SELECT 1 WHERE 1 IN ({})", vec!["1"; 150_000].join(", ")),
        ] {
            check(&sql).await.unwrap_or_else(|e| panic!("{}: {e}", &sql[..80]));
        }
        for sql in [
            chain(doubled, 30, all),
            chain("SELECT x FROM @ WHERE x IN (SELECT x FROM @)", 30, all),
            chain(added, 30, "SELECT * FROM @ WHERE x > 0"),
            chain(added, 30, "SELECT * FROM @ AS l JOIN a0 AS r ON l.x = r.x"),
        ] {
            assert_eq!(check(&sql).await.unwrap_err().sqlstate, "54001", "{}", &sql[..80]);
        }
    }
}
