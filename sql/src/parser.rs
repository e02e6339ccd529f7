//! Text to statements: sqlparser for queries and DML, own productions for what it does not know or knows differently.
//!
//! The productions work on sqlparser's token stream, so quoting, comments and dollar strings are lexed once and the
//! same everywhere. Every error is 42601 with a position, or 0A000 for what is recognised but not supported.

mod copy;
mod create;
mod depth;
mod grammar;
mod lock;
mod prepare;
mod session;
mod size;
mod syntax;
mod table;

pub(crate) use depth::check_statement;
pub(crate) use grammar::Postgres;
pub(crate) use syntax::parse_query;

use crate::error::{Error, Result, position_of};
use crate::statement::{DropNoun, Kind, Statement, folded, object_name};
use sqlparser::ast;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, Tokenizer};
use std::sync::Arc;

/// Nesting a statement may have; protects the stack.
const NESTING_MAX: usize = 64;

/// Splits and parses a query string.
pub(crate) fn parse(sql: &str) -> Result<Vec<Statement>> {
    size::check_text(sql)?;
    let dialect = Postgres;
    let tokens = Tokenizer::new(&dialect, sql).tokenize_with_location().map_err(|e| {
        let position = position_of(sql, e.location.line as usize, e.location.column as usize);
        Error { position, ..Error::syntax(format!("syntax error: {}", e.message)) }
    })?;
    depth::check_tokens(&tokens)?;
    let tokens = table::written_out(grammar::strings_joined(tokens, sql)?);
    let parser = Parser::new(&dialect).with_recursion_limit(NESTING_MAX).with_tokens_with_locations(tokens);
    let mut input = Input { parser, text: sql };
    let text: Arc<str> = Arc::from(sql);
    let mut statements = Vec::new();
    loop {
        while input.parser.consume_token(&Token::SemiColon) {}
        if input.at_end() {
            return Ok(statements);
        }
        size::check_count(statements.len())?;
        let start = input.parser.peek_token_ref().span.start;
        let kind = input.statement()?;
        lock::check(&kind)?;
        statements.push(Statement { kind: Arc::new(kind), text: text.clone(), start });
        if !input.at_end() && input.parser.peek_token_ref().token != Token::SemiColon {
            return Err(input.unexpected());
        }
    }
}

/// A token stream and the text it came from.
struct Input<'a> {
    parser: Parser<'a>,
    text: &'a str,
}

