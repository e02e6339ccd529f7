//! Integer literals are `integer` where they fit, as in Postgres; DataFusion's are all `bigint`.
//!
//! Only literals that give an expression its type are touched: operands, results of CASE, items of SELECT, VALUES and
//! ARRAY, arguments of the functions below. Numbers that are positions or counts (`ORDER BY 1`, `LIMIT 5`,
//! `substr(s, 2)`) stay as they are, because DataFusion asks for a literal there.

use sqlparser::ast::{CastKind, DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, SelectItem, Value};

/// Functions that give back the type of their arguments.
const TRANSPARENT: [&str; 9] =
    ["coalesce", "nullif", "greatest", "least", "sum", "avg", "min", "max", "generate_series"];

/// Types the literals directly under `expr`.
pub(crate) fn narrow(expr: &mut Expr) {
    match expr {
        Expr::BinaryOp { left, right, .. } => {
            literal(left);
            literal(right);
        }
        Expr::UnaryOp { expr, .. } => literal(expr),
        Expr::Case { conditions, else_result, .. } => {
            conditions.iter_mut().for_each(|when| literal(&mut when.result));
            if let Some(result) = else_result {
                literal(result);
            }
        }
        Expr::Array(array) => array.elem.iter_mut().for_each(literal),
        Expr::Function(call) => {
            let transparent = call.name.0.last().and_then(|part| part.as_ident()).is_some_and(|name| {
                call.name.0.len() == 1 && TRANSPARENT.iter().any(|known| name.value.eq_ignore_ascii_case(known))
            });
            if let FunctionArguments::List(list) = &mut call.args
                && transparent
            {
                for argument in &mut list.args {
                    if let FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) = argument {
                        literal(value);
                    }
                }
            }
        }
        _ => {}
    }
}

/// Types a SELECT item that is a literal.
pub(crate) fn narrow_item(item: &mut SelectItem) {
    if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
        literal(expr);
    }
}

/// Types `expr` if it is a literal.
pub(crate) fn literal(expr: &mut Expr) {
    match expr {
        Expr::Nested(inner) => literal(inner),
        Expr::Value(value) => {
            let fits = matches!(&value.value, Value::Number(digits, _) if digits.parse::<i32>().is_ok());
            if fits {
                let number = std::mem::replace(expr, Expr::Value(Value::Null.into()));
                *expr = Expr::Cast {
                    kind: CastKind::DoubleColon,
                    expr: Box::new(number),
                    data_type: DataType::Integer(None),
                    array: false,
                    format: None,
                };
            }
        }
        _ => {}
    }
}
