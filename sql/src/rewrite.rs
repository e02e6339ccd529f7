//! What Millpond's SQL has and DataFusion's planner does not, rewritten on the syntax tree before planning.
//!
//! In this order: merged columns ([`using`]), names of columns ([`output`]), questions about the database ([`pg_catalog::rewrite`], for statements
//! that ask), spellings ([`builtin`]), what this file does, subqueries ([`subquery`]). This file:
//!
//! - `m.f(x)`: a module's function, looked up in the catalog and registered under the one name `m.f`;
//! - `TUMBLE(t, ts, INTERVAL '1 minute')`, `HOP(…)`: a derived table with `window_start` and `window_end` ([`window`]);
//! - `_partition`, `_offset`, `_append_ts`: a SELECT that names one of them reads its streams *with* the system
//!   columns, and its `*` is spelled out without them. Other SELECTs read streams that do not have these columns at all,
//!   so `*` needs no care there.

pub(crate) mod build;
mod builtin;
mod membership;
mod output;
mod star;
mod subquery;
mod using;
mod window;

pub(crate) use output::{shown, text_shown};
pub(crate) use subquery::{IsAggregate, aggregates, is_grouped};
pub(crate) use window::WINDOWS_OF_A_ROW_MAX;

use crate::dialect;
use crate::error::{Error, Result};
use crate::function;
use crate::parser::parse_query;
use crate::pg_catalog;
use crate::relation::{WITH_SYSTEM_COLUMNS, is_system_column};
use crate::statement::{folded, object_name};
use crate::types::bytea_literal;
use crate::walk::{self, walk_mut};
use datafusion::logical_expr::ScalarUDF;
use millpond_engine::ObjectId;
use millpond_engine::catalog::{Catalog, ObjectKind, SYSTEM_COLUMNS};
use millpond_engine::function::CallLimits;
use sqlparser::ast::{
    ExcludeSelectItem, Expr, FunctionArguments, Ident, JoinConstraint, JoinOperator, LimitClause, ObjectName,
    ObjectNamePart, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, SetOperator, SetQuantifier,
    Statement, TableAlias, TableFactor, TableWithJoins, Value, Visit, VisitorMut, WildcardAdditionalOptions,
};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::ControlFlow;
use window::Windows;

/// What the rewritten statement needs besides DataFusion's own.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    /// By `module.function`.
    pub(crate) functions: BTreeMap<String, ScalarUDF>,
    pub(crate) modules: BTreeSet<ObjectId>,
}

/// Rewrites `statement` in place. `limits` bound the calls of modules' functions.
pub(crate) fn rewrite(
    statement: &mut Statement,
    catalog: &Catalog,
    limits: &CallLimits,
    is_aggregate: IsAggregate<'_>,
) -> Result<Needs> {
    using::merge(statement, catalog)?;
    output::name_columns(statement)?;
    if pg_catalog::is_asked(statement) {
        pg_catalog::rewrite(statement, is_aggregate);
    }
    builtin::respell(statement)?;
    let inserts = matches!(statement, Statement::Insert(_));
    let mut rewriter =
        Rewriter { catalog, limits, needs: Needs::default(), local: HashSet::new(), ordered: vec![], inserts };
    match walk_mut(statement, &mut rewriter) {
        ControlFlow::Break(error) => return Err(error),
        ControlFlow::Continue(()) => {}
    }
    let needs = rewriter.needs;
    membership::rewrite(statement, is_aggregate)?;
    subquery::rewrite(statement, is_aggregate)?;
    Ok(needs)
}

struct Rewriter<'a> {
    catalog: &'a Catalog,
    limits: &'a CallLimits,
    needs: Needs,
    /// Names of WITH queries: they hide catalog objects.
    local: HashSet<String>,
    /// Per open query: its ORDER BY names a system column.
    ordered: Vec<bool>,
    /// The outermost query is what an INSERT inserts: its VALUES get the types of the columns.
    inserts: bool,
}

