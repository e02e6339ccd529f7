//! INSERT, UPDATE and DELETE: what they read as a query, what they write as batches.
//!
//! UPDATE and DELETE lock the table, then read the rows concerned from a snapshot taken after the lock: what they read
//! is what they replace. Both are planned as a SELECT of the table's columns (and the new values), so that anything a
//! query can say may stand in WHERE and SET.

use crate::dialect::to_type;
use crate::error::{Error, Result};
use crate::parser::parse_query;
use crate::returning::Returning;
use crate::rewrite::string_literal;
use crate::statement::{folded, object_name};
use crate::types::{bytea_literal, sql_type};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;
use millpond_engine::catalog::{Catalog, Column, Object, ObjectKind};
use sqlparser::ast::{
    self, Assignment, AssignmentTarget, CastKind, Delete, FromTable, Ident, Insert, Query, SelectItem, SetExpr,
    Statement, TableFactor, TableObject, TableWithJoins, Update, With,
};
use std::collections::HashMap;
use std::sync::Arc;

/// The object an INSERT or COPY writes to.
pub(crate) fn insert_target(catalog: &Catalog, name: &str) -> Result<Arc<Object>> {
    let object = catalog.get(name).ok_or_else(|| Error::undefined_relation(name))?;
    match object.kind {
        ObjectKind::Stream { .. } | ObjectKind::Table { .. } => Ok(object.clone()),
        _ => Err(Error::new("42809", format!("cannot insert into {} \"{name}\"", object.kind.noun()))
            .with_hint("Insert into the streams and tables it reads from.")),
    }
}

/// The table an UPDATE or DELETE changes.
fn change_target(catalog: &Catalog, name: &str) -> Result<Arc<Object>> {
    let object = catalog.get(name).ok_or_else(|| Error::undefined_relation(name))?;
    match object.kind {
        ObjectKind::Table { .. } => Ok(object.clone()),
        ObjectKind::Stream { .. } => Err(Error::new("42809", format!("cannot change rows of stream \"{name}\""))
            .with_hint("Streams are append-only; use a table for rows that change.")),
        _ => Err(Error::new("42809", format!("cannot change rows of {} \"{name}\"", object.kind.noun()))
            .with_hint("Change the tables it reads from.")),
    }
}

/// The target's name.
pub(crate) fn insert_name(insert: &Insert) -> Result<String> {
    match &insert.table {
        TableObject::TableName(name) => object_name(name),
        other => Err(Error::unsupported(format!("INSERT INTO {other} is not supported"), "Name a table or stream.")),
    }
}

/// What the statement calls its target.
pub(crate) fn insert_alias(insert: &Insert) -> Option<Ident> {
    insert.table_alias.as_ref().map(|alias| alias.alias.clone())
}

/// The RETURNING list, if there is one.
pub(crate) fn returning(
    items: Option<&[SelectItem]>,
    target: &Arc<Object>,
    alias: Option<Ident>,
) -> Result<Option<Returning>> {
    items.map(|items| Returning::new(items, target, alias)).transpose()
}

/// The INSERT alone, without ON CONFLICT and RETURNING.
///
/// Gives literals of `VALUES` lists what only the target column knows: the word DEFAULT its value, bytea its bytes.
pub(crate) fn with_columns(insert: &Insert, object: &Object) -> Result<Insert> {
    let mut insert = insert.clone();
    (insert.on, insert.returning, insert.table_alias) = (None, None, None);
    name_first_columns(&mut insert, object);
    let named: Vec<String> = insert.columns.iter().map(|c| object_name(c).unwrap_or_default()).collect();
    let Some(SetExpr::Values(values)) = insert.source.as_mut().map(|s| s.body.as_mut()) else { return Ok(insert) };
    let defaults = crate::ddl::default_exprs(object);
    for row in &mut values.rows {
        for (position, value) in row.content.iter_mut().enumerate() {
            let column = match named.is_empty() {
                true => object.columns.get(position),
                false => named.get(position).and_then(|name| object.columns.iter().find(|c| c.name == *name)),
            };
            let Some(column) = column else { continue };
            if is_default(value) {
                *value = default_of(&defaults, &column.name);
            }
            if column.data_type == DataType::Binary
                && let Some(text) = string_literal(value)
            {
                *value = bytea_literal(text)?;
            }
        }
    }
    Ok(insert)
}

