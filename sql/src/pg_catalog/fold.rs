//! Folds away what reads a relation that is always empty (triggers, policies, publications, …).
//!
//! Clients ask about such things with the most intricate of their queries: correlated subqueries over several
//! relations, set-returning functions in FROM. Their answer is known: an inner join with no rows has no rows, so
//!
//! ```text
//! (SELECT x FROM empty …)       NULL           EXISTS (SELECT … FROM empty)     false
//! ARRAY(SELECT x FROM empty)    '{}'           x IN (SELECT y FROM empty)       false
//! SELECT x, y FROM empty …      SELECT NULL AS x, NULL AS y WHERE false
//! ```
//!
//! The last only where the statement holds what DataFusion cannot plan; a plain one keeps its column types.

use super::contents::is_always_empty;
use super::functions::EMPTY_IF_NULL;
use crate::rewrite::build::{call, cast};
use crate::rewrite::{aggregates, is_grouped};
use crate::walk::{self, walk, walk_mut};
use datafusion::sql::sqlparser::ast::{
    ArrayElemTypeDef, DataType, Expr, FunctionArguments, Ident, Join, JoinOperator, ObjectName, ObjectNamePart, Query,
    Select, SelectItem, SetExpr, Statement, TableFactor, TableWithJoins, Value, Visitor, VisitorMut,
};
use std::collections::HashSet;
use std::ops::ControlFlow;

/// Array columns that are NULL in every row, so unnesting them gives none.
const NULL_ARRAYS: &[&str] = &[
    "attacl",
    "attfdwoptions",
    "attoptions",
    "datacl",
    "evttags",
    "fdwoptions",
    "ftoptions",
    "nspacl",
    "proacl",
    "proconfig",
    "relacl",
    "reloptions",
    "srvoptions",
    "umoptions",
];

/// Folds every query of the statement. `is_aggregate` knows functions by their names.
pub(super) fn fold_empty(statement: &mut Statement, is_aggregate: &dyn Fn(&str) -> bool) {
    let mut folder = Folder { common: common_tables(statement), is_aggregate };
    let _ = walk_mut(statement, &mut folder);
}

/// Names of the WITH queries anywhere in a statement, in lowercase.
pub(super) fn common_tables(statement: &Statement) -> HashSet<String> {
    struct Names(HashSet<String>);
    impl Visitor for Names {
        type Break = ();
        fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
            let tables = query.with.iter().flat_map(|with| &with.cte_tables);
            self.0.extend(tables.map(|table| table.alias.name.value.to_lowercase()));
            ControlFlow::Continue(())
        }
    }
    let mut names = Names(HashSet::new());
    let _ = walk(statement, &mut names);
    names.0
}

struct Folder<'a> {
    common: HashSet<String>,
    is_aggregate: &'a dyn Fn(&str) -> bool,
}

impl VisitorMut for Folder<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if self.fold_body(&mut query.body) {
            query.order_by = None;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Some(folded) = self.folded(expr) {
            *expr = folded;
        }
        ControlFlow::Continue(())
    }
}

impl Folder<'_> {
    /// Folds the selects of a query's body; true when the body was one select and is folded.
    fn fold_body(&self, body: &mut SetExpr) -> bool {
        match body {
            SetExpr::SetOperation { left, right, .. } => {
                self.fold_body(left);
                self.fold_body(right);
                false
            }
            SetExpr::Select(select)
                if self.is_empty(select) && !is_grouped(select, self.is_aggregate) && is_hard(select) =>
            {
                fold_select(select)
            }
            _ => false,
        }
    }

    fn folded(&self, expr: &Expr) -> Option<Expr> {
        let boolean = |value: bool| Expr::value(Value::Boolean(value));
        match expr {
            Expr::Subquery(query) if self.is_null(query) => Some(cast(Expr::value(Value::Null), DataType::Text)),
            Expr::Exists { subquery, negated } if self.query_is_empty(subquery) => Some(boolean(*negated)),
            Expr::InSubquery { subquery, negated, .. } if self.query_is_empty(subquery) => Some(boolean(*negated)),
            Expr::Function(function) => match &function.args {
                FunctionArguments::Subquery(query) if self.query_is_empty(query) => Some(empty_array()),
                _ => None,
            },
            _ => None,
        }
    }

    /// A scalar subquery over no rows; an aggregate of none is NULL too, except for `count`.
    fn is_null(&self, query: &Query) -> bool {
        let SetExpr::Select(select) = &*query.body else { return false };
        self.is_empty(select) && !aggregates(select, self.is_aggregate).iter().any(|name| name == "count")
    }

    fn query_is_empty(&self, query: &Query) -> bool {
        matches!(&*query.body, SetExpr::Select(select) if self.is_empty(select) && !is_grouped(select, self.is_aggregate))
    }

    fn is_empty(&self, select: &Select) -> bool {
        select.from.iter().any(|from| self.join_is_empty(from))
    }

    fn join_is_empty(&self, from: &TableWithJoins) -> bool {
        let keeps_left = |join: &Join| {
            is_inner(join) || matches!(join.join_operator, JoinOperator::Left(_) | JoinOperator::LeftOuter(_))
        };
        let inner_is_empty = |join: &Join| is_inner(join) && self.factor_is_empty(&join.relation);
        from.joins.iter().all(keeps_left)
            && (self.factor_is_empty(&from.relation) || from.joins.iter().any(inner_is_empty))
    }

    fn factor_is_empty(&self, factor: &TableFactor) -> bool {
        match factor {
            TableFactor::Table { name, args: None, .. } => {
                relation_name(name).is_some_and(|name| !self.common.contains(&name) && is_always_empty(&name))
            }
            TableFactor::Table { name, args: Some(args), .. } => {
                let is_unnest = relation_name(name).is_some_and(|name| name == "unnest");
                is_unnest && args.args.iter().all(|arg| is_null_array(&arg.to_string()))
            }
            TableFactor::UNNEST { array_exprs, .. } => array_exprs.iter().all(|expr| is_null_array(&expr.to_string())),
            TableFactor::Derived { subquery, .. } => self.query_is_empty(subquery),
            TableFactor::NestedJoin { table_with_joins, .. } => self.join_is_empty(table_with_joins),
            _ => false,
        }
    }
}