impl VisitorMut for Rewriter<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        for cte in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.local.insert(folded(&cte.alias.name));
        }
        if let Err(error) = counts_rows(&query.body) {
            return ControlFlow::Break(error);
        }
        if let Err(error) = self.values(&mut query.body) {
            return ControlFlow::Break(error);
        }
        bounds_are_bigint(query);
        let ordered = query.order_by.as_ref().is_some_and(names_system_column);
        self.ordered.push(ordered && matches!(*query.body, SetExpr::Select(_)));
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &mut Query) -> ControlFlow<Error> {
        self.ordered.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        select.projection.iter_mut().for_each(dialect::narrow_item);
        match self.select(select) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        if let Err(error) = dialect::spell(expr) {
            return ControlFlow::Break(error);
        }
        dialect::narrow(expr);
        if let Expr::Cast { expr: inner, data_type: sqlparser::ast::DataType::Bytea, .. } = expr
            && let Some(text) = string_literal(inner)
        {
            match bytea_literal(text) {
                Ok(literal) => **inner = literal,
                Err(error) => return ControlFlow::Break(error),
            }
        }
        let Expr::Function(call) = expr else { return ControlFlow::Continue(()) };
        match self.function(&call.name) {
            Ok(Some(name)) => call.name = name,
            Ok(None) => {}
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    }
}

impl Rewriter<'_> {
    /// Types the literals of a VALUES list that is not that of an INSERT; makes a UNION of one that the planner would
    /// misread.
    fn values(&self, body: &mut SetExpr) -> Result<()> {
        let SetExpr::Values(values) = body else { return Ok(()) };
        let inserted = self.inserts && self.ordered.is_empty();
        let asks = walk::expressions(&values.rows, |expr| match expr {
            Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => ControlFlow::Break(()),
            Expr::Function(call) if matches!(call.args, FunctionArguments::Subquery(_)) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
        if !inserted {
            values.rows.iter_mut().flat_map(|row| &mut row.content).for_each(dialect::literal);
        }
        if asks.is_break() || self.inserts && !inserted {
            *body = dialect::union_of(values)?;
        }
        Ok(())
    }
}

/// Functions.
impl Rewriter<'_> {
    fn function(&mut self, name: &ObjectName) -> Result<Option<ObjectName>> {
        let parts: Vec<String> = name.0.iter().filter_map(|p| p.as_ident()).map(folded).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match parts.as_slice() {
            ["mz_now" | "proctime"] => Ok(Some(single("now"))),
            ["pg_catalog" | "information_schema" | "public", function] => Ok(Some(single(function))),
            ["public", module, function] | [module, function] => {
                let full = format!("{module}.{function}");
                if !self.needs.functions.contains_key(&full) {
                    let (id, udf) = function::resolve(self.catalog, module, function, self.limits.clone())?;
                    self.needs.modules.insert(id);
                    self.needs.functions.insert(full.clone(), udf);
                }
                Ok(Some(single(&full)))
            }
            _ => Ok(None),
        }
    }
}

