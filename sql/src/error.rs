//! SQL errors as a Postgres client sees them.
//!
//! Every error that leaves this crate carries a SQLSTATE drivers can branch on, a lowercase one-line message and,
//! where there is one, a hint. DataFusion and Arrow report most faults as text only; [`classify`](mod@classify)
//! is the one place that reads such text, so that a new wording shows up in one table of tests.

mod classify;

use self::classify::{classify, division_by_zero, lowercase_first, tidy};
use crate::rewrite::shown;
use datafusion::arrow::error::ArrowError;
use datafusion::common::{DataFusionError, SchemaError};
use datafusion::parquet::errors::ParquetError;
use sqlparser::parser::ParserError;
use std::error::Error as StdError;

/// Result of a SQL call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error with what Postgres' ErrorResponse carries.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{message}")]
pub struct Error {
    /// Five characters, e.g. `42P01`.
    pub sqlstate: &'static str,
    /// Lowercase, one line.
    pub message: String,
    pub detail: Option<String>,
    /// What to do next.
    pub hint: Option<String>,
    /// 1-based character position in the statement's text.
    pub position: Option<usize>,
}

impl Error {
    /// An error with only a state and a message.
    pub fn new(sqlstate: &'static str, message: impl Into<String>) -> Error {
        Error { sqlstate, message: message.into(), detail: None, hint: None, position: None }
    }

    /// 0A000, with what to do instead.
    pub fn unsupported(message: impl Into<String>, hint: impl Into<String>) -> Error {
        Error::new("0A000", message).with_hint(hint)
    }

    /// 42601.
    pub fn syntax(message: impl Into<String>) -> Error {
        Error::new("42601", message)
    }

    /// 42P01.
    pub fn undefined_relation(name: &str) -> Error {
        Error::new("42P01", format!("relation \"{name}\" does not exist"))
    }

    /// 57014 for a cancel request.
    pub fn cancelled() -> Error {
        Error::new("57014", "canceling statement due to user request")
    }

    /// 57014 for `statement_timeout`.
    pub fn timed_out() -> Error {
        Error::new("57014", "canceling statement due to statement timeout")
    }

    /// XX000: a bug of ours.
    pub fn internal(message: impl Into<String>) -> Error {
        Error::new("XX000", message)
    }

    pub fn with_detail(mut self, detail: impl Into<String>) -> Error {
        self.detail = Some(detail.into());
        self
    }

    pub fn with_hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into());
        self
    }

    pub fn with_position(mut self, position: usize) -> Error {
        self.position = Some(position);
        self
    }

    /// A parser's error in `text`: its "at Line: l, Column: c" becomes a position.
    pub fn from_parser(error: &ParserError, text: &str) -> Error {
        let message = match error {
            ParserError::TokenizerError(m) | ParserError::ParserError(m) => m.clone(),
            ParserError::RecursionLimitExceeded => {
                return Error::new("54001", "statement is nested too deeply")
                    .with_hint("Split the expression or use a WITH query.");
            }
        };
        let (message, at) = split_location(&message);
        let mut found = Error::syntax(format!("syntax error: {}", lowercase_first(message)));
        found.position = match at {
            Some((line, column)) => position_of(text, line, column),
            None if message.ends_with("found: EOF") && !text.is_empty() => Some(text.chars().count() + 1),
            None => None,
        };
        found
    }
}

