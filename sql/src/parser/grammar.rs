//! PostgreSQL's grammar where sqlparser's dialect for it binds otherwise.
//!
//! - `x IS DISTINCT FROM y AND z` is `(x IS DISTINCT FROM y) AND z`; sqlparser takes all that follows as the operand;
//! - `- 2 ^ 2` is `(- 2) ^ 2`: a sign binds tighter than every operator but `::`, `[]` and `.`;
//! - `trim(TRAILING FROM x)` needs no characters;
//! - strings with only white space and a new line between them are one.
//!
//! All else is sqlparser's, passed on.

use crate::error::{Error, Result, position_of};
use sqlparser::ast::{Expr, TrimWhereField, UnaryOperator};
use sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan, Whitespace};
use std::any::TypeId;

/// The dialect of every text that is parsed here.
#[derive(Debug)]
pub(crate) struct Postgres;

/// That of COLLATE in sqlparser's table: above AT TIME ZONE and `^`, below `[]` and `::`.
const SIGN_PRECEDENCE: u8 = 120;

const GIVEN: PostgreSqlDialect = PostgreSqlDialect {};

impl Dialect for Postgres {
    /// sqlparser asks for it where it has no method.
    fn dialect(&self) -> TypeId {
        TypeId::of::<PostgreSqlDialect>()
    }

    fn parse_prefix(&self, parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        let op = match parser.peek_token_ref().token {
            Token::Minus => UnaryOperator::Minus,
            Token::Plus => UnaryOperator::Plus,
            _ => return trim_of_blanks(parser),
        };
        parser.advance_token();
        let operand = parser.parse_subexpr(SIGN_PRECEDENCE);
        Some(operand.map(|operand| Expr::UnaryOp { op, expr: Box::new(operand) }))
    }

    fn parse_infix(&self, parser: &mut Parser<'_>, expr: &Expr, precedence: u8) -> Option<Result<Expr, ParserError>> {
        let negated = if parser.parse_keywords(&[Keyword::IS, Keyword::DISTINCT, Keyword::FROM]) {
            false
        } else if parser.parse_keywords(&[Keyword::IS, Keyword::NOT, Keyword::DISTINCT, Keyword::FROM]) {
            true
        } else {
            return None;
        };
        let left = Box::new(expr.clone());
        let right = parser.parse_subexpr(precedence).map(Box::new);
        Some(right.map(|right| match negated {
            true => Expr::IsNotDistinctFrom(left, right),
            false => Expr::IsDistinctFrom(left, right),
        }))
    }

    fn get_next_precedence(&self, parser: &Parser<'_>) -> Option<Result<u8, ParserError>> {
        GIVEN.get_next_precedence(parser)
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        GIVEN.prec_value(precedence)
    }

    fn identifier_quote_style(&self, identifier: &str) -> Option<char> {
        GIVEN.identifier_quote_style(identifier)
    }

    fn is_delimited_identifier_start(&self, character: char) -> bool {
        GIVEN.is_delimited_identifier_start(character)
    }

    fn is_identifier_start(&self, character: char) -> bool {
        GIVEN.is_identifier_start(character)
    }

    fn is_identifier_part(&self, character: char) -> bool {
        GIVEN.is_identifier_part(character)
    }

    fn is_reserved_for_identifier(&self, keyword: Keyword) -> bool {
        GIVEN.is_reserved_for_identifier(keyword)
    }

    fn is_custom_operator_part(&self, character: char) -> bool {
        GIVEN.is_custom_operator_part(character)
    }

    fn supports_unicode_string_literal(&self) -> bool {
        GIVEN.supports_unicode_string_literal()
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        GIVEN.supports_filter_during_aggregation()
    }

    fn supports_group_by_expr(&self) -> bool {
        GIVEN.supports_group_by_expr()
    }

    fn allow_extract_custom(&self) -> bool {
        GIVEN.allow_extract_custom()
    }

    fn allow_extract_single_quotes(&self) -> bool {
        GIVEN.allow_extract_single_quotes()
    }

    fn supports_create_index_with_clause(&self) -> bool {
        GIVEN.supports_create_index_with_clause()
    }

    fn supports_explain_with_utility_options(&self) -> bool {
        GIVEN.supports_explain_with_utility_options()
    }

    fn supports_listen_notify(&self) -> bool {
        GIVEN.supports_listen_notify()
    }

    fn supports_factorial_operator(&self) -> bool {
        GIVEN.supports_factorial_operator()
    }

    fn supports_bitwise_shift_operators(&self) -> bool {
        GIVEN.supports_bitwise_shift_operators()
    }

    fn supports_comment_on(&self) -> bool {
        GIVEN.supports_comment_on()
    }

    fn supports_load_extension(&self) -> bool {
        GIVEN.supports_load_extension()
    }

    fn supports_named_fn_args_with_colon_operator(&self) -> bool {
        GIVEN.supports_named_fn_args_with_colon_operator()
    }

    fn supports_named_fn_args_with_expr_name(&self) -> bool {
        GIVEN.supports_named_fn_args_with_expr_name()
    }

    fn supports_empty_projections(&self) -> bool {
        GIVEN.supports_empty_projections()
    }

    fn supports_nested_comments(&self) -> bool {
        GIVEN.supports_nested_comments()
    }

