//! JOIN … USING: what a merged column is. Of a RIGHT or FULL JOIN it has the value of the side that has a row.
//!
//! The planner takes it from the left side, which is NULL where only the right one has a row. So it is written out:
//!
//! ```text
//! SELECT k, * FROM a FULL JOIN b USING (k)
//! SELECT coalesce(a.k, b.k) AS k, coalesce(a.k, b.k) AS k, a.* EXCEPT (k), b.* EXCEPT (k) FROM a FULL JOIN b ON a.k = b.k
//! ```
//!
//! Of a RIGHT JOIN it is `b.k`. Only where FROM is this one join; others are refused where they are met. `*` over the
//! other joins is [`super::star`]'s.

use super::build::{all_of, binary, call};
use super::star;
use crate::error::{Error, Result};
use crate::statement::folded;
use crate::walk::walk_mut;
use millpond_engine::catalog::Catalog;
use sqlparser::ast::{
    BinaryOperator, ExceptSelectItem, Expr, Ident, JoinConstraint, JoinOperator, ObjectName, ObjectNamePart,
    OrderByKind, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, Statement, TableFactor,
    VisitorMut, WildcardAdditionalOptions,
};
use std::collections::HashSet;
use std::ops::ControlFlow;

/// Writes out the merged columns of every query of the statement.
///
/// # Errors
/// 0A000 where it cannot be told which columns `*` has.
pub(super) fn merge(statement: &mut Statement, catalog: &Catalog) -> Result<()> {
    match walk_mut(statement, &mut Merger { catalog, local: HashSet::new() }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Merger<'a> {
    catalog: &'a Catalog,
    /// Names of WITH queries.
    local: HashSet<String>,
}

impl VisitorMut for Merger<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        self.local.extend(query.with.iter().flat_map(|with| &with.cte_tables).map(|cte| folded(&cte.alias.name)));
        if let SetExpr::Select(select) = query.body.as_mut()
            && let Some(values) = self.values(select)
            && let Some(OrderByKind::Expressions(order)) = query.order_by.as_mut().map(|order| &mut order.kind)
        {
            let by_output = |expr: &Expr| matches!(expr, Expr::Identifier(name) if has_alias(select, name));
            for by in order.iter_mut().filter(|by| !by_output(&by.expr)) {
                let _ = walk_mut(by, &mut Columns { values: &values, depth: 0 });
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        if let Some(merged) = take_using(select) {
            merged.write_out(select);
        } else if let Err(error) = star::write_out(select, self.catalog, &self.local) {
            return ControlFlow::Break(error);
        } else if let Some(values) = star::values(select, self.catalog, &self.local) {
            put_in(select, &values);
        }
        ControlFlow::Continue(())
    }
}

impl Merger<'_> {
    /// The merged columns of a select and what they are. It is written out by the visit of it.
    fn values(&self, select: &Select) -> Option<Vec<(Ident, Expr)>> {
        match take_using(&mut select.clone()) {
            Some(merged) => Some(merged.values()),
            None => star::values(select, self.catalog, &self.local),
        }
    }
}

/// Puts the values of merged columns where they are named without a table.
fn put_in(select: &mut Select, values: &[(Ident, Expr)]) {
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(Expr::Identifier(name)) = item
            && let Some(value) = value_of(values, name)
        {
            *item = SelectItem::ExprWithAlias { expr: value, alias: name.clone() };
        }
    }
    let mut columns = Columns { values, depth: 0 };
    let _ = walk_mut(&mut select.projection, &mut columns);
    let _ = walk_mut(&mut select.selection, &mut columns);
    let _ = walk_mut(&mut select.group_by, &mut columns);
    let _ = walk_mut(&mut select.having, &mut columns);
    for join in select.from.iter_mut().flat_map(|from| &mut from.joins) {
        let _ = walk_mut(&mut join.join_operator, &mut columns);
    }
}

fn value_of(values: &[(Ident, Expr)], name: &Ident) -> Option<Expr> {
    values.iter().find(|(column, _)| folded(column) == folded(name)).map(|(_, value)| value.clone())
}

