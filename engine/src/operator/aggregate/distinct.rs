//! `DISTINCT` inside a call: `[c⁺ > 0] − [c⁻ > 0]` of each (group, value) goes on to the plain aggregate.
//!
//! The differences telescope, so rows may come in any order and a count may be negative inside a tick. Values are kept
//! as 128-bit hashes only: whoever moves a count to or from 0 brings the value along.

use super::accumulator::{Accumulator, Update};
use crate::row_hash::{RowHasher, canonical_keys};
use crate::state::{ChangeList, Cursor, Namespace, StateReader, StateWriter, damaged, split_slot};
use crate::{Error, Result, batch};
use arrow::array::ArrayRef;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// State tag of value counts: suffix = slot (u32 BE) and value hash (u128 BE), value = count.
const TAG_COUNT: u8 = b'd';

#[derive(Debug)]
pub(crate) struct Distinct {
    plain: Box<dyn Accumulator>,
    hasher: RowHasher,
    counts: HashTable<ValueCount>,
    /// Entries of negative count; none between ticks.
    negatives: usize,
    changes: ChangeList<(u32, u128)>,
}

#[derive(Debug)]
struct ValueCount {
    value: [u64; 2],
    slot: u32,
    count: i64,
}

fn table_hash(slot: u32, value: u128) -> u64 {
    (value as u64) ^ u64::from(slot).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl ValueCount {
    fn value(&self) -> u128 {
        u128::from(self.value[0]) << 64 | u128::from(self.value[1])
    }

    fn is(&self, slot: u32, value: u128) -> bool {
        self.slot == slot && self.value() == value
    }
}

impl Distinct {
    pub fn new(plain: Box<dyn Accumulator>, seed: u64) -> Distinct {
        let hasher = RowHasher::new(seed);
        Distinct { plain, hasher, counts: HashTable::new(), negatives: 0, changes: ChangeList::new() }
    }

    /// Adds `weight` to the count of a value; returns the count before and after.
    fn add(&mut self, slot: u32, value: u128, weight: i64) -> (i64, i64) {
        let split = [(value >> 64) as u64, value as u64];
        let hash_of = |entry: &ValueCount| table_hash(entry.slot, entry.value());
        match self.counts.entry(table_hash(slot, value), |entry| entry.is(slot, value), hash_of) {
            Entry::Vacant(place) => {
                place.insert(ValueCount { value: split, slot, count: weight });
                (0, weight)
            }
            Entry::Occupied(mut found) => {
                let before = found.get().count;
                let after = before + weight;
                found.get_mut().count = after;
                if after == 0 {
                    found.remove();
                }
                (before, after)
            }
        }
    }
}

impl Accumulator for Distinct {
    fn grow(&mut self, slots: usize) {
        self.plain.grow(slots);
    }

    fn update(&mut self, update: &Update<'_>) -> Result<()> {
        let argument = update.argument()?;
        let hashes = self.hasher.hash_rows(&canonical_keys(vec![argument.clone()]), update.slots.len())?;
        let (mut rows, mut slots, mut weights): (Vec<u32>, Vec<u32>, Vec<i64>) = (vec![], vec![], vec![]);
        for (row, (slot, value)) in update.slots.iter().zip(hashes).enumerate() {
            let (before, after) = self.add(*slot, value, update.weight(row));
            self.negatives = self.negatives + usize::from(after < 0) - usize::from(before < 0);
            self.changes.push((*slot, value));
            let change = i64::from(after > 0) - i64::from(before > 0);
            if change != 0 {
                rows.push(row as u32);
                slots.push(*slot);
                weights.push(change);
            }
        }
        let argument: ArrayRef = batch::take_columns(std::slice::from_ref(argument), rows)?.remove(0);
        self.plain.update(&Update { slots: &slots, weights: Some(&weights), argument: Some(&argument) })
    }

    fn settle(&self) -> Result<()> {
        if self.negatives > 0 {
            return Err(Error::Internal("a value was retracted more often than it was inserted".into()));
        }
        Ok(())
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        self.plain.evaluate(slots)
    }

    fn reset(&mut self, slot: u32) {
        self.plain.reset(slot);
    }

    fn encode(&self, slot: u32, out: &mut Vec<u8>) {
        self.plain.encode(slot, out);
    }

    fn decode(&mut self, slot: u32, cursor: &mut Cursor<'_>) -> Result<()> {
        self.plain.decode(slot, cursor)
    }

    fn save(&mut self, space: &Namespace, out: &mut dyn StateWriter) {
        for (slot, value) in self.changes.drain() {
            let key = space.key(TAG_COUNT, &[&slot.to_be_bytes()[..], &value.to_be_bytes()].concat());
            match self.counts.find(table_hash(slot, value), |entry| entry.is(slot, value)) {
                Some(entry) => out.put(&key, &entry.count.to_le_bytes()),
                None => out.delete(&key),
            }
        }
    }

    fn load(&mut self, space: &Namespace, state: &dyn StateReader) -> Result<()> {
        space.scan(state, TAG_COUNT, &mut |suffix, bytes| {
            let (slot, value) = split_slot(suffix)?;
            let value = u128::from_be_bytes(value.try_into().map_err(|_| damaged("a value hash has the wrong size"))?);
            let mut cursor = Cursor(bytes);
            let count = cursor.i64()?;
            cursor.finish()?;
            if count <= 0 {
                return Err(damaged("a value count is not positive"));
            }
            self.add(slot, value, count);
            Ok(())
        })
    }
}
