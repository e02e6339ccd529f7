//! SQL types and their Arrow twins: one table for DDL, casts and parameters, so that `x::numeric` and a column of type
//! `numeric` are the same thing.
//!
//! Deviations from Postgres: bare `numeric` is `numeric(38,10)`; precision is at most 38; `varchar(n)` and `char(n)` are
//! `text` here, their length is enforced where rows are written (`dml`) and cast (`dialect`), and `char(n)` is not padded;
//! `timestamp(n)` with fewer than six digits is refused; timestamps have microseconds and `timestamptz` is kept in UTC.

use crate::error::{Error, Result};
use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, TimeUnit};
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::logical_expr::planner::TypePlanner;
use sqlparser::ast::{self, ArrayElemTypeDef, CharacterLength, ExactNumberInfo, TimezoneInfo};
use std::sync::Arc;

/// Precision and scale of a bare `numeric`.
pub(crate) const NUMERIC_DEFAULT: (u8, i8) = (38, 10);
const NUMERIC_PRECISION_MAX: u64 = 38;
/// Digits of a second that times and timestamps have.
const FRACTION_DIGITS: u64 = 6;

/// `timestamptz`.
pub(crate) fn timestamptz() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Gives DataFusion's SQL planner the types of this file.
#[derive(Debug)]
pub(crate) struct SqlTypes;

impl TypePlanner for SqlTypes {
    fn plan_type_field(&self, sql_type: &ast::DataType) -> datafusion::common::Result<Option<FieldRef>> {
        // Arrays only appear in introspection queries; DataFusion's own rule calls back for the element.
        if matches!(sql_type, ast::DataType::Array(ArrayElemTypeDef::SquareBracket(..))) {
            return Ok(None);
        }
        let data_type = arrow_type(sql_type).map_err(|e| DataFusionError::External(Box::new(e)))?;
        Ok(Some(Arc::new(Field::new("", data_type, true))))
    }
}

/// The Arrow type of a SQL type.
///
/// # Errors
/// 0A000 naming the type when it has none.
pub(crate) fn arrow_type(sql_type: &ast::DataType) -> Result<DataType> {
    use ast::DataType as T;
    Ok(match sql_type {
        T::Bool | T::Boolean => DataType::Boolean,
        T::SmallInt(_) | T::Int2(_) => DataType::Int16,
        T::Int(_) | T::Integer(_) | T::Int4(_) => DataType::Int32,
        T::BigInt(_) | T::Int8(_) => DataType::Int64,
        T::Real | T::Float4 => DataType::Float32,
        T::DoublePrecision | T::Float8 | T::Double(_) => DataType::Float64,
        T::Float(ExactNumberInfo::Precision(bits)) if *bits <= 24 => DataType::Float32,
        T::Float(_) => DataType::Float64,
        T::Numeric(info) | T::Decimal(info) | T::Dec(info) => numeric(info)?,
        T::Text | T::Varchar(_) | T::CharVarying(_) | T::CharacterVarying(_) => DataType::Utf8,
        T::Char(_) | T::Character(_) | T::String(_) => DataType::Utf8,
        T::Bytea => DataType::Binary,
        T::Date => DataType::Date32,
        T::Time(Some(digits), _) | T::Timestamp(Some(digits), _) if *digits < FRACTION_DIGITS => {
            return Err(Error::unsupported(
                format!("type {} is not supported", sql_type.to_string().to_lowercase()),
                "Times have microseconds; a cast to timestamp(n) rounds.",
            ));
        }
        T::Time(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => DataType::Time64(TimeUnit::Microsecond),
        T::Timestamp(_, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) => {
            DataType::Timestamp(TimeUnit::Microsecond, None)
        }
        T::Timestamp(_, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => timestamptz(),
        T::Interval { .. } => DataType::Interval(IntervalUnit::MonthDayNano),
        T::Custom(name, modifiers) if modifiers.is_empty() => return custom(&name.to_string()),
        other => return Err(unsupported(&other.to_string())),
    })
}

/// The length of `varchar(n)` and `char(n)`, in characters.
pub(crate) fn length_max(sql_type: &ast::DataType) -> Option<u64> {
    use ast::DataType as T;
    match sql_type {
        T::Varchar(length) | T::CharVarying(length) | T::CharacterVarying(length) => match length {
            Some(CharacterLength::IntegerLength { length, .. }) => Some(*length),
            _ => None,
        },
        T::Char(length) | T::Character(length) => match length {
            Some(CharacterLength::IntegerLength { length, .. }) => Some(*length),
            _ => Some(1),
        },
        _ => None,
    }
}

/// Types sqlparser has no variant for.
fn custom(name: &str) -> Result<DataType> {
    let lower = name.to_lowercase();
    Ok(match lower.strip_prefix("pg_catalog.").unwrap_or(&lower) {
        "bool" => DataType::Boolean,
        "int2" => DataType::Int16,
        "int4" => DataType::Int32,
        "int8" => DataType::Int64,
        "float4" => DataType::Float32,
        "float8" => DataType::Float64,
        "numeric" => DataType::Decimal128(NUMERIC_DEFAULT.0, NUMERIC_DEFAULT.1),
        "text" | "varchar" | "bpchar" | "name" | "unknown" | "\"char\"" => DataType::Utf8,
        "timestamptz" => timestamptz(),
        "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "date" => DataType::Date32,
        "time" => DataType::Time64(TimeUnit::Microsecond),
        "bytea" => DataType::Binary,
        "interval" => DataType::Interval(IntervalUnit::MonthDayNano),
        known if POSTGRES_TYPES.contains(&known.trim_end_matches("[]")) => return Err(unsupported(name)),
        _ => return Err(Error::new("42704", format!("type \"{lower}\" does not exist"))),
    })
}

/// Types of Postgres a user may expect, and that a column cannot have here.
const POSTGRES_TYPES: [&str; 24] = [
    "json",
    "jsonb",
    "uuid",
    "xml",
    "inet",
    "cidr",
    "macaddr",
    "money",
    "point",
    "box",
    "circle",
    "line",
    "polygon",
    "tsvector",
    "tsquery",
    "bit",
    "varbit",
    "serial",
    "bigserial",
    "smallserial",
    "hstore",
    "oid",
    "timetz",
    "int4range",
];

fn numeric(info: &ExactNumberInfo) -> Result<DataType> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => return Ok(DataType::Decimal128(NUMERIC_DEFAULT.0, NUMERIC_DEFAULT.1)),
        ExactNumberInfo::Precision(p) => (*p, 0),
        ExactNumberInfo::PrecisionAndScale(p, s) => (*p, *s),
    };
    if precision == 0 || precision > NUMERIC_PRECISION_MAX {
        return Err(Error::new("22023", format!("numeric precision {precision} must be between 1 and 38")));
    }
    let fits = i64::try_from(precision).is_ok_and(|p| (0..=p).contains(&scale));
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(p), Ok(s)) if fits => Ok(DataType::Decimal128(p, s)),
        _ => Err(Error::new("22023", format!("numeric scale {scale} must be between 0 and precision {precision}"))),
    }
}

