//! Where the statements of a text end, as `psql` and SQLite's own shell find it.
//!
//! A semicolon ends a statement unless it stands in a string, a name, a comment, or a body: between
//! parentheses (CREATE RULE) and in `BEGIN ATOMIC … END` for PostgreSQL, in CREATE TRIGGER for SQLite.
//! Nothing else is understood: what is no SQL at all is still split, and the database says what is wrong.

use super::analysis::Dialect;
use super::transaction_control::{
    dollar_delimiter, is_word_part, quoted_length, skip_blanks, skip_closed_blanks,
};

/// A statement in a text of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Its text, with the comments before it and without the semicolon.
    pub sql: &'a str,
    /// The line on which the text starts, from 1.
    pub first_line: usize,
    /// The line of its first word, from 1.
    pub line: usize,
}

/// Something that is opened and not closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unclosed {
    /// What: `a string`.
    pub what: &'static str,
    /// The line on which it is opened, from 1.
    pub line: usize,
}

/// Splits a text into its statements; those that are empty are left out.
///
/// # Errors
/// When a string, a name or a comment does not end: then nobody knows where the statements end.
pub fn statements(text: &str, dialect: Dialect) -> Result<Vec<Piece<'_>>, Unclosed> {
    let mut pieces = Vec::new();
    let mut lines = Lines { text, at: 0, line: 1 };
    let mut rest = text.trim_start_matches('\u{feff}');
    while !rest.is_empty() {
        let start = text.len() - rest.len();
        let mut scan = Scan { rest, dialect, body: Body::default() };
        let length = scan.statement().map_err(|Open { what, rest }| Unclosed {
            what,
            line: lines.line_of(text.len() - rest.len()),
        })?;
        let (whole, after) = rest.split_at(length);
        rest = after.strip_prefix(';').unwrap_or(after);
        let blank = whole.len() - whole.trim_ascii_start().len();
        let word = whole.len() - skip_blanks(whole, dialect).len();
        if word < whole.len() {
            pieces.push(Piece {
                sql: whole.trim_ascii(),
                first_line: lines.line_of(start + blank),
                line: lines.line_of(start + word),
            });
        }
    }
    Ok(pieces)
}

/// Counts lines as far as it is asked; never asked for an earlier place than before.
struct Lines<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl Lines<'_> {
    fn line_of(&mut self, offset: usize) -> usize {
        let passed = self.text.get(self.at..offset).unwrap_or_default();
        self.line += passed.matches('\n').count();
        self.at = self.at.max(offset);
        self.line
    }
}

/// What is opened and not closed, and the text from there.
struct Open<'a> {
    what: &'static str,
    rest: &'a str,
}

/// Reads one statement.
struct Scan<'a> {
    rest: &'a str,
    dialect: Dialect,
    body: Body<'a>,
}

