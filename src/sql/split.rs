//! The boundaries of the statements in a text, as `psql` and SQLite's own shell find them.
//!
//! A semicolon ends a statement unless it stands in a string, a name, a comment, or a body: between
//! parentheses (CREATE RULE) and in `BEGIN ATOMIC … END` for PostgreSQL, in CREATE TRIGGER for SQLite. An executable comment
//! of MySQL is code of the statement that it stands in, and holds no end of one.
//! Nothing else is understood: text that is no SQL is still split, and the database reports the error.

use super::scanner::{COMMENT, Dialect, Scanner, SqlToken, TokenKind, is_among};

/// A statement in a text of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SplitStatement<'a> {
    /// Its text, with the comments before it and without the semicolon.
    pub sql: &'a str,
    /// The line on which the text starts, from 1.
    pub first_line: usize,
    /// The line of its first word, from 1.
    pub line: usize,
}

/// The reason why a text cannot be split into statements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SplitError {
    /// The line of its cause, from 1.
    pub line: usize,
    /// The finding: `a string does not end`.
    pub why: String,
}

/// Splits a text into its statements; those that are empty are left out, and so are the commands `\restrict` and
/// `\unrestrict`, which restrict `psql` alone.
///
/// # Errors
/// After an unterminated string, name or comment, and before the rows of a COPY, the statements have no certain end;
/// any other command of a shell is not SQL.
pub(crate) fn split_statements(
    text: &str,
    dialect: Dialect,
) -> Result<Vec<SplitStatement<'_>>, SplitError> {
    let mut statements = Vec::new();
    let mut lines = Lines { text, at: 0, line: 1 };
    let mut scanner = Scanner::new(text, dialect);
    scanner.skip_chars(|c| c == '\u{feff}');
    let mut start = text.len() - scanner.rest().len();
    loop {
        let mut body = Body::default();
        let mut first_word = None;
        let end = loop {
            let Some(token) = scanner.next() else { break text.len() };
            let is_outside = !token.is_optional;
            if let TokenKind::Unterminated(what) = token.kind {
                let why = format!("{what} does not end");
                return Err(SplitError { line: lines.line_of(token.start), why });
            }
            let is_first = first_word.is_none();
            if is_outside
                && let Some(command) = shell_command(&text[token.start..], is_first, dialect)
            {
                if !is_first || !matches!(command, r"\restrict" | r"\unrestrict") {
                    let why = format!("{command} is a command of {}, not SQL", shell(dialect));
                    return Err(SplitError { line: lines.line_of(token.start), why });
                }
                scanner.skip_chars(|c| c != '\n');
                start = text.len() - scanner.rest().len();
                continue;
            }
            if token.text == ";" && is_outside && body.ends_at_semicolon(dialect) {
                break token.start;
            }
            first_word.get_or_insert(token.start);
            body.see(&token);
        };
        if scanner.is_in_code_comment() {
            let why = format!("{COMMENT} does not end");
            return Err(SplitError { line: lines.line_of(end), why });
        }
        let statement = &text[start..end];
        if let Some(first_word) = first_word {
            if body.copies_stdin {
                return Err(SplitError { line: lines.line_of(first_word), why: COPY.to_owned() });
            }
            let blanks = statement.len() - statement.trim_ascii_start().len();
            statements.push(SplitStatement {
                sql: statement.trim_ascii(),
                first_line: lines.line_of(start + blanks),
                line: lines.line_of(first_word),
            });
        }
        if end == text.len() {
            return Ok(statements);
        }
        start = end + 1;
    }
}

/// The finding about a COPY whose rows follow it.
const COPY: &str = "COPY … FROM stdin is not supported: its rows are no statements; make the dump with \
    `pg_dump --inserts`";

/// Returns the command of a shell with which a token starts: `psql` takes one anywhere, SQLite's between statements.
fn shell_command(text: &str, is_first: bool, dialect: Dialect) -> Option<&str> {
    let is_command = match dialect {
        Dialect::Postgres => text.starts_with('\\'),
        Dialect::Sqlite => is_first && text.starts_with('.'),
        Dialect::Mysql => is_first && (text.starts_with('\\') || is_delimiter(text)),
    };
    text.split_ascii_whitespace().next().filter(|_command| is_command)
}

/// Returns true for the command DELIMITER of the mysql client.
fn is_delimiter(text: &str) -> bool {
    text.get(..10).is_some_and(|word| word.eq_ignore_ascii_case("delimiter "))
}

fn shell(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres => "psql",
        Dialect::Sqlite => "SQLite's shell",
        Dialect::Mysql => "the mysql client",
    }
}

/// Counts lines up to places, each not before the last one.
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

