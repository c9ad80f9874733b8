//! The tokens of MySQL's and MariaDB's SQL, as their own lexers find them (sql_lex.cc), without ANSI_QUOTES and
//! NO_BACKSLASH_ESCAPES, which sessions never begin with.

/// A token and its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind<'a>,
    /// The bytes at which it starts and ends.
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// It stands in an executable comment, which a server may skip.
    pub(crate) is_optional: bool,
}

/// The kind of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind<'a> {
    /// A keyword, an unquoted name, or a number.
    Word(&'a str),
    /// A name in backticks, as it is written between them.
    QuotedName(&'a str),
    String,
    /// `$1`
    Parameter(u16),
    /// `@name`, `@@name`: a variable, or the host of an account.
    Variable,
    /// `/*+ … */`
    Hint,
    /// Another character.
    Symbol(char),
}

/// The reason why a text has no tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LexError {
    pub(crate) at: usize,
    pub(crate) why: &'static str,
}

/// The tokens of a text.
#[derive(Debug, Default)]
pub(crate) struct Tokens<'a> {
    pub(crate) tokens: Vec<Token<'a>>,
    /// It has `/*! … */` or `/*M! … */`.
    pub(crate) has_executable_comment: bool,
    /// The byte behind the semicolons at the start.
    pub(crate) start: usize,
}

/// Reads the tokens of a text. The contents of executable comments are read as code.
pub(crate) fn read(sql: &str) -> Result<Tokens<'_>, LexError> {
    let mut lexer = Lexer { sql, bytes: sql.as_bytes(), at: 0, comment_end: None };
    let mut found = Tokens::default();
    while lexer.skip_blanks(&mut found)? {
        let start = lexer.at;
        let kind = lexer.token()?;
        let is_optional = lexer.comment_end.is_some();
        found.tokens.push(Token { kind, start, end: lexer.at, is_optional });
    }
    if lexer.comment_end.is_some() {
        return Err(LexError { at: sql.len(), why: "a comment does not end" });
    }
    Ok(found)
}

struct Lexer<'a> {
    sql: &'a str,
    bytes: &'a [u8],
    at: usize,
    /// The end of the executable comment around it, for a server that skips that.
    comment_end: Option<usize>,
}

