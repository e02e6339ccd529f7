//! `sort_key(x)`: what values are compared, sorted and grouped by, where Arrow's order of `x` itself is not Postgres'.
//!
//! - An interval: its length, with months of 30 days and days of 24 hours, in microseconds (`interval_cmp_value`).
//!   Arrow compares months, then days, then the rest: `36 hours` would be less than `1 day`.
//! - A float: itself, with one zero and one NaN. Arrow's order is IEEE 754's total one: `-0 < 0`, and a NaN with its sign
//!   bit set is less than everything.
//!
//! Intervals of one length are one value in Postgres, and a group shows the first of them it met. Here such a group
//! would show different rows at different times, so grouping by an interval is refused, like its `min` and `max`.

use super::rowwise::rowwise;
use crate::error::Error;
use crate::value::datetime::MICROS_PER_DAY;
use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array};
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;

const DAYS_PER_MONTH: i128 = 30;
const LENGTH: DataType = DataType::Decimal128(38, 0);

/// Whether values of this type are compared by a key.
pub(super) fn has_key(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Float32 | DataType::Float64) || is_interval(data_type)
}

pub(super) fn is_interval(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Interval(IntervalUnit::MonthDayNano))
}

/// The key of a value whose type [`has_key`].
pub(super) fn key(value: Expr) -> Expr {
    let signature = Signature::any(1, Volatility::Immutable);
    ScalarUDF::from(SortKey { signature }).call(vec![value])
}

/// An interval's length in microseconds.
pub(super) fn length(interval: IntervalMonthDayNano) -> i128 {
    let days = i128::from(interval.months) * DAYS_PER_MONTH + i128::from(interval.days);
    days * i128::from(MICROS_PER_DAY) + i128::from(interval.nanoseconds / 1000)
}

/// Whether the operator compares.
pub(super) fn compares(operator: Operator) -> bool {
    use Operator as O;
    matches!(operator, O::Eq | O::NotEq | O::Lt | O::LtEq | O::Gt | O::GtEq | O::IsDistinctFrom | O::IsNotDistinctFrom)
}

/// `left operator right`, both of a type that [`has_key`]. A float beside a constant other than zero is left alone: that
/// it may be one zero or the other makes no difference. Beside zero, the right one of the two is chosen.
pub(super) fn comparison(operator: Operator, left: Expr, right: Expr, data_type: &DataType) -> Expr {
    use Operator as O;
    let binary = |left, right| Expr::BinaryExpr(BinaryExpr::new(Box::new(left), operator, Box::new(right)));
    if is_interval(data_type) {
        return binary(key(left), key(right));
    }
    match (constant(&left), constant(&right)) {
        (Some(0.0), Some(0.0)) | (None, None) => binary(key(left), key(right)),
        (None, Some(0.0)) => match operator {
            O::Gt | O::LtEq => binary(left, zero(data_type, false)),
            O::Lt | O::GtEq => binary(left, zero(data_type, true)),
            _ => binary(key(left), zero(data_type, false)),
        },
        (Some(0.0), None) => match operator {
            O::Lt | O::GtEq => binary(zero(data_type, false), right),
            O::Gt | O::LtEq => binary(zero(data_type, true), right),
            _ => binary(zero(data_type, false), key(right)),
        },
        _ => binary(left, right),
    }
}

fn zero(data_type: &DataType, negative: bool) -> Expr {
    let value = if negative { -0.0 } else { 0.0 };
    Expr::Literal(
        match data_type {
            DataType::Float32 => ScalarValue::Float32(Some(value)),
            _ => ScalarValue::Float64(Some(value.into())),
        },
        None,
    )
}

/// The value of a numeric literal, also under casts.
fn constant(expr: &Expr) -> Option<f64> {
    match expr {
        Expr::Literal(value, _) => match value.cast_to(&DataType::Float64) {
            Ok(ScalarValue::Float64(value)) => value,
            _ => None,
        },
        Expr::Cast(cast) => constant(&cast.expr),
        Expr::Alias(alias) => constant(&alias.expr),
        _ => None,
    }
}

/// The error for what would show one of several intervals of the same length.
pub(super) fn refused(what: &str) -> DataFusionError {
    Error::unsupported(
        format!("{what} is not supported for intervals"),
        "Intervals of the same length are one value, however they are written: use extract(epoch from i).",
    )
    .into()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SortKey {
    signature: Signature,
}

impl ScalarUDFImpl for SortKey {
    fn name(&self) -> &str {
        "sort_key"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [data_type] if is_interval(data_type) => Ok(LENGTH),
            [data_type] => Ok(data_type.clone()),
            _ => Err(DataFusionError::Internal("sort_key takes one value".into())),
        }
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        rowwise(&args, |arrays| keys(&arrays[0]))
    }
}

fn keys(values: &ArrayRef) -> Result<ArrayRef> {
    Ok(match values.data_type() {
        DataType::Float32 => {
            let canonical = |v: f32| if v.is_nan() { f32::NAN } else { v + 0.0 };
            Arc::new(values.as_primitive::<Float32Type>().unary::<_, Float32Type>(canonical))
        }
        DataType::Float64 => {
            let canonical = |v: f64| if v.is_nan() { f64::NAN } else { v + 0.0 };
            Arc::new(values.as_primitive::<Float64Type>().unary::<_, Float64Type>(canonical))
        }
        data_type if is_interval(data_type) => {
            let lengths: Decimal128Array =
                values.as_primitive::<IntervalMonthDayNanoType>().iter().map(|v| v.map(length)).collect();
            Arc::new(lengths.with_precision_and_scale(38, 0)?)
        }
        other => return Err(DataFusionError::Internal(format!("sort_key of {other}"))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Float64Array;

    #[test]
    fn intervals_have_lengths() {
        let day = i128::from(MICROS_PER_DAY);
        assert_eq!(length(IntervalMonthDayNano::new(1, 0, 0)), 30 * day);
        assert_eq!(length(IntervalMonthDayNano::new(0, 1, -1000)), day - 1);
        assert!(length(IntervalMonthDayNano::new(i32::MAX, i32::MAX, i64::MAX)) < 10i128.pow(38));
    }

    #[test]
    fn floats_have_one_zero_and_one_nan() {
        let values: ArrayRef = Arc::new(Float64Array::from(vec![Some(-0.0), Some(-f64::NAN), Some(-1.5), None]));
        let keys = keys(&values).unwrap();
        let bits: Vec<Option<u64>> = keys.as_primitive::<Float64Type>().iter().map(|v| v.map(f64::to_bits)).collect();
        assert_eq!(bits, [Some(0), Some(f64::NAN.to_bits()), Some((-1.5f64).to_bits()), None]);
    }
}
