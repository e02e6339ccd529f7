//! Project: computes one column per expression. Linear: `Δ(πS) = π(ΔS)`, weights pass through. Rows that become equal
//! are not merged here: their weights add up wherever that matters.

use crate::delta::Delta;
use crate::operator::{Operator, evaluate};
use crate::plan::Expr;
use crate::row_error::{RowErrors, compute_rows};
use crate::{Error, Result, batch};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{FieldRef, SchemaRef};

#[derive(Debug)]
pub(crate) struct Project {
    exprs: Vec<Expr>,
    schema: SchemaRef,
}

impl Project {
    pub fn new(exprs: &[Expr], schema: &SchemaRef) -> Result<Project> {
        batch::check_schema(schema)?;
        if exprs.len() != schema.fields().len() {
            return Err(Error::Internal("a projection's expressions and schema differ in number".into()));
        }
        Ok(Project { exprs: exprs.to_vec(), schema: schema.clone() })
    }

    fn project(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let column = |(expr, field): (&Expr, &FieldRef)| evaluate(expr, batch, field.data_type());
        let columns: Result<Vec<ArrayRef>> = self.exprs.iter().zip(self.schema.fields()).map(column).collect();
        batch::build(&self.schema, columns?, batch.num_rows())
    }
}

impl Operator for Project {
    fn step(&mut self, inputs: Vec<Vec<Delta>>, errors: &mut RowErrors) -> Result<Vec<Delta>> {
        let mut out = vec![];
        for delta in inputs.into_iter().flatten() {
            let parts = compute_rows(delta, errors, &|batch| self.project(batch))?;
            out.extend(parts.into_iter().map(|(delta, batch)| Delta { batch, weights: delta.weights }));
        }
        Ok(out)
    }
}