/// The text of `'…'` or `E'…'`.
pub(crate) fn string_literal(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

/// One item of a FROM list as `*` sees it.
struct FromItem {
    qualifier: Option<Ident>,
    /// The columns to list when system columns must be kept out.
    columns: Option<Vec<String>>,
    /// Columns a USING join has already given.
    merged: Vec<Ident>,
}

/// FROM lists and wildcards.
impl Rewriter<'_> {
    fn select(&mut self, select: &mut Select) -> Result<()> {
        let named = names_system_column(select) || self.ordered.last() == Some(&true);
        let mut items = Vec::new();
        for from in &mut select.from {
            self.from(from, named, &mut items)?;
        }
        if named && items.iter().any(|item| item.columns.is_some()) {
            select.projection = expand(std::mem::take(&mut select.projection), &items)?;
        }
        Ok(())
    }

    fn from(&mut self, from: &mut TableWithJoins, named: bool, items: &mut Vec<FromItem>) -> Result<()> {
        self.factor(&mut from.relation, named, Vec::new(), items)?;
        for join in &mut from.joins {
            keeps_its_key(&join.join_operator)?;
            if matches!(constraint(&join.join_operator), Some(JoinConstraint::None)) {
                return Err(Error::syntax("a JOIN needs ON, USING or NATURAL").with_hint("Or write CROSS JOIN."));
            }
            let merged = match constraint(&join.join_operator) {
                Some(JoinConstraint::Using(names)) => {
                    names.iter().filter_map(|n| n.0.last()?.as_ident().cloned()).collect()
                }
                Some(JoinConstraint::Natural) if named => {
                    return Err(Error::unsupported(
                        "NATURAL JOIN together with system columns is not supported",
                        "Write JOIN ... USING (columns).",
                    ));
                }
                _ => Vec::new(),
            };
            self.factor(&mut join.relation, named, merged, items)?;
        }
        Ok(())
    }

    fn factor(
        &mut self,
        factor: &mut TableFactor,
        named: bool,
        merged: Vec<Ident>,
        items: &mut Vec<FromItem>,
    ) -> Result<()> {
        if matches!(factor, TableFactor::Table { sample: Some(_), .. } | TableFactor::Derived { sample: Some(_), .. }) {
            return Err(Error::unsupported("TABLESAMPLE is not supported", "Use WHERE random() < 0.01."));
        }
        if matches!(factor, TableFactor::Table { with_ordinality: true, .. }) {
            return Err(Error::unsupported("WITH ORDINALITY is not supported", "Use row_number() OVER ()."));
        }
        match factor {
            TableFactor::NestedJoin { table_with_joins, .. } => return self.from(table_with_joins, named, items),
            TableFactor::Table { name, alias, args: Some(arguments), .. } => {
                let function = name.0.last().and_then(|p| p.as_ident()).map(folded).unwrap_or_default();
                if function == "session" {
                    return Err(Error::unsupported("SESSION windows are not supported yet", window::USAGE));
                }
                if let Some(windows) = Windows::of(&function, &arguments.args)? {
                    let (derived, item) = self.windowed(&windows, alias.take(), named, merged)?;
                    *factor = derived;
                    items.push(item);
                    return Ok(());
                }
            }
            TableFactor::Table { name, alias, .. } if named => {
                if let Some((columns, relation)) = self.stream(name)
                    && alias.as_ref().is_none_or(|a| a.columns.is_empty())
                {
                    let qualifier =
                        alias.as_ref().map_or_else(|| Ident::with_quote('"', &relation), |a| a.name.clone());
                    *name = single(&format!("{relation}{WITH_SYSTEM_COLUMNS}"));
                    *alias = Some(named_alias(qualifier.clone()));
                    items.push(FromItem { qualifier: Some(qualifier), columns: Some(columns), merged });
                    return Ok(());
                }
            }
            _ => {}
        }
        items.push(FromItem { qualifier: qualifier_of(factor), columns: None, merged });
        Ok(())
    }

    /// User columns and folded name, if `name` is a stream.
    fn stream(&self, name: &ObjectName) -> Option<(Vec<String>, String)> {
        let relation = object_name(name).ok()?;
        if name.0.len() == 1 && self.local.contains(&relation) {
            return None;
        }
        let object = self.catalog.get(&relation)?;
        let stream = matches!(object.kind, ObjectKind::Stream { .. });
        stream.then(|| (object.columns.iter().map(|c| c.name.clone()).collect(), relation))
    }

    /// The relation and its windows, as a derived table.
    fn windowed(
        &mut self,
        windows: &Windows,
        alias: Option<TableAlias>,
        named: bool,
        merged: Vec<Ident>,
    ) -> Result<(TableFactor, FromItem)> {
        let table = &windows.relation;
        let stream = self.stream(table).filter(|_| named);
        let system = if stream.is_some() { format!("{}, ", SYSTEM_COLUMNS.join(", ")) } else { String::new() };
        let subquery = parse_query(&windows.query(&system))?;
        let last = table.0.last().and_then(|p| p.as_ident()).cloned();
        let alias = alias.or_else(|| last.map(named_alias));
        let qualifier = alias.as_ref().map(|a| a.name.clone());
        let columns = stream.map(|(mut columns, _)| {
            columns.extend(["window_start".to_owned(), "window_end".to_owned()]);
            columns
        });
        let factor = TableFactor::Derived { lateral: false, subquery, alias, sample: None };
        Ok((factor, FromItem { qualifier, columns, merged }))
    }
}

/// Spells `*` and `t.*` out without system columns.
fn expand(projection: Vec<SelectItem>, items: &[FromItem]) -> Result<Vec<SelectItem>> {
    let mut expanded = Vec::with_capacity(projection.len());
    for item in projection {
        match &item {
            SelectItem::Wildcard(_) => {
                for from in items {
                    expanded.extend(from.all_columns(&from.merged)?);
                }
            }
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                let wanted = name.0.last().and_then(|p| p.as_ident()).map(folded);
                let from = items.iter().find(|i| i.qualifier.as_ref().map(folded) == wanted && i.columns.is_some());
                match from {
                    Some(from) => {
                        let except = options.opt_except.iter();
                        let hidden =
                            except.flat_map(|e| std::iter::once(&e.first_element).chain(&e.additional_elements));
                        expanded.extend(from.all_columns(&hidden.cloned().collect::<Vec<_>>())?);
                    }
                    None => expanded.push(item),
                }
            }
            _ => expanded.push(item),
        }
    }
    Ok(expanded)
}

