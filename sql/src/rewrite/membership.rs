//! IN, ANY, ALL and EXISTS over a query, where the planner's joins would not mean the same.
//!
//! ```text
//! x = ANY (query), x <> ALL (query)   x IN (query), x NOT IN (query)
//! x IN (SELECT count(*) …)            x = (SELECT count(*) …): there is a row, of no rows too
//! EXISTS (SELECT count(*) …)          true
//! x IN (query), as a value            CASE WHEN there is an x THEN true
//!                                          WHEN there is a NULL, or x is NULL and there is a row THEN NULL
//!                                          ELSE false END
//! ```
//! The planner makes a join of IN, which tells no NULL from false. That is right where a row is kept if the condition is
//! true: in WHERE and HAVING, below AND and OR, and of NOT IN below AND. Everywhere else it is a value.

use super::subquery::{IsAggregate, aggregates, is_limited};
use crate::error::{Error, Result};
use crate::parser::parse_query;
use crate::walk::walk_mut;
use sqlparser::ast::{
    BinaryOperator, Expr, GroupByExpr, LimitClause, Query, Select, SelectItem, SetExpr, Statement, TableFactor,
    UnaryOperator, Value, VisitorMut,
};
use std::ops::ControlFlow;

const VALUE: &str = "value of IN";
const ROWS: &str = "rows of IN";
const AS_VALUE: &str = "SELECT CASE \
    WHEN (SELECT count(*) FROM (SELECT 1) AS \"rows of IN\" (c) WHERE \"rows of IN\".c = \"value of IN\") > 0 THEN true \
    WHEN (SELECT count(*) FROM (SELECT 1) AS \"rows of IN\" (c) WHERE \"rows of IN\".c IS NULL) > 0 THEN NULL \
    WHEN \"value of IN\" IS NULL AND (SELECT count(*) FROM (SELECT 1) AS \"rows of IN\" (c)) > 0 THEN NULL \
    ELSE false END";

/// Rewrites every such test of the statement.
///
/// # Errors
/// 0A000 for EXISTS of a query with OFFSET.
pub(super) fn rewrite(statement: &mut Statement, is_aggregate: IsAggregate<'_>) -> Result<()> {
    let spelled = walk_mut(statement, &mut Tests { is_aggregate });
    let done = if spelled.is_continue() { walk_mut(statement, &mut Values) } else { spelled };
    match done {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// One spelling for each test.
struct Tests<'a> {
    is_aggregate: IsAggregate<'a>,
}

impl VisitorMut for Tests<'_> {
    type Break = Error;

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        let taken = std::mem::replace(expr, Expr::Value(Value::Null.into()));
        match self.spelled(taken) {
            Ok(spelled) => *expr = spelled,
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    }
}

impl Tests<'_> {
    fn spelled(&self, expr: Expr) -> Result<Expr> {
        let (value, subquery, negated) = match expr {
            Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, is_some } => match *right {
                Expr::Subquery(query) => (left, query, false),
                right => {
                    return Ok(Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right: Box::new(right), is_some });
                }
            },
            Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right } => match *right {
                Expr::Subquery(query) => (left, query, true),
                right => return Ok(Expr::AllOp { left, compare_op: BinaryOperator::NotEq, right: Box::new(right) }),
            },
            Expr::InSubquery { expr, subquery, negated } => (expr, subquery, negated),
            Expr::Exists { subquery, negated } if self.has_one_row(&subquery) => {
                return Ok(Expr::Value(Value::Boolean(!negated).into()));
            }
            Expr::Exists { subquery, .. } if skips_rows(&subquery) => {
                return Err(Error::unsupported(
                    "OFFSET in EXISTS is not supported",
                    "Compare a count: (SELECT count(*) FROM ...) > 1.",
                ));
            }
            other => return Ok(other),
        };
        if !self.has_one_row(&subquery) {
            return Ok(Expr::InSubquery { expr: value, subquery, negated });
        }
        let op = if negated { BinaryOperator::NotEq } else { BinaryOperator::Eq };
        Ok(Expr::Nested(Box::new(Expr::BinaryOp { left: value, op, right: Box::new(Expr::Subquery(subquery)) })))
    }

    /// Whether the query aggregates without groups, and nothing may take its row away.
    fn has_one_row(&self, query: &Query) -> bool {
        let SetExpr::Select(select) = query.body.as_ref() else { return false };
        let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
        !grouped && select.having.is_none() && !is_limited(query) && !aggregates(select, self.is_aggregate).is_empty()
    }
}

