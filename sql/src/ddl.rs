//! Columns, keys and defaults of streams and tables, from their CREATE statements.
//!
//! A default is a constant; it is read back from the object's definition, so the engine's catalog needs no notion of it.

use crate::dialect::to_type;
use crate::error::{Error, Result};
use crate::relation::is_system_column;
use crate::statement::{CreateRelation, Kind, folded};
use crate::types::{arrow_type, length_max, name_of};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, lit};
use millpond_engine::catalog::{Column, Object};
use millpond_engine::database::Create;
use millpond_engine::log::PARTITIONS_MAX;
use parking_lot::Mutex;
use sqlparser::ast::{self, ColumnDef, ColumnOption};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock};

/// Partitions of a stream that does not say how many.
const PARTITIONS_DEFAULT: u32 = 1;
/// Definitions kept parsed.
const DEFINITIONS_MAX: usize = 1024;
/// As in Postgres.
const COLUMNS_MAX: usize = 1600;

/// The engine's request for `CREATE STREAM`.
pub(crate) fn stream(create: &CreateRelation) -> Result<Create> {
    let columns = columns(create)?;
    let partitions = create.partitions.unwrap_or(PARTITIONS_DEFAULT);
    if partitions == 0 || partitions > PARTITIONS_MAX {
        return Err(Error::new("22023", format!("partitions must be between 1 and {PARTITIONS_MAX}")));
    }
    if create.columns.iter().flat_map(|c| &c.options).any(|o| matches!(o.option, ColumnOption::PrimaryKey(_))) {
        return Err(Error::unsupported(
            "a stream has no primary key",
            "Use KEY (columns) to choose the partition, or CREATE TABLE for rows that can change.",
        ));
    }
    let key = key(create, &columns)?;
    Ok(Create::Stream { name: create.name.clone(), columns, partitions, key, definition: create.text.clone() })
}

/// The engine's request for `CREATE TABLE`.
pub(crate) fn table(create: &CreateRelation) -> Result<Create> {
    let mut columns = columns(create)?;
    if create.partitions.is_some() {
        return Err(Error::unsupported("a table has no partitions", "Use CREATE STREAM, or leave the option out."));
    }
    if create.key.is_empty() {
        return Err(Error::unsupported(
            format!("table \"{}\" has no primary key", create.name),
            "Add PRIMARY KEY (columns), or use CREATE STREAM for append-only rows.",
        ));
    }
    let key = key(create, &columns)?;
    for &index in &key {
        columns[index].nullable = false;
    }
    Ok(Create::Table { name: create.name.clone(), columns, key, definition: create.text.clone() })
}

fn columns(create: &CreateRelation) -> Result<Vec<Column>> {
    if create.columns.is_empty() {
        return Err(Error::new("42P16", format!("\"{}\" has no columns", create.name)));
    }
    if create.columns.len() > COLUMNS_MAX {
        return Err(Error::new("54011", format!("there can be at most {COLUMNS_MAX} columns")));
    }
    let mut seen = HashSet::new();
    let columns = create.columns.iter().map(column).collect::<Result<Vec<_>>>()?;
    for column in &columns {
        if is_system_column(&column.name) {
            return Err(Error::new("42939", format!("column name \"{}\" is reserved", column.name))
                .with_hint("Every stream has the system columns _partition, _offset and _append_ts."));
        }
        if !seen.insert(column.name.as_str()) {
            return Err(Error::new("42701", format!("column \"{}\" specified more than once", column.name)));
        }
    }
    Ok(columns)
}

fn column(def: &ColumnDef) -> Result<Column> {
    let mut column = Column { name: folded(&def.name), data_type: arrow_type(&def.data_type)?, nullable: true };
    if matches!(column.data_type, DataType::Interval(_)) {
        return Err(Error::unsupported(
            format!("column \"{}\": intervals cannot be stored in streams and tables", column.name),
            "Store a number of seconds as bigint.",
        ));
    }
    for option in &def.options {
        match &option.option {
            ColumnOption::NotNull => column.nullable = false,
            ColumnOption::Null | ColumnOption::PrimaryKey(_) => {}
            ColumnOption::Default(value) => {
                constant(value, &column)?;
            }
            other => {
                let text = other.to_string();
                let word = text.split(['(', ' ']).next().unwrap_or_default().to_uppercase();
                return Err(Error::unsupported(
                    format!("column option {word} is not supported"),
                    "There are NOT NULL, PRIMARY KEY and DEFAULT with a constant.",
                ));
            }
        }
    }
    Ok(column)
}

