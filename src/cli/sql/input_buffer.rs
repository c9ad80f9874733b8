//! The lines that were typed and not run yet, and the statements and commands in them.

use crate::sql::{Dialect, FirstStatement, OpenConstruct, StatementReader, is_among};
use crate::wire_size::widen;

/// The size limit of a statement, in bytes; servers accept less.
const MAX_STATEMENT: u64 = 1 << 26;

/// The text that goes on.
#[derive(Debug)]
pub(super) struct InputBuffer {
    dialect: Dialect,
    reader: StatementReader,
    text: String,
    /// The line of the input on which the text begins, from 1.
    first_line: usize,
    /// The lines of the input so far.
    lines: usize,
    /// The state of the text, as it was last read.
    state: FirstStatement,
    unread: Unread,
}

/// The end of the text that was not read yet: a long statement is not read again for each of its lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unread {
    Nothing,
    /// No statement ends there.
    WithoutSemicolon,
    WithSemicolon,
}

/// A piece of the input that can be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// A command of the prompt, with its backslash.
    Command(String),
    Statement {
        sql: String,
        first_line: usize,
    },
}

impl InputBuffer {
    pub(super) fn new(dialect: Dialect) -> Self {
        let text = String::new();
        let state = FirstStatement::Nothing;
        let reader = StatementReader::new(dialect, SEMICOLON);
        Self { dialect, reader, text, first_line: 1, lines: 0, state, unread: Unread::Nothing }
    }

    /// Reads what follows in another dialect.
    pub(super) fn set_dialect(&mut self, dialect: Dialect) {
        if self.dialect != dialect {
            self.dialect = dialect;
            self.begin(SEMICOLON.to_owned());
        }
    }

    /// Takes a line, without its end; a command of the prompt is returned at once.
    ///
    /// # Errors
    /// A statement that is too large; it is forgotten. DELIMITER without a delimiter.
    pub(super) fn push(&mut self, line: &str) -> Result<Option<Piece>, String> {
        self.lines += 1;
        if line.trim_start().starts_with('\\') && !self.is_within_construct() {
            return Ok(Some(Piece::Command(line.trim().to_owned())));
        }
        if self.dialect == Dialect::Mysql
            && let Some(delimiter) = delimiter_of(line)
            && self.is_empty()
        {
            if delimiter.is_empty() || delimiter.contains(['\'', '"', '`', '\\']) {
                return Err("DELIMITER is followed by no delimiter".to_owned());
            }
            self.begin(delimiter.to_owned());
            return Ok(None);
        }
        if self.text.is_empty() {
            self.first_line = self.lines;
        } else {
            self.text.push('\n');
        }
        self.text.push_str(line);
        if widen(self.text.len()) > MAX_STATEMENT {
            self.clear();
            return Err("a statement is larger than 64 MiB".to_owned());
        }
        if line.contains(self.reader.delimiter()) {
            self.unread = Unread::WithSemicolon;
        } else if self.unread == Unread::Nothing {
            self.unread = Unread::WithoutSemicolon;
        }
        Ok(None)
    }

    /// Returns the next statement that is complete.
    pub(super) fn next(&mut self) -> Option<Piece> {
        if self.unread == Unread::WithSemicolon {
            self.read();
        }
        if let FirstStatement::Complete { start, end } = self.state {
            return Some(self.take(start, end, end + self.reader.delimiter().len()));
        }
        if self.unread == Unread::Nothing && self.has_no_word() {
            self.clear();
        }
        None
    }

