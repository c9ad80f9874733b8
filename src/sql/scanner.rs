//! The tokens of SQL text.
//!
//! One scanner for all that reads SQL here, since all must agree on where strings and comments end. It follows
//! scan.l of PostgreSQL and tokenize.c of SQLite, and never fails: text that is no SQL gives tokens, too.

use super::comments::{after_block, after_line, code_comment, skip_blanks};

pub(crate) use super::dialects::Dialect;

/// The byte order mark: SQLite takes it for a blank, and clients leave it at the start of files.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// A comment that does not end; only in PostgreSQL, since the end of the text ends one in SQLite.
pub(crate) const COMMENT: &str = "a comment";

const STRING: &str = "a string";

/// The escape character of an [`TokenKind::EscapeString`].
const ESCAPE: Option<u8> = Some(b'\\');

/// The kind of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// A keyword or an unquoted name.
    Word,
    /// A name in quotes, backticks or brackets.
    QuotedName,
    /// `'…'`. A setting of the session decides about backslashes in it.
    String,
    /// `E'…'`, or a string on a further line that continues one.
    EscapeString,
    /// `$tag$…$tag$`.
    DollarString,
    /// A number. In SQLite with the letters that it runs into.
    Number,
    /// `$1`; in SQLite also `?1`, `:name`, `@name`, `#name` and `$name`.
    Parameter,
    /// An operator, or another single character.
    Symbol,
    /// The rest of the text: the named construct starts here and does not end.
    Unterminated(&'static str),
}

/// A token and its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SqlToken<'a> {
    pub(crate) kind: TokenKind,
    pub(crate) text: &'a str,
    /// The byte at which it starts.
    pub(crate) start: usize,
    /// It stands in an executable comment of MySQL.
    pub(crate) is_optional: bool,
}

/// An iterator over the tokens of a text; it skips blanks and comments. The contents of MySQL's executable comments are tokens.
pub(crate) struct Scanner<'a> {
    sql: &'a str,
    rest: &'a str,
    dialect: Dialect,
    last: Option<LastToken>,
    /// An executable comment is open.
    in_code_comment: bool,
}

/// The token behind which a scanner goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LastToken {
    kind: TokenKind,
    is_optional: bool,
}

impl From<&SqlToken<'_>> for LastToken {
    fn from(token: &SqlToken<'_>) -> Self {
        Self { kind: token.kind, is_optional: token.is_optional }
    }
}

impl<'a> Scanner<'a> {
    /// A scanner at the start of a text.
    pub(crate) fn new(sql: &'a str, dialect: Dialect) -> Self {
        Self { sql, rest: sql, dialect, last: None, in_code_comment: false }
    }

    /// A scanner behind a token: a string may continue the one before, and an executable comment may be open.
    pub(crate) fn behind(sql: &'a str, dialect: Dialect, last: Option<LastToken>) -> Self {
        let in_code_comment = last.is_some_and(|last| last.is_optional);
        Self { last, in_code_comment, ..Self::new(sql, dialect) }
    }

    /// Returns true within an executable comment of MySQL; at the end of the text it is one that does not end.
    pub(crate) fn is_in_code_comment(&self) -> bool {
        self.in_code_comment
    }

    /// A scanner at the first statement that is not empty.
    pub(crate) fn at_first_statement(sql: &'a str, dialect: Dialect) -> Self {
        let mut scanner = Self::new(sql, dialect);
        loop {
            scanner.skip_gap();
            let trimmed = scanner.rest.trim_start_matches([';', BYTE_ORDER_MARK]);
            if trimmed.len() == scanner.rest.len() {
                return scanner;
            }
            scanner.rest = trimmed;
        }
    }

    /// The text behind the last token.
    pub(crate) fn rest(&self) -> &'a str {
        self.rest
    }

    /// Skips blanks, comments, and the borders of executable ones.
    fn skip_gap(&mut self) {
        loop {
            self.rest = skip_blanks(self.rest, self.dialect);
            if self.dialect != Dialect::Mysql {
                return;
            }
            match (self.in_code_comment, code_comment(self.rest)) {
                (false, Some(code)) if code.contains("*/") => {
                    self.in_code_comment = true;
                    self.rest = code;
                }
                (true, _) if self.rest.starts_with("*/") => {
                    self.in_code_comment = false;
                    self.rest = &self.rest[2..];
                }
                // They do not nest.
                (true, Some(_)) => match after_block(&self.rest[2..], self.dialect) {
                    Some(rest) => self.rest = rest,
                    None => return,
                },
                _ => return,
            }
        }
    }

    /// Skips characters of one kind.
    pub(crate) fn skip_chars(&mut self, is_skipped: fn(char) -> bool) {
        self.rest = self.rest.trim_start_matches(is_skipped);
    }
}

impl<'a> Iterator for Scanner<'a> {
    type Item = SqlToken<'a>;

