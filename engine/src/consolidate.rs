//! Consolidation: `consolidate(Δ)` has the same sum as `Δ`, each row once, no weight 0.
//!
//! Needed only where an operator is not linear, and where deltas leave a view, so that churn within a tick is not
//! published. Rows keep the order in which they were first seen.

use crate::batch::{self, CHUNK_ROWS};
use crate::delta::Delta;
use crate::row_hash::{HashIndex, RowHasher};
use crate::{Error, Result};

/// Sums the weights of equal rows and drops rows of weight 0.
///
/// Deltas without any weight column are inserts only: nothing can cancel, so they pass as they are.
pub fn consolidate(hasher: &RowHasher, deltas: Vec<Delta>) -> Result<Vec<Delta>> {
    let needed = deltas.iter().any(|delta| delta.weights.is_some());
    if !needed {
        return Ok(deltas);
    }
    let mut index = HashIndex::default();
    index.reserve(deltas.iter().map(Delta::rows).sum());
    let mut places: Vec<(usize, usize)> = vec![];
    let mut weights: Vec<i64> = vec![];
    for (at, delta) in deltas.iter().enumerate() {
        let hashes = hasher.hash_rows(delta.batch.columns(), delta.rows())?;
        for (row, hash) in hashes.into_iter().enumerate() {
            let (slot, fresh) = index.get_or_insert(hash, places.len() as u32);
            if fresh {
                places.push((at, row));
                weights.push(delta.weight(row));
            } else {
                let sum = weights[slot as usize].checked_add(delta.weight(row));
                weights[slot as usize] = sum.ok_or_else(|| Error::Internal("a weight passed 2^63".into()))?;
            }
        }
    }
    if places.len() == deltas.iter().map(Delta::rows).sum::<usize>() && weights.iter().all(|weight| *weight != 0) {
        return Ok(deltas);
    }
    let kept: Vec<usize> = (0..places.len()).filter(|at| weights[*at] != 0).collect();
    kept.chunks(CHUNK_ROWS).map(|part| pick(&deltas, &places, &weights, part)).collect()
}

fn pick(deltas: &[Delta], places: &[(usize, usize)], weights: &[i64], part: &[usize]) -> Result<Delta> {
    let batches: Vec<_> = deltas.iter().map(|delta| &delta.batch).collect();
    let schema = deltas[0].batch.schema();
    let indices: Vec<(usize, usize)> = part.iter().map(|at| places[*at]).collect();
    let columns = match batches[..] {
        [only] => batch::take_columns(only.columns(), indices.iter().map(|(_, row)| *row as u32).collect())?,
        _ => batch::interleave_rows(&batches, &indices)?,
    };
    let batch = batch::build(&schema, columns, part.len())?;
    Ok(with_weights(batch, part.iter().map(|at| weights[*at]).collect()))
}

/// A delta that carries its weights only if one of them is not `+1`.
pub(crate) fn with_weights(batch: arrow::array::RecordBatch, weights: Vec<i64>) -> Delta {
    if weights.iter().all(|weight| *weight == 1) { Delta::inserts(batch) } else { Delta::weighted(batch, weights) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
    use arrow::datatypes::Int64Type;
    use std::sync::Arc;

    fn delta(values: Vec<Option<i64>>, weights: Vec<i64>) -> Delta {
        let column: ArrayRef = Arc::new(Int64Array::from(values));
        Delta::weighted(RecordBatch::try_from_iter_with_nullable([("x", column, true)]).unwrap(), weights)
    }

    #[test]
    fn sums_cancels_and_keeps_first_seen_order() {
        let deltas = vec![
            delta(vec![Some(3), None, Some(1), Some(3)], vec![1, -1, 1, 2]),
            delta(vec![Some(1), Some(2), None], vec![-1, 5, 1]),
        ];
        let out = consolidate(&RowHasher::new(1), deltas).unwrap();
        assert_eq!(out.len(), 1);
        assert_eq!(out[0].batch.column(0).as_primitive::<Int64Type>().values(), &[3, 2]);
        assert_eq!(out[0].weights, Some(vec![3, 5]));
        assert!(consolidate(&RowHasher::new(1), vec![delta(vec![None, None], vec![1, -1])]).unwrap().is_empty());
    }
}