impl<'a> Scan<'a> {
    /// The length of the statement up to its semicolon, or to the end of the text.
    fn statement(&mut self) -> Result<usize, Open<'a>> {
        let whole = self.rest.len();
        loop {
            self.blanks()?;
            let Some(first) = self.rest.chars().next() else { return Ok(whole) };
            if first == ';' && self.body.ends_at_semicolon(self.dialect) {
                return Ok(whole - self.rest.len());
            }
            let length = self.token(first)?;
            self.rest = &self.rest[length..];
        }
    }

    fn blanks(&mut self) -> Result<(), Open<'a>> {
        match skip_closed_blanks(self.rest, self.dialect) {
            Ok(rest) => self.rest = rest,
            // SQLite lets the end of the text end a comment, too.
            Err(_open) if self.dialect == Dialect::Sqlite => self.rest = "",
            Err(rest) => return Err(Open { what: "a comment", rest }),
        }
        Ok(())
    }

    /// The length of the next token, which a body may hang on.
    fn token(&mut self, first: char) -> Result<usize, Open<'a>> {
        let text = self.rest;
        let quoted = |what, length: Option<usize>| length.ok_or(Open { what, rest: text });
        let postgres = self.dialect == Dialect::Postgres;
        let length = match first {
            '\'' => quoted("a string", quoted_length(text, '\'', false))?,
            '"' => quoted("a quoted name", quoted_length(text, '"', false))?,
            '`' if !postgres => quoted("a quoted name", quoted_length(text, '`', false))?,
            '[' if !postgres => quoted("a name in brackets", text.find(']').map(|end| end + 1))?,
            '$' if postgres => match dollar_delimiter(text) {
                Some(delimiter) => {
                    quoted("a dollar-quoted string", dollar_length(text, delimiter))?
                }
                None => 1,
            },
            // PostgreSQL lets no word start with a digit: what follows the digits is not of theirs.
            _ if is_word_part(first) && !(postgres && first.is_ascii_digit()) => {
                return self.word();
            }
            _ => first.len_utf8(),
        };
        self.body.see_other(first);
        Ok(length)
    }

    fn word(&mut self) -> Result<usize, Open<'a>> {
        let text = self.rest;
        let length = text.find(|c| !is_word_part(c)).unwrap_or(text.len());
        let (word, after) = text.split_at(length);
        let escapes = self.dialect == Dialect::Postgres && word.eq_ignore_ascii_case("e");
        self.body.see_word(word);
        if escapes && after.starts_with('\'') {
            let string = escape_string(after).ok_or(Open { what: "a string", rest: text })?;
            return Ok(length + string);
        }
        Ok(length)
    }
}

/// The length of a string with backslashes, and of the strings on further lines that continue it: in them,
/// too, a backslash escapes.
fn escape_string(text: &str) -> Option<usize> {
    let mut end = quoted_length(text, '\'', true)?;
    loop {
        let rest = &text[end..];
        let next = skip_lines(rest);
        let gap = rest.len() - next.len();
        if !next.starts_with('\'') || !rest[..gap].contains(['\n', '\r']) {
            return Some(end);
        }
        end += gap + quoted_length(next, '\'', true)?;
    }
}

/// `text` without blanks and line comments at its start; a block comment ends a string for good.
fn skip_lines(text: &str) -> &str {
    let mut rest = text;
    loop {
        let trimmed = rest.trim_start_matches([' ', '\t', '\n', '\r', '\x0c']);
        let Some(comment) = trimmed.strip_prefix("--") else { return trimmed };
        rest = comment.trim_start_matches(|c| c != '\n' && c != '\r');
    }
}

/// The length of a dollar-quoted string.
fn dollar_length(text: &str, delimiter: &str) -> Option<usize> {
    let body = text.get(delimiter.len()..)?;
    body.find(delimiter).map(|end| end + 2 * delimiter.len())
}

/// How deep a place is in bodies that hold semicolons of their own.
#[derive(Debug, Default)]
struct Body<'a> {
    /// The first words of the statement.
    head: Vec<&'a str>,
    parentheses: usize,
    /// BEGIN and CASE without their END, in a function.
    blocks: usize,
    /// The end of what was read of a trigger.
    tail: Tail,
}

/// A trigger ends with a semicolon, END, and a semicolon.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Tail {
    #[default]
    Inside,
    Semicolon,
    End,
}

/// As many words as tell what a statement creates.
const HEAD: usize = 6;

impl<'a> Body<'a> {
    fn see_word(&mut self, word: &'a str) {
        if self.head.len() < HEAD {
            self.head.push(word);
        }
        let is = |keyword: &str| word.eq_ignore_ascii_case(keyword);
        self.tail = match self.tail {
            Tail::Semicolon if is("END") => Tail::End,
            Tail::Inside | Tail::Semicolon | Tail::End => Tail::Inside,
        };
        if self.parentheses > 0 || !creates_routine(&self.head) {
            return;
        }
        if is("BEGIN") || self.blocks > 0 && is("CASE") {
            self.blocks += 1;
        } else if is("END") {
            self.blocks = self.blocks.saturating_sub(1);
        }
    }

    fn see_other(&mut self, first: char) {
        self.tail = if first == ';' { Tail::Semicolon } else { Tail::Inside };
        match first {
            '(' => self.parentheses += 1,
            ')' => self.parentheses = self.parentheses.saturating_sub(1),
            _ => {}
        }
    }