impl<'a> Lexer<'a> {
    fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or_default()
    }

    fn starts_with(&self, text: &str) -> bool {
        self.bytes[self.at..].starts_with(text.as_bytes())
    }

    fn error<T>(&self, why: &'static str) -> Result<T, LexError> {
        Err(LexError { at: self.at, why })
    }

    /// Skips blanks and comments; returns false at the end of the text.
    fn skip_blanks(&mut self, found: &mut Tokens<'a>) -> Result<bool, LexError> {
        loop {
            match self.peek(0) {
                b' ' | b'\t' | b'\n' | b'\r' | 0x0B | 0x0C => self.at += 1,
                0 if self.at >= self.bytes.len() => return Ok(false),
                0 => return self.error("it has a NUL character"),
                b'#' => self.skip_line(),
                // Only before a blank or a control character: `5--1` is 6.
                b'-' if self.peek(1) == b'-' && is_comment_blank(self.bytes.get(self.at + 2)) => {
                    self.skip_line();
                }
                b'*' if self.comment_end.is_some() && self.peek(1) == b'/' => {
                    self.at += 2;
                    if self.comment_end.take() != Some(self.at) {
                        return self.error(ELSEWHERE);
                    }
                }
                b'/' if self.starts_with("/*!") || self.starts_with("/*M!") => {
                    self.begin_executable_comment()?;
                    found.has_executable_comment = true;
                }
                b'/' if self.starts_with("/*") && !self.starts_with("/*+") => self.skip_block()?,
                _ => return Ok(true),
            }
        }
    }

    fn begin_executable_comment(&mut self) -> Result<(), LexError> {
        if self.comment_end.is_some() {
            return self.error("executable comments do not nest");
        }
        let is_of_all = self.peek(2) == b'!';
        let body = self.at + if is_of_all { 3 } else { 4 };
        let Some(end) = skipped_end(self.bytes, body) else {
            return self.error("a comment does not end");
        };
        // To MySQL, one of MariaDB is a comment like any other, in which none nests.
        if !is_of_all && self.sql[body..].find("*/").map(|at| body + at + 2) != Some(end) {
            return self.error(ELSEWHERE);
        }
        self.comment_end = Some(end);
        self.at = body;
        // The version, of five or six digits.
        while self.peek(0).is_ascii_digit() {
            self.at += 1;
        }
        Ok(())
    }

    fn skip_line(&mut self) {
        while self.at < self.bytes.len() && self.peek(0) != b'\n' {
            self.at += 1;
        }
    }

    fn skip_block(&mut self) -> Result<(), LexError> {
        match self.sql[self.at + 2..].find("*/") {
            Some(end) => {
                self.at += 2 + end + 2;
                Ok(())
            }
            None => self.error("a comment does not end"),
        }
    }

    fn token(&mut self) -> Result<Kind<'a>, LexError> {
        match self.peek(0) {
            b'\'' | b'"' => {
                self.skip_string(self.peek(0))?;
                Ok(Kind::String)
            }
            b'`' => self.quoted_name(),
            b'@' => self.variable(),
            b'$' => self.dollar(),
            b'?' => self.error("parameters are written $1, $2 …, not ?"),
            b'/' if self.starts_with("/*+") => self.hint(),
            b'0'..=b'9' => self.number_or_name(),
            byte if is_name_byte(byte) => Ok(Kind::Word(self.run())),
            byte => {
                // All other bytes are ASCII, as those of longer characters are parts of names.
                self.at += 1;
                Ok(Kind::Symbol(char::from(byte)))
            }
        }
    }

    /// Skips `/*+ … */`. MySQL reads names and strings in it, which must not hold its end.
    fn hint(&mut self) -> Result<Kind<'a>, LexError> {
        let start = self.at;
        self.skip_block()?;
        let mut open = None;
        for byte in self.bytes[start..self.at].iter().copied() {
            match (open, byte) {
                (_, b'\\') => return Err(LexError { at: start, why: "a hint has a backslash" }),
                (None, b'\'' | b'"' | b'`') => open = Some(byte),
                (Some(quote), _) if quote == byte => open = None,
                _ => {}
            }
        }
        if open.is_some() {
            return Err(LexError { at: start, why: "a quote in a hint does not end there" });
        }
        Ok(Kind::Hint)
    }

    /// A number, or a name that begins with a digit. The servers end a number with a point or an exponent where that
    /// ends, so that `1e5from` is two tokens, and `a1e5from` is one.
    fn number_or_name(&mut self) -> Result<Kind<'a>, LexError> {
        let start = self.at;
        let run = self.run();
        let rest = run.trim_start_matches(|c: char| c.is_ascii_digit());
        let exponent = rest.strip_prefix(['e', 'E']);
        let is_exponent = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_digit());
        let before = &self.bytes[..start];
        let is_whole = match before {
            [.., b'.'] => rest.is_empty() || exponent.is_some_and(is_exponent),
            [.., digit, b'e' | b'E', b'+' | b'-'] if digit.is_ascii_digit() || *digit == b'.' => {
                rest.is_empty()
            }
            _ => exponent.is_none_or(|rest| {
                !rest.starts_with(|c: char| c.is_ascii_digit()) || is_exponent(rest)
            }),
        };
        if is_whole {
            return Ok(Kind::Word(run));
        }
        let why = "a number touches a word: write a blank between, or the name in backticks";
        Err(LexError { at: start, why })
    }

    /// The longest run of characters of a name.
    fn run(&mut self) -> &'a str {
        let start = self.at;
        while self.bytes.get(self.at).copied().is_some_and(is_name_byte) {
            self.at += 1;
        }
        &self.sql[start..self.at]
    }

    /// Skips a string with its quotes: a backslash takes the next character along, and doubled quotes are one.
    fn skip_string(&mut self, quote: u8) -> Result<(), LexError> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.bytes.get(self.at) {
                None => return Err(LexError { at: start, why: "a string does not end" }),
                Some(b'\\') => self.at += 2,
                Some(byte) if *byte == quote => {
                    self.at += 1;
                    if self.peek(0) != quote {
                        return Ok(());
                    }
                    self.at += 1;
                }
                Some(_) => self.at += 1,
            }
        }
    }

    fn quoted_name(&mut self) -> Result<Kind<'a>, LexError> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.bytes.get(self.at) {
                None => return Err(LexError { at: start, why: "a quoted name does not end" }),
                Some(b'`') => {
                    self.at += 1;
                    if self.peek(0) != b'`' {
                        return Ok(Kind::QuotedName(&self.sql[start + 1..self.at - 1]));
                    }
                    self.at += 1;
                }
                Some(_) => self.at += 1,
            }
        }
    }

    /// `@name`, `@@name`, `@'name'`, with the parts behind points.
    fn variable(&mut self) -> Result<Kind<'a>, LexError> {
        while self.peek(0) == b'@' {
            self.at += 1;
        }
        match self.peek(0) {
            quote @ (b'\'' | b'"') => self.skip_string(quote)?,
            b'`' => drop(self.quoted_name()?),
            _ => {
                while self
                    .bytes
                    .get(self.at)
                    .is_some_and(|byte| is_name_byte(*byte) || *byte == b'.')
                {
                    self.at += 1;
                }
            }
        }
        Ok(Kind::Variable)
    }

    /// `$1`, or a name that begins with a dollar.
    fn dollar(&mut self) -> Result<Kind<'a>, LexError> {
        let start = self.at;
        let run = self.run();
        let name = &run[1..];
        if !name.starts_with(|first: char| first.is_ascii_digit()) {
            // `$tag$` quotes a text in MySQL 9.
            if name.is_empty() || name.contains('$') {
                return Err(LexError { at: start, why: "a dollar stands before no number" });
            }
            return Ok(Kind::Word(run));
        }
        let is_touched = self.peek(0) == b'@';
        let number = name.parse().ok().filter(|number| *number > 0 && !is_touched);
        number.map(Kind::Parameter).ok_or(LexError {
            at: start,
            why: "parameters are written $1 to $65535, with no letter behind the number",
        })
    }
}

