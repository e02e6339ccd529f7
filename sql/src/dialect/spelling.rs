//! Spellings of Postgres that the planner does not know, put into words it does.

use super::collation::unknown;
use super::date_part::EXTRACT;
use super::row_value::spell_rows;
use super::timestamp_scale::{DIGITS_MAX, TIMESTAMP_SCALE};
use crate::error::{Error, Result};
use crate::parser::parse_query;
use crate::rewrite::string_literal;
use crate::types::length_max;
use crate::walk;
use sqlparser::ast::{
    BinaryOperator, CastKind, DataType, ExactNumberInfo, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArgumentList, FunctionArguments, Ident, ObjectName, ObjectNamePart, Parens, SelectItem, SetExpr,
    SetOperator, SetQuantifier, TrimWhereField, UnaryOperator, Value, ValueWithSpan, Values,
};
use std::ops::ControlFlow;

/// Largest operand of BETWEEN that is written twice.
const REPEATED_NODES_MAX: usize = 64;
/// Names of functions that DataFusion calls otherwise.
const ALIASES: [(&str, &str); 7] = [
    ("array_remove", "array_remove_all"),
    ("array_replace", "array_replace_all"),
    ("ceiling", "ceil"),
    ("every", "bool_and"),
    ("gen_random_uuid", "uuid"),
    ("sign", "signum"),
    ("variance", "var_samp"),
];

/// Respells `expr` itself; what is inside is visited by itself.
///
/// # Errors
/// 0A000 for SIMILAR TO with a pattern that is not a literal.
pub(crate) fn spell(expr: &mut Expr) -> Result<()> {
    match expr {
        Expr::Between { expr: value, .. } if may_be_repeated(value) => between(expr),
        Expr::SimilarTo { .. } => similar_to(expr)?,
        Expr::UnaryOp { op, expr: operand } => {
            let function = match op {
                UnaryOperator::PGSquareRoot => "sqrt",
                UnaryOperator::PGCubeRoot => "cbrt",
                UnaryOperator::PGAbs => "abs",
                _ => return Ok(()),
            };
            let operand = std::mem::replace(operand.as_mut(), null());
            *expr = call(function, vec![operand]);
        }
        Expr::BinaryOp { left, op: BinaryOperator::PGStartsWith, right } => {
            let operands = [left, right].map(|operand| std::mem::replace(operand.as_mut(), null()));
            *expr = call("starts_with", operands.into());
        }
        Expr::AtTimeZone { timestamp, time_zone } => {
            let arguments = [time_zone, timestamp].map(|argument| std::mem::replace(argument.as_mut(), null()));
            *expr = call("timezone", arguments.into());
        }
        Expr::Function(function) if is(function, "generate_series") => {
            return Err(Error::unsupported(
                "generate_series in an expression is not supported",
                "Use it in FROM: SELECT * FROM generate_series(1, 10).",
            ));
        }
        Expr::Function(function) => {
            if is(function, "round") || is(function, "trunc") {
                digits_to_leave(function);
            }
            if is(function, "regexp_replace") {
                literal_argument(function, 2, |text| text.replace('$', "$$").replace("\\&", "${0}"));
            } else if is(function, "encode") {
                literal_argument(function, 1, |format| format.to_lowercase().replace("base64", "base64pad"));
            }
            if let Some((left, right)) = modulo(function) {
                let op = BinaryOperator::Modulo;
                let quotient = Expr::BinaryOp { left: Box::new(nested(left)), op, right: Box::new(nested(right)) };
                *expr = nested(quotient);
            } else if let [ObjectNamePart::Identifier(name)] = function.name.0.as_mut_slice()
                && let Some((_, known)) = ALIASES.iter().find(|(alias, _)| name.value.eq_ignore_ascii_case(alias))
            {
                *name = Ident::new(*known);
            }
        }
        Expr::Cast { kind: CastKind::Cast | CastKind::DoubleColon, .. } => bounded(expr),
        Expr::Extract { field, expr: time, .. } => {
            let unit = Expr::Value(Value::SingleQuotedString(field.to_string().to_lowercase()).into());
            let time = std::mem::replace(time.as_mut(), null());
            *expr = call(EXTRACT, vec![unit, time]);
        }
        Expr::Interval(_) => interval(expr),
        Expr::Trim { .. } => trim(expr),
        Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. } => {
            escape(pattern, escape_char)?;
        }
        Expr::BinaryOp { .. } | Expr::IsNull(_) | Expr::IsNotNull(_) | Expr::InList { .. } => spell_rows(expr)?,
        Expr::IsDistinctFrom(..) | Expr::IsNotDistinctFrom(..) => spell_rows(expr)?,
        Expr::Collate { collation, .. } => return Err(unknown(collation)),
        Expr::Value(_) => literal(expr)?,
        _ => {}
    }
    Ok(())
}