impl FromItem {
    /// The item's own `t.*`, without the `hidden` columns.
    fn all_columns(&self, hidden: &[Ident]) -> Result<Vec<SelectItem>> {
        let Some(qualifier) = &self.qualifier else {
            return Err(Error::unsupported(
                "* together with system columns over a subquery without a name is not supported",
                "Give the subquery an alias.",
            ));
        };
        match &self.columns {
            Some(columns) => Ok(columns
                .iter()
                .filter(|c| !hidden.iter().any(|h| folded(h) == **c))
                .map(|c| {
                    let parts = vec![qualifier.clone(), Ident::with_quote('"', c)];
                    SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts))
                })
                .collect()),
            None => {
                let name = ObjectName(vec![ObjectNamePart::Identifier(qualifier.clone())]);
                let exclude = hidden.iter().map(|m| ObjectName(vec![ObjectNamePart::Identifier(m.clone())])).collect();
                let opt_exclude = (!hidden.is_empty()).then_some(ExcludeSelectItem::Multiple(exclude));
                let options = WildcardAdditionalOptions { opt_exclude, ..Default::default() };
                let kind = SelectItemQualifiedWildcardKind::ObjectName(name);
                Ok(vec![SelectItem::QualifiedWildcard(kind, options)])
            }
        }
    }
}

/// Whether the SELECT, or a subquery in it, names a system column.
fn names_system_column(node: &impl Visit) -> bool {
    let found = walk::expressions(node, |expr| {
        let last = match expr {
            Expr::Identifier(ident) => Some(ident),
            Expr::CompoundIdentifier(parts) => parts.last(),
            _ => None,
        };
        match last {
            Some(ident) if is_system_column(&folded(ident)) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    });
    found.is_break()
}

fn qualifier_of(factor: &TableFactor) -> Option<Ident> {
    match factor {
        TableFactor::Table { name, alias: None, .. } => name.0.last()?.as_ident().cloned(),
        TableFactor::Table { alias, .. } | TableFactor::Derived { alias, .. } => alias.as_ref().map(|a| a.name.clone()),
        TableFactor::UNNEST { alias, .. } | TableFactor::Function { alias, .. } => {
            alias.as_ref().map(|a| a.name.clone())
        }
        _ => None,
    }
}

/// DataFusion takes the merged column of USING from the left side, which is NULL where only the right one has a row.
fn keeps_its_key(operator: &JoinOperator) -> Result<()> {
    use JoinOperator as J;
    match operator {
        J::Right(c) | J::RightOuter(c) | J::FullOuter(c)
            if matches!(c, JoinConstraint::Using(_) | JoinConstraint::Natural) =>
        {
            Err(Error::unsupported(
                "RIGHT and FULL joins with NATURAL, or with USING beside other joins, are not supported",
                "Write ON a.x = b.x, and coalesce(a.x, b.x) for the merged column.",
            ))
        }
        _ => Ok(()),
    }
}

/// DataFusion keeps all rows that have, or have not, an equal one on the other side; SQL counts them off one by one.
fn counts_rows(body: &SetExpr) -> Result<()> {
    let SetExpr::SetOperation { op, set_quantifier, left, right } = body else { return Ok(()) };
    if matches!(op, SetOperator::Except | SetOperator::Intersect) && matches!(set_quantifier, SetQuantifier::All) {
        return Err(Error::unsupported(
            format!("{op} ALL is not supported"),
            format!("Use {op}, which removes duplicates."),
        ));
    }
    counts_rows(left)?;
    counts_rows(right)
}

/// A parameter may come as another integer; the planner takes `bigint` only.
fn bounds_are_bigint(query: &mut Query) {
    let Some(LimitClause::LimitOffset { limit, offset, .. }) = &mut query.limit_clause else { return };
    for bound in limit.iter_mut().chain(offset.iter_mut().map(|offset| &mut offset.value)) {
        if matches!(bound, Expr::Value(value) if matches!(value.value, Value::Placeholder(_))) {
            *bound = build::cast(bound.clone(), sqlparser::ast::DataType::BigInt(None));
        }
    }
}

fn constraint(operator: &JoinOperator) -> Option<&JoinConstraint> {
    use JoinOperator as J;
    match operator {
        J::Join(c) | J::Inner(c) | J::Left(c) | J::LeftOuter(c) | J::Right(c) | J::RightOuter(c) | J::FullOuter(c) => {
            Some(c)
        }
        _ => None,
    }
}

fn single(name: &str) -> ObjectName {
    ObjectName(vec![ObjectNamePart::Identifier(Ident::with_quote('"', name))])
}

fn named_alias(name: Ident) -> TableAlias {
    TableAlias { explicit: true, name, columns: vec![], at: None }
}
