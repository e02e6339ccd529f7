//! `date_bin(stride, ts [, origin])` as Postgres has it, keeping the type of `ts` (DataFusion's turns everything into
//! nanoseconds, which reach only from 1677 to 2262 and are no type of a column here).
//!
//! `date_bin = ts − ((ts − origin) mod stride)`, with the floored modulus, so that times before the origin fall into the
//! bin that starts before them. The origin is 1970-01-01 when it is not given.

use crate::error::Error;
use crate::types::name_of;
use arrow::array::AsArray;
use arrow::datatypes::{
    DataType, Field, FieldRef, IntervalMonthDayNano, IntervalUnit, TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;

const DAY_MICROSECONDS: i64 = 86_400_000_000;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct DateBin {
    signature: Signature,
}

impl DateBin {
    pub(super) fn new() -> DateBin {
        DateBin { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for DateBin {
    fn name(&self) -> &str {
        "date_bin"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let bin = |t: &DataType| match t {
            DataType::Timestamp(_, zone) => Some(DataType::Timestamp(TimeUnit::Microsecond, zone.clone())),
            DataType::Date32 => Some(DataType::Timestamp(TimeUnit::Microsecond, None)),
            DataType::Null => Some(crate::types::timestamptz()),
            _ => None,
        };
        let interval = DataType::Interval(IntervalUnit::MonthDayNano);
        let usage = || {
            let types: Vec<String> = given.iter().map(name_of).collect();
            let message =
                format!("function date_bin({}) does not exist: it bins timestamps, as TUMBLE does", types.join(", "));
            Error::new("42883", message).into()
        };
        let stride_fits = given.first().is_some_and(|t| matches!(t, DataType::Interval(_) | DataType::Utf8));
        let wanted = given.get(1).and_then(bin).filter(|_| stride_fits).ok_or_else(usage)?;
        match given.len() {
            2 => Ok(vec![interval, wanted]),
            3 => Ok(vec![interval, wanted.clone(), wanted]),
            _ => Err(usage()),
        }
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        arguments.get(1).cloned().ok_or_else(|| DataFusionError::Internal("date_bin without a timestamp".into()))
    }

    /// A stride that is written out is refused while planning: a view must not be made of it.
    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        if let Some(Some(ScalarValue::IntervalMonthDayNano(Some(stride)))) = args.scalar_arguments.first() {
            microseconds(*stride)?;
        }
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(Arc::new(Field::new(self.name(), self.return_type(&types)?, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let origin = match args.args.get(2) {
            None => Some(0),
            Some(ColumnarValue::Scalar(ScalarValue::TimestampMicrosecond(origin, _))) => *origin,
            Some(_) => return Err(not_constant("origin")),
        };
        let stride = match &args.args[0] {
            ColumnarValue::Scalar(ScalarValue::IntervalMonthDayNano(stride)) => *stride,
            _ => return Err(not_constant("stride")),
        };
        let (Some(origin), Some(stride)) = (origin, stride) else {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from(args.return_type())?));
        };
        let stride = microseconds(stride)?;
        match &args.args[1] {
            ColumnarValue::Scalar(ScalarValue::TimestampMicrosecond(ts, zone)) => {
                let start = ts.map(|ts| bin(ts, stride, origin)).transpose()?;
                Ok(ColumnarValue::Scalar(ScalarValue::TimestampMicrosecond(start, zone.clone())))
            }
            other => {
                let array = other.to_array(args.number_rows)?;
                let Some(times) = array.as_primitive_opt::<TimestampMicrosecondType>() else {
                    return Err(DataFusionError::Internal("date_bin of a value that is no timestamp".into()));
                };
                let starts =
                    times.try_unary::<_, TimestampMicrosecondType, DataFusionError>(|ts| bin(ts, stride, origin))?;
                let starts = starts.with_data_type(array.data_type().clone());
                Ok(ColumnarValue::Array(Arc::new(starts)))
            }
        }
    }
}

fn bin(ts: i64, stride: i64, origin: i64) -> Result<i64> {
    ts.checked_sub(origin)
        .and_then(|distance| ts.checked_sub(distance.rem_euclid(stride)))
        .ok_or_else(|| Error::new("22008", "timestamp out of range").into())
}

/// A stride's length; it must be positive and the same at any time of the calendar.
fn microseconds(stride: IntervalMonthDayNano) -> Result<i64> {
    if stride.months != 0 {
        return Err(Error::unsupported(
            "timestamps cannot be binned into intervals containing months or years",
            "Use date_trunc('month', ts).",
        )
        .into());
    }
    i64::from(stride.days)
        .checked_mul(DAY_MICROSECONDS)
        .and_then(|days| days.checked_add(stride.nanoseconds / 1000))
        .filter(|length| *length > 0)
        .ok_or_else(|| Error::new("22008", "stride must be greater than zero").into())
}

fn not_constant(what: &str) -> DataFusionError {
    Error::unsupported(format!("the {what} of date_bin must be a constant"), "Write INTERVAL '1 minute'.").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_floored() {
        for (ts, stride, origin, start) in
            [(7, 5, 0, 5), (-1, 5, 0, -5), (5, 5, 0, 5), (7, 5, 6, 6), (5, 5, 6, 1), (i64::MAX, 2, 0, i64::MAX - 1)]
        {
            assert_eq!(bin(ts, stride, origin).unwrap(), start, "{ts} by {stride} from {origin}");
        }
        assert_eq!(Error::from(bin(i64::MIN, 7, 0).unwrap_err()).sqlstate, "22008");
        assert!(microseconds(IntervalMonthDayNano::new(1, 0, 0)).is_err());
        assert!(microseconds(IntervalMonthDayNano::new(0, 0, 0)).is_err());
        assert_eq!(microseconds(IntervalMonthDayNano::new(0, 1, 1000)).unwrap(), DAY_MICROSECONDS + 1);
    }
}