/// An interval is read as every text is that is cast to one.
fn interval(expr: &mut Expr) {
    let Expr::Interval(interval) = expr else { return };
    if interval.last_field.is_some() || interval.leading_precision.is_some() {
        return;
    }
    if let Some(text) = string_literal(&interval.value) {
        let unit = interval.leading_field.as_ref().map(|unit| format!(" {unit}")).unwrap_or_default();
        *expr = text_as(&format!("{text}{unit}"), DataType::Interval { fields: None, precision: None });
    }
}

fn literal(expr: &mut Expr) -> Result<()> {
    let Expr::Value(value) = expr else { return Ok(()) };
    match &mut value.value {
        Value::UnicodeStringLiteral(text) => value.value = Value::SingleQuotedString(std::mem::take(text)),
        Value::SingleQuotedByteStringLiteral(_) => {
            return Err(Error::unsupported("bit strings are not supported", "Use text, or a number."));
        }
        Value::Number(digits, _) if digits.contains(['e', 'E']) => *expr = text_as(digits, DataType::DoublePrecision),
        Value::Number(digits, _) if !digits.contains('.') && digits.parse::<i64>().is_err() => {
            *expr = text_as(digits, DataType::Numeric(ExactNumberInfo::Precision(digits.len() as u64)));
        }
        _ => {}
    }
    Ok(())
}

fn null() -> Expr {
    Expr::Value(Value::Null.into())
}

/// `x::varchar(3)` is cut, `t::timestamp(3)` is rounded.
fn bounded(expr: &mut Expr) {
    let Expr::Cast { expr: value, data_type, .. } = expr else { return };
    let number = |number: u64| Expr::Value(Value::Number(number.to_string(), false).into());
    if let Some(length) = length_max(data_type) {
        let text = Expr::Cast {
            kind: CastKind::Cast,
            expr: Box::new(std::mem::replace(value.as_mut(), null())),
            data_type: DataType::Text,
            array: false,
            format: None,
        };
        *expr = call("left", vec![text, number(length)]);
    } else if let DataType::Timestamp(precision, _) = data_type
        && let Some(digits) = precision.take()
        && digits < DIGITS_MAX
    {
        let time = std::mem::replace(expr, null());
        *expr = call(TIMESTAMP_SCALE, vec![time, number(digits)]);
    }
}

fn nested(expr: Expr) -> Expr {
    Expr::Nested(Box::new(expr))
}

fn call(name: &str, arguments: Vec<Expr>) -> Expr {
    let args = arguments.into_iter().map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))).collect();
    let list = FunctionArgumentList { duplicate_treatment: None, args, clauses: vec![] };
    Expr::Function(Function {
        name: ObjectName(vec![ObjectNamePart::Identifier(Ident::new(name))]),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(list),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: vec![],
    })
}

fn is(function: &Function, name: &str) -> bool {
    matches!(function.name.0.as_slice(), [ObjectNamePart::Identifier(part)] if part.value.eq_ignore_ascii_case(name))
}

/// A negative second argument is one literal, so that the type of the result can depend on it.
fn digits_to_leave(function: &mut Function) {
    let FunctionArguments::List(list) = &mut function.args else { return };
    if let [_, FunctionArg::Unnamed(FunctionArgExpr::Expr(places))] = list.args.as_mut_slice()
        && let Expr::UnaryOp { op: UnaryOperator::Minus, expr } = places
        && let Expr::Value(value) = expr.as_ref()
        && let Value::Number(digits, _) = &value.value
    {
        *places = Expr::Value(Value::Number(format!("-{digits}"), false).into());
    }
}

/// The operands of `mod(a, b)`.
fn modulo(function: &mut Function) -> Option<(Expr, Expr)> {
    if !is(function, "mod") {
        return None;
    }
    let FunctionArguments::List(list) = &mut function.args else { return None };
    let [FunctionArg::Unnamed(FunctionArgExpr::Expr(left)), FunctionArg::Unnamed(FunctionArgExpr::Expr(right))] =
        list.args.as_mut_slice()
    else {
        return None;
    };
    Some((std::mem::replace(left, null()), std::mem::replace(right, null())))
}

