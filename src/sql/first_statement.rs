//! The first statement of a text that is still being typed.

use super::scanner::{Dialect, LastToken, Scanner, SqlToken, TokenKind};
use super::split::Body;

/// The first statement of a text, as far as it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FirstStatement {
    /// There are only blanks, comments and semicolons.
    Nothing,
    /// A statement, by its bytes: from the comments before it to its semicolon.
    Complete { start: usize, end: usize },
    /// A statement goes on where the text ends, perhaps within a construct.
    Open(Option<OpenConstruct>),
}

/// A construct that does not end in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpenConstruct {
    Comment,
    DollarString,
    Name,
    Parenthesis,
    String,
}

/// Reads a text that grows at its end by whole lines, up to its first statement. What was read is not read again, but for a
/// construct that has not ended.
#[derive(Debug)]
pub(crate) struct StatementReader {
    dialect: Dialect,
    /// The end of a statement: a semicolon, or what the mysql client's DELIMITER sets.
    delimiter: String,
    body: Body,
    /// The byte behind the empty statements before.
    start: usize,
    is_empty: bool,
    /// The bytes whose tokens were read.
    read: usize,
    last: Option<LastToken>,
}

impl StatementReader {
    pub(crate) fn new(dialect: Dialect, delimiter: &str) -> Self {
        Self {
            dialect,
            delimiter: delimiter.to_owned(),
            body: Body::default(),
            start: 0,
            is_empty: true,
            read: 0,
            last: None,
        }
    }

    pub(crate) fn delimiter(&self) -> &str {
        &self.delimiter
    }

    /// Finds the first statement that is not empty in the text, whose beginning was read before.
    pub(crate) fn read(&mut self, text: &str) -> FirstStatement {
        let base = self.read;
        let mut scanner = Scanner::behind(&text[base..], self.dialect, self.last);
        for token in scanner.by_ref() {
            let token = SqlToken { start: base + token.start, ..token };
            if let TokenKind::Unterminated(_) = token.kind {
                return FirstStatement::Open(Some(OpenConstruct::of(token.text)));
            }
            if let Some(end) = self.end_at(&token, text) {
                return FirstStatement::Complete { start: self.start, end };
            }
            self.read = token.start + token.text.len();
            self.last = Some(LastToken::from(&token));
        }
        if scanner.is_in_code_comment() {
            return FirstStatement::Open(Some(OpenConstruct::Comment));
        }
        if self.is_empty {
            return FirstStatement::Nothing;
        }
        let is_inside = self.body.is_in_parentheses();
        FirstStatement::Open(is_inside.then_some(OpenConstruct::Parenthesis))
    }

    /// Returns the end of the statement if the token is it; takes the token into account otherwise.
    fn end_at(&mut self, token: &SqlToken<'_>, text: &str) -> Option<usize> {
        if token.start < self.start {
            return None;
        }
        if !token.is_optional
            && let Some(within) = delimiter_in(token, text, &self.delimiter)
        {
            let end = token.start + within;
            if self.is_empty && within == 0 {
                self.start = end + self.delimiter.len();
                return None;
            }
            if self.delimiter != ";" || self.body.ends_at_semicolon(self.dialect) {
                return Some(end);
            }
        }
        self.is_empty = false;
        self.body.see(token);
        None
    }
}

/// The place of the delimiter that a token holds or begins; the mysql client finds it within a word, as in `END$$`.
fn delimiter_in(token: &SqlToken<'_>, text: &str, delimiter: &str) -> Option<usize> {
    match token.kind {
        TokenKind::Word | TokenKind::Number | TokenKind::Parameter => token.text.find(delimiter),
        TokenKind::Symbol => text[token.start..].starts_with(delimiter).then_some(0),
        TokenKind::QuotedName
        | TokenKind::String
        | TokenKind::EscapeString
        | TokenKind::DollarString
        | TokenKind::Unterminated(_) => None,
    }
}

