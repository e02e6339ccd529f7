//! Values from a client, text or binary, into Arrow columns: for COPY rows and for Bind parameters alike.
//!
//! A decoder appends one value or one NULL, or fails and appends nothing. All input is hostile: lengths are checked
//! against the bytes that are there, text must be UTF-8.

use super::datetime::*;
use super::interval::parse_interval;
use super::number::*;
use super::oid::{self, element_of, name_of_oid, oid_of_type, type_of_oid};
use crate::error::{Error, Result};
use arrow::array::*;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::*;
use bytes::Bytes;
use datafusion::common::ScalarValue;
use std::sync::Arc;

/// Longest value quoted in an error message, in bytes.
const QUOTED_BYTES_MAX: usize = 100;

/// Builds one column of a client's values.
pub struct ColumnDecoder {
    builder: Builder,
    type_oid: u32,
    zone_seconds: i32,
}

enum Builder {
    Boolean(BooleanBuilder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Decimal(Decimal128Builder, u8, i8),
    Text(StringBuilder),
    TextView(StringViewBuilder),
    Binary(BinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Instant(TimestampMicrosecondBuilder),
    Interval(IntervalMonthDayNanoBuilder),
    List {
        field: FieldRef,
        element: Box<ColumnDecoder>,
        offsets: Vec<i32>,
        valid: Vec<bool>,
    },
    /// Any other type: read as `via`, cast once per batch.
    Cast {
        target: DataType,
        via: Box<ColumnDecoder>,
    },
}

impl ColumnDecoder {
    /// A decoder of `data_type`; `zone_seconds` is the session's offset from UTC.
    pub fn new(data_type: &DataType, zone_seconds: i32) -> ColumnDecoder {
        let via = |via: DataType| Builder::Cast {
            target: data_type.clone(),
            via: Box::new(ColumnDecoder::new(&via, zone_seconds)),
        };
        let builder = match data_type {
            DataType::Boolean => Builder::Boolean(BooleanBuilder::new()),
            DataType::Int16 => Builder::Int16(Int16Builder::new()),
            DataType::Int32 => Builder::Int32(Int32Builder::new()),
            DataType::Int64 => Builder::Int64(Int64Builder::new()),
            DataType::Float32 => Builder::Float32(Float32Builder::new()),
            DataType::Float64 => Builder::Float64(Float64Builder::new()),
            DataType::Decimal128(precision, scale) => {
                Builder::Decimal(Decimal128Builder::new().with_data_type(data_type.clone()), *precision, *scale)
            }
            DataType::Utf8 => Builder::Text(StringBuilder::new()),
            DataType::Utf8View => Builder::TextView(StringViewBuilder::new()),
            DataType::Binary => Builder::Binary(BinaryBuilder::new()),
            DataType::Date32 => Builder::Date(Date32Builder::new()),
            DataType::Time64(TimeUnit::Microsecond) => Builder::Time(Time64MicrosecondBuilder::new()),
            DataType::Timestamp(TimeUnit::Microsecond, None) => Builder::Timestamp(TimestampMicrosecondBuilder::new()),
            DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
                Builder::Instant(TimestampMicrosecondBuilder::new().with_data_type(data_type.clone()))
            }
            DataType::Interval(IntervalUnit::MonthDayNano) => Builder::Interval(IntervalMonthDayNanoBuilder::new()),
            DataType::List(field) => Builder::List {
                field: field.clone(),
                element: Box::new(ColumnDecoder::new(field.data_type(), zone_seconds)),
                offsets: vec![0],
                valid: Vec::new(),
            },
            DataType::Int8 | DataType::UInt8 => via(DataType::Int16),
            DataType::UInt16 => via(DataType::Int32),
            DataType::UInt32 => via(DataType::Int64),
            DataType::UInt64 => via(DataType::Int64),
            DataType::Timestamp(_, zone) => via(DataType::Timestamp(TimeUnit::Microsecond, zone.clone())),
            DataType::Time32(_) | DataType::Time64(_) => via(DataType::Time64(TimeUnit::Microsecond)),
            DataType::Date64 => via(DataType::Timestamp(TimeUnit::Microsecond, None)),
            DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => via(DataType::Binary),
            DataType::LargeList(field) => via(DataType::List(field.clone())),
            _ => via(DataType::Utf8),
        };
        ColumnDecoder { builder, type_oid: oid_of_type(data_type), zone_seconds }
    }

    pub fn append_null(&mut self) {
        match &mut self.builder {
            Builder::Boolean(b) => b.append_null(),
            Builder::Int16(b) => b.append_null(),
            Builder::Int32(b) => b.append_null(),
            Builder::Int64(b) => b.append_null(),
            Builder::Float32(b) => b.append_null(),
            Builder::Float64(b) => b.append_null(),
            Builder::Decimal(b, ..) => b.append_null(),
            Builder::Text(b) => b.append_null(),
            Builder::TextView(b) => b.append_null(),
            Builder::Binary(b) => b.append_null(),
            Builder::Date(b) => b.append_null(),
            Builder::Time(b) => b.append_null(),
            Builder::Timestamp(b) | Builder::Instant(b) => b.append_null(),
            Builder::Interval(b) => b.append_null(),
            Builder::List { offsets, valid, .. } => {
                offsets.push(offsets.last().copied().unwrap_or(0));
                valid.push(false);
            }
            Builder::Cast { via, .. } => via.append_null(),
        }
    }

    /// Appends a value in Postgres' text form.
    ///
    /// # Errors
    /// 22P02, 22003, 22007, 22008, 22021 as Postgres has them.
    pub fn append_text(&mut self, text: &[u8]) -> Result<()> {
        let type_oid = self.type_oid;
        let number = |error| number_error(error, type_oid, text);
        let moment = |error| moment_error(error, type_oid, text);
        match &mut self.builder {
            Builder::Boolean(b) => b.append_value(parse_boolean(text).ok_or_else(|| syntax(type_oid, text))?),
            Builder::Int16(b) => {
                let value = parse_integer(text).map_err(number)?;
                b.append_value(i16::try_from(value).map_err(|_| number(NumberError::OutOfRange))?);
            }
            Builder::Int32(b) => {
                let value = parse_integer(text).map_err(number)?;
                b.append_value(i32::try_from(value).map_err(|_| number(NumberError::OutOfRange))?);
            }
            Builder::Int64(b) => b.append_value(parse_integer(text).map_err(number)?),
            Builder::Float32(b) => {
                let value = parse_float(text).map_err(number)?;
                if (value as f32).is_infinite() && value.is_finite() {
                    return Err(number(NumberError::OutOfRange));
                }
                b.append_value(value as f32);
            }
            Builder::Float64(b) => b.append_value(parse_float(text).map_err(number)?),
            Builder::Decimal(b, precision, scale) => {
                b.append_value(parse_decimal(text, *precision, *scale).map_err(number)?);
            }
            Builder::Text(b) => b.append_value(utf8(text)?),
            Builder::TextView(b) => {
                b.try_append_value(utf8(text)?)?;
            }
            Builder::Binary(b) => b.append_value(parse_bytea(text).ok_or_else(|| syntax(type_oid, text))?),
            Builder::Date(b) => b.append_value(parse_date(text).map_err(moment)?),
            Builder::Time(b) => b.append_value(parse_time(text).map_err(moment)?),
            Builder::Timestamp(b) => b.append_value(parse_timestamp(text).map_err(moment)?),
            Builder::Instant(b) => b.append_value(parse_instant(text, self.zone_seconds).map_err(moment)?),
            Builder::Interval(b) => {
                b.append_value(interval_of_text(utf8(text)?).ok_or_else(|| moment(DateTimeError::Syntax))?);
            }
            Builder::List { element, offsets, valid, .. } => {
                let items = parse_array(text)
                    .ok_or_else(|| Error::new("22P02", format!("malformed array literal: \"{}\"", quoted(text))))?;
                append_list(element, offsets, valid, items.iter().map(Option::as_deref), ColumnDecoder::append_text)?;
            }
            Builder::Cast { via, .. } => via.append_text(text)?,
        }
        Ok(())
    }

    /// Appends a value in Postgres' binary form of this column's own type.
    ///
    /// # Errors
    /// 22P03 when the bytes are no such value.
    pub fn append_binary(&mut self, bytes: &[u8]) -> Result<()> {
        let type_oid = self.type_oid;
        let wrong = || Error::new("22P03", format!("incorrect binary data format for {}", name_of_oid(type_oid)));
        let number = |error| match error {
            NumberError::Syntax => wrong(),
            NumberError::OutOfRange => Error::new("22003", "value overflows numeric format"),
        };
        match &mut self.builder {
            Builder::Boolean(b) => b.append_value(fixed::<1>(bytes).ok_or_else(wrong)? != [0]),
            Builder::Int16(b) => b.append_value(i16::from_be_bytes(fixed(bytes).ok_or_else(wrong)?)),
            Builder::Int32(b) => b.append_value(i32::from_be_bytes(fixed(bytes).ok_or_else(wrong)?)),
            Builder::Int64(b) => b.append_value(i64::from_be_bytes(fixed(bytes).ok_or_else(wrong)?)),
            Builder::Float32(b) => {
                let value = f32::from_be_bytes(fixed(bytes).ok_or_else(wrong)?);
                b.append_value(if value.is_nan() { f32::NAN } else { value });
            }
            Builder::Float64(b) => {
                let value = f64::from_be_bytes(fixed(bytes).ok_or_else(wrong)?);
                b.append_value(if value.is_nan() { f64::NAN } else { value });
            }
            Builder::Decimal(b, precision, scale) => {
                b.append_value(parse_numeric_binary(bytes, *precision, *scale).map_err(number)?);
            }
            Builder::Text(_) | Builder::TextView(_) => return self.append_text(bytes),
            Builder::Binary(b) => b.append_value(bytes),
            Builder::Date(b) => b.append_value(match i32::from_be_bytes(fixed(bytes).ok_or_else(wrong)?) {
                special @ (i32::MAX | i32::MIN) => special,
                days => days.checked_add(EPOCH_DAYS).ok_or_else(wrong)?,
            }),
            Builder::Time(b) => {
                let micros = i64::from_be_bytes(fixed(bytes).ok_or_else(wrong)?);
                b.append_value(Some(micros).filter(|m| (0..=MICROS_PER_DAY).contains(m)).ok_or_else(wrong)?);
            }
            Builder::Timestamp(b) | Builder::Instant(b) => {
                b.append_value(match i64::from_be_bytes(fixed(bytes).ok_or_else(wrong)?) {
                    special @ (i64::MAX | i64::MIN) => special,
                    micros => micros.checked_add(EPOCH_MICROS).ok_or_else(wrong)?,
                });
            }
            Builder::Interval(b) => b.append_value(interval_from_binary(bytes).ok_or_else(wrong)?),
            Builder::List { element, offsets, valid, .. } => {
                let items = array_from_binary(bytes, element.type_oid).ok_or_else(wrong)?;
                append_list(element, offsets, valid, items.iter().copied(), ColumnDecoder::append_binary)?;
            }
            Builder::Cast { target: DataType::UInt64, via } if bytes.len() == 8 => {
                let value = i64::from_be_bytes(fixed(bytes).ok_or_else(wrong)?);
                via.append_text(value.to_string().as_bytes())?;
            }
            Builder::Cast { via, .. } => via.append_binary(bytes)?,
        }
        Ok(())
    }

    /// The values so far, as one array; the decoder starts over.
    pub fn finish(&mut self) -> Result<ArrayRef> {
        Ok(match &mut self.builder {
            Builder::Boolean(b) => Arc::new(b.finish()),
            Builder::Int16(b) => Arc::new(b.finish()),
            Builder::Int32(b) => Arc::new(b.finish()),
            Builder::Int64(b) => Arc::new(b.finish()),
            Builder::Float32(b) => Arc::new(b.finish()),
            Builder::Float64(b) => Arc::new(b.finish()),
            Builder::Decimal(b, ..) => Arc::new(b.finish()),
            Builder::Text(b) => Arc::new(b.finish()),
            Builder::TextView(b) => Arc::new(b.finish()),
            Builder::Binary(b) => Arc::new(b.finish()),
            Builder::Date(b) => Arc::new(b.finish()),
            Builder::Time(b) => Arc::new(b.finish()),
            Builder::Timestamp(b) | Builder::Instant(b) => Arc::new(b.finish()),
            Builder::Interval(b) => Arc::new(b.finish()),
            Builder::List { field, element, offsets, valid } => {
                let offsets = std::mem::replace(offsets, vec![0]);
                let nulls = arrow::buffer::NullBuffer::from(std::mem::take(valid));
                let offsets = arrow::buffer::OffsetBuffer::new(offsets.into());
                Arc::new(ListArray::try_new(field.clone(), offsets, element.finish()?, Some(nulls))?)
            }
            Builder::Cast { target, via } => {
                let values = via.finish()?;
                cast_with_options(&values, target, &CastOptions { safe: false, ..Default::default() })?
            }
        })
    }
}

/// Appends a list's items; a bad item leaves the list's element column to be thrown away with the batch.
fn append_list<'a>(
    element: &mut ColumnDecoder,
    offsets: &mut Vec<i32>,
    valid: &mut Vec<bool>,
    items: impl Iterator<Item = Option<&'a [u8]>>,
    append: impl Fn(&mut ColumnDecoder, &[u8]) -> Result<()>,
) -> Result<()> {
    let mut end = offsets.last().copied().unwrap_or(0);
    for item in items {
        match item {
            Some(item) => append(element, item)?,
            None => element.append_null(),
        }
        end = end.checked_add(1).ok_or_else(|| Error::new("54000", "array is too large"))?;
    }
    offsets.push(end);
    valid.push(true);
    Ok(())
}

