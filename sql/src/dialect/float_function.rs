//! Functions of `double precision` that fail where Postgres' fail: outside their domain, and when a finite argument
//! gives a result that is infinite or vanishes. DataFusion's give NaN, infinity or zero.

use super::rowwise::rowwise;
use crate::error::{Error, Result};
use crate::types::name_of;
use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, cast,
};
use std::sync::Arc;

type Unary = fn(f64) -> Result<f64>;
type Binary = fn(f64, f64) -> Result<f64>;

#[derive(Clone, Copy, Debug)]
enum Function {
    Unary(Unary),
    Binary(Binary),
    /// With one argument or two.
    Either(Unary, Binary),
}

/// Name, other name, function.
const FUNCTIONS: [(&str, &str, Function); 14] = [
    ("acos", "", Function::Unary(|x| within_one(x, x.acos()))),
    ("acosh", "", Function::Unary(|x| if x < 1.0 { Err(input_out_of_range()) } else { Ok(x.acosh()) })),
    ("asin", "", Function::Unary(|x| within_one(x, x.asin()))),
    ("atanh", "", Function::Unary(|x| within_one(x, x.atanh()))),
    ("cos", "", Function::Unary(|x| of_angle(x, x.cos()))),
    ("cot", "", Function::Unary(|x| of_angle(x, 1.0 / x.tan()))),
    ("degrees", "", Function::Unary(|x| not_overflown(x.to_degrees(), x.is_infinite()))),
    ("exp", "", Function::Unary(|x| in_range(x.exp(), x.is_infinite(), x.is_infinite()))),
    ("ln", "", Function::Unary(|x| positive(x).map(f64::ln))),
    ("log", "", Function::Either(|x| positive(x).map(f64::log10), log)),
    ("log10", "", Function::Unary(|x| positive(x).map(f64::log10))),
    ("power", "pow", Function::Binary(power)),
    ("sin", "", Function::Unary(|x| of_angle(x, x.sin()))),
    ("sqrt", "", Function::Unary(sqrt)),
];

/// One of [`FUNCTIONS`].
#[derive(Debug)]
pub(super) struct FloatFunction {
    name: &'static str,
    aliases: Vec<String>,
    function: Function,
    signature: Signature,
}

impl PartialEq for FloatFunction {
    fn eq(&self, other: &FloatFunction) -> bool {
        self.name == other.name
    }
}

impl Eq for FloatFunction {}

impl std::hash::Hash for FloatFunction {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// All of them.
pub(super) fn functions() -> impl Iterator<Item = FloatFunction> {
    FUNCTIONS.into_iter().map(|(name, alias, function)| {
        let aliases = if alias.is_empty() { vec![] } else { vec![alias.to_owned()] };
        FloatFunction { name, aliases, function, signature: Signature::user_defined(Volatility::Immutable) }
    })
}

/// `base ^ exponent` in double precision, as in Postgres for everything but two numerics.
pub(super) fn to_the_power(base: Expr, exponent: Expr) -> Option<Expr> {
    let power = functions().find(|function| function.name == "power")?;
    Some(ScalarUDF::from(power).call(vec![cast(base, DataType::Float64), cast(exponent, DataType::Float64)]))
}

impl ScalarUDFImpl for FloatFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        let number = |t: &DataType| t.is_numeric() || t.is_null() || matches!(t, DataType::Utf8);
        let count_fits = match self.function {
            Function::Unary(_) => given.len() == 1,
            Function::Binary(_) => given.len() == 2,
            Function::Either(..) => given.len() == 1 || given.len() == 2,
        };
        if count_fits && given.iter().all(number) {
            return Ok(vec![DataType::Float64; given.len()]);
        }
        let types: Vec<String> = given.iter().map(name_of).collect();
        Err(Error::new("42883", format!("function {}({}) does not exist", self.name, types.join(", ")))
            .with_hint("It takes numbers; cast the argument.")
            .into())
    }

    fn return_type(&self, _types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Float64)
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        rowwise(&args, |arrays| match (self.function, arrays) {
            (Function::Unary(function) | Function::Either(function, _), [values]) => {
                let values = values.as_primitive::<Float64Type>();
                let results = values.try_unary::<_, Float64Type, Error>(|x| function(x).map(canonical))?;
                Ok(Arc::new(results) as ArrayRef)
            }
            (Function::Binary(function) | Function::Either(_, function), [left, right]) => {
                let pairs = left.as_primitive::<Float64Type>().iter().zip(right.as_primitive::<Float64Type>());
                let results: Float64Array = pairs
                    .map(|pair| match pair {
                        (Some(a), Some(b)) => function(a, b).map(|result| Some(canonical(result))),
                        _ => Ok(None),
                    })
                    .collect::<Result<_>>()?;
                Ok(Arc::new(results) as ArrayRef)
            }
            _ => Err(Error::internal("a float function with the wrong arguments")),
        })
    }
}

