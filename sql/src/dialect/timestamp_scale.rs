//! `timestamp_scale(t, digits)`, which is what `t::timestamp(digits)` means: the fraction of a second rounded, half away
//! from 2000-01-01 as in Postgres.

use super::rowwise::rowwise;
use crate::error::{Error, Result};
use crate::value::datetime::EPOCH_MICROS;
use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};
use datafusion::common::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use std::sync::Arc;

pub(crate) const TIMESTAMP_SCALE: &str = "timestamp_scale";
/// Digits of a second that a timestamp has.
pub(crate) const DIGITS_MAX: u64 = 6;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct TimestampScale {
    signature: Signature,
}

impl TimestampScale {
    pub(super) fn new() -> TimestampScale {
        TimestampScale { signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for TimestampScale {
    fn name(&self) -> &str {
        TIMESTAMP_SCALE
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        types.first().cloned().ok_or_else(|| DataFusionError::Internal("timestamp_scale without a timestamp".into()))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        rowwise(&args, |arrays| {
            let digits = arrays[1].as_primitive_opt::<Int64Type>().filter(|digits| !digits.is_empty());
            let unit = digits
                .and_then(|digits| u32::try_from(DIGITS_MAX as i64 - digits.value(0)).ok())
                .and_then(|zeros| 10i64.checked_pow(zeros));
            let times = arrays[0].as_primitive_opt::<TimestampMicrosecondType>();
            let (Some(unit), Some(times)) = (unit, times) else {
                return Err(Error::internal("timestamp_scale takes a timestamp and digits"));
            };
            let rounded: PrimitiveArray<TimestampMicrosecondType> = times.try_unary(|time| rounded(time, unit))?;
            Ok(Arc::new(rounded.with_data_type(times.data_type().clone())) as ArrayRef)
        })
    }
}

fn rounded(micros: i64, unit: i64) -> Result<i64> {
    if micros == i64::MAX || micros == i64::MIN {
        return Ok(micros);
    }
    let out_of_range = || Error::new("22008", "timestamp out of range");
    let since = micros.checked_sub(EPOCH_MICROS).ok_or_else(out_of_range)?;
    let half = unit / 2 * since.signum();
    since.checked_add(half).map(|t| t / unit * unit + EPOCH_MICROS).ok_or_else(out_of_range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_away_from_2000() {
        for (since, unit, result) in [(1_500, 1000, 2_000), (-1_500, 1000, -2_000), (1_499, 1000, 1_000), (7, 1, 7)] {
            assert_eq!(rounded(EPOCH_MICROS + since, unit).unwrap(), EPOCH_MICROS + result);
        }
        assert_eq!(rounded(i64::MAX, 1000).unwrap(), i64::MAX);
    }
}