fn key(create: &CreateRelation, columns: &[Column]) -> Result<Vec<usize>> {
    let mut key = Vec::with_capacity(create.key.len());
    for name in &create.key {
        let Some(index) = columns.iter().position(|c| c.name == *name) else {
            return Err(Error::new("42703", format!("column \"{name}\" named in key does not exist")));
        };
        if key.contains(&index) {
            return Err(Error::new("42701", format!("column \"{name}\" appears twice in the key")));
        }
        key.push(index);
    }
    Ok(key)
}

/// The columns that a definition declares, as they are written; none if it is not a CREATE of a stream or table.
///
/// Definitions are parsed once, as long as there are not too many: they are asked for by every statement.
fn declared(definition: &str) -> Arc<[ColumnDef]> {
    static PARSED: LazyLock<Mutex<HashMap<String, Arc<[ColumnDef]>>>> = LazyLock::new(Mutex::default);
    if let Some(columns) = PARSED.lock().get(definition) {
        return columns.clone();
    }
    // It was parsed and checked when the object was created.
    let statements = crate::parser::parse(definition).unwrap_or_default();
    let columns: Arc<[ColumnDef]> = match statements.first().map(|s| s.kind.as_ref()) {
        Some(Kind::CreateStream(create) | Kind::CreateTable(create)) => create.columns.as_slice().into(),
        _ => Arc::new([]),
    };
    let mut parsed = PARSED.lock();
    if parsed.len() >= DEFINITIONS_MAX {
        parsed.clear();
    }
    parsed.insert(definition.to_owned(), columns.clone());
    columns
}

/// Defaults of an object's columns, by name; those without one are absent.
pub(crate) fn defaults(object: &Object) -> HashMap<String, Expr> {
    let column = |name: &str| object.columns.iter().find(|c| c.name == name);
    default_exprs(object)
        .into_iter()
        .filter_map(|(name, expr)| {
            let value = constant(&expr, column(&name)?).ok()?;
            Some((name, lit(value)))
        })
        .collect()
}

/// The same as written.
pub(crate) fn default_exprs(object: &Object) -> HashMap<String, ast::Expr> {
    if !object.definition.to_lowercase().contains("default") {
        return HashMap::new();
    }
    let mut found = HashMap::new();
    for (def, column) in declared(&object.definition).iter().zip(&object.columns) {
        for option in &def.options {
            if let ColumnOption::Default(value) = &option.option {
                found.insert(column.name.clone(), value.clone());
            }
        }
    }
    found
}

/// The longest texts the columns take, in characters, with the type that says so; by position.
pub(crate) fn lengths(object: &Object) -> Vec<(usize, u64, String)> {
    if !object.definition.to_lowercase().contains("char") {
        return Vec::new();
    }
    let length = |(position, def): (usize, &ColumnDef)| {
        let length = length_max(&def.data_type)?;
        let name = if matches!(def.data_type, ast::DataType::Char(_) | ast::DataType::Character(_)) {
            format!("character({length})")
        } else {
            format!("character varying({length})")
        };
        Some((position, length, name))
    };
    declared(&object.definition).iter().enumerate().filter_map(length).collect()
}

/// A constant default, cast to the column's type.
fn constant(expr: &ast::Expr, column: &Column) -> Result<ScalarValue> {
    let refused = || {
        Error::unsupported(
            format!("the default of column \"{}\" is not a constant", column.name),
            "A default is a number, a string, true, false or NULL.",
        )
    };
    let (sign, value) = match expr {
        ast::Expr::UnaryOp { op: ast::UnaryOperator::Minus, expr } => ("-", expr.as_ref()),
        other => ("", other),
    };
    let value = match value {
        ast::Expr::Cast { expr, .. } => expr.as_ref(),
        other => other,
    };
    let ast::Expr::Value(value) = value else { return Err(refused()) };
    let written = match &value.value {
        ast::Value::Number(digits, _) => number(&format!("{sign}{digits}"), &column.data_type),
        ast::Value::SingleQuotedString(text) if sign.is_empty() => ScalarValue::from(text.as_str()),
        ast::Value::Boolean(value) if sign.is_empty() => ScalarValue::from(*value),
        ast::Value::Null => return crate::types::null_of(&column.data_type),
        _ => return Err(refused()),
    };
    let fits = match (&value.value, &column.data_type) {
        (_, DataType::Utf8) => true,
        (ast::Value::Boolean(_), wanted) => *wanted == DataType::Boolean,
        (ast::Value::Number(..), wanted) => wanted.is_numeric(),
        _ => true,
    };
    if !fits {
        let (name, wanted) = (&column.name, name_of(&column.data_type));
        return Err(Error::new("42804", format!("column \"{name}\" is of type {wanted} but its default is {value}")));
    }
    let value = to_type(&written.to_array_of_size(1)?, &column.data_type)?;
    Ok(ScalarValue::try_from_array(&value, 0)?)
}

