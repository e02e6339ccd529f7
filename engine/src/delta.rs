//! Deltas: rows with signed multiplicities, the only thing that flows between operators.
//!
//! A delta is an Arrow batch and one weight per row. `weights: None` means all `+1`: append-only paths carry no
//! weight column at all. The sum of all deltas of a relation since the beginning is the relation itself; no prefix
//! of them, cut at a tick, has a row of negative total weight.

use crate::batch::memory_bytes;
use arrow::array::RecordBatch;

/// A batch of signed rows.
#[derive(Clone, Debug)]
pub struct Delta {
    /// The rows; columns as the plan node that emits them says.
    pub batch: RecordBatch,
    /// One weight per row, never 0; `None` = all `+1`.
    pub weights: Option<Vec<i64>>,
}

impl Delta {
    /// A delta that only inserts.
    pub fn inserts(batch: RecordBatch) -> Delta {
        Delta { batch, weights: None }
    }

    /// A delta with explicit weights; `weights.len() == batch.num_rows()`.
    pub fn weighted(batch: RecordBatch, weights: Vec<i64>) -> Delta {
        assert_eq!(batch.num_rows(), weights.len(), "one weight per row");
        Delta { batch, weights: Some(weights) }
    }

    /// Number of rows (not the sum of their weights).
    pub fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    /// Memory of the rows, in bytes. Of buffers that are shared with other deltas only this one's part counts.
    pub fn bytes(&self) -> usize {
        memory_bytes(&self.batch) + self.weights.as_ref().map_or(0, |w| size_of_val(&w[..]))
    }

    /// The `rows` rows from `first` on.
    pub fn slice(&self, first: usize, rows: usize) -> Delta {
        let weights = self.weights.as_ref().map(|weights| weights[first..first + rows].to_vec());
        Delta { batch: self.batch.slice(first, rows), weights }
    }

    /// Weight of row `row`.
    pub fn weight(&self, row: usize) -> i64 {
        self.weights.as_ref().map_or(1, |w| w[row])
    }
}
