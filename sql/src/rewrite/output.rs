//! Output columns: each has a name of its own, as the planner wants it, and ORDER BY means what it means in Postgres.
//!
//! Postgres lets columns share a name. A name alone in ORDER BY is an output column there, and a name inside an
//! expression an input column; the planner takes the output column for both. So columns get names that nobody else has:
//!
//! ```text
//! SELECT id, * FROM t                                    SELECT id AS "id·0", * FROM t
//! SELECT ts::date FROM t ORDER BY ts, extract(day FROM ts)  SELECT ts::date AS "ts·0" … ORDER BY "ts·0", extract(…)
//! SELECT f FROM (SELECT f(x), f(y) FROM t)               SELECT f FROM (SELECT f(x) AS f, f(y) AS "f·1" FROM t)
//! ```
//!
//! `·` is [`MARK`]: what stands behind it is no part of the name, and nobody outside sees it ([`shown`]). The columns of
//! a subquery are seen by the query around it, so they are marked only when their name is taken.

use crate::error::{Error, Result};
use crate::names;
use crate::statement::folded;
use crate::walk::{self, walk_mut};
use sqlparser::ast::{
    Distinct, Expr, GroupByExpr, Ident, OrderByExpr, OrderByKind, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, Statement, VisitorMut,
};
use std::collections::HashSet;
use std::ops::ControlFlow;

/// Begins the part of a column's name that only the planner sees.
const MARK: char = '\u{1f}';

/// The name without what the planner sees of it alone.
pub(crate) fn shown(name: &str) -> &str {
    name.split(MARK).next().unwrap_or_default()
}

/// A plan's text without the marks of columns.
pub(crate) fn text_shown(text: &str) -> String {
    let mut parts = text.split(MARK);
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        shown.push_str(part.trim_start_matches(|c: char| c.is_ascii_digit()));
    }
    shown
}

