//! One column of a batch, ready to be written cell by cell as Postgres text or binary.
//!
//! The column's type is looked at once per batch, so a cell costs one match and no downcast. A cell that is NULL is
//! never written here: the caller asks [`Cells::is_null`] and writes its protocol's NULL.

use super::datetime::{
    EPOCH_DAYS, EPOCH_MICROS, Interval, MICROS_PER_DAY, put_date, put_interval, put_time, put_timestamp,
};
use super::number::*;
use super::oid::{self, oid_of_field, oid_of_type};
use crate::error::{Error, Result};
use arrow::array::types::*;
use arrow::array::*;
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use bytes::{BufMut, BytesMut};

/// A column's cells.
pub struct Cells {
    nulls: Option<arrow::buffer::NullBuffer>,
    all_null: bool,
    values: Values,
}

enum Values {
    Null,
    Boolean(BooleanArray),
    /// Any integer of at most 64 signed bits, sent in `bytes` bytes.
    Int16(Int16Array, IntWidth),
    Int32(Int32Array, IntWidth),
    Int64(Int64Array, IntWidth),
    Float32(Float32Array),
    Float64(Float64Array),
    Decimal(Decimal128Array, i8),
    Decimal256(Decimal256Array),
    Text(StringArray),
    LargeText(LargeStringArray),
    TextView(StringViewArray),
    Binary(BinaryArray),
    LargeBinary(LargeBinaryArray),
    BinaryView(BinaryViewArray),
    Date(Date32Array),
    Time(Time64MicrosecondArray),
    /// Microseconds; the offset of the session's zone when it is an instant.
    Timestamp(TimestampMicrosecondArray, Option<i32>),
    Interval(IntervalMonthDayNanoArray),
    List(Box<ListCells>),
    Struct(Vec<(u32, Cells)>),
}

struct ListCells {
    lists: LargeListArray,
    element_oid: u32,
    element: Cells,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum IntWidth {
    Two,
    Four,
    Eight,
}

impl IntWidth {
    fn of_oid(type_oid: u32) -> Option<IntWidth> {
        match type_oid {
            oid::INT2 => Some(IntWidth::Two),
            oid::INT8 => Some(IntWidth::Eight),
            oid::INT4 | oid::OID | oid::XID | 29 | 24 | 2202..=2206 | 4089 | 4096 => Some(IntWidth::Four),
            _ => None,
        }
    }

    fn put(self, out: &mut BytesMut, value: i64) {
        match self {
            IntWidth::Two => out.put_i16(value as i16),
            IntWidth::Four => out.put_i32(value as i32),
            IntWidth::Eight => out.put_i64(value),
        }
    }
}

impl Cells {
    /// Prepares a column; `zone_seconds` is the session's offset from UTC.
    ///
    /// # Errors
    /// When the type has no form Postgres knows.
    pub fn new(field: &Field, array: &ArrayRef, zone_seconds: i32) -> Result<Cells> {
        let values = values_of(field, array, zone_seconds)?;
        let all_null = matches!(values, Values::Null);
        // Dictionaries and the like carry NULLs in their values, so the logical ones count.
        Ok(Cells { nulls: array.logical_nulls(), all_null, values })
    }

