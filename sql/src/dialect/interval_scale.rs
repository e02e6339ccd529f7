//! `interval * number` and `interval / number`, as Postgres' `interval_mul` and `interval_div` compute them: months and
//! days are scaled apart, what is left of a month becomes days of it and what is left of a day its time.

use super::rowwise::rowwise;
use crate::error::{Error, Result};
use arrow::array::{ArrayRef, AsArray, IntervalMonthDayNanoArray};
use arrow::datatypes::{DataType, Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit};
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, cast,
};
use std::sync::Arc;

const DAYS_PER_MONTH: f64 = 30.0;
const SECONDS_PER_DAY: f64 = 86_400.0;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct IntervalScale {
    divides: bool,
    signature: Signature,
}

/// `interval * factor`, or with `divides` `interval / factor`.
pub(super) fn scaled(interval: Expr, factor: Expr, divides: bool) -> Expr {
    let span = DataType::Interval(IntervalUnit::MonthDayNano);
    let signature = Signature::exact(vec![span.clone(), DataType::Float64], Volatility::Immutable);
    let function = IntervalScale { divides, signature };
    ScalarUDF::from(function).call(vec![cast(interval, span), cast(factor, DataType::Float64)])
}

impl ScalarUDFImpl for IntervalScale {
    fn name(&self) -> &str {
        if self.divides { "interval_div" } else { "interval_mul" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Interval(IntervalUnit::MonthDayNano))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        rowwise(&args, |arrays| {
            let spans = arrays[0].as_primitive::<IntervalMonthDayNanoType>().iter();
            let results: IntervalMonthDayNanoArray = spans
                .zip(arrays[1].as_primitive::<Float64Type>())
                .map(|pair| match pair {
                    (Some(span), Some(factor)) => scale(span, factor, self.divides).map(Some),
                    _ => Ok(None),
                })
                .collect::<Result<_>>()?;
            Ok::<_, Error>(Arc::new(results) as ArrayRef)
        })
    }
}

fn scale(span: IntervalMonthDayNano, factor: f64, divides: bool) -> Result<IntervalMonthDayNano> {
    if divides && factor == 0.0 {
        return Err(Error::new("22012", "division by zero"));
    }
    let by = |field: f64| if divides { field / factor } else { field * factor };
    let (months, days) = (by(span.months.into()), by(span.days.into()));
    let (whole_months, mut whole_days) = (whole(months)?, whole(days)?);
    let month_rest = micro_rounded((months - f64::from(whole_months)) * DAYS_PER_MONTH);
    let mut seconds = micro_rounded((days - f64::from(whole_days) + month_rest - month_rest.trunc()) * SECONDS_PER_DAY);
    if seconds.abs() >= SECONDS_PER_DAY {
        let carried = (seconds / SECONDS_PER_DAY).trunc();
        whole_days = whole(f64::from(whole_days) + carried)?;
        seconds -= carried * SECONDS_PER_DAY;
    }
    whole_days = whole(f64::from(whole_days) + month_rest.trunc())?;
    let micros = (by((span.nanoseconds / 1000) as f64) + seconds * 1e6).round_ties_even();
    // Kept in nanoseconds; NaN fails the comparison too.
    let nanoseconds = if micros.abs() < 9.2e15 { micros as i64 * 1000 } else { return Err(out_of_range()) };
    Ok(IntervalMonthDayNano::new(whole_months, whole_days, nanoseconds))
}

/// Towards zero.
fn whole(value: f64) -> Result<i32> {
    if value.abs() <= f64::from(i32::MAX) { Ok(value as i32) } else { Err(out_of_range()) }
}

/// Postgres' `TSROUND`.
fn micro_rounded(value: f64) -> f64 {
    (value * 1e6).round_ties_even() / 1e6
}

fn out_of_range() -> Error {
    Error::new("22008", "interval out of range")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values from PostgreSQL 15.
    #[test]
    fn fractions_flow_down() {
        let second = 1_000_000_000;
        for (span, factor, divides, result) in [
            ((1, 0, 0), 1.5, false, (1, 15, 0)),
            ((0, 1, 0), 2.0, true, (0, 0, 43_200 * second)),
            ((0, 0, 3600 * second), -3.0, false, (0, 0, -10_800 * second)),
            ((1, 1, 0), 3.0, true, (0, 10, 28_800 * second)),
        ] {
            let given = IntervalMonthDayNano::new(span.0, span.1, span.2);
            let expected = IntervalMonthDayNano::new(result.0, result.1, result.2);
            assert_eq!(scale(given, factor, divides).unwrap(), expected, "{span:?} {factor}");
        }
        let month = IntervalMonthDayNano::new(1, 0, 0);
        assert_eq!(scale(month, 0.0, true).unwrap_err().sqlstate, "22012");
        assert_eq!(scale(month, f64::NAN, false).unwrap_err().sqlstate, "22008");
        assert_eq!(scale(month, 1e10, false).unwrap_err().sqlstate, "22008");
    }
}
