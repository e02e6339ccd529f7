//! Types of parameters: what a column can have, and arrays of it.
//!
//! The planner infers no type for the array in `x = ANY($1)`. So that its parameter gets one, a copy of the statement in
//! which this says `x = $1` is planned, and the parameter is an array of what was inferred there.

use crate::error::Result;
use crate::types::{arrow_type, sql_type, storable};
use arrow::datatypes::{DataType, Field};
use sqlparser::ast::{self, ArrayElemTypeDef, BinaryOperator, Expr, Statement, Value, VisitMut, VisitorMut};
use std::collections::BTreeSet;
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

/// The statement with `x = $n` for each `x op ANY($n)` and `x op ALL($n)`, and the names `$n` of these parameters.
pub(crate) fn with_elements(statement: &Statement) -> (Statement, BTreeSet<String>) {
    let (mut statement, mut elements) = (statement.clone(), Elements(BTreeSet::new()));
    let _ = statement.visit(&mut elements);
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
