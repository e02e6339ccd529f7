//! What one aggregate call keeps per group, and the call around it: argument, FILTER, NULLs.
//!
//! Accumulators are linear in signed rows (`acc(A + B) = acc(A) + acc(B)`), so the deltas of a tick may come in any
//! order and cancel; only [`Accumulator::evaluate`], at the end of the tick, is not linear.

use super::count::Count;
use super::distinct::Distinct;
use super::min_max::MinMax;
use super::sum::{FloatSum, IntegerSum};
use crate::operator::{evaluate, evaluate_predicate, type_of};
use crate::plan::{Aggregate, AggregateKind, Expr};
use crate::state::{Cursor, Namespace, StateReader, StateWriter};
use crate::{Error, Result, batch};
use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, new_null_array};
use arrow::compute::filter;
use arrow::datatypes::{DataType, SchemaRef};
use std::fmt::Debug;

/// Signed rows for an accumulator: row `i` goes to group `slots[i]`. No argument is NULL.
pub(crate) struct Update<'a> {
    pub slots: &'a [u32],
    /// One weight per row; `None` = all `+1`.
    pub weights: Option<&'a [i64]>,
    /// `None` for `count(*)`.
    pub argument: Option<&'a ArrayRef>,
}

impl Update<'_> {
    pub fn weight(&self, row: usize) -> i64 {
        self.weights.map_or(1, |weights| weights[row])
    }

    /// The argument of a call that has one.
    pub fn argument(&self) -> Result<&ArrayRef> {
        self.argument.ok_or_else(|| Error::Internal("an aggregate call has no argument".into()))
    }
}

/// One aggregate's state for all groups, by slot.
pub(crate) trait Accumulator: Send + Debug {
    /// Makes slots `0..slots` exist, new ones empty.
    fn grow(&mut self, slots: usize);

