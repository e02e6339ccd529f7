//! `now()` and its other names: the statement's time in microseconds, the unit of every timestamp here. DataFusion's has
//! nanoseconds, which end in 2262 and are shown with nine digits.
//!
//! `transaction_timestamp` and `statement_timestamp` are the same moment: time stands still within a statement only.

use crate::types::timestamptz;
use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;

/// `now`, or as `localtimestamp`: what a clock in UTC shows.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Now {
    local: bool,
    aliases: Vec<String>,
    signature: Signature,
}

impl Now {
    pub(super) fn new(local: bool) -> Now {
        let aliases = ["current_timestamp", "transaction_timestamp", "statement_timestamp", "clock_timestamp"];
        let aliases = if local { vec![] } else { aliases.map(str::to_owned).to_vec() };
        Now { local, aliases, signature: Signature::nullary(Volatility::Stable) }
    }

    fn data_type(&self) -> DataType {
        if self.local { DataType::Timestamp(TimeUnit::Microsecond, None) } else { timestamptz() }
    }
}

impl ScalarUDFImpl for Now {
    fn name(&self) -> &str {
        if self.local { "localtimestamp" } else { "now" }
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(self.data_type())
    }

    fn return_field_from_args(&self, _args: ReturnFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(self.name(), self.data_type(), false)))
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let Some(start) = info.query_execution_start_time() else {
            return Ok(ExprSimplifyResult::Original(args));
        };
        let zone = if self.local { None } else { Some("UTC".into()) };
        let now = ScalarValue::TimestampMicrosecond(Some(start.timestamp_micros()), zone);
        Ok(ExprSimplifyResult::Simplified(Expr::Literal(now, None)))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(DataFusionError::Internal("now() is replaced while a statement is planned".into()))
    }
}
