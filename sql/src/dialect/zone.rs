//! `timezone(zone, t)`, which is what `t AT TIME ZONE zone` means: an instant becomes the clock time of that zone, a
//! clock time of that zone becomes an instant.

use crate::error::Error;
use crate::types::{name_of, timestamptz};
use arrow::array::timezone::Tz;
use arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use std::str::FromStr;
use std::sync::Arc;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Timezone {
    signature: Signature,
}

impl Timezone {
    pub(super) fn new() -> Timezone {
        Timezone { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

fn clock() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

impl ScalarUDFImpl for Timezone {
    fn name(&self) -> &str {
        "timezone"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let zone_is_text = matches!(given.first(), Some(DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View));
        match given.get(1) {
            Some(DataType::Timestamp(_, Some(_)) | DataType::Date32 | DataType::Null) if zone_is_text => {
                Ok(vec![DataType::Utf8, timestamptz()])
            }
            Some(DataType::Timestamp(_, None)) if zone_is_text => Ok(vec![DataType::Utf8, clock()]),
            _ => {
                let types: Vec<String> = given.iter().map(name_of).collect();
                Err(Error::new("42883", format!("function timezone({}) does not exist", types.join(", ")))
                    .with_hint("It is timestamp AT TIME ZONE 'zone'.")
                    .into())
            }
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(if types.get(1) == Some(&clock()) { timestamptz() } else { clock() })
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (zone, times) = match args.args.as_slice() {
            [ColumnarValue::Scalar(ScalarValue::Utf8(Some(zone))), times] => (zone, times),
            _ => {
                return Err(Error::unsupported(
                    "the time zone must be a constant",
                    "Write AT TIME ZONE 'America/New_York'.",
                )
                .into());
            }
        };
        let constant = matches!(times, ColumnarValue::Scalar(_));
        let times = times.to_array(if constant { 1 } else { args.number_rows })?;
        let moved = moved(zone, &times)?;
        match constant {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&moved, 0)?)),
            false => Ok(ColumnarValue::Array(moved)),
        }
    }
}

fn moved(zone: &str, times: &ArrayRef) -> Result<ArrayRef> {
    let unknown = || Error::new("22023", format!("time zone \"{zone}\" not recognized"));
    let name = if zone.eq_ignore_ascii_case("utc") || zone.eq_ignore_ascii_case("gmt") { "UTC" } else { zone };
    let tz = Tz::from_str(name).map_err(|_| DataFusionError::from(unknown()))?;
    if times.data_type() == &clock() {
        let zoned = cast(times, &DataType::Timestamp(TimeUnit::Microsecond, Some(name.into())))?;
        let instants = zoned.as_primitive::<TimestampMicrosecondType>().clone().with_data_type(timestamptz());
        return Ok(Arc::new(instants));
    }
    let zoned = times.as_primitive::<TimestampMicrosecondType>();
    let clock = |row: usize| -> Option<i64> {
        let local = zoned.is_valid(row).then(|| zoned.value_as_datetime_with_tz(row, tz))??.naive_local();
        Some(local.and_utc().timestamp_micros())
    };
    let clocks: TimestampMicrosecondArray = (0..zoned.len()).map(clock).collect();
    Ok(Arc::new(clocks))
}
