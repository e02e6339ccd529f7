//! Equi-join. Pairs are bilinear: `Δ(L ⋈ R) = ΔL ⋈ R⁻ + L⁺ ⋈ ΔR` with `L⁺ = L⁻ + ΔL`; weights multiply.
//!
//! So one tick is: probe the right side with the left deltas, apply them to the left side, probe the left side with the
//! right deltas, apply those. That is right for deltas in any order and for a join of an input with itself; nothing
//! needs to be consolidated first. Rows with a NULL key match nothing and are not even stored, unless NULL equals NULL.
//! Matches are gathered column-wise from the stored chunks, [`CHUNK_ROWS`] at a time, then the residual filter runs.
//!
//! All but inner joins also show rows *alone*, by whether they match (alone.rs). Each stored row of such a side has its
//! *degree*, the summed weight of the rows it matches. With `f(degree)` what a row shows alone, that side's part of the
//! result is `Σ w · f(degree)`, so a change of
//! ```text
//! the side itself    adds  w_Δ · f(degree of the changed row)              (found while probing the other side)
//! the other side     adds  w · (f(degree⁺) − f(degree⁻))  of stored rows   (those that the other's change matches)
//! ```
//! `f` asks only whether the degree is 0, so whatever order the deltas of a tick come in, the sums telescope. (Degrees
//! as in RisingWave's hash join.)

mod alone;

use crate::arrangement::{Arrangement, NONE, hash_keys};
use crate::batch::{self, CHUNK_ROWS};
use crate::consolidate::with_weights;
use crate::delta::Delta;
use crate::operator::{Operator, check_predicate, evaluate, evaluate_predicate, filter_delta, type_of};
use crate::plan::{Expr, JoinKind};
use crate::row_error::{RowErrors, compute_parts, compute_rows};
use crate::row_hash::RowHasher;
use crate::state::{Namespace, StateReader, StateWriter};
use crate::{Error, Result};
use alone::Alone;
use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use std::collections::HashMap;
use std::sync::Arc;

/// Bytes of joined rows that one step may make: they are held until the operators above have taken them.
const STEP_BYTES_MAX: usize = 1 << 30;
/// Pairs of rows of one key that one step may look at: seconds of work.
const STEP_PAIRS_MAX: usize = 1 << 28;
/// State tags of the two sides.
const TAG_LEFT: u8 = b'l';
const TAG_RIGHT: u8 = b'r';

#[derive(Debug)]
pub(crate) struct Join {
    left: Side,
    right: Side,
    form: Form,
}

/// What a join emits.
#[derive(Debug)]
struct Form {
    /// Whether pairs are shown; else they only count.
    shows_pairs: bool,
    filter: Option<Expr>,
    /// What the filter sees.
    pairs: SchemaRef,
    schema: SchemaRef,
}

/// One input of the join: its rows by key.
#[derive(Debug)]
struct Side {
    is_left: bool,
    rows: Arrangement,
    key: JoinKey,
    alone: Alone,
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
    pub kind: JoinKind,
    pub on: &'a [(Expr, Expr)],
    pub filter: Option<&'a Expr>,
    pub null_equals_null: bool,
    pub schema: &'a SchemaRef,
    pub seed: u64,
}

/// Columns of a left row and a right row.
pub(crate) fn pair_schema(left: &Schema, right: &Schema) -> Schema {
    Schema::new(left.fields().iter().chain(right.fields()).cloned().collect::<Vec<_>>())
}

