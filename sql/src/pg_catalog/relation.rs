//! The shapes of the catalog's relations and how rows of plain cells become Arrow.
//!
//! `columns.txt` holds one line per relation: `schema.name oid relkind column:type …`, as PostgreSQL 15 has them.
//! A relation nobody fills is empty; it needs no code. Kind `f` is a set-returning function that is read as a table.

use crate::value::pg_type::PG_TYPE;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, ListArray, PrimitiveArray, RecordBatch, RecordBatchOptions,
    StringArray, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Field, FieldRef, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalUnit, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
};
use arrow::util::display::array_value_to_string;
use datafusion::common::{Result, internal_err};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// A relation of `pg_catalog` or `information_schema`.
#[derive(Debug)]
pub(super) struct Relation {
    pub schema: &'static str,
    pub name: &'static str,
    /// 0 for a set-returning function, which `pg_class` does not list.
    pub oid: u32,
    pub kind: &'static str,
    /// Column names and Postgres types, in order.
    pub columns: Vec<(&'static str, &'static str)>,
}

/// Every relation the catalog declares.
pub(super) static RELATIONS: LazyLock<Vec<Relation>> =
    LazyLock::new(|| include_str!("columns.txt").lines().filter_map(parse_line).collect());

/// The relation of this schema and name.
pub(super) fn relation(schema: &str, name: &str) -> Option<&'static Relation> {
    RELATIONS.iter().find(|r| r.schema == schema && r.name == name)
}

impl Relation {
    pub(super) fn arrow_schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns.iter().map(|(name, pg_type)| field(name, pg_type)).collect::<Vec<_>>()))
    }

    /// What a row holds where its maker says nothing: in `pg_catalog` zero, false and '' for the columns that are
    /// never NULL in Postgres, else NULL.
    fn default_row(&self) -> Vec<Cell> {
        let cell = |pg_type: &str| match pg_type {
            _ if self.schema != "pg_catalog" => Cell::Null,
            "oid" | "regproc" | "int2" | "int4" | "int8" | "float4" => Cell::Int(0),
            "bool" => Cell::Bool(false),
            "name" | "char" => Cell::Text(String::new()),
            _ => Cell::Null,
        };
        self.columns.iter().map(|(_, pg_type)| cell(pg_type)).collect()
    }
}

/// Rows of one relation in the making.
pub(super) struct Rows {
    relation: &'static Relation,
    rows: Vec<Vec<Cell>>,
}

impl Rows {
    pub(super) fn new(relation: &'static Relation) -> Rows {
        Rows { relation, rows: Vec::new() }
    }

    /// Adds a row from the columns named; the others get their default.
    pub(super) fn push(&mut self, cells: &[(&str, Cell)]) {
        let mut row = self.relation.default_row();
        for (name, cell) in cells {
            let at = self.relation.columns.iter().position(|(column, _)| column == name);
            assert!(at.is_some(), "{} has no column {name}", self.relation.name);
            row[at.unwrap_or_default()] = cell.clone();
        }
        self.rows.push(row);
    }

    pub(super) fn finish(self) -> Result<RecordBatch> {
        let schema = self.relation.arrow_schema();
        let columns = schema.fields().iter().enumerate().map(|(at, field)| {
            let cells: Vec<&Cell> = self.rows.iter().map(|row| &row[at]).collect();
            to_array(field.data_type(), &cells)
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows.len()));
        Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
    }
}

/// A value of a catalog row or of a catalog function.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Null,
    Bool(bool),
    Int(i64),
    Text(String),
    List(Vec<Cell>),
}

impl Cell {
    pub(super) fn text(&self) -> Option<&str> {
        if let Cell::Text(text) = self { Some(text) } else { None }
    }

