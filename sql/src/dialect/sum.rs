//! `sum` with Postgres' result types (`bigint` sums to `numeric`, smaller integers to `bigint`) and range.
//!
//! Integers and numerics are added up in 128 bits and fail (22003) when these, or at the end the result's type, do not
//! hold the sum; DataFusion's wrap around. Floats are added by DataFusion's own `sum`. Coercion must be idempotent,
//! because it is asked again of its own result: so `integer` stays what it is, and is widened batch by batch.

use super::exact_total::{Total, Totals};
use crate::error::Error;
use crate::types::name_of;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result;
use datafusion::functions_aggregate::sum::Sum as DataFusionSum;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, SetMonotonicity, Signature, Volatility,
};
use std::sync::Arc;

/// A sum of this type is `numeric(38,0)`: ten more digits.
const BIGINT_AS_NUMERIC: DataType = DataType::Decimal128(28, 0);

#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Sum {
    floats: DataFusionSum,
    signature: Signature,
}

impl Sum {
    pub(super) fn new() -> Sum {
        Sum { floats: DataFusionSum::new(), signature: Signature::user_defined(Volatility::Immutable) }
    }
}

fn is_exact(result: &DataType) -> bool {
    matches!(result, DataType::Int64 | DataType::Decimal128(..))
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
            T::Decimal32(precision, scale) | T::Decimal64(precision, scale) => T::Decimal128(*precision, *scale),
            T::Decimal128(..) | T::Decimal256(..) => argument.clone(),
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
            _ => self.floats.return_type(types),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match is_exact(args.return_field.data_type()) {
            true => Ok(Box::new(Total::new(args.return_field.data_type(), args.is_distinct))),
            false => self.floats.accumulator(args),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        if !is_exact(args.return_field.data_type()) {
            return self.floats.state_fields(args);
        }
        let state = Total::state_type(args.return_field.data_type(), args.is_distinct);
        Ok(vec![Arc::new(Field::new(format_state_name(args.name, "total"), state, true))])
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        match is_exact(args.return_field.data_type()) {
            true => Ok(Box::new(Totals::new(args.return_field.data_type()))),
            false => self.floats.create_groups_accumulator(args),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match is_exact(args.return_field.data_type()) {
            true => Ok(Box::new(Total::new(args.return_field.data_type(), args.is_distinct))),
            false => self.floats.create_sliding_accumulator(args),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.floats.order_sensitivity()
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.floats.set_monotonicity(data_type)
    }
}
