//! Text that Millpond itself has written, around parts of the user's.

use super::Postgres;
use crate::error::{Error, Result};
use sqlparser::ast::Query;
use sqlparser::parser::Parser;

/// Parses a query.
pub(crate) fn parse_query(text: &str) -> Result<Box<Query>> {
    let query = Parser::new(&Postgres).try_with_sql(text).and_then(|mut parser| parser.parse_query());
    query.map_err(|e| Error::from_parser(&e, ""))
}
