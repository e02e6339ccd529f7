//! `sum` and `avg`: a sum and a count of non-NULL values; NULL when there are none.
//!
//! Integers and decimals are summed in `i128` with the wraps counted, so the sum is exact whatever the order; a result
//! that does not fit its type is an error (DataFusion wraps; Postgres errors). `avg` of a decimal truncates at four more
//! digits than its argument has, and errors when the result passes its precision, as DataFusion's does. Floats are
//! summed exactly (`exact_sum.rs`); `avg` is that sum, rounded, divided by the count.

use super::accumulator::{Accumulator, Update};
use super::exact_sum::ExactSum;
use crate::state::{Cursor, damaged};
use crate::{Error, Result};
use arrow::array::{ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array};
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type, i256};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the result of an exact integer sum is.
#[derive(Clone, Copy, Debug)]
enum Finish {
    Bigint,
    Decimal {
        precision: u8,
        scale: i8,
    },
    /// `sum · multiplier / count`.
    DecimalAverage {
        multiplier: i128,
        precision: u8,
        scale: i8,
    },
}

/// Sums of integers and decimals.
#[derive(Debug)]
pub(crate) struct IntegerSum {
    finish: Finish,
    sums: Vec<i128>,
    counts: Vec<i64>,
    /// How often a slot's sum wrapped upwards, less how often downwards; empty but for sums near 2¹²⁷.
    wraps: BTreeMap<u32, i64>,
}

impl IntegerSum {
    pub fn bigint() -> IntegerSum {
        IntegerSum::new(Finish::Bigint)
    }

    pub fn decimal(precision: u8, scale: i8) -> IntegerSum {
        IntegerSum::new(Finish::Decimal { precision, scale })
    }

    /// `from`: scale of the argument; `precision` and `scale` are the result's.
    pub fn decimal_average(from: i8, precision: u8, scale: i8) -> IntegerSum {
        let multiplier = 10i128.pow(u32::try_from(scale - from).unwrap_or(0));
        IntegerSum::new(Finish::DecimalAverage { multiplier, precision, scale })
    }

    fn new(finish: Finish) -> IntegerSum {
        IntegerSum { finish, sums: vec![], counts: vec![], wraps: BTreeMap::new() }
    }

    fn add_all<T: Copy + Into<i128>>(&mut self, values: &[T], update: &Update<'_>) {
        match update.weights {
            None => update.slots.iter().zip(values).for_each(|(slot, value)| self.add(*slot, (*value).into(), 1)),
            Some(weights) => {
                let rows = update.slots.iter().zip(values).zip(weights);
                rows.for_each(|((slot, value), weight)| self.add(*slot, (*value).into(), *weight));
            }
        }
    }

    #[inline]
    fn add(&mut self, slot: u32, value: i128, weight: i64) {
        self.counts[slot as usize] += weight;
        match value.checked_mul(i128::from(weight)) {
            Some(product) => self.add_product(slot, product),
            // A product past 2^127 is added in parts; there are at most |weight| of them.
            None => {
                self.counts[slot as usize] -= weight;
                self.add(slot, value, weight / 2);
                self.add(slot, value, weight - weight / 2);
            }
        }
    }

    #[inline]
    fn add_product(&mut self, slot: u32, product: i128) {
        let (sum, wrapped) = self.sums[slot as usize].overflowing_add(product);
        self.sums[slot as usize] = sum;
        if wrapped {
            let wraps = self.wraps.entry(slot).or_default();
            *wraps += if product > 0 { 1 } else { -1 };
            if *wraps == 0 {
                self.wraps.remove(&slot);
            }
        }
    }

    /// The sum of a group; `None` when it has no values.
    fn total(&self, slot: u32) -> Result<Option<i128>> {
        if self.counts[slot as usize] == 0 {
            return Ok(None);
        }
        if self.wraps.contains_key(&slot) { Err(overflow()) } else { Ok(Some(self.sums[slot as usize])) }
    }

