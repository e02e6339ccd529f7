//! Inner equi-join. Bilinear: `Δ(L ⋈ R) = ΔL ⋈ R⁻ + L⁺ ⋈ ΔR` with `L⁺ = L⁻ + ΔL`; weights multiply.
//!
//! So one tick is: probe the right side with the left deltas, apply them to the left side, probe the left side with the
//! right deltas, apply those. That is right for deltas in any order and for a join of an input with itself; nothing
//! needs to be consolidated first. Rows with a NULL key match nothing and are not even stored, unless NULL equals NULL.
//! Matches are gathered column-wise from the stored chunks, [`CHUNK_ROWS`] at a time, then the residual filter runs.

use crate::arrangement::{Arrangement, NONE, hash_keys};
use crate::batch::{self, CHUNK_ROWS};
use crate::delta::Delta;
use crate::operator::{Operator, check_predicate, evaluate, evaluate_predicate, filter_delta, type_of};
use crate::plan::Expr;
use crate::row_hash::RowHasher;
use crate::state::{Namespace, StateReader, StateWriter};
use crate::{Error, Result};
use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, SchemaRef};

/// State tags of the two sides.
const TAG_LEFT: u8 = b'l';
const TAG_RIGHT: u8 = b'r';

#[derive(Debug)]
pub(crate) struct Join {
    left: Side,
    right: Side,
    filter: Option<Expr>,
    schema: SchemaRef,
}

/// One input of the join: its rows by key.
#[derive(Debug)]
struct Side {
    rows: Arrangement,
    key: JoinKey,
}

#[derive(Debug)]
struct JoinKey {
    exprs: Vec<Expr>,
    types: Vec<DataType>,
    null_equals_null: bool,
    hasher: RowHasher,
}

/// What a join is built from, apart from its inputs.
pub(crate) struct JoinSpec<'a> {
    pub on: &'a [(Expr, Expr)],
    pub filter: Option<&'a Expr>,
    pub null_equals_null: bool,
    pub schema: &'a SchemaRef,
    pub seed: u64,
}

impl Join {
    /// `left` and `right`: schema of the input and whether it is append-only.
    pub fn new(left: (SchemaRef, bool), right: (SchemaRef, bool), spec: &JoinSpec<'_>) -> Result<Join> {
        batch::check_schema(spec.schema)?;
        if let Some(filter) = spec.filter {
            check_predicate(filter, spec.schema)?;
        }
        let left_side = Side::new(&left, spec.on.iter().map(|(l, _)| l.clone()).collect(), spec)?;
        let right_side = Side::new(&right, spec.on.iter().map(|(_, r)| r.clone()).collect(), spec)?;
        if left_side.key.types != right_side.key.types {
            let (l, r) = (&left_side.key.types, &right_side.key.types);
            return Err(Error::Unsupported(format!("join keys differ in type: {l:?} and {r:?}; add a cast")));
        }
        Ok(Join { left: left_side, right: right_side, filter: spec.filter.cloned(), schema: spec.schema.clone() })
    }
}

impl Operator for Join {
    fn step(&mut self, inputs: Vec<Vec<Delta>>) -> Result<Vec<Delta>> {
        let [left, right] =
            <[Vec<Delta>; 2]>::try_from(inputs).map_err(|_| Error::Internal("a join has two inputs".into()))?;
        let mut out = vec![];
        for delta in left {
            let (delta, keys) = self.left.key.of_delta(delta)?;
            Matches::new(&delta, &self.right.rows, true).probe(&keys, &self.schema, self.filter.as_ref(), &mut out)?;
            self.left.rows.apply(&delta.batch, delta.weights.as_deref(), &keys)?;
        }
        for delta in right {
            let (delta, keys) = self.right.key.of_delta(delta)?;
            Matches::new(&delta, &self.left.rows, false).probe(&keys, &self.schema, self.filter.as_ref(), &mut out)?;
            self.right.rows.apply(&delta.batch, delta.weights.as_deref(), &keys)?;
        }
        self.left.rows.settle()?;
        self.right.rows.settle()?;
        Ok(out)
    }

    fn save(&mut self, space: &Namespace, out: &mut dyn StateWriter) -> Result<()> {
        self.left.rows.save(&space.child(TAG_LEFT), out)?;
        self.right.rows.save(&space.child(TAG_RIGHT), out)
    }

    fn load(&mut self, space: &Namespace, state: &dyn StateReader) -> Result<()> {
        self.left.load(&space.child(TAG_LEFT), state)?;
        self.right.load(&space.child(TAG_RIGHT), state)
    }

