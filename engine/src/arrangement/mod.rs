//! An arrangement: rows with weights, maintained under deltas and found by row identity and by key.
//!
//! ```text
//! row hash ──rows──▶ slot ──▶ chunk, row        (chunks.rs: immutable Arrow chunks)
//!                     │  ├──▶ weight            (weights.rs: shared with snapshots, copy-on-write)
//!                     │  └──▶ degree            (only where a join shows rows by whether they match)
//! key hash ──keys──▶ slot ⇄ slot ⇄ slot         (links: the slots of one key, newest first)
//! ```
//! Invariants, outside of a tick: a slot of weight > 0 is indexed exactly once and linked in its key's list; a slot of
//! weight 0 is in no index and no list; no weight is negative. Inside a tick a weight may be negative, because the
//! deltas of one tick come in any order; [`Arrangement::settle`] ends the tick and checks.
//! Inserting and deleting a row are O(1). When dead slots outnumber live ones everything is compacted, in slot order,
//! so list order (and with it every output) does not depend on when that happens.
//!
//! An append-only arrangement has neither weights nor a row index: duplicates are stored twice, retractions refused.

mod chunks;
mod weights;

use crate::batch::{self, CHUNK_ROWS};
use crate::row_hash::{HashIndex, RowHasher, canonical_keys};
use crate::state::{Namespace, StateReader, StateWriter};
use crate::{Error, Result};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use chunks::Chunks;
use std::sync::Arc;
pub(crate) use weights::Block;
use weights::{TAG_DEGREES, TAG_WEIGHTS, Weights};

/// No slot: the end of a key's list.
pub(crate) const NONE: u32 = u32::MAX;

/// Computes the key hash of each row of a batch; every row has one.
pub(crate) type KeyOf<'a> = &'a dyn Fn(&RecordBatch) -> Result<Vec<u128>>;

#[derive(Debug)]
pub(crate) struct Arrangement {
    chunks: Chunks,
    hasher: RowHasher,
    /// Row identity and weights; `None` when append-only.
    rows: Option<RowIndex>,
    /// Slots by key; `None` when never looked up by key.
    keys: Option<KeyIndex>,
    /// `None` when nobody asks for them.
    degrees: Option<Degrees>,
}

/// Of each slot the summed weight of the rows it matches in a join.
#[derive(Debug)]
struct Degrees {
    of_slots: Weights,
    /// Slots whose degree went negative in this tick.
    negative: Vec<u32>,
}

#[derive(Debug)]
struct RowIndex {
    slots: HashIndex,
    weights: Weights,
    /// Slots whose weight went negative in this tick.
    negative: Vec<u32>,
}

/// Key hash → doubly linked list of slots.
#[derive(Debug)]
struct KeyIndex {
    heads: HashIndex,
    next: Vec<u32>,
    /// `None` when append-only: nothing is ever unlinked.
    previous: Option<Vec<u32>>,
}

/// Which of the given rows got slots of their own, in slot order.
enum Added {
    All,
    Rows(Vec<u32>),
}

impl RowIndex {
    fn new() -> RowIndex {
        RowIndex { slots: HashIndex::default(), weights: Weights::new(TAG_WEIGHTS), negative: vec![] }
    }
}

impl Arrangement {
    pub fn new(schema: SchemaRef, append_only: bool, keyed: bool, seed: u64) -> Arrangement {
        Arrangement {
            chunks: Chunks::new(schema),
            hasher: RowHasher::new(seed),
            rows: (!append_only).then(RowIndex::new),
            keys: keyed.then(|| KeyIndex::new(append_only)),
            degrees: None,
        }
    }

    /// With a number beside each slot: its degree.
    pub fn with_degrees(self) -> Arrangement {
        let degrees = Degrees { of_slots: Weights::new(TAG_DEGREES), negative: vec![] };
        Arrangement { degrees: Some(degrees), ..self }
    }

    pub fn schema(&self) -> &SchemaRef {
        self.chunks.schema()
    }

    /// Applies signed rows. `keys`: the key hash of each row, if the arrangement is keyed.
    pub fn apply(&mut self, batch: &RecordBatch, weights: Option<&[i64]>, keys: &[u128]) -> Result<()> {
        self.apply_with_degrees(batch, weights, keys, &[])
    }