/// Reads one Bind parameter as `target`. `type_oid`: what the client declared, or what ParameterDescription said.
pub fn decode_parameter(
    bytes: Option<&Bytes>,
    binary: bool,
    type_oid: u32,
    target: &DataType,
    zone_seconds: i32,
) -> Result<ScalarValue> {
    let Some(bytes) = bytes else { return Ok(ScalarValue::try_from(target)?) };
    let foreign = type_oid != oid_of_type(target);
    let source = match type_oid {
        oid::UNKNOWN | 0 => target.clone(),
        oid::NUMERIC if foreign && binary => {
            let text = numeric_binary_text(bytes)
                .map_err(|_| Error::new("22P03", "incorrect binary data format for numeric"))?;
            return decode_parameter(Some(&Bytes::from(text)), false, oid::UNKNOWN, target, zone_seconds);
        }
        oid::OID | oid::XID if binary => {
            let four = fixed::<4>(bytes).ok_or_else(|| Error::new("22P03", "incorrect binary data format for oid"))?;
            return Ok(ScalarValue::Int64(Some(i64::from(u32::from_be_bytes(four)))).cast_to(target)?);
        }
        _ if foreign && binary => type_of_oid(type_oid).ok_or_else(|| {
            Error::new("0A000", format!("parameters of type oid {type_oid} are not supported in binary format"))
                .with_hint("Send the parameter as text or cast it.")
        })?,
        // Text of any other type reads as the type the statement wants.
        _ => target.clone(),
    };
    let mut decoder = ColumnDecoder::new(&source, zone_seconds);
    if binary {
        decoder.append_binary(bytes)?;
    } else {
        decoder.append_text(bytes)?;
    }
    let value = ScalarValue::try_from_array(&decoder.finish()?, 0)?;
    if source == *target { Ok(value) } else { Ok(value.cast_to(target)?) }
}