    fn memory_bytes(&self) -> usize {
        self.left.rows.memory_bytes() + self.right.rows.memory_bytes()
    }
}

impl Side {
    fn new(input: &(SchemaRef, bool), exprs: Vec<Expr>, spec: &JoinSpec<'_>) -> Result<Side> {
        let (schema, append_only) = input;
        batch::check_schema(schema)?;
        let types = exprs.iter().map(|expr| type_of(expr, schema)).collect::<Result<_>>()?;
        let hasher = RowHasher::new(spec.seed);
        let key = JoinKey { exprs, types, null_equals_null: spec.null_equals_null, hasher };
        Ok(Side { rows: Arrangement::new(schema.clone(), *append_only, true, spec.seed), key })
    }

    fn load(&mut self, space: &Namespace, state: &dyn StateReader) -> Result<()> {
        let key = &self.key;
        let key_of = |batch: &RecordBatch| hash_keys(&key.hasher, key.columns(batch)?, batch.num_rows());
        self.rows.load(space, state, Some(&key_of))
    }
}

impl JoinKey {
    fn columns(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        self.exprs.iter().zip(&self.types).map(|(expr, data_type)| evaluate(expr, batch, data_type)).collect()
    }

    /// The rows of `delta` that can match anything, and their key hashes.
    fn of_delta(&self, delta: Delta) -> Result<(Delta, Vec<u128>)> {
        let mut columns = self.columns(&delta.batch)?;
        let nulls =
            columns.iter().fold(None, |all, column| NullBuffer::union(all.as_ref(), column.logical_nulls().as_ref()));
        let mut delta = delta;
        if let Some(nulls) = nulls.filter(|nulls| !self.null_equals_null && nulls.null_count() > 0) {
            let mask = BooleanArray::new(nulls.into_inner(), None);
            columns = columns.iter().map(|c| Ok(arrow::compute::filter(c, &mask)?)).collect::<Result<_>>()?;
            delta = filter_delta(delta, &mask)?;
        }
        let keys = hash_keys(&self.hasher, columns, delta.rows())?;
        Ok((delta, keys))
    }
}

/// Pairs of a delta's rows and stored rows, not emitted yet.
struct Matches<'a> {
    delta: &'a Delta,
    stored: &'a Arrangement,
    delta_is_left: bool,
    rows: Vec<u32>,
    slots: Vec<u32>,
    weights: Vec<i64>,
}

impl<'a> Matches<'a> {
    fn new(delta: &'a Delta, stored: &'a Arrangement, delta_is_left: bool) -> Matches<'a> {
        Matches { delta, stored, delta_is_left, rows: vec![], slots: vec![], weights: vec![] }
    }

    /// Emits all pairs of equal keys.
    fn probe(mut self, keys: &[u128], schema: &SchemaRef, filter: Option<&Expr>, out: &mut Vec<Delta>) -> Result<()> {
        for (row, key) in keys.iter().enumerate() {
            let mut slot = self.stored.first(*key);
            while slot != NONE {
                let weight = self.delta.weight(row).checked_mul(self.stored.weight(slot));
                self.weights.push(weight.ok_or_else(|| Error::Internal("a weight passed 2^63".into()))?);
                self.rows.push(row as u32);
                self.slots.push(slot);
                slot = self.stored.next(slot);
                if self.rows.len() == CHUNK_ROWS {
                    self.emit(schema, filter, out)?;
                }
            }
        }
        if self.rows.is_empty() { Ok(()) } else { self.emit(schema, filter, out) }
    }

    fn emit(&mut self, schema: &SchemaRef, filter: Option<&Expr>, out: &mut Vec<Delta>) -> Result<()> {
        let rows = self.rows.len();
        let given = batch::take_columns(self.delta.batch.columns(), std::mem::take(&mut self.rows))?;
        let stored = self.stored.gather(&self.slots)?;
        self.slots.clear();
        let (mut columns, right) = if self.delta_is_left { (given, stored) } else { (stored, given) };
        columns.extend(right);
        let batch = batch::build(schema, columns, rows)?;
        let delta = crate::consolidate::with_weights(batch, std::mem::take(&mut self.weights));
        let delta = match filter {
            Some(filter) => {
                let mask = evaluate_predicate(filter, &delta.batch)?;
                filter_delta(delta, &mask)?
            }
            None => delta,
        };
        out.extend((delta.rows() > 0).then_some(delta));
        Ok(())
    }
}
