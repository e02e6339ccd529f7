//! The groups of an aggregate: key → dense slot, with a free list.
//!
//! Invariants: a slot is indexed by its key's hash exactly while it is in use; accumulators keep their state by slot.
//! Keys are arrow-row bytes, side by side when all key types have a fixed width.

use crate::row_hash::{HashIndex, row_converter};
use crate::{Error, Result, batch};
use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use arrow::row::RowConverter;

/// In use.
const USED: u8 = 1;
/// Its row is part of the output so far.
const EMITTED: u8 = 2;
/// Touched in this tick.
const DIRTY: u8 = 4;
/// Changed since the last save.
const UNSAVED: u8 = 8;

#[derive(Debug)]
pub(crate) struct AggTable {
    index: HashIndex,
    converter: Option<RowConverter>,
    keys: KeyStore,
    hashes: Vec<u128>,
    /// Sum of the weights of a group's rows.
    rows: Vec<i64>,
    flags: Vec<u8>,
    free: Vec<u32>,
    /// Slots touched in this tick, in order of their first row.
    dirty: Vec<u32>,
    unsaved: Vec<u32>,
}

impl AggTable {
    pub fn new(key_types: &[DataType]) -> Result<AggTable> {
        let converter = (!key_types.is_empty()).then(|| row_converter(key_types.iter())).transpose()?;
        Ok(AggTable {
            index: HashIndex::default(),
            converter,
            keys: KeyStore::new(key_types),
            hashes: vec![],
            rows: vec![],
            flags: vec![],
            free: vec![],
            dirty: vec![],
            unsaved: vec![],
        })
    }

    /// Slots that exist, used or free.
    pub fn slots(&self) -> usize {
        self.rows.len()
    }

    /// The slot of each row's group, which is made if need be.
    pub fn locate(&mut self, keys: &[ArrayRef], hashes: &[u128]) -> Result<Vec<u32>> {
        let mut slots = Vec::with_capacity(hashes.len());
        let (mut fresh_rows, mut fresh_slots): (Vec<u32>, Vec<u32>) = (vec![], vec![]);
        for (row, hash) in hashes.iter().enumerate() {
            let candidate = self.free.last().copied().unwrap_or(self.rows.len() as u32);
            let (slot, fresh) = self.index.get_or_insert(*hash, candidate);
            if fresh {
                self.occupy(slot, *hash)?;
                fresh_rows.push(row as u32);
                fresh_slots.push(slot);
            }
            slots.push(slot);
        }
        if let Some(converter) = self.converter.as_ref().filter(|_| !fresh_rows.is_empty()) {
            let all_fresh = fresh_rows.len() == hashes.len();
            let fresh = if all_fresh { keys.to_vec() } else { batch::take_columns(keys, fresh_rows)? };
            let encoded = converter.convert_columns(&fresh)?;
            fresh_slots.iter().zip(encoded.iter()).for_each(|(slot, key)| self.keys.set(*slot, key.data()));
        }
        Ok(slots)
    }

    fn occupy(&mut self, slot: u32, hash: u128) -> Result<()> {
        if self.free.pop().is_none() {
            if self.rows.len() >= u32::MAX as usize {
                return Err(Error::Limit("an aggregate has more than 2^32 groups".into()));
            }
            self.rows.push(0);
            self.hashes.push(0);
            self.flags.push(0);
        }
        self.hashes[slot as usize] = hash;
        // A slot that was just released may still wait for the next save.
        self.flags[slot as usize] = USED | self.flags[slot as usize] & UNSAVED;
        Ok(())
    }

    /// Adds weights to the groups' row counts and marks them dirty. Returns those that were not yet dirty and whose
    /// row is out, so that their old results can be noted before they change.
    pub fn add_rows(&mut self, slots: &[u32], weights: Option<&[i64]>) -> Vec<u32> {
        let mut noted = vec![];
        for (row, slot) in slots.iter().enumerate() {
            self.rows[*slot as usize] += weights.map_or(1, |weights| weights[row]);
            self.touch(*slot, &mut noted);
        }
        noted
    }

    fn touch(&mut self, slot: u32, noted: &mut Vec<u32>) {
        let flags = &mut self.flags[slot as usize];
        if *flags & DIRTY != 0 {
            return;
        }
        if *flags & EMITTED != 0 {
            noted.push(slot);
        }
        if *flags & UNSAVED == 0 {
            self.unsaved.push(slot);
        }
        *flags |= DIRTY | UNSAVED;
        self.dirty.push(slot);
    }