fn fixed<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

/// Text of the client, checked.
pub fn utf8(bytes: &[u8]) -> Result<&str> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let at = bytes.get(error.valid_up_to()).copied().unwrap_or(0);
        Error::new("22021", format!("invalid byte sequence for encoding \"UTF8\": 0x{at:02x}"))
    })?;
    if bytes.contains(&0) {
        return Err(Error::new("22021", "invalid byte sequence for encoding \"UTF8\": 0x00"));
    }
    Ok(text)
}

/// A client's value, cut for a message.
pub fn quoted(bytes: &[u8]) -> String {
    if bytes.len() <= QUOTED_BYTES_MAX {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    format!("{}...", String::from_utf8_lossy(&bytes[..QUOTED_BYTES_MAX]))
}

fn syntax(type_oid: u32, text: &[u8]) -> Error {
    Error::new("22P02", format!("invalid input syntax for type {}: \"{}\"", name_of_oid(type_oid), quoted(text)))
}

fn number_error(error: NumberError, type_oid: u32, text: &[u8]) -> Error {
    match error {
        NumberError::Syntax => syntax(type_oid, text),
        NumberError::OutOfRange if type_oid == oid::NUMERIC => Error::new("22003", "numeric field overflow"),
        NumberError::OutOfRange => Error::new(
            "22003",
            format!("value \"{}\" is out of range for type {}", quoted(text), name_of_oid(type_oid)),
        ),
    }
}

fn moment_error(error: DateTimeError, type_oid: u32, text: &[u8]) -> Error {
    match error {
        DateTimeError::Syntax => {
            let mut error = syntax(type_oid, text);
            error.sqlstate = "22007";
            error
        }
        DateTimeError::OutOfRange => {
            Error::new("22008", format!("date/time field value out of range: \"{}\"", quoted(text)))
        }
    }
}

fn parse_boolean(text: &[u8]) -> Option<bool> {
    match text {
        b"t" => return Some(true),
        b"f" => return Some(false),
        _ => {}
    }
    let text = text.trim_ascii().to_ascii_lowercase();
    let prefix_of = |word: &[u8], least: usize| text.len() >= least && word.starts_with(&text);
    if prefix_of(b"true", 1) || prefix_of(b"yes", 1) || prefix_of(b"on", 2) || text == b"1" {
        Some(true)
    } else if prefix_of(b"false", 1) || prefix_of(b"no", 1) || prefix_of(b"off", 2) || text == b"0" {
        Some(false)
    } else {
        None
    }
}

/// `\xDEADBEEF`, or the old escape format.
fn parse_bytea(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
    if let Some(hex) = text.strip_prefix(b"\\x") {
        if hex.len() % 2 != 0 {
            return None;
        }
        return hex.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect();
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = match (*first, tail) {
            (b'\\', [b'\\', after @ ..]) => {
                out.push(b'\\');
                after
            }
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                after
            }
            (b'\\', _) => return None,
            (byte, after) => {
                out.push(byte);
                after
            }
        };
    }
    Some(out)
}