/// A number as Postgres types it, so that a fraction for an integer column is rounded.
fn number(digits: &str, wanted: &DataType) -> ScalarValue {
    match (digits.parse::<i64>(), digits.parse::<f64>()) {
        (Ok(integer), _) => ScalarValue::from(integer),
        (Err(_), Ok(float)) if wanted.is_integer() => ScalarValue::from(float),
        // Text keeps all digits.
        _ => ScalarValue::from(digits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(text: &str) -> Result<Create> {
        let statements = crate::parser::parse(text)?;
        match statements[0].kind.as_ref() {
            Kind::CreateStream(create) => stream(create),
            Kind::CreateTable(create) => table(create),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn keys_and_columns() {
        let Create::Stream { partitions, key, columns, .. } =
            create("CREATE STREAM s (a int NOT NULL, b text, KEY (b, a)) WITH (partitions = 3)").unwrap()
        else {
            panic!()
        };
        assert_eq!((partitions, key, columns[0].nullable, columns[1].nullable), (3, vec![1, 0], false, true));
        for text in ["CREATE TABLE t (id int PRIMARY KEY, v text)", "CREATE TABLE t (id int, v text, PRIMARY KEY (id))"]
        {
            let Create::Table { key, columns, .. } = create(text).unwrap() else { panic!() };
            assert_eq!((key, columns[0].nullable), (vec![0], false));
        }
        assert!(matches!(create("CREATE TABLE t (a int) APPEND ONLY"), Ok(Create::Stream { .. })));
        assert!(matches!(create("CREATE TABLE t (a int) WITH (appendonly = true)"), Ok(Create::Stream { .. })));
    }

    #[test]
    fn refusals_name_the_reason() {
        let cases = [
            ("CREATE TABLE t (a int)", "0A000"),
            ("CREATE STREAM s (a interval)", "0A000"),
            ("CREATE STREAM s (a int, a text)", "42701"),
            ("CREATE STREAM s (_offset int)", "42939"),
            ("CREATE STREAM s (a int, KEY (b))", "42703"),
            ("CREATE STREAM s (a int) WITH (partitions = 0)", "22023"),
            ("CREATE STREAM s (a int) WITH (foo = 1)", "22023"),
            ("CREATE STREAM s (a int, WATERMARK FOR a AS a - INTERVAL '5 seconds')", "0A000"),
            ("CREATE STREAM s (a int) WITH (retention = '1 day')", "0A000"),
            ("CREATE TABLE t (a int PRIMARY KEY, b int UNIQUE)", "0A000"),
            ("CREATE TABLE t (a int PRIMARY KEY, b int REFERENCES t (a))", "0A000"),
            ("CREATE TABLE t (a int PRIMARY KEY, b int CHECK (b > 1))", "0A000"),
            ("CREATE TABLE t (a int PRIMARY KEY, b int DEFAULT 'x')", "22P02"),
            ("CREATE TABLE t (a int PRIMARY KEY, b smallint DEFAULT 70000)", "22003"),
            ("CREATE TABLE t (a int PRIMARY KEY, b date DEFAULT true)", "42804"),
            ("CREATE TABLE t (a int PRIMARY KEY, b timestamptz DEFAULT now())", "0A000"),
        ];
        for (text, state) in cases {
            let error = create(text).map(|_| ()).unwrap_err();
            assert_eq!(error.sqlstate, state, "{text}: {error}");
        }
    }
}
