//! Small pieces of syntax trees, and looks into them.

use sqlparser::ast::{
    BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList,
    FunctionArguments, Ident, ObjectName, ObjectNamePart, Value,
};

/// The last part of a name that is bare or in `schema`, in lowercase.
pub(crate) fn unqualified(name: &ObjectName, schema: &str) -> Option<String> {
    let parts: Vec<&Ident> = name.0.iter().filter_map(ObjectNamePart::as_ident).collect();
    match parts.as_slice() {
        [name] => Some(name.value.to_lowercase()),
        [in_schema, name] if in_schema.value.eq_ignore_ascii_case(schema) => Some(name.value.to_lowercase()),
        _ => None,
    }
}

/// The arguments of a call that are plain expressions.
pub(crate) fn arguments(function: &Function) -> Vec<&Expr> {
    match &function.args {
        FunctionArguments::List(list) => list.args.iter().filter_map(argument).collect(),
        _ => Vec::new(),
    }
}

pub(crate) fn argument(argument: &FunctionArg) -> Option<&Expr> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    }
}

pub(crate) fn call(name: &str, args: Vec<Expr>) -> Expr {
    Expr::Function(function(name, args))
}

pub(crate) fn function(name: &str, args: Vec<Expr>) -> Function {
    let args = args.into_iter().map(|arg| FunctionArg::Unnamed(FunctionArgExpr::Expr(arg))).collect();
    Function {
        name: ObjectName::from(vec![Ident::new(name)]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    }
}

pub(crate) fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::DoubleColon, expr: Box::new(expr), data_type, array: false, format: None }
}

pub(crate) fn text(value: &str) -> Expr {
    Expr::value(Value::SingleQuotedString(value.into()))
}

pub(crate) fn number(value: u32) -> Expr {
    Expr::value(Value::Number(value.to_string(), false))
}

pub(crate) fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

/// The conditions in one; true if there are none.
pub(crate) fn all_of(exprs: Vec<Expr>) -> Expr {
    joined(exprs, &BinaryOperator::And)
}

/// The conditions in one; false if there are none.
pub(crate) fn any_of(exprs: Vec<Expr>) -> Expr {
    joined(exprs, &BinaryOperator::Or)
}

fn joined(exprs: Vec<Expr>, operator: &BinaryOperator) -> Expr {
    // Pairwise, so that a long list does not nest deeply.
    let mut exprs = exprs;
    while exprs.len() > 1 {
        let mut rest = std::mem::take(&mut exprs).into_iter();
        while let Some(left) = rest.next() {
            exprs.push(match rest.next() {
                Some(right) => Expr::Nested(Box::new(binary(left, operator.clone(), right))),
                None => left,
            });
        }
    }
    Expr::Nested(Box::new(exprs.pop().unwrap_or(Expr::Value(Value::Boolean(*operator == BinaryOperator::And).into()))))
}