impl Input<'_> {
    fn statement(&mut self) -> Result<Kind> {
        let first = self.peek_word(0).unwrap_or_default();
        match first.as_str() {
            "CREATE" => self.create(),
            "DROP" => self.drop_objects(),
            "COPY" => self.copy(),
            "SUBSCRIBE" => Err(Error::unsupported(
                "SUBSCRIBE outside COPY is not supported",
                "Write COPY (SUBSCRIBE name) TO STDOUT.",
            )),
            "EXPLAIN" => self.explain(),
            "WITH" => self.with(),
            "SELECT" | "VALUES" => Ok(Kind::Query(self.query()?)),
            "" if self.parser.peek_token_ref().token == Token::LParen => Ok(Kind::Query(self.query()?)),
            "INSERT" | "UPDATE" | "DELETE" => self.change(),
            "ALTER" => Err(Error::unsupported(
                "ALTER is not supported",
                "Create a new object, copy the rows with INSERT ... SELECT, and drop the old one.",
            )),
            "DECLARE" | "FETCH" | "MOVE" | "CLOSE" => self.cursor(&first),
            "PREPARE" => self.prepare(),
            "EXECUTE" => self.execute(),
            "DEALLOCATE" => self.deallocate(),
            _ => self.session_statement(&first),
        }
    }

    fn query(&mut self) -> Result<Box<ast::Query>> {
        let query = self.parser.parse_query();
        query.map_err(|e| self.error(&e))
    }

    fn change(&mut self) -> Result<Kind> {
        let statement = self.parser.parse_statement();
        match statement.map_err(|e| self.error(&e))? {
            ast::Statement::Insert(insert) => Ok(Kind::Insert(Box::new(insert))),
            ast::Statement::Update(update) => Ok(Kind::Update(Box::new(update), None)),
            ast::Statement::Delete(delete) => Ok(Kind::Delete(Box::new(delete), None)),
            other => Err(Error::syntax(format!("unexpected statement: {other}"))),
        }
    }

    /// `WITH …` in front of a query or a change.
    fn with(&mut self) -> Result<Kind> {
        let mut query = self.query()?;
        if query.with.as_ref().is_some_and(|with| with.cte_tables.iter().any(|cte| is_change(&cte.query.body))) {
            return Err(Error::unsupported(
                "INSERT, UPDATE and DELETE inside WITH are not supported",
                "Use statements of their own, in one transaction.",
            ));
        }
        let with = query.with.take();
        match *query.body {
            ast::SetExpr::Insert(ast::Statement::Insert(mut insert)) => {
                match insert.source.as_mut() {
                    Some(source) => merge_with(source, with),
                    None => return Err(Error::syntax("INSERT ... DEFAULT VALUES cannot have a WITH")),
                }
                Ok(Kind::Insert(Box::new(insert)))
            }
            ast::SetExpr::Update(ast::Statement::Update(update)) => Ok(Kind::Update(Box::new(update), with)),
            ast::SetExpr::Delete(ast::Statement::Delete(delete)) => Ok(Kind::Delete(Box::new(delete), with)),
            body => {
                (query.body, query.with) = (Box::new(body), with);
                Ok(Kind::Query(query))
            }
        }
    }

    fn explain(&mut self) -> Result<Kind> {
        self.expect_word("EXPLAIN")?;
        let (mut analyze, mut verbose) = (false, false);
        if self.parser.consume_token(&Token::LParen) {
            loop {
                match self.any_word()?.as_str() {
                    "ANALYZE" => analyze = self.optional_boolean()?,
                    "VERBOSE" => verbose = self.optional_boolean()?,
                    "COSTS" | "SETTINGS" | "BUFFERS" | "WAL" | "TIMING" | "SUMMARY" => drop(self.optional_boolean()?),
                    "FORMAT" => self.explain_format()?,
                    other => {
                        let name = other.to_lowercase();
                        return Err(Error::syntax(format!("unrecognized EXPLAIN option \"{name}\"")));
                    }
                }
                if !self.parser.consume_token(&Token::Comma) {
                    break;
                }
            }
            self.expect(&Token::RParen)?;
        }
        analyze |= self.eat_word("ANALYZE");
        verbose |= self.eat_word("VERBOSE");
        match self.peek_word(0).as_deref() {
            Some("CREATE") if !analyze => match self.create()? {
                Kind::CreateView(view) => Ok(Kind::ExplainView(view)),
                _ => Err(Error::unsupported(
                    "EXPLAIN of this statement is not supported",
                    "EXPLAIN takes a query or CREATE MATERIALIZED VIEW.",
                )),
            },
            Some("SELECT" | "VALUES" | "WITH" | "TABLE") => {
                Ok(Kind::Explain { analyze, verbose, query: self.query()? })
            }
            _ => Err(Error::unsupported(
                "EXPLAIN of this statement is not supported",
                "EXPLAIN takes a query or CREATE MATERIALIZED VIEW.",
            )),
        }
    }

    /// Plans are shown as text only.
    fn explain_format(&mut self) -> Result<()> {
        let format = match self.peek_word(0) {
            Some(_) => self.any_word()?,
            None => self.string()?.to_uppercase(),
        };
        match format.as_str() {
            "TEXT" => Ok(()),
            "JSON" | "XML" | "YAML" => {
                Err(Error::unsupported(format!("EXPLAIN (FORMAT {format}) is not supported"), "Use FORMAT TEXT."))
            }
            other => {
                let value = other.to_lowercase();
                Err(Error::new("22023", format!("unrecognized value for EXPLAIN option \"format\": \"{value}\"")))
            }
        }
    }

    fn drop_objects(&mut self) -> Result<Kind> {
        self.expect_word("DROP")?;
        let word = self.any_word()?;
        let noun = match word.as_str() {
            "STREAM" | "SOURCE" => DropNoun::Stream,
            "TABLE" => DropNoun::Table,
            "VIEW" => DropNoun::View,
            "MODULE" => DropNoun::Module,
            "MATERIALIZED" => {
                self.expect_word("VIEW")?;
                DropNoun::View
            }
            other => {
                return Err(Error::unsupported(
                    format!("DROP {other} is not supported"),
                    "There are STREAM, TABLE, MATERIALIZED VIEW and MODULE.",
                ));
            }
        };
        let if_exists = self.eat_words(&["IF", "EXISTS"]);
        let mut names = vec![self.name()?];
        while self.parser.consume_token(&Token::Comma) {
            names.push(self.name()?);
        }
        let cascade = self.eat_word("CASCADE");
        if !cascade {
            self.eat_word("RESTRICT");
        }
        Ok(Kind::Drop { noun, names, if_exists, cascade })
    }

    fn cursor(&mut self, first: &str) -> Result<Kind> {
        if first == "CLOSE" && self.peek_word(1).as_deref() == Some("ALL") {
            self.skip_words(2);
            return Ok(Kind::Nothing { tag: "CLOSE CURSOR ALL" });
        }
        Err(Error::unsupported("cursors are not supported", "Use COPY (SUBSCRIBE name) TO STDOUT for a live feed."))
    }
}