    pub fn is_null(&self, row: usize) -> bool {
        self.all_null || self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// Writes a cell's text.
    pub fn put_text(&self, out: &mut BytesMut, row: usize) {
        match &self.values {
            Values::Null => {}
            Values::Boolean(a) => out.put_u8(if a.value(row) { b't' } else { b'f' }),
            Values::Int16(a, _) => put_integer(out, i64::from(a.value(row))),
            Values::Int32(a, _) => put_integer(out, i64::from(a.value(row))),
            Values::Int64(a, _) => put_integer(out, a.value(row)),
            Values::Float32(a) => put_float4(out, a.value(row)),
            Values::Float64(a) => put_float8(out, a.value(row)),
            Values::Decimal(a, scale) => put_decimal(out, a.value(row), *scale),
            Values::Decimal256(a) => out.put_slice(a.value_as_string(row).as_bytes()),
            Values::Text(a) => out.put_slice(a.value(row).as_bytes()),
            Values::LargeText(a) => out.put_slice(a.value(row).as_bytes()),
            Values::TextView(a) => out.put_slice(a.value(row).as_bytes()),
            Values::Binary(a) => put_hex(out, a.value(row)),
            Values::LargeBinary(a) => put_hex(out, a.value(row)),
            Values::BinaryView(a) => put_hex(out, a.value(row)),
            Values::Date(a) => put_date(out, a.value(row)),
            Values::Time(a) => put_time(out, a.value(row)),
            Values::Timestamp(a, offset) => put_timestamp(out, a.value(row), *offset),
            Values::Interval(a) => put_interval(out, interval_of(a.value(row))),
            Values::List(lists) => lists.put_text(out, row),
            Values::Struct(fields) => put_record_text(out, fields, row),
        }
    }

    /// Writes a cell's binary form.
    ///
    /// # Errors
    /// 0A000 for arrays of arrays.
    pub fn put_binary(&self, out: &mut BytesMut, row: usize) -> Result<()> {
        match &self.values {
            Values::Boolean(a) => out.put_u8(u8::from(a.value(row))),
            Values::Int16(a, width) => width.put(out, i64::from(a.value(row))),
            Values::Int32(a, width) => width.put(out, i64::from(a.value(row))),
            Values::Int64(a, width) => width.put(out, a.value(row)),
            Values::Float32(a) => out.put_f32(a.value(row)),
            Values::Float64(a) => out.put_f64(a.value(row)),
            Values::Decimal(a, scale) => put_numeric_binary(out, a.value(row), *scale),
            Values::Decimal256(_) => {
                return Err(Error::new("0A000", "numeric of more than 38 digits has no binary format")
                    .with_hint("Cast the column to numeric(38, n) or ask for text format."));
            }
            Values::Binary(a) => out.put_slice(a.value(row)),
            Values::LargeBinary(a) => out.put_slice(a.value(row)),
            Values::BinaryView(a) => out.put_slice(a.value(row)),
            Values::Date(a) => out.put_i32(match a.value(row) {
                special @ (i32::MAX | i32::MIN) => special,
                days => days.saturating_sub(EPOCH_DAYS),
            }),
            Values::Time(a) => out.put_i64(a.value(row)),
            Values::Timestamp(a, _) => out.put_i64(match a.value(row) {
                special @ (i64::MAX | i64::MIN) => special,
                micros => micros.saturating_sub(EPOCH_MICROS),
            }),
            Values::Interval(a) => {
                let interval = interval_of(a.value(row));
                out.put_i64(interval.micros);
                out.put_i32(interval.days);
                out.put_i32(interval.months);
            }
            Values::List(lists) => lists.put_binary(out, row)?,
            Values::Struct(fields) => put_record_binary(out, fields, row)?,
            Values::Null | Values::Text(_) | Values::LargeText(_) | Values::TextView(_) => self.put_text(out, row),
        }
        Ok(())
    }

    /// Writes a 32-bit length and the cell, or -1 for NULL.
    pub fn put_sized(&self, out: &mut BytesMut, row: usize, binary: bool) -> Result<()> {
        if self.is_null(row) {
            out.put_i32(-1);
            return Ok(());
        }
        let start = out.len();
        out.put_i32(0);
        if binary {
            self.put_binary(out, row)?;
        } else {
            self.put_text(out, row);
        }
        let length = (out.len() - start - 4) as u32;
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }
}

fn interval_of(value: IntervalMonthDayNano) -> Interval {
    Interval { months: value.months, days: value.days, micros: value.nanoseconds / 1000 }
}

fn values_of(field: &Field, array: &ArrayRef, zone_seconds: i32) -> Result<Values> {
    let data_type = array.data_type();
    let width = IntWidth::of_oid(oid_of_field(field));
    let to = |target: DataType| cast(array, &target).map_err(Error::from);
    let again = |target: DataType| values_of(&field.clone().with_data_type(target.clone()), &to(target)?, zone_seconds);
    Ok(match data_type {
        DataType::Null => Values::Null,
        DataType::Boolean => Values::Boolean(array.as_boolean().clone()),
        DataType::Int8 | DataType::UInt8 => {
            Values::Int16(to(DataType::Int16)?.as_primitive::<Int16Type>().clone(), width.unwrap_or(IntWidth::Two))
        }
        DataType::Int16 => Values::Int16(array.as_primitive::<Int16Type>().clone(), width.unwrap_or(IntWidth::Two)),
        DataType::UInt16 => {
            Values::Int32(to(DataType::Int32)?.as_primitive::<Int32Type>().clone(), width.unwrap_or(IntWidth::Four))
        }
        DataType::Int32 => Values::Int32(array.as_primitive::<Int32Type>().clone(), width.unwrap_or(IntWidth::Four)),
        DataType::UInt32 => {
            Values::Int64(to(DataType::Int64)?.as_primitive::<Int64Type>().clone(), width.unwrap_or(IntWidth::Eight))
        }
        DataType::Int64 => Values::Int64(array.as_primitive::<Int64Type>().clone(), width.unwrap_or(IntWidth::Eight)),
        // Counts of DataFusion's functions: row_number(), array_length().
        DataType::UInt64 => {
            let exact = CastOptions { safe: false, ..CastOptions::default() };
            let values = cast_with_options(array, &DataType::Int64, &exact)?;
            Values::Int64(values.as_primitive::<Int64Type>().clone(), width.unwrap_or(IntWidth::Eight))
        }
        DataType::Float16 => again(DataType::Float32)?,
        DataType::Float32 => Values::Float32(array.as_primitive::<Float32Type>().clone()),
        DataType::Float64 => Values::Float64(array.as_primitive::<Float64Type>().clone()),
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) => again(DataType::Decimal128(*p, *s))?,
        DataType::Decimal128(_, scale) => Values::Decimal(array.as_primitive::<Decimal128Type>().clone(), *scale),
        DataType::Decimal256(..) => Values::Decimal256(array.as_primitive::<Decimal256Type>().clone()),
        DataType::Utf8 => Values::Text(array.as_string::<i32>().clone()),
        DataType::LargeUtf8 => Values::LargeText(array.as_string::<i64>().clone()),
        DataType::Utf8View => Values::TextView(array.as_string_view().clone()),
        DataType::Binary => Values::Binary(array.as_binary::<i32>().clone()),
        DataType::LargeBinary => Values::LargeBinary(array.as_binary::<i64>().clone()),
        DataType::BinaryView => Values::BinaryView(array.as_binary_view().clone()),
        DataType::FixedSizeBinary(_) => again(DataType::Binary)?,
        DataType::Date32 => Values::Date(array.as_primitive::<Date32Type>().clone()),
        DataType::Date64 => again(DataType::Timestamp(TimeUnit::Microsecond, None))?,
        DataType::Time64(TimeUnit::Microsecond) => Values::Time(array.as_primitive::<Time64MicrosecondType>().clone()),
        DataType::Time32(_) | DataType::Time64(_) => again(DataType::Time64(TimeUnit::Microsecond))?,
        DataType::Timestamp(TimeUnit::Microsecond, zone) => Values::Timestamp(
            array.as_primitive::<TimestampMicrosecondType>().clone(),
            zone.is_some().then_some(zone_seconds),
        ),
        DataType::Timestamp(_, zone) => again(DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))?,
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            Values::Interval(array.as_primitive::<IntervalMonthDayNanoType>().clone())
        }
        DataType::Interval(_) => again(DataType::Interval(IntervalUnit::MonthDayNano))?,
        DataType::Duration(_) => {
            Values::Interval(interval_of_duration(&to(DataType::Duration(TimeUnit::Microsecond))?))
        }
        DataType::LargeList(element) => Values::List(Box::new(list_of(element, array.as_list::<i64>(), zone_seconds)?)),
        DataType::List(element) | DataType::FixedSizeList(element, _) => again(DataType::LargeList(element.clone()))?,
        DataType::Struct(fields) => Values::Struct(
            fields
                .iter()
                .zip(array.as_struct().columns())
                .map(|(field, column)| Ok((oid_of_field(field), Cells::new(field, column, zone_seconds)?)))
                .collect::<Result<_>>()?,
        ),
        DataType::Dictionary(_, values) => again(values.as_ref().clone())?,
        DataType::RunEndEncoded(_, values) => again(values.data_type().clone())?,
        _ => Values::Text(shown_as_text(array)?),
    })
}