/// The state within bodies that hold semicolons of their own.
#[derive(Debug, Default)]
pub(super) struct Body {
    /// The first words of the statement in upper case, a space behind each.
    head: String,
    /// The number of these words.
    words: usize,
    parentheses: usize,
    /// `BEGIN ATOMIC` and CASE without their END, in a function.
    blocks: usize,
    /// The last tokens of a trigger.
    tail: Tail,
    before: TokenBefore,
    /// It is a COPY whose rows follow it.
    copies_stdin: bool,
}

/// The token before, as far as it changes the meaning of the next one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum TokenBefore {
    #[default]
    Other,
    Begin,
    From,
    /// AS or a point, behind which any word is a name.
    OfName,
}

impl TokenBefore {
    fn of(token: &SqlToken<'_>) -> Self {
        let is = |word: &str| token.kind == TokenKind::Word && is_among(token.text, word);
        if token.text == "." || is("AS") {
            Self::OfName
        } else if is("BEGIN") {
            Self::Begin
        } else if is("FROM") {
            Self::From
        } else {
            Self::Other
        }
    }
}

/// A trigger ends with a semicolon, END, and a semicolon.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Tail {
    #[default]
    Inside,
    Semicolon,
    End,
}

/// The number of words that determine what a statement creates.
const HEAD: usize = 6;

impl Body {
    pub(super) fn see(&mut self, token: &SqlToken<'_>) {
        let text = token.text;
        self.tail = match self.tail {
            _ if text == ";" => Tail::Semicolon,
            Tail::Semicolon if is_among(text, "END") => Tail::End,
            Tail::Inside | Tail::Semicolon | Tail::End => Tail::Inside,
        };
        match text {
            "(" => self.parentheses += 1,
            ")" => self.parentheses = self.parentheses.saturating_sub(1),
            _ if token.kind == TokenKind::Word => self.see_word(text),
            _ => {}
        }
        self.before = TokenBefore::of(token);
    }

    fn see_word(&mut self, word: &str) {
        if self.words < HEAD {
            self.words += 1;
            self.head.push_str(&word.to_ascii_uppercase());
            self.head.push(' ');
        }
        let is_after_from = self.before == TokenBefore::From && self.parentheses == 0;
        let is_source = is_after_from && is_among(word, "STDIN");
        self.copies_stdin |= is_source && self.head.starts_with("COPY ");
        if self.parentheses > 0 || !creates_routine(&self.head) {
            return;
        }
        // BEGIN alone is a name like any other, also of the function.
        let is_after_begin = self.before == TokenBefore::Begin;
        let opens_body = self.blocks == 0 && is_after_begin && is_among(word, "ATOMIC");
        let is_keyword = self.blocks > 0 && self.before != TokenBefore::OfName;
        if opens_body || is_keyword && is_among(word, "CASE") {
            self.blocks += 1;
        } else if is_keyword && is_among(word, "END") {
            self.blocks -= 1;
        }
    }

    pub(super) fn is_in_parentheses(&self) -> bool {
        self.parentheses > 0
    }

    pub(super) fn ends_at_semicolon(&self, dialect: Dialect) -> bool {
        match dialect {
            Dialect::Postgres => self.parentheses == 0 && self.blocks == 0,
            Dialect::Sqlite => !creates_trigger(&self.head) || self.tail == Tail::End,
            // As its own client without DELIMITER.
            Dialect::Mysql => true,
        }
    }
}

/// `CREATE [OR REPLACE] FUNCTION | PROCEDURE`
fn creates_routine(head: &str) -> bool {
    let object = head.strip_prefix("CREATE ").unwrap_or("");
    let object = object.strip_prefix("OR REPLACE ").unwrap_or(object);
    object.starts_with("FUNCTION ") || object.starts_with("PROCEDURE ")
}

