//! `date + integer` and `date - integer`: days, refused where Postgres' range ends (22008). DataFusion goes through an
//! interval and gives NULL there.

use super::rowwise::rowwise;
use crate::error::{Error, Result};
use arrow::array::{ArrayRef, AsArray, Date32Array};
use arrow::datatypes::{DataType, Date32Type, Int64Type};
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, cast,
};
use std::sync::Arc;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct DateShift {
    back: bool,
    signature: Signature,
}

/// `date + days`, or with `back` `date - days`.
pub(super) fn shifted(date: Expr, days: Expr, back: bool) -> Expr {
    let signature = Signature::exact(vec![DataType::Date32, DataType::Int64], Volatility::Immutable);
    ScalarUDF::from(DateShift { back, signature }).call(vec![date, cast(days, DataType::Int64)])
}

impl ScalarUDFImpl for DateShift {
    fn name(&self) -> &str {
        if self.back { "date_minus_days" } else { "date_plus_days" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Date32)
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        rowwise(&args, |arrays| {
            let pairs = arrays[0].as_primitive::<Date32Type>().iter().zip(arrays[1].as_primitive::<Int64Type>());
            let days: Date32Array = pairs
                .map(|pair| match pair {
                    (Some(date), Some(days)) => shift(date, if self.back { days.checked_neg() } else { Some(days) }),
                    _ => Ok(None),
                })
                .collect::<Result<_>>()?;
            Ok::<_, Error>(Arc::new(days) as ArrayRef)
        })
    }
}

/// An infinite date stays what it is.
fn shift(date: i32, days: Option<i64>) -> Result<Option<i32>> {
    if date == i32::MAX || date == i32::MIN {
        return Ok(Some(date));
    }
    let sum = days.and_then(|days| i64::from(date).checked_add(days)).and_then(|sum| i32::try_from(sum).ok());
    match sum.filter(|days| (FIRST_DAY..=LAST_DAY).contains(days)) {
        Some(days) => Ok(Some(days)),
        None => Err(Error::new("22008", "date out of range")),
    }
}

/// 4714-11-24 BC and 5874897-12-31, in days since 1970: Postgres' range.
const FIRST_DAY: i32 = -2_440_588;
const LAST_DAY: i32 = 2_145_042_905;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_end_where_dates_do() {
        assert_eq!(shift(20_089, Some(-1)).unwrap(), Some(20_088));
        assert_eq!(shift(i32::MAX, Some(5)).unwrap(), Some(i32::MAX));
        assert!(shift(LAST_DAY, Some(1)).is_err() && shift(FIRST_DAY, Some(-1)).is_err() && shift(0, None).is_err());
    }
}