    /// [`Arrangement::apply`] of rows of these degrees; rows that are there already have theirs.
    pub fn apply_with_degrees(
        &mut self,
        batch: &RecordBatch,
        weights: Option<&[i64]>,
        keys: &[u128],
        degrees: &[i64],
    ) -> Result<()> {
        assert!(self.keys.is_none() || keys.len() == batch.num_rows(), "one key per row");
        assert!(self.degrees.is_none() || degrees.len() == batch.num_rows(), "one degree per row");
        let first = self.chunks.rows() as u32;
        let added = match &mut self.rows {
            None => self.append(batch, weights, keys)?,
            Some(_) => self.update(batch, weights, keys)?,
        };
        if let Some(Degrees { of_slots: kept, .. }) = &mut self.degrees {
            match added {
                Added::All => (first..).zip(degrees).for_each(|(slot, degree)| kept.set(slot, 0, *degree)),
                Added::Rows(rows) => {
                    (first..).zip(rows).for_each(|(slot, row)| kept.set(slot, 0, degrees[row as usize]));
                }
            }
        }
        Ok(())
    }

    /// The first slot of a key, or [`NONE`].
    pub fn first(&self, key: u128) -> u32 {
        self.keys.as_ref().and_then(|keys| keys.heads.get(key)).unwrap_or(NONE)
    }

    /// The slot after `slot` of the same key, or [`NONE`].
    pub fn next(&self, slot: u32) -> u32 {
        self.keys.as_ref().map_or(NONE, |keys| keys.next[slot as usize])
    }

    pub fn weight(&self, slot: u32) -> i64 {
        self.rows.as_ref().map_or(1, |rows| rows.weights.get(slot))
    }

    /// The degree of the row at `slot`; 0 when none are kept.
    pub fn degree(&self, slot: u32) -> i64 {
        self.degrees.as_ref().map_or(0, |degrees| degrees.of_slots.get(slot))
    }

    pub fn set_degree(&mut self, slot: u32, before: i64, after: i64) {
        let Some(degrees) = &mut self.degrees else { return };
        degrees.of_slots.set(slot, before, after);
        if after < 0 {
            degrees.negative.push(slot);
        }
    }

    /// The columns of the rows at `slots`.
    pub fn gather(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        self.chunks.gather(slots)
    }

    /// Sum of all weights.
    pub fn total_weight(&self) -> u64 {
        self.rows.as_ref().map_or(self.chunks.rows() as u64, |rows| rows.weights.total().max(0) as u64)
    }

    /// All chunks and the weights of their slots (none when append-only).
    pub fn share(&self) -> (Vec<Arc<RecordBatch>>, Option<Vec<Arc<Block>>>) {
        let blocks = self.rows.as_ref().map(|rows| rows.weights.blocks().to_vec());
        (self.chunks.pieces().cloned().collect(), blocks)
    }

    /// Ends a tick: checks that no weight and no degree is negative, and compacts if it is time.
    ///
    /// # Errors
    /// `Internal` when more was retracted than was ever there.
    pub fn settle(&mut self) -> Result<()> {
        let negative = self.degrees.as_mut().map(|degrees| std::mem::take(&mut degrees.negative)).unwrap_or_default();
        if negative.into_iter().any(|slot| self.weight(slot) != 0 && self.degree(slot) < 0) {
            return Err(Error::Internal("a row lost more matches than it had".into()));
        }
        let Some(rows) = &mut self.rows else { return Ok(()) };
        if rows.negative.drain(..).any(|slot| rows.weights.get(slot) < 0) {
            return Err(Error::Internal("a row was retracted more often than it was inserted".into()));
        }
        let dead = self.chunks.rows() - rows.weights.live();
        if dead > rows.weights.live() && dead >= CHUNK_ROWS { self.compact() } else { Ok(()) }
    }