    fn decimal_of(&self, slot: u32, precision: u8, compute: impl Fn(i128) -> Option<i128>) -> Result<Option<i128>> {
        let Some(sum) = self.total(slot)? else { return Ok(None) };
        let limit = 10u128.checked_pow(u32::from(precision)).unwrap_or(u128::MAX);
        compute(sum).filter(|value| value.unsigned_abs() < limit).map(Some).ok_or_else(overflow)
    }
}

impl Accumulator for IntegerSum {
    fn grow(&mut self, slots: usize) {
        self.sums.resize(slots, 0);
        self.counts.resize(slots, 0);
    }

    fn update(&mut self, update: &Update<'_>) -> Result<()> {
        let argument = update.argument()?;
        match argument.data_type() {
            DataType::Int64 => self.add_all(argument.as_primitive::<Int64Type>().values(), update),
            DataType::Decimal128(..) => self.add_all(argument.as_primitive::<Decimal128Type>().values(), update),
            other => return Err(Error::Internal(format!("cannot sum {other} as integers"))),
        }
        Ok(())
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        let decimals = |precision, scale, compute: &dyn Fn(u32, i128) -> Option<i128>| -> Result<ArrayRef> {
            let values = slots.iter().map(|slot| self.decimal_of(*slot, precision, |sum| compute(*slot, sum)));
            let values: Result<Decimal128Array> = values.collect();
            Ok(Arc::new(values?.with_precision_and_scale(precision, scale)?))
        };
        match self.finish {
            Finish::Bigint => {
                let fit = |sum: i128| i64::try_from(sum).map_err(|_| Error::Compute("bigint out of range".into()));
                let values = slots.iter().map(|slot| self.total(*slot)?.map(fit).transpose());
                Ok(Arc::new(values.collect::<Result<Int64Array>>()?))
            }
            Finish::Decimal { precision, scale } => decimals(precision, scale, &|_, sum| Some(sum)),
            Finish::DecimalAverage { multiplier, precision, scale } => {
                decimals(precision, scale, &|slot, sum| divide(sum, multiplier, i128::from(self.counts[slot as usize])))
            }
        }
    }

    fn reset(&mut self, slot: u32) {
        self.sums[slot as usize] = 0;
        self.counts[slot as usize] = 0;
        self.wraps.remove(&slot);
    }

    fn encode(&self, slot: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.counts[slot as usize].to_le_bytes());
        out.extend_from_slice(&self.sums[slot as usize].to_le_bytes());
        out.extend_from_slice(&self.wraps.get(&slot).copied().unwrap_or(0).to_le_bytes());
    }

    fn decode(&mut self, slot: u32, cursor: &mut Cursor<'_>) -> Result<()> {
        self.counts[slot as usize] = cursor.i64()?;
        self.sums[slot as usize] = cursor.i128()?;
        let wraps = cursor.i64()?;
        self.wraps.extend((wraps != 0).then_some((slot, wraps)));
        Ok(())
    }
}

/// `sum · multiplier / count`, truncated; `None` when it does not fit.
fn divide(sum: i128, multiplier: i128, count: i128) -> Option<i128> {
    match sum.checked_mul(multiplier) {
        Some(product) => product.checked_div(count),
        None => {
            let product = i256::from_i128(sum).checked_mul(i256::from_i128(multiplier))?;
            product.checked_div(i256::from_i128(count))?.to_i128()
        }
    }
}

fn overflow() -> Error {
    Error::Compute("numeric field overflow: the result of sum or avg has too many digits".into())
}

/// Sums of floats.
#[derive(Debug)]
pub(crate) struct FloatSum {
    average: bool,
    sums: Vec<ExactSum>,
    counts: Vec<i64>,
}

impl FloatSum {
    pub fn sum() -> FloatSum {
        FloatSum { average: false, sums: vec![], counts: vec![] }
    }