/// `[EXPLAIN [QUERY PLAN]] CREATE [TEMP | TEMPORARY] TRIGGER`
fn creates_trigger(head: &str) -> bool {
    let plain = head
        .strip_prefix("EXPLAIN ")
        .map_or(head, |head| head.strip_prefix("QUERY PLAN ").unwrap_or(head));
    let object = plain.strip_prefix("CREATE ").unwrap_or("");
    ["TRIGGER ", "TEMP TRIGGER ", "TEMPORARY TRIGGER "].iter().any(|is| object.starts_with(is))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(text: &str, dialect: Dialect) -> Vec<&str> {
        let statements = split_statements(text, dialect).unwrap();
        statements.into_iter().map(|statement| statement.sql).collect()
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
    fn names_open_no_body_and_executable_comments_hold_no_end() {
        use Dialect::{Mysql, Postgres, Sqlite};
        let named = "create function f() returns int begin atomic select 1 as end, t.case, \
                     case when true then 2 end as begin from t; end";
        let cases: &[(&str, Dialect, &[&str])] = &[
            (
                "create function s.begin() returns int language sql as 'a'; b; end; c",
                Postgres,
                &["create function s.begin() returns int language sql as 'a'", "b", "end", "c"],
            ),
            (
                "create procedure begin (begin atomic) as 'a'; b",
                Postgres,
                &["create procedure begin (begin atomic) as 'a'", "b"],
            ),
            (named, Postgres, &[named]),
            ("/*!50003 a */; /* b; */ c", Mysql, &["/*!50003 a */", "/* b; */ c"]),
            ("/*M! a */;/*!99999 ';*/' */; b", Mysql, &["/*M! a */", "/*!99999 ';*/' */", "b"]),
            ("a /*! b; c */; /*!*/; d", Mysql, &["a /*! b; c */", "d"]),
            ("/*!999999\\- x */\n/*! a */; b", Mysql, &["/*!999999\\- x */\n/*! a */", "b"]),
            ("/*! /* ; */ a /*! ; */ */; b", Mysql, &["/*! /* ; */ a /*! ; */ */", "b"]),
            ("/*! a */; b", Sqlite, &["b"]),
        ];
        for (text, dialect, expected) in cases {
            assert_eq!(&split(text, *dialect), expected, "{dialect:?}: {text:?}");
        }
    }

    #[test]
    fn lines_are_those_of_the_text() {
        let text = "-- a file\n\nselect 1; select\n2;\n\n  /* x\n */ b\n;;\nc";
        let pieces = split_statements(text, Dialect::Postgres).unwrap();
        let lines: Vec<_> = pieces.iter().map(|piece| (piece.first_line, piece.line)).collect();
        assert_eq!(lines, [(1, 3), (3, 3), (6, 7), (9, 9)]);
    }

    #[test]
    fn an_unterminated_construct_is_named_with_its_line() {
        for (text, what, line) in [
            ("a;\n'b", "a string", 2),
            ("a;\n e'b\\'", "a string", 2),
            ("a; \"b;\n", "a quoted name", 1),
            ("\n\n$a$ ; $b$", "a dollar-quoted string", 3),
            ("a;\nb -- x\n /* /* */", "a comment", 3),
        ] {
            let error = split_statements(text, Dialect::Postgres).unwrap_err();
            assert_eq!((error.why, error.line), (format!("{what} does not end"), line), "{text:?}");
        }
        for text in ["a; /*! b; c", "/*! b '*/'; c", "/*!50003 b -- */; c"] {
            let error = split_statements(text, Dialect::Mysql).unwrap_err();
            assert_eq!(error.why, "a comment does not end", "{text}");
        }
        let why = split_statements("[a", Dialect::Sqlite).unwrap_err().why;
        assert_eq!(why, "a name in brackets does not end");
    }

    #[test]
    fn a_dump_is_split_without_the_commands_that_restrict_psql() {
        let text = "--\n-- a dump\n--\n\n\\restrict aB3\n\n-- of 15\nset a = 0;\n\
                    insert into t values ('\\connect');\n\n\\unrestrict aB3\n\n";
        let statements = ["-- of 15\nset a = 0", "insert into t values ('\\connect')"];
        assert_eq!(split(text, Dialect::Postgres), statements);
        let lines = split_statements(text, Dialect::Postgres).unwrap();
        assert_eq!((lines[0].first_line, lines[0].line, lines[1].line), (7, 8, 9));
        assert_eq!(split("\\restrict a", Dialect::Postgres), [""; 0]);
    }

    #[test]
    fn what_only_a_shell_understands_is_named_with_its_line() {
        use Dialect::{Postgres, Sqlite};
        let copy = "pg_dump --inserts";
        for (text, dialect, why, line) in [
            ("a;\n\\connect shop\nb", Postgres, "\\connect is a command of psql, not SQL", 2),
            ("select 1 \\gset\n", Postgres, "\\gset is a command of psql, not SQL", 1),
            ("select 1\n\\restrict a\n+ 1", Postgres, "\\restrict is a command of psql", 2),
            ("\\Restrict a", Postgres, "\\Restrict is a command of psql", 1),
            ("a;\n.tables\n", Sqlite, ".tables is a command of SQLite's shell, not SQL", 2),
            ("a;\ncopy public.t (a, \"from\") from stdin;\n1\t'\n\\.\n", Postgres, copy, 2),
            ("COPY t\n FROM /* x */ STDIN WITH (FORMAT csv)", Postgres, copy, 1),
        ] {
            let error = split_statements(text, dialect).unwrap_err();
            assert!(error.why.contains(why) && error.line == line, "{text:?}: {error:?}");
        }
        for text in [
            "copy t to stdout",
            "copy t from '/x'",
            "select a from stdin",
            "copy (select 1 from stdin) to '/x'",
        ] {
            assert_eq!(split(text, Postgres), [text]);
        }
        assert_eq!(split("select t\n.a", Sqlite), ["select t\n.a"]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_but_semicolons(text in "[a-e1$'\"\\\\;(){}\\[\\]`/*!+é \n-]{0,40}") {
            for dialect in [Dialect::Postgres, Dialect::Sqlite, Dialect::Mysql] {
                let Ok(pieces) = split_statements(&text, dialect) else { continue };
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
