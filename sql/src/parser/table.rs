//! `TABLE name`, which is short for `SELECT * FROM name`.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Word};

/// The tokens with every `TABLE` that begins a query written out, at its own place in the text.
pub(super) fn written_out(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let is_table = |token: &TokenWithSpan| matches!(&token.token, Token::Word(word) if word.keyword == Keyword::TABLE);
    if !tokens.iter().any(is_table) {
        return tokens;
    }
    let mut written = Vec::with_capacity(tokens.len() + 2);
    let mut begins = true;
    for token in tokens {
        if matches!(token.token, Token::Whitespace(_)) {
            written.push(token);
            continue;
        }
        if begins && is_table(&token) {
            for replaced in [word("SELECT", Keyword::SELECT), Token::Mul, word("FROM", Keyword::FROM)] {
                written.push(TokenWithSpan { token: replaced, span: token.span });
            }
            begins = false;
            continue;
        }
        begins = before_a_query(&token.token);
        written.push(token);
    }
    written
}

fn word(text: &str, keyword: Keyword) -> Token {
    Token::Word(Word { value: text.to_owned(), quote_style: None, keyword })
}

fn before_a_query(token: &Token) -> bool {
    use Keyword as K;
    match token {
        Token::SemiColon | Token::LParen => true,
        Token::Word(word) => {
            word.quote_style.is_none()
                && matches!(
                    word.keyword,
                    K::AS | K::UNION | K::EXCEPT | K::INTERSECT | K::ALL | K::DISTINCT | K::EXPLAIN | K::ANALYZE
                )
        }
        _ => false,
    }
}
