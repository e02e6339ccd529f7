//! The analyzer rule that gives operators and casts Postgres' values. Types stay as type coercion left them.

use super::arithmetic::{Arithmetic, is_arithmetic, is_checked, negative};
use super::cast::{PostgresCast, differs, to_type};
use super::round::RoundHalfEven;
use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

#[derive(Debug)]
pub(super) struct PostgresMeaning;

impl AnalyzerRule for PostgresMeaning {
    fn name(&self) -> &str {
        "postgres_meaning"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(node)?.data)
    }
}

fn node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let mut schema = merge_schema(&plan.inputs());
    if let LogicalPlan::TableScan(scan) = &plan {
        schema.merge(&DFSchema::try_from_qualified_schema(scan.table_name.clone(), &scan.source.schema())?);
    }
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let given = expr.transform_up(|e| expression(e, &schema))?;
        Ok(given.update_data(|e| name.restore(e)))
    })?
    .map_data(LogicalPlan::recompute_schema)
}

/// What cannot be typed (a placeholder without a type) is left as it is.
fn expression(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expr {
        Expr::BinaryExpr(binary) if is_arithmetic(binary.op) => {
            let types = (binary.left.get_type(schema), binary.right.get_type(schema));
            match types {
                (Ok(left), Ok(right)) if left == right && is_checked(&left) => {
                    Ok(Transformed::yes(Arithmetic::expr(binary.op, *binary.left, *binary.right)))
                }
                _ => Ok(Transformed::no(Expr::BinaryExpr(binary))),
            }
        }
        Expr::Negative(value) => match value.get_type(schema) {
            Ok(data_type) if data_type.is_integer() && is_checked(&data_type) => {
                Ok(Transformed::yes(negative(&data_type, *value)?))
            }
            _ => Ok(Transformed::no(Expr::Negative(value))),
        },
        Expr::ScalarFunction(mut call) if call.func.name() == "round" && call.args.len() == 1 => {
            match call.args[0].get_type(schema) {
                Ok(DataType::Float64) => Ok(Transformed::yes(RoundHalfEven::expr(call.args.remove(0)))),
                _ => Ok(Transformed::no(Expr::ScalarFunction(call))),
            }
        }
        Expr::Cast(cast) => match cast.expr.get_type(schema) {
            Ok(from) if differs(&from, cast.field.data_type()) => {
                let to = cast.field.data_type().clone();
                match *cast.expr {
                    // Read now, as Postgres does: a value that cannot be read is a fault of the statement.
                    Expr::Literal(value, metadata) => {
                        let value = to_type(&value.to_array_of_size(1)?, &to)?;
                        Ok(Transformed::yes(Expr::Literal(ScalarValue::try_from_array(&value, 0)?, metadata)))
                    }
                    value => Ok(Transformed::yes(PostgresCast::expr(value, to))),
                }
            }
            _ => Ok(Transformed::no(Expr::Cast(cast))),
        },
        other => Ok(Transformed::no(other)),
    }
}
