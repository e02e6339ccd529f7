//! PREPARE, EXECUTE and DEALLOCATE as statements.

use super::{Input, lock};
use crate::error::{Error, Result};
use crate::parameters::given_type;
use crate::statement::Kind;
use crate::walk;
use sqlparser::ast::Expr;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;
use std::ops::ControlFlow;
use std::sync::Arc;

impl Input<'_> {
    /// `PREPARE name [(type, …)] AS statement`.
    pub(super) fn prepare(&mut self) -> Result<Kind> {
        self.expect_word("PREPARE")?;
        if self.peek_word(0).as_deref() == Some("TRANSACTION") {
            return Err(Error::unsupported("prepared transactions are not supported", "Use a plain COMMIT."));
        }
        let name = self.column()?;
        let mut types = Vec::new();
        if self.parser.consume_token(&Token::LParen) {
            let declared = self.parser.parse_comma_separated(Parser::parse_data_type);
            for data_type in declared.map_err(|e| self.error(&e))? {
                types.push(given_type(&data_type)?);
            }
            self.expect(&Token::RParen)?;
        }
        self.expect_word("AS")?;
        let start = self.offset();
        let kind = match self.peek_word(0).as_deref() {
            Some("SELECT" | "VALUES" | "WITH" | "TABLE" | "INSERT" | "UPDATE" | "DELETE") => self.statement()?,
            _ => return Err(self.unexpected().with_hint("Queries, INSERT, UPDATE and DELETE can be prepared.")),
        };
        lock::check(&kind)?;
        let bytes = self.offset() - start;
        Ok(Kind::Prepare { name, types, statement: Arc::new(kind), bytes })
    }

    /// `EXECUTE name [(value, …)]`.
    pub(super) fn execute(&mut self) -> Result<Kind> {
        self.expect_word("EXECUTE")?;
        let name = self.column()?;
        let mut values = Vec::new();
        if self.parser.consume_token(&Token::LParen) {
            let given = self.parser.parse_comma_separated(Parser::parse_expr);
            values = given.map_err(|e| self.error(&e))?;
            self.expect(&Token::RParen)?;
        }
        if values.iter().any(has_subquery) {
            return Err(Error::unsupported("cannot use subquery in EXECUTE parameter", "Give its value."));
        }
        Ok(Kind::Execute { name, values })
    }

    /// `DEALLOCATE [PREPARE] {name | ALL}`.
    pub(super) fn deallocate(&mut self) -> Result<Kind> {
        self.expect_word("DEALLOCATE")?;
        self.eat_word("PREPARE");
        let name = if self.eat_word("ALL") { None } else { Some(self.column()?) };
        Ok(Kind::Deallocate { name })
    }
}

fn has_subquery(value: &Expr) -> bool {
    let found = walk::expressions(value, |expr| match expr {
        Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    found.is_break()
}
