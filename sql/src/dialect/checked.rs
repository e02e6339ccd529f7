//! Text functions of DataFusion's whose arguments are checked first: those that make long text of short, which nothing
//! else bounds (the memory of queries counts what operators keep, not what an expression gives), and `chr`.

use crate::error::{Error, Result};
use arrow::array::{ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::common::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::FunctionRegistry;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Text that one call may give for one batch of rows. Postgres' bound is 1 GiB for each value.
const RESULT_BYTES_MAX: u64 = 256 << 20;

type Check = fn(&[ArrayRef]) -> Result<()>;

const CHECKS: [(&str, Check); 5] =
    [("chr", characters), ("lpad", padded), ("repeat", repeated), ("replace", replaced), ("rpad", padded)];

#[derive(Debug)]
pub(super) struct Checked {
    function: Arc<ScalarUDF>,
    check: Check,
}

/// The checked functions, made of those that are registered.
pub(super) fn functions(registry: &dyn FunctionRegistry) -> DataFusionResult<Vec<ScalarUDF>> {
    let checked = |(name, check): &(&str, Check)| Ok(Checked { function: registry.udf(name)?, check: *check }.into());
    CHECKS.iter().map(checked).collect()
}

impl PartialEq for Checked {
    fn eq(&self, other: &Checked) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Checked {}

impl Hash for Checked {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        self.function.signature()
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        self.function.coerce_types(types)
    }

    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        self.function.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DataFusionResult<FieldRef> {
        self.function.return_field_from_args(args)
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let constant = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let arrays = args.args.iter().map(|a| a.to_array(rows)).collect::<DataFusionResult<Vec<_>>>()?;
        (self.check)(&arrays).map_err(DataFusionError::from)?;
        self.function.invoke_with_args(args)
    }
}

fn characters(args: &[ArrayRef]) -> Result<()> {
    let codes = cast(&args[0], &DataType::Int64)?;
    codes.as_primitive::<Int64Type>().iter().flatten().try_for_each(|code| match code {
        0 => Err(Error::new("54000", "null character not permitted")),
        code if code < 0 => Err(Error::new("54000", "character number must be positive")),
        code if u32::try_from(code).ok().and_then(char::from_u32).is_none() => {
            Err(Error::new("54000", format!("requested character too large for encoding: {code}")))
        }
        _ => Ok(()),
    })
}

fn repeated(args: &[ArrayRef]) -> Result<()> {
    let (texts, times) = (cast(&args[0], &DataType::Utf8)?, cast(&args[1], &DataType::Int64)?);
    let pairs = texts.as_string::<i32>().iter().zip(times.as_primitive::<Int64Type>());
    within(pairs.map(|pair| match pair {
        (Some(text), Some(times)) => (text.len() as u64).saturating_mul(times.max(0) as u64),
        _ => 0,
    }))
}

fn padded(args: &[ArrayRef]) -> Result<()> {
    let lengths = cast(&args[1], &DataType::Int64)?;
    let lengths = lengths.as_primitive::<Int64Type>().iter().flatten();
    let fill = args.get(2).map(|fill| cast(fill, &DataType::Utf8)).transpose()?;
    let widest = fill.iter().flat_map(|fill| fill.as_string::<i32>().iter().flatten().flat_map(str::chars));
    let widest = widest.map(char::len_utf8).max().unwrap_or(1) as u64;
    within(lengths.map(|length| (length.max(0) as u64).saturating_mul(widest)))
}

fn replaced(args: &[ArrayRef]) -> Result<()> {
    let texts = args.iter().map(|text| cast(text, &DataType::Utf8)).collect::<Result<Vec<_>, _>>()?;
    let [text, from, to] = [0, 1, 2].map(|n| texts[n].as_string::<i32>());
    within(text.iter().zip(from).zip(to).map(|row| match row {
        ((Some(text), Some(from)), Some(to)) if to.len() > from.len() => {
            let found = text.matches(from).count();
            (text.len() as u64).saturating_add((found as u64).saturating_mul((to.len() - from.len()) as u64))
        }
        _ => 0,
    }))
}

fn within(mut bytes: impl Iterator<Item = u64>) -> Result<()> {
    match bytes.try_fold(0_u64, |sum, bytes| sum.checked_add(bytes).filter(|sum| *sum <= RESULT_BYTES_MAX)) {
        Some(_) => Ok(()),
        None => Err(Error::new("54000", "requested length too large")
            .with_hint(format!("A function gives at most {} MiB for a batch of rows.", RESULT_BYTES_MAX >> 20))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StringArray};

    #[test]
    fn what_would_be_too_long_is_refused_before_it_is_made() {
        let text = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
        let number = |number: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![number])) };
        let most = RESULT_BYTES_MAX as i64;
        assert!(repeated(&[text("ab"), number(most / 2)]).is_ok());
        assert!(repeated(&[text("ab"), number(most / 2 + 1)]).is_err());
        assert!(repeated(&[text("ab"), number(i64::MAX)]).is_err() && repeated(&[text("ab"), number(-1)]).is_ok());
        assert!(padded(&[text("ab"), number(most + 1)]).is_err() && padded(&[text("ab"), number(most)]).is_ok());
        assert!(padded(&[text("ab"), number(most / 2 + 1), text("é")]).is_err());
        let long = "x".repeat(1 << 15);
        assert!(replaced(&[text(&long), text("x"), text(&long)]).is_err());
        assert!(replaced(&[text(&long), text("y"), text(&long)]).is_ok());
        assert!(characters(&[number(0)]).is_err() && characters(&[number(0x11_0000)]).is_err());
        assert!(characters(&[number(0x10_FFFF)]).is_ok());
    }
}
