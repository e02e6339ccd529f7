//! Project: computes one column per expression. Linear: `Δ(πS) = π(ΔS)`, weights pass through. Rows that become equal
//! are not merged here: their weights add up wherever that matters.

use crate::delta::Delta;
use crate::operator::{Operator, evaluate};
use crate::plan::Expr;
use crate::{Error, Result, batch};
use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;

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

    fn project(&self, delta: Delta) -> Result<Delta> {
        let column =
            |(expr, field): (&Expr, &arrow::datatypes::FieldRef)| evaluate(expr, &delta.batch, field.data_type());
        let columns: Result<Vec<ArrayRef>> = self.exprs.iter().zip(self.schema.fields()).map(column).collect();
        let batch = batch::build(&self.schema, columns?, delta.rows())?;
        Ok(Delta { batch, weights: delta.weights })
    }
}

impl Operator for Project {
    fn step(&mut self, inputs: Vec<Vec<Delta>>) -> Result<Vec<Delta>> {
        inputs.into_iter().flatten().map(|delta| self.project(delta)).collect()
    }
}