/// A number that the planner cannot read as what it is: one with an exponent (most do not fit `numeric`, so it is a
/// double) or an integer beyond `bigint`.
fn text_as(digits: &str, data_type: DataType) -> Expr {
    Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(Expr::Value(Value::SingleQuotedString(digits.to_owned()).into())),
        data_type,
        array: false,
        format: None,
    }
}

/// `VALUES (a, b), (c, d)` → `SELECT a AS column1, b AS column2 UNION ALL SELECT c, d`, for lists inside an INSERT, because
/// the planner would give any of them the columns of the target, and for lists with subqueries, which it cannot plan.
pub(crate) fn union_of(values: &Values) -> Result<SetExpr> {
    let SetExpr::Select(empty) = *parse_query("SELECT 1")?.body else {
        return Err(Error::internal("not a SELECT"));
    };
    let select = |row: &Parens<Vec<Expr>>| {
        let column = |(n, value): (usize, &Expr)| SelectItem::ExprWithAlias {
            expr: value.clone(),
            alias: Ident::new(format!("column{}", n + 1)),
        };
        let mut select = empty.clone();
        select.projection = row.content.iter().enumerate().map(column).collect();
        SetExpr::Select(select)
    };
    let width = values.rows.first().map_or(0, |row| row.content.len());
    if values.rows.iter().any(|row| row.content.len() != width) {
        return Err(Error::syntax("VALUES lists must all be the same length"));
    }
    let mut selects: Vec<SetExpr> = values.rows.iter().map(select).collect();
    // Pairwise, so that a long list does not nest deeply.
    while selects.len() > 1 {
        let mut pairs = Vec::with_capacity(selects.len().div_ceil(2));
        let mut rest = selects.into_iter();
        while let Some(left) = rest.next() {
            pairs.push(match rest.next() {
                Some(right) => SetExpr::SetOperation {
                    op: SetOperator::Union,
                    set_quantifier: SetQuantifier::All,
                    left: Box::new(left),
                    right: Box::new(right),
                },
                None => left,
            });
        }
        selects = pairs;
    }
    selects.pop().ok_or_else(|| Error::syntax("VALUES without a row"))
}

/// Whether an operand may stand twice: it is small, gives the same value twice, and repeats nothing itself.
pub(super) fn may_be_repeated(operand: &Expr) -> bool {
    let mut nodes = 0;
    let plain = walk::expressions(operand, |expr| {
        nodes += 1;
        let plain = match expr {
            Expr::Between { .. } | Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => false,
            Expr::Function(call) => !call.name.to_string().to_lowercase().contains("random"),
            _ => true,
        };
        if plain && nodes <= REPEATED_NODES_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    plain.is_continue()
}

/// `a BETWEEN b AND c` → `(a >= b AND a <= c)`, so that each comparison gets the types of a comparison.
fn between(expr: &mut Expr) {
    let between = std::mem::replace(expr, null());
    let Expr::Between { expr: value, negated, low, high } = between else { return };
    let (low_op, high_op, both) = match negated {
        false => (BinaryOperator::GtEq, BinaryOperator::LtEq, BinaryOperator::And),
        true => (BinaryOperator::Lt, BinaryOperator::Gt, BinaryOperator::Or),
    };
    let left = Expr::BinaryOp { left: value.clone(), op: low_op, right: low };
    let right = Expr::BinaryOp { left: value, op: high_op, right: high };
    *expr = nested(Expr::BinaryOp { left: Box::new(left), op: both, right: Box::new(right) });
}

/// Respells a literal among the arguments: in the replacement of `regexp_replace`, `$` is a dollar sign and `\&` what was
/// found; what `encode` calls base64 is padded.
fn literal_argument(function: &mut Function, at: usize, respelled: impl FnOnce(&str) -> String) {
    let FunctionArguments::List(FunctionArgumentList { args, .. }) = &mut function.args else { return };
    if let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))) = args.get_mut(at)
        && let Some(text) = string_literal(expr)
    {
        *expr = Expr::Value(Value::SingleQuotedString(respelled(text)).into());
    }
}

/// `trim(LEADING 'x' FROM s)` → `ltrim(s, 'x')`.
fn trim(expr: &mut Expr) {
    let Expr::Trim { expr: value, trim_where, trim_what, trim_characters } = std::mem::replace(expr, null()) else {
        return;
    };
    let function = match trim_where {
        Some(TrimWhereField::Leading) => "ltrim",
        Some(TrimWhereField::Trailing) => "rtrim",
        Some(TrimWhereField::Both) | None => "btrim",
    };
    let mut arguments = vec![*value];
    arguments.extend(trim_what.map(|what| *what));
    arguments.extend(trim_characters.unwrap_or_default());
    *expr = call(function, arguments);
}

