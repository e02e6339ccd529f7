//! `CREATE …`: streams, tables, modules and materialized views; everything else is refused by name.

use super::Input;
use crate::error::{Error, Result};
use crate::statement::{CreateRelation, CreateView, Kind, folded};
use sqlparser::ast::{self, ColumnOption, TableConstraint};
use sqlparser::tokenizer::Token;

/// Upload size a statement may carry; the engine's host has a limit of its own.
const MODULE_BYTES_MAX: usize = 64 << 20;

impl Input<'_> {
    pub(super) fn create(&mut self) -> Result<Kind> {
        let start = self.offset();
        self.expect_word("CREATE")?;
        if self.eat_words(&["OR", "REPLACE"]) {
            return Err(Error::unsupported("CREATE OR REPLACE is not supported", "Drop the object first."));
        }
        let word = self.any_word()?;
        match word.as_str() {
            "STREAM" => self.relation(start, true),
            "SOURCE" => self.relation(start, true),
            "TABLE" => self.relation(start, false),
            "MODULE" => self.module(),
            "MATERIALIZED" => {
                self.expect_word("VIEW")?;
                self.view()
            }
            other => Err(refused(other)),
        }
    }

    fn if_not_exists(&mut self) -> bool {
        self.eat_words(&["IF", "NOT", "EXISTS"])
    }

    fn relation(&mut self, start: usize, stream: bool) -> Result<Kind> {
        let if_not_exists = self.if_not_exists();
        let name = self.name()?;
        if self.eat_word("AS") {
            return Err(Error::unsupported(
                "CREATE TABLE AS is not supported",
                "Use CREATE MATERIALIZED VIEW, or CREATE TABLE and INSERT ... SELECT.",
            ));
        }
        let mut made =
            CreateRelation { name, if_not_exists, columns: vec![], key: vec![], partitions: None, text: String::new() };
        self.expect(&Token::LParen)?;
        loop {
            self.element(&mut made, stream)?;
            if !self.parser.consume_token(&Token::Comma) {
                break;
            }
        }
        self.expect(&Token::RParen)?;
        let append_only = self.relation_options(&mut made)?;
        take_primary_key(&mut made)?;
        made.text = self.text[start..self.offset()].trim().to_owned();
        if stream || append_only { Ok(Kind::CreateStream(made)) } else { Ok(Kind::CreateTable(made)) }
    }

    /// One column, constraint, KEY or WATERMARK clause.
    fn element(&mut self, made: &mut CreateRelation, stream: bool) -> Result<()> {
        if self.peek_word(0).as_deref() == Some("WATERMARK") && self.peek_word(1).as_deref() == Some("FOR") {
            return Err(Error::unsupported(
                "WATERMARK is not supported yet",
                "Leave it out: windows over event time work without it, but their state is kept for ever.",
            ));
        }
        let key_follows = self.parser.peek_nth_token_ref(1).token == Token::LParen;
        if stream && key_follows && self.eat_word("KEY") {
            made.key = self.columns()?;
            return Ok(());
        }
        let constraint = self.parser.parse_optional_table_constraint();
        match constraint.map_err(|e| self.error(&e))? {
            None => {
                let column = self.parser.parse_column_def();
                made.columns.push(column.map_err(|e| self.error(&e))?);
                Ok(())
            }
            Some(TableConstraint::PrimaryKey(primary)) => {
                for column in primary.columns {
                    match column.column.expr {
                        ast::Expr::Identifier(ident) => made.key.push(folded(&ident)),
                        other => return Err(Error::syntax(format!("expected a column name, found {other}"))),
                    }
                }
                Ok(())
            }
            Some(other) => Err(constraint_refused(&other)),
        }
    }

    /// `[APPEND ONLY] [WITH (…)]` in any order; whether it is append-only.
    fn relation_options(&mut self, made: &mut CreateRelation) -> Result<bool> {
        let mut append_only = false;
        loop {
            if self.eat_words(&["APPEND", "ONLY"]) {
                append_only = true;
            } else if self.eat_word("INCLUDE") {
                return Err(Error::unsupported(
                    "INCLUDE is not supported",
                    "Every stream has the columns _partition, _offset and _append_ts.",
                ));
            } else if self.eat_word("WITH") {
                self.with_options(made, &mut append_only)?;
            } else {
                return Ok(append_only);
            }
        }
    }

    fn with_options(&mut self, made: &mut CreateRelation, append_only: &mut bool) -> Result<()> {
        self.expect(&Token::LParen)?;
        loop {
            let name = self.column()?;
            match name.to_lowercase().as_str() {
                "appendonly" | "append_only" => *append_only = self.optional_boolean()?,
                "partitions" => {
                    let text = self.option_value()?;
                    let count = text.parse().map_err(|_| {
                        Error::new("22023", format!("partitions must be a whole number, not \"{text}\""))
                    })?;
                    made.partitions = Some(count);
                }
                "key" => {
                    let text = self.option_value()?;
                    made.key = text.split(',').map(|c| c.trim().to_lowercase()).filter(|c| !c.is_empty()).collect();
                }
                "retention" => {
                    return Err(Error::unsupported(
                        "retention is not supported yet",
                        "Leave it out: all rows are kept.",
                    ));
                }
                "connector" => {
                    return Err(Error::unsupported(
                        "connectors are not supported",
                        "Leave WITH (connector = ...) out and feed the stream with COPY or INSERT.",
                    ));
                }
                other => {
                    return Err(Error::new("22023", format!("unrecognized option \"{other}\""))
                        .with_hint("Options are partitions and key."));
                }
            }
            if !self.parser.consume_token(&Token::Comma) {
                break;
            }
        }
        self.expect(&Token::RParen)
    }

    fn option_value(&mut self) -> Result<String> {
        self.expect(&Token::Eq)?;
        let value = match &self.parser.peek_token_ref().token {
            Token::Number(text, _) | Token::SingleQuotedString(text) => text.clone(),
            Token::Word(word) => word.value.clone(),
            _ => return Err(self.unexpected()),
        };
        self.parser.next_token();
        Ok(value)
    }

    fn module(&mut self) -> Result<Kind> {
        let if_not_exists = self.if_not_exists();
        let name = self.name()?;
        if !self.eat_word("AS") {
            self.expect_word("FROM")?;
        }
        let base64 = self.eat_word("BASE64");
        let text = self.string()?;
        let hex = text.trim_start().strip_prefix("\\x");
        let bytes = match hex {
            Some(digits) if !base64 => decode_hex(digits),
            _ => decode_base64(&text),
        };
        let bytes = bytes.ok_or_else(|| {
            Error::new("22023", "the module's bytes are not valid base64 or hex")
                .with_hint("In psql: \\set wasm `base64 -w0 file.wasm` and then FROM BASE64 :'wasm'.")
        })?;
        if bytes.len() > MODULE_BYTES_MAX {
            return Err(Error::new("54000", format!("a module may have at most {MODULE_BYTES_MAX} bytes")));
        }
        Ok(Kind::CreateModule { name, if_not_exists, bytes })
    }

    fn view(&mut self) -> Result<Kind> {
        let if_not_exists = self.if_not_exists();
        let name = self.name()?;
        let columns = if self.parser.peek_token_ref().token == Token::LParen { self.columns()? } else { Vec::new() };
        if self.peek_word(0).as_deref() == Some("WITH") {
            return Err(Error::unsupported(
                "options of a materialized view are not supported",
                "Leave WITH (...) out.",
            ));
        }
        self.expect_word("AS")?;
        let start = self.offset();
        let query = self.query()?;
        let text = self.text[start..self.offset()].trim().to_owned();
        if self.eat_words(&["WITH", "NO", "DATA"]) {
            return Err(Error::unsupported(
                "WITH NO DATA is not supported",
                "A materialized view is always current; leave it out.",
            ));
        }
        self.eat_words(&["WITH", "DATA"]);
        if self.eat_words(&["EMIT", "ON", "WINDOW", "CLOSE"]) {
            return Err(Error::unsupported(
                "EMIT ON WINDOW CLOSE is not supported yet",
                "Leave it out: the view then shows each window from its first row on.",
            ));
        }
        Ok(Kind::CreateView(CreateView { name, if_not_exists, columns, query, text }))
    }
}