/// The columns that USING merges.
struct Merged {
    left: Ident,
    right: Ident,
    full: bool,
    columns: Vec<Ident>,
}

/// Makes ON of a select's RIGHT or FULL JOIN USING.
fn take_using(select: &mut Select) -> Option<Merged> {
    let [from] = select.from.as_mut_slice() else { return None };
    let [join] = from.joins.as_mut_slice() else { return None };
    let (left, right) = (qualifier(&from.relation)?, qualifier(&join.relation)?);
    let full = matches!(join.join_operator, JoinOperator::FullOuter(_));
    let constraint = match &mut join.join_operator {
        JoinOperator::Right(c) | JoinOperator::RightOuter(c) | JoinOperator::FullOuter(c) => c,
        _ => return None,
    };
    let JoinConstraint::Using(names) = constraint else { return None };
    let columns = names.iter().map(|name| name.0.last()?.as_ident().cloned()).collect::<Option<Vec<_>>>()?;
    let merged = Merged { left, right, full, columns };
    let equal = |column: &Ident| binary(of(&merged.left, column), BinaryOperator::Eq, of(&merged.right, column));
    *constraint = JoinConstraint::On(all_of(merged.columns.iter().map(equal).collect()));
    Some(merged)
}

pub(super) fn qualifier(factor: &TableFactor) -> Option<Ident> {
    match factor {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            Some(alias.name.clone())
        }
        TableFactor::Table { name, alias: None, args: None, .. } => name.0.last()?.as_ident().cloned(),
        _ => None,
    }
}

fn has_alias(select: &Select, name: &Ident) -> bool {
    let is_it =
        |item: &SelectItem| matches!(item, SelectItem::ExprWithAlias { alias, .. } if folded(alias) == folded(name));
    select.projection.iter().any(is_it)
}

fn of(table: &Ident, column: &Ident) -> Expr {
    Expr::CompoundIdentifier(vec![table.clone(), column.clone()])
}

impl Merged {
    fn value(&self, column: &Ident) -> Expr {
        match self.full {
            true => call("coalesce", vec![of(&self.left, column), of(&self.right, column)]),
            false => of(&self.right, column),
        }
    }

    fn named(&self, column: &Ident) -> SelectItem {
        SelectItem::ExprWithAlias { expr: self.value(column), alias: column.clone() }
    }

    fn values(&self) -> Vec<(Ident, Expr)> {
        self.columns.iter().map(|column| (column.clone(), self.value(column))).collect()
    }

    fn write_out(&self, select: &mut Select) {
        let mut items = Vec::with_capacity(select.projection.len());
        for item in std::mem::take(&mut select.projection) {
            match item {
                SelectItem::Wildcard(_) => {
                    items.extend(self.columns.iter().map(|column| self.named(column)));
                    items.extend([others(&self.left, &self.columns), others(&self.right, &self.columns)]);
                }
                other => items.push(other),
            }
        }
        select.projection = items;
        put_in(select, &self.values());
    }
}

/// `t.*` without some of its columns.
pub(super) fn others(table: &Ident, hidden: &[Ident]) -> SelectItem {
    let name = ObjectName(vec![ObjectNamePart::Identifier(table.clone())]);
    let opt_except = hidden
        .split_first()
        .map(|(first, rest)| ExceptSelectItem { first_element: first.clone(), additional_elements: rest.to_vec() });
    let options = WildcardAdditionalOptions { opt_except, ..Default::default() };
    SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options)
}

/// Writes out the merged columns where they are named without a table; not inside subqueries, where the name may mean
/// something else.
struct Columns<'a> {
    values: &'a [(Ident, Expr)],
    depth: usize,
}

impl VisitorMut for Columns<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Identifier(name) = expr
            && self.depth == 0
            && let Some(value) = value_of(self.values, name)
        {
            *expr = value;
        }
        ControlFlow::Continue(())
    }
}
