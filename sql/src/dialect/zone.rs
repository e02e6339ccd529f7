//! `timezone(zone, t)`, which is what `t AT TIME ZONE zone` means: an instant becomes the clock time of that zone, a
//! clock time of that zone becomes an instant.

use crate::error::Error;
use crate::types::{name_of, timestamptz};
use arrow::array::timezone::Tz;
use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use chrono::{DateTime, LocalResult, Offset, TimeDelta, TimeZone};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use std::str::FromStr;
use std::sync::Arc;

/// Clocks are put forward by less than this, but for a zone that changed the side of the date line.
const LONGEST_GAP_HOURS: i64 = 3;

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
    if zone.starts_with(['+', '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) {
        return Err(Error::unsupported(
            format!("a numeric time zone (\"{zone}\") is not supported"),
            "Name the zone, as in 'America/New_York', or add an interval.",
        )
        .into());
    }
    let unknown = || Error::new("22023", format!("time zone \"{zone}\" not recognized"));
    let name = if zone.eq_ignore_ascii_case("utc") || zone.eq_ignore_ascii_case("gmt") { "UTC" } else { zone };
    let tz = Tz::from_str(name).map_err(|_| DataFusionError::from(unknown()))?;
    let is_clock = times.data_type() == &clock();
    let micros = times.as_primitive::<TimestampMicrosecondType>();
    let moved = micros.try_unary::<_, TimestampMicrosecondType, DataFusionError>(|micros| {
        if micros == i64::MAX || micros == i64::MIN {
            return Ok(micros);
        }
        let moved = if is_clock { instant(tz, micros) } else { local(tz, micros) };
        moved.ok_or_else(|| Error::new("22008", "timestamp out of range").into())
    })?;
    Ok(Arc::new(moved.with_data_type(if is_clock { timestamptz() } else { clock() })))
}

/// The instant at which the zone's clocks show `micros`. When they show it twice, the later one (standard time); when
/// they skip it, as if they had not yet been put forward. So does Postgres.
fn instant(tz: Tz, micros: i64) -> Option<i64> {
    let shown = DateTime::from_timestamp_micros(micros)?.naive_utc();
    let seconds = match tz.offset_from_local_datetime(&shown) {
        LocalResult::Single(offset) => offset.fix().local_minus_utc(),
        LocalResult::Ambiguous(a, b) => a.fix().local_minus_utc().min(b.fix().local_minus_utc()),
        LocalResult::None => {
            let before = shown.checked_sub_signed(TimeDelta::try_hours(LONGEST_GAP_HOURS)?)?;
            tz.offset_from_local_datetime(&before).earliest()?.fix().local_minus_utc()
        }
    };
    micros.checked_sub(i64::from(seconds) * 1_000_000)
}

/// What the zone's clocks show at an instant.
fn local(tz: Tz, micros: i64) -> Option<i64> {
    let instant = DateTime::from_timestamp_micros(micros)?.naive_utc();
    let seconds = tz.offset_from_utc_datetime(&instant).fix().local_minus_utc();
    micros.checked_add(i64::from(seconds) * 1_000_000)
}