const ELSEWHERE: &str = "an executable comment ends elsewhere for a server that skips it";

/// The end of an executable comment for a server that skips it: comments nest once, and quotes are nothing.
fn skipped_end(bytes: &[u8], body: usize) -> Option<usize> {
    let mut at = body;
    let mut is_nested = false;
    loop {
        match bytes.get(at..at + 2)? {
            b"*/" if is_nested => is_nested = false,
            b"*/" => return Some(at + 2),
            b"/*" if !is_nested => is_nested = true,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
    }
}

/// Returns true for the bytes of names: letters, digits, `_`, `$`, and all of characters beyond ASCII.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

/// Returns true if two dashes before this byte begin a comment.
fn is_comment_blank(byte: Option<&u8>) -> bool {
    byte.is_none_or(|byte| byte.is_ascii_whitespace() || byte.is_ascii_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(sql: &str, why: &str) {
        let found = read(sql).map(|found| found.tokens.len());
        assert!(found.as_ref().is_err_and(|error| error.why.contains(why)), "{sql:?}: {found:?}");
    }

    #[test]
    fn an_executable_comment_ends_at_one_place_for_all_servers() {
        for sql in [
            "/*!99999 select # */ alter table t comment '\n*/ select 1 # '",
            "/*!99999 select -- */ create table `\n*/ select 1 # ` (a int)",
            "select /*!99999 '*/ 1 /* ' */",
            "select /*!99999 \"*/ 1 /* \" */",
            "select /*!99999 `*/ 1 /* ` */",
            "select /*M!999999 '*/ 1 /* ' */",
            // It nests for MariaDB, and not for MySQL, to which it is no code.
            "select /*M!100100 1 /* one */ + 1 */",
        ] {
            refused(sql, "ends elsewhere");
        }
        for sql in ["select /*!50000 1 /* x", "select /*!99999 a /* b */ 1", "select /*M! 1"] {
            refused(sql, "does not end");
        }
        refused("select /*! /*! 1 */ */", "do not nest");
        for sql in [
            "select /*!50000 1 /* one */ + 1 */",
            "select /*! 'a', \"b\", `c` # d\n */ 1",
            "/*!40101 set names utf8mb4 */",
            "select /*M! 1 */",
            "select /*!50000*/ 1",
        ] {
            assert!(read(sql).is_ok_and(|found| found.has_executable_comment), "{sql}");
        }
    }

    #[test]
    fn a_hint_holds_no_quote_that_could_hide_its_end() {
        refused("select /*+ qb_name(`*/ '`) */ 1 into outfile 'x' -- '", "in a hint");
        refused("select /*+ x(' */ 1 /* ') */", "in a hint");
        refused("select /*+ x('\\') */ 1", "backslash");
        assert!(read("select /*+ set_var(sql_mode = 'a') qb_name(`b`) */ 1").is_ok());
    }

    #[test]
    fn a_number_hides_no_word_behind_it() {
        for sql in [
            "select 1e5from t",
            "select 1.5from t",
            "select .5from t",
            "select 1.5e3from t",
            "select 1e+5from t",
            "select 1.e-5from t",
            "select 1E5into outfile 'x'",
            "select t.1a",
        ] {
            refused(sql, "touches a word");
        }
        for sql in [
            "select 1, 1.5, .5, 1., 1e5, 1E5, 1e+5, 1.5e-3, 0x1F, 0b01, 1+2, 1e5-3",
            "select 1a, 1_x, 0x1Ffrom, a1e5from, a+5x, 1ea, t.5, t.`1a`",
        ] {
            assert!(read(sql).is_ok(), "{sql}: {:?}", read(sql).err());
        }
    }

    #[test]
    fn dollars_that_could_quote_a_text_are_refused() {
        for sql in ["select $a$ ; $a$", "select $a$b", "select $$ $$", "select $é$ $1 $é$"] {
            refused(sql, "dollar");
        }
        assert!(read("select a$b$c, $name, `$a$`, '$$'").is_ok());
    }
}