    fn append(&mut self, batch: &RecordBatch, weights: Option<&[i64]>, keys: &[u128]) -> Result<Added> {
        let Some(weights) = weights.filter(|weights| weights.iter().any(|weight| *weight != 1)) else {
            self.link_new(self.chunks.rows() as u32, keys.iter().copied());
            self.chunks.push(batch.clone(), false)?;
            return Ok(Added::All);
        };
        let mut repeated = vec![];
        for (row, weight) in weights.iter().enumerate() {
            let count =
                usize::try_from(*weight).map_err(|_| Error::Internal("an append-only input retracted a row".into()))?;
            repeated.extend(std::iter::repeat_n(row as u32, count));
        }
        if self.keys.is_some() {
            self.link_new(self.chunks.rows() as u32, repeated.iter().map(|row| keys[*row as usize]));
        }
        self.chunks.push(batch::take_rows(batch, repeated.clone())?, true)?;
        Ok(Added::Rows(repeated))
    }

    fn link_new(&mut self, first: u32, keys: impl Iterator<Item = u128>) {
        if let Some(index) = &mut self.keys {
            keys.zip(first..).for_each(|(key, slot)| index.link(key, slot));
        }
    }

    fn update(&mut self, batch: &RecordBatch, weights: Option<&[i64]>, keys: &[u128]) -> Result<Added> {
        let hashes = self.hasher.hash_rows(batch.columns(), batch.num_rows())?;
        let Some(rows) = &mut self.rows else { return Ok(Added::All) };
        let mut fresh: Vec<u32> = vec![];
        for (row, hash) in hashes.iter().enumerate() {
            let added = weights.map_or(1, |weights| weights[row]);
            let (slot, is_fresh) = rows.slots.get_or_insert(*hash, (self.chunks.rows() + fresh.len()) as u32);
            let before = if is_fresh { 0 } else { rows.weights.get(slot) };
            let after = before.checked_add(added).ok_or_else(weight_overflow)?;
            rows.weights.set(slot, before, after);
            if is_fresh {
                fresh.push(row as u32);
                self.keys.iter_mut().for_each(|index| index.link(keys[row], slot));
            }
            if after == 0 {
                rows.slots.remove(*hash);
                self.keys.iter_mut().for_each(|index| index.unlink(keys[row], slot));
            } else if after < 0 {
                rows.negative.push(slot);
            }
        }
        match fresh.len() {
            0 => {}
            all if all == batch.num_rows() => {
                self.chunks.push(batch.clone(), false)?;
                return Ok(Added::All);
            }
            _ => self.chunks.push(batch::take_rows(batch, fresh.clone())?, true)?,
        }
        Ok(Added::Rows(fresh))
    }

    /// Rewrites all chunks without dead slots. Every live slot gets a new number, in the same order.
    fn compact(&mut self) -> Result<()> {
        let Some(rows) = &mut self.rows else { return Ok(()) };
        let mut new_slot = vec![NONE; self.chunks.rows()];
        let mut live = vec![];
        for slot in 0..self.chunks.rows() as u32 {
            let weight = rows.weights.get(slot);
            if weight != 0 {
                new_slot[slot as usize] = live.len() as u32;
                live.push((slot, weight));
            }
        }
        let degrees: Option<Vec<i64>> =
            self.degrees.as_ref().map(|kept| live.iter().map(|(slot, _)| kept.of_slots.get(*slot)).collect());
        let gathered: Result<Vec<RecordBatch>> = live
            .chunks(CHUNK_ROWS)
            .map(|part| {
                let slots: Vec<u32> = part.iter().map(|(slot, _)| *slot).collect();
                batch::build(self.chunks.schema(), self.chunks.gather(&slots)?, slots.len())
            })
            .collect();
        self.chunks.clear();
        gathered?.into_iter().try_for_each(|chunk| self.chunks.push(chunk, true))?;
        rows.weights.clear();
        live.iter().zip(0..).for_each(|((_, weight), slot)| rows.weights.set(slot, 0, *weight));
        if let (Some(Degrees { of_slots: kept, .. }), Some(degrees)) = (&mut self.degrees, degrees) {
            kept.clear();
            (0..).zip(degrees).for_each(|(slot, degree)| kept.set(slot, 0, degree));
        }
        rows.slots.renumber(&new_slot);
        self.keys.iter_mut().for_each(|index| index.renumber(&new_slot, live.len()));
        Ok(())
    }

    /// Writes what changed since the last save or load.
    pub fn save(&mut self, space: &Namespace, out: &mut dyn StateWriter) -> Result<()> {
        self.chunks.save(space, out)?;
        self.rows.iter_mut().for_each(|rows| rows.weights.save(space, out));
        self.degrees.iter_mut().for_each(|degrees| degrees.of_slots.save(space, out));
        Ok(())
    }