impl OpenConstruct {
    /// The construct that a text begins with.
    fn of(text: &str) -> Self {
        match text.as_bytes().first() {
            Some(b'/') => Self::Comment,
            Some(b'$') => Self::DollarString,
            Some(b'"' | b'`' | b'[') => Self::Name,
            Some(_) | None => Self::String,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::split::split_statements;
    use super::*;

    fn first_delimited(text: &str, dialect: Dialect, delimiter: &str) -> FirstStatement {
        StatementReader::new(dialect, delimiter).read(text)
    }

    fn first_statement(text: &str, dialect: Dialect) -> FirstStatement {
        first_delimited(text, dialect, ";")
    }

    const ALL: [Dialect; 3] = [Dialect::Postgres, Dialect::Sqlite, Dialect::Mysql];

    #[test]
    fn a_statement_is_complete_with_its_semicolon() {
        let complete = |start, end| FirstStatement::Complete { start, end };
        for (text, expected) in [
            ("", FirstStatement::Nothing),
            (" ;; -- a\n/* ; */", FirstStatement::Nothing),
            ("select 1", FirstStatement::Open(None)),
            ("select 1;", complete(0, 8)),
            (" -- a;\n;select 1 ; select 2", complete(8, 17)),
            ("; -- a\nselect 1;", complete(1, 15)),
            ("select (1", FirstStatement::Open(Some(OpenConstruct::Parenthesis))),
            ("select (1)", FirstStatement::Open(None)),
            ("select '1;", FirstStatement::Open(Some(OpenConstruct::String))),
            ("select e'1\\';", FirstStatement::Open(Some(OpenConstruct::String))),
            ("select \"1;", FirstStatement::Open(Some(OpenConstruct::Name))),
            ("select $a$ ; $$ ;", FirstStatement::Open(Some(OpenConstruct::DollarString))),
            ("select /* /* */ ;", FirstStatement::Open(Some(OpenConstruct::Comment))),
            ("/* a", FirstStatement::Open(Some(OpenConstruct::Comment))),
        ] {
            assert_eq!(first_statement(text, Dialect::Postgres), expected, "{text:?}");
        }
        let trigger = "create trigger t after insert on a begin select 1; end";
        assert_eq!(first_statement(trigger, Dialect::Sqlite), FirstStatement::Open(None));
        let ended = format!("{trigger}; select 2;");
        assert_eq!(first_statement(&ended, Dialect::Sqlite), complete(0, trigger.len()));
    }

    #[test]
    fn another_delimiter_leaves_semicolons_alone() {
        let complete = |start, end| FirstStatement::Complete { start, end };
        for (text, delimiter, expected) in [
            ("select 1;", "//", FirstStatement::Open(None)),
            ("begin a; end//", "//", complete(0, 12)),
            ("// //\na ';//'//", "//", complete(5, 13)),
            ("begin a; end$$", "$$", complete(0, 12)),
            ("a;;", ";;", complete(0, 1)),
            ("/*!50003 a; b */;", ";", complete(0, 16)),
            ("/*!50003 a */ /*!50003 b; end */;;", ";;", complete(0, 32)),
            ("/* ; */ /*M! a; */", ";", FirstStatement::Open(None)),
            ("/*! a; ", ";", FirstStatement::Open(Some(OpenConstruct::Comment))),
        ] {
            assert_eq!(first_delimited(text, Dialect::Mysql, delimiter), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn reading_line_by_line_finds_the_same(text in "[a-e1$'\"\\\\;()`/*!é\n-]{0,60}") {
            for dialect in ALL {
                let mut reader = StatementReader::new(dialect, ";");
                let ends = text.match_indices('\n').map(|(at, _)| at).chain([text.len()]);
                for end in ends {
                    let whole = first_statement(&text[..end], dialect);
                    prop_assert_eq!(reader.read(&text[..end]), whole, "{:?}", &text[..end]);
                    if matches!(whole, FirstStatement::Complete { .. }) {
                        break;
                    }
                }
            }
        }

        #[test]
        fn it_is_the_first_that_a_split_finds(text in "[a-e1$'\"\\;()`/*!é \n-]{0,40}") {
            for dialect in ALL {
                let Ok(all) = split_statements(&text, dialect) else { continue };
                match first_statement(&text, dialect) {
                    FirstStatement::Nothing => prop_assert!(all.is_empty(), "{:?}", text),
                    FirstStatement::Open(_) => prop_assert_eq!(all.len(), 1),
                    FirstStatement::Complete { start, end } => {
                        prop_assert_eq!(all[0].sql, text[start..end].trim_ascii());
                        let behind = split_statements(&text[end..], dialect).map(|all| all.len());
                        prop_assert_eq!(behind, Ok(all.len() - 1));
                    }
                }
            }
        }
    }
}