/// Moves `PRIMARY KEY` from a column's options to the key.
fn take_primary_key(made: &mut CreateRelation) -> Result<()> {
    for column in &made.columns {
        if column.options.iter().any(|o| matches!(o.option, ColumnOption::PrimaryKey(_))) {
            if !made.key.is_empty() {
                return Err(Error::new("42P16", "multiple primary keys are not allowed"));
            }
            made.key.push(folded(&column.name));
        }
    }
    Ok(())
}

fn constraint_refused(constraint: &TableConstraint) -> Error {
    let name = match constraint {
        TableConstraint::Unique(_) => "UNIQUE",
        TableConstraint::ForeignKey(_) => "FOREIGN KEY",
        TableConstraint::Check(_) => "CHECK",
        _ => "this",
    };
    Error::unsupported(format!("{name} constraints are not supported"), "There are PRIMARY KEY and NOT NULL.")
}

fn refused(word: &str) -> Error {
    let hint = match word {
        "VIEW" => "Use CREATE MATERIALIZED VIEW: it is always current and costs nothing to read.",
        "INDEX" | "UNIQUE" => "Leave it out: tables are indexed by primary key, views by their group.",
        "SINK" | "SUBSCRIPTION" | "CONNECTION" => "Use COPY (SUBSCRIBE name) TO STDOUT for a live feed.",
        "FUNCTION" | "AGGREGATE" => "Use CREATE MODULE: a module's exports are functions at once.",
        "TEMP" | "TEMPORARY" | "UNLOGGED" | "LOCAL" | "GLOBAL" => "Tables are durable: use CREATE TABLE.",
        "SCHEMA" | "DATABASE" => "Objects live in the schema public.",
        "TYPE" | "DOMAIN" => "Use the built-in types.",
        _ => "There are STREAM, TABLE, MATERIALIZED VIEW and MODULE.",
    };
    Error::unsupported(format!("CREATE {word} is not supported"), hint)
}

/// Standard or URL-safe alphabet, white space ignored, padding optional.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0u32, 0u32);
    for c in text.bytes().filter(|c| !c.is_ascii_whitespace()) {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'=' => continue,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    (held < 6).then_some(bytes)
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
        .collect();
    let digits = digits?;
    (digits.len() % 2 == 0).then(|| digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_and_hex() {
        assert_eq!(decode_base64("AGFz\nbQ==").as_deref(), Some(&b"\0asm"[..]));
        assert_eq!(decode_base64("AGFzbQ").as_deref(), Some(&b"\0asm"[..]));
        assert_eq!(decode_base64("A"), None);
        assert_eq!(decode_base64("A*=="), None);
        assert_eq!(decode_hex("00 61 73 6d").as_deref(), Some(&b"\0asm"[..]));
        assert_eq!(decode_hex("123"), None);
    }
}
