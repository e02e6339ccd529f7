//! Sums of integers and numerics in 128 bits, checked: of one group, which can also forget rows, and of many.
//!
//! The state between the stages of an aggregation is the sum with the result's scale. It may have more digits than its
//! type says (a sum of many large values that later ones bring down again); only the result is held against its type.

use crate::error::{Error, Result};
use crate::types::name_of;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Int64Array, ListArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Field, Int32Type, Int64Type};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};
use std::collections::HashMap;
use std::sync::Arc;

/// Precision of the state: as many digits as there are.
const STATE_PRECISION: u8 = 38;

fn plain_state(result: &DataType) -> DataType {
    match result {
        DataType::Decimal128(_, scale) => DataType::Decimal128(STATE_PRECISION, *scale),
        _ => DataType::Decimal128(STATE_PRECISION, 0),
    }
}

fn out_of_range(result: &DataType) -> Error {
    match result {
        DataType::Int64 => Error::new("22003", format!("{} out of range", name_of(result))),
        _ => Error::new("22003", "value overflows numeric format"),
    }
}

/// The values as units of the result's scale.
fn units(values: &ArrayRef) -> DataFusionResult<Decimal128Array> {
    Ok(match values.data_type() {
        DataType::Int32 => values.as_primitive::<Int32Type>().unary(i128::from),
        DataType::Int64 => values.as_primitive::<Int64Type>().unary(i128::from),
        DataType::Decimal128(..) => values.as_primitive::<Decimal128Type>().clone(),
        other => cast(values, &plain_state(other))?.as_primitive::<Decimal128Type>().clone(),
    })
}

/// Sums as values of the result's type.
fn results(sums: Vec<Option<i128>>, result: &DataType) -> Result<ArrayRef> {
    match result {
        DataType::Decimal128(precision, scale) => {
            let array = Decimal128Array::from(sums).with_precision_and_scale(*precision, *scale)?;
            array.validate_decimal_precision(*precision).map_err(|_| out_of_range(result))?;
            Ok(Arc::new(array))
        }
        _ => {
            let narrow =
                |sum: Option<i128>| sum.map(|s| i64::try_from(s).map_err(|_| out_of_range(result))).transpose();
            Ok(Arc::new(sums.into_iter().map(narrow).collect::<Result<Int64Array>>()?))
        }
    }
}

fn states(sums: Vec<Option<i128>>, result: &DataType) -> Result<ArrayRef> {
    Ok(Arc::new(Decimal128Array::from(sums).with_data_type(plain_state(result))))
}

/// The sum of one group.
#[derive(Debug)]
pub(super) struct Total {
    sum: i128,
    rows: u64,
    /// How often each value came, if each counts once.
    distinct: Option<HashMap<i128, u64>>,
    result: DataType,
}

impl Total {
    pub(super) fn new(result: &DataType, distinct: bool) -> Total {
        Total { sum: 0, rows: 0, distinct: distinct.then(HashMap::new), result: result.clone() }
    }

    pub(super) fn state_type(result: &DataType, distinct: bool) -> DataType {
        match distinct {
            true => DataType::List(Arc::new(Field::new_list_field(plain_state(result), true))),
            false => plain_state(result),
        }
    }

    fn add(&mut self, value: i128) -> Result<()> {
        if let Some(seen) = &mut self.distinct {
            let count = seen.entry(value).or_default();
            *count += 1;
            if *count > 1 {
                return Ok(());
            }
        }
        self.rows += 1;
        self.sum = self.sum.checked_add(value).ok_or_else(|| out_of_range(&self.result))?;
        Ok(())
    }

    fn subtract(&mut self, value: i128) -> Result<()> {
        if let Some(seen) = &mut self.distinct {
            match seen.get_mut(&value) {
                Some(count) if *count > 1 => {
                    *count -= 1;
                    return Ok(());
                }
                _ => _ = seen.remove(&value),
            }
        }
        self.rows -= 1;
        self.sum = self.sum.checked_sub(value).ok_or_else(|| out_of_range(&self.result))?;
        Ok(())
    }

    fn sum(&self) -> Option<i128> {
        (self.rows > 0).then_some(self.sum)
    }
}

impl Accumulator for Total {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        Ok(units(&values[0])?.iter().flatten().try_for_each(|value| self.add(value))?)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        Ok(units(&values[0])?.iter().flatten().try_for_each(|value| self.subtract(value))?)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        ScalarValue::try_from_array(&results(vec![self.sum()], &self.result)?, 0)
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        let Some(seen) = &self.distinct else {
            return Ok(vec![ScalarValue::try_from_array(&states(vec![self.sum()], &self.result)?, 0)?]);
        };
        let mut values: Vec<i128> = seen.keys().copied().collect();
        values.sort_unstable();
        let values = states(values.into_iter().map(Some).collect(), &self.result)?;
        Ok(vec![SingleRowListArrayBuilder::new(values).build_list_scalar()])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        if self.distinct.is_none() {
            return self.update_batch(states);
        }
        let lists: &ListArray = states[0].as_list::<i32>();
        for list in lists.iter().flatten() {
            let values = list.as_primitive::<Decimal128Type>();
            values.iter().flatten().try_for_each(|value| self.add(value))?;
        }
        Ok(())
    }

    fn size(&self) -> usize {
        let seen = self.distinct.as_ref().map_or(0, |seen| seen.capacity() * size_of::<(i128, u64)>());
        size_of_val(self) + seen
    }
}