    fn update(&mut self, update: &Update<'_>) -> Result<()>;

    /// Ends a tick.
    ///
    /// # Errors
    /// `Internal` when more was retracted than inserted.
    fn settle(&self) -> Result<()> {
        Ok(())
    }

    /// The results of these groups, none of them half-way through a tick.
    ///
    /// # Errors
    /// `Compute` on overflow; `Internal` when more was retracted than inserted.
    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef>;

    /// Empties the slot of a group that is gone.
    fn reset(&mut self, slot: u32);

    /// Appends what belongs into the group's own record.
    fn encode(&self, slot: u32, out: &mut Vec<u8>);

    /// Reads what [`Accumulator::encode`] wrote.
    fn decode(&mut self, slot: u32, cursor: &mut Cursor<'_>) -> Result<()>;

    /// Writes changed records that are kept per (group, value).
    fn save(&mut self, _space: &Namespace, _out: &mut dyn StateWriter) {}

    /// Reads those records back, after the groups' own.
    fn load(&mut self, _space: &Namespace, _state: &dyn StateReader) -> Result<()> {
        Ok(())
    }
}

/// An aggregate call: what to feed its accumulator.
#[derive(Debug)]
pub(crate) struct Call {
    argument: Option<(Expr, DataType)>,
    filter: Option<Expr>,
    output_type: DataType,
    pub accumulator: Box<dyn Accumulator>,
}

impl Call {
    /// `input`: schema of the rows and whether they are append-only.
    pub fn new(aggregate: &Aggregate, input: &(SchemaRef, bool), seed: u64) -> Result<Call> {
        let (schema, append_only) = input;
        batch::check_type(&aggregate.output_type)?;
        let argument = match &aggregate.argument {
            Some(expr) => Some((expr.clone(), fed_type(aggregate, type_of(expr, schema)?))),
            None => None,
        };
        let fed = argument.as_ref().map(|(_, data_type)| data_type);
        let accumulator = accumulator(aggregate, fed, *append_only, seed)?;
        Ok(Call { argument, filter: aggregate.filter.clone(), output_type: aggregate.output_type.clone(), accumulator })
    }

    /// Computes what the rows of `batch` that pass FILTER and whose argument is not NULL feed.
    pub fn read(&self, batch: &RecordBatch) -> Result<Fed> {
        let passing = match &self.filter {
            Some(predicate) => {
                Some(evaluate_predicate(predicate, batch)?).filter(|mask| mask.true_count() < mask.len())
            }
            None => None,
        };
        let Some((expr, data_type)) = &self.argument else {
            return Ok(Fed { rows: passing.map(|mask| set_rows(&mask)), argument: None });
        };
        let argument = match &passing {
            Some(mask) => evaluate(expr, &arrow::compute::filter_record_batch(batch, mask)?, data_type)?,
            None => evaluate(expr, batch, data_type)?,
        };
        let rows = passing.map(|mask| set_rows(&mask));
        let Some(nulls) = argument.logical_nulls().filter(|nulls| nulls.null_count() > 0) else {
            return Ok(Fed { rows, argument: Some(argument) });
        };
        let given = BooleanArray::new(nulls.into_inner(), None);
        let rows = rows.map_or_else(|| set_rows(&given), |rows| set_rows(&given).iter().map(|at| rows[*at]).collect());
        Ok(Fed { rows: Some(rows), argument: Some(filter(&argument, &given)?) })
    }

    /// Feeds what was read off a batch whose rows belong to `slots`.
    pub fn update(&mut self, fed: &Fed, slots: &[u32], weights: Option<&[i64]>) -> Result<()> {
        let argument = fed.argument.as_ref();
        let Some(rows) = &fed.rows else {
            return self.accumulator.update(&Update { slots, weights, argument });
        };
        let slots: Vec<u32> = rows.iter().map(|row| slots[*row]).collect();
        let weights: Option<Vec<i64>> = weights.map(|weights| rows.iter().map(|row| weights[*row]).collect());
        self.accumulator.update(&Update { slots: &slots, weights: weights.as_deref(), argument })
    }

    /// A NULL as the plan types the result.
    pub fn null(&self) -> ArrayRef {
        new_null_array(&self.output_type, 1)
    }

    /// The results of these groups, as the plan types them.
    pub fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        batch::conform(self.accumulator.evaluate(slots)?, &self.output_type)
    }
}

/// What a batch feeds an accumulator.
#[derive(Debug)]
pub(crate) struct Fed {
    /// The rows that count; `None` = all.
    rows: Option<Vec<usize>>,
    /// Their values.
    argument: Option<ArrayRef>,
}

fn set_rows(mask: &BooleanArray) -> Vec<usize> {
    mask.values().set_indices().collect()
}

/// What the argument is cast to before it is fed: sums and averages compute in their result's kind of number.
fn fed_type(aggregate: &Aggregate, argument: DataType) -> DataType {
    match (aggregate.kind, &aggregate.output_type) {
        (AggregateKind::Sum | AggregateKind::Avg, DataType::Int64 | DataType::Float64) => aggregate.output_type.clone(),
        _ => argument,
    }
}

fn accumulator(
    aggregate: &Aggregate,
    fed: Option<&DataType>,
    append_only: bool,
    seed: u64,
) -> Result<Box<dyn Accumulator>> {
    let output = &aggregate.output_type;
    let plain: Box<dyn Accumulator> = match (aggregate.kind, fed, output) {
        (AggregateKind::Count, _, DataType::Int64) => Box::new(Count::default()),
        (AggregateKind::Sum, Some(DataType::Int64), DataType::Int64) => Box::new(IntegerSum::bigint()),
        (AggregateKind::Sum, Some(DataType::Decimal128(_, from)), DataType::Decimal128(precision, to))
            if from == to =>
        {
            Box::new(IntegerSum::decimal(*precision, *to))
        }
        (AggregateKind::Avg, Some(DataType::Decimal128(_, from)), DataType::Decimal128(precision, to))
            if from <= to =>
        {
            Box::new(IntegerSum::decimal_average(*from, *precision, *to))
        }
        (AggregateKind::Sum, Some(DataType::Float64), DataType::Float64) => Box::new(FloatSum::sum()),
        (AggregateKind::Avg, Some(DataType::Float64), DataType::Float64) => Box::new(FloatSum::average()),
        (AggregateKind::Min | AggregateKind::Max, Some(fed), _) => {
            // DISTINCT changes nothing here.
            return MinMax::boxed(aggregate.kind == AggregateKind::Max, fed, append_only);
        }
        (kind, fed, output) => {
            let name = format!("{kind:?}").to_lowercase();
            let of = fed.map_or("*".to_string(), ToString::to_string);
            let message = format!("{name}({of}) giving {output} is not supported in materialized views");
            return Err(Error::Unsupported(message));
        }
    };
    match (aggregate.distinct, fed) {
        (false, _) => Ok(plain),
        (true, Some(_)) => Ok(Box::new(Distinct::new(plain, seed))),
        (true, None) => Err(Error::Unsupported("count(DISTINCT *) is not supported".into())),
    }
}
