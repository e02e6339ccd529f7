//! A value that is the same and that the optimiser does not see through.
//!
//! - `x IN (1, 2) AND x IN (3)` is not "false": of NULL it is NULL. DataFusion merges lists over one expression as if
//!   there was no NULL, so all but the first of a condition ask for `same_value(x)`, and so do lists with NULL or columns in
//!   them, and all outside conditions: those may yet be put beside others. The tag keeps them apart: it is made of the list.
//! - A scalar subquery may have no row and then is NULL, whatever its column says: `nullable_value(column)`.

use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, Projection, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Subquery, Volatility,
};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

#[derive(Debug, PartialEq, Eq, Hash)]
struct Same {
    may_be_null: bool,
    /// Values with different tags are not the same to the optimiser.
    tag: u64,
    signature: Signature,
}

fn same(value: Expr, may_be_null: bool, tag: u64) -> Expr {
    ScalarUDF::from(Same { may_be_null, tag, signature: Signature::any(1, Volatility::Immutable) }).call(vec![value])
}

impl ScalarUDFImpl for Same {
    fn name(&self) -> &str {
        if self.may_be_null { "nullable_value" } else { "same_value" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        types.first().cloned().ok_or_else(|| DataFusionError::Internal("a value without a value".into()))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let Some(field) = args.arg_fields.first() else {
            return Err(DataFusionError::Internal("a value without a value".into()));
        };
        let nullable = self.may_be_null || field.is_nullable();
        Ok(Arc::new(Field::new(self.name(), field.data_type().clone(), nullable)))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let value = args.args.into_iter().next();
        value.ok_or_else(|| DataFusionError::Internal("a value without a value".into()))
    }
}

/// Keeps lists over one expression apart.
pub(super) fn lists_apart(expr: Expr, is_condition: bool) -> Result<Transformed<Expr>> {
    let has_lists = expr.exists(|e| Ok(matches!(e, Expr::InList(_))))?;
    if !has_lists {
        return Ok(Transformed::no(expr));
    }
    let mut seen: Vec<Expr> = Vec::new();
    expr.transform_up(|e| match e {
        Expr::InList(list) if !is_condition || !is_constant(&list) || seen.contains(&list.expr) => {
            let mut tag = DefaultHasher::new();
            (&list.list, list.negated).hash(&mut tag);
            let value = Box::new(same(*list.expr, false, tag.finish()));
            Ok(Transformed::yes(Expr::InList(InList::new(value, list.list, list.negated))))
        }
        Expr::InList(list) => {
            seen.push(list.expr.as_ref().clone());
            Ok(Transformed::no(Expr::InList(list)))
        }
        other => Ok(Transformed::no(other)),
    })
}

/// Whether a list is of values, none of them NULL. Such lists of different conditions may be merged: both must be true.
fn is_constant(list: &InList) -> bool {
    fn is_value(expr: &Expr) -> bool {
        match expr {
            Expr::Literal(value, _) => !value.is_null(),
            Expr::Cast(cast) => is_value(&cast.expr),
            Expr::Negative(number) => is_value(number),
            _ => false,
        }
    }
    list.list.iter().all(is_value)
}

/// A scalar subquery whose column says that it may be NULL, unless it always has a row.
pub(super) fn nullable_subquery(mut subquery: Subquery) -> Result<Expr> {
    let plan = subquery.subquery.as_ref();
    let nullable = plan.schema().fields().first().is_none_or(|field| field.is_nullable());
    if !nullable && !has_one_row(plan) {
        let (qualifier, field) = plan.schema().qualified_field(0);
        let column = Expr::from((qualifier, field));
        let value = same(column, true, 0).alias_qualified(qualifier.cloned(), field.name());
        subquery.subquery = Arc::new(LogicalPlan::Projection(Projection::try_new(vec![value], subquery.subquery)?));
    }
    Ok(Expr::ScalarSubquery(subquery))
}

/// Aggregates without groups have one, of no rows too.
fn has_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => has_one_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => has_one_row(&alias.input),
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(empty) => empty.produce_one_row,
        _ => false,
    }
}
