//! Casts whose value Postgres defines otherwise than Arrow.
//!
//! - text → anything: Postgres' input syntax (`' 12 '`, `'yes'`, `'2013-01-01 10:00'`), refused with its errors;
//! - anything → text: Postgres' output syntax, the one clients are sent (`boolean` is spelled out: `true`);
//! - a difference of timestamps → an interval: of days and the rest of a day, as Postgres' differences are;
//! - a float → `numeric`: of the digits it holds;
//! - a number → an integer: rounded (`numeric` half away from zero, floats half to even), refused out of range.

use crate::error::Error;
use crate::types::name_of;
use crate::value::{Cells, ColumnDecoder, interval_of_duration};
use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, StringArray, StringBuilder};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal128Type, Field, Float64Type, Int16Type, Int32Type, Int64Type, IntervalUnit,
    TimeUnit,
};
use bytes::BytesMut;
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;

/// A cast to one type.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct PostgresCast {
    to: DataType,
    signature: Signature,
}

impl PostgresCast {
    /// `value::to`, for types that [`differs`] accepts.
    pub(super) fn expr(value: Expr, to: DataType) -> Expr {
        let function = PostgresCast { to, signature: Signature::any(1, Volatility::Immutable) };
        ScalarUDF::from(function).call(vec![value])
    }
}

impl PostgresCast {
    pub(super) fn to(&self) -> &DataType {
        &self.to
    }
}

/// Whether the cast is one of this file's.
pub(super) fn differs(from: &DataType, to: &DataType) -> bool {
    let text = |t: &DataType| matches!(t, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    match (from, to) {
        (from, DataType::Utf8) => !text(from),
        (from, to) if text(from) => is_value(to),
        (DataType::Duration(_), DataType::Interval(IntervalUnit::MonthDayNano)) => true,
        (DataType::Float32 | DataType::Float64, DataType::Decimal128(..)) => true,
        (DataType::Int16, DataType::Int32 | DataType::Int64) | (DataType::Int32, DataType::Int64) => false,
        (from, DataType::Int16 | DataType::Int32 | DataType::Int64) => is_number(from) && from != to,
        _ => false,
    }
}

/// Refuses what Postgres has no cast for and Arrow reads as counts: numbers as times, and times as numbers.
///
/// # Errors
/// 42846.
pub(super) fn check_cast(from: &DataType, to: &DataType) -> crate::Result<()> {
    let number = |t: &DataType| is_number(t) || *t == DataType::Boolean;
    let time = |t: &DataType| {
        use DataType as T;
        matches!(t, T::Date32 | T::Time64(_) | T::Timestamp(..) | T::Interval(_))
    };
    if !(number(from) && time(to) || time(from) && number(to)) {
        return Ok(());
    }
    let error = Error::new("42846", format!("cannot cast type {} to {}", name_of(from), name_of(to)));
    Err(if number(from) { error.with_hint("to_timestamp(seconds) makes a time of a number.") } else { error })
}

fn is_number(data_type: &DataType) -> bool {
    use DataType as T;
    matches!(data_type, T::Int16 | T::Int32 | T::Int64 | T::Float32 | T::Float64 | T::Decimal128(..))
}

fn is_value(data_type: &DataType) -> bool {
    use DataType as T;
    is_number(data_type)
        || matches!(
            data_type,
            T::Boolean
                | T::Date32
                | T::Binary
                | T::Time64(TimeUnit::Microsecond)
                | T::Timestamp(TimeUnit::Microsecond, _)
                | T::Interval(IntervalUnit::MonthDayNano)
                | T::List(_)
        )
}

impl ScalarUDFImpl for PostgresCast {
    fn name(&self) -> &str {
        "cast"
    }

    fn schema_name(&self, arguments: &[Expr]) -> Result<String> {
        let value = arguments.first().map(ToString::to_string).unwrap_or_default();
        Ok(format!("{value}::{}", name_of(&self.to)))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(self.to.clone())
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = matches!(args.args.first(), Some(ColumnarValue::Scalar(_)));
        let values = match args.args.first() {
            Some(value) => value.to_array(if constant { 1 } else { args.number_rows })?,
            None => return Err(DataFusionError::Internal("a cast takes one value".into())),
        };
        let result = to_type(&values, &self.to).map_err(DataFusionError::from)?;
        match constant {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?)),
            false => Ok(ColumnarValue::Array(result)),
        }
    }
}

/// The values as `to`, as Postgres casts and assigns them.
pub(crate) fn to_type(values: &ArrayRef, to: &DataType) -> crate::Result<ArrayRef> {
    if values.data_type() == to {
        return Ok(values.clone());
    }
    check_cast(values.data_type(), to)?;
    if !differs(values.data_type(), to) {
        return Ok(cast_with_options(values, to, &CastOptions { safe: false, ..CastOptions::default() })?);
    }
    match to {
        DataType::Utf8 => to_text(values),
        DataType::Decimal128(..) if is_number(values.data_type()) => from_text(&significant(values)?, to),
        DataType::Interval(_) if matches!(values.data_type(), DataType::Duration(_)) => {
            let micros = cast(values, &DataType::Duration(TimeUnit::Microsecond))?;
            Ok(Arc::new(interval_of_duration(&micros)))
        }
        DataType::Int16 if is_number(values.data_type()) => to_integer::<Int16Type>(values),
        DataType::Int32 if is_number(values.data_type()) => to_integer::<Int32Type>(values),
        DataType::Int64 if is_number(values.data_type()) => to_integer::<Int64Type>(values),
        _ => from_text(values, to),
    }
}

