//! Input: a projection of an object's deltas. Linear: `Δ(πS) = π(ΔS)`.

use crate::batch;
use crate::delta::Delta;
use crate::operator::Operator;
use crate::row_error::RowErrors;
use crate::{Error, Result};
use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;

/// The only child is the object itself.
#[derive(Debug)]
pub(crate) struct Input {
    columns: Vec<usize>,
    schema: SchemaRef,
}

impl Input {
    pub fn new(columns: &[usize], schema: &SchemaRef) -> Result<Input> {
        batch::check_schema(schema)?;
        if columns.len() != schema.fields().len() {
            return Err(Error::Internal("an input's columns and schema differ in number".into()));
        }
        Ok(Input { columns: columns.to_vec(), schema: schema.clone() })
    }

    fn project(&self, delta: Delta) -> Result<Delta> {
        let column = |at: &usize| -> Result<ArrayRef> {
            let missing = || Error::Internal(format!("input has no column {at}"));
            Ok(delta.batch.columns().get(*at).ok_or_else(missing)?.clone())
        };
        let columns: Result<Vec<ArrayRef>> = self.columns.iter().map(column).collect();
        let batch = batch::build(&self.schema, columns?, delta.rows())?;
        Ok(Delta { batch, weights: delta.weights })
    }
}

impl Operator for Input {
    fn step(&mut self, inputs: Vec<Vec<Delta>>, _: &mut RowErrors) -> Result<Vec<Delta>> {
        inputs.into_iter().flatten().filter(|delta| delta.rows() > 0).map(|delta| self.project(delta)).collect()
    }
}
