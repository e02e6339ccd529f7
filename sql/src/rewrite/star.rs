//! `SELECT *` over JOIN … USING and NATURAL JOIN: the merged columns come first, as the standard has it.
//!
//! The planner leaves a merged column where the left side has it. So `*` is written out:
//!
//! ```text
//! … FROM a JOIN b USING (k)                   SELECT a.k, a.* EXCEPT (k), b.* EXCEPT (k) FROM …
//! … FROM a JOIN b USING (k) JOIN c USING (m)  SELECT b.m, a.k, a.* EXCEPT (k), b.* EXCEPT (k, m), c.* EXCEPT (m) FROM …
//! ```
//! Which side has `m` is known of relations of the catalog and of aliases with column names. Where it is not, the query is
//! refused: `INSERT … SELECT *` must not mix columns up.

use super::using::{others, qualifier};
use super::{constraint, object_name};
use crate::error::{Error, Result};
use crate::statement::folded;
use millpond_engine::catalog::Catalog;
use sqlparser::ast::{
    Expr, Ident, JoinConstraint, Select, SelectItem, TableFactor, TableWithJoins, WildcardAdditionalOptions,
};
use std::collections::HashSet;

/// Writes out every plain `*` of the select. `local` are the names of WITH queries, which hide the catalog's.
///
/// # Errors
/// 0A000 where it cannot be told which columns there are.
pub(super) fn write_out(select: &mut Select, catalog: &Catalog, local: &HashSet<String>) -> Result<()> {
    if !select.projection.iter().any(is_star) || !select.from.iter().any(merges) {
        return Ok(());
    }
    let mut items = Vec::new();
    for from in &select.from {
        items.extend(Joined::of(from, catalog, local).ok_or_else(unknown)?.items());
    }
    for item in std::mem::take(&mut select.projection) {
        match is_star(&item) {
            true => select.projection.extend(items.iter().cloned()),
            false => select.projection.push(item),
        }
    }
    Ok(())
}

/// The columns that the select's one FROM item merges, and what they are; `None` where that cannot be told.
pub(super) fn values(select: &Select, catalog: &Catalog, local: &HashSet<String>) -> Option<Vec<(Ident, Expr)>> {
    let [from] = select.from.as_slice() else { return None };
    if !merges(from) {
        return None;
    }
    let joined = Joined::of(from, catalog, local)?;
    // A name that another relation has too is left to the planner, which calls it ambiguous.
    let is_shown = |name: &str| {
        joined.sides.iter().any(|side| !side.hides(name) && side.columns.iter().flatten().any(|column| column == name))
    };
    let merged = joined.merged.iter().filter(|merged| !is_shown(&folded(&merged.name)));
    Some(merged.map(|merged| (merged.name.clone(), merged.value())).collect())
}

fn unknown() -> Error {
    Error::unsupported(
        "* over NATURAL JOIN, or several JOIN ... USING, of subqueries is not supported",
        "Name the columns, in the SELECT list or behind the subqueries' aliases.",
    )
}

fn is_star(item: &SelectItem) -> bool {
    matches!(item, SelectItem::Wildcard(options) if *options == WildcardAdditionalOptions { wildcard_token: options.wildcard_token.clone(), ..Default::default() })
}

fn merges(from: &TableWithJoins) -> bool {
    let merges = |constraint: &JoinConstraint| matches!(constraint, JoinConstraint::Using(_) | JoinConstraint::Natural);
    from.joins.iter().any(|join| constraint(&join.join_operator).is_some_and(merges))
}

/// One relation of a FROM item.
struct Side {
    qualifier: Ident,
    /// `None`: not known.
    columns: Option<Vec<String>>,
    /// What has been merged away.
    hidden: Vec<Ident>,
}

/// A FROM item and its joins so far.
struct Joined {
    sides: Vec<Side>,
    merged: Vec<Merged>,
}

/// A merged column: it has the left side's value.
struct Merged {
    qualifier: Ident,
    name: Ident,
}

