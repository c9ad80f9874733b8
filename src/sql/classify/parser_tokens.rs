//! PostgreSQL's tokens, as the parser takes them.
//!
//! The parser's own tokenizer reads some texts differently from PostgreSQL: where a line comment ends, which
//! characters make one operator, what a number runs into. Each difference would be a place to hide a call
//! from it. So the parser gets its tokens from here, and a text that two settings or two versions of PostgreSQL
//! read differently gives no tokens at all. The content of strings is left out: nothing here needs it.

use std::collections::HashMap;
use std::sync::LazyLock;

use sqlparser::ast::DollarQuotedString;
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, Tokenizer, Word};

use crate::sql::scanner::{
    COMMENT, Dialect, Scanner, SqlToken, TokenKind, is_among, is_operator_part, is_word_part,
};

/// The tokens of `sql`; `None` if any of it is ambiguous.
pub(crate) fn parser_tokens(sql: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::with_capacity(sql.len() / 4);
    let mut scanner = Scanner::new(sql, Dialect::Postgres);
    while let Some(token) = scanner.next() {
        if token.kind == TokenKind::Unterminated(COMMENT) {
            break;
        }
        tokens.push(parser_token(token, scanner.rest())?);
    }
    Some(tokens)
}

/// The keyword that a token is to the parser, if it is one.
pub(crate) fn keyword(token: &Token) -> Option<Keyword> {
    word(token).map(|word| word.keyword).filter(|keyword| *keyword != Keyword::NoKeyword)
}

/// The word that a token is, if it is one.
pub(crate) fn word(token: &Token) -> Option<&Word> {
    match token {
        Token::Word(word) => Some(word),
        _ => None,
    }
}

/// The parser's token for one of the scanner's, behind which `rest` stands.
fn parser_token(SqlToken { kind, text, .. }: SqlToken<'_>, rest: &str) -> Option<Token> {
    let string = || Token::SingleQuotedString(String::new());
    match kind {
        TokenKind::Word => (!has_prefix(text, rest)).then(|| Token::make_word(text, None)),
        TokenKind::QuotedName => {
            let name = text[1..text.len() - 1].replace("\"\"", "\"");
            (!name.is_empty()).then(|| Token::make_word(&name, Some('"')))
        }
        // The end of a string without E depends on a setting, if a backslash stands before a quote.
        TokenKind::EscapeString if !text.starts_with('\'') => Some(string()),
        TokenKind::String | TokenKind::EscapeString => (!text.contains("\\'")).then(string),
        TokenKind::DollarString => {
            let content = DollarQuotedString { value: String::new(), tag: None };
            Some(Token::DollarQuotedString(content))
        }
        // Versions differ in what a number may run into.
        TokenKind::Number if rest.starts_with(|c| is_word_part(c) || c == '.') => None,
        TokenKind::Number => Some(Token::Number(text.to_owned(), false)),
        TokenKind::Parameter if rest.starts_with(is_word_part) => None,
        TokenKind::Parameter => Some(Token::Placeholder(text.to_owned())),
        TokenKind::Symbol => symbol(text),
        TokenKind::Unterminated(_) => None,
    }
}

/// Tells whether a word is the prefix of a string: B'', X'' and N'' are strings of other kinds; U&'' and U&"" have
/// escapes of their own.
fn has_prefix(word: &str, rest: &str) -> bool {
    is_among(word, "b x n") && rest.starts_with('\'')
        || is_among(word, "u") && (rest.starts_with("&'") || rest.starts_with("&\""))
}

/// The symbols that the parser knows: punctuation, and the operators that PostgreSQL's own types commonly use.
const SYMBOLS: &str = "\
    , ( ) [ ] ; . : :: := + - * / % ^ < > = <= >= <> != => || -> ->> #> #>> #- @> <@ @? @@ \
    ? ?& ?| && & | # << >> ~ ~* !~ !~* ~~ ~~* !~~ !~~* ^@";

/// The parser's own tokens for these symbols.
static SYMBOL_TOKENS: LazyLock<HashMap<&str, Token>> = LazyLock::new(|| {
    let token = |symbol| Tokenizer::new(&PostgreSqlDialect {}, symbol).tokenize().ok()?.pop();
    SYMBOLS.split(' ').filter_map(|symbol| Some((symbol, token(symbol)?))).collect()
});

/// The parser's token for a symbol.
fn symbol(symbol: &str) -> Option<Token> {
    let operator = || Token::CustomBinaryOperator(symbol.to_owned());
    let known = SYMBOL_TOKENS.get(symbol).cloned();
    known.or_else(|| symbol.starts_with(is_operator_part).then(operator))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_known_symbol_is_one_token_of_the_same_text() {
        for symbol in SYMBOLS.split(' ') {
            let token = SYMBOL_TOKENS.get(symbol).map(ToString::to_string);
            let text = if symbol == "!=" { "<>" } else { symbol };
            assert_eq!(token.as_deref(), Some(text));
        }
    }

    fn written(sql: &str) -> Option<String> {
        let tokens = parser_tokens(sql)?;
        Some(tokens.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn text_is_read_as_postgresql_reads_it() {
        for (sql, expected) in [
            ("select a.b,$1 from\"T\"", "select a . b , $1 from \"T\""),
            ("1 1.5 .5 1e3 1.e-3", "1 1.5 .5 1e3 1.e-3"),
            ("a--b\rc", "a c"),
            ("a/*/**/*/c", "a c"),
            ("'it''s' 'x\\y'", "'' ''"),
            ("e'it\\'s' E'\\\\'", "'' ''"),
            ("$$a'b$$ $t$a$$b$t$", "$$$$ $$$$"),
            ("\"a\"\"b\"", "\"a\"\"b\""),
            ("a->-1", "a -> - 1"),
            ("a=-1", "a = - 1"),
            ("a<-+-1", "a < - + - 1"),
            ("a@-1", "a @- 1"),
            ("a*--b\n2", "a * 2"),
            ("a+/*b*/2", "a + 2"),
            ("a<@b<>c!=d", "a <@ b <> c <> d"),
            ("a[1:2]::int", "a [ 1 : 2 ] :: int"),
            ("f(a:=1,b=>2)", "f ( a := 1 , b => 2 )"),
            ("a$1b", "a$1b"),
            ("count(*)", "count ( * )"),
            ("t.*", "t . *"),
            ("é", "é"),
        ] {
            assert_eq!(written(sql).as_deref(), Some(expected), "{sql:?}");
        }
    }

    #[test]
    fn ambiguous_text_gives_no_tokens() {
        for sql in [
            "'",
            "'a\\'",
            "'a\\''b'",
            "\"",
            "\"\"",
            "$",
            "$a",
            "$a$",
            "$1a",
            "$a-b$ $a-b$",
            "1a",
            "1_000",
            "0x1F",
            "1e",
            "1.2.3",
            "1..2",
            "b'1'",
            "X'1F'",
            "n'x'",
            "u&'x'",
            "U&\"x\"",
            "{a}",
            "a\\b",
            "\0",
            "e'\\'",
        ] {
            assert_eq!(parser_tokens(sql), None, "{sql:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(sql in any::<String>(), sqlish in "[a-e1$'\"\\\\.:/*+@é \n-]{0,40}") {
            let _ = (parser_tokens(&sql), parser_tokens(&sqlish));
        }
    }
}
