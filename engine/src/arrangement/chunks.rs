//! Append-only rows in Arrow chunks, addressed by slot.
//!
//! ```text
//! slot      0            8192         16384        24576     25600 25856 25857
//! sealed    [chunk 0     |chunk 1     |chunk 2     ]
//! tail                                             [piece    |piece|1]
//! ```
//! Invariants: every sealed chunk has exactly [`CHUNK_ROWS`] rows, the tail fewer in total; a slot never moves until
//! the owner compacts. Tail pieces merge when the last is as large as the one before it, so many tiny appends cost
//! each row O(log CHUNK_ROWS) copies and leave at most that many pieces. Chunks are immutable: readers share them.

use crate::batch::{self, CHUNK_ROWS};
use crate::state::{Namespace, StateReader, StateWriter, damaged, split_slot};
use crate::{Error, Result};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use std::sync::Arc;

/// State tag of chunks: suffix = first slot (u32 BE), value = Arrow IPC stream of one batch.
const TAG_CHUNK: u8 = b'c';

#[derive(Debug)]
pub(crate) struct Chunks {
    schema: SchemaRef,
    sealed: Vec<Arc<RecordBatch>>,
    tail: Vec<Arc<RecordBatch>>,
    /// First slot of each tail piece.
    tail_starts: Vec<usize>,
    rows: usize,
    saved: SavedChunks,
}

/// What the last save or load left in the state store.
#[derive(Debug, Default)]
struct SavedChunks {
    /// The first this many sealed chunks are stored.
    sealed: usize,
    /// `(first slot, rows)` of the stored tail pieces.
    tail: Vec<(usize, usize)>,
    /// First slots of stored chunks that are no longer true.
    stale: Vec<usize>,
}