    fn next(&mut self) -> Option<SqlToken<'a>> {
        let before = self.rest;
        self.skip_gap();
        let text = self.rest;
        let first = text.chars().next()?;
        let gap = &before[..before.len() - text.len()];
        let is_behind_escapes = self.last.is_some_and(|last| last.kind == TokenKind::EscapeString);
        let (kind, length) = if first == '\'' && is_behind_escapes && continues(gap) {
            ended(TokenKind::EscapeString, quoted_length(text, b'\'', ESCAPE), STRING)
        } else {
            token(text, first, self.dialect)
        };
        let start = self.sql.len() - text.len();
        let (text, rest) = text.split_at(length.unwrap_or(text.len()));
        self.rest = rest;
        let token = SqlToken { kind, text, start, is_optional: self.in_code_comment };
        self.last = Some(LastToken::from(&token));
        Some(token)
    }
}

/// The texts of the tokens from the first statement that is not empty.
pub(crate) fn leading_words(sql: &str, dialect: Dialect) -> impl Iterator<Item = &str> {
    Scanner::at_first_statement(sql, dialect)
        .take_while(|token| token.kind != TokenKind::Unterminated(COMMENT))
        .map(|token| token.text)
}

/// The first word of the first statement that is not empty.
pub(crate) fn first_word(sql: &str, dialect: Dialect) -> Option<&str> {
    leading_words(sql, dialect).next()
}

/// Tells whether a text is one of the words of a list, in any case.
pub(crate) fn is_among(text: &str, words: &str) -> bool {
    let mut words = words.as_bytes().split(|byte| *byte == b' ');
    words.any(|word| word.eq_ignore_ascii_case(text.as_bytes()))
}

/// Tells whether a character continues an identifier, in both dialects: both take every character beyond
/// ASCII, so `begin\u{a0}` is a name and not BEGIN.
pub(crate) fn is_word_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '$' || !c.is_ascii()
}

/// Tells whether a character may be part of one of PostgreSQL's operators.
pub(crate) fn is_operator_part(c: char) -> bool {
    "~!@#^&|`?+-*/%<>=".contains(c)
}

/// A token that ends, or the named construct without an end.
fn ended(kind: TokenKind, length: Option<usize>, what: &'static str) -> (TokenKind, Option<usize>) {
    (if length.is_some() { kind } else { TokenKind::Unterminated(what) }, length)
}

/// The kind of the token at the start of `text`, and its length unless it is the rest of the text.
fn token(text: &str, first: char, dialect: Dialect) -> (TokenKind, Option<usize>) {
    let postgres = dialect == Dialect::Postgres;
    let after = &text[first.len_utf8()..];
    if dialect == Dialect::Mysql {
        return mysql_token(text, first, after);
    }
    let starts_number = after.starts_with(|c: char| c.is_ascii_digit());
    match first {
        '\'' => ended(TokenKind::String, quoted_length(text, b'\'', None), STRING),
        '"' => ended(TokenKind::QuotedName, quoted_length(text, b'"', None), "a quoted name"),
        '`' if !postgres => {
            ended(TokenKind::QuotedName, quoted_length(text, b'`', None), "a quoted name")
        }
        '[' if !postgres => {
            let length = text.find(']').map(|end| end + 1);
            ended(TokenKind::QuotedName, length, "a name in brackets")
        }
        // Skipping blanks leaves only a comment that does not end.
        '/' if after.starts_with('*') => (TokenKind::Unterminated(COMMENT), None),
        '$' if postgres => dollar(text),
        '?' if !postgres => (TokenKind::Parameter, Some(1 + digits(after))),
        '$' | ':' | '@' | '#' if !postgres => (TokenKind::Parameter, Some(1 + word_length(after))),
        '0'..='9' => (TokenKind::Number, Some(number_length(text, dialect))),
        '.' if starts_number => (TokenKind::Number, Some(number_length(text, dialect))),
        _ if is_word_part(first) => word(text, dialect),
        _ if postgres => (TokenKind::Symbol, Some(symbol_length(text, first))),
        _ => (TokenKind::Symbol, Some(first.len_utf8())),
    }
}

/// As [`token`], of MySQL: numbers are parts of names.
fn mysql_token(text: &str, first: char, after: &str) -> (TokenKind, Option<usize>) {
    match first {
        '\'' => ended(TokenKind::String, quoted_length(text, b'\'', ESCAPE), STRING),
        '"' => ended(TokenKind::String, quoted_length(text, b'"', ESCAPE), STRING),
        '`' => ended(TokenKind::QuotedName, quoted_length(text, b'`', None), "a quoted name"),
        '/' if after.starts_with('*') => (TokenKind::Unterminated(COMMENT), None),
        '$' if digits(after) > 0 => (TokenKind::Parameter, Some(1 + digits(after))),
        '0'..='9' if after.starts_with(is_word_part) => {
            (TokenKind::Number, Some(word_length(text)))
        }
        '0'..='9' => (TokenKind::Number, Some(1)),
        _ if is_word_part(first) => (TokenKind::Word, Some(word_length(text))),
        _ => (TokenKind::Symbol, Some(first.len_utf8())),
    }
}

