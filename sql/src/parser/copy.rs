//! `COPY …`: rows in, rows out, and live feeds; Postgres' current and legacy option spellings.

use super::{Input, boolean};
use crate::copy::{CopyFormat, CopyOptions};
use crate::error::{Error, Result};
use crate::parser::parse_query;
use crate::statement::Kind;
use sqlparser::ast;
use sqlparser::tokenizer::Token;

/// Options as given; defaults depend on the format.
#[derive(Default)]
struct Given {
    format: Option<CopyFormat>,
    header: bool,
    delimiter: Option<u8>,
    null: Option<String>,
    quote: Option<u8>,
    escape: Option<u8>,
}

impl Input<'_> {
    pub(super) fn copy(&mut self) -> Result<Kind> {
        self.expect_word("COPY")?;
        if self.parser.consume_token(&Token::LParen) {
            if self.eat_word("SUBSCRIBE") {
                return self.subscribe();
            }
            let query = self.query()?;
            self.expect(&Token::RParen)?;
            return self.copy_out(query, false);
        }
        let before_name = !matches!(self.peek_word(1).as_deref(), Some("FROM" | "TO"));
        let binary = before_name && self.eat_word("BINARY");
        let name = self.parser.parse_object_name(false).map_err(|e| self.error(&e))?;
        let relation = crate::statement::object_name(&name)?;
        let columns = if self.parser.peek_token_ref().token == Token::LParen { self.columns()? } else { Vec::new() };
        if self.peek_word(0).as_deref() == Some("TO") {
            return self.copy_out(select(&name, &columns)?, binary);
        }
        self.expect_word("FROM")?;
        if !self.eat_word("STDIN") {
            return Err(file_refused());
        }
        let options = self.copy_options(binary)?;
        if self.eat_word("WHERE") {
            return Err(Error::unsupported("COPY ... WHERE is not supported", "Filter the file first."));
        }
        Ok(Kind::CopyIn { relation, columns, options })
    }

    fn copy_out(&mut self, query: Box<ast::Query>, binary: bool) -> Result<Kind> {
        self.expect_word("TO")?;
        if !self.eat_word("STDOUT") {
            return Err(file_refused());
        }
        Ok(Kind::CopyOut { query, options: self.copy_options(binary)? })
    }

    /// After `COPY (SUBSCRIBE`.
    fn subscribe(&mut self) -> Result<Kind> {
        self.eat_word("TO");
        if self.parser.peek_token_ref().token == Token::LParen {
            return Err(Error::unsupported(
                "SUBSCRIBE of a query is not supported",
                "Create a materialized view of the query and subscribe to that.",
            ));
        }
        let relation = self.name()?;
        let (mut snapshot, mut progress) = (true, false);
        if self.eat_word("WITH") {
            self.expect(&Token::LParen)?;
            loop {
                match self.any_word()?.as_str() {
                    "SNAPSHOT" => snapshot = self.optional_boolean()?,
                    "PROGRESS" => progress = self.optional_boolean()?,
                    other => {
                        return Err(Error::new("22023", format!("unrecognized SUBSCRIBE option {other}"))
                            .with_hint("Options are SNAPSHOT and PROGRESS."));
                    }
                }
                if !self.parser.consume_token(&Token::Comma) {
                    break;
                }
            }
            self.expect(&Token::RParen)?;
        }
        if self.eat_words(&["AS", "OF"]) {
            return Err(Error::unsupported("SUBSCRIBE ... AS OF is not supported", "Leave AS OF out."));
        }
        self.expect(&Token::RParen)?;
        self.expect_word("TO")?;
        self.expect_word("STDOUT")?;
        Ok(Kind::Subscribe { relation, snapshot, progress, options: self.copy_options(false)? })
    }

    /// `binary`: said before the relation, in the oldest spelling.
    fn copy_options(&mut self, binary: bool) -> Result<CopyOptions> {
        let mut given = Given { format: binary.then_some(CopyFormat::Binary), ..Given::default() };
        self.eat_word("WITH");
        if self.parser.consume_token(&Token::LParen) {
            loop {
                let name = self.any_word()?;
                self.copy_option(&name, &mut given)?;
                if !self.parser.consume_token(&Token::Comma) {
                    break;
                }
            }
            self.expect(&Token::RParen)?;
        } else {
            while let Some(word) = self.peek_word(0).filter(|w| w != "WHERE") {
                self.skip_words(1);
                self.legacy_option(&word, &mut given)?;
            }
        }
        given.resolve()
    }

    fn copy_option(&mut self, name: &str, given: &mut Given) -> Result<()> {
        match name {
            "FORMAT" => {
                let format = match self.peek_word(0) {
                    Some(word) => {
                        self.skip_words(1);
                        word
                    }
                    None => self.string()?.to_uppercase(),
                };
                given.set_format(parse_format(&format)?)?;
            }
            "HEADER" => given.header = self.header()?,
            "DELIMITER" => given.delimiter = Some(self.byte("DELIMITER")?),
            "NULL" => given.null = Some(self.string()?),
            "QUOTE" => given.quote = Some(self.byte("QUOTE")?),
            "ESCAPE" => given.escape = Some(self.byte("ESCAPE")?),
            "ENCODING" => self.encoding()?,
            other => return Err(option_refused(other)),
        }
        Ok(())
    }

    fn legacy_option(&mut self, name: &str, given: &mut Given) -> Result<()> {
        match name {
            "BINARY" => given.set_format(CopyFormat::Binary)?,
            "CSV" => given.set_format(CopyFormat::Csv)?,
            "HEADER" => given.header = true,
            "DELIMITER" | "DELIMITERS" | "NULL" | "QUOTE" | "ESCAPE" | "ENCODING" => {
                self.eat_word("AS");
                self.copy_option(if name == "DELIMITERS" { "DELIMITER" } else { name }, given)?;
            }
            other => return Err(option_refused(other)),
        }
        Ok(())
    }

    fn header(&mut self) -> Result<bool> {
        if self.eat_word("MATCH") {
            return Err(Error::unsupported(
                "COPY HEADER MATCH is not supported",
                "Use HEADER, which skips the first line, and list the columns in the file's order.",
            ));
        }
        match self.peek_word(0) {
            Some(word) if boolean(&word).is_none() => Err(self.unexpected()),
            _ => self.optional_boolean(),
        }
    }

    fn byte(&mut self, name: &str) -> Result<u8> {
        let text = self.string()?;
        match text.as_bytes() {
            [byte] if !matches!(byte, b'\n' | b'\r' | 0) => Ok(*byte),
            _ if text == "\\t" => Ok(b'\t'),
            _ => Err(Error::new("0A000", format!("COPY {name} must be a single one-byte character"))),
        }
    }

    fn encoding(&mut self) -> Result<()> {
        let name = self.string()?;
        match name.to_uppercase().replace('-', "").as_str() {
            "UTF8" | "UNICODE" => Ok(()),
            _ => Err(Error::unsupported(format!("encoding \"{name}\" is not supported"), "Use UTF8.")),
        }
    }
}

