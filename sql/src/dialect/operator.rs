//! Operators whose result type differs from DataFusion's, planned before its own planners see them.
//!
//! - `double precision` with `numeric`: in double precision (DataFusion would compare in `numeric(30,15)`, which most
//!   doubles do not fit);
//! - `real` with an integer: in double precision;
//! - `numeric / numeric`: with Postgres' digits after the point;
//! - `numeric * numeric` of more digits after the point than a product may keep;
//! - `date ± interval`: a timestamp (DataFusion keeps the date and drops the hours);
//! - `interval * number`, `interval / number`;
//! - a date compared with a timestamp: in the timestamp's unit (DataFusion: nanoseconds, which end in 2262);
//! - `date ± integer`: days, checked; `date - date`: an integer;
//! - an untyped literal beside a number or a boolean is read as one: `'5' + 1`, `b = 't'` (the other comparisons are
//!   [`super::agree`]'s);
//! - `a ^ b`: a power.

use super::agree::untyped;
use super::arithmetic::{Arithmetic, long_product, quotient};
use super::date_shift::shifted;
use super::float_function::to_the_power;
use super::interval_scale::scaled;
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, cast};
use sqlparser::ast::BinaryOperator;

#[derive(Debug)]
pub(super) struct Operators;

impl ExprPlanner for Operators {
    fn plan_binary_op(&self, mut expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let (Ok(left), Ok(right)) = (expr.left.get_type(schema), expr.right.get_type(schema)) else {
            return Ok(PlannerResult::Original(expr));
        };
        if matches!(expr.op, BinaryOperator::PGExp)
            && let Some(power) = to_the_power(expr.left.clone(), expr.right.clone())
        {
            return Ok(PlannerResult::Planned(power));
        }
        let span = |t: &DataType| matches!(t, DataType::Interval(_) | DataType::Duration(_));
        match expr.op {
            BinaryOperator::Multiply if span(&left) && right.is_numeric() => {
                return Ok(PlannerResult::Planned(scaled(expr.left, expr.right, false)));
            }
            BinaryOperator::Multiply if left.is_numeric() && span(&right) => {
                return Ok(PlannerResult::Planned(scaled(expr.right, expr.left, false)));
            }
            BinaryOperator::Divide if span(&left) && right.is_numeric() => {
                return Ok(PlannerResult::Planned(scaled(expr.left, expr.right, true)));
            }
            BinaryOperator::Plus | BinaryOperator::Minus if left == DataType::Date32 && right.is_integer() => {
                let back = matches!(expr.op, BinaryOperator::Minus);
                return Ok(PlannerResult::Planned(shifted(expr.left, expr.right, back)));
            }
            BinaryOperator::Minus if left == DataType::Date32 && right == DataType::Date32 => {
                return Ok(PlannerResult::Planned(cast(expr.left - expr.right, DataType::Int32)));
            }
            BinaryOperator::Plus if left.is_integer() && right == DataType::Date32 => {
                return Ok(PlannerResult::Planned(shifted(expr.right, expr.left, false)));
            }
            BinaryOperator::Multiply if long_product(&left, &right) => {
                return Ok(PlannerResult::Planned(Arithmetic::expr(Operator::Multiply, expr.left, expr.right)));
            }
            _ => {}
        }
        if matches!(expr.op, BinaryOperator::Divide)
            && let Some((numerator, divisor)) = quotient(&left, &right)
        {
            let (numerator, divisor) = (expr.left.cast_to(&numerator, schema)?, expr.right.cast_to(&divisor, schema)?);
            return Ok(PlannerResult::Planned(Arithmetic::expr(Operator::Divide, numerator, divisor)));
        }
        (expr.left, expr.right) = operands(&expr.op, (expr.left, left), (expr.right, right));
        Ok(PlannerResult::Original(expr))
    }
}

/// Operators that compare booleans or connect them.
fn tests(operator: &BinaryOperator) -> bool {
    use BinaryOperator as O;
    matches!(operator, O::Eq | O::NotEq | O::Lt | O::LtEq | O::Gt | O::GtEq | O::And | O::Or)
}

fn operands(operator: &BinaryOperator, left: (Expr, DataType), right: (Expr, DataType)) -> (Expr, Expr) {
    use BinaryOperator as O;
    let decimal = |t: &DataType| matches!(t, DataType::Decimal128(..) | DataType::Decimal256(..));
    let sums = matches!(operator, O::Plus | O::Minus);
    let arithmetic = sums || matches!(operator, O::Multiply | O::Divide | O::Modulo);
    let timestamp = DataType::Timestamp(TimeUnit::Microsecond, None);
    match ((left.0, &left.1), (right.0, &right.1)) {
        ((l, lt), (r, rt)) if lt.is_floating() && decimal(rt) => (l, cast(r, DataType::Float64)),
        ((l, lt), (r, rt)) if decimal(lt) && rt.is_floating() => (cast(l, DataType::Float64), r),
        ((l, DataType::Float32), (r, rt)) if arithmetic && rt.is_integer() => {
            (cast(l, DataType::Float64), cast(r, DataType::Float64))
        }
        ((l, lt), (r, DataType::Float32)) if arithmetic && lt.is_integer() => {
            (cast(l, DataType::Float64), cast(r, DataType::Float64))
        }
        ((l, DataType::Date32), (r, DataType::Interval(_))) if sums => (cast(l, timestamp), r),
        ((l, DataType::Interval(_)), (r, DataType::Date32)) if sums => (l, cast(r, timestamp)),
        ((l, DataType::Date32), (r, rt @ DataType::Timestamp(..))) if !arithmetic => (cast(l, rt.clone()), r),
        ((l, lt @ DataType::Timestamp(..)), (r, DataType::Date32)) if !arithmetic => (l, cast(r, lt.clone())),
        ((l, lt), (r, rt)) if arithmetic && untyped(&l).is_some() && rt.is_numeric() && !lt.is_numeric() => {
            (cast(l, rt.clone()), r)
        }
        ((l, lt), (r, rt)) if arithmetic && untyped(&r).is_some() && lt.is_numeric() && !rt.is_numeric() => {
            (l, cast(r, lt.clone()))
        }
        ((l, DataType::Boolean), (r, _)) if tests(operator) && untyped(&r).is_some() => (l, cast(r, DataType::Boolean)),
        ((l, _), (r, DataType::Boolean)) if tests(operator) && untyped(&l).is_some() => (cast(l, DataType::Boolean), r),
        ((l, _), (r, _)) => (l, r),
    }
}