/// A difference of timestamps, in microseconds, as days and the rest of a day.
pub fn interval_of_duration(micros: &ArrayRef) -> IntervalMonthDayNanoArray {
    micros.as_primitive::<DurationMicrosecondType>().unary(|micros: i64| {
        let days = micros / MICROS_PER_DAY;
        let rest = micros % MICROS_PER_DAY;
        IntervalMonthDayNano::new(0, i32::try_from(days).unwrap_or(i32::MAX), rest * 1000)
    })
}

fn list_of(element: &Field, lists: &LargeListArray, zone_seconds: i32) -> Result<ListCells> {
    Ok(ListCells {
        lists: lists.clone(),
        element_oid: oid_of_type(element.data_type()),
        element: Cells::new(element, lists.values(), zone_seconds)?,
    })
}

fn shown_as_text(array: &ArrayRef) -> Result<StringArray> {
    let options = arrow::util::display::FormatOptions::default();
    let formatter = arrow::util::display::ArrayFormatter::try_new(array.as_ref(), &options)?;
    (0..array.len()).map(|row| Ok(Some(formatter.value(row).try_to_string()?))).collect()
}

fn put_hex(out: &mut BytesMut, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(2 + bytes.len() * 2);
    out.put_slice(b"\\x");
    for byte in bytes {
        out.put_u8(DIGITS[usize::from(byte >> 4)]);
        out.put_u8(DIGITS[usize::from(byte & 15)]);
    }
}