impl Join {
    /// `left` and `right`: schema of the input and whether it is append-only.
    pub fn new(left: (SchemaRef, bool), right: (SchemaRef, bool), spec: &JoinSpec<'_>) -> Result<Join> {
        batch::check_schema(spec.schema)?;
        let pairs = Arc::new(pair_schema(&left.0, &right.0));
        if let Some(filter) = spec.filter {
            check_predicate(filter, &pairs)?;
        }
        let left_side = Side::new(true, &left, spec.on.iter().map(|(l, _)| l.clone()).collect(), spec)?;
        let right_side = Side::new(false, &right, spec.on.iter().map(|(_, r)| r.clone()).collect(), spec)?;
        if left_side.key.types != right_side.key.types {
            let (l, r) = (&left_side.key.types, &right_side.key.types);
            return Err(Error::Unsupported(format!("join keys differ in type: {l:?} and {r:?}; add a cast")));
        }
        let shows_pairs = !matches!(spec.kind, JoinKind::Semi | JoinKind::Anti | JoinKind::Mark);
        let form = Form { shows_pairs, filter: spec.filter.cloned(), pairs, schema: spec.schema.clone() };
        Ok(Join { left: left_side, right: right_side, form })
    }
}

impl Operator for Join {
    fn step(&mut self, inputs: Vec<Vec<Delta>>, errors: &mut RowErrors) -> Result<Vec<Delta>> {
        let [left, right] =
            <[Vec<Delta>; 2]>::try_from(inputs).map_err(|_| Error::Internal("a join has two inputs".into()))?;
        let mut out = Output { form: &self.form, deltas: vec![], bytes: 0, pairs_seen: 0, errors };
        change(&mut self.left, &mut self.right, left, &mut out)?;
        change(&mut self.right, &mut self.left, right, &mut out)?;
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

/// Applies the changes of `side` and emits what they change.
fn change(side: &mut Side, other: &mut Side, deltas: Vec<Delta>, out: &mut Output<'_>) -> Result<()> {
    for Keyed { delta, keys, unmatchable } in side.key.of_deltas(deltas, out.errors)? {
        if let Some(unmatchable) = unmatchable {
            side.alone.given(&unmatchable, &vec![0; unmatchable.rows()], out)?;
        }
        let (degrees, changes) = Matches::new(&delta, side, other).probe(&keys, out)?;
        side.alone.given(&delta, &degrees, out)?;
        other.change_degrees(changes, out)?;
        side.rows.apply_with_degrees(&delta.batch, delta.weights.as_deref(), &keys, &degrees)?;
    }
    Ok(())
}

impl Side {
    fn new(is_left: bool, input: &(SchemaRef, bool), exprs: Vec<Expr>, spec: &JoinSpec<'_>) -> Result<Side> {
        let (schema, append_only) = input;
        batch::check_schema(schema)?;
        let types = exprs.iter().map(|expr| type_of(expr, schema)).collect::<Result<_>>()?;
        let hasher = RowHasher::new(spec.seed);
        let key = JoinKey { exprs, types, null_equals_null: spec.null_equals_null, hasher };
        let alone = Alone::new(spec.kind, is_left);
        let rows = Arrangement::new(schema.clone(), *append_only, true, spec.seed);
        let rows = if alone.counts() { rows.with_degrees() } else { rows };
        Ok(Side { is_left, rows, key, alone })
    }

    /// Adds to the degrees of stored rows and shows what that changes.
    fn change_degrees(&mut self, changes: Vec<(u32, i64)>, out: &mut Output<'_>) -> Result<()> {
        let (mut matched, mut unmatched) = (vec![], vec![]);
        for (slot, change) in changes {
            let before = self.rows.degree(slot);
            let after = sum(before, change)?;
            self.rows.set_degree(slot, before, after);
            match (before == 0, after == 0) {
                (true, false) => matched.push(slot),
                (false, true) => unmatched.push(slot),
                _ => {}
            }
        }
        self.alone.turned(&self.rows, &matched, true, out)?;
        self.alone.turned(&self.rows, &unmatched, false, out)
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

    /// The rows with their key hashes; those that no row can match apart.
    fn of_deltas(&self, deltas: Vec<Delta>, errors: &mut RowErrors) -> Result<Vec<Keyed>> {
        let mut out = Vec::with_capacity(deltas.len());
        for delta in deltas {
            for (delta, columns) in compute_rows(delta, errors, &|batch| self.columns(batch))? {
                out.push(self.keyed(delta, columns)?);
            }
        }
        Ok(out)
    }

    fn keyed(&self, mut delta: Delta, mut columns: Vec<ArrayRef>) -> Result<Keyed> {
        let nulls =
            columns.iter().fold(None, |all, column| NullBuffer::union(all.as_ref(), column.logical_nulls().as_ref()));
        let mut unmatchable = None;
        if let Some(nulls) = nulls.filter(|nulls| !self.null_equals_null && nulls.null_count() > 0) {
            let without = BooleanArray::new(!nulls.inner(), None);
            unmatchable = Some(filter_delta(delta.clone(), &without)?);
            let mask = BooleanArray::new(nulls.into_inner(), None);
            columns = columns.iter().map(|c| Ok(arrow::compute::filter(c, &mask)?)).collect::<Result<_>>()?;
            delta = filter_delta(delta, &mask)?;
        }
        let keys = hash_keys(&self.hasher, columns, delta.rows())?;
        Ok(Keyed { delta, keys, unmatchable })
    }
}

/// Changed rows, with a key hash each.
struct Keyed {
    delta: Delta,
    keys: Vec<u128>,
    /// Those with a NULL in their key.
    unmatchable: Option<Delta>,
}

/// Pairs of a delta's rows and stored rows of the other side, not emitted yet.
struct Matches<'a> {
    delta: &'a Delta,
    stored: &'a Arrangement,
    delta_is_left: bool,
    rows: Vec<u32>,
    slots: Vec<u32>,
    weights: Vec<i64>,
    /// Degrees of the delta's rows; empty when nobody asks.
    degrees: Vec<i64>,
    /// What the degrees of stored rows change by; `None` when nobody asks.
    changes: Option<HashMap<u32, i64>>,
}

impl<'a> Matches<'a> {
    fn new(delta: &'a Delta, side: &Side, other: &'a Side) -> Matches<'a> {
        Matches {
            delta,
            stored: &other.rows,
            delta_is_left: side.is_left,
            rows: vec![],
            slots: vec![],
            weights: vec![],
            degrees: if side.alone.counts() { vec![0; delta.rows()] } else { vec![] },
            changes: other.alone.counts().then(HashMap::new),
        }
    }

    /// Emits all pairs of equal keys. Returns the degrees of the delta's rows and, by slot, what those of stored rows
    /// change by.
    fn probe(mut self, keys: &[u128], out: &mut Output<'_>) -> Result<(Vec<i64>, Vec<(u32, i64)>)> {
        if !out.form.shows_pairs && out.form.filter.is_none() {
            return self.count_keys(keys, out);
        }
        for (row, key) in keys.iter().enumerate() {
            let mut slot = self.stored.first(*key);
            while slot != NONE {
                let weight = self.delta.weight(row).checked_mul(self.stored.weight(slot));
                self.weights.push(weight.ok_or_else(weight_overflow)?);
                self.rows.push(row as u32);
                self.slots.push(slot);
                slot = self.stored.next(slot);
                if self.rows.len() == CHUNK_ROWS {
                    self.emit(out)?;
                }
            }
        }
        if !self.rows.is_empty() {
            self.emit(out)?;
        }
        let mut changes: Vec<(u32, i64)> = self.changes.into_iter().flatten().collect();
        changes.sort_unstable();
        Ok((self.degrees, changes))
    }

    /// [`Matches::probe`] where only degrees matter and only keys decide: once for each key, not for each pair.
    fn count_keys(mut self, keys: &[u128], out: &mut Output<'_>) -> Result<(Vec<i64>, Vec<(u32, i64)>)> {
        let mut rows: Vec<usize> = (0..keys.len()).collect();
        rows.sort_unstable_by_key(|row| keys[*row]);
        let mut changes = vec![];
        for rows in rows.chunk_by(|a, b| keys[*a] == keys[*b]) {
            let change = rows.iter().try_fold(0, |total, row| sum(total, self.delta.weight(*row)))?;
            let (mut slot, mut degree) = (self.stored.first(keys[rows[0]]), 0);
            while slot != NONE {
                degree = sum(degree, self.stored.weight(slot))?;
                if self.changes.is_some() {
                    changes.push((slot, change));
                }
                out.see_pairs(1)?;
                slot = self.stored.next(slot);
            }
            if !self.degrees.is_empty() {
                rows.iter().for_each(|row| self.degrees[*row] = degree);
            }
        }
        changes.sort_unstable();
        Ok((self.degrees, changes))
    }

    fn emit(&mut self, out: &mut Output<'_>) -> Result<()> {
        out.see_pairs(self.rows.len())?;
        let (rows, slots) = (std::mem::take(&mut self.rows), std::mem::take(&mut self.slots));
        let given = batch::take_columns(self.delta.batch.columns(), rows.clone())?;
        let stored = self.stored.gather(&slots)?;
        let (mut columns, right) = if self.delta_is_left { (given, stored) } else { (stored, given) };
        columns.extend(right);
        let batch = batch::build(&out.form.pairs, columns, rows.len())?;
        let pairs = with_weights(batch, std::mem::take(&mut self.weights));
        let Some(filter) = &out.form.filter else {
            rows.iter().zip(&slots).try_for_each(|(row, slot)| self.count(*row, *slot))?;
            return out.pairs(pairs);
        };
        for (first, part, mask) in compute_parts(pairs, out.errors, &|batch| evaluate_predicate(filter, batch))? {
            let mut passing = mask.values().set_indices().map(|at| first + at);
            passing.try_for_each(|at| self.count(rows[at], slots[at]))?;
            out.pairs(filter_delta(part, &mask)?)?;
        }
        Ok(())
    }

    /// Notes that a row of the delta and a stored one match.
    fn count(&mut self, row: u32, slot: u32) -> Result<()> {
        if let Some(degree) = self.degrees.get_mut(row as usize) {
            *degree = sum(*degree, self.stored.weight(slot))?;
        }
        if let Some(changes) = &mut self.changes {
            let change = changes.entry(slot).or_default();
            *change = sum(*change, self.delta.weight(row as usize))?;
        }
        Ok(())
    }
}

/// The joined rows of one step.
struct Output<'a> {
    form: &'a Form,
    deltas: Vec<Delta>,
    bytes: usize,
    pairs_seen: usize,
    errors: &'a mut RowErrors,
}