    fn ends_at_semicolon(&self, dialect: Dialect) -> bool {
        match dialect {
            Dialect::Postgres => self.parentheses == 0 && self.blocks == 0,
            Dialect::Sqlite => !creates_trigger(&self.head) || self.tail == Tail::End,
        }
    }
}

/// `CREATE [OR REPLACE] FUNCTION | PROCEDURE`
fn creates_routine(head: &[&str]) -> bool {
    let kind = match head {
        [create, or, replace, kind, ..] if are(&[create, or, replace], "CREATE OR REPLACE") => kind,
        [create, kind, ..] if are(&[create], "CREATE") => kind,
        _ => return false,
    };
    are(&[kind], "FUNCTION") || are(&[kind], "PROCEDURE")
}

/// `[EXPLAIN [QUERY PLAN]] CREATE [TEMP | TEMPORARY] TRIGGER`
fn creates_trigger(head: &[&str]) -> bool {
    let head = match head {
        [explain, query, plan, rest @ ..] if are(&[explain, query, plan], "EXPLAIN QUERY PLAN") => {
            rest
        }
        [explain, rest @ ..] if are(&[explain], "EXPLAIN") => rest,
        _ => head,
    };
    match head {
        [create, temp, trigger, ..] if are(&[temp], "TEMP") || are(&[temp], "TEMPORARY") => {
            are(&[create, trigger], "CREATE TRIGGER")
        }
        [create, trigger, ..] => are(&[create, trigger], "CREATE TRIGGER"),
        _ => false,
    }
}