fn interval_of_text(text: &str) -> Option<IntervalMonthDayNano> {
    let interval = parse_interval(text)?;
    Some(IntervalMonthDayNano::new(interval.months, interval.days, interval.micros.checked_mul(1000)?))
}

fn interval_from_binary(bytes: &[u8]) -> Option<IntervalMonthDayNano> {
    let (micros, rest) = bytes.split_first_chunk::<8>()?;
    let (days, rest) = rest.split_first_chunk::<4>()?;
    let months = fixed::<4>(rest)?;
    let nanos = i64::from_be_bytes(*micros).checked_mul(1000)?;
    Some(IntervalMonthDayNano::new(i32::from_be_bytes(months), i32::from_be_bytes(*days), nanos))
}

/// Items of a one-dimensional array literal `{a,"b c",NULL}`.
fn parse_array(text: &[u8]) -> Option<Vec<Option<Vec<u8>>>> {
    let inner = text.trim_ascii().strip_prefix(b"{")?.strip_suffix(b"}")?;
    let mut items = Vec::new();
    if inner.trim_ascii().is_empty() {
        return Some(items);
    }
    let mut rest = inner;
    loop {
        rest = rest.trim_ascii_start();
        let (item, after) = match rest {
            [b'"', quoted @ ..] => array_item(quoted, true)?,
            plain => array_item(plain, false)?,
        };
        items.push(item);
        match after.trim_ascii_start() {
            [] => return Some(items),
            [b',', next @ ..] => rest = next,
            _ => return None,
        }
    }
}