/// Small readers shared by all productions.
impl Input<'_> {
    fn at_end(&self) -> bool {
        self.parser.peek_token_ref().token == Token::EOF
    }

    /// The `n`th next token's word in upper case, unless it is quoted.
    fn peek_word(&self, n: usize) -> Option<String> {
        match &self.parser.peek_nth_token_ref(n).token {
            Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_uppercase()),
            _ => None,
        }
    }

    fn eat_word(&mut self, word: &str) -> bool {
        self.eat_words(&[word])
    }

    /// Takes all the words or none.
    fn eat_words(&mut self, words: &[&str]) -> bool {
        let found = words.iter().enumerate().all(|(n, word)| self.peek_word(n).as_deref() == Some(*word));
        if found {
            self.skip_words(words.len());
        }
        found
    }

    fn skip_words(&mut self, count: usize) {
        for _ in 0..count {
            self.parser.next_token();
        }
    }

    fn expect_word(&mut self, word: &str) -> Result<()> {
        if self.eat_word(word) { Ok(()) } else { Err(self.unexpected().with_hint(format!("Expected {word}."))) }
    }

    /// Any unquoted word, in upper case.
    fn any_word(&mut self) -> Result<String> {
        let word = self.peek_word(0).ok_or_else(|| self.unexpected())?;
        self.parser.next_token();
        Ok(word)
    }

    fn expect(&mut self, token: &Token) -> Result<()> {
        if self.parser.consume_token(token) {
            return Ok(());
        }
        Err(self.unexpected().with_hint(format!("Expected {token}.")))
    }

    /// A column name, folded.
    fn column(&mut self) -> Result<String> {
        let ident = self.parser.parse_identifier();
        Ok(folded(&ident.map_err(|e| self.error(&e))?))
    }

    /// The name of an object in `public`.
    fn name(&mut self) -> Result<String> {
        let name = self.parser.parse_object_name(false);
        object_name(&name.map_err(|e| self.error(&e))?)
    }

    /// `(a, b, …)`.
    fn columns(&mut self) -> Result<Vec<String>> {
        self.expect(&Token::LParen)?;
        let mut columns = vec![self.column()?];
        while self.parser.consume_token(&Token::Comma) {
            columns.push(self.column()?);
        }
        self.expect(&Token::RParen)?;
        Ok(columns)
    }

    /// A quoted string of any kind.
    fn string(&mut self) -> Result<String> {
        let text = match &self.parser.peek_token_ref().token {
            Token::SingleQuotedString(s) | Token::EscapedStringLiteral(s) => s.clone(),
            Token::DollarQuotedString(s) => s.value.clone(),
            _ => return Err(self.unexpected().with_hint("Expected a quoted string.")),
        };
        self.parser.next_token();
        Ok(text)
    }

    /// `[=] true | false | on | off | 1 | 0`; true when absent.
    fn optional_boolean(&mut self) -> Result<bool> {
        let required = self.parser.consume_token(&Token::Eq);
        let value = match &self.parser.peek_token_ref().token {
            Token::Word(word) => boolean(&word.value),
            Token::Number(digits, _) => boolean(digits),
            Token::SingleQuotedString(text) => boolean(text),
            _ => None,
        };
        match value {
            Some(value) => {
                self.parser.next_token();
                Ok(value)
            }
            None if required => Err(self.unexpected().with_hint("Expected true or false.")),
            None => Ok(true),
        }
    }

    /// Syntax error at the next token.
    fn unexpected(&self) -> Error {
        let found = self.parser.peek_token_ref();
        let message = match &found.token {
            Token::EOF => "syntax error at end of input".to_owned(),
            token => format!("syntax error at or near \"{token}\""),
        };
        let at = match found.token {
            Token::EOF => Some(self.text.chars().count() + 1),
            _ => position_of(self.text, found.span.start.line as usize, found.span.start.column as usize),
        };
        Error { position: at, ..Error::syntax(message) }
    }

    fn error(&self, error: &ParserError) -> Error {
        Error::from_parser(error, self.text)
    }

    /// Byte offset at which the next token starts.
    fn offset(&self) -> usize {
        let token = self.parser.peek_token_ref();
        if token.token == Token::EOF { self.text.len() } else { offset_of(self.text, token.span.start) }
    }
}

fn is_change(body: &ast::SetExpr) -> bool {
    use ast::SetExpr as S;
    matches!(body, S::Insert(_) | S::Update(_) | S::Delete(_) | S::Merge(_))
}

/// Puts the queries of `with` before those the query has itself.
fn merge_with(query: &mut ast::Query, with: Option<ast::With>) {
    let Some(mut with) = with else { return };
    if let Some(own) = query.with.take() {
        with.recursive |= own.recursive;
        with.cte_tables.extend(own.cte_tables);
    }
    query.with = Some(with);
}

/// A boolean as options and settings take it: also a beginning of a word, if it is that of no other.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    let text = text.trim().to_lowercase();
    let begins = |word: &str| !text.is_empty() && word.starts_with(&text);
    match text.as_str() {
        "1" => Some(true),
        "0" => Some(false),
        "o" => None,
        _ if begins("true") || begins("yes") || begins("on") => Some(true),
        _ if begins("false") || begins("no") || begins("off") => Some(false),
        _ => None,
    }
}

/// Byte offset of a token's location.
fn offset_of(text: &str, at: Location) -> usize {
    let characters = position_of(text, at.line as usize, at.column as usize).unwrap_or(1) - 1;
    text.char_indices().nth(characters).map_or(text.len(), |(offset, _)| offset)
}

#[cfg(test)]
mod tests;
