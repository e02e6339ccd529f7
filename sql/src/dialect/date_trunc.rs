//! `date_trunc(unit, t)` as Postgres has it, in microseconds. DataFusion's counts in nanoseconds, which reach from 1677 to
//! 2262 only, and truncates times before 1970 towards it. A date is an instant first.

use super::calendar::{Day, Unit, fixed_length};
use super::rowwise::rowwise;
use super::sort_key::is_interval;
use crate::error::{Error, Result};
use crate::types::{name_of, timestamptz};
use crate::value::datetime::MICROS_PER_DAY;
use arrow::array::{ArrayRef, AsArray, IntervalMonthDayNanoArray, TimestampMicrosecondArray};
use arrow::datatypes::{
    DataType, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use std::sync::Arc;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct DateTrunc {
    signature: Signature,
}

impl DateTrunc {
    pub(super) fn new() -> DateTrunc {
        DateTrunc { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for DateTrunc {
    fn name(&self) -> &str {
        "date_trunc"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        let is_text = |t: &DataType| matches!(t, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
        let time = match given {
            [unit, _] if !is_text(unit) => None,
            [_, DataType::Timestamp(_, None)] => Some(DataType::Timestamp(TimeUnit::Microsecond, None)),
            [_, DataType::Timestamp(..) | DataType::Date32 | DataType::Null] => Some(timestamptz()),
            [_, DataType::Interval(_) | DataType::Duration(_)] => Some(DataType::Interval(IntervalUnit::MonthDayNano)),
            _ => None,
        };
        let Some(time) = time else {
            let types: Vec<String> = given.iter().map(name_of).collect();
            return Err(Error::new("42883", format!("function date_trunc({}) does not exist", types.join(", ")))
                .with_hint("It is date_trunc('month', timestamp).")
                .into());
        };
        Ok(vec![DataType::Utf8, time])
    }

    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        types.get(1).cloned().ok_or_else(|| DataFusionError::Internal("date_trunc without a time".into()))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        rowwise(&args, |arrays| truncated(&arrays[0], &arrays[1]))
    }
}

fn truncated(units: &ArrayRef, times: &ArrayRef) -> Result<ArrayRef> {
    let of = name_of(times.data_type());
    let mut last: Option<(&str, Unit)> = None;
    let mut named = |name| -> Result<Unit> {
        let unit = match last {
            Some((known, unit)) if known == name => unit,
            _ => Unit::named(name, &of)?,
        };
        last = Some((name, unit));
        Ok(unit)
    };
    let units = units.as_string::<i32>().iter();
    if is_interval(times.data_type()) {
        let intervals = units.zip(times.as_primitive::<IntervalMonthDayNanoType>());
        let truncated = intervals.map(|(unit, interval)| match (unit, interval) {
            (Some(unit), Some(interval)) => of_interval(named(unit)?, interval).map(Some),
            _ => Ok(None),
        });
        return Ok(Arc::new(truncated.collect::<Result<IntervalMonthDayNanoArray>>()?));
    }
    let moments = units.zip(times.as_primitive::<TimestampMicrosecondType>());
    let truncated = moments.map(|(unit, micros)| match (unit, micros) {
        (Some(unit), Some(micros)) => of_moment(named(unit)?, micros, &of).map(Some),
        _ => Ok(None),
    });
    let truncated = truncated.collect::<Result<TimestampMicrosecondArray>>()?;
    Ok(Arc::new(truncated.with_data_type(times.data_type().clone())))
}

fn unsupported(unit: Unit, of: &str) -> Error {
    Error::new("0A000", format!("unit \"{}\" not supported for type {of}", format!("{unit:?}").to_lowercase()))
        .with_hint("Units are those from microsecond to millennium.")
}

fn of_moment(unit: Unit, micros: i64, of: &str) -> Result<i64> {
    if micros == i64::MAX || micros == i64::MIN {
        return Ok(micros);
    }
    if let Some(length) = fixed_length(unit) {
        return micros
            .checked_sub(micros.rem_euclid(length))
            .ok_or_else(|| Error::new("22008", "timestamp out of range"));
    }
    let start = Day::new(micros.div_euclid(MICROS_PER_DAY)).start(unit).ok_or_else(|| unsupported(unit, of))?;
    start.checked_mul(MICROS_PER_DAY).ok_or_else(|| Error::new("22008", "timestamp out of range"))
}

/// Fields below the unit become zero.
fn of_interval(unit: Unit, interval: IntervalMonthDayNano) -> Result<IntervalMonthDayNano> {
    let IntervalMonthDayNano { months, days, nanoseconds } = interval;
    let months_of = |unit| match unit {
        Unit::Month => Some(1),
        Unit::Quarter => Some(3),
        Unit::Year => Some(12),
        Unit::Decade => Some(120),
        Unit::Century => Some(1200),
        Unit::Millennium => Some(12_000),
        _ => None,
    };
    match (unit, months_of(unit), fixed_length(unit)) {
        (_, Some(length), _) => Ok(IntervalMonthDayNano::new(months / length * length, 0, 0)),
        (Unit::Day, ..) => Ok(IntervalMonthDayNano::new(months, days, 0)),
        (_, _, Some(length)) => {
            let length = length * 1000;
            Ok(IntervalMonthDayNano::new(months, days, nanoseconds / length * length))
        }
        _ => Err(unsupported(unit, "interval")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::datetime::days_from_civil;

    #[test]
    fn moments_are_floored_in_every_century() {
        let at = |y, m, d| days_from_civil(y, m, d) * MICROS_PER_DAY;
        for (moment, unit, start) in [
            (at(1969, 12, 31) + 1, Unit::Hour, at(1969, 12, 31)),
            (at(1969, 12, 31) - 1, Unit::Second, at(1969, 12, 31) - 1_000_000),
            (at(9999, 12, 31) + 5, Unit::Month, at(9999, 12, 1)),
            (at(1000, 5, 17), Unit::Quarter, at(1000, 4, 1)),
            (i64::MAX, Unit::Year, i64::MAX),
        ] {
            assert_eq!(of_moment(unit, moment, "timestamp").unwrap(), start, "{moment} {unit:?}");
        }
        let interval = IntervalMonthDayNano::new(-17, 3, 5_000_000_001);
        assert_eq!(of_interval(Unit::Year, interval).unwrap(), IntervalMonthDayNano::new(-12, 0, 0));
        assert_eq!(of_interval(Unit::Second, interval).unwrap(), IntervalMonthDayNano::new(-17, 3, 5_000_000_000));
        assert_eq!(of_interval(Unit::Week, interval).unwrap_err().sqlstate, "0A000");
    }
}
