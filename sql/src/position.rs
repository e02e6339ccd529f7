//! Where in a statement's text an error lies, when the planner says what it could not resolve but not where.
//!
//! The text is split into words again, which costs nothing as long as nothing fails, and the word the error names is
//! looked up: an identifier for an unknown column, relation or function, a literal for a value that cannot be read. The
//! first one is taken; Postgres too reports the first it meets.

use crate::error::{Error, position_of};
use crate::parser::Postgres;
use crate::statement::Statement;
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

/// What the error's message quotes.
enum Named<'a> {
    Identifier(&'a str),
    Function(&'a str),
    Literal(&'a str),
}

/// The error with a position, if it names something the statement says.
pub(crate) fn located(error: Error, statement: &Statement) -> Error {
    if error.position.is_some() {
        return error;
    }
    let position = named(&error).and_then(|named| find(&named, &statement.text, statement.start));
    Error { position, ..error }
}

fn named(error: &Error) -> Option<Named<'_>> {
    let first = quoted(&error.message)?;
    match error.sqlstate {
        "42703" | "42702" | "42P01" | "42803" | "42704" | "42809" | "3F000" => {
            Some(Named::Identifier(first.rsplit('.').next().unwrap_or(first)))
        }
        "42883" => Some(Named::Function(first.rsplit('.').next().unwrap_or(first))),
        "22P02" | "22007" | "22008" => Some(Named::Literal(quoted_last(&error.message)?)),
        _ => None,
    }
}

/// `x` of `column "x" does not exist`, `f` of `function f(integer) does not exist`.
fn quoted(message: &str) -> Option<&str> {
    if let Some(function) = message.strip_prefix("function ") {
        return function.split([' ', '(']).next();
    }
    let (_, rest) = message.split_once('"')?;
    rest.split_once('"').map(|(name, _)| name)
}

/// What stands between the first quote and the last: a value may contain quotes.
fn quoted_last(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once(": \"")?;
    rest.strip_suffix('"')
}

fn find(named: &Named<'_>, text: &str, start: Location) -> Option<usize> {
    let dialect = Postgres;
    let mut tokens = Tokenizer::new(&dialect, text).tokenize_with_location().ok()?;
    tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
    let from = tokens.iter().position(|token| token.span.start >= start)?;
    let tokens = &tokens[from..];
    let end = tokens.iter().position(|token| token.token == Token::SemiColon).unwrap_or(tokens.len());
    let at = (0..end).find(|&at| is(named, tokens, at))?;
    let start = qualified_from(tokens, at);
    position_of(text, start.line as usize, start.column as usize)
}

fn is(named: &Named<'_>, tokens: &[TokenWithSpan], at: usize) -> bool {
    match (named, &tokens[at].token) {
        (Named::Identifier(name), Token::Word(word)) => is_name(word, name) && !calls(tokens, at),
        (Named::Function(name), Token::Word(word)) => is_name(word, name) && calls(tokens, at),
        (Named::Literal(value), Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text)) => text == value,
        _ => false,
    }
}

fn is_name(word: &sqlparser::tokenizer::Word, name: &str) -> bool {
    match word.quote_style {
        Some(_) => word.value == name,
        None => word.value.to_lowercase() == name,
    }
}

fn calls(tokens: &[TokenWithSpan], at: usize) -> bool {
    tokens.get(at + 1).is_some_and(|next| next.token == Token::LParen)
}

/// The start of `a` in `a.b`.
fn qualified_from(tokens: &[TokenWithSpan], mut at: usize) -> Location {
    while at >= 2 && tokens[at - 1].token == Token::Period && matches!(tokens[at - 2].token, Token::Word(_)) {
        at -= 2;
    }
    tokens[at].span.start
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(sql: &str, sqlstate: &'static str, message: &str) -> Option<usize> {
        let statements = crate::parser::parse(sql).unwrap();
        located(Error::new(sqlstate, message), statements.last().unwrap()).position
    }

    #[test]
    fn names_and_literals_are_found() {
        assert_eq!(position("SELECT a, b FROM t", "42703", "column \"b\" does not exist"), Some(11));
        assert_eq!(position("SELECT t.b FROM t", "42703", "column \"t.b\" does not exist"), Some(8));
        assert_eq!(position("SELECT 1;\nSELECT b", "42703", "column \"b\" does not exist"), Some(18));
        assert_eq!(position("SELECT f, f(1)", "42883", "function f(integer) does not exist"), Some(11));
        assert_eq!(position("SELECT 'x'::int", "22P02", "invalid input syntax for type integer: \"x\""), Some(8));
        assert_eq!(position("SELECT \"B\", b", "42703", "column \"b\" does not exist"), Some(13));
    }

    #[test]
    fn what_the_statement_does_not_say_has_no_position() {
        assert_eq!(position("SELECT 1", "42703", "column \"b\" does not exist"), None);
        assert_eq!(position("SELECT 1", "22012", "division by zero"), None);
    }
}