/// `LIKE 'a!%' ESCAPE '!'` → `LIKE 'a\%'`: the planner knows the backslash alone.
///
/// # Errors
/// 22025 for an escape that is no character, 0A000 for a pattern or an escape that is not a literal.
fn escape(pattern: &mut Box<Expr>, escape: &mut Option<ValueWithSpan>) -> Result<()> {
    let Some(given) = escape.take() else { return Ok(()) };
    let (Value::SingleQuotedString(escape), Some(text)) = (given.value, string_literal(pattern)) else {
        return Err(Error::unsupported(
            "LIKE ... ESCAPE takes literals only",
            "Write a backslash before % and _ in the pattern.",
        ));
    };
    let mut escapes = escape.chars();
    let (escape, None) = (escapes.next(), escapes.next()) else {
        return Err(
            Error::new("22025", "invalid escape string").with_hint("Escape string must be empty or one character.")
        );
    };
    let (mut written, mut characters) = (String::with_capacity(text.len()), text.chars());
    while let Some(character) = characters.next() {
        let literal = if Some(character) == escape { characters.next() } else { None };
        match literal.unwrap_or(character) {
            plain @ ('%' | '_') if literal.is_none() => written.push(plain),
            special @ ('%' | '_' | '\\') => written.extend(['\\', special]),
            plain => written.push(plain),
        }
    }
    **pattern = Expr::Value(Value::SingleQuotedString(written).into());
    Ok(())
}

/// `a SIMILAR TO 'pattern'` → `a ~ 'regex'`.
fn similar_to(expr: &mut Expr) -> Result<()> {
    let Expr::SimilarTo { negated, expr: value, pattern, escape_char: None } = expr else {
        return Err(Error::unsupported("SIMILAR TO ... ESCAPE is not supported", "Use a regular expression: a ~ 'b'."));
    };
    let Some(pattern) = string_literal(pattern) else {
        return Err(Error::unsupported(
            "SIMILAR TO takes a literal pattern only",
            "Use a regular expression: a ~ pattern.",
        ));
    };
    let op = if *negated { BinaryOperator::PGRegexNotMatch } else { BinaryOperator::PGRegexMatch };
    let Some(regex) = regex_of(pattern) else {
        return Err(Error::unsupported(
            "this pattern of SIMILAR TO is not supported",
            "Use a regular expression: a ~ 'b'. Escaped letters and nested brackets are not read.",
        ));
    };
    let regex = Expr::Value(Value::SingleQuotedString(regex).into());
    let value = std::mem::replace(value.as_mut(), null());
    *expr = nested(Expr::BinaryOp { left: Box::new(value), op, right: Box::new(regex) });
    Ok(())
}

/// The regular expression of a SQL pattern: `%` is `.*`, `_` is `.`; `| * + ? { } ( ) [ ]` are shared; the rest is text.
/// `None` for what the two read differently: an escaped letter, and set operators in brackets.
fn regex_of(pattern: &str) -> Option<String> {
    let mut regex = String::from("^(?s:");
    let mut characters = pattern.chars();
    let mut in_brackets = false;
    while let Some(character) = characters.next() {
        match character {
            '\\' => push_escaped(&mut regex, characters.next().filter(|c| !c.is_alphanumeric())?),
            '[' | '&' | '~' if in_brackets => return None,
            '%' if !in_brackets => regex.push_str(".*"),
            '_' if !in_brackets => regex.push('.'),
            '.' | '^' | '$' if !in_brackets => push_escaped(&mut regex, character),
            other => {
                in_brackets = (in_brackets || other == '[') && other != ']';
                regex.push(other);
            }
        }
    }
    regex.push_str(")$");
    Some(regex)
}

fn push_escaped(regex: &mut String, character: char) {
    if character.is_ascii_punctuation() {
        regex.push('\\');
    }
    regex.push(character);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sql_patterns_become_regular_expressions() {
        assert_eq!(regex_of("a(b|c)%").as_deref(), Some("^(?s:a(b|c).*)$"));
        assert_eq!(regex_of("a.\\%_[x_%]").as_deref(), Some("^(?s:a\\.\\%.[x_%])$"));
        assert_eq!(regex_of("\\d"), None);
        assert_eq!(regex_of("[a&&b]"), None);
    }
}