    pub fn average() -> FloatSum {
        FloatSum { average: true, sums: vec![], counts: vec![] }
    }
}

impl Accumulator for FloatSum {
    fn grow(&mut self, slots: usize) {
        self.sums.resize(slots, ExactSum::default());
        self.counts.resize(slots, 0);
    }

    fn update(&mut self, update: &Update<'_>) -> Result<()> {
        let values = update.argument()?.as_primitive_opt::<Float64Type>();
        let values = values.ok_or_else(|| Error::Internal("a float sum was fed something else".into()))?.values();
        for (row, (slot, value)) in update.slots.iter().zip(values).enumerate() {
            let weight = update.weight(row);
            self.counts[*slot as usize] += weight;
            self.sums[*slot as usize].add(*value, weight);
        }
        Ok(())
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        let result = |slot: &u32| {
            let count = self.counts[*slot as usize];
            let divisor = if self.average { count as f64 } else { 1.0 };
            (count != 0).then(|| self.sums[*slot as usize].value() / divisor)
        };
        Ok(Arc::new(slots.iter().map(result).collect::<Float64Array>()))
    }

    fn reset(&mut self, slot: u32) {
        self.sums[slot as usize] = ExactSum::default();
        self.counts[slot as usize] = 0;
    }

    fn encode(&self, slot: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.counts[slot as usize].to_le_bytes());
        self.sums[slot as usize].encode(out);
    }

    fn decode(&mut self, slot: u32, cursor: &mut Cursor<'_>) -> Result<()> {
        self.counts[slot as usize] = cursor.i64()?;
        if self.counts[slot as usize] < 0 {
            return Err(damaged("a count is negative"));
        }
        self.sums[slot as usize] = ExactSum::decode(cursor)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(values: Vec<i128>) -> ArrayRef {
        Arc::new(Decimal128Array::from(values).with_precision_and_scale(38, 2).unwrap())
    }

    #[test]
    fn a_sum_that_wraps_on_the_way_is_still_exact() {
        let huge = 10i128.pow(38) - 1;
        let mut sum = IntegerSum::decimal(38, 2);
        sum.grow(1);
        let argument = decimal(vec![huge, huge, huge, -huge, -huge]);
        sum.update(&Update { slots: &[0; 5], weights: None, argument: Some(&argument) }).unwrap();
        assert_eq!(sum.evaluate(&[0]).unwrap().as_primitive::<Decimal128Type>().value(0), huge);
        let more = decimal(vec![huge]);
        sum.update(&Update { slots: &[0], weights: Some(&[3]), argument: Some(&more) }).unwrap();
        assert!(matches!(sum.evaluate(&[0]), Err(Error::Compute(_))));
        sum.update(&Update { slots: &[0], weights: Some(&[-4]), argument: Some(&more) }).unwrap();
        assert!(sum.wraps.is_empty());
        assert_eq!(sum.counts, [4]);
        assert_eq!(sum.evaluate(&[0]).unwrap().as_primitive::<Decimal128Type>().value(0), 0);
    }

    #[test]
    fn decimal_average_truncates() {
        let mut average = IntegerSum::decimal_average(2, 14, 6);
        average.grow(2);
        let argument = decimal(vec![100, 100, 1]);
        average.update(&Update { slots: &[0; 3], weights: None, argument: Some(&argument) }).unwrap();
        let result = average.evaluate(&[0, 1]).unwrap();
        assert_eq!(result.as_primitive::<Decimal128Type>().iter().collect::<Vec<_>>(), [Some(670_000), None]);
    }

    #[test]
    fn bigint_overflow_is_an_error() {
        let mut sum = IntegerSum::bigint();
        sum.grow(1);
        let argument: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX, 1]));
        sum.update(&Update { slots: &[0, 0], weights: None, argument: Some(&argument) }).unwrap();
        assert!(matches!(sum.evaluate(&[0]), Err(Error::Compute(m)) if m == "bigint out of range"));
    }
}
