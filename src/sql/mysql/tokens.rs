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
}

/// Reads the tokens of a text. The contents of executable comments are read as code.
pub(crate) fn read(sql: &str) -> Result<Tokens<'_>, LexError> {
    let mut lexer = Lexer { sql, bytes: sql.as_bytes(), at: 0, in_comment: false };
    let mut found = Tokens::default();
    while lexer.skip_blanks(&mut found)? {
        let start = lexer.at;
        let kind = lexer.token()?;
        let is_optional = lexer.in_comment;
        found.tokens.push(Token { kind, start, end: lexer.at, is_optional });
    }
    if lexer.in_comment {
        return Err(LexError { at: sql.len(), why: "a comment does not end" });
    }
    Ok(found)
}

struct Lexer<'a> {
    sql: &'a str,
    bytes: &'a [u8],
    at: usize,
    /// It is within an executable comment.
    in_comment: bool,
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
                b'*' if self.in_comment && self.peek(1) == b'/' => {
                    self.in_comment = false;
                    self.at += 2;
                }
                b'/' if self.starts_with("/*!") || self.starts_with("/*M!") => {
                    if self.in_comment {
                        return self.error("executable comments do not nest");
                    }
                    self.at += if self.peek(2) == b'!' { 3 } else { 4 };
                    // The version, of five or six digits.
                    while self.peek(0).is_ascii_digit() {
                        self.at += 1;
                    }
                    self.in_comment = true;
                    found.has_executable_comment = true;
                }
                b'/' if self.starts_with("/*") && !self.starts_with("/*+") => self.skip_block()?,
                _ => return Ok(true),
            }
        }
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
            b'/' if self.starts_with("/*+") => {
                self.skip_block()?;
                Ok(Kind::Hint)
            }
            byte if is_name_byte(byte) => Ok(Kind::Word(self.run())),
            byte => {
                // All other bytes are ASCII, as those of longer characters are parts of names.
                self.at += 1;
                Ok(Kind::Symbol(char::from(byte)))
            }
        }
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
            if name.is_empty() || name.starts_with('$') {
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

/// Returns true for the bytes of names: letters, digits, `_`, `$`, and all of characters beyond ASCII.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

/// Returns true if two dashes before this byte begin a comment.
fn is_comment_blank(byte: Option<&u8>) -> bool {
    byte.is_none_or(|byte| byte.is_ascii_whitespace() || byte.is_ascii_control())
}
