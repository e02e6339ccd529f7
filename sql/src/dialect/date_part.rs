//! `extract(unit FROM t)`, which is `numeric`, and `date_part(unit, t)`, which is `double precision`.
//!
//! A part has the digits after the point that Postgres gives it: six of `second` and `epoch`, three of `milliseconds`,
//! none of what is counted. The epoch of an interval takes a year for 365.25 days and a month for 30. Infinite moments
//! have no parts that come round (NULL); those that grow are infinite, which `numeric` is not here (22003).

use super::calendar::{Day, JULIAN_EPOCH, MICROS_PER_SECOND, Unit};
use super::rowwise::rowwise;
use crate::error::{Error, Result};
use crate::types::{name_of, timestamptz};
use crate::value::datetime::MICROS_PER_DAY;
use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Float64Array};
use arrow::datatypes::{
    DataType, Date32Type, Field, FieldRef, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};
use datafusion::common::{DataFusionError, Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;

const SECONDS_PER_DAY: i64 = 86_400;
const SECONDS_PER_MONTH: i64 = 30 * SECONDS_PER_DAY;
const SECONDS_PER_YEAR: i64 = 31_557_600;
pub(crate) const EXTRACT: &str = "extract";
/// Digits after the point of the Julian day of a moment.
const JULIAN_SCALE: i8 = 20;

/// `date_part`, or with `extracts` what `extract(unit FROM time)` is spelled as: `extract('unit', time)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct DatePart {
    extracts: bool,
    signature: Signature,
}