/// `INSERT INTO t VALUES (1)` and `INSERT INTO t SELECT 1` give the first columns; the others get their defaults.
fn name_first_columns(insert: &mut Insert, object: &Object) {
    let Some(width) = insert.source.as_ref().and_then(|source| width(&source.body)) else { return };
    if insert.columns.is_empty() && width < object.columns.len() {
        let name = |column: &Column| ast::ObjectName::from(vec![Ident::with_quote('"', &column.name)]);
        insert.columns = object.columns.iter().take(width).map(name).collect();
    }
}

/// Columns of a query, where its text alone tells them.
fn width(body: &SetExpr) -> Option<usize> {
    match body {
        SetExpr::Values(values) => {
            let width = values.rows.first()?.content.len();
            values.rows.iter().all(|row| row.content.len() == width).then_some(width)
        }
        SetExpr::Select(select) => {
            let wildcard =
                |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
            (!select.projection.iter().any(wildcard)).then_some(select.projection.len())
        }
        SetExpr::SetOperation { left, .. } => width(left),
        SetExpr::Query(query) => width(&query.body),
        _ => None,
    }
}

/// What the word DEFAULT stands for.
fn default_of(defaults: &HashMap<String, ast::Expr>, column: &str) -> ast::Expr {
    defaults.get(column).cloned().unwrap_or_else(|| ast::Expr::Value(ast::Value::Null.into()))
}

fn is_default(expr: &ast::Expr) -> bool {
    match expr {
        ast::Expr::Identifier(word) => word.quote_style.is_none() && word.value.eq_ignore_ascii_case("default"),
        _ => false,
    }
}

/// A change of a table's rows: the query that finds them.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) table: Arc<Object>,
    /// All columns, then the new values.
    pub(crate) query: Statement,
    /// Which column each new value is for; empty = delete.
    pub(crate) assigned: Vec<usize>,
    pub(crate) returning: Option<Returning>,
}

/// Plans `UPDATE`.
pub(crate) fn update(update: &Update, with: Option<&With>, catalog: &Catalog) -> Result<Change> {
    if update.from.is_some() || !update.table.joins.is_empty() {
        return Err(Error::unsupported("UPDATE ... FROM is not supported", "Use a subquery in SET or WHERE."));
    }
    let (name, alias) = target(&update.table)?;
    let table = change_target(catalog, &name)?;
    let returning = returning(update.returning.as_deref(), &table, alias.clone())?;
    let mut query = select_all(&table, alias, update.selection.clone())?;
    query.with = with.cloned();
    let assigned = assign(&mut query, &table, &update.assignments)?;
    Ok(Change { table, query: Statement::Query(query), assigned, returning })
}