impl Joined {
    /// `None` if it cannot be told.
    fn of(from: &TableWithJoins, catalog: &Catalog, local: &HashSet<String>) -> Option<Joined> {
        let side = |factor: &TableFactor| {
            let columns = columns(factor, catalog, local);
            Some(Side { qualifier: qualifier(factor)?, columns, hidden: Vec::new() })
        };
        let mut joined = Joined { sides: vec![side(&from.relation)?], merged: Vec::new() };
        for join in &from.joins {
            let right = side(&join.relation)?;
            let names = match constraint(&join.join_operator) {
                Some(JoinConstraint::Using(names)) => {
                    names.iter().map(|name| name.0.last()?.as_ident().cloned()).collect::<Option<_>>()?
                }
                Some(JoinConstraint::Natural) => joined.shared_with(&right)?,
                _ => Vec::new(),
            };
            joined.join(right, names)?;
        }
        Some(joined)
    }

    /// The columns that NATURAL JOIN merges, in the left side's order.
    fn shared_with(&self, right: &Side) -> Option<Vec<Ident>> {
        let right = right.columns.as_ref()?;
        let mut names: Vec<Ident> = self.merged.iter().map(|merged| merged.name.clone()).collect();
        for side in &self.sides {
            let shown = side.columns.as_ref()?.iter().filter(|name| !side.hides(name));
            names.extend(shown.map(|name| Ident::with_quote('"', name)));
        }
        names.retain(|name| right.contains(&folded(name)));
        Some(names)
    }

    fn join(&mut self, mut right: Side, names: Vec<Ident>) -> Option<()> {
        let mut merged = Vec::with_capacity(names.len() + self.merged.len());
        for name in &names {
            if let Some(at) = self.merged.iter().position(|merged| folded(&merged.name) == folded(name)) {
                merged.push(self.merged.remove(at));
                continue;
            }
            let left = match self.sides.as_mut_slice() {
                [only] => only,
                several => {
                    let all_known = several.iter().all(|side| side.columns.is_some());
                    let has = |side: &&mut Side| side.columns.iter().flatten().any(|column| *column == folded(name));
                    several.iter_mut().find(has).filter(|_| all_known)?
                }
            };
            left.hidden.push(name.clone());
            merged.push(Merged { qualifier: left.qualifier.clone(), name: name.clone() });
        }
        right.hidden = names;
        self.sides.push(right);
        merged.append(&mut self.merged);
        self.merged = merged;
        Some(())
    }

    fn items(&self) -> Vec<SelectItem> {
        let merged = self.merged.iter().map(|merged| SelectItem::UnnamedExpr(merged.value()));
        let sides = self.sides.iter().filter(|side| side.shows_any());
        merged.chain(sides.map(|side| others(&side.qualifier, &side.hidden))).collect()
    }
}

impl Merged {
    fn value(&self) -> Expr {
        Expr::CompoundIdentifier(vec![self.qualifier.clone(), self.name.clone()])
    }
}

impl Side {
    fn hides(&self, name: &str) -> bool {
        self.hidden.iter().any(|hidden| folded(hidden) == *name)
    }

    fn shows_any(&self) -> bool {
        self.columns.as_ref().is_none_or(|columns| columns.iter().any(|name| !self.hides(name)))
    }
}

/// The names of a relation's columns, if they are known before it is planned.
fn columns(factor: &TableFactor, catalog: &Catalog, local: &HashSet<String>) -> Option<Vec<String>> {
    match factor {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. }
            if !alias.columns.is_empty() =>
        {
            Some(alias.columns.iter().map(|column| folded(&column.name)).collect())
        }
        TableFactor::Table { name, args: None, .. } => {
            let relation = object_name(name).ok()?;
            if name.0.len() == 1 && local.contains(&relation) {
                return None;
            }
            Some(catalog.get(&relation)?.columns.iter().map(|column| column.name.clone()).collect())
        }
        _ => None,
    }
}
