//! Types of parameters: what a column can have, and arrays of it.
//!
//! A cast in the text gives a parameter its type, else its first use in the plan that has one, so that `x = $1 OR $1 IS
//! NULL` has that of `x`; a second use of another type is for the planner to coerce or refuse. Those of LIMIT and OFFSET
//! are `bigint`.
//!
//! The planner infers no type for the array in `x = ANY($1)`. So that its parameter gets one, a copy of the statement in
//! which this says `x = $1` is planned, and the parameter is an array of what was inferred there.

use crate::error::Result;
use crate::types::{arrow_type, sql_type, storable};
use crate::walk::{self, walk, walk_mut};
use arrow::datatypes::{DataType, Field};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr as PlanExpr, LogicalPlan};
use sqlparser::ast::{
    self, ArrayElemTypeDef, BinaryOperator, Expr, LimitClause, Query, Statement, Value, Visitor, VisitorMut,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

/// The parameter type nearest to `data_type`.
pub(crate) fn parameter_type(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::List(item) => Some(array_of(storable(item.data_type())?)),
        other => storable(other),
    }
}

pub(crate) fn array_of(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(element, true)))
}

/// The SQL type to declare a parameter with.
pub(crate) fn declared_type(data_type: &DataType) -> Result<ast::DataType> {
    match data_type {
        DataType::List(item) => {
            let element = Box::new(sql_type(item.data_type())?);
            Ok(ast::DataType::Array(ArrayElemTypeDef::SquareBracket(element, None)))
        }
        other => sql_type(other),
    }
}

/// The type a cast or a PREPARE gives.
pub(crate) fn given_type(data_type: &ast::DataType) -> Result<DataType> {
    match data_type {
        ast::DataType::Array(ArrayElemTypeDef::SquareBracket(element, _)) => Ok(array_of(arrow_type(element)?)),
        other => arrow_type(other),
    }
}

/// Types that the text gives to parameters: by casts, which the planner does not infer from, and as bounds of rows.
pub(crate) fn types_in_text(statement: &Statement) -> BTreeMap<usize, ast::DataType> {
    let mut found = InText(BTreeMap::new());
    let _ = walk(statement, &mut found);
    found.0
}

struct InText(BTreeMap<usize, ast::DataType>);

impl Visitor for InText {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let (limit, offset) = match &query.limit_clause {
            Some(LimitClause::LimitOffset { limit, offset, .. }) => (limit.as_ref(), offset.as_ref().map(|o| &o.value)),
            _ => (None, None),
        };
        let fetch = query.fetch.as_ref().and_then(|fetch| fetch.quantity.as_ref());
        for index in [limit, offset, fetch].into_iter().flatten().filter_map(parameter) {
            self.0.entry(index).or_insert(ast::DataType::BigInt(None));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Expr::Cast { expr, data_type, .. } = expr
            && let Some(index) = parameter(expr)
        {
            self.0.entry(index).or_insert_with(|| data_type.clone());
        }
        ControlFlow::Continue(())
    }
}

/// Types that the planner gave to the placeholders of a plan; of each the first.
pub(crate) fn types_in_plan(plan: &LogicalPlan) -> Result<BTreeMap<String, DataType>> {
    let mut found = BTreeMap::new();
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let PlanExpr::Placeholder(placeholder) = expr
                    && let Some(field) = &placeholder.field
                {
                    found.entry(placeholder.id.clone()).or_insert_with(|| field.data_type().clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found)
}

/// The greatest `n` of `$n` in a statement.
pub(crate) fn parameter_count(statement: &Statement) -> usize {
    let mut count = 0;
    let _ = walk::expressions(statement, |expr| {
        count = count.max(parameter(expr).unwrap_or(0));
        ControlFlow::<()>::Continue(())
    });
    count
}

fn parameter(expr: &Expr) -> Option<usize> {
    placeholder(expr)?.strip_prefix('$')?.parse().ok()
}

/// The statement with `x = $n` for each `x op ANY($n)` and `x op ALL($n)`, and the names `$n` of these parameters.
pub(crate) fn with_elements(statement: &Statement) -> (Statement, BTreeSet<String>) {
    let (mut statement, mut elements) = (statement.clone(), Elements(BTreeSet::new()));
    let _ = walk_mut(&mut statement, &mut elements);
    (statement, elements.0)
}

struct Elements(BTreeSet<String>);

impl VisitorMut for Elements {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        let (Expr::AnyOp { left, right, .. } | Expr::AllOp { left, right, .. }) = expr else {
            return ControlFlow::Continue(());
        };
        if let Some(name) = placeholder(right) {
            self.0.insert(name);
            let (left, right) = (left.clone(), right.clone());
            *expr = Expr::Nested(Box::new(Expr::BinaryOp { left, op: BinaryOperator::Eq, right }));
        }
        ControlFlow::Continue(())
    }
}

fn placeholder(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Nested(inner) => placeholder(inner),
        Expr::Value(value) => match &value.value {
            Value::Placeholder(name) => Some(name.clone()),
            _ => None,
        },
        _ => None,
    }
}
