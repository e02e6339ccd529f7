//! Subqueries that stand for a value, in the shapes that the planner can join to the query around them.
//!
//! ```text
//! (SELECT x FROM …)              (SELECT only_value(x) FROM …): only aggregates are decorrelated
//! (SELECT x … WHERE outer.c AND …) CASE WHEN outer.c THEN (SELECT x … WHERE …) END
//! (SELECT x … ORDER BY y LIMIT 1) (SELECT first_value(x ORDER BY y) …)
//! ARRAY(SELECT x … ORDER BY y)   pg_empty_if_null((SELECT array_agg(x ORDER BY y) …))
//! ARRAY(any other query)         pg_empty_if_null((SELECT array_agg(c) FROM (any other query) AS q (c)))
//! EXISTS (…) in a SELECT list    (SELECT count(*) …) > 0: it is planned in WHERE only
//! ```

use super::build::{all_of, call, function, number, unqualified};
use crate::dialect::ONLY_VALUE;
use crate::error::Result;
use crate::parser::parse_query;
use crate::pg_catalog::EMPTY_IF_NULL;
use crate::statement::folded;
use crate::walk::{self, walk, walk_mut};
use sqlparser::ast::helpers::attached_token::AttachedToken;
use sqlparser::ast::{
    BinaryOperator, CaseWhen, Distinct, Expr, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments,
    GroupByExpr, LimitClause, OrderByExpr, OrderByKind, Query, Select, SelectItem, SetExpr, Statement, TableFactor,
    Value, Visitor, VisitorMut,
};
use std::ops::ControlFlow;

/// Knows the names of aggregates.
pub(crate) type IsAggregate<'a> = &'a dyn Fn(&str) -> bool;

/// Rewrites every subquery of the statement that is an expression.
pub(super) fn rewrite(statement: &mut Statement, is_aggregate: IsAggregate<'_>) -> Result<()> {
    match walk_mut(statement, &mut Subqueries { is_aggregate }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Subqueries<'a> {
    is_aggregate: IsAggregate<'a>,
}

impl VisitorMut for Subqueries<'_> {
    type Break = crate::error::Error;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Self::Break> {
        walk_mut(&mut select.projection, &mut Exists { depth: 0, is_aggregate: self.is_aggregate })
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        match expr {
            Expr::Subquery(query) => {
                let first = is_limited(query) && takes_first(query);
                if first || !is_limited(query) {
                    let aggregate = if first { "first_value" } else { ONLY_VALUE };
                    let plain = aggregate_column(query, aggregate, self.is_aggregate);
                    if let Some(condition) = plain.and_then(|()| outer_condition(query)) {
                        let value = std::mem::replace(expr, Expr::Value(Value::Null.into()));
                        *expr = conditional(condition, value);
                    }
                }
                ControlFlow::Continue(())
            }
            Expr::Function(call) => {
                let FunctionArguments::Subquery(query) = &mut call.args else { return ControlFlow::Continue(()) };
                if unqualified(&call.name, "pg_catalog").as_deref() != Some("array") {
                    return ControlFlow::Continue(());
                }
                match array(query, self.is_aggregate) {
                    Ok(array) => {
                        *expr = array;
                        ControlFlow::Continue(())
                    }
                    Err(error) => ControlFlow::Break(error),
                }
            }
            _ => ControlFlow::Continue(()),
        }
    }
}

/// Whether a select makes groups: it aggregates, or says GROUP BY.
pub(crate) fn is_grouped(select: &Select, is_aggregate: IsAggregate<'_>) -> bool {
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    grouped || select.having.is_some() || !aggregates(select, is_aggregate).is_empty()
}

/// Names of the aggregates in a select's own list, without those of its subqueries.
pub(crate) fn aggregates(select: &Select, is_aggregate: IsAggregate<'_>) -> Vec<String> {
    let mut calls = Calls { depth: 0, is_aggregate, aggregates: Vec::new(), windows: false };
    let _ = walk(&select.projection, &mut calls);
    calls.aggregates
}

/// Calls in a select's own list.
struct Calls<'a> {
    depth: usize,
    is_aggregate: IsAggregate<'a>,
    aggregates: Vec<String>,
    windows: bool,
}

impl Visitor for Calls<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expr
            && self.depth == 0
            && let Some(name) = unqualified(&function.name, "pg_catalog")
        {
            self.windows |= function.over.is_some();
            if function.over.is_none() && (self.is_aggregate)(&name) {
                self.aggregates.push(name);
            }
        }
        ControlFlow::Continue(())
    }
}

pub(super) fn is_limited(query: &Query) -> bool {
    query.limit_clause.is_some() || query.fetch.is_some()
}

/// `LIMIT 1` and no OFFSET.
fn takes_first(query: &Query) -> bool {
    limit_alone(query).is_some_and(|limit| limit == "1")
}

