//! Which Postgres type stands for which Arrow type, and back.
//!
//! A field's metadata `pg_type` (`oid`, `name`, `char`, `regclass`, …) overrides the type shown to the client; the
//! catalog tables use it. Types without a Postgres twin are shown as text.

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

/// (name, OID, bytes or -1, OID of the array type or 0)
const TYPES: &[(&str, u32, i16, u32)] = &[
    ("bool", BOOL, 1, 1000),
    ("bytea", BYTEA, -1, 1001),
    ("char", CHAR, 1, 1002),
    ("name", NAME, 64, 1003),
    ("int8", INT8, 8, 1016),
    ("int2", INT2, 2, 1005),
    ("int4", INT4, 4, 1007),
    ("regproc", REGPROC, 4, 1008),
    ("text", TEXT, -1, 1009),
    ("oid", OID, 4, 1028),
    ("tid", 27, 6, 1010),
    ("xid", XID, 4, 1011),
    ("cid", 29, 4, 1012),
    ("json", JSON, -1, 199),
    ("jsonb", 3802, -1, 3807),
    ("float4", FLOAT4, 4, 1021),
    ("float8", FLOAT8, 8, 1022),
    ("unknown", UNKNOWN, -2, 0),
    ("aclitem", 1033, 12, 1034),
    ("bpchar", BPCHAR, -1, 1014),
    ("varchar", VARCHAR, -1, 1015),
    ("date", DATE, 4, 1182),
    ("time", TIME, 8, 1183),
    ("timestamp", TIMESTAMP, 8, 1115),
    ("timestamptz", TIMESTAMPTZ, 8, 1185),
    ("interval", INTERVAL, 16, 1187),
    ("numeric", NUMERIC, -1, 1231),
    ("regprocedure", 2202, 4, 2207),
    ("regoper", 2203, 4, 2208),
    ("regclass", REGCLASS, 4, 2210),
    ("regtype", REGTYPE, 4, 2211),
    ("regnamespace", 4089, 4, 4090),
    ("regrole", 4096, 4, 4097),
    ("record", RECORD, -1, 2287),
    ("uuid", UUID, 16, 2951),
    ("pg_node_tree", 194, -1, 0),
    ("int2vector", 22, -1, 1006),
    ("oidvector", 30, -1, 1013),
    ("anyarray", 2277, -1, 0),
];

/// OID of a type name as used in `pg_type` metadata; `_name` and `name[]` are arrays.
pub fn oid_of_name(name: &str) -> Option<u32> {
    let by_name = |name: &str| TYPES.iter().find(|t| t.0 == name);
    match name.strip_prefix('_').or_else(|| name.strip_suffix("[]")) {
        Some(element) => by_name(element).map(|t| t.3).filter(|oid| *oid != 0),
        None => by_name(name).map(|t| t.1),
    }
}

/// Name of a type for messages.
pub fn name_of_oid(oid: u32) -> &'static str {
    match oid {
        BOOL => "boolean",
        INT2 => "smallint",
        INT4 => "integer",
        INT8 => "bigint",
        FLOAT4 => "real",
        FLOAT8 => "double precision",
        TIMESTAMP => "timestamp",
        TIMESTAMPTZ => "timestamp with time zone",
        _ => TYPES.iter().find(|t| t.1 == oid).map_or("unknown", |t| t.0),
    }
}

/// Array type of an element type; text[] when there is none.
pub fn array_of(element: u32) -> u32 {
    TYPES.iter().find(|t| t.1 == element && t.3 != 0).map_or(1009, |t| t.3)
}

/// Element type of an array type.
pub fn element_of(array: u32) -> Option<u32> {
    TYPES.iter().find(|t| t.3 == array && array != 0).map(|t| t.1)
}

/// Bytes of a value, -1 when they vary.
pub fn size_of_oid(oid: u32) -> i16 {
    TYPES.iter().find(|t| t.1 == oid).map_or(-1, |t| t.2)
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
    match field.metadata().get("pg_type").and_then(|name| oid_of_name(name)) {
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