impl From<millpond_engine::Error> for Error {
    fn from(error: millpond_engine::Error) -> Error {
        from_engine(&error)
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Error {
        from_datafusion(&error)
    }
}

impl From<ArrowError> for Error {
    fn from(error: ArrowError) -> Error {
        from_arrow(&error)
    }
}

impl From<tokio::task::JoinError> for Error {
    fn from(error: tokio::task::JoinError) -> Error {
        Error::internal(format!("a task of the server failed: {error}"))
    }
}

fn from_engine(error: &millpond_engine::Error) -> Error {
    use millpond_engine::Error as E;
    use millpond_engine::error::GUEST_FAILED;
    let text = error.to_string();
    match error {
        E::NullValue { .. } => Error::new("23502", text),
        E::Invalid(_) => Error::new("22023", text),
        E::NotFound(_) => Error::new("42P01", text),
        E::AlreadyExists(_) => Error::new("42P07", text),
        E::InUse(_) => Error::new("2BP01", text).with_hint("Use DROP ... CASCADE to drop the dependent objects too."),
        E::DuplicateKey { detail, .. } => Error::new("23505", text).with_detail(detail.clone()),
        E::Compute(_) => of_expression(text),
        E::Function { sqlstate, detail, .. } => {
            let found = Error::new(sqlstate, text);
            if detail.is_empty() { found } else { found.with_detail(detail.clone()) }
        }
        E::ViewStopped { .. } => {
            Error::new("55000", text).with_hint("Drop the view and create it again once the cause is gone.")
        }
        E::ViewFailing { view, origin, rows, error } => {
            let found = match error.of_guest {
                false => of_expression(text),
                true => Error::new(GUEST_FAILED, text),
            };
            let rows = if *rows == 1 { "One row".to_owned() } else { format!("{rows} rows") };
            let through = if view == origin { String::new() } else { format!(", which \"{view}\" reads,") };
            found.with_detail(format!("{rows} of materialized view \"{origin}\"{through} cannot be computed.")).with_hint(
                "It answers again when such rows are gone. Or guard the expression: CASE WHEN x <> 0 THEN 1 / x END.",
            )
        }
        E::Locked { .. } => Error::new("55P03", text)
            .with_hint("Another transaction has written to it: try again when that one has ended."),
        E::Memory { hint, .. } => Error::new("53200", text).with_hint(*hint),
        E::Limit(_) => Error::new("53400", text),
        E::Unsupported(_) => Error::new("0A000", text),
        E::Corrupt { .. } => Error::new("XX001", text),
        E::Stopped(m) if m.contains("cancel") => Error::cancelled(),
        E::Stopped(_) => Error::new("57P01", text),
        E::Io { .. } => Error::new("58030", text),
        E::Internal(_) => Error::new("XX000", text),
    }
}

/// An error of an expression of ours that lost its SQLSTATE on the way through the engine.
fn of_expression(text: String) -> Error {
    const STATES: [(&str, &str); 3] = [
        ("invalid input syntax for type date", "22007"),
        ("invalid input syntax for type time", "22007"),
        ("invalid input syntax for type ", "22P02"),
    ];
    match STATES.iter().find(|(start, _)| text.starts_with(start)) {
        Some((_, state)) => Error::new(state, text),
        None => classify(&text).unwrap_or_else(|| Error::new("22000", tidy(&text))),
    }
}

fn from_datafusion(error: &DataFusionError) -> Error {
    use DataFusionError as D;
    match error {
        D::Context(_, inner) | D::Diagnostic(_, inner) => from_datafusion(inner),
        D::Collection(errors) => errors.first().map_or_else(|| Error::internal("no error given"), from_datafusion),
        D::Shared(inner) => from_datafusion(inner),
        D::ArrowError(inner, _) => from_arrow(inner),
        D::External(inner) => from_boxed(inner.as_ref()),
        D::ParquetError(inner) => match inner.as_ref() {
            ParquetError::External(inner) => from_boxed(inner.as_ref()),
            other => Error::internal(tidy(&other.to_string())),
        },
        D::SQL(inner, _) => Error::from_parser(inner, ""),
        D::SchemaError(inner, _) => from_schema(inner),
        D::NotImplemented(m) => classify(m).unwrap_or_else(|| Error::new("0A000", tidy(m))),
        D::ResourcesExhausted(m) => Error::new("53200", tidy(m))
            .with_hint("The memory of queries is bounded: filter or aggregate earlier, or read fewer columns."),
        D::Plan(m) => classify(m).unwrap_or_else(|| Error::new("42000", tidy(m))),
        D::Execution(m) => classify(m).unwrap_or_else(|| Error::new("22000", tidy(m))),
        D::IoError(e) => Error::new("58030", e.to_string()),
        other => {
            let text = other.strip_backtrace();
            classify(&text).unwrap_or_else(|| Error::internal(tidy(&text)))
        }
    }
}

fn from_arrow(error: &ArrowError) -> Error {
    match error {
        ArrowError::DivideByZero => division_by_zero(),
        ArrowError::ArithmeticOverflow(m) => Error::new("22003", tidy(m)),
        ArrowError::ExternalError(inner) => from_boxed(inner.as_ref()),
        other => {
            let text = other.to_string();
            classify(&text).unwrap_or_else(|| Error::new("22000", tidy(&text)))
        }
    }
}

/// An error that travelled through DataFusion or Arrow as a box.
fn from_boxed(error: &(dyn StdError + Send + Sync + 'static)) -> Error {
    if let Some(error) = error.downcast_ref::<Error>() {
        return error.clone();
    }
    if let Some(error) = error.downcast_ref::<millpond_engine::Error>() {
        return from_engine(error);
    }
    if let Some(error) = error.downcast_ref::<DataFusionError>() {
        return from_datafusion(error);
    }
    if let Some(error) = error.downcast_ref::<ArrowError>() {
        return from_arrow(error);
    }
    let text = error.to_string();
    classify(&text).unwrap_or_else(|| Error::internal(tidy(&text)))
}

fn from_schema(error: &SchemaError) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let relation = field.relation.as_ref().map(|relation| relation.table());
            if let Some(relation) = relation
                && !valid_fields.iter().any(|f| f.relation.as_ref().is_some_and(|r| r.table() == relation))
            {
                return Error::new("42P01", format!("missing FROM-clause entry for table \"{relation}\""));
            }
            let found = Error::new("42703", format!("column \"{}\" does not exist", field.flat_name()));
            if valid_fields.is_empty() {
                return found;
            }
            let names: Vec<String> = valid_fields.iter().take(20).map(|f| shown(&f.name).to_owned()).collect();
            found.with_hint(format!("There are: {}.", names.join(", ")))
        }
        SchemaError::AmbiguousReference { field } => {
            Error::new("42702", format!("column reference \"{}\" is ambiguous", field.name))
        }
        SchemaError::DuplicateQualifiedField { qualifier, .. } => {
            Error::new("42712", format!("table name \"{}\" specified more than once", qualifier.table()))
                .with_hint("Give one of them an alias.")
        }
        SchemaError::DuplicateUnqualifiedField { name } => {
            Error::new("42701", format!("column \"{name}\" specified more than once"))
        }
    }
}