impl Output<'_> {
    /// # Errors
    /// `Limit` when the step has looked at more than [`STEP_PAIRS_MAX`].
    fn see_pairs(&mut self, pairs: usize) -> Result<()> {
        self.pairs_seen += pairs;
        match self.pairs_seen > STEP_PAIRS_MAX {
            false => Ok(()),
            true => Err(Error::Limit(format!(
                "a join compared more than {} million pairs of rows for one batch of changes; join on an equality, or on a \
                 more selective key",
                STEP_PAIRS_MAX / 1_000_000
            ))),
        }
    }

    /// Adds pairs that pass the filter.
    ///
    /// # Errors
    /// `Limit` when the step has more than [`STEP_BYTES_MAX`].
    fn pairs(&mut self, pairs: Delta) -> Result<()> {
        if !self.form.shows_pairs {
            return Ok(());
        }
        let (rows, columns) = (pairs.rows(), pairs.batch.columns().to_vec());
        let batch = batch::build(&self.form.schema, columns, rows)?;
        self.keep(Delta { batch, weights: pairs.weights })
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

fn sum(a: i64, b: i64) -> Result<i64> {
    a.checked_add(b).ok_or_else(weight_overflow)
}

fn weight_overflow() -> Error {
    Error::Internal("a weight passed 2^63".into())
}