fn from_text(values: &ArrayRef, to: &DataType) -> crate::Result<ArrayRef> {
    let texts = cast(values, &DataType::Utf8)?;
    let mut decoder = ColumnDecoder::new(to, 0);
    for text in texts.as_string::<i32>() {
        match text {
            Some(text) => decoder.append_text(text.as_bytes())?,
            None => decoder.append_null(),
        }
    }
    decoder.finish()
}

fn to_text(values: &ArrayRef) -> crate::Result<ArrayRef> {
    let mut texts = StringBuilder::with_capacity(values.len(), values.len() * 8);
    if let Some(booleans) = values.as_boolean_opt() {
        for value in booleans {
            texts.append_option(value.map(|v| if v { "true" } else { "false" }));
        }
        return Ok(Arc::new(texts.finish()));
    }
    let cells = Cells::new(&Field::new("", values.data_type().clone(), true), values, 0)?;
    let mut text = BytesMut::new();
    for row in 0..values.len() {
        if cells.is_null(row) {
            texts.append_null();
            continue;
        }
        text.clear();
        cells.put_text(&mut text, row);
        texts.append_value(std::str::from_utf8(&text).map_err(|e| Error::internal(e.to_string()))?);
    }
    Ok(Arc::new(texts.finish()))
}

/// Floats as texts of the digits that they hold for certain, which is what Postgres makes a `numeric` of: 6 or 15.
fn significant(values: &ArrayRef) -> crate::Result<ArrayRef> {
    let digits = if *values.data_type() == DataType::Float32 { 6 } else { 15 };
    let floats = cast(values, &DataType::Float64)?;
    let text = |value: f64| format!("{value:.*e}", digits - 1);
    let texts: StringArray = floats.as_primitive::<Float64Type>().iter().map(|value| value.map(text)).collect();
    Ok(Arc::new(texts))
}

fn to_integer<T: ArrowPrimitiveType>(values: &ArrayRef) -> crate::Result<ArrayRef>
where
    T::Native: TryFrom<i128>,
{
    let out_of_range = || Error::new("22003", format!("{} out of range", name_of(&T::DATA_TYPE)));
    let narrow = |value: i128| T::Native::try_from(value).map_err(|_| out_of_range());
    let integers: PrimitiveArray<T> = match values.data_type() {
        DataType::Decimal128(_, scale) => {
            let unit = 10i128.pow(u32::from(scale.unsigned_abs()));
            let decimals = values.as_primitive::<Decimal128Type>();
            decimals.iter().map(|v| v.map(|v| narrow(half_away(v, unit))).transpose()).collect::<Result<_, _>>()?
        }
        DataType::Float32 | DataType::Float64 => {
            let floats = cast(values, &DataType::Float64)?;
            let whole = |value: f64| {
                let value = value.round_ties_even();
                // Beyond this an i64 is out of range too; NaN fails the comparison.
                if value.abs() < 1e19 { narrow(value as i128) } else { Err(out_of_range()) }
            };
            floats.as_primitive::<Float64Type>().iter().map(|v| v.map(whole).transpose()).collect::<Result<_, _>>()?
        }
        _ => {
            let wide = cast(values, &DataType::Int64)?;
            let wide = wide.as_primitive::<Int64Type>();
            wide.iter().map(|v| v.map(|v| narrow(i128::from(v))).transpose()).collect::<Result<_, _>>()?
        }
    };
    Ok(Arc::new(integers))
}

/// `value / unit`, half away from zero.
fn half_away(value: i128, unit: i128) -> i128 {
    let (quotient, rest) = (value / unit, value % unit);
    if rest.unsigned_abs() * 2 < unit.unsigned_abs() { quotient } else { quotient + value.signum() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Decimal128Array, Float64Array, StringArray};

    fn integers(values: ArrayRef) -> Vec<Option<i32>> {
        to_type(&values, &DataType::Int32).unwrap().as_primitive::<Int32Type>().iter().collect()
    }

    #[test]
    fn numbers_are_rounded_to_integers() {
        let floats = vec![Some(2.5), Some(3.5), Some(-2.5), Some(0.4), None];
        assert_eq!(integers(Arc::new(Float64Array::from(floats))), [Some(2), Some(4), Some(-2), Some(0), None]);
        let decimals = Decimal128Array::from(vec![15, -15, 14, 5]).with_precision_and_scale(5, 1).unwrap();
        assert_eq!(integers(Arc::new(decimals)), [Some(2), Some(-2), Some(1), Some(1)]);
        for wrong in [f64::NAN, f64::INFINITY, 3e9] {
            let error = to_type(&(Arc::new(Float64Array::from(vec![wrong])) as ArrayRef), &DataType::Int32);
            assert_eq!(error.unwrap_err().sqlstate, "22003");
        }
    }

    #[test]
    fn text_is_read_as_postgres_reads_it() {
        let text = |t: &str| -> ArrayRef { Arc::new(StringArray::from(vec![t])) };
        assert_eq!(integers(text(" 12 ")), [Some(12)]);
        assert!(to_type(&text("2013-01-01 10:00"), &DataType::Timestamp(TimeUnit::Microsecond, None)).is_ok());
        assert_eq!(to_type(&text("1.5"), &DataType::Int32).unwrap_err().sqlstate, "22P02");
    }
}
