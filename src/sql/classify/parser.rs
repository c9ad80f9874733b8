//! Admits statements that are understood completely.
//!
//! The parser is a dependency that recurses, and its trees are dropped by recursion. So a text reaches it only
//! within bounds that a thread's stack can bear, and a statement that is out of bounds, does not parse or is
//! not on the visitor's list is [`StatementClass::Other`].

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, Word};

use super::names::names;
use super::parser_tokens::{keyword, parser_tokens, word};
use super::walk::classify;
use crate::sql::class::StatementClass;
use crate::sql::scanner::is_among;

/// The longest text that is parsed.
pub(crate) const MAX_TEXT_BYTES: usize = 16 * 1024;

/// The most parentheses and brackets that are open at once.
const MAX_NESTING: usize = 24;

/// The most tokens that may each put one more level on a tree: `a + b + c` leans to the left, one level for each sign.
const MAX_LINKS: usize = 4096;

/// The most of them in a row, as in `NOT NOT NOT a`, where the parser recurses.
const MAX_LINKS_IN_A_ROW: usize = 16;

/// The most joins: without parentheses and conditions, each nests in the one before.
const MAX_JOINS: usize = 48;

/// The depth to which the parser may recurse, in its own counting.
const MAX_RECURSION: usize = 40;

/// The class of a statement of PostgreSQL.
pub(crate) fn classify_text(sql: &str) -> StatementClass {
    understood(sql).unwrap_or(StatementClass::Other)
}

fn understood(sql: &str) -> Option<StatementClass> {
    if sql.len() > MAX_TEXT_BYTES {
        return None;
    }
    let tokens = without_empty_statements(parser_tokens(sql)?);
    if !starts_plain(tokens.first()?) || !within_bounds(&tokens) {
        return None;
    }
    let names = names(&tokens);
    let mut parser =
        Parser::new(&PostgreSqlDialect {}).with_recursion_limit(MAX_RECURSION).with_tokens(tokens);
    let statement = parser.parse_statement().ok()?;
    if parser.peek_token_ref().token != Token::EOF {
        return None;
    }
    classify(&statement, names)
}

/// The tokens without the semicolons before and after the statement.
fn without_empty_statements(mut tokens: Vec<Token>) -> Vec<Token> {
    while tokens.last() == Some(&Token::SemiColon) {
        tokens.pop();
    }
    let empty = tokens.iter().take_while(|token| **token == Token::SemiColon).count();
    tokens.drain(..empty);
    tokens
}

/// Tells whether a statement starts as a query or as a change of rows does.
fn starts_plain(first: &Token) -> bool {
    const PLAIN: &str = "select with values insert update delete merge";
    let is_plain = |word: &Word| word.quote_style.is_none() && is_among(&word.value, PLAIN);
    *first == Token::LParen || word(first).is_some_and(is_plain)
}

fn within_bounds(tokens: &[Token]) -> bool {
    let mut nesting = 0_usize;
    let mut links = 0;
    let mut in_a_row = 0_usize;
    let mut joins = 0;
    for token in tokens {
        in_a_row = if is_link(token) { in_a_row + 1 } else { 0 };
        links += usize::from(in_a_row > 0);
        match token {
            Token::LParen | Token::LBracket => nesting += 1,
            Token::RParen | Token::RBracket => nesting = nesting.saturating_sub(1),
            _ => {}
        }
        joins += usize::from(keyword(token) == Some(Keyword::JOIN));
        if nesting > MAX_NESTING
            || links > MAX_LINKS
            || in_a_row > MAX_LINKS_IN_A_ROW
            || joins > MAX_JOINS
        {
            return false;
        }
    }
    true
}

/// Tells whether a token may put one more level on the tree by itself.
fn is_link(token: &Token) -> bool {
    match token {
        Token::Word(word) => word.keyword != Keyword::NoKeyword,
        Token::LParen | Token::LBracket | Token::RParen | Token::RBracket => false,
        Token::Number(..) | Token::SingleQuotedString(_) | Token::DollarQuotedString(_) => false,
        Token::Placeholder(_) | Token::Comma | Token::Period => false,
        _ => true,
    }
}