/// The number behind LIMIT, if nothing else limits the query.
fn limit_alone(query: &Query) -> Option<String> {
    match (&query.limit_clause, &query.fetch) {
        (Some(LimitClause::LimitOffset { limit: Some(Expr::Value(limit)), offset: None, limit_by }), None) => {
            limit_by.is_empty().then(|| limit.value.to_string())
        }
        _ => None,
    }
}

/// A select over rows as they come: one column, no groups, no windows, nothing removed.
pub(super) fn is_plain(select: &Select, is_aggregate: IsAggregate<'_>) -> bool {
    let mut calls = Calls { depth: 0, is_aggregate, aggregates: Vec::new(), windows: false };
    let _ = walk(&select.projection, &mut calls);
    !select.from.is_empty()
        && select.distinct.is_none()
        && select.projection.len() == 1
        && !calls.windows
        && !is_grouped(select, is_aggregate)
}

/// Makes the one column of a plain query an aggregate over its rows: ORDER BY moves into the call, the limit goes.
/// `None`, and no change, where that would mean something else.
fn aggregate_column(query: &mut Query, aggregate: &str, is_aggregate: IsAggregate<'_>) -> Option<()> {
    let order = match query.order_by.as_ref().map(|order| &order.kind) {
        None => Vec::new(),
        Some(OrderByKind::Expressions(order)) => order.clone(),
        Some(OrderByKind::All(_)) => return None,
    };
    let SetExpr::Select(select) = &mut *query.body else { return None };
    if !is_plain(select, is_aggregate) {
        return None;
    }
    let item = select.projection.first()?;
    let expr = column_of(item)?.clone();
    let by = |mut order: OrderByExpr| {
        if is_column(&order.expr, Some(item)) {
            order.expr = expr.clone();
        }
        order
    };
    let order: Vec<OrderByExpr> = order.into_iter().map(by).collect();
    let mut function = function(aggregate, vec![expr]);
    if let FunctionArguments::List(list) = &mut function.args
        && !order.is_empty()
    {
        list.clauses.push(FunctionArgumentClause::OrderBy(order));
    }
    select.projection = vec![SelectItem::UnnamedExpr(Expr::Function(function))];
    (query.order_by, query.limit_clause, query.fetch) = (None, None, None);
    Some(())
}

/// Takes what a query's WHERE asks of the query around it only out of it.
fn outer_condition(query: &mut Query) -> Option<Expr> {
    let SetExpr::Select(select) = &mut *query.body else { return None };
    let mut own = Vec::new();
    for from in &select.from {
        for factor in std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)) {
            own.push(match factor {
                TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
                    folded(&alias.name)
                }
                TableFactor::Table { name, alias: None, .. } => folded(name.0.last()?.as_ident()?),
                _ => return None,
            });
        }
    }
    let mut all = Vec::new();
    conjuncts(select.selection.take()?, &mut all);
    let (mut outer, mut inner): (Vec<Expr>, Vec<Expr>) = all.into_iter().partition(|expr| asks_others_only(expr, &own));
    if !inner.iter().any(|expr| asks_others(expr, &own)) {
        // Without it the query would be run whether it is true or not.
        inner.append(&mut outer);
    }
    let condition = |exprs: Vec<Expr>| (!exprs.is_empty()).then(|| all_of(exprs));
    select.selection = condition(inner);
    condition(outer)
}

fn conjuncts(expr: Expr, into: &mut Vec<Expr>) {
    match expr {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            conjuncts(*left, into);
            conjuncts(*right, into);
        }
        other => into.push(other),
    }
}

/// Whether all columns are of other relations than `own`, and said to be.
fn asks_others_only(expr: &Expr, own: &[String]) -> bool {
    let mut asks = false;
    let flow = walk::expressions(expr, |e| match e {
        Expr::CompoundIdentifier(parts) if parts.len() > 1 && !own.contains(&folded(&parts[parts.len() - 2])) => {
            asks = true;
            ControlFlow::Continue(())
        }
        Expr::CompoundIdentifier(_) | Expr::Identifier(_) | Expr::CompoundFieldAccess { .. } => ControlFlow::Break(()),
        Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    asks && flow.is_continue()
}

/// Whether there is a column that is said to be of another relation than `own`.
fn asks_others(expr: &Expr, own: &[String]) -> bool {
    let of_another = |e: &Expr| match e {
        Expr::CompoundIdentifier(parts) => parts.len() > 1 && !own.contains(&folded(&parts[parts.len() - 2])),
        _ => false,
    };
    walk::expressions(expr, |e| if of_another(e) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        .is_break()
}

fn conditional(condition: Expr, value: Expr) -> Expr {
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen { condition, result: value }],
        else_result: None,
    }
}

fn column_of(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    }
}

