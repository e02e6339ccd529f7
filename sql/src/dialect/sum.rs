//! `sum` with Postgres' result types: `bigint` sums to `numeric`, smaller integers to `bigint`.
//!
//! Only the types are ours; accumulating is DataFusion's `sum` (in a view: the engine's). Coercion must be idempotent,
//! because it is asked again of its own result: so `integer` stays what it is, and is widened batch by batch.

use crate::error::Error;
use crate::types::name_of;
use arrow::array::{ArrayRef, BooleanArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions_aggregate::sum::Sum as DataFusionSum;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF, SetMonotonicity, Signature, StatisticsArgs,
    Volatility,
};

/// A sum of this type is `numeric(38,0)`: ten more digits.
const BIGINT_AS_NUMERIC: DataType = DataType::Decimal128(28, 0);

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Sum {
    inner: DataFusionSum,
    signature: Signature,
}

impl Sum {
    pub(super) fn new() -> Sum {
        Sum { inner: DataFusionSum::new(), signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for Sum {
    fn name(&self) -> &str {
        "sum"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        use DataType as T;
        let [argument] = given else {
            return Err(Error::new("42883", "function sum takes one argument").into());
        };
        Ok(vec![match argument {
            T::Int64 | T::UInt32 | T::UInt64 => BIGINT_AS_NUMERIC,
            T::Int8 | T::Int16 | T::Int32 | T::UInt8 | T::UInt16 | T::Null => T::Int32,
            T::Float16 | T::Float32 | T::Float64 => T::Float64,
            T::Decimal32(..) | T::Decimal64(..) | T::Decimal128(..) | T::Decimal256(..) => argument.clone(),
            other => {
                return Err(Error::new("42883", format!("function sum({}) does not exist", name_of(other)))
                    .with_hint("It takes a number; cast the argument.")
                    .into());
            }
        }])
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::Int32] => Ok(DataType::Int64),
            _ => self.inner.return_type(types),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let widens = widens(&args);
        let inner = self.inner.accumulator(args)?;
        Ok(if widens { Box::new(Widened(inner)) } else { inner })
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let widens = widens(&args);
        let inner = self.inner.create_groups_accumulator(args)?;
        Ok(if widens { Box::new(Widened(inner)) } else { inner })
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let widens = widens(&args);
        let inner = self.inner.create_sliding_accumulator(args)?;
        Ok(if widens { Box::new(Widened(inner)) } else { inner })
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.inner.set_monotonicity(data_type)
    }

    fn value_from_stats(&self, statistics: &StatisticsArgs) -> Option<ScalarValue> {
        self.inner.value_from_stats(statistics)
    }
}

fn widens(args: &AccumulatorArgs) -> bool {
    args.expr_fields.first().is_some_and(|field| field.data_type() == &DataType::Int32)
}

/// An accumulator of `bigint` that is given `integer`.
#[derive(Debug)]
struct Widened<A>(A);

fn wide(values: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
    values.iter().map(|values| Ok(cast(values, &DataType::Int64)?)).collect()
}

impl Accumulator for Widened<Box<dyn Accumulator>> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.update_batch(&wide(values)?)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.0.evaluate()
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.0.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.0.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.retract_batch(&wide(values)?)
    }

    fn supports_retract_batch(&self) -> bool {
        self.0.supports_retract_batch()
    }
}

impl GroupsAccumulator for Widened<Box<dyn GroupsAccumulator>> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        filter: Option<&BooleanArray>,
        groups: usize,
    ) -> Result<()> {
        self.0.update_batch(&wide(values)?, group_indices, filter, groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        self.0.evaluate(emit_to)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.0.state(emit_to)
    }

    fn merge_batch(&mut self, states: &[ArrayRef], group_indices: &[usize], groups: usize) -> Result<()> {
        self.0.merge_batch(states, group_indices, groups)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        self.0.convert_to_state(&wide(values)?, filter)
    }

    fn size(&self) -> usize {
        self.0.size()
    }
}
