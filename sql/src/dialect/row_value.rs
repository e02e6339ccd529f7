//! Row values, compared column by column: `(a, b) = (c, d)` is `a = c AND b = d`, which is NULL where Postgres' is.
//! DataFusion compares structures, for which NULL is a value.
//!
//! ```text
//! (a, b) <> (c, d)           a <> c OR b <> d
//! (a, b) <  (c, d)           a < c OR (a = c AND b < d)
//! (a, b) IN ((c, d), (e, f)) (a = c AND b = d) OR (a = e AND b = f)
//! (a, b) IS NULL             a IS NULL AND b IS NULL      (IS NOT NULL alike: it is not the opposite)
//! ```

use super::spelling::may_be_repeated;
use crate::error::{Error, Result};
use crate::rewrite::build::{all_of, any_of, binary};
use crate::walk;
use sqlparser::ast::{BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, UnaryOperator};
use std::ops::ControlFlow;

/// Rows that IN compares with.
const ROWS_MAX: usize = 1000;

/// Spells out what compares rows.
///
/// # Errors
/// 42601 for rows of different lengths, 0A000 for operators that do not compare and for operands that would be computed
/// more than once and are not small, 54001 for more than [`ROWS_MAX`].
pub(super) fn spell_rows(expr: &mut Expr) -> Result<()> {
    let spelled = match &*expr {
        Expr::BinaryOp { left, op, right } => match (row(left), row(right)) {
            (Some(left), Some(right)) => Some(compared(&left, op, &right)?),
            _ => None,
        },
        Expr::IsDistinctFrom(left, right) => each_pair(left, right, Expr::IsDistinctFrom)?.map(any_of),
        Expr::IsNotDistinctFrom(left, right) => each_pair(left, right, Expr::IsNotDistinctFrom)?.map(all_of),
        Expr::IsNull(value) => {
            row(value).map(|row| all_of(row.into_iter().map(|v| Expr::IsNull(Box::new(v))).collect()))
        }
        Expr::IsNotNull(value) => {
            row(value).map(|row| all_of(row.into_iter().map(|v| Expr::IsNotNull(Box::new(v))).collect()))
        }
        Expr::InList { expr: value, list, negated } => match row(value) {
            Some(value) => Some(in_list(&value, list, *negated)?),
            None => None,
        },
        _ => None,
    };
    if let Some(spelled) = spelled {
        *expr = Expr::Nested(Box::new(spelled));
    }
    Ok(())
}

/// The values of `(a, b)` or `ROW(a, b)`.
fn row(expr: &Expr) -> Option<Vec<Expr>> {
    match expr {
        Expr::Tuple(values) => Some(values.clone()),
        Expr::Nested(inner) => row(inner),
        Expr::Function(call) if call.name.0.len() == 1 && call.name.to_string().eq_ignore_ascii_case("row") => {
            let FunctionArguments::List(list) = &call.args else { return None };
            let value = |argument: &FunctionArg| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) => Some(value.clone()),
                _ => None,
            };
            list.args.iter().map(value).collect()
        }
        _ => None,
    }
}

fn pairs(left: &[Expr], right: &[Expr]) -> Result<Vec<(Expr, Expr)>> {
    if left.len() != right.len() || left.is_empty() {
        return Err(Error::syntax("unequal number of entries in row expressions"));
    }
    Ok(left.iter().cloned().zip(right.iter().cloned()).collect())
}

fn each_pair(left: &Expr, right: &Expr, test: fn(Box<Expr>, Box<Expr>) -> Expr) -> Result<Option<Vec<Expr>>> {
    let (Some(left), Some(right)) = (row(left), row(right)) else { return Ok(None) };
    Ok(Some(pairs(&left, &right)?.into_iter().map(|(l, r)| test(Box::new(l), Box::new(r))).collect()))
}

fn compared(left: &[Expr], operator: &BinaryOperator, right: &[Expr]) -> Result<Expr> {
    use BinaryOperator as O;
    let pairs = pairs(left, right)?;
    let strict = match operator {
        O::Eq => return Ok(all_of(pairs.into_iter().map(|(l, r)| binary(l, O::Eq, r)).collect())),
        O::NotEq => return Ok(any_of(pairs.into_iter().map(|(l, r)| binary(l, O::NotEq, r)).collect())),
        O::Lt | O::LtEq => O::Lt,
        O::Gt | O::GtEq => O::Gt,
        _ => return Err(Error::unsupported(format!("rows have no operator {operator}"), "Compare their columns.")),
    };
    repeatable(left)?;
    repeatable(right)?;
    let mut pairs = pairs.into_iter().rev();
    let Some((l, r)) = pairs.next() else { return Err(Error::internal("an empty row")) };
    let last = binary(l, operator.clone(), r);
    Ok(pairs.fold(last, |rest, (l, r)| {
        let equal = all_of(vec![binary(l.clone(), O::Eq, r.clone()), rest]);
        any_of(vec![binary(l, strict.clone(), r), equal])
    }))
}

/// What a comparison says more than once must give the same, and must not grow with each row around it.
fn repeatable(row: &[Expr]) -> Result<()> {
    let rows_inside = |e: &Expr| match e {
        Expr::Tuple(_) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    };
    let small = |value: &Expr| may_be_repeated(value) && walk::expressions(value, rows_inside).is_continue();
    match row.iter().all(small) {
        true => Ok(()),
        false => Err(Error::unsupported(
            "rows of such expressions are not compared in this way",
            "Compute them in a subquery in FROM and compare its columns.",
        )),
    }
}

fn in_list(value: &[Expr], list: &[Expr], negated: bool) -> Result<Expr> {
    if list.len() > ROWS_MAX {
        return Err(Error::new("54001", format!("IN takes at most {ROWS_MAX} rows"))
            .with_hint("Join with the rows: ... JOIN (VALUES ...) AS r (a, b) ON ..."));
    }
    if list.len() > 1 {
        repeatable(value)?;
    }
    let equal = |item: &Expr| match row(item) {
        Some(item) => compared(value, &BinaryOperator::Eq, &item),
        None => Err(Error::syntax("unequal number of entries in row expressions")),
    };
    let found = any_of(list.iter().map(equal).collect::<Result<_>>()?);
    Ok(if negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(found) } } else { found })
}