impl Chunks {
    pub fn new(schema: SchemaRef) -> Chunks {
        Chunks { schema, sealed: vec![], tail: vec![], tail_starts: vec![], rows: 0, saved: SavedChunks::default() }
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Slots given out so far.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// All chunks in slot order.
    pub fn pieces(&self) -> impl Iterator<Item = &Arc<RecordBatch>> {
        self.sealed.iter().chain(&self.tail)
    }

    /// Adds rows at the next slots. `owned`: the batch's buffers hold nothing else, so they may be kept as they are.
    pub fn push(&mut self, rows: RecordBatch, owned: bool) -> Result<()> {
        if self.rows + rows.num_rows() >= u32::MAX as usize {
            return Err(Error::Limit("a view's operator holds more than 2^32 rows".into()));
        }
        let mut at = 0;
        while at < rows.num_rows() {
            let take = (CHUNK_ROWS - self.rows % CHUNK_ROWS).min(rows.num_rows() - at);
            let whole = owned && take == rows.num_rows();
            let piece = if whole { rows.clone() } else { batch::copy_rows(&rows.slice(at, take))? };
            self.push_piece(piece)?;
            at += take;
        }
        Ok(())
    }

    fn push_piece(&mut self, piece: RecordBatch) -> Result<()> {
        self.tail_starts.push(self.rows);
        self.rows += piece.num_rows();
        self.tail.push(Arc::new(piece));
        if self.rows.is_multiple_of(CHUNK_ROWS) {
            let sealed = self.merge_tail(0)?;
            self.sealed.push(sealed);
            return Ok(());
        }
        let mut first = self.tail.len() - 1;
        let mut rows = self.tail[first].num_rows();
        while first > 0 && self.tail[first - 1].num_rows() <= rows {
            first -= 1;
            rows += self.tail[first].num_rows();
        }
        let start = self.tail_starts[first];
        let merged = self.merge_tail(first)?;
        self.tail.push(merged);
        self.tail_starts.push(start);
        Ok(())
    }

    /// Removes the tail's pieces from `first` on and returns them as one.
    fn merge_tail(&mut self, first: usize) -> Result<Arc<RecordBatch>> {
        self.tail_starts.truncate(first);
        let pieces = self.tail.split_off(first);
        match <[Arc<RecordBatch>; 1]>::try_from(pieces) {
            Ok([only]) => Ok(only),
            Err(pieces) => {
                let pieces: Vec<RecordBatch> = pieces.iter().map(|piece| piece.as_ref().clone()).collect();
                Ok(Arc::new(batch::concat_rows(&self.schema, &pieces)?))
            }
        }
    }

    /// The columns of the rows at `slots`, in that order.
    pub fn gather(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut used: Vec<&RecordBatch> = vec![];
        let mut local = vec![u32::MAX; self.sealed.len() + self.tail.len()];
        let mut indices = Vec::with_capacity(slots.len());
        for slot in slots {
            let (piece, row) = self.locate(*slot as usize);
            if local[piece] == u32::MAX {
                local[piece] = used.len() as u32;
                used.push(self.piece(piece));
            }
            indices.push((local[piece] as usize, row));
        }
        match used[..] {
            [only] => batch::take_columns(only.columns(), indices.iter().map(|(_, row)| *row as u32).collect()),
            _ => batch::interleave_rows(&used, &indices),
        }
    }

    fn locate(&self, slot: usize) -> (usize, usize) {
        let chunk = slot / CHUNK_ROWS;
        if chunk < self.sealed.len() {
            return (chunk, slot % CHUNK_ROWS);
        }
        let piece = self.tail_starts.partition_point(|start| *start <= slot) - 1;
        (self.sealed.len() + piece, slot - self.tail_starts[piece])
    }

    fn piece(&self, at: usize) -> &RecordBatch {
        self.sealed.get(at).unwrap_or_else(|| &self.tail[at - self.sealed.len()])
    }

    /// Forgets all rows; what is stored becomes stale.
    pub fn clear(&mut self) {
        let stored_tail = self.saved.tail.iter().map(|(start, _)| *start);
        let mut stale: Vec<usize> = (0..self.saved.sealed).map(|chunk| chunk * CHUNK_ROWS).chain(stored_tail).collect();
        stale.append(&mut self.saved.stale);
        self.saved = SavedChunks { stale, ..Default::default() };
        self.sealed.clear();
        self.tail.clear();
        self.tail_starts.clear();
        self.rows = 0;
    }

    /// Writes the chunks that are not stored yet and deletes those that no longer are.
    pub fn save(&mut self, space: &Namespace, out: &mut dyn StateWriter) -> Result<()> {
        let key = |start: usize| space.key(TAG_CHUNK, &(start as u32).to_be_bytes());
        let tail: Vec<(usize, usize)> =
            self.tail_starts.iter().zip(&self.tail).map(|(start, piece)| (*start, piece.num_rows())).collect();
        let gone = self.saved.tail.iter().filter(|piece| !tail.contains(piece)).map(|(start, _)| *start);
        gone.chain(self.saved.stale.iter().copied()).for_each(|start| out.delete(&key(start)));
        for (at, chunk) in self.sealed.iter().enumerate().skip(self.saved.sealed) {
            out.put(&key(at * CHUNK_ROWS), &batch::to_ipc(chunk)?);
        }
        for (place, piece) in tail.iter().zip(&self.tail).filter(|(place, _)| !self.saved.tail.contains(place)) {
            out.put(&key(place.0), &batch::to_ipc(piece)?);
        }
        self.saved = SavedChunks { sealed: self.sealed.len(), tail, stale: vec![] };
        Ok(())
    }

    /// Reads all chunks back into an empty list.
    pub fn load(&mut self, space: &Namespace, state: &dyn StateReader) -> Result<()> {
        space.scan(state, TAG_CHUNK, &mut |suffix, value| {
            let (start, _) = split_slot(suffix)?;
            let piece = batch::from_ipc(value, &self.schema)?;
            let rows = piece.num_rows();
            if start as usize != self.rows || rows == 0 || self.rows % CHUNK_ROWS + rows > CHUNK_ROWS {
                return Err(damaged("chunks are not contiguous"));
            }
            self.saved.tail.push((self.rows, rows));
            self.push_piece(piece)
        })?;
        let sealed = self.sealed.len();
        let stored = std::mem::take(&mut self.saved.tail);
        let is_sealed = |(start, rows): &(usize, usize)| *rows == CHUNK_ROWS && start / CHUNK_ROWS < sealed;
        self.saved.sealed = stored.iter().take_while(|piece| is_sealed(piece)).count();
        self.saved.tail = stored.into_iter().skip_while(is_sealed).collect();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};

    fn rows(range: std::ops::Range<i64>) -> RecordBatch {
        let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)]));
        RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from_iter_values(range))]).unwrap()
    }

    #[test]
    fn tiny_appends_leave_few_pieces_and_slots_stay() {
        let mut chunks = Chunks::new(rows(0..0).schema());
        let mut next = 0;
        for i in 0..5000 {
            let n = [1, 3, 2, 40, 9000][if i % 1000 == 999 { 4 } else { i % 4 }];
            chunks.push(rows(next..next + n), i % 2 == 0).unwrap();
            next += n;
            assert!(chunks.tail.len() <= 14, "{} pieces", chunks.tail.len());
        }
        assert_eq!(chunks.rows() as i64, next);
        let slots: Vec<u32> = (0..next as u32).rev().step_by(7).collect();
        let columns = chunks.gather(&slots).unwrap();
        let found: Vec<u32> = columns[0].as_primitive::<Int64Type>().values().iter().map(|x| *x as u32).collect();
        assert_eq!(found, slots);
    }
}