impl DatePart {
    pub(super) fn new(extracts: bool) -> DatePart {
        DatePart { extracts, signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for DatePart {
    fn name(&self) -> &str {
        if self.extracts { EXTRACT } else { "date_part" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        let time = match given {
            [DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View, time] => time_type(time),
            _ => None,
        };
        let Some(time) = time else {
            let types: Vec<String> = given.iter().map(name_of).collect();
            return Err(Error::new("42883", format!("function {}({}) does not exist", self.name(), types.join(", ")))
                .with_hint("It is extract(year FROM t) or date_part('year', t) of a date, time, timestamp or interval.")
                .into());
        };
        Ok(vec![DataType::Utf8, time])
    }

    fn return_type(&self, _types: &[DataType]) -> DataFusionResult<DataType> {
        Err(DataFusionError::Internal("the type depends on the unit".into()))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DataFusionResult<FieldRef> {
        let data_type = match (self.extracts, args.scalar_arguments.first(), args.arg_fields.get(1)) {
            (false, ..) => DataType::Float64,
            (true, Some(Some(ScalarValue::Utf8(Some(unit)))), Some(of)) => {
                let scale = scale(Unit::named(unit, &name_of(of.data_type()))?, of.data_type());
                DataType::Decimal128(if scale == JULIAN_SCALE { 38 } else { 20 + scale.unsigned_abs() }, scale)
            }
            _ => return Err(Error::new("42601", "extract takes the name of a unit").into()),
        };
        Ok(Arc::new(Field::new(self.name(), data_type, args.arg_fields.iter().any(|field| field.is_nullable()))))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        rowwise(&args, |arrays| {
            let [units, times] = arrays else {
                return Err(Error::internal("date_part takes a unit and a time"));
            };
            let parts = parts(times, units, self.extracts)?.into_iter();
            Ok(match args.return_field.data_type() {
                DataType::Decimal128(precision, scale) => {
                    let units = parts.map(|part| part.map_or(Ok(None), Part::units));
                    let units = units.collect::<Result<Decimal128Array>>()?;
                    Arc::new(units.with_precision_and_scale(*precision, *scale)?) as ArrayRef
                }
                _ => Arc::new(parts.map(|part| part.and_then(Part::float)).collect::<Float64Array>()),
            })
        })
    }
}

/// The type in which the parts of a time are computed.
fn time_type(given: &DataType) -> Option<DataType> {
    Some(match given {
        DataType::Date32 => DataType::Date32,
        DataType::Timestamp(_, None) | DataType::Null => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Timestamp(_, Some(_)) => timestamptz(),
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Interval(_) | DataType::Duration(_) => DataType::Interval(IntervalUnit::MonthDayNano),
        _ => return None,
    })
}

fn scale(unit: Unit, of: &DataType) -> i8 {
    match (unit, of) {
        (Unit::Second, _) => 6,
        (Unit::Millisecond, _) => 3,
        (Unit::Epoch, of) if of != &DataType::Date32 => 6,
        (Unit::Julian, DataType::Timestamp(..)) => JULIAN_SCALE,
        _ => 0,
    }
}

/// A part: a count, seconds, milliseconds or days with what is left below them in microseconds, or an infinity.
#[derive(Clone, Copy)]
enum Part {
    Count(i64),
    /// Seconds and microseconds.
    Seconds(i128, i64),
    /// Seconds whose milliseconds are asked for, and microseconds.
    Milliseconds(i64, i64),
    /// A Julian day and the microseconds since its midnight.
    Julian(i64, i64),
    Infinite(f64),
    /// NULL: what comes round has no value in an infinite time.
    Null,
}

impl Part {
    fn float(self) -> Option<f64> {
        Some(match self {
            Part::Count(count) => count as f64,
            Part::Seconds(seconds, micros) => (seconds as f64) + micros as f64 / 1e6,
            Part::Milliseconds(seconds, micros) => seconds as f64 * 1e3 + micros as f64 / 1e3,
            Part::Julian(day, micros) => day as f64 + micros as f64 / 1e6 / SECONDS_PER_DAY as f64,
            Part::Infinite(infinity) => infinity,
            Part::Null => return None,
        })
    }

    /// In units of the part's scale.
    fn units(self) -> Result<Option<i128>> {
        Ok(Some(match self {
            Part::Count(count) => i128::from(count),
            Part::Seconds(seconds, micros) => seconds * 1_000_000 + i128::from(micros),
            Part::Milliseconds(seconds, micros) => i128::from(seconds) * 1_000_000 + i128::from(micros),
            Part::Julian(day, micros) => {
                let unit = 10i128.pow(JULIAN_SCALE.unsigned_abs().into());
                let day_micros = i128::from(MICROS_PER_DAY);
                // Half up: a quotient of microseconds by a day is never negative here.
                i128::from(day) * unit + (i128::from(micros) * unit + day_micros / 2) / day_micros
            }
            Part::Infinite(_) => {
                return Err(Error::new("22003", "numeric cannot be infinite")
                    .with_hint("Ask for date_part, which gives double precision, or filter infinite times out."));
            }
            Part::Null => return Ok(None),
        }))
    }
}

/// `extracts`: of a date, only what a date has (`date_part` of a date takes it for a moment).
fn parts(times: &ArrayRef, units: &ArrayRef, extracts: bool) -> Result<Vec<Option<Part>>> {
    let of = times.data_type();
    let of_name = name_of(of);
    let read = |row: usize, unit: Unit| -> Result<Option<Part>> {
        let part = match of {
            DataType::Date32 => {
                let days = times.as_primitive::<Date32Type>().value(row);
                let infinite = days == i32::MAX || days == i32::MIN;
                match infinite {
                    true => of_infinity(unit, days < 0),
                    false if unit == Unit::Epoch => Some(Part::Seconds(i128::from(days) * 86_400, 0)),
                    false => of_day(unit, i64::from(days)).or_else(|| if extracts { None } else { of_clock(unit, 0) }),
                }
            }
            DataType::Timestamp(_, zone) => {
                of_moment(unit, times.as_primitive::<TimestampMicrosecondType>().value(row), zone.is_some())
            }
            DataType::Time64(_) => of_time(unit, times.as_primitive::<Time64MicrosecondType>().value(row)),
            _ => of_interval(unit, times.as_primitive::<IntervalMonthDayNanoType>().value(row)),
        };
        match part {
            Some(Part::Seconds(seconds, 0)) if of == &DataType::Date32 && extracts => {
                Ok(Some(Part::Count(i64::try_from(seconds).unwrap_or(i64::MAX))))
            }
            Some(part) => Ok(Some(part)),
            None => {
                let unit = format!("{unit:?}").to_lowercase();
                Err(Error::new("0A000", format!("unit \"{unit}\" not supported for type {of_name}")))
            }
        }
    };
    let mut last: Option<(&str, Unit)> = None;
    units
        .as_string::<i32>()
        .iter()
        .enumerate()
        .map(|(row, name)| {
            let Some(name) = name.filter(|_| times.is_valid(row)) else { return Ok(None) };
            let unit = match last {
                Some((known, unit)) if known == name => unit,
                _ => Unit::named(name, &of_name)?,
            };
            last = Some((name, unit));
            read(row, unit)
        })
        .collect()
}

fn of_infinity(unit: Unit, negative: bool) -> Option<Part> {
    use Unit as U;
    match unit {
        U::Year | U::Decade | U::Century | U::Millennium | U::IsoYear | U::Julian | U::Epoch => {
            Some(Part::Infinite(if negative { f64::NEG_INFINITY } else { f64::INFINITY }))
        }
        _ => Some(Part::Null),
    }
}

fn of_day(unit: Unit, days: i64) -> Option<Part> {
    let day = Day::new(days);
    // There is no year 0: the one before 1 AD is -1.
    let shown = |year: i64| if year > 0 { year } else { year - 1 };
    let above = |span: i64| if day.year > 0 { (day.year + span - 1) / span } else { -((span - day.year) / span) };
    Some(Part::Count(match unit {
        Unit::Day => i64::from(day.day),
        Unit::Month => i64::from(day.month),
        Unit::Quarter => i64::from((day.month - 1) / 3 + 1),
        Unit::Year => shown(day.year),
        Unit::Decade => day.year.div_euclid(10),
        Unit::Century => above(100),
        Unit::Millennium => above(1000),
        Unit::Week => day.iso_week().1,
        Unit::IsoYear => shown(day.iso_week().0),
        Unit::DayOfWeek => (day.after_monday() + 1) % 7,
        Unit::IsoDayOfWeek => day.after_monday() + 1,
        Unit::DayOfYear => day.of_year(),
        Unit::Julian => days + JULIAN_EPOCH,
        _ => return None,
    }))
}

/// Of the microseconds since midnight.
fn of_clock(unit: Unit, micros: i64) -> Option<Part> {
    let seconds = micros / MICROS_PER_SECOND;
    let fraction = micros % MICROS_PER_SECOND;
    Some(match unit {
        Unit::Microsecond => Part::Count(seconds % 60 * MICROS_PER_SECOND + fraction),
        Unit::Millisecond => Part::Milliseconds(seconds % 60, fraction),
        Unit::Second => Part::Seconds(i128::from(seconds % 60), fraction),
        Unit::Minute => Part::Count(seconds / 60 % 60),
        Unit::Hour => Part::Count(seconds / 3600),
        _ => return None,
    })
}

fn of_moment(unit: Unit, micros: i64, has_zone: bool) -> Option<Part> {
    if micros == i64::MAX || micros == i64::MIN {
        return of_infinity(unit, micros < 0);
    }
    let (days, clock) = (micros.div_euclid(MICROS_PER_DAY), micros.rem_euclid(MICROS_PER_DAY));
    match unit {
        Unit::Zone if has_zone => Some(Part::Count(0)),
        Unit::Epoch => Some(Part::Seconds(i128::from(micros / MICROS_PER_SECOND), micros % MICROS_PER_SECOND)),
        Unit::Julian => Some(Part::Julian(days + JULIAN_EPOCH, clock)),
        _ => of_clock(unit, clock).or_else(|| of_day(unit, days)),
    }
}

fn of_time(unit: Unit, micros: i64) -> Option<Part> {
    match unit {
        Unit::Epoch => Some(Part::Seconds(i128::from(micros / MICROS_PER_SECOND), micros % MICROS_PER_SECOND)),
        _ => of_clock(unit, micros),
    }
}

fn of_interval(unit: Unit, interval: IntervalMonthDayNano) -> Option<Part> {
    let micros = interval.nanoseconds / 1000;
    let (years, months) = (i64::from(interval.months / 12), i64::from(interval.months % 12));
    Some(match unit {
        Unit::Day => Part::Count(interval.days.into()),
        Unit::Month => Part::Count(months),
        Unit::Quarter => Part::Count(months / 3 + 1),
        Unit::Year => Part::Count(years),
        Unit::Decade => Part::Count(years / 10),
        Unit::Century => Part::Count(years / 100),
        Unit::Millennium => Part::Count(years / 1000),
        Unit::Epoch => {
            let days = i64::from(interval.days) * SECONDS_PER_DAY;
            let calendar = i128::from(years * SECONDS_PER_YEAR + months * SECONDS_PER_MONTH + days);
            Part::Seconds(calendar + i128::from(micros / MICROS_PER_SECOND), micros % MICROS_PER_SECOND)
        }
        _ => return of_clock(unit, micros),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values from PostgreSQL 15.
    #[test]
    fn parts_before_christ() {
        let days = crate::value::datetime::days_from_civil(-43, 3, 15);
        for (unit, value) in
            [(Unit::Year, -44.0), (Unit::Decade, -5.0), (Unit::Century, -1.0), (Unit::Millennium, -1.0)]
        {
            assert_eq!(of_day(unit, days).and_then(Part::float), Some(value), "{unit:?}");
        }
    }

    #[test]
    fn intervals_have_their_own_fields() {
        let interval = IntervalMonthDayNano::new(14, -3, 93_784_500_000_000);
        for (unit, value) in [
            (Unit::Year, 1.0),
            (Unit::Month, 2.0),
            (Unit::Quarter, 1.0),
            (Unit::Day, -3.0),
            (Unit::Hour, 26.0),
            (Unit::Second, 4.5),
            (Unit::Epoch, 31_557_600.0 + 60.0 * 86_400.0 - 3.0 * 86_400.0 + 93_784.5),
        ] {
            assert_eq!(of_interval(unit, interval).and_then(Part::float), Some(value), "{unit:?}");
        }
        assert!(of_interval(Unit::Week, interval).is_none());
    }
}