    pub(super) fn int(&self) -> Option<i64> {
        match self {
            Cell::Int(number) => Some(*number),
            Cell::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    pub(super) fn list<T: Into<Cell>>(items: impl IntoIterator<Item = T>) -> Cell {
        Cell::List(items.into_iter().map(Into::into).collect())
    }
}

impl From<bool> for Cell {
    fn from(value: bool) -> Cell {
        Cell::Bool(value)
    }
}

impl From<u32> for Cell {
    fn from(value: u32) -> Cell {
        Cell::Int(i64::from(value))
    }
}

impl From<i64> for Cell {
    fn from(value: i64) -> Cell {
        Cell::Int(value)
    }
}

impl From<usize> for Cell {
    fn from(value: usize) -> Cell {
        i64::try_from(value).map_or(Cell::Null, Cell::Int)
    }
}

impl From<&str> for Cell {
    fn from(value: &str) -> Cell {
        Cell::Text(value.into())
    }
}

impl From<String> for Cell {
    fn from(value: String) -> Cell {
        Cell::Text(value)
    }
}

impl<T: Into<Cell>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Cell {
        value.map_or(Cell::Null, Into::into)
    }
}

/// The Arrow field of a column of this Postgres type, with [`PG_TYPE`] where the Arrow type alone would mislead.
pub(super) fn field(name: &str, pg_type: &str) -> Field {
    let field = Field::new(name, arrow_type(pg_type), true);
    let (element, is_array) = pg_type.strip_suffix("[]").map_or((pg_type, false), |element| (element, true));
    match element {
        "oid" | "regproc" | "regtype" | "regclass" | "xid" | "name" | "char" | "int2vector" | "oidvector" => {
            let pg_type = if is_array { format!("_{element}") } else { element.to_string() };
            field.with_metadata(HashMap::from([(PG_TYPE.into(), pg_type)]))
        }
        _ => field,
    }
}

pub(super) fn arrow_type(pg_type: &str) -> DataType {
    if let Some(element) = pg_type.strip_suffix("[]") {
        return DataType::List(Arc::new(Field::new("item", arrow_type(element), true)));
    }
    match pg_type {
        "bool" => DataType::Boolean,
        "int2" => DataType::Int16,
        "int4" => DataType::Int32,
        "int8" | "oid" | "xid" | "regproc" | "regtype" | "regclass" => DataType::Int64,
        "float4" => DataType::Float32,
        "float8" => DataType::Float64,
        "bytea" => DataType::Binary,
        "timestamptz" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        "interval" => DataType::Interval(IntervalUnit::MonthDayNano),
        "int2vector" => arrow_type("int2[]"),
        "oidvector" => arrow_type("oid[]"),
        _ => DataType::Utf8,
    }
}

/// Cells as an array of `data_type`; a cell that does not fit the type becomes NULL.
pub(super) fn to_array(data_type: &DataType, cells: &[&Cell]) -> Result<ArrayRef> {
    Ok(match data_type {
        DataType::Boolean => {
            let value = |c: &&Cell| if let Cell::Bool(b) = c { Some(*b) } else { None };
            Arc::new(cells.iter().map(value).collect::<BooleanArray>())
        }
        DataType::Int16 => numbers::<Int16Type>(cells, |n| n as i16),
        DataType::Int32 => numbers::<Int32Type>(cells, |n| n as i32),
        DataType::Int64 => numbers::<Int64Type>(cells, |n| n),
        DataType::Float32 => numbers::<Float32Type>(cells, |n| n as f32),
        DataType::Float64 => numbers::<Float64Type>(cells, |n| n as f64),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => Arc::new(timestamps(cells).with_timezone_opt(zone.clone())),
        DataType::Utf8 => Arc::new(cells.iter().map(|c| c.text()).collect::<StringArray>()),
        DataType::Binary => Arc::new(cells.iter().map(|c| c.text().map(str::as_bytes)).collect::<BinaryArray>()),
        DataType::Interval(_) => new_null_array(data_type, cells.len()),
        DataType::List(item) => list_array(item, cells)?,
        other => return internal_err!("no catalog column is of type {other}"),
    })
}

fn numbers<T: ArrowPrimitiveType>(cells: &[&Cell], convert: fn(i64) -> T::Native) -> ArrayRef {
    let value = |c: &&Cell| if let Cell::Int(n) = c { Some(convert(*n)) } else { None };
    Arc::new(cells.iter().map(value).collect::<PrimitiveArray<T>>())
}

fn timestamps(cells: &[&Cell]) -> PrimitiveArray<TimestampMicrosecondType> {
    cells.iter().map(|c| if let Cell::Int(n) = c { Some(*n) } else { None }).collect()
}

fn list_array(item: &FieldRef, cells: &[&Cell]) -> Result<ArrayRef> {
    let items = |cell: &&Cell| if let Cell::List(items) = cell { items.len() } else { 0 };
    let offsets = OffsetBuffer::from_lengths(cells.iter().map(items));
    let nulls = NullBuffer::from_iter(cells.iter().map(|cell| matches!(cell, Cell::List(_))));
    let flat: Vec<&Cell> =
        cells.iter().flat_map(|cell| if let Cell::List(items) = cell { items.as_slice() } else { &[] }).collect();
    let values = to_array(item.data_type(), &flat)?;
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, values, Some(nulls))?))
}

/// The value of `array` at `row`; what has no cell of its own is taken as its text.
pub(super) fn to_cell(array: &ArrayRef, row: usize) -> Result<Cell> {
    if array.is_null(row) || array.data_type() == &DataType::Null {
        return Ok(Cell::Null);
    }
    Ok(match array.data_type() {
        DataType::Boolean => Cell::Bool(array.as_boolean().value(row)),
        DataType::Int64 => Cell::Int(array.as_primitive::<Int64Type>().value(row)),
        DataType::Int32 => Cell::from(i64::from(array.as_primitive::<Int32Type>().value(row))),
        DataType::Int16 => Cell::from(i64::from(array.as_primitive::<Int16Type>().value(row))),
        DataType::Utf8 => Cell::from(array.as_string::<i32>().value(row)),
        DataType::Utf8View => Cell::from(array.as_string_view().value(row)),
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            Cell::List((0..items.len()).map(|at| to_cell(&items, at)).collect::<Result<_>>()?)
        }
        data_type if data_type.is_integer() => array_value_to_string(array, row)?.parse().map_or(Cell::Null, Cell::Int),
        _ => Cell::Text(array_value_to_string(array, row)?),
    })
}

fn parse_line(line: &'static str) -> Option<Relation> {
    let mut words = line.split(' ');
    let (schema, name) = words.next()?.split_once('.')?;
    let (oid, kind) = (words.next()?.parse().ok()?, words.next()?);
    let columns = words.map(|word| word.split_once(':')).collect::<Option<Vec<_>>>()?;
    Some(Relation { schema, name, oid, kind, columns })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_relation() {
        assert_eq!(RELATIONS.len(), include_str!("columns.txt").lines().count());
    }

    #[test]
    fn cells_survive_the_way_through_arrow() {
        let cells = [Cell::list([1_i64, 2]), Cell::Null, Cell::List(vec![])];
        let array = to_array(&arrow_type("int2vector"), &cells.iter().collect::<Vec<_>>()).unwrap();
        for (row, cell) in cells.iter().enumerate() {
            assert_eq!(&to_cell(&array, row).unwrap(), cell);
        }
    }
}