/// The sums of many groups.
#[derive(Debug)]
pub(super) struct Totals {
    sums: Vec<i128>,
    /// Groups that have had a value.
    seen: Vec<bool>,
    result: DataType,
}

impl Totals {
    pub(super) fn new(result: &DataType) -> Totals {
        Totals { sums: Vec::new(), seen: Vec::new(), result: result.clone() }
    }

    fn take(&mut self, emit_to: EmitTo) -> Vec<Option<i128>> {
        let sums = emit_to.take_needed(&mut self.sums);
        let seen = emit_to.take_needed(&mut self.seen);
        sums.into_iter().zip(seen).map(|(sum, seen)| seen.then_some(sum)).collect()
    }
}

impl GroupsAccumulator for Totals {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        groups: usize,
    ) -> DataFusionResult<()> {
        self.sums.resize(groups, 0);
        self.seen.resize(groups, false);
        let units = units(&values[0])?;
        for (row, (group, value)) in group_indices.iter().zip(units.values()).enumerate() {
            if units.is_null(row) || filter.is_some_and(|filter| filter.is_null(row) || !filter.value(row)) {
                continue;
            }
            self.seen[*group] = true;
            self.sums[*group] = self.sums[*group].checked_add(*value).ok_or_else(|| out_of_range(&self.result))?;
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> DataFusionResult<ArrayRef> {
        let sums = self.take(emit_to);
        Ok(results(sums, &self.result)?)
    }

    fn state(&mut self, emit_to: EmitTo) -> DataFusionResult<Vec<ArrayRef>> {
        let sums = self.take(emit_to);
        Ok(vec![states(sums, &self.result)?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef], group_indices: &[usize], groups: usize) -> DataFusionResult<()> {
        self.update_batch(states, group_indices, None, groups)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> DataFusionResult<Vec<ArrayRef>> {
        let units = units(&values[0])?;
        let counts = |row: usize| filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
        let kept = units.iter().enumerate().map(|(row, value)| value.filter(|_| counts(row))).collect();
        Ok(vec![states(kept, &self.result)?])
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<i128>() + self.seen.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_do_not_wrap() {
        let greatest = 10i128.pow(38) - 1;
        let numeric = DataType::Decimal128(38, 0);
        let values = |values: Vec<i128>| -> ArrayRef {
            Arc::new(Decimal128Array::from(values).with_data_type(DataType::Decimal128(38, 0)))
        };
        let mut total = Total::new(&numeric, false);
        total.update_batch(&[values(vec![greatest, 1])]).unwrap();
        assert_eq!(Error::from(total.evaluate().unwrap_err()).sqlstate, "22003");
        total.retract_batch(&[values(vec![1])]).unwrap();
        assert_eq!(total.evaluate().unwrap(), ScalarValue::Decimal128(Some(greatest), 38, 0));
        assert_eq!(Error::from(total.update_batch(&[values(vec![greatest])]).unwrap_err()).sqlstate, "22003");

        let mut totals = Totals::new(&DataType::Int64);
        let wide: ArrayRef = Arc::new(Int64Array::from(vec![Some(i64::MAX), Some(1), Some(-1), None]));
        totals.update_batch(&[wide], &[0, 0, 1, 2], None, 3).unwrap();
        assert!(totals.evaluate(EmitTo::First(1)).is_err());
        let rest = totals.evaluate(EmitTo::All).unwrap();
        assert_eq!(rest.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(-1), None]);
    }

    #[test]
    fn distinct_values_count_once() {
        let mut total = Total::new(&DataType::Int64, true);
        let values: ArrayRef = Arc::new(Int64Array::from(vec![5, 5, 7]));
        total.update_batch(&[values.clone()]).unwrap();
        assert_eq!(total.evaluate().unwrap(), ScalarValue::Int64(Some(12)));
        let state = total.state().unwrap();
        let mut merged = Total::new(&DataType::Int64, true);
        let state = state[0].to_array().unwrap();
        merged.merge_batch(&[state.clone(), state.clone()][..1]).unwrap();
        merged.merge_batch(&[state]).unwrap();
        assert_eq!(merged.evaluate().unwrap(), ScalarValue::Int64(Some(12)));
    }
}
