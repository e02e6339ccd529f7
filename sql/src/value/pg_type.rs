//! The one table of Postgres' types: what the catalogs show of them, and what [`super::oid`] looks up.
//!
//! The rows of `pg_types.txt` are those of PostgreSQL 15's `pg_type`, cut down to the types a client may meet here. One
//! line is `oid typname typlen typbyval typtype typcategory typispreferred typdelim typelem typarray typinput
//! typoutput typreceive typsend typalign typstorage name-as-format_type-prints-it`, functions as `oid:name`.

use super::oid::{BPCHAR, NUMERIC, VARCHAR};
use arrow::datatypes::DataType;
use std::sync::LazyLock;

/// Key of the Arrow field metadata that names a column's Postgres type where its Arrow type does not tell: an `oid`
/// travels as `Int64`, a `name`, `"char"` or `regclass` as `Utf8`. The value is a `pg_type.typname`.
pub const PG_TYPE: &str = "pg_type";

/// Bytes that Postgres adds to a length or a precision to make a type modifier.
const MODIFIER_HEADER: i32 = 4;

/// One row of `pg_type`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PgType {
    pub oid: u32,
    pub name: &'static str,
    pub length: i16,
    pub by_value: bool,
    pub kind: &'static str,
    pub category: &'static str,
    pub preferred: bool,
    pub delimiter: &'static str,
    pub element: u32,
    pub array: u32,
    /// Input, output, receive and send functions: OID and name.
    pub functions: [(u32, &'static str); 4],
    pub align: &'static str,
    pub storage: &'static str,
    /// As `format_type` prints it, e.g. `double precision`.
    pub display: &'static str,
}

/// Every type, in order of OID.
pub(crate) static TYPES: LazyLock<Vec<PgType>> =
    LazyLock::new(|| include_str!("pg_types.txt").lines().filter_map(parse_line).collect());

/// `pg_attribute.atttypmod`, and what a result is described with: precision and scale of a numeric, -1 for every other type.
pub fn type_modifier(data_type: &DataType) -> i32 {
    match data_type {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => {
            ((i32::from(*precision) << 16) | (i32::from(*scale) & 0x7ff)) + MODIFIER_HEADER
        }
        _ => -1,
    }
}

/// A type's name with its modifier, e.g. `numeric(12,2)`; `-` for no type and `???` for an unknown one, as Postgres.
pub fn format_type(oid: u32, modifier: Option<i32>) -> String {
    if oid == 0 {
        return "-".into();
    }
    let Some(pg_type) = type_by_oid(oid) else { return "???".into() };
    let Some(modifier) = modifier.filter(|m| *m >= MODIFIER_HEADER) else { return pg_type.display.into() };
    let value = modifier - MODIFIER_HEADER;
    match oid {
        NUMERIC => format!("numeric({},{})", value >> 16, value & 0x7ff),
        BPCHAR | VARCHAR => format!("{}({value})", pg_type.display),
        _ => pg_type.display.into(),
    }
}

pub(crate) fn type_by_oid(oid: u32) -> Option<&'static PgType> {
    TYPES.binary_search_by_key(&oid, |t| t.oid).ok().map(|at| &TYPES[at])
}

/// By `typname` or as `format_type` prints it, with the aliases SQL allows (`int`, `decimal`, …), unqualified.
pub(crate) fn type_named(name: &str) -> Option<&'static PgType> {
    let canonical = match name {
        "int" => "int4",
        "decimal" => "numeric",
        "float" => "float8",
        "\"char\"" => "char",
        "char" => return TYPES.iter().find(|t| t.name == "char"),
        other => other,
    };
    if let Some(element) = canonical.strip_suffix("[]") {
        return type_named(element).and_then(|t| type_by_oid(t.array));
    }
    TYPES.iter().find(|t| t.name == canonical || t.display == canonical)
}

fn parse_line(line: &'static str) -> Option<PgType> {
    let mut words = line.splitn(17, ' ');
    let mut word = || words.next();
    Some(PgType {
        oid: word()?.parse().ok()?,
        name: word()?,
        length: word()?.parse().ok()?,
        by_value: word()? == "t",
        kind: word()?,
        category: word()?,
        preferred: word()? == "t",
        delimiter: word()?,
        element: word()?.parse().ok()?,
        array: word()?.parse().ok()?,
        functions: [function(word()?)?, function(word()?)?, function(word()?)?, function(word()?)?],
        align: word()?,
        storage: word()?,
        display: word()?,
    })
}

fn function(word: &'static str) -> Option<(u32, &'static str)> {
    let (oid, name) = word.split_once(':')?;
    Some((oid.parse().ok()?, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::oid::oid_of_type;
    use arrow::datatypes::{Field, TimeUnit};
    use std::sync::Arc;

    #[test]
    fn every_line_is_a_type() {
        assert_eq!(TYPES.len(), include_str!("pg_types.txt").lines().count());
        assert!(TYPES.windows(2).all(|pair| pair[0].oid < pair[1].oid), "pg_types.txt is sorted by oid");
    }

    #[test]
    fn arrow_types_are_shown_as_postgres_types() {
        let list = DataType::List(Arc::new(Field::new("item", DataType::Int32, true)));
        let timestamptz = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        for (data_type, name) in [
            (DataType::Int64, "bigint"),
            (DataType::Utf8View, "text"),
            (DataType::Decimal128(12, 2), "numeric(12,2)"),
            (timestamptz, "timestamp with time zone"),
            (list, "integer[]"),
            (DataType::Binary, "bytea"),
        ] {
            assert_eq!(format_type(oid_of_type(&data_type), Some(type_modifier(&data_type))), name);
        }
    }

    #[test]
    fn types_have_names() {
        assert_eq!(type_named("integer[]").map(|t| t.oid), Some(1007));
        assert_eq!(type_named("_text").map(|t| t.oid), Some(1009));
        assert_eq!(format_type(0, None), "-");
        assert_eq!(format_type(4_000_000, None), "???");
    }
}
