//! `+ − × ÷ %` that fail where Postgres fails: integers and floats out of range (22003), division by zero (22012).
//!
//! Integers: arrow's checked kernels. Floats: the IEEE result, refused when it is infinite and no operand was, or when
//! the divisor is zero; a NaN is the one NaN there is, without a sign. Numeric division keeps [`QUOTIENT_SCALE_MIN`]
//! digits after the point (Postgres: at least 16 significant ones) and rounds half away from zero; so does a product of
//! numerics with more than [`PRODUCT_SCALE_MAX`] of them between them, which soon would not fit.

use crate::error::Error;
use crate::types::name_of;
use arrow::array::{Array, ArrayRef, AsArray, Datum, Decimal128Array};
use arrow::compute::kernels::numeric::{add, div, mul, rem, sub};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Decimal128Type, Float32Type, Float64Type, i256};
use arrow::error::ArrowError;
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr_common::datum::apply;
use std::sync::Arc;

/// Digits after the point of a numeric quotient, unless an operand has more.
const QUOTIENT_SCALE_MIN: i8 = 16;
/// Digits after the point that a product of numerics keeps exactly.
const PRODUCT_SCALE_MAX: i8 = 18;
const PRECISION_MAX: u8 = 38;

/// One operator over two operands of one type (numeric division: of two numeric types).
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Arithmetic {
    operator: Operator,
    signature: Signature,
}

impl Arithmetic {
    /// `left operator right` for types that [`is_checked`] accepts.
    pub(super) fn expr(operator: Operator, left: Expr, right: Expr) -> Expr {
        let function = Arithmetic { operator, signature: Signature::any(2, Volatility::Immutable) };
        ScalarUDF::from(function).call(vec![left, right])
    }
}

/// Whether values of this type need the care of this file.
pub(super) fn is_checked(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Float32 | DataType::Float64)
}

/// Whether this operator is one of arithmetic.
pub(super) fn is_arithmetic(operator: Operator) -> bool {
    use Operator as O;
    matches!(operator, O::Plus | O::Minus | O::Multiply | O::Divide | O::Modulo)
}

/// The type of `left / right`; `None` unless one is numeric and the other numeric or an integer.
pub(super) fn quotient(left: &DataType, right: &DataType) -> Option<(DataType, DataType)> {
    let numeric = |t: &DataType| match t {
        DataType::Decimal128(..) => Some(t.clone()),
        DataType::Int16 | DataType::Int32 => Some(DataType::Decimal128(10, 0)),
        DataType::Int64 => Some(DataType::Decimal128(20, 0)),
        _ => None,
    };
    let any = [left, right].into_iter().any(|t| matches!(t, DataType::Decimal128(..)));
    any.then(|| Some((numeric(left)?, numeric(right)?)))?
}

/// Whether a product of these types is rounded.
pub(super) fn long_product(left: &DataType, right: &DataType) -> bool {
    match (left, right) {
        (DataType::Decimal128(_, left), DataType::Decimal128(_, right)) => left + right > PRODUCT_SCALE_MAX,
        _ => false,
    }
}

/// Of quotients, and of products that are rounded.
fn quotient_scale(left: i8, right: i8) -> i8 {
    QUOTIENT_SCALE_MIN.max(left).max(right)
}

impl ScalarUDFImpl for Arithmetic {
    fn name(&self) -> &str {
        match self.operator {
            Operator::Plus => "plus",
            Operator::Minus => "minus",
            Operator::Multiply => "times",
            Operator::Divide => "divided_by",
            _ => "modulo",
        }
    }

    fn schema_name(&self, arguments: &[Expr]) -> Result<String> {
        match arguments {
            [left, right] => {
                Ok(BinaryExpr::new(Box::new(left.clone()), self.operator, Box::new(right.clone())).to_string())
            }
            _ => Err(DataFusionError::Internal("arithmetic takes two operands".into())),
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::Decimal128(_, left), DataType::Decimal128(_, right)] => {
                Ok(DataType::Decimal128(PRECISION_MAX, quotient_scale(*left, *right)))
            }
            [left, _] => Ok(left.clone()),
            _ => Err(DataFusionError::Internal("arithmetic takes two operands".into())),
        }
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = args.args.as_slice() else {
            return Err(DataFusionError::Internal("arithmetic takes two operands".into()));
        };
        let result = apply(left, right, |left, right| self.compute(left, right));
        result.map_err(|error| range_error(error, &args.return_field.data_type().clone()))
    }
}

