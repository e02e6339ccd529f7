//! AND and OR that guard: what can fail is computed only for the rows that the rest of the condition leaves.
//!
//! DataFusion computes both sides for all rows of a batch, and even rewrites a boolean CASE as AND and OR. So the
//! optimised plan is gone through once more before it is executed, or lowered to a view:
//!
//! ```text
//! WHERE safe AND failing   →  WHERE CASE WHEN safe THEN failing ELSE false END
//! WHERE safe OR failing    →  WHERE CASE WHEN safe THEN true ELSE failing END
//! SELECT safe AND failing  →  SELECT CASE WHEN safe IS NOT FALSE THEN safe AND failing ELSE false END
//! ```
//! In a condition NULL is as good as false; elsewhere it is not, so there the operands that come first stand twice, and
//! an expression of more than [`GUARDED_NODES_MAX`] nodes is left as it is: ANDs in ORs in ANDs would double with each
//! level. What cannot fail is put first; what can keeps its order. It is the last step, so that conditions have been
//! pushed down and join keys been found before.

use super::arithmetic::is_arithmetic;
use arrow::datatypes::DataType;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result};
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Join, LogicalPlan, Operator, lit};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use std::sync::Arc;

/// Nodes of an AND or OR that is told from NULL and still guarded.
const GUARDED_NODES_MAX: usize = 1000;

/// Functions that have a value for every argument.
const TOTAL_FUNCTIONS: [&str; 22] = [
    "ascii",
    "bit_length",
    "btrim",
    "character_length",
    "coalesce",
    "concat",
    "concat_ws",
    "initcap",
    "left",
    "lower",
    "ltrim",
    "md5",
    "nullable_value",
    "nullif",
    "octet_length",
    "right",
    "rtrim",
    "same_value",
    "sort_key",
    "starts_with",
    "strpos",
    "upper",
];

/// Plans queries with guarded conditions.
#[derive(Debug)]
pub(crate) struct GuardedPlanner;

#[async_trait]
impl QueryPlanner for GuardedPlanner {
    async fn create_physical_plan(&self, plan: &LogicalPlan, session: &dyn Session) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = guarded(plan.clone())?;
        DefaultPhysicalPlanner::default().create_physical_plan(&plan, session).await
    }
}

/// An optimised plan with its conditions guarded.
pub(crate) fn guarded(plan: LogicalPlan) -> Result<LogicalPlan> {
    Ok(plan.transform_up_with_subqueries(node)?.data)
}

fn node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let schema = merge_schema(&plan.inputs());
    let is_filter = match plan {
        LogicalPlan::Join(join) => return Ok(Transformed::yes(LogicalPlan::Join(guarded_join(join)?))),
        // What a scan prunes by, not what it computes.
        LogicalPlan::TableScan(_) => return Ok(Transformed::no(plan)),
        LogicalPlan::Filter(_) => true,
        _ => false,
    };
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expr| {
        if !connects(&expr) {
            return Ok(Transformed::no(expr));
        }
        let name = names.save(&expr);
        let given = match is_filter {
            true => Transformed::yes(condition(expr, &schema)?),
            false => expr.transform_up(|e| value(e, &schema))?,
        };
        Ok(given.update_data(|e| name.restore(e)))
    })
}

/// Only the filter is a condition; a key is compared, and NULL is another key than false.
fn guarded_join(mut join: Join) -> Result<Join> {
    let (left, right) = (join.left.schema(), join.right.schema());
    let key = |expr: Expr, schema: &DFSchema| -> Result<Expr> { Ok(expr.transform_up(|e| value(e, schema))?.data) };
    join.on = join.on.into_iter().map(|(l, r)| Ok((key(l, left)?, key(r, right)?))).collect::<Result<_>>()?;
    let both = left.join(right).unwrap_or_else(|_| merge_schema(&[&join.left, &join.right]));
    join.filter = join.filter.map(|filter| condition(filter, &both)).transpose()?;
    Ok(join)
}

/// Whether there is an AND or OR to guard.
fn connects(expr: &Expr) -> bool {
    let connective = |e: &Expr| matches!(e, Expr::BinaryExpr(b) if matches!(b.op, Operator::And | Operator::Or));
    expr.exists(|e| Ok(connective(e))).unwrap_or(false)
}

/// The operands of a chain of one operator, in order.
fn operands(expr: Expr, operator: Operator, into: &mut Vec<Expr>) {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if op == operator => {
            operands(*left, operator, into);
            operands(*right, operator, into);
        }
        other => into.push(other),
    }
}

/// What cannot fail, and what can.
fn split(expr: Expr, operator: Operator, schema: &DFSchema) -> (Vec<Expr>, Vec<Expr>) {
    let mut all = Vec::new();
    operands(expr, operator, &mut all);
    all.into_iter().partition(|operand| !may_fail(operand, schema))
}

fn connective(expr: &Expr) -> Option<Operator> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { op: op @ (Operator::And | Operator::Or), .. }) => Some(*op),
        _ => None,
    }
}

fn joined(left: Expr, operator: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), operator, Box::new(right)))
}

/// A condition that counts as false when it is NULL.
fn condition(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let Some(operator) = connective(&expr) else {
        return Ok(expr.transform_up(|e| value(e, schema))?.data);
    };
    let (safe, failing) = split(expr, operator, schema);
    let mut steps: Vec<Expr> = safe.into_iter().reduce(|l, r| joined(l, operator, r)).into_iter().collect();
    for operand in failing {
        steps.push(condition(operand, schema)?);
    }
    let chained = steps.into_iter().rev().reduce(|rest, first| match operator {
        Operator::And => case(first, rest, lit(false)),
        _ => case(first, lit(true), rest),
    });
    Ok(chained.unwrap_or_else(|| lit(operator == Operator::And)))
}

