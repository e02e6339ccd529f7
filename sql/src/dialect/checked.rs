//! Text functions of DataFusion's whose arguments are checked first: those that make long text of short, which nothing
//! else bounds (the memory of queries counts what operators keep, not what an expression gives), and `chr`.

use crate::error::{Error, Result};
use arrow::array::{Array, ArrayRef, AsArray};
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
/// Replacements up to this length are not counted.
const SHORT_REPLACEMENT_BYTES: u64 = 256;

type Check = fn(&[Argument], usize) -> Result<()>;

const CHECKS: [(&str, Check); 7] = [
    ("array_repeat", elements_repeated),
    ("chr", characters),
    ("lpad", padded),
    ("regexp_replace", matches_replaced),
    ("repeat", repeated),
    ("replace", replaced),
    ("rpad", padded),
];

/// The values of an argument, or its one value.
struct Argument {
    values: ArrayRef,
    is_constant: bool,
}

impl Argument {
    fn of(value: &ColumnarValue) -> DataFusionResult<Argument> {
        Ok(match value {
            ColumnarValue::Array(values) => Argument { values: values.clone(), is_constant: false },
            ColumnarValue::Scalar(value) => Argument { values: value.to_array()?, is_constant: true },
        })
    }

    fn at(&self, row: usize) -> usize {
        if self.is_constant { 0 } else { row }
    }

    fn texts(&self) -> Result<Argument> {
        Ok(Argument { values: cast(&self.values, &DataType::Utf8)?, ..*self })
    }

    fn numbers(&self) -> Result<Argument> {
        Ok(Argument { values: cast(&self.values, &DataType::Int64)?, ..*self })
    }

    /// Of [`Argument::texts`]; NULL is empty.
    fn text(&self, row: usize) -> &str {
        let row = self.at(row);
        if self.values.is_null(row) { "" } else { self.values.as_string::<i32>().value(row) }
    }

    /// Of [`Argument::numbers`]; NULL and what is negative is 0.
    fn count(&self, row: usize) -> u64 {
        let row = self.at(row);
        if self.values.is_null(row) { 0 } else { self.values.as_primitive::<Int64Type>().value(row).max(0) as u64 }
    }
}

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
        let arguments = args.args.iter().map(Argument::of).collect::<DataFusionResult<Vec<_>>>()?;
        let rows = if arguments.iter().all(|argument| argument.is_constant) { 1 } else { args.number_rows };
        (self.check)(&arguments, rows).map_err(DataFusionError::from)?;
        self.function.invoke_with_args(args)
    }
}

fn characters(args: &[Argument], _rows: usize) -> Result<()> {
    let codes = cast(&args[0].values, &DataType::Int64)?;
    codes.as_primitive::<Int64Type>().iter().flatten().try_for_each(|code| match code {
        0 => Err(Error::new("54000", "null character not permitted")),
        code if code < 0 => Err(Error::new("54000", "character number must be positive")),
        code if u32::try_from(code).ok().and_then(char::from_u32).is_none() => {
            Err(Error::new("54000", format!("requested character too large for encoding: {code}")))
        }
        _ => Ok(()),
    })
}

fn repeated(args: &[Argument], rows: usize) -> Result<()> {
    let (texts, times) = (args[0].texts()?, args[1].numbers()?);
    within((0..rows).map(|row| (texts.text(row).len() as u64).saturating_mul(times.count(row))))
}

fn elements_repeated(args: &[Argument], rows: usize) -> Result<()> {
    let times = args[1].numbers()?;
    let element = (args[0].values.get_array_memory_size() / args[0].values.len().max(1)).max(1) as u64;
    within((0..rows).map(|row| times.count(row).saturating_mul(element)))
}

fn padded(args: &[Argument], rows: usize) -> Result<()> {
    let (lengths, fill) = (args[1].numbers()?, args.get(2).map(Argument::texts).transpose()?);
    let widest = |row| fill.as_ref().and_then(|fill| fill.text(row).chars().map(char::len_utf8).max()).unwrap_or(1);
    within((0..rows).map(|row| lengths.count(row).saturating_mul(widest(row) as u64)))
}

fn replaced(args: &[Argument], rows: usize) -> Result<()> {
    let [texts, from, to] = [args[0].texts()?, args[1].texts()?, args[2].texts()?];
    within((0..rows).map(|row| {
        let (text, from, to) = (texts.text(row), from.text(row), to.text(row));
        if from.is_empty() || to.len() <= from.len() {
            return 0;
        }
        let found = text.matches(from).count() as u64;
        (text.len() as u64).saturating_add(found.saturating_mul((to.len() - from.len()) as u64))
    }))
}

/// What is found is known only to the function: a long replacement counts as found between any two characters.
fn matches_replaced(args: &[Argument], rows: usize) -> Result<()> {
    let (texts, to) = (args[0].texts()?, args[2].texts()?);
    within((0..rows).map(|row| match to.text(row).len() as u64 {
        short if short <= SHORT_REPLACEMENT_BYTES => 0,
        long => (texts.text(row).len() as u64 + 1).saturating_mul(long),
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
        let constant = |values: ArrayRef| Argument { values, is_constant: true };
        let text = |text: &str| constant(Arc::new(StringArray::from(vec![text])));
        let number = |number: i64| constant(Arc::new(Int64Array::from(vec![number])));
        let most = RESULT_BYTES_MAX as i64;
        assert!(repeated(&[text("ab"), number(most / 2)], 1).is_ok());
        assert!(repeated(&[text("ab"), number(most / 2)], 2).is_err());
        assert!(
            repeated(&[text("ab"), number(i64::MAX)], 1).is_err() && repeated(&[text("ab"), number(-1)], 9).is_ok()
        );
        assert!(padded(&[text("ab"), number(most + 1)], 1).is_err() && padded(&[text("ab"), number(most)], 1).is_ok());
        assert!(padded(&[text("ab"), number(most / 2 + 1), text("é")], 1).is_err());
        assert!(elements_repeated(&[number(1), number(most)], 1).is_err());
        let long = "x".repeat(1 << 15);
        assert!(replaced(&[text(&long), text("x"), text(&long)], 1).is_err());
        assert!(replaced(&[text(&long), text("y"), text(&long)], 1000).is_ok());
        assert!(matches_replaced(&[text(&long), text("x"), text(&long)], 1).is_err());
        assert!(matches_replaced(&[text(&long), text("x"), text("yy")], 1).is_ok());
        assert!(characters(&[number(0)], 1).is_err() && characters(&[number(0x11_0000)], 1).is_err());
        assert!(characters(&[number(0x10_FFFF)], 1).is_ok());
    }
}
