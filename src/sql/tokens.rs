//! PostgreSQL's tokens, as the parser takes them.
//!
//! The parser's own tokenizer reads some texts differently from PostgreSQL: where a line comment ends, which
//! characters make one operator, what a number runs into. Each difference would be a place to hide a call
//! from it. So the parser gets its tokens from here, read by the rules of PostgreSQL's scanner
//! (src/backend/parser/scan.l), and a text with anything that two settings or two versions of PostgreSQL read
//! differently gives no tokens at all. What stands inside a string is left out: nobody here asks.

use sqlparser::ast::DollarQuotedString;
use sqlparser::tokenizer::Token;

use super::analysis::Dialect;
use super::transaction_control::{dollar_delimiter, is_word_part, quoted_length, skip_blanks};

/// The tokens of `sql`; `None` if any of it is not certain.
pub(crate) fn tokens(sql: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::with_capacity(sql.len() / 4);
    let mut rest = skip_blanks(sql, Dialect::Postgres);
    while let Some(first) = rest.chars().next() {
        let (token, length) = token(rest, first)?;
        tokens.push(token);
        rest = skip_blanks(rest.get(length..)?, Dialect::Postgres);
    }
    Some(tokens)
}

/// The token at the start of `text`, and its length in bytes.
fn token(text: &str, first: char) -> Option<(Token, usize)> {
    match first {
        '\'' => string(text, 1, Backslash::Plain),
        '"' => quoted_name(text),
        '$' => dollar(text),
        '0'..='9' => number(text),
        '.' if text.get(1..)?.starts_with(|c: char| c.is_ascii_digit()) => number(text),
        _ if is_word_part(first) => word(text),
        _ if is_operator_part(first) => operator(text),
        _ => punctuation(text, first),
    }
}

fn punctuation(text: &str, first: char) -> Option<(Token, usize)> {
    let second = text.chars().nth(1);
    let one = |token| Some((token, 1));
    match (first, second) {
        (',', _) => one(Token::Comma),
        ('(', _) => one(Token::LParen),
        (')', _) => one(Token::RParen),
        ('[', _) => one(Token::LBracket),
        (']', _) => one(Token::RBracket),
        (';', _) => one(Token::SemiColon),
        ('.', Some('.')) => None,
        ('.', _) => one(Token::Period),
        (':', Some(':')) => Some((Token::DoubleColon, 2)),
        (':', Some('=')) => Some((Token::Assignment, 2)),
        (':', _) => one(Token::Colon),
        _ => None,
    }
}

/// What a backslash means in a string.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Backslash {
    /// Itself, unless `standard_conforming_strings` is off.
    Plain,
    /// It escapes the next character.
    Escape,
}

/// A string whose content starts at byte `start`.
fn string(text: &str, start: usize, backslash: Backslash) -> Option<(Token, usize)> {
    let bytes = text.as_bytes();
    let mut at = start;
    loop {
        match (bytes.get(at)?, bytes.get(at + 1)) {
            (b'\\', _) if backslash == Backslash::Escape => at += 2,
            // Whether the string ends here depends on a setting, or on how the string before began,
            // which this one may continue.
            (b'\\', Some(b'\'')) => return None,
            (b'\'', Some(b'\'')) => at += 2,
            (b'\'', _) => return Some((Token::SingleQuotedString(String::new()), at + 1)),
            _ => at += 1,
        }
    }
}

fn quoted_name(text: &str) -> Option<(Token, usize)> {
    let length = quoted_length(text, '"', false)?;
    let name = text.get(1..length - 1)?.replace("\"\"", "\"");
    (!name.is_empty()).then(|| (Token::make_word(&name, Some('"')), length))
}

/// `$1`, or `$tag$…$tag$`.
fn dollar(text: &str) -> Option<(Token, usize)> {
    let after = text.get(1..)?;
    if after.starts_with(|c: char| c.is_ascii_digit()) {
        let end = 1 + digits(after);
        let clear = !text.get(end..)?.starts_with(is_word_part);
        return clear.then(|| (Token::Placeholder(text.get(..end).unwrap_or("").to_owned()), end));
    }
    let delimiter = dollar_delimiter(text)?;
    let body = text.get(delimiter.len()..)?;
    let end = body.find(delimiter)? + 2 * delimiter.len();
    let content = DollarQuotedString { value: String::new(), tag: None };
    Some((Token::DollarQuotedString(content), end))
}

