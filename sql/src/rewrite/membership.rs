//! IN, ANY, ALL and EXISTS over a query, where the planner's joins would not mean the same.
//!
//! ```text
//! x = ANY (query), x <> ALL (query)   x IN (query), x NOT IN (query)
//! x IN (SELECT count(*) …)            x = (SELECT count(*) …): there is a row, of no rows too
//! EXISTS (SELECT count(*) …)          true
//! EXISTS (SELECT … HAVING c)          (SELECT c …) IS TRUE, without GROUP BY
//! x > ALL (query)                     CASE WHEN there is no row THEN true WHEN NOT (x > the greatest) THEN false
//!                                          WHEN there is a NULL, or x is NULL THEN NULL ELSE true END
//! x > ANY (query)                     NOT (x <= ALL (query))
//! x IN (query), as a value            CASE WHEN there is an x THEN true
//!                                          WHEN there is a NULL, or x is NULL and there is a row THEN NULL
//!                                          ELSE false END
//! ```
//! The planner makes a join of IN, which tells no NULL from false. That is right where a row is kept if the condition is
//! true: in WHERE and HAVING, below AND and OR, and of NOT IN below AND. Elsewhere in them and in SELECT lists it is a value.
//! A NOT IN whose query names columns of the query around it asks about the rows that belong together, which the join does
//! not: it is `NOT EXISTS (… AND (y = x) IS NOT FALSE)`.

use super::build::{all_of, any_of, binary, number, unqualified};
use super::subquery::{IsAggregate, aggregates, is_limited, is_plain};
use super::using::qualifier;
use crate::error::{Error, Result};
use crate::parser::parse_query;
use crate::statement::folded;
use crate::walk::{self, walk, walk_mut};
use sqlparser::ast::{
    BinaryOperator, Expr, GroupByExpr, LimitClause, Query, Select, SelectItem, SetExpr, Statement, TableFactor,
    UnaryOperator, Value, Visit, Visitor, VisitorMut,
};
use std::collections::HashSet;
use std::ops::ControlFlow;

const VALUE: &str = "value of IN";
const ROW: &str = "row of IN";
const ROWS: &str = "rows of IN";
const AS_VALUE: &str = "SELECT CASE \
    WHEN (SELECT count(*) FROM (SELECT 1) AS \"rows of IN\" (\"row of IN\") WHERE \"rows of IN\".\"row of IN\" = \"value of IN\") > 0 THEN true \
    WHEN (SELECT count(*) FROM (SELECT 1) AS \"rows of IN\" (\"row of IN\") WHERE \"rows of IN\".\"row of IN\" IS NULL) > 0 THEN NULL \
    WHEN \"value of IN\" IS NULL AND (SELECT count(*) FROM (SELECT 1) AS \"rows of IN\" (\"row of IN\")) > 0 THEN NULL \
    ELSE false END";

/// `x op ALL (query)`; `TEST` compares with the least, the greatest or both.
const OF_ALL: &str = "SELECT CASE \
    WHEN (SELECT count(*) FROM (SELECT 1) AS \"rows of IN\" (\"row of IN\")) = 0 THEN true \
    WHEN NOT (TEST) THEN false \
    WHEN \"value of IN\" IS NULL OR (SELECT count(*) - count(\"row of IN\") FROM (SELECT 1) AS \"rows of IN\" (\"row of IN\")) > 0 THEN NULL \
    ELSE true END";

/// Nodes that the values of one statement may copy: each copies its operands, which may have values in them.
const COPIED_NODES_MAX: usize = 20_000;