    fn supports_string_escape_constant(&self) -> bool {
        GIVEN.supports_string_escape_constant()
    }

    fn supports_numeric_literal_underscores(&self) -> bool {
        GIVEN.supports_numeric_literal_underscores()
    }

    fn supports_array_typedef_with_brackets(&self) -> bool {
        GIVEN.supports_array_typedef_with_brackets()
    }

    fn supports_geometric_types(&self) -> bool {
        GIVEN.supports_geometric_types()
    }

    fn supports_set_names(&self) -> bool {
        GIVEN.supports_set_names()
    }

    fn supports_alter_column_type_using(&self) -> bool {
        GIVEN.supports_alter_column_type_using()
    }

    fn supports_notnull_operator(&self) -> bool {
        GIVEN.supports_notnull_operator()
    }

    fn supports_interval_options(&self) -> bool {
        GIVEN.supports_interval_options()
    }

    fn supports_insert_table_alias(&self) -> bool {
        GIVEN.supports_insert_table_alias()
    }

    fn supports_create_table_like_parenthesized(&self) -> bool {
        GIVEN.supports_create_table_like_parenthesized()
    }

    fn supports_select_wildcard_with_alias(&self) -> bool {
        GIVEN.supports_select_wildcard_with_alias()
    }

    fn supports_comma_separated_trim(&self) -> bool {
        GIVEN.supports_comma_separated_trim()
    }

    fn supports_xml_expressions(&self) -> bool {
        GIVEN.supports_xml_expressions()
    }

    fn supports_comment_optimizer_hint(&self) -> bool {
        GIVEN.supports_comment_optimizer_hint()
    }
}

/// `trim(LEADING FROM x)`, without the characters to be trimmed.
fn trim_of_blanks(parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
    let keyword = |parser: &Parser<'_>, n| match parser.peek_nth_token(n).token {
        Token::Word(word) if word.quote_style.is_none() => word.keyword,
        _ => Keyword::NoKeyword,
    };
    if keyword(parser, 0) != Keyword::TRIM || parser.peek_nth_token(1).token != Token::LParen {
        return None;
    }
    let side = match (keyword(parser, 2), keyword(parser, 3)) {
        (Keyword::LEADING, Keyword::FROM) => TrimWhereField::Leading,
        (Keyword::TRAILING, Keyword::FROM) => TrimWhereField::Trailing,
        (Keyword::BOTH, Keyword::FROM) => TrimWhereField::Both,
        _ => return None,
    };
    (0..4).for_each(|_| parser.advance_token());
    let value = parser.parse_expr().and_then(|expr| {
        parser.expect_token(&Token::RParen)?;
        Ok(Expr::Trim { expr: Box::new(expr), trim_where: Some(side), trim_what: None, trim_characters: None })
    });
    Some(value)
}

/// The tokens with strings that continue on the next line joined.
///
/// # Errors
/// 42601 for two strings on one line.
pub(super) fn strings_joined(tokens: Vec<TokenWithSpan>, text: &str) -> Result<Vec<TokenWithSpan>> {
    let mut joined: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    // Where the last string is, and whether a line has ended since.
    let mut open: Option<(usize, bool)> = None;
    for token in tokens {
        match &token.token {
            Token::Whitespace(space) => {
                let ends_line = matches!(space, Whitespace::Newline | Whitespace::SingleLineComment { .. });
                open = open.map(|(at, ended)| (at, ended || ends_line));
            }
            Token::SingleQuotedString(next) => match open {
                Some((at, true)) => {
                    if let Token::SingleQuotedString(first) | Token::EscapedStringLiteral(first) = &mut joined[at].token
                    {
                        first.push_str(next);
                    }
                    open = Some((at, false));
                    continue;
                }
                Some((_, false)) => {
                    let start = token.span.start;
                    let position = position_of(text, start.line as usize, start.column as usize);
                    let error = Error::syntax(format!("syntax error at or near \"'{next}'\""));
                    return Err(Error { position, ..error });
                }
                None => open = Some((joined.len(), false)),
            },
            Token::EscapedStringLiteral(_) => open = Some((joined.len(), false)),
            _ => open = None,
        }
        joined.push(token);
    }
    Ok(joined)
}

#[cfg(test)]
mod tests {
    use crate::parser::parse_query;

    #[test]
    fn operators_bind_as_in_postgres() {
        for (text, bound) in [
            ("SELECT a AND b IS DISTINCT FROM c AND d OR e", "SELECT (a AND (b IS DISTINCT FROM c)) AND d OR e"),
            ("SELECT a IS NOT DISTINCT FROM b + 1 = c OR d", "SELECT (a IS NOT DISTINCT FROM ((b + 1) = c)) OR d"),
            ("SELECT - 2 ^ 2", "SELECT (- 2) ^ 2"),
            ("SELECT - a::int * b", "SELECT (- (a::int)) * b"),
        ] {
            let plain = |text: &str| format!("{:?}", parse_query(text).unwrap().body).replace("Nested", "");
            let tokens = |text: &str| {
                plain(text)
                    .split(|c: char| !c.is_alphanumeric())
                    .filter(|w| !w.is_empty())
                    .map(str::to_owned)
                    .filter(|w| w.parse::<u32>().is_err())
                    .collect::<Vec<_>>()
            };
            assert_eq!(tokens(text), tokens(bound), "{text}");
        }
    }
}