    /// Reads everything back into an empty arrangement and rebuilds its indexes.
    pub fn load(&mut self, space: &Namespace, state: &dyn StateReader, key_of: Option<KeyOf<'_>>) -> Result<()> {
        self.chunks.load(space, state)?;
        if let Some(rows) = &mut self.rows {
            rows.weights.load(space, state, self.chunks.rows())?;
            rows.slots.reserve(rows.weights.live());
        }
        if let Some(degrees) = &mut self.degrees {
            degrees.of_slots.load(space, state, self.chunks.rows())?;
        }
        let pieces: Vec<Arc<RecordBatch>> = self.chunks.pieces().cloned().collect();
        let mut first = 0;
        for piece in pieces {
            self.index(&piece, first, key_of)?;
            first += piece.num_rows() as u32;
        }
        Ok(())
    }

    fn index(&mut self, piece: &RecordBatch, first: u32, key_of: Option<KeyOf<'_>>) -> Result<()> {
        let rows = piece.num_rows();
        if let Some(index) = &mut self.rows {
            let hashes = self.hasher.hash_rows(piece.columns(), rows)?;
            for (slot, hash) in (first..).zip(hashes) {
                if index.weights.get(slot) != 0 && !index.slots.get_or_insert(hash, slot).1 {
                    return Err(Error::Internal("saved view state holds a row twice".into()));
                }
            }
        }
        if let (Some(keys), Some(key_of)) = (&mut self.keys, key_of) {
            for (slot, key) in (first..).zip(key_of(piece)?) {
                match &self.rows {
                    Some(rows) if rows.weights.get(slot) == 0 => keys.make_room(slot),
                    _ => keys.link(key, slot),
                }
            }
        }
        Ok(())
    }
}

impl KeyIndex {
    fn new(append_only: bool) -> KeyIndex {
        KeyIndex { heads: HashIndex::default(), next: vec![], previous: (!append_only).then(Vec::new) }
    }

    /// Makes room for `slot` without putting it in a list.
    fn make_room(&mut self, slot: u32) {
        self.next.resize(slot as usize + 1, NONE);
        self.previous.iter_mut().for_each(|previous| previous.resize(slot as usize + 1, NONE));
    }

    /// Puts `slot`, the newest, at the head of its key's list.
    fn link(&mut self, key: u128, slot: u32) {
        self.make_room(slot);
        let Some(head) = self.heads.replace(key, slot) else { return };
        self.next[slot as usize] = head;
        self.previous.iter_mut().for_each(|previous| previous[head as usize] = slot);
    }

    /// Takes `slot` out of its key's list; never called when append-only.
    fn unlink(&mut self, key: u128, slot: u32) {
        let Some(links) = &mut self.previous else { return };
        let next = std::mem::replace(&mut self.next[slot as usize], NONE);
        let previous = std::mem::replace(&mut links[slot as usize], NONE);
        if next != NONE {
            links[next as usize] = previous;
        }
        if previous != NONE {
            self.next[previous as usize] = next;
        } else if next != NONE {
            self.heads.replace(key, next);
        } else {
            self.heads.remove(key);
        }
    }

    fn renumber(&mut self, new_slot: &[u32], live: usize) {
        let renumbered = |links: &[u32]| {
            let mut out = vec![NONE; live];
            for (old, link) in links.iter().enumerate().filter(|(old, _)| new_slot[*old] != NONE) {
                out[new_slot[old] as usize] = if *link == NONE { NONE } else { new_slot[*link as usize] };
            }
            out
        };
        self.next = renumbered(&self.next);
        self.previous.iter_mut().for_each(|previous| *previous = renumbered(previous));
        self.heads.renumber(new_slot);
    }
}

/// Hashes of key columns, equal when SQL's `=` (or grouping) says the keys are.
pub(crate) fn hash_keys(hasher: &RowHasher, columns: Vec<ArrayRef>, rows: usize) -> Result<Vec<u128>> {
    hasher.hash_rows(&canonical_keys(columns), rows)
}

fn weight_overflow() -> Error {
    Error::Internal("the weight of a row passed 2^63".into())
}