/// A decimal number. What runs on into letters, underscores or a second point is read differently by
/// different versions.
fn number(text: &str) -> Option<(Token, usize)> {
    let mut end = digits(text);
    if text.get(end..)?.starts_with('.') {
        end += 1 + digits(text.get(end + 1..)?);
    }
    let exponent = text.get(end..)?;
    if exponent.starts_with(['e', 'E']) {
        let signed = exponent.get(1..)?.starts_with(['+', '-']);
        let start = if signed { 2 } else { 1 };
        let length = digits(exponent.get(start..)?);
        if length == 0 {
            return None;
        }
        end += start + length;
    }
    let clear = !text.get(end..)?.starts_with(|c| is_word_part(c) || c == '.');
    clear.then(|| (Token::Number(text.get(..end).unwrap_or("").to_owned(), false), end))
}

fn digits(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len())
}

/// A keyword or a name, or a string that a letter stands before.
fn word(text: &str) -> Option<(Token, usize)> {
    let end = text.find(|c| !is_word_part(c)).unwrap_or(text.len());
    let (word, rest) = text.split_at_checked(end)?;
    if word.eq_ignore_ascii_case("e") && rest.starts_with('\'') {
        return string(text, end + 1, Backslash::Escape);
    }
    // B'', X'' and N'' are strings of other kinds; U&'' and U&"" have escapes of their own.
    let prefix = ["b", "x", "n"].iter().any(|p| word.eq_ignore_ascii_case(p));
    let unicode =
        word.eq_ignore_ascii_case("u") && (rest.starts_with("&'") || rest.starts_with("&\""));
    if unicode || prefix && rest.starts_with('\'') {
        return None;
    }
    Some((Token::make_word(word, None), end))
}

fn is_operator_part(c: char) -> bool {
    "~!@#^&|`?+-*/%<>=".contains(c)
}

/// The longest operator at the start of `text`: it ends where a comment starts, and may end with a sign only if
/// one of its characters is none of the SQL standard's.
fn operator(text: &str) -> Option<(Token, usize)> {
    let end = text.find(|c| !is_operator_part(c)).unwrap_or(text.len());
    let mut operator = text.get(..end)?;
    for comment in ["--", "/*"] {
        operator = operator.split(comment).next().unwrap_or("");
    }
    if !operator.contains(|c| "~!@#^&|`?%".contains(c)) {
        let trimmed = operator.trim_end_matches(['+', '-']);
        let kept = trimmed.len().max(1);
        operator = operator.get(..kept)?;
    }
    (!operator.is_empty()).then(|| (symbol(operator), operator.len()))
}

/// The parser's token for an operator; those that PostgreSQL's own types do not commonly use have none.
fn symbol(operator: &str) -> Token {
    match operator {
        "+" => Token::Plus,
        "-" => Token::Minus,
        "*" => Token::Mul,
        "/" => Token::Div,
        "%" => Token::Mod,
        "^" => Token::Caret,
        "<" => Token::Lt,
        ">" => Token::Gt,
        "=" => Token::Eq,
        "<=" => Token::LtEq,
        ">=" => Token::GtEq,
        "<>" | "!=" => Token::Neq,
        "=>" => Token::RArrow,
        "||" => Token::StringConcat,
        "->" => Token::Arrow,
        "->>" => Token::LongArrow,
        "#>" => Token::HashArrow,
        "#>>" => Token::HashLongArrow,
        "#-" => Token::HashMinus,
        "@>" => Token::AtArrow,
        "<@" => Token::ArrowAt,
        "@?" => Token::AtQuestion,
        "@@" => Token::AtAt,
        "?" => Token::Question,
        "?&" => Token::QuestionAnd,
        "?|" => Token::QuestionPipe,
        "&&" => Token::Overlap,
        "&" => Token::Ampersand,
        "|" => Token::Pipe,
        "#" => Token::Sharp,
        "<<" => Token::ShiftLeft,
        ">>" => Token::ShiftRight,
        "~" => Token::Tilde,
        "~*" => Token::TildeAsterisk,
        "!~" => Token::ExclamationMarkTilde,
        "!~*" => Token::ExclamationMarkTildeAsterisk,
        "~~" => Token::DoubleTilde,
        "~~*" => Token::DoubleTildeAsterisk,
        "!~~" => Token::ExclamationMarkDoubleTilde,
        "!~~*" => Token::ExclamationMarkDoubleTildeAsterisk,
        "^@" => Token::CaretAt,
        _ => Token::CustomBinaryOperator(operator.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(sql: &str) -> Option<String> {
        let tokens = tokens(sql)?;
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
            ("\"a\"\"b\"", "\"a\"b\""),
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
    fn text_of_doubtful_reading_gives_no_tokens() {
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
            assert_eq!(tokens(sql), None, "{sql:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(sql in any::<String>(), sqlish in "[a-e1$'\"\\\\.:/*+@é \n-]{0,40}") {
            let _ = (tokens(&sql), tokens(&sqlish));
        }
    }
}
