//! Bounds on how much a query string may hold, looked at before it becomes tokens and trees.
//!
//! A token takes up to a hundred bytes and the tree above it a few hundred, so that 48 MiB of `1,1,1,…` would take ten
//! gigabytes. A long literal (a module, a document) is one token, however long it is.
//!
//! Invariant: [`tokens_at_most`] is never less than what the tokenizer makes; where it is not sure that text is inside a
//! literal it counts it as if it were not.

use crate::error::{Error, Result};

/// Tokens of a query string.
const TOKENS_MAX: usize = 2_000_000;
/// Statements of a query string.
const STATEMENTS_MAX: usize = 10_000;

/// # Errors
/// 54000 for text of too many tokens.
pub(super) fn check_text(sql: &str) -> Result<()> {
    if sql.len() <= TOKENS_MAX || tokens_at_most(sql.as_bytes()) <= TOKENS_MAX {
        return Ok(());
    }
    Err(Error::new("54000", format!("query string has more than {TOKENS_MAX} words and signs"))
        .with_hint("Load many rows with COPY, or send them in several statements."))
}

/// # Errors
/// 54000 when `count` statements are the most there may be.
pub(super) fn check_count(count: usize) -> Result<()> {
    if count < STATEMENTS_MAX {
        return Ok(());
    }
    Err(Error::new("54000", format!("query string has more than {STATEMENTS_MAX} statements"))
        .with_hint("Send them in several query strings."))
}

/// Signs and beginnings of words outside of plain literals.
fn tokens_at_most(text: &[u8]) -> usize {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let continues = |byte: u8| (0x80..0xc0).contains(&byte);
    // Until something that may hold quotes which are none: comments, dollar quotes, other kinds of literals.
    let mut plain = true;
    let (mut tokens, mut at, mut before) = (0, 0, b' ');
    while let Some(&byte) = text.get(at) {
        let next = text.get(at + 1).copied().unwrap_or(b' ');
        plain &= match byte {
            b'"' | b'\\' => false,
            b'-' => next != b'-',
            b'/' => next != b'*',
            b'$' => next.is_ascii_digit(),
            b'\'' => !word(before) && before != b'&',
            _ => true,
        };
        if byte == b'\'' && plain {
            let Some(length) = text[at + 1..].iter().position(|byte| *byte == b'\'') else { return tokens + 1 };
            at += length + 1;
        }
        if !(continues(byte) || word(byte) && word(before)) {
            // `1a` is a number and a word.
            tokens += 1 + usize::from(byte.is_ascii_digit());
        }
        (at, before) = (at + 1, byte);
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlparser::dialect::PostgreSqlDialect;
    use sqlparser::tokenizer::Tokenizer;

    #[test]
    fn never_less_than_the_tokenizer_counts() {
        for sql in [
            "SELECT a, b.c FROM t WHERE x >= 1.5e3 AND y = 'it''s' -- 'quoted\n, 1, 2, 3",
            "SELECT $$'$$, 1, 2, 3, '4'",
            "SELECT E'\\'', 1, 2, 3, 4 '",
            "SELECT U&'a', N'b', X'0f', $1, '$1'",
            "SELECT \"it's\", 1, 2, 3, 'x'",
            "/* ' */ SELECT 1, 2, 3 /* ' */",
            "SELECT 'open, 1, 2, 3",
            "SELECT 1a 1b 0x1f 1e5e5 1_0a",
            "SELECT\u{a0}\u{a0}\u{3000}\u{3000} é, \u{2260}\u{2260}",
        ] {
            let counted = tokens_at_most(sql.as_bytes());
            let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize().map_or(0, |tokens| tokens.len());
            assert!(counted >= tokens, "{sql}: {counted} < {tokens}");
        }
    }

    #[test]
    fn long_literals_are_few_tokens_and_long_lists_are_many() {
        let literal = |text: &str| format!("CREATE MODULE m FROM BASE64 '{}'", text.repeat(10_000_000 / text.len()));
        assert!(check_text(&literal("abc+/")).is_ok() && check_text(&literal("a 'b', ")).is_err());
        let list = |length: usize| format!("SELECT 1{}", ",1".repeat(length));
        assert!(check_text(&list(600_000)).is_ok());
        assert_eq!(check_text(&list(1_100_000)).unwrap_err().sqlstate, "54000");
        assert_eq!(crate::parser::parse(&"SELECT 1;".repeat(10_001)).unwrap_err().sqlstate, "54000");
        assert_eq!(crate::parser::parse(&"SELECT 1;".repeat(10_000)).unwrap().len(), 10_000);
    }
}
