//! Postgres' types: their OIDs and names, and which of them an Arrow type is shown as.
//!
//! The rows of `types.txt` are those of PostgreSQL 15's `pg_type`, cut down to the types a client may meet here. One
//! line is `oid typname typlen typbyval typtype typcategory typispreferred typdelim typelem typarray typinput
//! typoutput typreceive typsend typalign typstorage name-as-format_type-prints-it`, functions as `oid:name`.

use arrow::datatypes::{DataType, Field};
use std::sync::LazyLock;

/// Key of the Arrow field metadata that names a column's Postgres type where its Arrow type does not tell: an `oid`
/// travels as `Int64`, a `name`, `"char"` or `regclass` as `Utf8`. The value is a `pg_type.typname`.
pub const PG_TYPE: &str = "pg_type";

const BOOL: u32 = 16;
const BYTEA: u32 = 17;
const INT8: u32 = 20;
const INT2: u32 = 21;
const INT4: u32 = 23;
const TEXT: u32 = 25;
const FLOAT4: u32 = 700;
const FLOAT8: u32 = 701;
const BPCHAR: u32 = 1042;
const VARCHAR: u32 = 1043;
const DATE: u32 = 1082;
const TIME: u32 = 1083;
const TIMESTAMP: u32 = 1114;
const TIMESTAMPTZ: u32 = 1184;
const INTERVAL: u32 = 1186;
const NUMERIC: u32 = 1700;
const RECORD: u32 = 2249;

/// Bytes that Postgres adds to a length or a precision to make a type modifier.
const MODIFIER_HEADER: i32 = 4;

/// One row of `pg_type`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PgType {
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
pub(super) static TYPES: LazyLock<Vec<PgType>> =
    LazyLock::new(|| include_str!("types.txt").lines().filter_map(parse_line).collect());

/// The Postgres type an Arrow type is shown as.
pub fn type_oid(data_type: &DataType) -> u32 {
    match data_type {
        DataType::Boolean => BOOL,
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => INT2,
        DataType::UInt16 | DataType::Int32 => INT4,
        DataType::UInt32 | DataType::Int64 | DataType::UInt64 => INT8,
        DataType::Float16 | DataType::Float32 => FLOAT4,
        DataType::Float64 => FLOAT8,
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) | DataType::Decimal256(..) => {
            NUMERIC
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => BYTEA,
        DataType::Date32 | DataType::Date64 => DATE,
        DataType::Time32(_) | DataType::Time64(_) => TIME,
        DataType::Timestamp(_, None) => TIMESTAMP,
        DataType::Timestamp(_, Some(_)) => TIMESTAMPTZ,
        DataType::Interval(_) | DataType::Duration(_) => INTERVAL,
        DataType::Struct(_) | DataType::Map(..) | DataType::Union(..) => RECORD,
        DataType::Dictionary(_, value) => type_oid(value),
        DataType::RunEndEncoded(_, value) => type_oid(value.data_type()),
        DataType::List(f)
        | DataType::LargeList(f)
        | DataType::ListView(f)
        | DataType::LargeListView(f)
        | DataType::FixedSizeList(f, _) => array_of(field_oid(f)),
        DataType::Null | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => TEXT,
    }
}

/// The Postgres type of a column: what its metadata names under [`PG_TYPE`], else that of its Arrow type.
pub fn field_oid(field: &Field) -> u32 {
    let named = field.metadata().get(PG_TYPE).and_then(|name| type_named(name));
    named.map_or_else(|| type_oid(field.data_type()), |t| t.oid)
}

/// `pg_attribute.atttypmod`: precision and scale of a numeric, -1 for every other type.
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

pub(super) fn type_by_oid(oid: u32) -> Option<&'static PgType> {
    TYPES.binary_search_by_key(&oid, |t| t.oid).ok().map(|at| &TYPES[at])
}

/// By `typname` or as `format_type` prints it, with the aliases SQL allows (`int`, `decimal`, …), unqualified.
pub(super) fn type_named(name: &str) -> Option<&'static PgType> {
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

fn array_of(element: u32) -> u32 {
    type_by_oid(element).map(|t| t.array).filter(|array| *array != 0).unwrap_or(TEXT)
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
    use arrow::datatypes::TimeUnit;
    use std::collections::HashMap;
    use std::sync::Arc;

    #[test]
    fn every_line_is_a_type() {
        assert_eq!(TYPES.len(), include_str!("types.txt").lines().count());
        assert!(TYPES.windows(2).all(|pair| pair[0].oid < pair[1].oid), "types.txt is sorted by oid");
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
            assert_eq!(format_type(type_oid(&data_type), Some(type_modifier(&data_type))), name);
        }
    }

    #[test]
    fn metadata_names_the_type_that_arrow_does_not_know() {
        let metadata = HashMap::from([(PG_TYPE.to_string(), "oid".to_string())]);
        assert_eq!(field_oid(&Field::new("oid", DataType::Int64, false).with_metadata(metadata)), 26);
        assert_eq!(type_named("integer[]").map(|t| t.oid), Some(1007));
        assert_eq!(format_type(0, None), "-");
        assert_eq!(format_type(4_000_000, None), "???");
    }
}