fn unsupported(name: &str) -> Error {
    let lower = name.to_lowercase();
    let instead = if lower.contains("json") || lower.contains("uuid") || lower.contains("enum") {
        "Store it as text."
    } else if lower.contains("serial") {
        "There are no sequences: use bigint and give the values."
    } else if lower.contains("[]") || lower.contains("array") {
        "Store one row per element."
    } else {
        "Types are boolean, smallint, integer, bigint, real, double precision, numeric(p,s), text, bytea, date, time, \
         timestamp, timestamptz and interval."
    };
    Error::unsupported(format!("type {lower} is not supported"), instead)
}

/// The Postgres name of an Arrow type, for messages.
pub(crate) fn name_of(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "boolean".into(),
        DataType::Int16 => "smallint".into(),
        DataType::Int32 => "integer".into(),
        DataType::Int64 => "bigint".into(),
        DataType::Float32 => "real".into(),
        DataType::Float64 => "double precision".into(),
        DataType::Decimal128(p, s) => format!("numeric({p},{s})"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".into(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "bytea".into(),
        DataType::Date32 => "date".into(),
        DataType::Time64(_) => "time".into(),
        DataType::Timestamp(_, None) => "timestamp".into(),
        DataType::Timestamp(_, Some(_)) => "timestamptz".into(),
        DataType::Interval(_) => "interval".into(),
        other => other.to_string().to_lowercase(),
    }
}

/// The Postgres name of an Arrow type given as Arrow prints it.
pub(crate) fn name_of_arrow_text(text: &str) -> String {
    text.parse::<DataType>().map_or_else(|_| text.to_lowercase(), |data_type| name_of(&data_type))
}

/// A type a column may have (a view may compute others: they are refused there).
pub(crate) fn is_storable(data_type: &DataType) -> bool {
    match data_type {
        DataType::Boolean | DataType::Int16 | DataType::Int32 | DataType::Int64 => true,
        DataType::Float32 | DataType::Float64 | DataType::Decimal128(..) => true,
        DataType::Utf8 | DataType::Binary | DataType::Date32 => true,
        DataType::Time64(TimeUnit::Microsecond) | DataType::Interval(IntervalUnit::MonthDayNano) => true,
        DataType::Timestamp(TimeUnit::Microsecond, zone) => zone.as_deref().is_none_or(|z| z == "UTC"),
        _ => false,
    }
}

/// The storable type nearest to what an expression gives.
pub(crate) fn storable(data_type: &DataType) -> Option<DataType> {
    let nearest = match data_type {
        other if is_storable(other) => other.clone(),
        DataType::Int8 | DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 | DataType::UInt64 => DataType::Int64,
        DataType::Utf8View | DataType::LargeUtf8 | DataType::Null => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        DataType::Timestamp(_, None) => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Timestamp(_, Some(_)) => timestamptz(),
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Interval(_) => DataType::Interval(IntervalUnit::MonthDayNano),
        DataType::Date64 => DataType::Timestamp(TimeUnit::Microsecond, None),
        _ => return None,
    };
    Some(nearest)
}

