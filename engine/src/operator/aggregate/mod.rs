//! Aggregate: one row per group, `acc += w·x` for each signed row.
//!
//! After a tick each dirty group emits `−old +new` once; a group whose row did not change emits nothing, one without
//! rows is dropped. Groups are emitted in the order in which the tick first touched them. Without keys there is always
//! exactly one row, also over no input. Without aggregates this is DISTINCT: `[c⁺ > 0] − [c⁻ > 0]`.

mod accumulator;
mod count;
mod distinct;
mod exact_sum;
mod min_max;
mod results;
mod sum;
mod table;

use crate::arrangement::hash_keys;
use crate::batch;
use crate::consolidate::with_weights;
use crate::delta::Delta;
use crate::operator::{Operator, evaluate, type_of};
use crate::plan::{Aggregate, Expr};
use crate::row_error::{RowErrors, compute_rows};
use crate::row_hash::{RowHasher, canonical_keys};
use crate::state::{Cursor, Namespace, StateReader, StateWriter, damaged, put_sized, split_slot};
use crate::{Error, Result};
use accumulator::{Call, Fed};
use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::interleave;
use arrow::datatypes::{DataType, SchemaRef};
use results::Results;
use table::AggTable;

/// State tag of groups: suffix = slot (u32 BE), value = key (sized), row count (i64), accumulators in order.
const TAG_GROUP: u8 = b'g';
/// State tag before the namespace of each accumulator's own records (then its index, u8 … one per call).
const TAG_CALL: u8 = b'a';
/// Calls are numbered by a byte in saved state.
const CALLS_MAX: usize = 255;

#[derive(Debug)]
pub(crate) struct AggregateOperator {
    keys: Vec<(Expr, DataType)>,
    calls: Vec<Call>,
    schema: SchemaRef,
    hasher: RowHasher,
    table: AggTable,
    /// Results of groups as they were before the step, in the order in which they were touched.
    old: Vec<Results>,
}

/// What is computed of a batch before any state changes.
struct Read {
    keys: Vec<ArrayRef>,
    /// Per call.
    fed: Vec<Fed>,
}

impl AggregateOperator {
    /// `input`: schema of the rows and whether they are append-only.
    pub fn new(
        input: (SchemaRef, bool),
        keys: &[Expr],
        aggregates: &[Aggregate],
        schema: &SchemaRef,
        seed: u64,
    ) -> Result<AggregateOperator> {
        if aggregates.len() > CALLS_MAX {
            return Err(Error::Limit(format!("more than {CALLS_MAX} aggregate calls in one GROUP BY")));
        }
        let keys = keys.iter().map(|expr| Ok((expr.clone(), type_of(expr, &input.0)?))).collect::<Result<Vec<_>>>()?;
        let key_types: Vec<DataType> = keys.iter().map(|(_, data_type)| data_type.clone()).collect();
        Ok(AggregateOperator {
            calls: aggregates.iter().map(|a| Call::new(a, &input, seed)).collect::<Result<_>>()?,
            schema: schema.clone(),
            hasher: RowHasher::new(seed),
            table: AggTable::new(&key_types)?,
            old: vec![],
            keys,
        })
    }

    /// Computes the keys of the rows and what they feed the calls.
    fn read(&self, batch: &RecordBatch) -> Result<Read> {
        let keys: Result<Vec<ArrayRef>> = self.keys.iter().map(|(e, t)| evaluate(e, batch, t)).collect();
        let fed = self.calls.iter().map(|call| call.read(batch)).collect::<Result<_>>()?;
        Ok(Read { keys: canonical_keys(keys?), fed })
    }

    /// Adds the rows of one delta to their groups.
    fn update(&mut self, delta: &Delta, read: &Read) -> Result<()> {
        let hashes = self.hasher.hash_rows(&read.keys, delta.rows())?;
        let slots = self.table.locate(&read.keys, &hashes)?;
        self.grow();
        let weights = delta.weights.as_deref();
        let noted = self.table.add_rows(&slots, weights);
        if !noted.is_empty() {
            self.old.push(Results::of(&self.calls, &noted)?);
        }
        self.calls.iter_mut().zip(&read.fed).try_for_each(|(call, fed)| call.update(fed, &slots, weights))
    }

