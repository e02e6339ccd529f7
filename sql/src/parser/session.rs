//! Statements about the session: settings, transactions, resets, and those accepted for drivers' sake.

use super::Input;
use crate::error::{Error, Result};
use crate::statement::{Kind, SavepointVerb, Show};
use sqlparser::tokenizer::Token;

impl Input<'_> {
    pub(super) fn session_statement(&mut self, first: &str) -> Result<Kind> {
        match first {
            "BEGIN" | "START" | "COMMIT" | "END" | "ROLLBACK" | "ABORT" => self.transaction(first),
            "SAVEPOINT" => {
                self.skip_words(1);
                Ok(Kind::Savepoint(SavepointVerb::Set(self.column()?)))
            }
            "RELEASE" => {
                self.skip_words(1);
                self.eat_word("SAVEPOINT");
                Ok(Kind::Savepoint(SavepointVerb::Release(self.column()?)))
            }
            "SET" => self.set(),
            "RESET" => self.reset(),
            "SHOW" => self.show(),
            "DISCARD" => self.discard(),
            "FLUSH" => self.nothing(1, "FLUSH"),
            "UNLISTEN" => {
                self.skip_words(1);
                self.rest();
                Ok(Kind::Nothing { tag: "UNLISTEN" })
            }
            "LISTEN" | "NOTIFY" => Err(Error::unsupported(
                format!("{first} is not supported"),
                "Use COPY (SUBSCRIBE name) TO STDOUT for a live feed.",
            )),
            "ANALYZE" | "VACUUM" | "CHECKPOINT" => Err(Error::unsupported(
                format!("{first} is not supported"),
                "The server does this by itself; leave it out.",
            )),
            "GRANT" | "REVOKE" | "COMMENT" | "TRUNCATE" | "LOCK" | "MERGE" | "CALL" | "DO" | "REFRESH" | "CLUSTER"
            | "REINDEX" | "USE" | "IMPORT" | "SECURITY" => Err(refused(first)),
            _ => Err(self.unexpected()),
        }
    }

    /// There are no cached plans, sequences or temporary tables.
    fn discard(&mut self) -> Result<Kind> {
        self.skip_words(1);
        Ok(match self.peek_word(0).as_deref() {
            Some("ALL") => {
                self.skip_words(1);
                Kind::DiscardAll
            }
            Some("PLANS") => self.nothing(1, "DISCARD PLANS")?,
            Some("SEQUENCES") => self.nothing(1, "DISCARD SEQUENCES")?,
            Some("TEMP" | "TEMPORARY") => self.nothing(1, "DISCARD TEMP")?,
            _ => return Err(self.unexpected().with_hint("There are ALL, PLANS, SEQUENCES and TEMP.")),
        })
    }

    fn nothing(&mut self, words: usize, tag: &'static str) -> Result<Kind> {
        self.skip_words(words);
        Ok(Kind::Nothing { tag })
    }

    fn transaction(&mut self, first: &str) -> Result<Kind> {
        self.skip_words(1);
        if first == "START" {
            self.expect_word("TRANSACTION")?;
        } else if !self.eat_word("TRANSACTION") {
            self.eat_word("WORK");
        }
        if matches!(first, "BEGIN" | "START") {
            let tag = if first == "START" { "START TRANSACTION" } else { "BEGIN" };
            return Ok(Kind::Begin { read_only: self.transaction_modes()?, tag });
        }
        if matches!(first, "ROLLBACK" | "ABORT") && self.eat_word("TO") {
            self.eat_word("SAVEPOINT");
            return Ok(Kind::Savepoint(SavepointVerb::RollbackTo(self.column()?)));
        }
        if self.eat_word("PREPARED") {
            return Err(Error::unsupported("prepared transactions are not supported", "Use a plain COMMIT."));
        }
        if self.eat_words(&["AND", "CHAIN"]) {
            return Err(Error::unsupported("AND CHAIN is not supported", "Begin the next transaction yourself."));
        }
        self.eat_words(&["AND", "NO", "CHAIN"]);
        Ok(if matches!(first, "COMMIT" | "END") { Kind::Commit } else { Kind::Rollback })
    }

    /// `ISOLATION LEVEL …`, `READ WRITE`, …: accepted when READ COMMITTED keeps the promise. Gives whether READ ONLY or
    /// READ WRITE was said.
    fn transaction_modes(&mut self) -> Result<Option<bool>> {
        let mut read_only = None;
        loop {
            if self.eat_words(&["ISOLATION", "LEVEL"]) {
                let level = self.any_word()?;
                if level == "READ" || level == "REPEATABLE" {
                    self.any_word()?;
                }
                if matches!(level.as_str(), "SERIALIZABLE" | "REPEATABLE") {
                    return Err(Error::unsupported(
                        "only the isolation level READ COMMITTED is supported",
                        "A single SELECT always reads one consistent cut over all objects.",
                    ));
                }
            } else if self.eat_words(&["READ", "ONLY"]) {
                read_only = Some(true);
            } else if self.eat_words(&["READ", "WRITE"]) {
                read_only = Some(false);
            } else if self.eat_word("DEFERRABLE") || self.eat_words(&["NOT", "DEFERRABLE"]) {
            } else if !self.parser.consume_token(&Token::Comma) {
                return Ok(read_only);
            }
        }
    }

    fn set(&mut self) -> Result<Kind> {
        self.expect_word("SET")?;
        if self.eat_words(&["SESSION", "CHARACTERISTICS", "AS", "TRANSACTION"]) {
            return Ok(match self.transaction_modes()? {
                None => Kind::Nothing { tag: "SET" },
                Some(read_only) => {
                    let value = Some(if read_only { "on" } else { "off" }.to_owned());
                    Kind::Set { name: "default_transaction_read_only".into(), value, local: false }
                }
            });
        }
        if self.eat_word("TRANSACTION") {
            return Ok(Kind::SetTransaction { read_only: self.transaction_modes()? });
        }
        let local = self.eat_word("LOCAL");
        if !local {
            self.eat_word("SESSION");
        }
        if self.eat_words(&["TIME", "ZONE"]) {
            let value = self.setting_value()?;
            return Ok(Kind::Set { name: "timezone".into(), value, local });
        }
        if self.eat_word("NAMES") {
            let value = self.setting_value()?;
            return Ok(Kind::Set { name: "client_encoding".into(), value, local });
        }
        if matches!(self.peek_word(0).as_deref(), Some("ROLE" | "AUTHORIZATION")) {
            return Err(Error::unsupported("SET ROLE is not supported", "Connect as that user."));
        }
        let name = self.setting_name()?;
        if !self.parser.consume_token(&Token::Eq) {
            self.expect_word("TO")?;
        }
        let value = self.setting_value()?;
        Ok(Kind::Set { name, value, local })
    }

    fn reset(&mut self) -> Result<Kind> {
        self.expect_word("RESET")?;
        if self.eat_word("ALL") {
            return Ok(Kind::ResetAll);
        }
        if self.eat_words(&["TIME", "ZONE"]) {
            return Ok(Kind::Set { name: "timezone".into(), value: None, local: false });
        }
        Ok(Kind::Set { name: self.setting_name()?, value: None, local: false })
    }

    /// `a` or `a.b`, in lower case.
    fn setting_name(&mut self) -> Result<String> {
        let mut name = self.column()?.to_lowercase();
        while self.parser.consume_token(&Token::Period) {
            name = format!("{name}.{}", self.column()?.to_lowercase());
        }
        Ok(name)
    }

    /// One value or a list of them; `None` for DEFAULT.
    fn setting_value(&mut self) -> Result<Option<String>> {
        if self.eat_word("DEFAULT") {
            return Ok(None);
        }
        let mut values = Vec::new();
        loop {
            let sign = if self.parser.consume_token(&Token::Minus) { "-" } else { "" };
            let value = match &self.parser.peek_token_ref().token {
                Token::Word(word) => word.value.clone(),
                Token::Number(digits, _) => digits.clone(),
                Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => text.clone(),
                _ => return Err(self.unexpected()),
            };
            self.parser.next_token();
            values.push(format!("{sign}{value}"));
            if !self.parser.consume_token(&Token::Comma) {
                return Ok(Some(values.join(", ")));
            }
        }
    }

    fn show(&mut self) -> Result<Kind> {
        self.expect_word("SHOW")?;
        let show = match self.peek_word(0).unwrap_or_default().as_str() {
            "ALL" => Show::All,
            "STREAMS" | "SOURCES" => Show::Objects("stream"),
            "TABLES" => Show::Objects("table"),
            "VIEWS" => Show::Objects("materialized view"),
            "MODULES" => Show::Objects("module"),
            "FUNCTIONS" => Show::Functions,
            "MATERIALIZED" => {
                self.skip_words(1);
                Show::Objects("materialized view")
            }
            "CREATE" => return self.show_create(),
            "TIME" => {
                self.skip_words(1);
                Show::Setting("timezone".into())
            }
            "TRANSACTION" => {
                self.skip_words(2);
                Show::Setting("transaction_isolation".into())
            }
            _ => return Ok(Kind::Show(Show::Setting(self.setting_name()?))),
        };
        self.skip_words(1);
        Ok(Kind::Show(show))
    }

    fn show_create(&mut self) -> Result<Kind> {
        self.expect_word("CREATE")?;
        self.eat_word("MATERIALIZED");
        self.any_word()?;
        Ok(Kind::Show(Show::Definition(self.name()?)))
    }

    /// Skips to the end of the statement.
    fn rest(&mut self) {
        while !self.at_end() && self.parser.peek_token_ref().token != Token::SemiColon {
            self.parser.next_token();
        }
    }
}

fn refused(word: &str) -> Error {
    let hint = match word {
        "TRUNCATE" => "Use DELETE FROM for a table; a stream is append-only.",
        "REFRESH" => "A materialized view is always current.",
        "MERGE" => "Use INSERT, UPDATE and DELETE in one transaction.",
        "GRANT" | "REVOKE" => "There are no roles yet.",
        _ => "Leave it out.",
    };
    Error::unsupported(format!("{word} is not supported"), hint)
}
