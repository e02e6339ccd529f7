//! The contents of a table or view: what SELECT reads.
//!
//! Invariants: the relation is the sum of all deltas applied so far; after each [`Relation::apply`] no row has a
//! negative weight. A snapshot is never changed by later applies: chunks are immutable and weights copy-on-write.

use crate::arrangement::{Arrangement, Block, NONE, hash_keys};
use crate::batch::{self, CHUNK_ROWS};
use crate::consolidate::consolidate;
use crate::delta::Delta;
use crate::row_hash::RowHasher;
use crate::state::{Namespace, StateReader, StateWriter};
use crate::{Error, Result};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use std::sync::Arc;

/// Maintained rows, found by identity and, if keyed, by key.
#[derive(Debug)]
pub struct Relation {
    rows: Arrangement,
    key: Option<Vec<usize>>,
    hasher: RowHasher,
    snapshot: Option<Arc<RelationSnapshot>>,
    /// What the store holds under the relation's name is a part of it, not another's.
    saved: bool,
}

impl Relation {
    /// An empty relation. `append_only`: no delta will ever retract. `key`: columns for
    /// [`Relation::contains_keys`]; uniqueness is the caller's to check.
    pub fn new(schema: SchemaRef, append_only: bool, key: Option<Vec<usize>>, seed: u64) -> Relation {
        let rows = Arrangement::new(schema, append_only, key.is_some(), seed);
        Relation { rows, key, hasher: RowHasher::new(seed), snapshot: None, saved: false }
    }

    /// Applies the deltas of one tick; their columns are the relation's.
    ///
    /// # Errors
    /// `Internal` when a row ends up retracted more often than inserted; the relation must then be discarded.
    pub fn apply(&mut self, deltas: &[Delta]) -> Result<()> {
        if deltas.iter().all(|delta| delta.rows() == 0) {
            return Ok(());
        }
        self.snapshot = None;
        for delta in deltas.iter().filter(|delta| delta.rows() > 0) {
            let schema = self.rows.schema();
            if delta.batch.num_columns() != schema.fields().len() {
                return Err(Error::Internal("a delta has other columns than its relation".into()));
            }
            let batch = batch::build(schema, delta.batch.columns().to_vec(), delta.rows())?;
            let keys = match &self.key {
                Some(key) => key_hashes(&self.hasher, key, &batch)?,
                None => vec![],
            };
            self.rows.apply(&batch, delta.weights.as_deref(), &keys)?;
        }
        self.rows.settle()
    }

    /// The rows as of now.
    pub fn snapshot(&mut self) -> Arc<RelationSnapshot> {
        let rows = &self.rows;
        let share = || {
            let (pieces, weights) = rows.share();
            Arc::new(RelationSnapshot { schema: rows.schema().clone(), pieces, weights, rows: rows.total_weight() })
        };
        self.snapshot.get_or_insert_with(share).clone()
    }

    /// Number of rows, duplicates counted.
    pub fn row_count(&self) -> u64 {
        self.rows.total_weight()
    }

    /// Changes of these rows, each row once.
    pub fn consolidated(&self, deltas: Vec<Delta>) -> Result<Vec<Delta>> {
        consolidate(&self.hasher, deltas)
    }

    /// Which of the `rows` keys are present; `keys` are the key columns, in key order.
    pub fn contains_keys(&self, keys: &[ArrayRef], rows: usize) -> Result<Vec<bool>> {
        Ok(self.key_hashes_of(keys, rows)?.into_iter().map(|hash| self.rows.first(hash) != NONE).collect())
    }

    /// The rows that have one of the `rows` keys, each once.
    pub fn rows_with_keys(&self, keys: &[ArrayRef], rows: usize) -> Result<RecordBatch> {
        let hashes = self.key_hashes_of(keys, rows)?;
        let mut slots: Vec<u32> = hashes.into_iter().map(|hash| self.rows.first(hash)).collect();
        slots.sort_unstable();
        slots.dedup();
        slots.retain(|slot| *slot != NONE);
        if slots.is_empty() {
            return Ok(RecordBatch::new_empty(self.rows.schema().clone()));
        }
        batch::build(self.rows.schema(), self.rows.gather(&slots)?, slots.len())
    }

    /// Whether nothing changed since `snapshot` was taken.
    pub fn is_at(&self, snapshot: &Arc<RelationSnapshot>) -> bool {
        self.snapshot.as_ref().is_some_and(|current| Arc::ptr_eq(current, snapshot))
    }

    fn key_hashes_of(&self, keys: &[ArrayRef], rows: usize) -> Result<Vec<u128>> {
        let Some(key) = self.key.as_ref().filter(|key| key.len() == keys.len()) else {
            return Err(Error::Internal("looked up a key that the relation does not have".into()));
        };
        let types = key.iter().map(|column| self.rows.schema().field(*column).data_type());
        let columns: Result<Vec<ArrayRef>> =
            keys.iter().zip(types).map(|(k, t)| batch::conform(k.clone(), t)).collect();
        hash_keys(&self.hasher, columns?, rows)
    }

    /// Whether it was saved or loaded before; else what the store holds under its name must be cleared first.
    pub fn is_saved(&self) -> bool {
        self.saved
    }

    /// Writes what changed since the last save or load.
    pub fn save(&mut self, out: &mut dyn StateWriter) -> Result<()> {
        self.saved = true;
        self.rows.save(&Namespace::default(), out)
    }

    /// Reads everything back; the relation must be new.
    pub fn load(&mut self, state: &dyn StateReader) -> Result<()> {
        let (hasher, key) = (self.hasher, self.key.clone());
        let key_of = |batch: &RecordBatch| match &key {
            Some(key) => key_hashes(&hasher, key, batch),
            None => Ok(vec![]),
        };
        self.rows.load(&Namespace::default(), state, Some(&key_of))?;
        self.saved = true;
        Ok(())
    }
}

fn key_hashes(hasher: &RowHasher, key: &[usize], batch: &RecordBatch) -> Result<Vec<u128>> {
    hash_keys(hasher, key.iter().map(|column| batch.column(*column).clone()).collect(), batch.num_rows())
}

/// A relation at one moment. Holding it keeps its chunks alive.
#[derive(Debug)]
pub struct RelationSnapshot {
    schema: SchemaRef,
    pieces: Vec<Arc<RecordBatch>>,
    /// Weights of the slots, [`CHUNK_ROWS`] to a block; `None` = all 1.
    weights: Option<Vec<Arc<Block>>>,
    rows: u64,
}

impl RelationSnapshot {
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// Number of rows, duplicates counted.
    pub fn row_count(&self) -> u64 {
        self.rows
    }

    /// The rows, each as often as its weight says, in no particular order. No batch is empty.
    pub fn batches(&self) -> Result<Vec<RecordBatch>> {
        let mut first = 0;
        let mut batches = vec![];
        for piece in &self.pieces {
            let batch = match &self.weights {
                None => piece.as_ref().clone(),
                Some(blocks) => blocks[first / CHUNK_ROWS].expand(piece, first % CHUNK_ROWS)?,
            };
            first += piece.num_rows();
            batches.extend((batch.num_rows() > 0).then_some(batch));
        }
        Ok(batches)
    }
}
