//! Inner equi-join. Bilinear: `Δ(L ⋈ R) = ΔL ⋈ R⁻ + L⁺ ⋈ ΔR` with `L⁺ = L⁻ + ΔL`; weights multiply.
//!
//! So one tick is: probe the right side with the left deltas, apply them to the left side, probe the left side with the
//! right deltas, apply those. That is right for deltas in any order and for a join of an input with itself; nothing
//! needs to be consolidated first. Rows with a NULL key match nothing and are not even stored, unless NULL equals NULL.
//! Matches are gathered column-wise from the stored chunks, [`CHUNK_ROWS`] at a time, then the residual filter runs.

use crate::arrangement::{Arrangement, NONE, hash_keys};
use crate::batch::{self, CHUNK_ROWS};
use crate::consolidate::with_weights;
use crate::delta::Delta;
use crate::operator::{Operator, check_predicate, evaluate, evaluate_predicate, filter_delta, type_of};
use crate::plan::Expr;
use crate::row_error::{RowErrors, compute_rows};
use crate::row_hash::RowHasher;
use crate::state::{Namespace, StateReader, StateWriter};
use crate::{Error, Result};
use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, SchemaRef};

/// Bytes of joined rows that one step may make: they are held until the operators above have taken them.
const STEP_BYTES_MAX: usize = 1 << 30;
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
    fn step(&mut self, inputs: Vec<Vec<Delta>>, errors: &mut RowErrors) -> Result<Vec<Delta>> {
        let [left, right] =
            <[Vec<Delta>; 2]>::try_from(inputs).map_err(|_| Error::Internal("a join has two inputs".into()))?;
        let mut out = Output { schema: &self.schema, filter: self.filter.as_ref(), deltas: vec![], bytes: 0, errors };
        for (delta, keys) in self.left.key.of_deltas(left, out.errors)? {
            Matches::new(&delta, &self.right.rows, true).probe(&keys, &mut out)?;
            self.left.rows.apply(&delta.batch, delta.weights.as_deref(), &keys)?;
        }
        for (delta, keys) in self.right.key.of_deltas(right, out.errors)? {
            Matches::new(&delta, &self.left.rows, false).probe(&keys, &mut out)?;
            self.right.rows.apply(&delta.batch, delta.weights.as_deref(), &keys)?;
        }
        self.left.rows.settle()?;
        self.right.rows.settle()?;
        Ok(out.deltas)
    }

    fn save(&mut self, space: &Namespace, out: &mut dyn StateWriter) -> Result<()> {
        self.left.rows.save(&space.child(TAG_LEFT), out)?;
        self.right.rows.save(&space.child(TAG_RIGHT), out)
    }

    fn load(&mut self, space: &Namespace, state: &dyn StateReader) -> Result<()> {
        self.left.load(&space.child(TAG_LEFT), state)?;
        self.right.load(&space.child(TAG_RIGHT), state)
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

    /// The rows that can match anything, and their key hashes.
    fn of_deltas(&self, deltas: Vec<Delta>, errors: &mut RowErrors) -> Result<Vec<(Delta, Vec<u128>)>> {
        let mut out = Vec::with_capacity(deltas.len());
        for delta in deltas {
            for (delta, columns) in compute_rows(delta, errors, &|batch| self.columns(batch))? {
                out.push(self.matchable(delta, columns)?);
            }
        }
        Ok(out)
    }

    fn matchable(&self, mut delta: Delta, mut columns: Vec<ArrayRef>) -> Result<(Delta, Vec<u128>)> {
        let nulls =
            columns.iter().fold(None, |all, column| NullBuffer::union(all.as_ref(), column.logical_nulls().as_ref()));
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
    fn probe(mut self, keys: &[u128], out: &mut Output<'_>) -> Result<()> {
        for (row, key) in keys.iter().enumerate() {
            let mut slot = self.stored.first(*key);
            while slot != NONE {
                let weight = self.delta.weight(row).checked_mul(self.stored.weight(slot));
                self.weights.push(weight.ok_or_else(|| Error::Internal("a weight passed 2^63".into()))?);
                self.rows.push(row as u32);
                self.slots.push(slot);
                slot = self.stored.next(slot);
                if self.rows.len() == CHUNK_ROWS {
                    self.emit(out)?;
                }
            }
        }
        if self.rows.is_empty() { Ok(()) } else { self.emit(out) }
    }

    fn emit(&mut self, out: &mut Output<'_>) -> Result<()> {
        let rows = self.rows.len();
        let given = batch::take_columns(self.delta.batch.columns(), std::mem::take(&mut self.rows))?;
        let stored = self.stored.gather(&self.slots)?;
        self.slots.clear();
        let (mut columns, right) = if self.delta_is_left { (given, stored) } else { (stored, given) };
        columns.extend(right);
        let batch = batch::build(out.schema, columns, rows)?;
        out.push(with_weights(batch, std::mem::take(&mut self.weights)))
    }
}

/// The joined rows of one step.
struct Output<'a> {
    schema: &'a SchemaRef,
    filter: Option<&'a Expr>,
    deltas: Vec<Delta>,
    bytes: usize,
    errors: &'a mut RowErrors,
}

impl Output<'_> {
    /// Adds those joined rows that pass the filter.
    ///
    /// # Errors
    /// `Limit` when the step has more than [`STEP_BYTES_MAX`].
    fn push(&mut self, delta: Delta) -> Result<()> {
        let Some(filter) = self.filter else { return self.keep(delta) };
        for (delta, mask) in compute_rows(delta, self.errors, &|batch| evaluate_predicate(filter, batch))? {
            self.keep(filter_delta(delta, &mask)?)?;
        }
        Ok(())
    }

    fn keep(&mut self, delta: Delta) -> Result<()> {
        self.bytes += delta.bytes();
        if self.bytes > STEP_BYTES_MAX {
            return Err(Error::Limit(format!(
                "a join made more than {} MiB of rows from one batch of changes; join on a more selective key",
                STEP_BYTES_MAX >> 20
            )));
        }
        self.deltas.extend((delta.rows() > 0).then_some(delta));
        Ok(())
    }
}