/// Rewrites every such test of the statement.
///
/// # Errors
/// 0A000 for EXISTS of a query with OFFSET, NOT IN that cannot be written out, and IN of an aggregate; 54001 for more than
/// [`COPIED_NODES_MAX`].
pub(super) fn rewrite(statement: &mut Statement, is_aggregate: IsAggregate<'_>) -> Result<()> {
    let spelled = walk_mut(statement, &mut Tests { is_aggregate, nodes: 0 });
    let done =
        if spelled.is_continue() { walk_mut(statement, &mut Values { is_aggregate, nodes: 0 }) } else { spelled };
    match done {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// One spelling for each test.
struct Tests<'a> {
    is_aggregate: IsAggregate<'a>,
    /// Copied so far.
    nodes: usize,
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
    fn spelled(&mut self, expr: Expr) -> Result<Expr> {
        let (value, subquery, negated) = match expr {
            Expr::AnyOp { left, compare_op, right, .. } if is_query(&right) && compare_op != BinaryOperator::Eq => {
                return self.compared(&left, &compare_op, *right, false);
            }
            Expr::AllOp { left, compare_op, right } if is_query(&right) && compare_op != BinaryOperator::NotEq => {
                return self.compared(&left, &compare_op, *right, true);
            }
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
            Expr::Exists { subquery, negated } if filters_its_row(&subquery) => {
                let row = Box::new(Expr::Subquery(condition_of_row(subquery)?));
                return Ok(if negated { Expr::IsNotTrue(row) } else { Expr::IsTrue(row) });
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

    /// `value op ANY (query)` or `ALL`, where it is not IN.
    fn compared(&mut self, value: &Expr, op: &BinaryOperator, query: Expr, all: bool) -> Result<Expr> {
        use BinaryOperator as O;
        let Expr::Subquery(rows) = query else { return Err(Error::internal("ANY and ALL of no query")) };
        if self.has_one_row(&rows) {
            return Ok(Expr::Nested(Box::new(binary(value.clone(), op.clone(), Expr::Subquery(rows)))));
        }
        // What is true of all rows, or false of any.
        let (of_all, extremes): (&str, &[&str]) = match (op, all) {
            (O::Gt, true) | (O::LtEq, false) => (">", &["max"]),
            (O::GtEq, true) | (O::Lt, false) => (">=", &["max"]),
            (O::Lt, true) | (O::GtEq, false) => ("<", &["min"]),
            (O::LtEq, true) | (O::Gt, false) => ("<=", &["min"]),
            (O::Eq, true) | (O::NotEq, false) => ("=", &["min", "max"]),
            _ => {
                return Err(Error::unsupported(
                    format!("{op} with ANY or ALL of a query is not supported"),
                    "There are =, <>, <, <=, > and >=; else write EXISTS (SELECT ...).",
                ));
            }
        };
        self.nodes += 4 * (nodes(value) + nodes(rows.as_ref()));
        if self.nodes > COPIED_NODES_MAX {
            return Err(too_deep());
        }
        let test = |extreme: &&str| {
            let query = "(SELECT 1) AS \"rows of IN\" (\"row of IN\")";
            format!("\"value of IN\" {of_all} (SELECT {extreme}(\"row of IN\") FROM {query})")
        };
        let test = extremes.iter().map(test).collect::<Vec<_>>().join(" AND ");
        let plain = plain_column(&rows, self.is_aggregate);
        let found = filled(&OF_ALL.replace("TEST", &test), Filled { value, rows: &rows, plain })?;
        Ok(if all { found } else { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(found) } })
    }

    /// Whether the query aggregates without groups, and nothing may take its row away.
    fn has_one_row(&self, query: &Query) -> bool {
        let SetExpr::Select(select) = query.body.as_ref() else { return false };
        let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
        !grouped && select.having.is_none() && !is_limited(query) && !aggregates(select, self.is_aggregate).is_empty()
    }
}

fn is_query(expr: &Expr) -> bool {
    matches!(expr, Expr::Subquery(_))
}

fn too_deep() -> Error {
    Error::new("54001", "IN, ANY or ALL (query) is nested too deeply").with_hint("Use a join.")
}

/// Whether the query has HAVING without GROUP BY: one row, or none.
fn filters_its_row(query: &Query) -> bool {
    let SetExpr::Select(select) = query.body.as_ref() else { return false };
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    !grouped && select.having.is_some() && !is_limited(query)
}

fn condition_of_row(mut query: Box<Query>) -> Result<Box<Query>> {
    query.order_by = None;
    let SetExpr::Select(select) = &mut *query.body else { return Err(Error::internal("HAVING without SELECT")) };
    select.distinct = None;
    select.projection = select.having.take().into_iter().map(SelectItem::UnnamedExpr).collect();
    Ok(query)
}

/// The expression that a template selects, its operands put in.
fn filled(template: &str, mut operands: Filled<'_>) -> Result<Expr> {
    let mut template = parse_query(template)?;
    let select = crate::dml::select_of(&mut template)?;
    let Some(SelectItem::UnnamedExpr(expr)) = select.projection.first_mut() else {
        return Err(Error::internal("not a CASE"));
    };
    let _ = walk_mut(expr, &mut operands);
    Ok(Expr::Nested(Box::new(std::mem::replace(expr, Expr::Value(Value::Null.into())))))
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
struct Values<'a> {
    is_aggregate: IsAggregate<'a>,
    /// Copied so far.
    nodes: usize,
}

impl VisitorMut for Values<'_> {
    type Break = Error;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        match self.of(select) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }
}

impl Values<'_> {
    fn of(&mut self, select: &mut Select) -> Result<()> {
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                self.all_inside(expr)?;
            }
        }
        for condition in select.selection.iter_mut().chain(&mut select.having) {
            self.in_condition(condition, true)?;
        }
        Ok(())
    }

    /// `all`: the row is kept only if this is true, whatever else is.
    fn in_condition(&mut self, expr: &mut Expr, all: bool) -> Result<()> {
        match expr {
            Expr::Nested(inner) => self.in_condition(inner, all),
            Expr::BinaryOp { left, op: op @ (BinaryOperator::And | BinaryOperator::Or), right } => {
                let all = all && *op == BinaryOperator::And;
                self.in_condition(left, all)?;
                self.in_condition(right, all)
            }
            Expr::UnaryOp { op: UnaryOperator::Not, expr: inner } if all => match plain_in(inner) {
                Some((value, subquery)) => {
                    *expr = Expr::InSubquery { expr: value, subquery, negated: true };
                    self.in_condition(expr, all)
                }
                None => self.all_inside(expr),
            },
            Expr::InSubquery { expr: value, subquery, negated: true } if all && is_correlated(subquery) => {
                *expr = self.not_exists(value, subquery)?;
                Ok(())
            }
            Expr::InSubquery { expr: value, subquery, negated: true } if all => {
                self.all_inside(value)?;
                if !is_column(value) && !skips_rows(subquery) {
                    *expr = self.told_of_null(expr)?;
                }
                Ok(())
            }
            Expr::InSubquery { expr: value, negated: false, .. } => self.all_inside(value),
            other => self.all_inside(other),
        }
    }

    /// `x NOT IN (query) AND (x IS NOT NULL OR NOT EXISTS (query))`: the planner's join looks for NULLs in columns only, and
    /// other expressions make them of any.
    fn told_of_null(&mut self, not_in: &Expr) -> Result<Expr> {
        let Expr::InSubquery { expr: value, subquery, .. } = not_in else { return Ok(not_in.clone()) };
        self.copies(nodes(value) + nodes(subquery.as_ref()))?;
        let is_there = Expr::IsNotNull(Box::new(Expr::Nested(value.clone())));
        let nothing = Expr::Exists { subquery: subquery.clone(), negated: true };
        Ok(all_of(vec![not_in.clone(), any_of(vec![is_there, nothing])]))
    }

    fn copies(&mut self, nodes: usize) -> Result<()> {
        self.nodes += nodes;
        match self.nodes > COPIED_NODES_MAX {
            true => Err(too_deep()),
            false => Ok(()),
        }
    }

    /// Makes values of all IN of an expression; those inside its subqueries are theirs.
    fn all_inside(&mut self, expr: &mut Expr) -> Result<()> {
        match walk_mut(expr, &mut Inside { depth: 0, aggregates: 0, values: self }) {
            ControlFlow::Break(error) => Err(error),
            ControlFlow::Continue(()) => Ok(()),
        }
    }

    fn as_value(&mut self, value: &Expr, rows: &Query) -> Result<Expr> {
        if self.aggregates(value) {
            return Err(Error::unsupported(
                "IN (query) of an aggregate is not supported here",
                "Compute the aggregate in a subquery in FROM.",
            ));
        }
        self.copies(3 * (nodes(value) + nodes(rows)))?;
        filled(AS_VALUE, Filled { value, rows, plain: None })
    }

    fn is_aggregate_call(&self, expr: &Expr) -> bool {
        match expr {
            Expr::Function(call) => {
                call.over.is_none()
                    && unqualified(&call.name, "pg_catalog").is_some_and(|name| (self.is_aggregate)(&name))
            }
            _ => false,
        }
    }

    fn aggregates(&self, value: &Expr) -> bool {
        let found =
            |e: &Expr| if self.is_aggregate_call(e) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        walk::expressions(value, found).is_break()
    }

    /// `NOT EXISTS (SELECT 1 FROM … WHERE … AND (y = value) IS NOT FALSE)`. Columns of the value must say whose they are: the
    /// query may have others of the same name.
    fn not_exists(&self, value: &Expr, query: &Query) -> Result<Expr> {
        let refused = || {
            Error::unsupported(
                "NOT IN over a query that names columns of the query around it is not supported here",
                "Write NOT EXISTS (SELECT 1 FROM ... WHERE y = x), or name the table: t.x NOT IN (SELECT y FROM ...).",
            )
        };
        let bare = |e: &Expr| match e {
            Expr::Identifier(_) | Expr::Subquery(_) | Expr::Exists { .. } => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        };
        let mut query = query.clone();
        query.order_by = None;
        let limited = is_limited(&query);
        let SetExpr::Select(select) = &mut *query.body else { return Err(refused()) };
        let plain = is_plain(select, self.is_aggregate) && !limited;
        if !plain || walk::expressions(value, bare).is_break() {
            return Err(refused());
        }
        let Some(SelectItem::UnnamedExpr(column) | SelectItem::ExprWithAlias { expr: column, .. }) =
            select.projection.pop()
        else {
            return Err(refused());
        };
        let nested = |expr| Expr::Nested(Box::new(expr));
        let equal = binary(nested(column), BinaryOperator::Eq, nested(value.clone()));
        let may_be = Expr::IsNotFalse(Box::new(nested(equal)));
        select.projection = vec![SelectItem::UnnamedExpr(number(1))];
        select.selection = Some(match select.selection.take() {
            Some(given) => all_of(vec![nested(given), may_be]),
            None => may_be,
        });
        Ok(Expr::Exists { subquery: Box::new(query), negated: true })
    }
}

