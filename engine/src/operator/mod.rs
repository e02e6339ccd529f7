//! Incremental operators. Each is pure over `(state, deltas) → deltas`: no I/O, no clock, no randomness, and no output
//! that depends on the order of a hash table.
//!
//! Law for every operator `Q` and input `S`: after any number of ticks `Σ outputs = Q(Σ inputs)`, however the input
//! was cut into ticks and batches.

pub(crate) mod aggregate;
pub(crate) mod filter;
pub(crate) mod input;
pub(crate) mod join;
pub(crate) mod project;
pub(crate) mod union;

use crate::batch;
use crate::delta::Delta;
use crate::plan::Expr;
use crate::row_error::RowErrors;
use crate::state::{Namespace, StateReader, StateWriter};
use crate::{Error, Result};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::prep_null_mask_filter;
use arrow::datatypes::{DataType, Schema};
use std::fmt::Debug;

/// One operator with its state.
pub(crate) trait Operator: Send + Debug {
    /// One step. `inputs`: the deltas of each child, left to right. Rows that cannot be computed go to `errors`. After an
    /// error of its own the operator must be discarded.
    fn step(&mut self, inputs: Vec<Vec<Delta>>, errors: &mut RowErrors) -> Result<Vec<Delta>>;

    /// Writes what changed since the last save or load. Stateless operators have nothing to write.
    fn save(&mut self, _space: &Namespace, _out: &mut dyn StateWriter) -> Result<()> {
        Ok(())
    }

    /// Reads the state back into a new operator.
    fn load(&mut self, _space: &Namespace, _state: &dyn StateReader) -> Result<()> {
        Ok(())
    }
}

/// Values of `expr` over `batch`, as `data_type`.
pub(crate) fn evaluate(expr: &Expr, batch: &RecordBatch, data_type: &DataType) -> Result<ArrayRef> {
    batch::conform(expr.evaluate(batch)?.into_array(batch.num_rows())?, data_type)
}

/// Which rows satisfy `predicate`; NULL is false.
pub(crate) fn evaluate_predicate(predicate: &Expr, batch: &RecordBatch) -> Result<BooleanArray> {
    let values = evaluate(predicate, batch, &DataType::Boolean)?;
    let values = values.as_boolean();
    Ok(if values.null_count() > 0 { prep_null_mask_filter(values) } else { values.clone() })
}

/// Type of `expr` over rows of `schema`, with string views as plain strings.
pub(crate) fn type_of(expr: &Expr, schema: &Schema) -> Result<DataType> {
    let data_type = match expr.data_type(schema)? {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        other => other,
    };
    batch::check_type(&data_type)?;
    Ok(data_type)
}

/// Refuses a predicate that is not boolean.
pub(crate) fn check_predicate(predicate: &Expr, schema: &Schema) -> Result<()> {
    match predicate.data_type(schema)? {
        DataType::Boolean | DataType::Null => Ok(()),
        other => Err(Error::Invalid(format!("a condition must be boolean, not {other}"))),
    }
}

/// The rows of `delta` for which `mask` is true; `mask` has no NULL.
pub(crate) fn filter_delta(delta: Delta, mask: &BooleanArray) -> Result<Delta> {
    if mask.true_count() == delta.rows() {
        return Ok(delta);
    }
    let batch = arrow::compute::filter_record_batch(&delta.batch, mask)?;
    let kept = |weights: Vec<i64>| mask.values().set_indices().map(|row| weights[row]).collect();
    Ok(Delta { batch, weights: delta.weights.map(kept) })
}