    fn grow(&mut self) {
        let slots = self.table.slots();
        self.calls.iter_mut().for_each(|call| call.accumulator.grow(slots));
    }

    /// Makes the one group of an aggregate without keys, if it is not there yet.
    fn ensure_global_group(&mut self) -> Result<()> {
        if self.keys.is_empty() && self.table.slots() == 0 {
            let hashes = hash_keys(&self.hasher, vec![], 1)?;
            let slots = self.table.locate(&[], &hashes)?;
            self.table.mark(slots[0]);
            self.grow();
        }
        Ok(())
    }

    /// Ends the step: emits what changed and drops empty groups. A group whose results cannot be computed is an error of
    /// weight 1 instead of a row.
    fn emit(&mut self, errors: &mut RowErrors) -> Result<Vec<Delta>> {
        let dirty = self.table.take_dirty();
        let old = Results::concat(std::mem::take(&mut self.old))?;
        if let Some(slot) = dirty.iter().find(|slot| self.table.rows(**slot) < 0) {
            let rows = self.table.rows(*slot);
            return Err(Error::Internal(format!("a group has {rows} rows: more were retracted than inserted")));
        }
        self.calls.iter().try_for_each(|call| call.accumulator.settle())?;
        let alive = |slot: &u32| self.keys.is_empty() || self.table.rows(*slot) > 0;
        let new_slots: Vec<u32> = dirty.iter().copied().filter(alive).collect();
        let new = Results::of(&self.calls, &new_slots)?;
        let same = SameResults::new(&self.hasher, &old, &new)?;
        old.failed.values().for_each(|error| errors.add(error, -1));
        new.failed.values().for_each(|error| errors.add(error, 1));

        let mut picked = Picked::default();
        let (mut at_old, mut at_new) = (0, 0);
        let mut dead = vec![];
        for slot in dirty {
            let (was, is) = (self.table.is_emitted(slot), alive(&slot));
            let leaves = was && !old.failed.contains_key(&at_old);
            let comes = is && !new.failed.contains_key(&at_new);
            if !(leaves && comes && same.check(at_old, at_new)) {
                picked.push(slot, leaves.then_some(at_old), comes.then_some(at_new));
            }
            at_old += usize::from(was);
            at_new += usize::from(is);
            if !is {
                dead.push(slot);
            }
        }
        let out = self.build(&picked, &old, &new)?;
        new_slots.iter().for_each(|slot| self.table.set_emitted(*slot));
        for slot in dead {
            self.table.release(slot);
            self.calls.iter_mut().for_each(|call| call.accumulator.reset(slot));
        }
        Ok(out)
    }

    fn build(&self, picked: &Picked, old: &Results, new: &Results) -> Result<Vec<Delta>> {
        if picked.weights.is_empty() {
            return Ok(vec![]);
        }
        let keys = self.table.key_columns(&picked.slots)?;
        let mut columns = batch::take_columns(&keys, picked.key_rows.clone())?;
        for (at, new) in new.columns.iter().enumerate() {
            let none = new.slice(0, 0);
            let old = old.columns.get(at).unwrap_or(&none);
            columns.push(interleave(&[old.as_ref(), new.as_ref()], &picked.results)?);
        }
        let batch = batch::build(&self.schema, columns, picked.weights.len())?;
        Ok(vec![with_weights(batch, picked.weights.clone())])
    }

    fn encode_group(&self, slot: u32) -> Vec<u8> {
        let mut value = vec![];
        put_sized(&mut value, self.table.key(slot));
        value.extend_from_slice(&self.table.rows(slot).to_le_bytes());
        self.calls.iter().for_each(|call| call.accumulator.encode(slot, &mut value));
        value
    }