impl ListCells {
    fn range(&self, row: usize) -> std::ops::Range<usize> {
        let offsets = self.lists.value_offsets();
        offsets[row] as usize..offsets[row + 1] as usize
    }

    fn put_text(&self, out: &mut BytesMut, row: usize) {
        let nested = matches!(self.element.values, Values::List(_));
        out.put_u8(b'{');
        for (position, index) in self.range(row).enumerate() {
            if position > 0 {
                out.put_u8(b',');
            }
            if self.element.is_null(index) {
                out.put_slice(b"NULL");
                continue;
            }
            let start = out.len();
            self.element.put_text(out, index);
            if !nested && element_needs_quotes(&out[start..]) {
                quote_from(out, start, true);
            }
        }
        out.put_u8(b'}');
    }

    fn put_binary(&self, out: &mut BytesMut, row: usize) -> Result<()> {
        if matches!(self.element.values, Values::List(_)) {
            return Err(
                Error::new("0A000", "arrays of arrays have no binary format yet").with_hint("Ask for text format.")
            );
        }
        let range = self.range(row);
        out.put_i32(i32::from(!range.is_empty()));
        out.put_i32(i32::from(range.clone().any(|index| self.element.is_null(index))));
        out.put_u32(self.element_oid);
        if !range.is_empty() {
            out.put_i32(range.len() as i32);
            out.put_i32(1);
        }
        for index in range {
            self.element.put_sized(out, index, true)?;
        }
        Ok(())
    }
}

fn element_needs_quotes(text: &[u8]) -> bool {
    text.is_empty()
        || text.eq_ignore_ascii_case(b"null")
        || text.iter().any(|b| matches!(b, b'{' | b'}' | b'"' | b'\\' | b',') || b.is_ascii_whitespace() || *b == 0x0b)
}

/// Puts what was written from `start` on in double quotes; arrays escape with backslashes, records by doubling.
fn quote_from(out: &mut BytesMut, start: usize, backslashes: bool) {
    let plain = out.split_off(start);
    out.put_u8(b'"');
    for byte in plain.iter().copied() {
        if matches!(byte, b'"' | b'\\') {
            out.put_u8(if backslashes { b'\\' } else { byte });
        }
        out.put_u8(byte);
    }
    out.put_u8(b'"');
}

fn put_record_text(out: &mut BytesMut, fields: &[(u32, Cells)], row: usize) {
    out.put_u8(b'(');
    for (position, (_, cells)) in fields.iter().enumerate() {
        if position > 0 {
            out.put_u8(b',');
        }
        if cells.is_null(row) {
            continue;
        }
        let start = out.len();
        cells.put_text(out, row);
        let text = &out[start..];
        let special = |b: &u8| matches!(b, b'(' | b')' | b'"' | b'\\' | b',') || b.is_ascii_whitespace() || *b == 0x0b;
        if text.is_empty() || text.iter().any(special) {
            quote_from(out, start, false);
        }
    }
    out.put_u8(b')');
}

