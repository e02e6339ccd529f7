//! `floor`, `ceil`, `trunc` and `round`: of a `numeric` a `numeric` with as many digits after the point as are left, of
//! any other number a `double precision` (`round` of one: half to even; of a `numeric`: half away from zero).
//!
//! DataFusion's keep the precision of the argument, which `ceil(9.99)` does not fit. A second argument that is no
//! constant leaves the scale as it is, because a column has one scale for all rows.

use super::rowwise::rowwise;
use crate::error::{Error, Result};
use crate::types::name_of;
use arrow::array::{ArrayRef, AsArray, Decimal128Array, Float64Array};
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef, Float64Type, Int64Type};
use datafusion::common::{DataFusionError, Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;

const PRECISION_MAX: i32 = 38;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Floor,
    Ceil,
    Trunc,
    Round,
}

pub(super) const KINDS: [Kind; 4] = [Kind::Floor, Kind::Ceil, Kind::Trunc, Kind::Round];

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Rounding {
    kind: Kind,
    /// Whether the scale of the argument is kept.
    keeps_scale: bool,
    signature: Signature,
}

impl Rounding {
    pub(super) fn new(kind: Kind) -> Rounding {
        Rounding { kind, keeps_scale: false, signature: Signature::user_defined(Volatility::Immutable) }
    }

    /// The same with the scale decided: what folds to a constant later must not change the type any more.
    pub(super) fn keeping_scale(name: &str) -> Option<Rounding> {
        let kind = match name {
            "trunc" => Kind::Trunc,
            "round" => Kind::Round,
            _ => return None,
        };
        Some(Rounding { keeps_scale: true, ..Rounding::new(kind) })
    }

    /// Digits after the point that are left of a numeric.
    fn result_type(&self, value: &DataType, places: Option<i64>) -> DataType {
        let DataType::Decimal128(precision, scale) = value else { return DataType::Float64 };
        let whole_digits = i32::from(*precision) - i32::from(*scale) + 1;
        let left = match places {
            Some(places) if !self.keeps_scale => places.clamp(0, i64::from(PRECISION_MAX)) as i32,
            _ => i32::from(*scale),
        };
        DataType::Decimal128((whole_digits + left).clamp(1, PRECISION_MAX) as u8, left as i8)
    }
}

impl ScalarUDFImpl for Rounding {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Floor => "floor",
            Kind::Ceil => "ceil",
            Kind::Trunc => "trunc",
            Kind::Round => "round",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        let number = |t: &DataType, integers: DataType| match t {
            DataType::Decimal128(..) => Some(t.clone()),
            DataType::Decimal256(_, scale) => Some(DataType::Decimal128(38, (*scale).clamp(0, 38))),
            t if t.is_integer() => Some(integers),
            DataType::Float16 | DataType::Float32 | DataType::Float64 | DataType::Null | DataType::Utf8 => {
                Some(DataType::Float64)
            }
            _ => None,
        };
        let wanted = match given {
            [value] => number(value, DataType::Float64).map(|t| vec![t]),
            [value, places]
                if (places.is_integer() || places.is_null()) && matches!(self.kind, Kind::Trunc | Kind::Round) =>
            {
                number(value, DataType::Decimal128(19, 0)).map(|t| vec![t, DataType::Int64])
            }
            _ => None,
        };
        wanted.ok_or_else(|| {
            let types: Vec<String> = given.iter().map(name_of).collect();
            Error::new("42883", format!("function {}({}) does not exist", self.name(), types.join(", ")))
                .with_hint("It takes a number; round and trunc take the digits to leave as well.")
                .into()
        })
    }

    fn return_type(&self, _types: &[DataType]) -> DataFusionResult<DataType> {
        Err(DataFusionError::Internal("the type depends on the second argument".into()))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DataFusionResult<FieldRef> {
        let places = match args.scalar_arguments {
            [_] => Some(0),
            [_, Some(places)] => match places.cast_to(&DataType::Int64)? {
                ScalarValue::Int64(places) => Some(places.unwrap_or(0)),
                _ => None,
            },
            _ => None,
        };
        let data_type = self.result_type(args.arg_fields[0].data_type(), places);
        Ok(Arc::new(Field::new(self.name(), data_type, args.arg_fields.iter().any(|field| field.is_nullable()))))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        rowwise(&args, |arrays| {
            let values = &arrays[0];
            let places = |row: usize| match arrays.get(1) {
                None => Some(0),
                Some(places) if places.is_valid(row) => Some(places.as_primitive::<Int64Type>().value(row)),
                Some(_) => None,
            };
            match (values.data_type(), args.return_field.data_type()) {
                (DataType::Decimal128(_, from), DataType::Decimal128(precision, to)) => {
                    let decimals = values.as_primitive::<Decimal128Type>().iter().enumerate();
                    let rounded = decimals.map(|(row, value)| match (value, places(row)) {
                        (Some(value), Some(places)) => self.of_numeric(value, places, *from, *to).map(Some),
                        _ => Ok(None),
                    });
                    let rounded: Decimal128Array = rounded.collect::<Result<_>>()?;
                    let rounded = rounded.with_precision_and_scale(*precision, *to)?;
                    rounded.validate_decimal_precision(*precision).map_err(|_| overflow())?;
                    Ok::<_, Error>(Arc::new(rounded) as ArrayRef)
                }
                _ => {
                    let floats = values.as_primitive::<Float64Type>().iter().enumerate();
                    let rounded = floats.map(|(row, value)| Some(self.of_float(value?, places(row)?)));
                    Ok(Arc::new(rounded.collect::<Float64Array>()) as ArrayRef)
                }
            }
        })
    }
}

