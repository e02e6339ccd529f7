//! Which Postgres type stands for which Arrow type, and back.
//!
//! A field's metadata `pg_type` (`oid`, `name`, `char`, `regclass`, …) overrides the type shown to the client; the
//! catalog tables use it. Types without a Postgres twin are shown as text.

use super::pg_type::{PG_TYPE, TYPES, type_by_oid, type_named};
use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};

// OIDs as in Postgres' `pg_type`.
pub const BOOL: u32 = 16;
pub const BYTEA: u32 = 17;
pub const CHAR: u32 = 18;
pub const NAME: u32 = 19;
pub const INT8: u32 = 20;
pub const INT2: u32 = 21;
pub const INT4: u32 = 23;
pub const REGPROC: u32 = 24;
pub const TEXT: u32 = 25;
pub const OID: u32 = 26;
pub const XID: u32 = 28;
pub const JSON: u32 = 114;
pub const FLOAT4: u32 = 700;
pub const FLOAT8: u32 = 701;
pub const UNKNOWN: u32 = 705;
pub const BPCHAR: u32 = 1042;
pub const VARCHAR: u32 = 1043;
pub const DATE: u32 = 1082;
pub const TIME: u32 = 1083;
pub const TIMESTAMP: u32 = 1114;
pub const TIMESTAMPTZ: u32 = 1184;
pub const INTERVAL: u32 = 1186;
pub const NUMERIC: u32 = 1700;
pub const REGCLASS: u32 = 2205;
pub const REGTYPE: u32 = 2206;
pub const RECORD: u32 = 2249;
pub const UUID: u32 = 2950;

const TEXT_ARRAY: u32 = 1009;

/// OID of a type name as used in `pg_type` metadata; `_name` and `name[]` are arrays.
pub fn oid_of_name(name: &str) -> Option<u32> {
    match name.strip_prefix('_') {
        Some(element) => type_named(element).map(|t| t.array).filter(|oid| *oid != 0),
        None => type_named(name).map(|t| t.oid),
    }
}

/// Name of a type for messages.
pub fn name_of_oid(oid: u32) -> &'static str {
    match oid {
        TIMESTAMP => "timestamp",
        TIME => "time",
        _ => type_by_oid(oid).map_or("unknown", |t| t.display),
    }
}

/// Array type of an element type; text[] when there is none.
pub fn array_of(element: u32) -> u32 {
    type_by_oid(element).map(|t| t.array).filter(|oid| *oid != 0).unwrap_or(TEXT_ARRAY)
}

/// Element type of an array type.
pub fn element_of(array: u32) -> Option<u32> {
    TYPES.iter().find(|t| t.array == array && array != 0).map(|t| t.oid)
}

/// Bytes of a value, -1 when they vary.
pub fn size_of_oid(oid: u32) -> i16 {
    type_by_oid(oid).map_or(-1, |t| t.length)
}

/// The Postgres type a value of this Arrow type is sent as.
pub fn oid_of_type(data_type: &DataType) -> u32 {
    match data_type {
        DataType::Boolean => BOOL,
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => INT2,
        DataType::Int32 | DataType::UInt16 => INT4,
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => INT8,
        DataType::Decimal128(..) | DataType::Decimal256(..) => NUMERIC,
        DataType::Decimal32(..) | DataType::Decimal64(..) => NUMERIC,
        DataType::Float16 | DataType::Float32 => FLOAT4,
        DataType::Float64 => FLOAT8,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => BYTEA,
        DataType::Date32 => DATE,
        DataType::Date64 => TIMESTAMP,
        DataType::Time32(_) | DataType::Time64(_) => TIME,
        DataType::Timestamp(_, None) => TIMESTAMP,
        DataType::Timestamp(_, Some(_)) => TIMESTAMPTZ,
        DataType::Interval(_) | DataType::Duration(_) => INTERVAL,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            let mut item = item;
            while let DataType::List(inner) | DataType::LargeList(inner) | DataType::FixedSizeList(inner, _) =
                item.data_type()
            {
                item = inner;
            }
            array_of(oid_of_field(item))
        }
        DataType::Struct(_) => RECORD,
        DataType::Dictionary(_, values) => oid_of_type(values),
        DataType::RunEndEncoded(_, values) => oid_of_type(values.data_type()),
        _ => TEXT,
    }
}

/// As [`oid_of_type`], unless the field's `pg_type` metadata says otherwise.
pub fn oid_of_field(field: &Field) -> u32 {
    match field.metadata().get(PG_TYPE).and_then(|name| oid_of_name(name)) {
        Some(oid) => oid,
        None => oid_of_type(field.data_type()),
    }
}

/// The Arrow type in which a value of this Postgres type is read; `None` = let the planner decide.
pub fn type_of_oid(oid: u32) -> Option<DataType> {
    if let Some(element) = element_of(oid) {
        return Some(DataType::List(Field::new("item", type_of_oid(element)?, true).into()));
    }
    Some(match oid {
        BOOL => DataType::Boolean,
        INT2 => DataType::Int16,
        INT4 => DataType::Int32,
        INT8 | OID | XID => DataType::Int64,
        FLOAT4 => DataType::Float32,
        FLOAT8 => DataType::Float64,
        // Precision and scale are the value's own; the planner coerces.
        NUMERIC => DataType::Decimal128(38, 10),
        TEXT | VARCHAR | BPCHAR | NAME | CHAR | JSON | UUID | REGCLASS | REGTYPE | REGPROC => DataType::Utf8,
        BYTEA => DataType::Binary,
        DATE => DataType::Date32,
        TIME => DataType::Time64(TimeUnit::Microsecond),
        TIMESTAMP => DataType::Timestamp(TimeUnit::Microsecond, None),
        TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        INTERVAL => DataType::Interval(IntervalUnit::MonthDayNano),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_arrays() {
        assert_eq!(oid_of_name("oid"), Some(26));
        assert_eq!(oid_of_name("_text"), Some(1009));
        assert_eq!(oid_of_name("oid[]"), Some(1028));
        assert_eq!(oid_of_name("nothing"), None);
        assert_eq!(element_of(1007), Some(INT4));
        assert_eq!(element_of(0), None);
        let list = DataType::List(Field::new("item", DataType::Int64, true).into());
        assert_eq!(oid_of_type(&list), 1016);
        assert_eq!(type_of_oid(1016), Some(list));
    }

    #[test]
    fn metadata_overrides() {
        let field = Field::new("relname", DataType::Utf8, true)
            .with_metadata([("pg_type".to_owned(), "name".to_owned())].into());
        assert_eq!(oid_of_field(&field), NAME);
    }
}
