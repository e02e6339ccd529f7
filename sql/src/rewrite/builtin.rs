//! Postgres' spellings of built-in things that the planner does not know.
//!
//! ```text
//! a OPERATOR(pg_catalog.~) b            a ~ b
//! a COLLATE "C"                         a: text is compared by its bytes, always
//! '{a,b}'::text[], = ANY ('{a,b}')      ARRAY['a','b']
//! current_user                          current_user()
//! pg_catalog.unnest(x) AS a             UNNEST(x) AS a
//! generate_series(1, 3) AS i            generate_series(1, 3) AS i (i)
//! FETCH FIRST 3 ROWS ONLY               LIMIT 3
//! ```

use super::build::{argument, call, cast, number, text, unqualified};
use crate::dialect::is_collation;
use crate::error::{Error, Result};
use crate::walk::walk_mut;
use sqlparser::ast::{
    Array, BinaryOperator, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    LimitClause, ObjectName, Query, Statement, TableAlias, TableAliasColumnDef, TableFactor, Value, VisitorMut,
};
use std::ops::ControlFlow;

/// Respells the statement in place.
///
/// # Errors
/// 42601 for FETCH FIRST beside LIMIT.
pub(crate) fn respell(statement: &mut Statement) -> Result<()> {
    match walk_mut(statement, &mut Speller) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Speller;

impl VisitorMut for Speller {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        match fetch_as_limit(query) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Error> {
        if let Some(unnest) = as_unnest(factor) {
            *factor = unnest;
        }
        if let TableFactor::Table { name, args: Some(arguments), alias, .. } = factor
            && let Some(bare) = unqualified(name, "pg_catalog")
        {
            *name = ObjectName::from(vec![Ident::new(&bare)]);
            if bare == "generate_series" {
                series(&mut arguments.args, alias);
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        match respelled(expr) {
            Ok(None) => ControlFlow::Continue(()),
            Ok(Some(new)) => {
                *expr = new;
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        }
    }
}

fn fetch_as_limit(query: &mut Query) -> Result<()> {
    let Some(fetch) = query.fetch.take() else { return Ok(()) };
    if fetch.with_ties || fetch.percent {
        return Err(Error::unsupported(
            "FETCH ... WITH TIES and PERCENT are not supported",
            "Write FETCH FIRST n ROWS ONLY, or compare with rank() over the order.",
        ));
    }
    let rows = fetch.quantity.unwrap_or_else(|| number(1));
    match &mut query.limit_clause {
        None => {
            let limit = Some(rows);
            query.limit_clause = Some(LimitClause::LimitOffset { limit, offset: None, limit_by: vec![] });
        }
        Some(LimitClause::LimitOffset { limit: limit @ None, .. }) => *limit = Some(rows),
        Some(_) => return Err(Error::syntax("multiple LIMIT clauses not allowed")),
    }
    Ok(())
}

fn respelled(expr: &mut Expr) -> Result<Option<Expr>> {
    Ok(match expr {
        Expr::Collate { expr, collation } if is_collation(collation) => Some((**expr).clone()),
        Expr::BinaryOp { op: op @ BinaryOperator::PGCustomBinaryOperator(_), .. } => {
            if let Some(builtin) = builtin_operator(op) {
                *op = builtin;
            }
            None
        }
        Expr::AnyOp { right, .. } | Expr::AllOp { right, .. } => {
            let inner = if let Expr::Nested(inner) = &**right { inner } else { &*right };
            if let Some(array) = array_literal(inner) {
                **right = array;
            }
            None
        }
        Expr::Cast { expr: inner, data_type: DataType::Array(_), .. } => {
            if let Some(array) = array_literal(inner) {
                **inner = array;
            }
            None
        }
        Expr::Function(function) => without_parentheses(function),
        Expr::Identifier(ident) if ident.quote_style.is_none() => bare_function(&ident.value),
        _ => None,
    })
}

fn without_parentheses(function: &Function) -> Option<Expr> {
    let name = unqualified(&function.name, "pg_catalog")?;
    matches!(function.args, FunctionArguments::None).then(|| bare_function(&name))?
}

/// `current_schema`, `current_user`, … without parentheses.
fn bare_function(name: &str) -> Option<Expr> {
    let known = ["current_schema", "current_user", "session_user", "current_role", "current_catalog", "user"];
    let name = name.to_lowercase();
    known.contains(&name.as_str()).then(|| call(&name, Vec::new()))
}

/// `pg_catalog.unnest(x) AS a` is parsed as a table function; `unnest(x) AS a` is not.
fn as_unnest(factor: &TableFactor) -> Option<TableFactor> {
    let TableFactor::Table { name, alias, args: Some(args), with_ordinality, .. } = factor else { return None };
    if unqualified(name, "pg_catalog")? != "unnest" {
        return None;
    }
    let array_exprs = args.args.iter().filter_map(|arg| argument(arg).cloned()).collect();
    Some(TableFactor::UNNEST {
        alias: alias.clone(),
        array_exprs,
        with_offset: false,
        with_offset_alias: None,
        with_ordinality: *with_ordinality,
    })
}

/// `generate_series(1, 3) AS i` names its column `i` too; without an alias both are called like the function. Numbers are
/// `bigint`, the only ones that the planner takes.
fn series(arguments: &mut [FunctionArg], alias: &mut Option<TableAlias>) {
    for argument in arguments {
        if let FunctionArg::Unnamed(FunctionArgExpr::Expr(bound)) = argument
            && is_number(bound)
        {
            *bound = cast(bound.clone(), DataType::BigInt(None));
        }
    }
    let unnamed = || TableAlias { explicit: true, name: Ident::new("generate_series"), columns: vec![], at: None };
    let alias = alias.get_or_insert_with(unnamed);
    if alias.columns.is_empty() {
        alias.columns.push(TableAliasColumnDef { name: alias.name.clone(), data_type: None });
    }
}

/// A number, or what is computed of numbers.
fn is_number(expr: &Expr) -> bool {
    match expr {
        Expr::Value(value) => matches!(value.value, Value::Number(..)),
        Expr::Nested(expr) | Expr::UnaryOp { expr, .. } => is_number(expr),
        Expr::BinaryOp { left, right, .. } => is_number(left) && is_number(right),
        _ => false,
    }
}

fn builtin_operator(op: &BinaryOperator) -> Option<BinaryOperator> {
    let BinaryOperator::PGCustomBinaryOperator(parts) = op else { return None };
    Some(match parts.last()?.as_str() {
        "~" => BinaryOperator::PGRegexMatch,
        "~*" => BinaryOperator::PGRegexIMatch,
        "!~" => BinaryOperator::PGRegexNotMatch,
        "!~*" => BinaryOperator::PGRegexNotIMatch,
        "~~" => BinaryOperator::PGLikeMatch,
        "!~~" => BinaryOperator::PGNotLikeMatch,
        "=" => BinaryOperator::Eq,
        "<>" | "!=" => BinaryOperator::NotEq,
        "<" => BinaryOperator::Lt,
        "<=" => BinaryOperator::LtEq,
        ">" => BinaryOperator::Gt,
        ">=" => BinaryOperator::GtEq,
        "+" => BinaryOperator::Plus,
        "-" => BinaryOperator::Minus,
        "*" => BinaryOperator::Multiply,
        "/" => BinaryOperator::Divide,
        "||" => BinaryOperator::StringConcat,
        _ => return None,
    })
}

/// `'{a,"b c",NULL}'` as `ARRAY['a', 'b c', NULL]`.
fn array_literal(expr: &Expr) -> Option<Expr> {
    let Expr::Value(value) = expr else { return None };
    let Value::SingleQuotedString(literal) = &value.value else { return None };
    let items = literal.trim().strip_prefix('{')?.strip_suffix('}')?;
    let (mut elem, mut item, mut quoted, mut was_quoted) = (Vec::new(), String::new(), false, false);
    let mut finish = |item: &mut String, was_quoted: &mut bool| {
        let null = !*was_quoted && item.eq_ignore_ascii_case("null");
        elem.push(if null { Expr::value(Value::Null) } else { text(item) });
        item.clear();
        *was_quoted = false;
    };
    let mut characters = items.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => item.extend(characters.next()),
            '"' => (quoted, was_quoted) = (!quoted, true),
            ',' if !quoted => finish(&mut item, &mut was_quoted),
            '{' | '}' if !quoted => return None,
            c => item.push(c),
        }
    }
    if !items.is_empty() {
        finish(&mut item, &mut was_quoted);
    }
    Some(Expr::Array(Array { elem, named: true }))
}