/// Tells whether a string behind this gap continues the one before it: only line breaks and line
/// comments join them.
fn continues(gap: &str) -> bool {
    let mut rest = gap;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\n', '\r', '\x0c']);
        let Some(comment) = rest.strip_prefix("--") else { break };
        rest = after_line(comment, Dialect::Postgres);
    }
    rest.is_empty() && gap.contains(['\n', '\r'])
}

/// The length of a quoted text, quotes doubled inside; `None` when it does not end. An escape character takes
/// the next one with it.
fn quoted_length(text: &str, quote: u8, escape: Option<u8>) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 1;
    loop {
        let byte = *bytes.get(at)?;
        if Some(byte) == escape || byte == quote && bytes.get(at + 1) == Some(&quote) {
            at += 2;
        } else if byte == quote {
            return Some(at + 1);
        } else {
            at += 1;
        }
    }
}

/// `$1`, `$tag$…$tag$`, or the character alone.
fn dollar(text: &str) -> (TokenKind, Option<usize>) {
    let after = &text[1..];
    let number = digits(after);
    if number > 0 {
        return (TokenKind::Parameter, Some(1 + number));
    }
    let tag = word_length(after);
    let Some(end) = after[..tag].find('$') else { return (TokenKind::Symbol, Some(1)) };
    let (delimiter, body) = text.split_at(end + 2);
    let length = body.find(delimiter).map(|at| at + 2 * delimiter.len());
    ended(TokenKind::DollarString, length, "a dollar-quoted string")
}

/// A decimal number as PostgreSQL reads it; SQLite takes all letters that follow with it.
fn number_length(text: &str, dialect: Dialect) -> usize {
    if dialect == Dialect::Sqlite {
        return run_length(text, |c| is_word_part(c) || c == '.');
    }
    let mut end = digits(text);
    if text[end..].starts_with('.') {
        end += 1 + digits(&text[end + 1..]);
    }
    let exponent = text[end..].strip_prefix(['e', 'E']).unwrap_or("");
    let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    match digits(unsigned) {
        0 => end,
        length => end + 1 + (exponent.len() - unsigned.len()) + length,
    }
}

fn digits(text: &str) -> usize {
    run_length(text, |c| c.is_ascii_digit())
}

fn word_length(text: &str) -> usize {
    run_length(text, is_word_part)
}

/// The length of the longest start of `text` that has only such characters.
fn run_length(text: &str, is_part: fn(char) -> bool) -> usize {
    text.find(|c| !is_part(c)).unwrap_or(text.len())
}

/// A word, or the string whose escapes it announces.
fn word(text: &str, dialect: Dialect) -> (TokenKind, Option<usize>) {
    let length = word_length(text);
    let (word, after) = text.split_at(length);
    let escapes = dialect == Dialect::Postgres && word.eq_ignore_ascii_case("e");
    if escapes && after.starts_with('\'') {
        let length = quoted_length(after, b'\'', ESCAPE).map(|string| word.len() + string);
        return ended(TokenKind::EscapeString, length, STRING);
    }
    (TokenKind::Word, Some(length))
}

/// The length of the longest operator of PostgreSQL, or of another symbol. An operator ends where a comment
/// starts, and may end with a sign only if one of its characters is none of the SQL standard's.
fn symbol_length(text: &str, first: char) -> usize {
    if [":=", "::", ".."].iter().any(|symbol| text.starts_with(symbol)) {
        return 2;
    }
    if !is_operator_part(first) {
        return first.len_utf8();
    }
    let mut operator = &text[..run_length(text, is_operator_part)];
    for comment in ["--", "/*"] {
        operator = operator.split(comment).next().unwrap_or("");
    }
    if operator.contains(|c| "~!@#^&|`?%".contains(c)) {
        return operator.len();
    }
    operator.trim_end_matches(['+', '-']).len().max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tokens_and_gaps_make_up_the_text(
            sql in any::<String>(),
            sqlish in "[a-e1$'\"\\\\.;:/*@?\\[\\]`é \n-]{0,40}",
        ) {
            for text in [&sql, &sqlish] {
                for dialect in [Dialect::Postgres, Dialect::Sqlite, Dialect::Mysql] {
                    let mut end = 0;
                    for token in Scanner::new(text, dialect) {
                        prop_assert!(token.start >= end && !token.text.is_empty());
                        end = token.start + token.text.len();
                        prop_assert_eq!(&text[token.start..end], token.text);
                    }
                }
            }
        }
    }
}