    /// Returns the statement at the end of the input, which needs no semicolon.
    ///
    /// # Errors
    /// A construct that does not end.
    pub(super) fn finish(&mut self) -> Result<Option<Piece>, String> {
        match self.read() {
            FirstStatement::Open(None | Some(OpenConstruct::Parenthesis)) => {
                let end = self.text.len();
                let start = end - self.text.trim_start_matches(is_empty).len();
                Ok(Some(self.take(start, end, end)))
            }
            FirstStatement::Open(Some(construct)) => Err(match construct {
                OpenConstruct::Comment => "a comment does not end",
                OpenConstruct::DollarString => "a dollar-quoted string does not end",
                OpenConstruct::Name => "a quoted name does not end",
                OpenConstruct::Parenthesis | OpenConstruct::String => "a string does not end",
            }
            .to_owned()),
            FirstStatement::Nothing | FirstStatement::Complete { .. } => Ok(None),
        }
    }

    /// Forgets what was not run.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.begin(self.reader.delimiter().to_owned());
    }

    /// Reads the text from its beginning.
    fn begin(&mut self, delimiter: String) {
        self.reader = StatementReader::new(self.dialect, &delimiter);
        self.unread = Unread::WithSemicolon;
        self.read();
    }

    /// Returns true if no statement has begun.
    pub(super) fn is_empty(&mut self) -> bool {
        !matches!(self.read(), FirstStatement::Open(_))
    }

    /// The text that is not run yet.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The number of the last line.
    pub(super) fn line(&self) -> usize {
        self.lines
    }

    /// The sign of the prompt for the place that the next line continues, as psql has it.
    pub(super) fn sign(&mut self) -> char {
        match self.read() {
            FirstStatement::Nothing | FirstStatement::Complete { .. } => '=',
            FirstStatement::Open(None) => '-',
            FirstStatement::Open(Some(construct)) => match construct {
                OpenConstruct::Comment => '*',
                OpenConstruct::DollarString => '$',
                OpenConstruct::Name => '"',
                OpenConstruct::Parenthesis => '(',
                OpenConstruct::String => '\'',
            },
        }
    }

    fn read(&mut self) -> FirstStatement {
        if self.unread != Unread::Nothing {
            self.state = self.reader.read(&self.text);
            self.unread = Unread::Nothing;
        }
        self.state
    }

    fn is_within_construct(&mut self) -> bool {
        let FirstStatement::Open(Some(construct)) = self.read() else { return false };
        construct != OpenConstruct::Parenthesis
    }

    /// Returns true for a text of nothing but blanks and semicolons; a comment may belong to what follows.
    fn has_no_word(&self) -> bool {
        self.text.chars().all(is_empty)
    }

    /// Takes a statement out of the text, and everything before it.
    fn take(&mut self, start: usize, end: usize, behind: usize) -> Piece {
        let skipped = &self.text[start..end];
        let blanks = skipped.len() - skipped.trim_ascii_start().len();
        let lines_to = |offset: usize| self.text[..offset].matches('\n').count();
        let first_line = self.first_line + lines_to(start + blanks);
        let next_line = self.first_line + lines_to(behind);
        let sql = self.text[start..end].trim_ascii().to_owned();
        self.text.drain(..behind);
        self.first_line = next_line;
        self.begin(self.reader.delimiter().to_owned());
        Piece::Statement { sql, first_line }
    }
}

const SEMICOLON: &str = ";";

/// The delimiter that a line of the mysql client sets.
fn delimiter_of(line: &str) -> Option<&str> {
    let line = line.trim();
    let (word, rest) = line.split_at(line.find(char::is_whitespace).unwrap_or(line.len()));
    is_among(word, "DELIMITER").then(|| rest.split_whitespace().next().unwrap_or_default())
}