/// Cuts "… at Line: 1, Column: 8" off a parser's message.
fn split_location(message: &str) -> (&str, Option<(usize, usize)>) {
    let Some(at) = message.rfind(" at Line: ") else { return (message, None) };
    let mut numbers =
        message[at..].split(|c: char| !c.is_ascii_digit()).filter(|s| !s.is_empty()).filter_map(|s| s.parse().ok());
    match (numbers.next(), numbers.next()) {
        (Some(line), Some(column)) => (&message[..at], Some((line, column))),
        _ => (message, None),
    }
}

/// 1-based character position of a 1-based line and column.
pub(crate) fn position_of(text: &str, line: usize, column: usize) -> Option<usize> {
    if line == 0 || column == 0 {
        return None;
    }
    let mut start = 0;
    for _ in 1..line {
        start += text[start..].find('\n')? + 1;
    }
    Some(text[..start].chars().count() + column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_error_keeps_its_state_through_datafusion() {
        let guest = millpond_engine::Error::Function {
            sqlstate: "38000",
            function: "m.f".into(),
            message: "trap".into(),
            detail: String::new(),
        };
        let wrapped = DataFusionError::External(Box::new(guest)).context("while projecting");
        let travelled = DataFusionError::ArrowError(Box::new(ArrowError::ExternalError(Box::new(wrapped))), None);
        assert_eq!(Error::from(travelled), Error::new("38000", "function m.f: trap"));
    }

    #[test]
    fn parser_errors_point_into_the_text() {
        let text = "SELECT 1;\nSELECT é FROM";
        let error = ParserError::ParserError("Expected: x, found: y at Line: 2, Column: 8".into());
        let found = Error::from_parser(&error, text);
        assert_eq!((found.sqlstate, found.position), ("42601", Some(18)));
        assert_eq!(found.message, "syntax error: expected: x, found: y");
    }
}