/// One AND or OR whose NULL is told from false; its operands are done.
fn value(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Some(operator) = connective(&expr).filter(|_| may_fail(&expr, schema) && !is_large(&expr)) else {
        return Ok(Transformed::no(expr));
    };
    let (safe, failing) = split(expr, operator, schema);
    let first = safe.into_iter().reduce(|l, r| joined(l, operator, r));
    let chained = first.into_iter().chain(failing).rev().reduce(|rest, first| {
        let both = joined(first.clone(), operator, rest);
        match operator {
            Operator::And => case(first.is_not_false(), both, lit(false)),
            _ => case(first.is_not_true(), both, lit(true)),
        }
    });
    Ok(Transformed::yes(chained.unwrap_or_else(|| lit(operator == Operator::And))))
}

fn is_large(expr: &Expr) -> bool {
    let mut nodes = 0;
    let counted = expr.apply(|_| {
        nodes += 1;
        Ok(if nodes > GUARDED_NODES_MAX { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    counted.is_err() || nodes > GUARDED_NODES_MAX
}

fn case(when: Expr, then: Expr, otherwise: Expr) -> Expr {
    Expr::Case(Case::new(None, vec![(Box::new(when), Box::new(then))], Some(Box::new(otherwise))))
}

/// Whether computing it can end the statement. A function of a module can; one that is not known here counts as one.
fn may_fail(expr: &Expr, schema: &DFSchema) -> bool {
    let mut fails = false;
    let seen = expr.apply(|e| {
        fails |= match e {
            Expr::ScalarFunction(call) if call.func.name() == "cast" => {
                let from = call.args.first().map(|value| value.get_type(schema));
                !matches!((from, e.get_type(schema)), (Some(Ok(from)), Ok(to)) if holds(&to, &from))
            }
            Expr::ScalarFunction(call) => !TOTAL_FUNCTIONS.contains(&call.func.name()),
            Expr::BinaryExpr(binary) => is_arithmetic(binary.op),
            Expr::Cast(cast) => !cast.expr.get_type(schema).is_ok_and(|from| holds(cast.field.data_type(), &from)),
            Expr::Negative(_) | Expr::HigherOrderFunction(_) => true,
            _ => false,
        };
        Ok(if fails { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    fails || seen.is_err()
}

/// Whether every value of `from` has one in `to`.
fn holds(to: &DataType, from: &DataType) -> bool {
    use DataType as T;
    let whole_digits = |t: &T| match t {
        T::Int8 | T::UInt8 => Some(3),
        T::Int16 | T::UInt16 => Some(5),
        T::Int32 | T::UInt32 => Some(10),
        T::Int64 => Some(19),
        T::UInt64 => Some(20),
        T::Decimal128(precision, scale) => Some(i32::from(*precision) - i32::from(*scale)),
        _ => None,
    };
    match (from, to) {
        (from, to) if from == to => true,
        (T::Null, _) | (_, T::Utf8 | T::LargeUtf8 | T::Utf8View) => true,
        (from, T::Float32 | T::Float64) => from.is_numeric(),
        // A rounded decimal may carry into one more digit.
        (T::Decimal128(_, from_scale), T::Decimal128(_, scale)) if scale >= from_scale => {
            whole_digits(from) <= whole_digits(to)
        }
        (from, T::Decimal128(..)) if from.is_integer() => whole_digits(from) <= whole_digits(to),
        (from, to) if from.is_signed_integer() && to.is_signed_integer() => {
            from.primitive_width() <= to.primitive_width()
        }
        (T::Timestamp(a, _), T::Timestamp(b, _)) => a == b,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::Field;
    use datafusion::logical_expr::{cast, col};

    fn schema() -> DFSchema {
        let fields = vec![Field::new("a", DataType::Int32, true), Field::new("t", DataType::Utf8, true)];
        DFSchema::try_from(arrow::datatypes::Schema::new(fields)).unwrap()
    }

    #[test]
    fn what_can_fail_comes_last_and_is_guarded() {
        let failing = || (col("a") / lit(2)).gt(lit(1));
        let safe = || col("a").not_eq(lit(0));
        for given in [failing().and(safe()), safe().and(failing())] {
            assert_eq!(condition(given, &schema()).unwrap(), case(safe(), failing(), lit(false)));
        }
        assert_eq!(condition(safe().or(failing()), &schema()).unwrap(), case(safe(), lit(true), failing()));
        assert_eq!(condition(safe().and(safe()), &schema()).unwrap(), safe().and(safe()));
        let kept = value(safe().and(failing()), &schema()).unwrap().data;
        assert_eq!(kept, case(safe().is_not_false(), safe().and(failing()), lit(false)));
    }

    #[test]
    fn ands_in_ors_do_not_double_for_ever() {
        let failing = || (col("a") / lit(2)).gt(lit(1));
        let nested = (0..60).fold(failing(), |e, n| if n % 2 == 0 { e.and(failing()) } else { e.or(failing()) });
        let guarded = nested.transform_up(|e| value(e, &schema())).unwrap().data;
        let mut nodes = 0;
        guarded
            .apply(|_| {
                nodes += 1;
                Ok(TreeNodeRecursion::Continue)
            })
            .unwrap();
        assert!((60 * 4..20 * GUARDED_NODES_MAX).contains(&nodes), "{nodes}");
    }

    #[test]
    fn widening_cannot_fail() {
        assert!(!may_fail(&cast(col("a"), DataType::Int64), &schema()));
        assert!(!may_fail(&cast(col("a"), DataType::Decimal128(20, 0)), &schema()));
        assert!(may_fail(&cast(col("a"), DataType::Int16), &schema()));
        assert!(may_fail(&cast(col("t"), DataType::Int32), &schema()));
    }
}