/// Whether ORDER BY means the query's one column: by its position, its alias, or the same words.
fn is_column(by: &Expr, item: Option<&SelectItem>) -> bool {
    match (by, item) {
        (Expr::Value(value), _) if value.value.to_string() == "1" => true,
        (Expr::Identifier(name), Some(SelectItem::ExprWithAlias { alias, .. })) => folded(name) == folded(alias),
        (by, item) => item.and_then(column_of) == Some(by),
    }
}

/// `ARRAY(query)`.
fn array(query: &mut Query, is_aggregate: IsAggregate<'_>) -> Result<Expr> {
    let mut query = query.clone();
    if is_limited(&query) || aggregate_column(&mut query, "array_agg", is_aggregate).is_none() {
        query = *collected(query)?;
    }
    Ok(call(EMPTY_IF_NULL, vec![Expr::Subquery(Box::new(query))]))
}

/// `SELECT array_agg(c ORDER BY …) FROM (query) AS q (c, …)`; what ORDER BY asks for becomes further columns.
fn collected(mut query: Query) -> Result<Box<Query>> {
    let (mut order, mut columns) = (Vec::new(), vec!["c".to_owned()]);
    if let Some(OrderByKind::Expressions(by)) = query.order_by.as_ref().map(|order| &order.kind) {
        let mut select = match &mut *query.body {
            SetExpr::Select(select) => Some(select),
            _ => None,
        };
        for by in by {
            let item = select.as_ref().and_then(|select| select.projection.first());
            let is_column = is_column(&by.expr, item);
            let name = match (&mut select, is_column) {
                (_, true) => "c".to_owned(),
                (Some(select), false) if select.distinct.is_none() => {
                    select.projection.push(SelectItem::UnnamedExpr(by.expr.clone()));
                    columns.push(format!("o{}", columns.len()));
                    columns[columns.len() - 1].clone()
                }
                // A name of the one column; anything else the planner refuses.
                _ => "c".to_owned(),
            };
            order.push(format!("q.{name}{}", by.options));
        }
    }
    if !is_limited(&query) {
        query.order_by = None;
    }
    let by = if order.is_empty() { String::new() } else { format!(" ORDER BY {}", order.join(", ")) };
    from_query(&format!("SELECT array_agg(q.c{by}) FROM (SELECT 1) AS q ({})", columns.join(", ")), query)
}

/// `text`, a query over one derived table, with `query` as that table.
fn from_query(text: &str, query: Query) -> Result<Box<Query>> {
    let mut outer = parse_query(text)?;
    let select = crate::dml::select_of(&mut outer)?;
    if let Some(TableFactor::Derived { subquery, .. }) = select.from.first_mut().map(|from| &mut from.relation) {
        **subquery = query;
    }
    Ok(outer)
}

/// Visits the expressions of a SELECT list for EXISTS.
struct Exists<'a> {
    /// Subqueries around the expression visited; their own lists come later.
    depth: usize,
    is_aggregate: IsAggregate<'a>,
}

impl VisitorMut for Exists<'_> {
    type Break = crate::error::Error;

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<Self::Break> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Self::Break> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Self::Break> {
        if self.depth == 0
            && let Expr::Exists { subquery, negated } = expr
        {
            let op = if *negated { BinaryOperator::Eq } else { BinaryOperator::Gt };
            match counted(subquery, self.is_aggregate) {
                Ok(count) => {
                    let left = Box::new(Expr::Subquery(count));
                    *expr = Expr::Nested(Box::new(Expr::BinaryOp { left, op, right: Box::new(number(0)) }));
                }
                Err(error) => return ControlFlow::Break(error),
            }
        }
        ControlFlow::Continue(())
    }
}

/// The number of rows that a query gives, or, where that is cheaper, another number that is 0 when it gives none.
fn counted(query: &Query, is_aggregate: IsAggregate<'_>) -> Result<Box<Query>> {
    let mut query = query.clone();
    query.order_by = None;
    if limit_alone(&query).and_then(|limit| limit.parse::<u64>().ok()).is_some_and(|limit| limit > 0) {
        query.limit_clause = None;
    }
    if let SetExpr::Select(select) = &mut *query.body
        && !matches!(select.distinct, Some(Distinct::On(_)))
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && !select.from.is_empty()
        && !is_grouped(select, is_aggregate)
    {
        let mut count = function("count", Vec::new());
        if let FunctionArguments::List(list) = &mut count.args {
            list.args.push(FunctionArg::Unnamed(FunctionArgExpr::Wildcard));
        }
        (select.distinct, select.projection) = (None, vec![SelectItem::UnnamedExpr(Expr::Function(count))]);
        return Ok(Box::new(query));
    }
    from_query("SELECT count(*) FROM (SELECT 1) AS q", query)
}
