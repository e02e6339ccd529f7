//! `INSERT … ON CONFLICT`: what happens to rows whose key is taken.
//!
//! `DO UPDATE` is planned as an UPDATE whose rows come from joining the table with the rows that could not be inserted,
//! which are called `excluded`.

use crate::dml::{Change, assign, select_from};
use crate::error::{Error, Result};
use crate::statement::{folded, object_name};
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use millpond_engine::catalog::{Object, ObjectKind};
use sqlparser::ast::{
    ConflictTarget, DoUpdate, Expr, Ident, Insert, OnConflictAction, OnInsert, SelectItem, Statement,
};
use std::sync::Arc;

/// Name of the rows that could not be inserted.
pub(crate) const EXCLUDED: &str = "excluded";
/// Their last column: position among the statement's rows. No column of a table can be called like this by accident.
const POSITION: &str = "position in insert";

/// What happens to a row whose key is taken.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one per statement")]
pub(crate) enum Conflict {
    Skip,
    /// The change's query gives, after the new values, the position of the excluded row.
    Update(Change),
}

/// The ON CONFLICT clause of an INSERT, if it has one.
pub(crate) fn of_insert(insert: &Insert, target: &Arc<Object>) -> Result<Option<Conflict>> {
    let clause = match &insert.on {
        None => return Ok(None),
        Some(OnInsert::OnConflict(clause)) => clause,
        Some(_) => return Err(Error::syntax("ON DUPLICATE KEY is not supported").with_hint("Use ON CONFLICT.")),
    };
    let ObjectKind::Table { key } = &target.kind else {
        return Err(Error::unsupported(
            format!("ON CONFLICT on {} \"{}\" is not supported", target.kind.noun(), target.name),
            "A stream has no key, so its rows never conflict; use a table.",
        ));
    };
    if let Some(target_clause) = &clause.conflict_target {
        check_target(target_clause, target, key)?;
    }
    match &clause.action {
        OnConflictAction::DoNothing => Ok(Some(Conflict::Skip)),
        OnConflictAction::DoUpdate(_) if clause.conflict_target.is_none() => {
            Err(Error::syntax("ON CONFLICT DO UPDATE requires inference specification or constraint name")
                .with_hint("For example, ON CONFLICT (column_name)."))
        }
        OnConflictAction::DoUpdate(update) => {
            let alias = insert.table_alias.as_ref().map(|a| a.alias.clone());
            Ok(Some(Conflict::Update(change(target, key, alias, update)?)))
        }
    }
}

/// The only constraint is the primary key.
fn check_target(clause: &ConflictTarget, table: &Object, key: &[usize]) -> Result<()> {
    let fits = match clause {
        ConflictTarget::Columns(columns) => {
            let mut named: Vec<String> = columns.iter().map(folded).collect();
            if let Some(unknown) = named.iter().find(|name| table.columns.iter().all(|c| c.name != **name)) {
                return Err(Error::new("42703", format!("column \"{unknown}\" does not exist")));
            }
            named.sort();
            named.dedup();
            let mut wanted: Vec<&str> = key.iter().map(|column| table.columns[*column].name.as_str()).collect();
            wanted.sort_unstable();
            named == wanted
        }
        ConflictTarget::OnConstraint(name) => {
            let name = object_name(name)?;
            if name != format!("{}_pkey", table.name) {
                let message = format!("constraint \"{name}\" for table \"{}\" does not exist", table.name);
                return Err(Error::new("42704", message));
            }
            true
        }
    };
    if fits {
        return Ok(());
    }
    let names: Vec<&str> = key.iter().map(|column| table.columns[*column].name.as_str()).collect();
    Err(Error::new("42P10", "there is no unique or exclusion constraint matching the ON CONFLICT specification")
        .with_hint(format!("The primary key is ({}).", names.join(", "))))
}

fn change(table: &Arc<Object>, key: &[usize], alias: Option<Ident>, update: &DoUpdate) -> Result<Change> {
    let qualifier = alias.clone().unwrap_or_else(|| Ident::with_quote('"', &table.name));
    let same_key = |column: &usize| {
        let name = Ident::with_quote('"', &table.columns[*column].name);
        format!("{qualifier}.{name} = {EXCLUDED}.{name}")
    };
    let conditions: Vec<String> = key.iter().map(same_key).collect();
    let join = format!("JOIN {EXCLUDED} ON {}", conditions.join(" AND "));
    let column = |name: &str| Expr::CompoundIdentifier(vec![qualifier.clone(), Ident::with_quote('"', name)]);
    let items = table.columns.iter().map(|c| SelectItem::UnnamedExpr(column(&c.name))).collect();
    let mut query = select_from(table, alias, &join, items, update.selection.clone())?;
    let assigned = assign(&mut query, table, &update.assignments)?;
    let position = vec![Ident::new(EXCLUDED), Ident::with_quote('"', POSITION)];
    crate::dml::select_of(&mut query)?.projection.push(SelectItem::UnnamedExpr(Expr::CompoundIdentifier(position)));
    Ok(Change { table: table.clone(), query: Statement::Query(query), assigned, returning: None })
}

/// Columns of `excluded`.
pub(crate) fn excluded_schema(table: &Object) -> SchemaRef {
    let mut fields: Vec<Arc<Field>> = table.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(POSITION, DataType::Int64, false)));
    Arc::new(Schema::new(fields))
}

/// `rows` as `excluded`, with their positions.
pub(crate) fn excluded(table: &Object, rows: &RecordBatch, positions: &[usize]) -> Result<RecordBatch> {
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(Int64Array::from_iter_values(positions.iter().map(|p| *p as i64))) as ArrayRef);
    Ok(RecordBatch::try_new(excluded_schema(table), columns)?)
}

pub(crate) fn repeated() -> Error {
    Error::new("21000", "ON CONFLICT DO UPDATE command cannot affect row a second time")
        .with_hint("Ensure that no rows proposed for insertion within the same command have duplicate keys.")
}
