//! Bounds on how deep a statement may be, because what plans it recurses.
//!
//! sqlparser bounds nesting (parentheses, subqueries), but reads the arguments of a call twice, so that its time doubles
//! with each call around them. And it reads `a + b + c …` in a loop, and the tree it gives is as deep as the chain is
//! long. [`check_tokens`] bounds both before there is a tree; [`check_statement`] then bounds what the planner needs more
//! than linear time for: it types an operator anew for every operator around it (500 take half a second), and a
//! function's arguments twice.

use crate::error::{Error, Result};
use crate::walk::walk;
use sqlparser::ast::{BinaryOperator, Expr, Statement, Visitor};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};
use std::ops::ControlFlow;

/// Links of a chain without a comma in it: conditions, operators, casts, UNIONs.
const CHAIN_MAX: usize = 1000;
/// Operators and casts within each other; AND and OR do not count.
const OPERATORS_MAX: usize = 500;
/// Function calls within each other.
const CALLS_MAX: usize = 14;

fn too_deep(what: &str, limit: usize) -> Error {
    Error::new("54001", format!("statement is nested too deeply: more than {limit} {what}"))
        .with_hint("Split the expression, use IN (...) or VALUES, or compute a part in a WITH query.")
}

/// # Errors
/// 54001 for a chain that would make too deep a tree.
pub(super) fn check_tokens(tokens: &[TokenWithSpan]) -> Result<()> {
    // Per open parenthesis or bracket: links so far of its chain, and whether it is that of a call.
    let mut open = vec![(0usize, false)];
    let (mut calls, mut after_name) = (0, false);
    for token in tokens.iter().map(|token| &token.token).filter(|token| !matches!(token, Token::Whitespace(_))) {
        match token {
            Token::LParen | Token::LBracket => {
                let call = after_name && *token == Token::LParen;
                calls += usize::from(call);
                if calls > CALLS_MAX {
                    return Err(too_deep("function calls within each other", CALLS_MAX));
                }
                open.push((0, call));
            }
            Token::RParen | Token::RBracket if open.len() > 1 => {
                calls -= usize::from(open.pop().is_some_and(|(_, call)| call));
            }
            Token::Comma | Token::SemiColon => {
                if let Some((links, _)) = open.last_mut() {
                    *links = 0;
                }
            }
            token if is_link(token) => {
                if let Some((links, _)) = open.last_mut() {
                    *links += 1;
                    if *links > CHAIN_MAX {
                        return Err(too_deep("links in a chain", CHAIN_MAX));
                    }
                }
            }
            _ => {}
        }
        after_name = is_name(token);
    }
    Ok(())
}

/// A word that makes a call of the parenthesis behind it.
fn is_name(token: &Token) -> bool {
    use Keyword as K;
    let Token::Word(word) = token else { return false };
    !matches!(
        word.keyword,
        K::SELECT
            | K::FROM
            | K::WHERE
            | K::HAVING
            | K::VALUES
            | K::AS
            | K::ON
            | K::USING
            | K::BY
            | K::WITH
            | K::SET
            | K::AND
            | K::OR
            | K::NOT
            | K::IN
            | K::EXISTS
            | K::ANY
            | K::ALL
            | K::SOME
            | K::LIKE
            | K::BETWEEN
            | K::DISTINCT
            | K::UNION
            | K::EXCEPT
            | K::INTERSECT
            | K::JOIN
            | K::LATERAL
            | K::CASE
            | K::WHEN
            | K::THEN
            | K::ELSE
            | K::OVER
            | K::FILTER
            | K::LIMIT
            | K::OFFSET
            | K::RETURNING
    )
}

/// What joins two operands, or wraps one.
fn is_link(token: &Token) -> bool {
    use Keyword as K;
    match token {
        Token::Word(word) => matches!(
            word.keyword,
            K::AND
                | K::OR
                | K::NOT
                | K::UNION
                | K::INTERSECT
                | K::EXCEPT
                | K::BETWEEN
                | K::LIKE
                | K::ILIKE
                | K::IS
                | K::IN
                | K::JOIN
                | K::COLLATE
                | K::AT
                | K::SIMILAR
        ),
        Token::Whitespace(_) | Token::Number(..) | Token::Period | Token::Placeholder(_) | Token::EOF => false,
        Token::SingleQuotedString(_) | Token::EscapedStringLiteral(_) | Token::DollarQuotedString(_) => false,
        Token::NationalStringLiteral(_) | Token::HexStringLiteral(_) | Token::DoubleQuotedString(_) => false,
        _ => true,
    }
}

