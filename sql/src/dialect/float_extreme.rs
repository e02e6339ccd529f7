//! `min` and `max` of floats with NaN as the greatest value. DataFusion's pass over NaN or keep it, by where it comes.
//!
//! Values are mapped to integers of the same order, DataFusion's `min` and `max` of integers do the work:
//!
//! ```text
//! order(x) = bits(x) if x ≥ 0, else bits(x) with all bits but the sign flipped
//! ```
//! So -0 is less than 0, as in views; Postgres shows whichever of the two came first.

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, Signature, Volatility,
};
use std::sync::Arc;

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct FloatExtreme {
    greatest: bool,
    signature: Signature,
}

impl FloatExtreme {
    /// The aggregate of this name, for arguments of a float type.
    pub(super) fn named(name: &str) -> Option<AggregateUDF> {
        let greatest = match name {
            "min" => false,
            "max" => true,
            _ => return None,
        };
        let signature = Signature::any(1, Volatility::Immutable);
        Some(AggregateUDF::from(FloatExtreme { greatest, signature }))
    }

    fn inner(&self) -> Arc<AggregateUDF> {
        if self.greatest { max_udaf() } else { min_udaf() }
    }

    /// Calls `make` of the aggregate of integers, with arguments that say so.
    fn over_integers<T>(
        &self,
        args: AccumulatorArgs,
        make: impl FnOnce(&AggregateUDF, AccumulatorArgs) -> Result<T>,
    ) -> Result<OverIntegers<T>> {
        let float = args.return_field.data_type().clone();
        let integer: FieldRef = Arc::new(Field::new(args.name, DataType::Int64, true));
        let fields = [integer.clone()];
        let inner = make(&self.inner(), AccumulatorArgs { return_field: integer, expr_fields: &fields, ..args })?;
        Ok(OverIntegers { inner, float })
    }
}

impl AggregateUDFImpl for FloatExtreme {
    fn name(&self) -> &str {
        if self.greatest { "max" } else { "min" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        types.first().cloned().ok_or_else(|| DataFusionError::Internal("min and max take one argument".into()))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format_state_name(args.name, "order"), DataType::Int64, true))])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(self.over_integers(args, |inner, args| inner.accumulator(args))?))
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(self.over_integers(args, |inner, args| inner.create_groups_accumulator(args))?))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(self.over_integers(args, |inner, args| inner.create_sliding_accumulator(args))?))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

#[derive(Debug)]
struct OverIntegers<A> {
    inner: A,
    float: DataType,
}

fn order(value: f64) -> i64 {
    let canonical = if value.is_nan() { f64::NAN } else { value };
    flipped(canonical.to_bits() as i64)
}

/// Its own inverse.
fn flipped(bits: i64) -> i64 {
    if bits < 0 { bits ^ i64::MAX } else { bits }
}

fn orders(values: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
    let of_one = |values: &ArrayRef| -> Result<ArrayRef> {
        let floats = cast(values, &DataType::Float64)?;
        Ok(Arc::new(floats.as_primitive::<Float64Type>().unary::<_, Int64Type>(order)))
    };
    values.iter().map(of_one).collect()
}

impl<A> OverIntegers<A> {
    fn floats(&self, orders: &ArrayRef) -> Result<ArrayRef> {
        let float = |order: i64| f64::from_bits(flipped(order) as u64);
        let floats = orders.as_primitive::<Int64Type>().unary::<_, Float64Type>(float);
        Ok(cast(&floats, &self.float)?)
    }
}

impl Accumulator for OverIntegers<Box<dyn Accumulator>> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(&orders(values)?)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let ScalarValue::Int64(order) = self.inner.evaluate()? else {
            return Err(DataFusionError::Internal("an order of floats is an integer".into()));
        };
        let orders: ArrayRef = Arc::new(Int64Array::from(vec![order]));
        ScalarValue::try_from_array(&self.floats(&orders)?, 0)
    }

    fn size(&self) -> usize {
        self.inner.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.retract_batch(&orders(values)?)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }
}

impl GroupsAccumulator for OverIntegers<Box<dyn GroupsAccumulator>> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        groups: usize,
    ) -> Result<()> {
        self.inner.update_batch(&orders(values)?, group_indices, filter, groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let orders = self.inner.evaluate(emit_to)?;
        self.floats(&orders)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.inner.state(emit_to)
    }

    fn merge_batch(&mut self, states: &[ArrayRef], group_indices: &[usize], groups: usize) -> Result<()> {
        self.inner.merge_batch(states, group_indices, groups)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        self.inner.convert_to_state(&orders(values)?, filter)
    }

    fn size(&self) -> usize {
        self.inner.size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_order_as_floats_do() {
        let ascending = [f64::NEG_INFINITY, -1.5, -5e-324, -0.0, 0.0, 5e-324, 1.5, f64::INFINITY, f64::NAN];
        for pair in ascending.windows(2) {
            assert!(order(pair[0]) < order(pair[1]), "{pair:?}");
        }
        for value in ascending {
            assert_eq!(flipped(order(value)) as u64, value.to_bits());
        }
        assert_eq!(order(-f64::NAN), order(f64::NAN));
    }
}