fn is_column(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(inner) => is_column(inner),
        expr => matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_)),
    }
}

/// `x IN (query)`, in parentheses or not.
fn plain_in(expr: &Expr) -> Option<(Box<Expr>, Box<Query>)> {
    match expr {
        Expr::Nested(inner) => plain_in(inner),
        Expr::InSubquery { expr, subquery, negated: false } => Some((expr.clone(), subquery.clone())),
        _ => None,
    }
}

/// Whether a query names a column of a relation that is not its own. A bare name counts as its own.
fn is_correlated(query: &Query) -> bool {
    let mut own = Names(HashSet::new());
    let _ = walk(query, &mut own);
    let of_another = |e: &Expr| match e {
        Expr::CompoundIdentifier(parts) => parts.len() > 1 && !own.0.contains(&folded(&parts[parts.len() - 2])),
        _ => false,
    };
    walk::expressions(query, |e| if of_another(e) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        .is_break()
}

/// Names that relations have in any FROM of a query.
struct Names(HashSet<String>);

impl Visitor for Names {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        self.0.extend(qualifier(factor).as_ref().map(folded));
        ControlFlow::Continue(())
    }
}

fn nodes(node: &impl Visit) -> usize {
    let mut nodes = 0;
    let _ = walk::expressions(node, |_| {
        nodes += 1;
        ControlFlow::<()>::Continue(())
    });
    nodes
}