fn skips_rows(query: &Query) -> bool {
    match &query.limit_clause {
        Some(LimitClause::LimitOffset { limit, offset, .. }) => {
            let is_zero = |limit: &Expr| matches!(limit, Expr::Value(value) if value.value.to_string() == "0");
            offset.is_some() || limit.as_ref().is_some_and(is_zero)
        }
        Some(LimitClause::OffsetCommaLimit { .. }) => true,
        None => false,
    }
}

/// IN where it is a value.
struct Values;

impl VisitorMut for Values {
    type Break = Error;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        match values_of(select) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

fn values_of(select: &mut Select) -> Result<()> {
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
            all_inside(expr)?;
        }
    }
    for condition in select.selection.iter_mut().chain(&mut select.having) {
        in_condition(condition, true)?;
    }
    Ok(())
}

/// `all`: the row is kept only if this is true, whatever else is.
fn in_condition(expr: &mut Expr, all: bool) -> Result<()> {
    match expr {
        Expr::Nested(inner) => in_condition(inner, all),
        Expr::BinaryOp { left, op: op @ (BinaryOperator::And | BinaryOperator::Or), right } => {
            let all = all && *op == BinaryOperator::And;
            in_condition(left, all)?;
            in_condition(right, all)
        }
        Expr::InSubquery { expr: value, negated, .. } if all || !*negated => all_inside(value),
        Expr::UnaryOp { op: UnaryOperator::Not, expr: inner } if all && is_plain_in(inner) => Ok(()),
        other => all_inside(other),
    }
}

fn is_plain_in(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(inner) => is_plain_in(inner),
        Expr::InSubquery { negated, .. } => !negated,
        _ => false,
    }
}

/// Makes values of all IN of an expression; those inside its subqueries are theirs.
fn all_inside(expr: &mut Expr) -> Result<()> {
    match walk_mut(expr, &mut Inside { depth: 0 }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Inside {
    depth: usize,
}

impl VisitorMut for Inside {
    type Break = Error;

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<Error> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Error> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        if self.depth == 0
            && let Expr::InSubquery { expr: value, subquery, negated } = expr
        {
            match as_value(value, subquery) {
                Ok(found) if *negated => *expr = Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(found) },
                Ok(found) => *expr = found,
                Err(error) => return ControlFlow::Break(error),
            }
        }
        ControlFlow::Continue(())
    }
}

fn as_value(value: &Expr, rows: &Query) -> Result<Expr> {
    let mut template = parse_query(AS_VALUE)?;
    let select = crate::dml::select_of(&mut template)?;
    let Some(SelectItem::UnnamedExpr(expr)) = select.projection.first_mut() else {
        return Err(Error::internal("not a CASE"));
    };
    let _ = walk_mut(expr, &mut Filled { value, rows });
    Ok(Expr::Nested(Box::new(std::mem::replace(expr, Expr::Value(Value::Null.into())))))
}

/// Puts the operands into [`AS_VALUE`]. After the visit of a place, so that what has been put there is not visited.
struct Filled<'a> {
    value: &'a Expr,
    rows: &'a Query,
}

impl VisitorMut for Filled<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if matches!(expr, Expr::Identifier(name) if name.value == VALUE) {
            *expr = Expr::Nested(Box::new(self.value.clone()));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Derived { subquery, alias: Some(alias), .. } = factor
            && alias.name.value == ROWS
        {
            **subquery = self.rows.clone();
        }
        ControlFlow::Continue(())
    }
}