fn is_inner(join: &Join) -> bool {
    matches!(join.join_operator, JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_))
}

/// The name of a relation that may be one of `pg_catalog`'s.
fn relation_name(name: &ObjectName) -> Option<String> {
    let parts: Vec<&Ident> = name.0.iter().filter_map(ObjectNamePart::as_ident).collect();
    match parts.as_slice() {
        [name] => Some(name.value.to_lowercase()),
        [schema, name] if schema.value.eq_ignore_ascii_case("pg_catalog") => Some(name.value.to_lowercase()),
        _ => None,
    }
}

fn is_null_array(column: &str) -> bool {
    NULL_ARRAYS.contains(&column.rsplit('.').next().unwrap_or(column))
}

/// Whether a select holds what DataFusion may not be able to plan.
fn is_hard(select: &Select) -> bool {
    let hard = |expr: &Expr| match expr {
        Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } | Expr::AnyOp { .. } | Expr::AllOp { .. } => {
            ControlFlow::Break(())
        }
        Expr::Function(function) if matches!(function.args, FunctionArguments::Subquery(_)) => ControlFlow::Break(()),
        Expr::CompoundFieldAccess { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let from_function =
        |factor: &TableFactor| matches!(factor, TableFactor::Table { args: Some(_), .. } | TableFactor::UNNEST { .. });
    let mut factors =
        select.from.iter().flat_map(|f| std::iter::once(&f.relation).chain(f.joins.iter().map(|j| &j.relation)));
    factors.any(from_function) || walk::expressions(select, hard).is_break() || has_reg_cast(select)
}

/// `oid::regclass` in the output is a name, which needs no folding; in ORDER BY it would, so it counts as hard.
fn has_reg_cast(select: &Select) -> bool {
    let hard = |expr: &Expr| match expr {
        Expr::Cast { data_type, .. } if data_type.to_string().to_lowercase().contains("reg") => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    walk::expressions(select, hard).is_break()
}

fn fold_select(select: &mut Select) -> bool {
    let named = |item: &SelectItem| match item {
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(Some(name.clone())),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => Some(parts.last().cloned()),
        SelectItem::UnnamedExpr(_) => Some(None),
        SelectItem::ExprWithAlias { alias, .. } => Some(Some(alias.clone())),
        _ => None,
    };
    let Some(names) = select.projection.iter().map(named).collect::<Option<Vec<_>>>() else { return false };
    let null = || cast(Expr::value(Value::Null), DataType::Text);
    let column = |name: Option<Ident>| match name {
        Some(alias) => SelectItem::ExprWithAlias { expr: null(), alias },
        None => SelectItem::UnnamedExpr(Expr::value(Value::Null)),
    };
    select.projection = names.into_iter().map(column).collect();
    select.from = Vec::new();
    select.selection = Some(Expr::value(Value::Boolean(false)));
    select.distinct = None;
    select.having = None;
    select.named_window = Vec::new();
    true
}

/// `pg_empty_if_null(NULL::text[])`.
fn empty_array() -> Expr {
    let text_array = DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(DataType::Text), None));
    call(EMPTY_IF_NULL, vec![cast(Expr::value(Value::Null), text_array)])
}