struct Inside<'a, 'b> {
    depth: usize,
    /// Aggregates around the expression visited.
    aggregates: usize,
    values: &'a mut Values<'b>,
}

impl VisitorMut for Inside<'_, '_> {
    type Break = Error;

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<Error> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Error> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        self.aggregates += usize::from(self.values.is_aggregate_call(expr));
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        self.aggregates -= usize::from(self.values.is_aggregate_call(expr));
        if self.depth == 0
            && let Expr::InSubquery { expr: value, subquery, negated } = expr
        {
            if self.aggregates > 0 {
                return ControlFlow::Break(Error::unsupported(
                    "IN (query) inside an aggregate is not supported",
                    "Compute it in a subquery in FROM, and aggregate that.",
                ));
            }
            match self.values.as_value(value, subquery) {
                Ok(found) if *negated => *expr = Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(found) },
                Ok(found) => *expr = found,
                Err(error) => return ControlFlow::Break(error),
            }
        }
        ControlFlow::Continue(())
    }
}

/// The one column of a query that neither aggregates nor limits its rows.
fn plain_column(query: &Query, is_aggregate: IsAggregate<'_>) -> Option<Expr> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    match select.projection.first()? {
        SelectItem::UnnamedExpr(column) | SelectItem::ExprWithAlias { expr: column, .. }
            if is_plain(select, is_aggregate) && !is_limited(query) =>
        {
            Some(column.clone())
        }
        _ => None,
    }
}

/// Puts the operands into a template. After the visit of a place, so that what has been put there is not visited.
struct Filled<'a> {
    value: &'a Expr,
    rows: &'a Query,
    /// The column of the rows, which then aggregate it themselves: a query in FROM may not name what is around it.
    plain: Option<Expr>,
}

impl Filled<'_> {
    fn direct(&self, query: &Query) -> Option<Query> {
        let column = self.plain.as_ref()?;
        let SetExpr::Select(template) = query.body.as_ref() else { return None };
        let mut projection = template.projection.clone();
        let _ = walk_mut(&mut projection, &mut Put { name: ROW, expr: column });
        let mut direct = self.rows.clone();
        direct.order_by = None;
        crate::dml::select_of(&mut direct).ok()?.projection = projection;
        Some(direct)
    }
}

impl VisitorMut for Filled<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Subquery(query) = expr
            && let Some(direct) = self.direct(query)
        {
            **query = direct;
        }
        Put { name: VALUE, expr: self.value }.post_visit_expr(expr)
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

/// Puts an expression where a template has a name.
struct Put<'a> {
    name: &'static str,
    expr: &'a Expr,
}

impl VisitorMut for Put<'_> {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if matches!(expr, Expr::Identifier(name) if name.value == self.name) {
            *expr = Expr::Nested(Box::new(self.expr.clone()));
        }
        ControlFlow::Continue(())
    }
}