/// Returns true for a character that may stand between statements.
fn is_empty(c: char) -> bool {
    c.is_whitespace() || c == ';'
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pieces of lines, each with the sign behind it.
    fn read(lines: &[&str], dialect: Dialect) -> (Vec<Piece>, String) {
        let mut buffer = InputBuffer::new(dialect);
        let mut pieces = Vec::new();
        let mut signs = String::new();
        for line in lines {
            pieces.extend(buffer.push(line).unwrap());
            pieces.extend(std::iter::from_fn(|| buffer.next()));
            signs.push(buffer.sign());
        }
        pieces.extend(buffer.finish().unwrap());
        (pieces, signs)
    }

    fn statement(sql: &str, first_line: usize) -> Piece {
        Piece::Statement { sql: sql.to_owned(), first_line }
    }

    fn command(text: &str) -> Piece {
        Piece::Command(text.to_owned())
    }

    #[test]
    fn statements_end_with_semicolons_over_any_number_of_lines() {
        let cases: [(&[&str], Vec<Piece>, &str); 9] = [
            (&["select 1;"], vec![statement("select 1", 1)], "="),
            (&["select", "  1", ";"], vec![statement("select\n  1", 1)], "--="),
            (
                &["select 1; select 2;"],
                vec![statement("select 1", 1), statement("select 2", 1)],
                "=",
            ),
            (&["", ";", "select 1"], vec![statement("select 1", 3)], "==-"),
            (&["-- a", "select 1;"], vec![statement("-- a\nselect 1", 1)], "=="),
            (&["select 'a;", "\\q", "';"], vec![statement("select 'a;\n\\q\n'", 1)], "''="),
            (&["select (", "1);"], vec![statement("select (\n1)", 1)], "(="),
            (&["do $$", "a;", "$$", ";"], vec![statement("do $$\na;\n$$", 1)], "$$-="),
            (&["/* a", "b */ select 1;"], vec![statement("/* a\nb */ select 1", 1)], "*="),
        ];
        for (lines, pieces, signs) in cases {
            assert_eq!(read(lines, Dialect::Postgres), (pieces, signs.to_owned()), "{lines:?}");
        }
        let comment = ["/* a", "b */ select 1;"];
        let pieces = vec![statement("/* a\nb */ select 1", 1)];
        assert_eq!(read(&comment, Dialect::Sqlite), (pieces, "==".to_owned()));
    }

    #[test]
    fn commands_stand_on_lines_of_their_own() {
        let (pieces, signs) = read(&["\\d", "select", " \\r", "1;"], Dialect::Postgres);
        assert_eq!(pieces, [command("\\d"), command("\\r"), statement("select\n1", 2)]);
        assert_eq!(signs, "=--=");
    }

    #[test]
    fn what_is_not_complete_at_the_end_is_run_unless_a_construct_is_open() {
        assert_eq!(read(&["select 1"], Dialect::Postgres).0, [statement("select 1", 1)]);
        assert_eq!(read(&[" ; -- a"], Dialect::Postgres).0, []);
        let mut buffer = InputBuffer::new(Dialect::Postgres);
        buffer.push("select 'a").unwrap();
        assert_eq!(buffer.finish(), Err("a string does not end".to_owned()));
        buffer.clear();
        assert_eq!((buffer.is_empty(), buffer.sign(), buffer.finish()), (true, '=', Ok(None)));
    }

    #[test]
    fn a_delimiter_of_mysql_holds_until_the_next_one() {
        let lines = [
            "delimiter // -- of the body",
            "create procedure p() begin",
            "select 1; end //",
            "DELIMITER ;",
            "call p();",
        ];
        let body = "create procedure p() begin\nselect 1; end";
        let (pieces, signs) = read(&lines, Dialect::Mysql);
        assert_eq!(pieces, [statement(body, 2), statement("call p()", 5)]);
        assert_eq!(signs, "=-===");
        // It is a word like others elsewhere.
        assert_eq!(read(&lines[..1], Dialect::Postgres).0, [statement(lines[0], 1)]);
        let mut buffer = InputBuffer::new(Dialect::Mysql);
        assert!(buffer.push("delimiter").is_err());
    }

    #[test]
    fn lines_are_those_of_the_input() {
        let lines = ["select 1; select", "2;", "", "-- a", "select 3;"];
        let (pieces, _) = read(&lines, Dialect::Postgres);
        let expected =
            [statement("select 1", 1), statement("select\n2", 1), statement("-- a\nselect 3", 4)];
        assert_eq!(pieces, expected);
    }
}