fn array_item(text: &[u8], in_quotes: bool) -> Option<(Option<Vec<u8>>, &[u8])> {
    let mut item = Vec::new();
    let mut rest = text;
    loop {
        match rest {
            [b'\\', escaped, after @ ..] => {
                item.push(*escaped);
                rest = after;
            }
            [b'"', after @ ..] if in_quotes => return Some((Some(item), after)),
            [] | [b',', ..] if !in_quotes => {
                let item = item.trim_ascii_end().to_vec();
                let null = item.eq_ignore_ascii_case(b"null");
                return (!item.is_empty()).then_some(((!null).then_some(item), rest));
            }
            [] | [b'\\'] => return None,
            [b'{' | b'}' | b'"', ..] if !in_quotes => return None,
            [byte, after @ ..] => {
                item.push(*byte);
                rest = after;
            }
        }
    }
}

/// Items of a binary one-dimensional array of `element_oid`.
fn array_from_binary(bytes: &[u8], element_oid: u32) -> Option<Vec<Option<&[u8]>>> {
    let mut rest = bytes;
    let mut word = || -> Option<i32> {
        let (word, after) = rest.split_first_chunk::<4>()?;
        rest = after;
        Some(i32::from_be_bytes(*word))
    };
    let (dimensions, _has_null, sent_oid) = (word()?, word()?, word()? as u32);
    if sent_oid != element_oid && element_of(sent_oid).is_none() && sent_oid != oid::VARCHAR && sent_oid != oid::UNKNOWN
    {
        return None;
    }
    match dimensions {
        0 => return rest.is_empty().then(Vec::new),
        1 => {}
        _ => return None,
    }
    let (count, _lower_bound) = (usize::try_from(word()?).ok()?, word()?);
    if count > rest.len() / 4 {
        return None;
    }
    let mut items = Vec::with_capacity(count);
    for _ in 0..count {
        let (length, after) = rest.split_first_chunk::<4>()?;
        rest = after;
        match i32::from_be_bytes(*length) {
            -1 => items.push(None),
            length => {
                let (item, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                items.push(Some(item));
                rest = after;
            }
        }
    }
    rest.is_empty().then_some(items)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Cells;
    use bytes::BytesMut;

    fn types() -> Vec<DataType> {
        let micros = TimeUnit::Microsecond;
        let list = |item| DataType::List(Field::new("item", item, true).into());
        vec![
            DataType::Boolean,
            DataType::Int16,
            DataType::Int32,
            DataType::Int64,
            DataType::UInt32,
            DataType::Float32,
            DataType::Float64,
            DataType::Decimal128(12, 2),
            DataType::Utf8,
            DataType::Utf8View,
            DataType::LargeUtf8,
            DataType::Binary,
            DataType::Date32,
            DataType::Time64(micros),
            DataType::Timestamp(micros, None),
            DataType::Timestamp(micros, Some("UTC".into())),
            DataType::Interval(IntervalUnit::MonthDayNano),
            list(DataType::Int64),
            list(DataType::Utf8),
        ]
    }

    /// Text in, binary out, binary in, text out: the same text.
    #[test]
    fn text_and_binary_agree() {
        let samples = [
            "t",
            "7",
            "7",
            "-9000000000",
            "7",
            "1.5",
            "1e+20",
            "1234.56",
            "a b",
            "é",
            "x",
            "\\x00ff",
            "2013-01-01",
            "10:00:00.5",
            "2013-01-01 10:00:00",
            "2013-01-01 10:00:00+00",
            "1 year 2 mons 3 days",
            "{1,NULL,3}",
            "{a,\"b c\",NULL,\"\"}",
        ];
        for (data_type, sample) in types().iter().zip(samples) {
            let field = Field::new("c", data_type.clone(), true);
            let mut decoder = ColumnDecoder::new(data_type, 0);
            decoder.append_text(sample.as_bytes()).unwrap_or_else(|e| panic!("{data_type}: {e:?}"));
            let array = decoder.finish().expect("an array");
            assert_eq!(array.data_type(), data_type);
            let mut binary = BytesMut::new();
            Cells::new(&field, &array, 0).expect("cells").put_binary(&mut binary, 0).expect("binary");
            decoder.append_binary(&binary).unwrap_or_else(|e| panic!("{data_type}: {e:?}"));
            let array = decoder.finish().expect("an array");
            let mut text = BytesMut::new();
            Cells::new(&field, &array, 0).expect("cells").put_text(&mut text, 0);
            assert_eq!(&text[..], sample.as_bytes(), "{data_type}");
        }
    }

    #[test]
    fn errors_carry_postgres_states() {
        let state = |data_type: &DataType, text: &str| {
            ColumnDecoder::new(data_type, 0).append_text(text.as_bytes()).map_err(|e| (e.sqlstate, e.message))
        };
        let error = |state, message: &str| Err((state, message.to_owned()));
        assert_eq!(state(&DataType::Int64, "abc"), error("22P02", "invalid input syntax for type bigint: \"abc\""));
        assert_eq!(
            state(&DataType::Int16, "99999"),
            error("22003", "value \"99999\" is out of range for type smallint")
        );
        assert_eq!(state(&DataType::Decimal128(4, 2), "100"), error("22003", "numeric field overflow"));
        assert_eq!(
            state(&DataType::Date32, "2013-02-30"),
            error("22008", "date/time field value out of range: \"2013-02-30\"")
        );
        assert_eq!(state(&DataType::Date32, "soon"), error("22007", "invalid input syntax for type date: \"soon\""));
        assert_eq!(
            state(&DataType::Boolean, "maybe"),
            error("22P02", "invalid input syntax for type boolean: \"maybe\"")
        );
    }

    #[test]
    fn parameters_follow_the_client_oid() {
        let parameter = |bytes: &'static [u8], binary, oid, target: &DataType| {
            decode_parameter(Some(&Bytes::from_static(bytes)), binary, oid, target, 0).expect("a parameter")
        };
        assert_eq!(parameter(b"\0\x07", true, oid::INT2, &DataType::Int64), ScalarValue::Int64(Some(7)));
        assert_eq!(parameter(b"\0\0\0\x07", true, oid::INT4, &DataType::Float64), ScalarValue::Float64(Some(7.0)));
        assert_eq!(parameter(b"7", false, oid::INT2, &DataType::Int64), ScalarValue::Int64(Some(7)));
        assert_eq!(
            parameter(b"\0\x01\0\0\0\0\0\0\0\x07", true, oid::NUMERIC, &DataType::Int64),
            ScalarValue::Int64(Some(7))
        );
        assert_eq!(parameter(b"x", true, oid::VARCHAR, &DataType::Utf8View), ScalarValue::Utf8View(Some("x".into())));
        assert_eq!(decode_parameter(None, true, oid::INT4, &DataType::Int64, 0), Ok(ScalarValue::Int64(None)));
    }

    #[test]
    fn random_bytes_never_panic() {
        let mut seed = 11u64;
        for round in 0..4000usize {
            let mut bytes = Vec::new();
            for _ in 0..round % 41 {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                bytes.push(if round % 2 == 0 {
                    (seed >> 56) as u8
                } else {
                    b"0123456789-:., {}\"\\xNULLab"[(seed >> 40) as usize % 26]
                });
            }
            for data_type in types() {
                let mut decoder = ColumnDecoder::new(&data_type, 0);
                let _ = decoder.append_text(&bytes);
                let _ = decoder.finish();
                let _ = decoder.append_binary(&bytes);
                let _ = decoder.finish();
            }
        }
    }
}