/// The SQL type to write in a cast to `data_type`.
pub(crate) fn sql_type(data_type: &DataType) -> Result<ast::DataType> {
    use ast::DataType as T;
    Ok(match storable(data_type) {
        Some(DataType::Boolean) => T::Boolean,
        Some(DataType::Int16) => T::SmallInt(None),
        Some(DataType::Int32) => T::Integer(None),
        Some(DataType::Int64) => T::BigInt(None),
        Some(DataType::Float32) => T::Real,
        Some(DataType::Float64) => T::DoublePrecision,
        Some(DataType::Decimal128(p, s)) => T::Numeric(ExactNumberInfo::PrecisionAndScale(u64::from(p), i64::from(s))),
        Some(DataType::Utf8) => T::Text,
        Some(DataType::Binary) => T::Bytea,
        Some(DataType::Date32) => T::Date,
        Some(DataType::Time64(_)) => T::Time(None, TimezoneInfo::None),
        Some(DataType::Timestamp(_, None)) => T::Timestamp(None, TimezoneInfo::None),
        Some(DataType::Timestamp(_, Some(_))) => T::Timestamp(None, TimezoneInfo::WithTimeZone),
        Some(DataType::Interval(_)) => T::Interval { fields: None, precision: None },
        _ => return Err(unsupported(&data_type.to_string())),
    })
}

/// Bytes of a bytea literal: `\x` and hex digits, or text with backslash escapes (`\\`, three octal digits).
pub(crate) fn bytea(text: &str) -> Option<Vec<u8>> {
    let Some(digits) = text.strip_prefix("\\x") else { return bytea_escaped(text.as_bytes()) };
    let digits: Option<Vec<u32>> = digits.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16)).collect();
    let digits = digits.filter(|d| d.len() % 2 == 0)?;
    digits.chunks_exact(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).ok()).collect()
}

fn bytea_escaped(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        bytes.push(match (first, after) {
            (b'\\', [b'\\', after @ ..]) => {
                rest = after;
                b'\\'
            }
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                rest = after;
                (a - b'0') << 6 | (b - b'0') << 3 | (c - b'0')
            }
            (b'\\', _) => return None,
            (byte, _) => byte,
        });
    }
    Some(bytes)
}

/// The literal that DataFusion reads as these bytes.
pub(crate) fn bytea_literal(text: &str) -> Result<ast::Expr> {
    let Some(bytes) = bytea(text) else {
        return Err(Error::new("22P02", format!("invalid input syntax for type bytea: \"{text}\"")));
    };
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(ast::Expr::Value(ast::Value::HexStringLiteral(hex).into()))
}

/// A NULL of a type; every type of a column has one.
pub(crate) fn null_of(data_type: &DataType) -> Result<ScalarValue> {
    ScalarValue::try_from(data_type).map_err(Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlparser::dialect::PostgreSqlDialect;
    use sqlparser::parser::Parser;

    fn parse(text: &str) -> Result<DataType> {
        let dialect = PostgreSqlDialect {};
        let mut parser = Parser::new(&dialect).try_with_sql(text).map_err(|e| Error::from_parser(&e, text))?;
        arrow_type(&parser.parse_data_type().map_err(|e| Error::from_parser(&e, text))?)
    }

    #[test]
    fn every_column_type_survives_a_round_trip() {
        for text in [
            "boolean",
            "int2",
            "int4",
            "int8",
            "integer",
            "bigint",
            "smallint",
            "real",
            "float8",
            "double precision",
            "numeric",
            "numeric(12,2)",
            "decimal(5)",
            "text",
            "varchar",
            "varchar(10)",
            "char(3)",
            "bytea",
            "date",
            "time",
            "timestamp",
            "timestamptz",
            "timestamp with time zone",
            "interval",
            "character varying(3)",
        ] {
            let data_type = parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert!(is_storable(&data_type), "{text}");
            assert_eq!(arrow_type(&sql_type(&data_type).unwrap()).unwrap(), data_type, "{text}");
        }
    }

    #[test]
    fn bytea_has_two_spellings() {
        assert_eq!(bytea("\\x01fF").as_deref(), Some(&[1, 255][..]));
        assert_eq!(bytea("a\\\\b\\001").as_deref(), Some(&b"a\\b\x01"[..]));
        for wrong in ["\\x1", "\\xzz", "\\9", "\\"] {
            assert_eq!(bytea(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn others_are_refused_by_name() {
        for text in ["jsonb", "uuid", "int[]", "serial", "timetz", "money"] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.sqlstate, "0A000", "{text}");
            assert!(error.hint.is_some());
        }
        assert_eq!(parse("numeric(39,2)").unwrap_err().sqlstate, "22023");
        assert_eq!(parse("numeric(5,6)").unwrap_err().sqlstate, "22023");
    }
}
