//! Filter: keeps the rows whose predicate is true. Linear: `Δ(σS) = σ(ΔS)`, weights pass through.

use crate::Result;
use crate::delta::Delta;
use crate::operator::{Operator, check_predicate, evaluate_predicate, filter_delta};
use crate::plan::Expr;
use crate::row_error::{RowErrors, compute_rows};
use arrow::datatypes::SchemaRef;

#[derive(Debug)]
pub(crate) struct Filter {
    predicate: Expr,
}

impl Filter {
    pub fn new(predicate: &Expr, input: &SchemaRef) -> Result<Filter> {
        check_predicate(predicate, input)?;
        Ok(Filter { predicate: predicate.clone() })
    }
}

impl Operator for Filter {
    fn step(&mut self, inputs: Vec<Vec<Delta>>, errors: &mut RowErrors) -> Result<Vec<Delta>> {
        let mut out = vec![];
        for delta in inputs.into_iter().flatten() {
            for (delta, mask) in compute_rows(delta, errors, &|batch| evaluate_predicate(&self.predicate, batch))? {
                let kept = filter_delta(delta, &mask)?;
                out.extend((kept.rows() > 0).then_some(kept));
            }
        }
        Ok(out)
    }
}