/// Adds the new values to a query of all columns; gives the columns they are for.
pub(crate) fn assign(query: &mut Query, table: &Object, assignments: &[Assignment]) -> Result<Vec<usize>> {
    let mut assigned = Vec::new();
    for assignment in assignments {
        let AssignmentTarget::ColumnName(column) = &assignment.target else {
            return Err(Error::unsupported("SET (a, b) = ... is not supported", "Assign the columns one by one."));
        };
        let name = column.0.last().and_then(|p| p.as_ident()).map(folded).unwrap_or_default();
        let Some(index) = table.columns.iter().position(|c| c.name == name) else {
            return Err(no_column(&name, table));
        };
        if assigned.contains(&index) {
            return Err(Error::syntax(format!("multiple assignments to same column \"{name}\"")));
        }
        let value = match is_default(&assignment.value) {
            true => default_of(&crate::ddl::default_exprs(table), &name),
            false => assignment.value.clone(),
        };
        let expr = ast::Expr::Cast {
            kind: CastKind::Cast,
            expr: Box::new(value),
            data_type: sql_type(&table.columns[index].data_type)?,
            array: false,
            format: None,
        };
        select_of(query)?
            .projection
            .push(SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', format!("new {name}")) });
        assigned.push(index);
    }
    Ok(assigned)
}

/// Plans `DELETE`.
pub(crate) fn delete(delete: &Delete, with: Option<&With>, catalog: &Catalog) -> Result<Change> {
    if delete.using.is_some() {
        return Err(Error::unsupported("DELETE ... USING is not supported", "Use a subquery in WHERE."));
    }
    let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
    let [from] = from.as_slice() else {
        return Err(Error::unsupported("DELETE from several tables is not supported", "Delete from one at a time."));
    };
    let (name, alias) = target(from)?;
    let table = change_target(catalog, &name)?;
    let returning = returning(delete.returning.as_deref(), &table, alias.clone())?;
    let mut query = select_all(&table, alias, delete.selection.clone())?;
    query.with = with.cloned();
    Ok(Change { table, query: Statement::Query(query), assigned: Vec::new(), returning })
}

impl Change {
    /// Old and new rows from a batch of the query's result.
    pub(crate) fn rows(&self, batch: &RecordBatch) -> Result<(RecordBatch, RecordBatch)> {
        let width = self.table.columns.len();
        let before: Vec<ArrayRef> = batch.columns()[..width].to_vec();
        let mut after = before.clone();
        for (n, &index) in self.assigned.iter().enumerate() {
            after[index] = batch.column(width + n).clone();
        }
        check_not_null(&self.table, &after)?;
        check_lengths(&self.table, &after)?;
        Ok((shaped(&self.table, before, batch.num_rows())?, shaped(&self.table, after, batch.num_rows())?))
    }
}

/// Positions of the named columns; all when none is named.
pub(crate) fn relation_columns(object: &Object, names: &[String]) -> Result<Vec<usize>> {
    if names.is_empty() {
        return Ok((0..object.columns.len()).collect());
    }
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        let index = object.columns.iter().position(|c| c.name == *name).ok_or_else(|| no_column(name, object))?;
        if found.contains(&index) {
            return Err(Error::new("42701", format!("column \"{name}\" specified more than once")));
        }
        found.push(index);
    }
    Ok(found)
}

/// A batch of all the object's columns from one of some of them; the others get their defaults.
pub(crate) fn complete(object: &Object, sources: &[Option<usize>], batch: &RecordBatch) -> Result<RecordBatch> {
    let rows = batch.num_rows();
    let defaults = if sources.contains(&None) { crate::ddl::defaults(object) } else { Default::default() };
    let mut columns = Vec::with_capacity(sources.len());
    for (column, source) in object.columns.iter().zip(sources) {
        columns.push(match source {
            Some(index) => batch.column(*index).clone(),
            None => match defaults.get(&column.name) {
                Some(Expr::Literal(value, _)) => value.to_array_of_size(rows)?,
                _ => ScalarValue::try_from(&column.data_type)?.to_array_of_size(rows)?,
            },
        });
    }
    check_not_null(object, &columns)?;
    let batch = shaped(object, columns, rows)?;
    check_lengths(object, batch.columns())?;
    Ok(batch)
}

/// Checks and shapes a batch that has all the object's columns in order.
pub(crate) fn checked(object: &Object, batch: &RecordBatch) -> Result<RecordBatch> {
    check_not_null(object, batch.columns())?;
    let batch = shaped(object, batch.columns().to_vec(), batch.num_rows())?;
    check_lengths(object, batch.columns())?;
    Ok(batch)
}

/// A NULL among literal VALUES is met while they are planned, under the list's own column names.
pub(crate) fn null_in_values(error: Error, insert: &Insert, object: &Object) -> Error {
    let position = error.message.split_once("column 'column").and_then(|(_, rest)| {
        let (number, rest) = rest.split_once('\'')?;
        if rest.contains("non-nullable") { number.parse::<usize>().ok()?.checked_sub(1) } else { None }
    });
    let Some(position) = position else { return error };
    let given = insert.columns.get(position).map(ToString::to_string);
    match given.or_else(|| object.columns.get(position).map(|c| c.name.clone())) {
        Some(column) => not_null_violation(&column, object),
        None => error,
    }
}