fn canonical(value: f64) -> f64 {
    if value.is_nan() { f64::NAN } else { value }
}

fn input_out_of_range() -> Error {
    Error::new("22003", "input is out of range")
}

fn within_one(x: f64, result: f64) -> Result<f64> {
    if x.abs() > 1.0 { Err(input_out_of_range()) } else { Ok(result) }
}

fn of_angle(x: f64, result: f64) -> Result<f64> {
    if x.is_infinite() { Err(input_out_of_range()) } else { Ok(result) }
}

fn not_overflown(result: f64, may_be_infinite: bool) -> Result<f64> {
    if result.is_infinite() && !may_be_infinite {
        return Err(Error::new("22003", "value out of range: overflow"));
    }
    Ok(result)
}

fn in_range(result: f64, may_be_infinite: bool, may_be_zero: bool) -> Result<f64> {
    if result == 0.0 && !may_be_zero {
        return Err(Error::new("22003", "value out of range: underflow"));
    }
    not_overflown(result, may_be_infinite)
}

/// What a logarithm may be taken of.
fn positive(x: f64) -> Result<f64> {
    match x {
        0.0 => Err(Error::new("2201E", "cannot take logarithm of zero")),
        x if x < 0.0 => Err(Error::new("2201E", "cannot take logarithm of a negative number")),
        x => Ok(x),
    }
}

fn log(base: f64, x: f64) -> Result<f64> {
    let (base, x) = (positive(base)?, positive(x)?);
    match base {
        1.0 => Err(Error::new("22012", "division by zero")),
        2.0 => Ok(x.log2()),
        10.0 => Ok(x.log10()),
        base => Ok(x.ln() / base.ln()),
    }
}

fn sqrt(x: f64) -> Result<f64> {
    match x < 0.0 {
        true => Err(Error::new("2201F", "cannot take square root of a negative number")),
        false => Ok(x.sqrt()),
    }
}

fn power(base: f64, exponent: f64) -> Result<f64> {
    if base == 0.0 && exponent < 0.0 {
        return Err(Error::new("2201F", "zero raised to a negative power is undefined"));
    }
    if base < 0.0 && exponent.is_finite() && exponent != exponent.trunc() {
        return Err(Error::new("2201F", "a negative number raised to a non-integer power yields a complex result"));
    }
    let infinite = base.is_infinite() || exponent.is_infinite();
    in_range(base.powf(exponent), infinite, infinite || base == 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_and_ranges_are_those_of_postgres() {
        let state = |result: Result<f64>| result.map_err(|error| error.sqlstate);
        assert_eq!(state(power(2.0, 10.0)), Ok(1024.0));
        assert_eq!(state(power(0.0, -1.0)), Err("2201F"));
        assert_eq!(state(power(-8.0, 1.0 / 3.0)), Err("2201F"));
        assert_eq!(state(power(10.0, 400.0)), Err("22003"));
        assert_eq!(state(power(10.0, -400.0)), Err("22003"));
        assert_eq!(state(power(0.0, 5.0)), Ok(0.0));
        assert_eq!(state(power(f64::NEG_INFINITY, 0.5)), Err("2201F"));
        assert_eq!(state(power(f64::NAN, 0.0)), Ok(1.0));
        assert_eq!(state(log(1.0, 5.0)), Err("22012"));
        assert_eq!(state(log(2.0, 0.0)), Err("2201E"));
        assert!(sqrt(f64::NAN).is_ok_and(f64::is_nan));
        assert_eq!(state(in_range(f64::INFINITY.exp(), true, true)), Ok(f64::INFINITY));
    }
}