fn are(words: &[&str], keywords: &str) -> bool {
    let mut keywords = keywords.split(' ');
    words.iter().all(|word| keywords.next().is_some_and(|is| word.eq_ignore_ascii_case(is)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(text: &str, dialect: Dialect) -> Vec<&str> {
        statements(text, dialect).unwrap().into_iter().map(|piece| piece.sql).collect()
    }

    #[test]
    fn statements_end_at_semicolons_that_end_them() {
        use Dialect::{Postgres, Sqlite};
        let trigger = "create trigger t after insert on a begin insert into b values (1); \
                       select case when 1 then 2 end; end";
        let atomic = "create or replace function f() returns int begin atomic select 1; \
                      select case when true then 2 end; end";
        let cases: &[(&str, Dialect, &[&str])] = &[
            ("", Postgres, &[]),
            (" ;; -- nothing\n ; /* ; */ ", Postgres, &[]),
            ("\u{feff}select 1", Postgres, &["select 1"]),
            ("select 1; select 2", Postgres, &["select 1", "select 2"]),
            ("select 1;select 2;", Sqlite, &["select 1", "select 2"]),
            ("select ';'; b", Postgres, &["select ';'", "b"]),
            ("select 'it''s;'; b", Postgres, &["select 'it''s;'", "b"]),
            ("select 'a\\'; b", Postgres, &["select 'a\\'", "b"]),
            ("select e'a\\';'; b", Postgres, &["select e'a\\';'", "b"]),
            ("select E'a' -- ;'\n 'b\\';'; c", Postgres, &["select E'a' -- ;'\n 'b\\';'", "c"]),
            ("select E'a' 'b\\'; c", Postgres, &["select E'a' 'b\\'", "c"]),
            ("select n'a\\'; b", Postgres, &["select n'a\\'", "b"]),
            ("select e'a\\'; b", Sqlite, &["select e'a\\'", "b"]),
            ("select \";\"\";\"; b", Postgres, &["select \";\"\";\"", "b"]),
            ("select [;]; b", Sqlite, &["select [;]", "b"]),
            ("select a[1]; b", Postgres, &["select a[1]", "b"]),
            ("select `;`; b", Sqlite, &["select `;`", "b"]),
            ("do $$ a; $b$ $$; b", Postgres, &["do $$ a; $b$ $$", "b"]),
            ("do $b$ $$; $b$; b", Postgres, &["do $b$ $$; $b$", "b"]),
            ("select $1; $2", Postgres, &["select $1", "$2"]),
            ("select a$$; b$$", Postgres, &["select a$$", "b$$"]),
            ("select $$; $$", Sqlite, &["select $$", "$$"]),
            ("a /* ; /* ; */ ; */ b; c", Postgres, &["a /* ; /* ; */ ; */ b", "c"]),
            ("a /* ; /* */ ; b /* ;", Sqlite, &["a /* ; /* */", "b /* ;"]),
            ("a -- ;\n; b", Postgres, &["a -- ;", "b"]),
            ("a -- ;\r; b", Postgres, &["a -- ;", "b"]),
            ("a*-- ;\n1; b", Postgres, &["a*-- ;\n1", "b"]),
            (
                "create rule r as on insert to t do (a; b); c",
                Postgres,
                &["create rule r as on insert to t do (a; b)", "c"],
            ),
            ("/*+ hint */ a; -- of b\nb", Postgres, &["/*+ hint */ a", "-- of b\nb"]),
            (trigger, Sqlite, &[trigger]),
            ("begin; end; b", Sqlite, &["begin", "end", "b"]),
            (
                "begin; select case 1 when 1 then 2 end; end",
                Postgres,
                &["begin", "select case 1 when 1 then 2 end", "end"],
            ),
            (atomic, Postgres, &[atomic]),
        ];
        for (text, dialect, expected) in cases {
            assert_eq!(&split(text, *dialect), expected, "{dialect:?}: {text:?}");
        }
        for (text, body, dialect) in [
            (format!("{trigger}; b; c"), trigger, Sqlite),
            (format!("explain query plan\n{trigger} ; b; c"), "", Sqlite),
            (format!("{atomic}; b; c"), atomic, Postgres),
        ] {
            let pieces = split(&text, dialect);
            assert!(pieces.len() == 3 && pieces[0].ends_with(body), "{pieces:?}");
        }
        for kind in ["temp ", "TEMPORARY "] {
            let text = format!("CREATE {kind}TRIGGER t begin a; end ; b");
            assert_eq!(split(&text, Sqlite).len(), 2, "{text}");
        }
    }

    #[test]
    fn lines_are_those_of_the_text() {
        let text = "-- a file\n\nselect 1; select\n2;\n\n  /* x\n */ b\n;;\nc";
        let pieces = statements(text, Dialect::Postgres).unwrap();
        let lines: Vec<_> = pieces.iter().map(|piece| (piece.first_line, piece.line)).collect();
        assert_eq!(lines, [(1, 3), (3, 3), (6, 7), (9, 9)]);
    }

    #[test]
    fn what_does_not_end_is_named_with_its_line() {
        for (text, what, line) in [
            ("a;\n'b", "a string", 2),
            ("a;\n e'b\\'", "a string", 2),
            ("a; \"b;\n", "a quoted name", 1),
            ("\n\n$a$ ; $b$", "a dollar-quoted string", 3),
            ("a;\nb -- x\n /* /* */", "a comment", 3),
        ] {
            let unclosed = statements(text, Dialect::Postgres).unwrap_err();
            assert_eq!((unclosed.what, unclosed.line), (what, line), "{text:?}");
        }
        assert_eq!(statements("[a", Dialect::Sqlite).unwrap_err().what, "a name in brackets");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_but_semicolons(text in "[a-e1$'\"\\\\;(){}\\[\\]`/*+é \n-]{0,40}") {
            for dialect in [Dialect::Postgres, Dialect::Sqlite] {
                let Ok(pieces) = statements(&text, dialect) else { continue };
                let mut rest = text.as_str();
                for piece in pieces {
                    let at = rest.find(piece.sql);
                    prop_assert!(at.is_some(), "{:?} of {:?}", piece, text);
                    rest = &rest[at.unwrap_or(0) + piece.sql.len()..];
                    // What is one statement is not split again.
                    prop_assert_eq!(split(piece.sql, dialect), [piece.sql]);
                }
            }
        }
    }
}