impl Rounding {
    /// `value · 10^-from` with `places` digits after the point, as units of `10^-to`.
    fn of_numeric(&self, value: i128, places: i64, from: i8, to: i8) -> Result<i128> {
        let dropped = i64::from(from).saturating_sub(places);
        let rounded = match u32::try_from(dropped.clamp(0, i64::from(PRECISION_MAX) + 1)).ok().filter(|d| *d > 0) {
            None => value,
            // More than all digits: nothing is left, but for what is rounded away from zero.
            Some(dropped) => match 10i128.checked_pow(dropped) {
                Some(unit) => self.quotient(value, unit).checked_mul(unit).ok_or_else(overflow)?,
                None => 0,
            },
        };
        let power = |digits: i8| 10i128.checked_pow(digits.unsigned_abs().into()).ok_or_else(overflow);
        match to - from {
            shift @ 0.. => rounded.checked_mul(power(shift)?).ok_or_else(overflow),
            shift => Ok(rounded / power(shift)?),
        }
    }

    fn quotient(&self, value: i128, unit: i128) -> i128 {
        match self.kind {
            Kind::Floor => value.div_euclid(unit),
            Kind::Ceil => -(-value).div_euclid(unit),
            Kind::Trunc => value / unit,
            Kind::Round => {
                let (quotient, rest) = (value / unit, value % unit);
                if rest.unsigned_abs() < unit.unsigned_abs().div_ceil(2) { quotient } else { quotient + value.signum() }
            }
        }
    }

    fn of_float(&self, value: f64, places: i64) -> f64 {
        let whole = |value: f64| match self.kind {
            Kind::Floor => value.floor(),
            Kind::Ceil => value.ceil(),
            Kind::Trunc => value.trunc(),
            Kind::Round => value.round_ties_even(),
        };
        if places == 0 {
            return whole(value);
        }
        let unit = 10f64.powi(places.clamp(-400, 400) as i32);
        let shifted = value * unit;
        if shifted.is_finite() && unit.is_finite() && unit != 0.0 { whole(shifted) / unit } else { value }
    }
}

fn overflow() -> Error {
    Error::new("22003", "numeric field overflow")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numerics_are_rounded_by_kind() {
        for (kind, value, places, result) in [
            (Kind::Floor, -15, 0, -2),
            (Kind::Ceil, -15, 0, -1),
            (Kind::Ceil, 999, 0, 100),
            (Kind::Trunc, -15, 0, -1),
            (Kind::Round, 25, 0, 3),
            (Kind::Round, -25, 0, -3),
            (Kind::Round, 24, 0, 2),
            (Kind::Round, 1555, -2, 200),
            (Kind::Trunc, 1555, -60, 0),
        ] {
            assert_eq!(Rounding::new(kind).of_numeric(value, places, 1, 0).unwrap(), result, "{kind:?} {value}");
        }
        assert_eq!(Rounding::new(Kind::Round).of_numeric(2345, 2, 3, 2).unwrap(), 235);
        assert_eq!(Rounding::new(Kind::Round).of_numeric(25, 4, 1, 4).unwrap(), 25_000);
    }

    #[test]
    fn results_have_room_for_a_carry() {
        let floor = Rounding::new(Kind::Floor);
        assert_eq!(floor.result_type(&DataType::Decimal128(3, 2), Some(0)), DataType::Decimal128(2, 0));
        assert_eq!(floor.result_type(&DataType::Decimal128(1, 1), Some(0)), DataType::Decimal128(1, 0));
        assert_eq!(floor.result_type(&DataType::Decimal128(38, 10), None), DataType::Decimal128(38, 10));
    }
}