fn not_null_violation(column: &str, object: &Object) -> Error {
    Error::new(
        "23502",
        format!("null value in column \"{column}\" of relation \"{}\" violates not-null constraint", object.name),
    )
}

/// The lengths of `varchar(n)`; the columns have their own types.
fn check_lengths(object: &Object, columns: &[ArrayRef]) -> Result<()> {
    for (position, length, name) in crate::ddl::lengths(object) {
        let Some(texts) = columns.get(position).and_then(|column| column.as_string_opt::<i32>()) else { continue };
        // As many characters as bytes at most: counting is needed for the long ones only.
        let too_long = |text: &str| text.len() as u64 > length && text.chars().count() as u64 > length;
        if texts.iter().flatten().any(too_long) {
            return Err(Error::new("22001", format!("value too long for type {name}"))
                .with_detail(format!("Column \"{}\".", object.columns[position].name)));
        }
    }
    Ok(())
}

fn check_not_null(object: &Object, columns: &[ArrayRef]) -> Result<()> {
    for (column, values) in object.columns.iter().zip(columns) {
        if !column.nullable && values.logical_null_count() > 0 {
            return Err(not_null_violation(&column.name, object));
        }
    }
    Ok(())
}

/// A parameter has the type its client gave it (an int2 for a bigint column): it is cast like any assignment.
fn shaped(object: &Object, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let assign = |(column, values): (&Column, ArrayRef)| to_type(&values, &column.data_type);
    let columns = object.columns.iter().zip(columns).map(assign).collect::<Result<_>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(object.schema(), columns, &options)?)
}

fn target(table: &TableWithJoins) -> Result<(String, Option<Ident>)> {
    match &table.relation {
        TableFactor::Table { name, alias, args: None, .. } if table.joins.is_empty() => {
            Ok((object_name(name)?, alias.as_ref().map(|a| a.name.clone())))
        }
        other => Err(Error::syntax(format!("cannot change the rows of {other}"))),
    }
}

/// `SELECT all columns FROM table [AS alias] WHERE selection`.
fn select_all(table: &Object, alias: Option<Ident>, selection: Option<ast::Expr>) -> Result<Box<Query>> {
    let qualifier = alias.clone().unwrap_or_else(|| Ident::with_quote('"', &table.name));
    let column = |c: &Column| {
        let parts = vec![qualifier.clone(), Ident::with_quote('"', &c.name)];
        SelectItem::UnnamedExpr(ast::Expr::CompoundIdentifier(parts))
    };
    select_from(table, alias, "", table.columns.iter().map(column).collect(), selection)
}

/// `SELECT items FROM table [AS alias] join WHERE selection`.
pub(crate) fn select_from(
    table: &Object,
    alias: Option<Ident>,
    join: &str,
    items: Vec<SelectItem>,
    selection: Option<ast::Expr>,
) -> Result<Box<Query>> {
    let name = Ident::with_quote('"', &table.name);
    let text = format!("SELECT 1 FROM {name} AS {} {join}", alias.as_ref().unwrap_or(&name));
    let mut query = parse_query(&text)?;
    let select = select_of(&mut query)?;
    (select.projection, select.selection) = (items, selection);
    Ok(query)
}

pub(crate) fn select_of(query: &mut Query) -> Result<&mut ast::Select> {
    match query.body.as_mut() {
        SetExpr::Select(select) => Ok(select),
        _ => Err(Error::internal("not a SELECT")),
    }
}

fn no_column(name: &str, object: &Object) -> Error {
    let names: Vec<&str> = object.columns.iter().map(|c| c.name.as_str()).collect();
    Error::new("42703", format!("column \"{name}\" of relation \"{}\" does not exist", object.name))
        .with_hint(format!("There are: {}.", names.join(", ")))
}