/// Names the output columns of every query of the statement.
///
/// # Errors
/// 42702 for a name in ORDER BY that several output columns have.
pub(crate) fn name_columns(statement: &mut Statement) -> Result<()> {
    match walk_mut(statement, &mut Namer { depth: 0 }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Namer {
    depth: usize,
}

impl VisitorMut for Namer {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        self.depth += 1;
        match name_of_query(query, self.depth == 1) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Error> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

fn name_of_query(query: &mut Query, outermost: bool) -> Result<()> {
    let order = match query.order_by.as_mut().map(|order| &mut order.kind) {
        Some(OrderByKind::Expressions(order)) => order.as_mut_slice(),
        _ => &mut [],
    };
    match query.body.as_mut() {
        SetExpr::Select(select) => {
            let outputs = name_of_select(select, outermost, &names_inside(order));
            // DISTINCT ON compares ORDER BY with its own list, which is written in input columns.
            if matches!(select.distinct, Some(Distinct::On(_))) { Ok(()) } else { point_to_outputs(order, &outputs) }
        }
        body => {
            members(body);
            Ok(())
        }
    }
}

/// The SELECTs of a set operation; one in parentheses is a query and comes by itself.
fn members(body: &mut SetExpr) {
    match body {
        SetExpr::SetOperation { left, right, .. } => {
            members(left);
            members(right);
        }
        SetExpr::Select(select) => drop(name_of_select(select, false, &HashSet::new())),
        _ => {}
    }
}

/// An item of a SELECT list that is no wildcard.
struct Output {
    /// As in Postgres.
    name: String,
    expr: Expr,
    alias: Option<Ident>,
}

/// `inside`: names that ORDER BY has inside expressions.
fn name_of_select(select: &mut Select, outermost: bool, inside: &HashSet<String>) -> Vec<Output> {
    let wildcards = Wildcards::of(&select.projection);
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    let (mut seen, mut outputs) = (HashSet::new(), Vec::new());
    for (position, item) in select.projection.iter_mut().enumerate() {
        let Some(name) = names::of_item(item) else { continue };
        let (expr, given) = match item {
            SelectItem::UnnamedExpr(expr) => (&*expr, false),
            SelectItem::ExprWithAlias { expr, .. } => (&*expr, true),
            _ => continue,
        };
        let column = !given && matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
        let taken = !seen.insert(name.clone());
        let misread = inside.contains(&name) && !column;
        let marked = taken
            || match outermost {
                true => misread || !given && !column || wildcards.may_hold(expr, given) && !(given && grouped),
                false => !given && (misread || is_named_like_a_column(expr) && wildcards.may_hold(expr, given)),
            };
        let alias = match marked {
            true => Some(Ident::with_quote('"', format!("{name}{MARK}{position}"))),
            false if given || column => None,
            false => Some(Ident::with_quote('"', &name)),
        };
        let expr = expr.clone();
        if let Some(alias) = &alias {
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: alias.clone() };
        }
        outputs.push(Output { name, expr, alias });
    }
    outputs
}

/// The wildcards of a SELECT list.
struct Wildcards {
    bare: bool,
    /// `t` of `t.*`.
    qualified: Vec<String>,
}

impl Wildcards {
    fn of(items: &[SelectItem]) -> Wildcards {
        let mut found = Wildcards { bare: false, qualified: Vec::new() };
        for item in items {
            match item {
                SelectItem::Wildcard(_) => found.bare = true,
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                    let last = name.0.last().and_then(|part| part.as_ident()).map(folded);
                    found.qualified.extend(last);
                }
                _ => {}
            }
        }
        found
    }

    /// Whether a column like this one may be among those of the wildcards.
    fn may_hold(&self, expr: &Expr, given: bool) -> bool {
        match expr {
            Expr::CompoundIdentifier(parts) if !given && !self.bare => match parts.as_slice() {
                [.., table, _] => self.qualified.contains(&folded(table)),
                _ => !self.qualified.is_empty(),
            },
            _ => self.bare || !self.qualified.is_empty(),
        }
    }
}

/// A column, or a cast of one.
fn is_named_like_a_column(expr: &Expr) -> bool {
    match expr {
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => true,
        Expr::Cast { expr, .. } | Expr::Nested(expr) => is_named_like_a_column(expr),
        _ => false,
    }
}

/// Names inside the expressions of ORDER BY.
fn names_inside(order: &[OrderByExpr]) -> HashSet<String> {
    let mut found = HashSet::new();
    for by in order.iter().filter(|by| !matches!(by.expr, Expr::Identifier(_))) {
        let _ = walk::expressions(&by.expr, |expr| {
            if let Expr::Identifier(name) = expr {
                found.insert(folded(name));
            }
            ControlFlow::<()>::Continue(())
        });
    }
    found
}

/// Names alone in ORDER BY become the names that the output columns have now.
fn point_to_outputs(order: &mut [OrderByExpr], outputs: &[Output]) -> Result<()> {
    for by in order {
        let Expr::Identifier(name) = &by.expr else { continue };
        let wanted = folded(name);
        let mut found = outputs.iter().filter(|output| output.name == wanted);
        let Some(first) = found.next() else { continue };
        if found.any(|other| other.expr != first.expr) {
            return Err(Error::new("42702", format!("ORDER BY \"{wanted}\" is ambiguous"))
                .with_hint("Give the columns names of their own, or write the position."));
        }
        if let Some(alias) = &first.alias {
            by.expr = Expr::Identifier(alias.clone());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlparser::dialect::PostgreSqlDialect;
    use sqlparser::parser::Parser;

    fn named(sql: &str) -> Result<String> {
        let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).unwrap();
        name_columns(&mut statements[0])?;
        Ok(statements[0].to_string().replace(MARK, "·"))
    }

    #[test]
    fn outputs_have_names_of_their_own() {
        for (before, after) in [
            ("SELECT a, b AS c FROM t ORDER BY a, c", "SELECT a, b AS c FROM t ORDER BY a, c"),
            ("SELECT id, * FROM t", "SELECT id AS \"id·0\", * FROM t"),
            ("SELECT t.id, u.* FROM t, u", "SELECT t.id, u.* FROM t, u"),
            ("SELECT NULL, NULL", "SELECT NULL AS \"?column?·0\", NULL AS \"?column?·1\""),
            ("SELECT a::int FROM t ORDER BY a, abs(a)", "SELECT a::INT AS \"a·0\" FROM t ORDER BY \"a·0\", abs(a)"),
            ("SELECT -a AS a FROM t ORDER BY abs(a)", "SELECT -a AS \"a·0\" FROM t ORDER BY abs(a)"),
            (
                "SELECT s.count FROM (SELECT count(*), a, a FROM t) AS s",
                "SELECT s.count FROM (SELECT count(*) AS \"count\", a, a AS \"a·2\" FROM t) AS s",
            ),
            (
                "SELECT max(a) FROM t UNION SELECT 1 ORDER BY max",
                "SELECT max(a) AS \"max\" FROM t UNION SELECT 1 AS \"?column?\" ORDER BY max",
            ),
        ] {
            assert_eq!(named(before).unwrap(), after);
        }
        assert_eq!(named("SELECT a AS x, b AS x FROM t ORDER BY x").unwrap_err().sqlstate, "42702");
        assert_eq!(text_shown("count\u{1f}0, a\u{1f}12"), "count, a");
    }
}