fn put_record_binary(out: &mut BytesMut, fields: &[(u32, Cells)], row: usize) -> Result<()> {
    out.put_i32(fields.len() as i32);
    for (type_oid, cells) in fields {
        out.put_u32(*type_oid);
        cells.put_sized(out, row, true)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn texts(array: ArrayRef) -> Vec<Option<String>> {
        let field = Field::new("c", array.data_type().clone(), true);
        let cells = Cells::new(&field, &array, 0).expect("a column");
        let text = |row| {
            let mut out = BytesMut::new();
            cells.put_text(&mut out, row);
            String::from_utf8_lossy(&out).into_owned()
        };
        (0..array.len()).map(|row| (!cells.is_null(row)).then(|| text(row))).collect()
    }

    fn hex(array: ArrayRef, row: usize) -> String {
        let field = Field::new("c", array.data_type().clone(), true);
        let mut out = BytesMut::new();
        Cells::new(&field, &array, 0).expect("a column").put_binary(&mut out, row).expect("binary");
        out.iter().map(|b| format!("{b:02x}")).collect()
    }

    fn some(texts: &[&str]) -> Vec<Option<String>> {
        texts.iter().map(|text| (*text != "∅").then(|| (*text).to_owned())).collect()
    }

    /// Golden texts from PostgreSQL 15.
    #[test]
    fn every_type_has_its_text() {
        assert_eq!(texts(Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))), some(&["t", "f", "∅"]));
        assert_eq!(texts(Arc::new(NullArray::new(2))), some(&["∅", "∅"]));
        assert_eq!(texts(Arc::new(UInt64Array::from(vec![7]))), some(&["7"]));
        assert_eq!(texts(Arc::new(BinaryArray::from(vec![&b"\x00\xff"[..]]))), some(&["\\x00ff"]));
        assert_eq!(texts(Arc::new(Time64MicrosecondArray::from(vec![36_000_500_000]))), some(&["10:00:00.5"]));
        let instant = TimestampNanosecondArray::from(vec![1_357_034_400_000_000_000]).with_timezone("UTC");
        assert_eq!(texts(Arc::new(instant)), some(&["2013-01-01 10:00:00+00"]));
        assert_eq!(texts(Arc::new(Date32Array::from(vec![15_399]))), some(&["2012-02-29"]));
        let dictionary: DictionaryArray<Int32Type> = vec![Some("a"), None, Some("a")].into_iter().collect();
        assert_eq!(texts(Arc::new(dictionary)), some(&["a", "∅", "a"]));
    }

    #[test]
    fn arrays_are_quoted_as_in_postgres() {
        let mut builder = ListBuilder::new(StringBuilder::new());
        builder.append_value([Some("a"), None, Some(""), Some("null"), Some("x y"), Some("q\"\\"), Some("{,}")]);
        builder.append_value(std::iter::empty::<Option<&str>>());
        builder.append_null();
        let lists: ArrayRef = Arc::new(builder.finish());
        let expected = r#"{a,NULL,"","null","x y","q\"\\","{,}"}"#;
        assert_eq!(texts(lists.clone()), some(&[expected, "{}", "∅"]));
        assert_eq!(hex(lists, 1), "000000000000000000000019");
        let mut builder = ListBuilder::new(Int32Builder::new());
        builder.append_value([Some(1), None]);
        let expected = "00000001000000010000001700000002000000010000000400000001ffffffff";
        assert_eq!(hex(Arc::new(builder.finish()), 0), expected);
    }

    #[test]
    fn records_are_quoted_as_in_postgres() {
        let record = StructArray::from(vec![
            (Arc::new(Field::new("a", DataType::Int32, true)), Arc::new(Int32Array::from(vec![Some(1)])) as ArrayRef),
            (Arc::new(Field::new("b", DataType::Utf8, true)), Arc::new(StringArray::from(vec![r#"x" y"#]))),
            (Arc::new(Field::new("c", DataType::Utf8, true)), Arc::new(StringArray::from(vec![None::<&str>]))),
        ]);
        assert_eq!(texts(Arc::new(record)), some(&[r#"(1,"x"" y",)"#]));
    }

    /// Golden bytes from PostgreSQL 15's send functions.
    #[test]
    fn every_type_has_its_binary() {
        assert_eq!(hex(Arc::new(Int64Array::from(vec![-2])), 0), "fffffffffffffffe");
        assert_eq!(hex(Arc::new(Date32Array::from(vec![15_706])), 0), "0000128d");
        let timestamp = TimestampMicrosecondArray::from(vec![1_357_034_400_000_000]);
        assert_eq!(hex(Arc::new(timestamp), 0), "00017535f6244800");
        let interval = IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(14, 3, 14_706_700_000_000)]);
        assert_eq!(hex(Arc::new(interval), 0), "000000036c966ee0000000030000000e");
    }

    #[test]
    fn oid_metadata_narrows_integers() {
        let field =
            Field::new("oid", DataType::Int64, false).with_metadata([("pg_type".to_owned(), "oid".to_owned())].into());
        let array: ArrayRef = Arc::new(Int64Array::from(vec![4_000_000_000]));
        let mut out = BytesMut::new();
        Cells::new(&field, &array, 0).expect("a column").put_sized(&mut out, 0, true).expect("binary");
        assert_eq!(&out[..], b"\0\0\0\x04\xee\x6b\x28\x00");
    }
}
