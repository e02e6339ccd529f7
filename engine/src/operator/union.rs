//! Union all: the sum of its inputs. Linear: `Δ(A + B) = ΔA + ΔB`.

use crate::delta::Delta;
use crate::operator::Operator;
use crate::row_error::RowErrors;
use crate::{Result, batch};
use arrow::datatypes::SchemaRef;

#[derive(Debug)]
pub(crate) struct UnionAll {
    schema: SchemaRef,
}

impl UnionAll {
    pub fn new(schema: &SchemaRef) -> Result<UnionAll> {
        batch::check_schema(schema)?;
        Ok(UnionAll { schema: schema.clone() })
    }
}

impl Operator for UnionAll {
    fn step(&mut self, inputs: Vec<Vec<Delta>>, _: &mut RowErrors) -> Result<Vec<Delta>> {
        let relabel = |delta: Delta| {
            let batch = batch::build(&self.schema, delta.batch.columns().to_vec(), delta.rows())?;
            Ok(Delta { batch, weights: delta.weights })
        };
        inputs.into_iter().flatten().map(relabel).collect()
    }
}
