//! `only_value(x)`: the value of the only row, NULL of none, an error (21000) of several.
//!
//! It stands for a scalar subquery: DataFusion decorrelates `(SELECT f(x) FROM t WHERE t.k = o.k)` only when `f` is an
//! aggregate. A correlated one is computed for every key of the inner relation, so duplicates of a key that no outer
//! row asks for are an error here and none in Postgres; the hint says how to go on.

use crate::error::Error;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};
use std::sync::Arc;

pub(crate) const ONLY_VALUE: &str = "only_value";

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct OnlyValue {
    signature: Signature,
}

impl OnlyValue {
    pub(super) fn new() -> OnlyValue {
        OnlyValue { signature: Signature::any(1, Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for OnlyValue {
    fn name(&self) -> &str {
        ONLY_VALUE
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        types.first().cloned().ok_or_else(|| DataFusionError::Internal("only_value takes one argument".into()))
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Only { value: ScalarValue::try_from(args.return_field.data_type())?, rows: 0 }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let value = Field::new("value", args.return_field.data_type().clone(), true);
        Ok(vec![Arc::new(value), Arc::new(Field::new("rows", DataType::Int64, false))])
    }
}

#[derive(Debug)]
struct Only {
    value: ScalarValue,
    rows: i64,
}

impl Only {
    fn add(&mut self, values: &ArrayRef, row: usize, rows: i64) -> Result<()> {
        if rows == 0 {
            return Ok(());
        }
        if self.rows + rows > 1 {
            return Err(Error::new("21000", "more than one row returned by a subquery used as an expression")
                .with_hint("Aggregate it, for example with min(), or add LIMIT 1.")
                .into());
        }
        self.rows += rows;
        self.value = ScalarValue::try_from_array(values, row)?;
        Ok(())
    }
}

impl Accumulator for Only {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(values) = values.first() else { return Ok(()) };
        self.add(values, 0, i64::try_from(values.len()).unwrap_or(i64::MAX))
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [values, rows] = states else { return Ok(()) };
        let rows = rows.as_primitive::<Int64Type>();
        (0..rows.len()).try_for_each(|row| self.add(values, row, rows.value(row)))
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.value.clone())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.value.clone(), ScalarValue::Int64(Some(self.rows))])
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.value.size()
    }
}
