//! `to_char`, `to_date`, `to_timestamp` and `age` with Postgres' arguments (DataFusion's take strftime patterns).

use super::age::age;
use super::template::{Piece, pieces, write};
use super::template_read::read;
use crate::error::Error;
use crate::types::{name_of, timestamptz};
use crate::value::datetime::MICROS_PER_DAY;
use arrow::array::{Array, ArrayRef, AsArray, Date32Array, IntervalMonthDayNanoArray, StringArray};
use arrow::array::{PrimitiveArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Float64Type, IntervalUnit, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    ToChar,
    ToDate,
    ToTimestamp,
    Age,
}

/// One of the four.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Format {
    kind: Kind,
    signature: Signature,
}

pub(super) const KINDS: [Kind; 4] = [Kind::ToChar, Kind::ToDate, Kind::ToTimestamp, Kind::Age];

impl Format {
    pub(super) fn new(kind: Kind) -> Format {
        Format { kind, signature: Signature::user_defined(Volatility::Immutable) }
    }

    fn usage(&self, given: &[DataType]) -> DataFusionError {
        let types: Vec<String> = given.iter().map(name_of).collect();
        let usage = match self.kind {
            Kind::ToChar => "It is to_char(timestamp, template); a number is formatted with a cast and lpad().",
            Kind::ToDate => "It is to_date(text, template).",
            Kind::ToTimestamp => "It is to_timestamp(text, template) or to_timestamp(seconds).",
            Kind::Age => "It is age(timestamp, timestamp).",
        };
        Error::new("42883", format!("function {}({}) does not exist", self.name(), types.join(", ")))
            .with_hint(usage)
            .into()
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null)
}

/// The timestamp type in which a moment is formatted.
fn moment(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Timestamp(_, Some(_)) => Some(timestamptz()),
        DataType::Timestamp(_, None) | DataType::Date32 | DataType::Null => {
            Some(DataType::Timestamp(TimeUnit::Microsecond, None))
        }
        _ => None,
    }
}

impl ScalarUDFImpl for Format {
    fn name(&self) -> &str {
        match self.kind {
            Kind::ToChar => "to_char",
            Kind::ToDate => "to_date",
            Kind::ToTimestamp => "to_timestamp",
            Kind::Age => "age",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let timestamp = || DataType::Timestamp(TimeUnit::Microsecond, None);
        let wanted = match (self.kind, given) {
            (Kind::ToChar, [value, template]) if is_text(template) => moment(value).map(|t| vec![t, DataType::Utf8]),
            (Kind::ToDate | Kind::ToTimestamp, [text, template]) if is_text(text) && is_text(template) => {
                Some(vec![DataType::Utf8, DataType::Utf8])
            }
            (Kind::ToTimestamp, [seconds]) if seconds.is_numeric() => Some(vec![DataType::Float64]),
            (Kind::Age, [end, start]) if moment(end).is_some() && moment(start).is_some() => {
                Some(vec![timestamp(), timestamp()])
            }
            _ => None,
        };
        wanted.ok_or_else(|| self.usage(given))
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(match self.kind {
            Kind::ToChar => DataType::Utf8,
            Kind::ToDate => DataType::Date32,
            Kind::ToTimestamp => timestamptz(),
            Kind::Age => DataType::Interval(IntervalUnit::MonthDayNano),
        })
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let template = match args.args.get(1) {
            Some(ColumnarValue::Scalar(ScalarValue::Utf8(Some(template)))) => Some(Arc::from(pieces(template)?)),
            _ => None,
        };
        let arrays = args.args.iter().map(|a| a.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let result = self.compute(&arrays, template)?;
        match constant {
            true => Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?)),
            false => Ok(ColumnarValue::Array(result)),
        }
    }
}

impl Format {
    /// `template`: already split, when it is a constant.
    fn compute(&self, arrays: &[ArrayRef], template: Option<Arc<[Piece]>>) -> crate::Result<ArrayRef> {
        match (self.kind, arrays) {
            (Kind::ToChar, [values, templates]) => {
                let values = values.as_primitive::<TimestampMicrosecondType>();
                // Infinity has no fields: NULL, as in Postgres.
                let values = values.iter().map(|value| value.filter(|v| *v != i64::MAX && *v != i64::MIN));
                let texts = each_template(templates, template, values, |pieces, micros: i64| {
                    let mut text = String::new();
                    write(&mut text, pieces, micros);
                    Ok(text)
                })?;
                Ok(Arc::new(StringArray::from(texts)))
            }
            (Kind::ToDate, [texts, templates]) => {
                let texts = texts.as_string::<i32>();
                let days = each_template(templates, template, texts, |pieces, text: &str| {
                    let days = read(text, pieces)?.div_euclid(MICROS_PER_DAY);
                    i32::try_from(days).map_err(|_| Error::new("22008", "date out of range"))
                })?;
                Ok(Arc::new(Date32Array::from(days)))
            }
            (Kind::ToTimestamp, [texts, templates]) => {
                let texts = texts.as_string::<i32>();
                let micros = each_template(templates, template, texts, |pieces, text: &str| read(text, pieces))?;
                Ok(instants(TimestampMicrosecondArray::from(micros)))
            }
            (Kind::ToTimestamp, [seconds]) => {
                let micros = seconds.as_primitive::<Float64Type>().try_unary(|seconds| {
                    let micros = (seconds * 1e6).round_ties_even();
                    // The limits of an i64; NaN fails too.
                    if micros.abs() < 9.2e18 {
                        Ok(micros as i64)
                    } else {
                        Err(Error::new("22008", format!("timestamp out of range: \"{seconds}\"")))
                    }
                })?;
                Ok(instants(micros))
            }
            (Kind::Age, [end, start]) => {
                let pair = end
                    .as_primitive::<TimestampMicrosecondType>()
                    .iter()
                    .zip(start.as_primitive::<TimestampMicrosecondType>().iter());
                let ages: IntervalMonthDayNanoArray = pair.map(|(end, start)| Some(age(end?, start?))).collect();
                Ok(Arc::new(ages))
            }
            _ => Err(Error::internal("a format function with the wrong arguments")),
        }
    }
}

fn instants(micros: PrimitiveArray<TimestampMicrosecondType>) -> ArrayRef {
    Arc::new(micros.with_data_type(timestamptz()))
}

/// Applies `function` to each value with its template; a NULL of either gives NULL.
fn each_template<V, T>(
    templates: &ArrayRef,
    constant: Option<Arc<[Piece]>>,
    values: impl IntoIterator<Item = Option<V>>,
    function: impl Fn(&[Piece], V) -> crate::Result<T>,
) -> crate::Result<Vec<Option<T>>> {
    let templates = templates.as_string::<i32>();
    let one = |(row, value): (usize, Option<V>)| match (value, &constant) {
        (Some(value), Some(constant)) => function(constant, value).map(Some),
        (Some(value), None) if templates.is_valid(row) => function(&pieces(templates.value(row))?, value).map(Some),
        _ => Ok(None),
    };
    values.into_iter().enumerate().map(one).collect()
}