/// # Errors
/// 54001 for expressions that would take too long to plan.
pub(crate) fn check_statement(statement: &Statement) -> Result<()> {
    match walk(statement, &mut Depth::default()) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

#[derive(Default)]
struct Depth {
    operators: usize,
    calls: usize,
}

fn is_operator(expr: &Expr) -> bool {
    match expr {
        Expr::BinaryOp { op, .. } => !matches!(op, BinaryOperator::And | BinaryOperator::Or),
        Expr::UnaryOp { .. } | Expr::Cast { .. } => true,
        _ => false,
    }
}

impl Visitor for Depth {
    type Break = Error;

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        self.operators += usize::from(is_operator(expr));
        self.calls += usize::from(matches!(expr, Expr::Function(_)));
        if self.operators > OPERATORS_MAX {
            return ControlFlow::Break(too_deep("operators within each other", OPERATORS_MAX));
        }
        if self.calls > CALLS_MAX {
            return ControlFlow::Break(too_deep("function calls within each other", CALLS_MAX));
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        self.operators -= usize::from(is_operator(expr));
        self.calls -= usize::from(matches!(expr, Expr::Function(_)));
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg_catalog::SessionInfo;
    use crate::planner::{Base, Planner, Source};
    use crate::statement::Kind;
    use millpond_engine::function::CallLimits;
    use std::time::Duration;

    /// Parses a query and plans it to the end, on as deep a stack as a session's threads have.
    fn check(sql: &str) -> Result<()> {
        let stack = millpond_engine::STACK_BYTES;
        let runtime = tokio::runtime::Builder::new_current_thread().thread_stack_size(stack).build().unwrap();
        let thread = std::thread::Builder::new().stack_size(stack);
        let sql = sql.to_owned();
        thread.spawn(move || runtime.block_on(planned(&sql))).unwrap().join().unwrap()
    }

    async fn planned(sql: &str) -> Result<()> {
        let statements = crate::parser::parse(sql)?;
        let Kind::Query(query) = statements[0].kind.as_ref() else { return Ok(()) };
        let (base, limits) = (Base::new()?, CallLimits::from(Duration::from_secs(1)));
        let source = Source::catalog(crate::pg_catalog::sample_catalog());
        let mut planner = Planner::new(base.state(), source, SessionInfo::default(), limits, false)?;
        let (plan, _) = planner.plan(Statement::Query(query.clone()), &[]).await?;
        planner.physical(&plan).await.map(drop)
    }

    #[test]
    fn long_chains_are_refused_and_long_lists_are_not() {
        let chain = |first: &str, link: &str, links: usize| format!("SELECT {first}{}", link.repeat(links));
        for (first, link, fits, too_long) in [
            ("1", " + 1", 450, 600),
            ("1", "::int", 450, 100_000),
            ("false", " OR true", 900, 2000),
            ("1", " UNION ALL SELECT 1", 300, 100_000),
            ("true", " AND 1 BETWEEN 1 AND 2", 90, 100_000),
        ] {
            check(&chain(first, link, fits)).unwrap_or_else(|e| panic!("{link}: {e}"));
            assert_eq!(check(&chain(first, link, too_long)).unwrap_err().sqlstate, "54001", "{link}");
        }
        let calls = |depth: usize| format!("SELECT {}1{}", "abs(".repeat(depth), ")".repeat(depth));
        assert!(check(&calls(14)).is_ok());
        for depth in [15, 60, 100_000] {
            assert_eq!(check(&calls(depth)).unwrap_err().sqlstate, "54001", "{depth}");
        }
        assert!(
            check("SELECT abs(1) WHERE 1 IN (SELECT x FROM (VALUES (1)) AS v(x) WHERE (x = 1 AND (x > 0)))").is_ok()
        );
        assert!(check(&format!("INSERT INTO t VALUES {}(1, -1)", "(1, -1), ".repeat(20_000))).is_ok());
    }
}