impl Arithmetic {
    fn compute(&self, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, ArrowError> {
        match left.get().0.data_type() {
            DataType::Decimal128(..) => numeric(self.operator, left, right),
            DataType::Float32 => {
                let is = Tests { infinite: f32::is_infinite, nan: f32::is_nan, zero: |v| v == 0.0, the_nan: f32::NAN };
                self.floats::<Float32Type>(left, right, is)
            }
            DataType::Float64 => {
                let is = Tests { infinite: f64::is_infinite, nan: f64::is_nan, zero: |v| v == 0.0, the_nan: f64::NAN };
                self.floats::<Float64Type>(left, right, is)
            }
            _ => self.kernel(left, right),
        }
    }

    fn kernel(&self, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, ArrowError> {
        match self.operator {
            Operator::Plus => add(left, right),
            Operator::Minus => sub(left, right),
            Operator::Multiply => mul(left, right),
            Operator::Divide => div(left, right),
            _ => rem(left, right),
        }
    }

    /// Row by row, so that no row's answer depends on the others of its batch.
    fn floats<T: ArrowPrimitiveType>(
        &self,
        left: &dyn Datum,
        right: &dyn Datum,
        is: Tests<T::Native>,
    ) -> Result<ArrayRef, ArrowError> {
        let ((l, l_scalar), (r, r_scalar)) = (left.get(), right.get());
        let (l, r) = (l.as_primitive::<T>(), r.as_primitive::<T>());
        let rows = if l_scalar { r.len() } else { l.len() };
        let any = |test: &dyn Fn(usize, T::Native, T::Native) -> bool| {
            (0..rows).any(|row| {
                let (i, j) = (if l_scalar { 0 } else { row }, if r_scalar { 0 } else { row });
                l.is_valid(i) && r.is_valid(j) && test(row, l.value(i), r.value(j))
            })
        };
        let divides = matches!(self.operator, Operator::Divide | Operator::Modulo);
        if divides && any(&|_, l, r| (is.zero)(r) && !(is.nan)(l)) {
            return Err(ArrowError::DivideByZero);
        }
        let result = self.kernel(left, right)?;
        let values = result.as_primitive::<T>();
        if values.values().iter().any(|value| (is.infinite)(*value))
            && any(&|row, l, r| (is.infinite)(values.value(row)) && !(is.infinite)(l) && !(is.infinite)(r))
        {
            return Err(ArrowError::ArithmeticOverflow("value out of range: overflow".into()));
        }
        if values.values().iter().any(|value| (is.nan)(*value)) {
            let canonical = |value| if (is.nan)(value) { is.the_nan } else { value };
            return Ok(Arc::new(values.unary::<_, T>(canonical)));
        }
        Ok(result)
    }
}

/// What there is to know about a float.
struct Tests<N> {
    infinite: fn(N) -> bool,
    nan: fn(N) -> bool,
    zero: fn(N) -> bool,
    the_nan: N,
}

/// A quotient or a product, with the digits after the point of [`quotient_scale`].
fn numeric(operator: Operator, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, ArrowError> {
    let ((left, left_scalar), (right, right_scalar)) = (left.get(), right.get());
    let (left, right) = (left.as_primitive::<Decimal128Type>(), right.as_primitive::<Decimal128Type>());
    let scale = quotient_scale(left.scale(), right.scale());
    let power = |digits: i8| i256::from_i128(10).checked_pow(digits.unsigned_abs().into()).ok_or_else(overflow);
    let divides = operator == Operator::Divide;
    // (l·10^-ls) / (r·10^-rs) = (l·10^(scale + rs − ls) / r)·10^-scale, and scale ≥ ls.
    // (l·10^-ls) · (r·10^-rs) = (l·r / 10^(ls + rs − scale))·10^-scale, and only products with ls + rs ≥ scale come here.
    let factor = if divides { power(scale + right.scale() - left.scale())? } else { i256::ONE };
    let divisor = if divides { i256::ONE } else { power((left.scale() + right.scale() - scale).max(0))? };
    let rows = if left_scalar { right.len() } else { left.len() };
    let result = |row: usize| -> Result<Option<i128>, ArrowError> {
        let (l, r) = (if left_scalar { 0 } else { row }, if right_scalar { 0 } else { row });
        if left.is_null(l) || right.is_null(r) {
            return Ok(None);
        }
        if divides && right.value(r) == 0 {
            return Err(ArrowError::DivideByZero);
        }
        let (l, r) = (i256::from_i128(left.value(l)), i256::from_i128(right.value(r)));
        let (scaled, divisor) = if divides { (l.checked_mul(factor), r) } else { (l.checked_mul(r), divisor) };
        rounded(scaled.ok_or_else(overflow)?, divisor).and_then(|q| q.to_i128()).map(Some).ok_or_else(overflow)
    };
    let results = (0..rows).map(result).collect::<Result<Decimal128Array, _>>()?;
    let results = results.with_precision_and_scale(PRECISION_MAX, scale)?;
    results.validate_decimal_precision(PRECISION_MAX).map_err(|_| overflow())?;
    Ok(Arc::new(results))
}

/// `dividend / divisor`, half away from zero.
fn rounded(dividend: i256, divisor: i256) -> Option<i256> {
    let quotient = dividend.checked_div(divisor)?;
    let rest = dividend.checked_rem(divisor)?;
    let twice = rest.wrapping_abs().checked_mul(i256::from_i128(2))?;
    if twice < divisor.wrapping_abs() {
        return Some(quotient);
    }
    let away = if dividend.is_negative() == divisor.is_negative() { i256::ONE } else { i256::MINUS_ONE };
    quotient.checked_add(away)
}

fn overflow() -> ArrowError {
    ArrowError::ArithmeticOverflow("value overflows numeric format".into())
}

/// Postgres' words for a result that the type cannot hold.
fn range_error(error: DataFusionError, data_type: &DataType) -> DataFusionError {
    match error.find_root() {
        DataFusionError::ArrowError(arrow, _) => match arrow.as_ref() {
            ArrowError::ArithmeticOverflow(_) if data_type.is_integer() => {
                Error::new("22003", format!("{} out of range", name_of(data_type))).into()
            }
            _ => error,
        },
        _ => error,
    }
}

/// `-x`: of a float as `-1 * x`, which keeps its zeros and its NaN, of an integer as `0 - x`.
pub(super) fn negative(data_type: &DataType, value: Expr) -> Result<Expr> {
    if data_type.is_floating() {
        let one = datafusion::common::ScalarValue::new_negative_one(data_type)?;
        return Ok(Arithmetic::expr(Operator::Multiply, Expr::Literal(one, None), value));
    }
    let zero = datafusion::common::ScalarValue::new_zero(data_type)?;
    Ok(Arithmetic::expr(Operator::Minus, Expr::Literal(zero, None), value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float64Array, Int64Array};
    use arrow::datatypes::Int64Type;

    fn compute(operator: Operator, left: ArrayRef, right: ArrayRef) -> Result<ArrayRef, ArrowError> {
        let function = Arithmetic { operator, signature: Signature::any(2, Volatility::Immutable) };
        function.compute(&left, &right)
    }

    #[test]
    fn integers_do_not_wrap() {
        let big: ArrayRef = Arc::new(Int64Array::from(vec![Some(i64::MAX), None]));
        let one: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), Some(1)]));
        assert!(compute(Operator::Plus, big.clone(), one.clone()).is_err());
        let sum = compute(Operator::Minus, big, one).unwrap();
        assert_eq!(sum.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(i64::MAX - 1), None]);
    }

    #[test]
    fn floats_overflow_only_from_finite_operands() {
        let floats = |values: Vec<Option<f64>>| -> ArrayRef { Arc::new(Float64Array::from(values)) };
        assert!(compute(Operator::Multiply, floats(vec![Some(1e308)]), floats(vec![Some(10.0)])).is_err());
        assert!(compute(Operator::Plus, floats(vec![Some(f64::INFINITY)]), floats(vec![Some(1.0)])).is_ok());
        assert!(matches!(
            compute(Operator::Divide, floats(vec![Some(1.0)]), floats(vec![Some(0.0)])),
            Err(ArrowError::DivideByZero)
        ));
        let both = vec![Some(f64::INFINITY), Some(1e308)];
        assert!(compute(Operator::Multiply, floats(both), floats(vec![Some(10.0), Some(10.0)])).is_err());
        assert!(compute(Operator::Divide, floats(vec![Some(f64::NAN)]), floats(vec![Some(0.0)])).is_ok());
        assert!(compute(Operator::Divide, floats(vec![None]), floats(vec![Some(0.0)])).is_ok());
        let infinity = floats(vec![Some(f64::INFINITY)]);
        let difference = compute(Operator::Minus, infinity.clone(), infinity).unwrap();
        assert_eq!(difference.as_primitive::<Float64Type>().value(0).to_bits(), f64::NAN.to_bits());
    }

    #[test]
    fn numeric_quotients_round_half_away_from_zero() {
        let numeric = |value: i128, scale: i8| -> ArrayRef {
            Arc::new(Decimal128Array::from(vec![value]).with_precision_and_scale(38, scale).unwrap())
        };
        for (left, right, quotient) in [
            ((1, 0), (3, 0), "0.3333333333333333"),
            ((2, 0), (3, 0), "0.6666666666666667"),
            ((-2, 0), (3, 0), "-0.6666666666666667"),
            ((700, 2), (20, 1), "3.5000000000000000"),
        ] {
            let result = compute(Operator::Divide, numeric(left.0, left.1), numeric(right.0, right.1)).unwrap();
            assert_eq!(result.as_primitive::<Decimal128Type>().value_as_string(0), quotient);
        }
        assert!(compute(Operator::Divide, numeric(10i128.pow(37), 0), numeric(1, 0)).is_err());
        let product = compute(Operator::Multiply, numeric(15, 10), numeric(-10_000_000_005, 10)).unwrap();
        assert_eq!(product.as_primitive::<Decimal128Type>().value_as_string(0), "-0.0000000015000000");
    }
}
