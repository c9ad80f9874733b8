//! The comments of SQL text.

use super::dialects::Dialect;

/// The characters between tokens. The vertical tab is a blank since PostgreSQL 16 and an error elsewhere.
const BLANKS: [char; 6] = [' ', '\t', '\n', '\r', '\x0b', '\x0c'];

/// A comment, with the place at which it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Comment<'a> {
    pub(crate) start: usize,
    pub(crate) text: &'a str,
}

/// The comments in front of the first token; executable ones of MySQL are none.
pub(crate) fn leading_comments(sql: &str, dialect: Dialect) -> Vec<Comment<'_>> {
    let mut comments = Vec::new();
    let mut rest = sql.trim_start_matches(BLANKS);
    while let Some(behind) = behind_comment(rest, dialect) {
        let start = sql.len() - rest.len();
        comments.push(Comment { start, text: &rest[..rest.len() - behind.len()] });
        rest = behind.trim_start_matches(BLANKS);
    }
    comments
}

/// `text` from its first character that is neither blank nor part of a comment that ends.
pub(super) fn skip_blanks(text: &str, dialect: Dialect) -> &str {
    let mut text = text.trim_start_matches(BLANKS);
    while let Some(behind) = behind_comment(text, dialect) {
        text = behind.trim_start_matches(BLANKS);
    }
    text
}

/// `text` from the end of the comment that it starts with; `None` without one, or if it does not end.
fn behind_comment(text: &str, dialect: Dialect) -> Option<&str> {
    let is_mysql = dialect == Dialect::Mysql;
    // In MySQL only before a blank: `5--1` is 6.
    let is_line = |comment: &&str| {
        !is_mysql
            || comment.is_empty()
            || comment.starts_with(|c: char| c.is_ascii_whitespace() || c.is_ascii_control())
    };
    if let Some(comment) = text.strip_prefix("--").filter(is_line) {
        return Some(after_line(comment, dialect));
    }
    if let Some(comment) = text.strip_prefix('#').filter(|_| is_mysql) {
        return Some(after_line(comment, dialect));
    }
    if is_mysql && code_comment(text).is_some() {
        return None;
    }
    let comment = text.strip_prefix("/*")?;
    let behind = after_block(comment, dialect);
    // The end of the text ends it in SQLite.
    behind.or((dialect == Dialect::Sqlite).then_some(""))
}

/// The code in an executable comment of MySQL or MariaDB, without the version in front of it.
pub(super) fn code_comment(text: &str) -> Option<&str> {
    let code = text.strip_prefix("/*!").or_else(|| text.strip_prefix("/*M!"))?;
    Some(code.trim_start_matches(|c: char| c.is_ascii_digit()))
}

/// `comment` from the end of its line. Only PostgreSQL lets a carriage return end it.
pub(super) fn after_line(comment: &str, dialect: Dialect) -> &str {
    comment.trim_start_matches(|c| c != '\n' && (c != '\r' || dialect != Dialect::Postgres))
}

/// The text behind a block comment whose start was read; `None` when it does not end.
pub(super) fn after_block(comment: &str, dialect: Dialect) -> Option<&str> {
    let bytes = comment.as_bytes();
    let mut depth = 1_usize;
    let mut at = 0;
    while depth > 0 {
        match bytes.get(at..at + 2)? {
            b"*/" => {
                depth -= 1;
                at += 2;
            }
            b"/*" if dialect == Dialect::Postgres => {
                depth += 1;
                at += 2;
            }
            _ => at += 1,
        }
    }
    comment.get(at..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_before_the_first_token_are_found() {
        for (sql, dialect, expected) in [
            (
                "-- a\n\n  /* b\n */ -- c\nselect 1 -- d",
                Dialect::Postgres,
                "0:-- a|8:/* b\n */|17:-- c",
            ),
            ("/* /* a */ b */ x", Dialect::Postgres, "0:/* /* a */ b */"),
            ("/* /* a */ b */ x", Dialect::Sqlite, "0:/* /* a */"),
            ("# a\n--b\nx", Dialect::Mysql, "0:# a"),
            ("/* a *//*! b */ x", Dialect::Mysql, "0:/* a */"),
            ("x -- a", Dialect::Postgres, ""),
        ] {
            let found = leading_comments(sql, dialect);
            let found: Vec<_> =
                found.iter().map(|it| format!("{}:{}", it.start, it.text)).collect();
            assert_eq!(found.join("|"), expected, "{sql}");
        }
    }
}