    /// Marks a group dirty without a row.
    pub fn mark(&mut self, slot: u32) {
        self.touch(slot, &mut vec![]);
    }

    /// Ends the tick: takes the dirty slots, in order of first touch.
    pub fn take_dirty(&mut self) -> Vec<u32> {
        let dirty = std::mem::take(&mut self.dirty);
        dirty.iter().for_each(|slot| self.flags[*slot as usize] &= !DIRTY);
        dirty
    }

    pub fn rows(&self, slot: u32) -> i64 {
        self.rows[slot as usize]
    }

    pub fn is_used(&self, slot: u32) -> bool {
        self.flags[slot as usize] & USED != 0
    }

    pub fn is_emitted(&self, slot: u32) -> bool {
        self.flags[slot as usize] & EMITTED != 0
    }

    pub fn set_emitted(&mut self, slot: u32) {
        self.flags[slot as usize] |= EMITTED;
    }

    /// Gives the slot of an empty group back.
    pub fn release(&mut self, slot: u32) {
        self.index.remove(self.hashes[slot as usize]);
        self.keys.clear(slot);
        self.flags[slot as usize] &= UNSAVED;
        self.free.push(slot);
    }

    /// Key columns of these groups.
    pub fn key_columns(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let Some(converter) = &self.converter else { return Ok(vec![]) };
        let parser = converter.parser();
        Ok(converter.convert_rows(slots.iter().map(|slot| parser.parse(self.keys.get(*slot))))?)
    }

    /// arrow-row bytes of a group's key.
    pub fn key(&self, slot: u32) -> &[u8] {
        if self.converter.is_some() { self.keys.get(slot) } else { &[] }
    }

    /// Slots changed since the last call, ascending.
    pub fn take_unsaved(&mut self) -> Vec<u32> {
        let mut unsaved = std::mem::take(&mut self.unsaved);
        unsaved.iter().for_each(|slot| self.flags[*slot as usize] &= !UNSAVED);
        unsaved.sort_unstable();
        unsaved
    }

    /// Puts a saved group at `slot`, which is beyond all slots so far; those between are free.
    pub fn restore(&mut self, slot: u32, key: &[u8], rows: i64) {
        let gap = self.rows.len() as u32..slot;
        self.free.extend(gap.rev());
        let len = slot as usize + 1;
        self.rows.resize(len, 0);
        self.hashes.resize(len, 0);
        self.flags.resize(len, 0);
        self.rows[slot as usize] = rows;
        self.flags[slot as usize] = USED | EMITTED;
        if self.converter.is_some() {
            self.keys.set(slot, key);
        }
    }

    /// Indexes a restored group. `false` if its key is there already.
    pub fn index_restored(&mut self, slot: u32, hash: u128) -> bool {
        self.hashes[slot as usize] = hash;
        self.index.get_or_insert(hash, slot).1
    }

    /// Slots in use, ascending.
    pub fn used(&self) -> Vec<u32> {
        (0..self.rows.len() as u32).filter(|slot| self.is_used(*slot)).collect()
    }
}

/// Key bytes by slot.
#[derive(Debug)]
enum KeyStore {
    /// All keys have `width` bytes.
    Fixed {
        width: usize,
        bytes: Vec<u8>,
    },
    Variable(Vec<Box<[u8]>>),
}

impl KeyStore {
    fn new(types: &[DataType]) -> KeyStore {
        let variable = types.iter().any(|t| matches!(t, DataType::Utf8 | DataType::Binary));
        if variable { KeyStore::Variable(vec![]) } else { KeyStore::Fixed { width: 0, bytes: vec![] } }
    }

    fn set(&mut self, slot: u32, key: &[u8]) {
        let slot = slot as usize;
        match self {
            KeyStore::Fixed { width, bytes } => {
                *width = key.len();
                if bytes.len() < (slot + 1) * *width {
                    bytes.resize((slot + 1) * *width, 0);
                }
                bytes[slot * *width..][..*width].copy_from_slice(key);
            }
            KeyStore::Variable(keys) => {
                if keys.len() <= slot {
                    keys.resize(slot + 1, Box::default());
                }
                keys[slot] = key.into();
            }
        }
    }

    fn get(&self, slot: u32) -> &[u8] {
        match self {
            KeyStore::Fixed { width, bytes } => &bytes[slot as usize * width..][..*width],
            KeyStore::Variable(keys) => &keys[slot as usize],
        }
    }

    fn clear(&mut self, slot: u32) {
        if let KeyStore::Variable(keys) = self {
            keys[slot as usize] = Box::default();
        }
    }
}