impl Given {
    fn set_format(&mut self, format: CopyFormat) -> Result<()> {
        match self.format.replace(format) {
            None => Ok(()),
            Some(_) => Err(Error::syntax("conflicting or redundant options")),
        }
    }

    fn resolve(self) -> Result<CopyOptions> {
        let format = self.format.unwrap_or(CopyFormat::Text);
        let csv = format == CopyFormat::Csv;
        if !csv && (self.quote.is_some() || self.escape.is_some()) {
            return Err(Error::new("0A000", "COPY QUOTE and ESCAPE are only available in CSV mode"));
        }
        if format == CopyFormat::Binary && (self.header || self.delimiter.is_some() || self.null.is_some()) {
            return Err(Error::syntax("cannot specify HEADER, DELIMITER or NULL in BINARY mode"));
        }
        let quote = self.quote.unwrap_or(b'"');
        let delimiter = self.delimiter.unwrap_or(if csv { b',' } else { b'\t' });
        if csv && delimiter == quote {
            return Err(Error::new("22023", "COPY delimiter and quote must be different"));
        }
        Ok(CopyOptions {
            format,
            header: self.header,
            delimiter,
            null: self.null.unwrap_or_else(|| if csv { String::new() } else { "\\N".to_owned() }),
            quote,
            escape: self.escape.unwrap_or(quote),
        })
    }
}

/// `SELECT columns FROM relation`.
fn select(name: &ast::ObjectName, columns: &[String]) -> Result<Box<ast::Query>> {
    let list = match columns {
        [] => "*".to_owned(),
        _ => columns.iter().map(|c| ast::Ident::with_quote('"', c).to_string()).collect::<Vec<_>>().join(", "),
    };
    let text = format!("SELECT {list} FROM {name}");
    parse_query(&text)
}

fn parse_format(name: &str) -> Result<CopyFormat> {
    match name {
        "TEXT" => Ok(CopyFormat::Text),
        "CSV" => Ok(CopyFormat::Csv),
        "BINARY" => Ok(CopyFormat::Binary),
        "WASM" => {
            Err(Error::unsupported("COPY format wasm is not supported", "Use CREATE MODULE name FROM BASE64 '...'."))
        }
        other => Err(Error::new("22023", format!("COPY format \"{}\" not recognized", other.to_lowercase()))
            .with_hint("Formats are text, csv and binary.")),
    }
}

fn option_refused(name: &str) -> Error {
    Error::unsupported(
        format!("COPY option {name} is not supported"),
        "Options are FORMAT, HEADER, DELIMITER, NULL, QUOTE, ESCAPE and ENCODING.",
    )
}

fn file_refused() -> Error {
    Error::unsupported(
        "COPY with a file or program of the server is not supported",
        "Use STDIN or STDOUT; psql's \\copy reads and writes files of the client.",
    )
}