    fn decode_group(&mut self, slot: u32, value: &[u8]) -> Result<()> {
        let mut cursor = Cursor(value);
        let key = cursor.sized()?;
        if key.is_empty() != self.keys.is_empty() || (slot as usize) < self.table.slots() {
            return Err(damaged("a group does not fit its aggregate"));
        }
        let rows = cursor.i64()?;
        self.table.restore(slot, key, rows);
        self.grow();
        self.calls.iter_mut().try_for_each(|call| call.accumulator.decode(slot, &mut cursor))?;
        cursor.finish()
    }

    fn index_groups(&mut self) -> Result<()> {
        for slots in self.table.used().chunks(batch::CHUNK_ROWS) {
            let hashes = self.hasher.hash_rows(&self.table.key_columns(slots)?, slots.len())?;
            if !slots.iter().zip(hashes).all(|(slot, hash)| self.table.index_restored(*slot, hash)) {
                return Err(damaged("a group is there twice"));
            }
        }
        Ok(())
    }
}

impl Operator for AggregateOperator {
    fn step(&mut self, inputs: Vec<Vec<Delta>>, errors: &mut RowErrors) -> Result<Vec<Delta>> {
        self.ensure_global_group()?;
        for delta in inputs.into_iter().flatten() {
            let parts = compute_rows(delta, errors, &|batch| self.read(batch))?;
            parts.iter().try_for_each(|(delta, read)| self.update(delta, read))?;
        }
        self.emit(errors)
    }

    fn save(&mut self, space: &Namespace, out: &mut dyn StateWriter) -> Result<()> {
        for slot in self.table.take_unsaved() {
            let key = space.key(TAG_GROUP, &slot.to_be_bytes());
            if self.table.is_used(slot) { out.put(&key, &self.encode_group(slot)) } else { out.delete(&key) }
        }
        let calls = space.child(TAG_CALL);
        (0..).zip(&mut self.calls).for_each(|(at, call)| call.accumulator.save(&calls.child(at), out));
        Ok(())
    }

    fn load(&mut self, space: &Namespace, state: &dyn StateReader) -> Result<()> {
        space.scan(state, TAG_GROUP, &mut |suffix, value| self.decode_group(split_slot(suffix)?.0, value))?;
        self.index_groups()?;
        let calls = space.child(TAG_CALL);
        (0..).zip(&mut self.calls).try_for_each(|(at, call)| call.accumulator.load(&calls.child(at), state))
    }
}

/// Tells whether a group's results are what they were.
struct SameResults {
    old: Vec<u128>,
    new: Vec<u128>,
}

impl SameResults {
    fn new(hasher: &RowHasher, old: &Results, new: &Results) -> Result<Self> {
        if old.rows == 0 {
            return Ok(SameResults { old: vec![], new: vec![] });
        }
        let hashes = |results: &Results| hasher.hash_rows(&results.columns, results.rows);
        Ok(SameResults { old: hashes(old)?, new: hashes(new)? })
    }

    fn check(&self, old: usize, new: usize) -> bool {
        self.old[old] == self.new[new]
    }
}

/// The rows to emit.
#[derive(Default)]
struct Picked {
    /// Groups that emit, each once.
    slots: Vec<u32>,
    /// Per emitted row: its group, as an index of `slots`.
    key_rows: Vec<u32>,
    /// Per emitted row: `(0, row of the old results)` or `(1, row of the new results)`.
    results: Vec<(usize, usize)>,
    weights: Vec<i64>,
}

impl Picked {
    fn push(&mut self, slot: u32, old: Option<usize>, new: Option<usize>) {
        if old.is_none() && new.is_none() {
            return;
        }
        let rows = old.map(|row| (0, row, -1)).into_iter().chain(new.map(|row| (1, row, 1)));
        for (from, row, weight) in rows {
            self.key_rows.push(self.slots.len() as u32);
            self.results.push((from, row));
            self.weights.push(weight);
        }
        self.slots.push(slot);
    }
}
