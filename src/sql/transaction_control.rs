//! Finds transaction control at the start of a statement, and refuses it.
//!
//! It reads only as far as it must: blanks, comments and empty statements before the first keyword, and
//! the few words after it that tell `PREPARE TRANSACTION` from `PREPARE p`. The extended protocol and
//! SQLite's `prepare` run one statement of a text, so the first one is the one that matters. It knows
//! nothing of what comes after; in particular it needs no parser that could fail to understand the rest.

use super::analysis::Dialect;

/// The byte order mark: SQLite takes it for a blank, and clients leave it at the start of files.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// First words that control the transaction whatever follows them.
const POSTGRES_CONTROL: [&str; 7] =
    ["BEGIN", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE"];

/// The same for SQLite, which knows no ABORT.
const SQLITE_CONTROL: [&str; 6] = ["BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE"];

/// The transaction control that `sql` starts with, in upper case.
pub(crate) fn transaction_control(sql: &str, dialect: Dialect) -> Option<&'static str> {
    let mut words = Words { rest: skip_empty_statements(sql, dialect), dialect };
    let first = words.next()?;
    match dialect {
        Dialect::Postgres => one_of(&POSTGRES_CONTROL, first).or_else(|| longer(first, words)),
        Dialect::Sqlite => one_of(&SQLITE_CONTROL, first),
    }
}

/// The first word of the first statement.
pub(crate) fn first_word(sql: &str, dialect: Dialect) -> Option<&str> {
    words(sql, dialect).next()
}

/// The words of the first statement, and of what follows it.
pub(crate) fn words(sql: &str, dialect: Dialect) -> impl Iterator<Item = &str> {
    Words { rest: skip_empty_statements(sql, dialect), dialect }
}

/// Control that needs more than its first word to be told.
fn longer(first: &str, mut words: Words<'_>) -> Option<&'static str> {
    let mut next_is = |word| words.next().is_some_and(|next| is(next, word));
    if is(first, "START") {
        return next_is("TRANSACTION").then_some("START TRANSACTION");
    }
    if is(first, "PREPARE") {
        // `PREPARE transaction AS …` and `PREPARE transaction (int) AS …` prepare a statement of that name.
        return (next_is("TRANSACTION")
            && !matches!(words.next(), Some(w) if w == "(" || is(w, "AS")))
        .then_some("PREPARE TRANSACTION");
    }
    if is(first, "SET") { set_control(words) } else { None }
}

/// `SET [LOCAL | SESSION] TRANSACTION …` and `SET [LOCAL | SESSION] SESSION CHARACTERISTICS …`.
fn set_control(mut words: Words<'_>) -> Option<&'static str> {
    const CHARACTERISTICS: &str = "SET SESSION CHARACTERISTICS";
    let mut word = words.next()?;
    if is(word, "LOCAL") || is(word, "SESSION") {
        let after_session = is(word, "SESSION");
        word = words.next()?;
        if after_session && is(word, "CHARACTERISTICS") {
            return Some(CHARACTERISTICS);
        }
    }
    let after = words.next()?;
    if is(word, "TRANSACTION") {
        // A setting may be called so, too: `SET transaction = 1`, `SET transaction.x TO 1`.
        let setting = after == "=" || after == "." || is(after, "TO");
        return (!setting).then_some("SET TRANSACTION");
    }
    (is(word, "SESSION") && is(after, "CHARACTERISTICS")).then_some(CHARACTERISTICS)
}

fn one_of(list: &[&'static str], word: &str) -> Option<&'static str> {
    list.iter().find(|keyword| is(word, keyword)).copied()
}

fn is(word: &str, keyword: &str) -> bool {
    word.eq_ignore_ascii_case(keyword)
}

/// The words and the single other characters of a text, without blanks and comments.
struct Words<'a> {
    rest: &'a str,
    dialect: Dialect,
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = skip_blanks(self.rest, self.dialect);
        let first = text.chars().next()?;
        let end = if is_word_part(first) {
            text.find(|c| !is_word_part(c)).unwrap_or(text.len())
        } else {
            first.len_utf8()
        };
        let (word, rest) = text.split_at(end);
        self.rest = rest;
        Some(word)
    }
}

/// Whether a character continues an identifier, in both dialects: both take every character beyond
/// ASCII, so `begin\u{a0}` is a name and not BEGIN.
pub(crate) fn is_word_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '$' || !c.is_ascii()
}

/// `sql` from its first statement that is not empty.
fn skip_empty_statements(sql: &str, dialect: Dialect) -> &str {
    let mut text = sql;
    loop {
        let trimmed = skip_blanks(text, dialect).trim_start_matches([';', BYTE_ORDER_MARK]);
        if trimmed.len() == text.len() {
            return text;
        }
        text = trimmed;
    }
}

/// `text` from its first character that is neither blank nor part of a comment.
pub(crate) fn skip_blanks(text: &str, dialect: Dialect) -> &str {
    skip_closed_blanks(text, dialect).unwrap_or("")
}

/// The same; a comment that does not end is the error.
pub(crate) fn skip_closed_blanks(text: &str, dialect: Dialect) -> Result<&str, &str> {
    let mut text = text;
    loop {
        // The vertical tab is a blank since PostgreSQL 16 and an error elsewhere.
        text = text.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
        text = if let Some(comment) = text.strip_prefix("--") {
            after_line(comment, dialect)
        } else if let Some(comment) = text.strip_prefix("/*") {
            after_block(comment, dialect).ok_or(text)?
        } else {
            return Ok(text);
        };
    }
}

/// Where the line ends that the comment is on. Only PostgreSQL lets a carriage return end it.
fn after_line(comment: &str, dialect: Dialect) -> &str {
    let end = match dialect {
        Dialect::Postgres => comment.find(['\n', '\r']),
        Dialect::Sqlite => comment.find('\n'),
    };
    end.map_or("", |end| comment.get(end..).unwrap_or(""))
}

/// What follows the end of a block comment whose start was read; `None` when it does not end.
fn after_block(comment: &str, dialect: Dialect) -> Option<&str> {
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

/// The length of what is quoted at the start of `text`, quotes doubled inside; with `escapes` a backslash
/// takes the next character with it. `None` when it does not end.
pub(crate) fn quoted_length(text: &str, quote: char, escapes: bool) -> Option<usize> {
    let mut rest = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = rest.next() {
        if c == '\\' && escapes {
            rest.next();
        } else if c == quote && rest.next_if(|(_, next)| *next == quote).is_none() {
            return Some(at + c.len_utf8());
        }
    }
    None
}

/// The `$tag$` at the start of `text`, which starts with a `$`.
pub(crate) fn dollar_delimiter(text: &str) -> Option<&str> {
    let after = text.get(1..)?;
    let tag = after.get(..after.find('$')?)?;
    let is_tag = !tag.starts_with(|c: char| c.is_ascii_digit()) && tag.chars().all(is_word_part);
    is_tag.then(|| text.get(..tag.len() + 2))?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn transaction_control_is_found_in_every_spelling() {
        for (sql, expected) in [
            ("BEGIN", "BEGIN"),
            ("begin", "BEGIN"),
            ("BeGiN;", "BEGIN"),
            ("begin--x", "BEGIN"),
            ("begin/**/", "BEGIN"),
            ("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE", "BEGIN"),
            ("begin work", "BEGIN"),
            ("begin(", "BEGIN"),
            (" \t\n\r\x0b\x0cbegin", "BEGIN"),
            ("\u{feff}begin", "BEGIN"),
            ("\u{feff} ;\u{feff}; begin", "BEGIN"),
            ("--c\nBEGIN", "BEGIN"),
            ("--c\rBEGIN", "BEGIN"),
            ("--c\r\nBEGIN", "BEGIN"),
            ("----\n--\nBEGIN", "BEGIN"),
            ("; commit", "COMMIT"),
            (";;;commit", "COMMIT"),
            (";/*a*/;--b\n;commit", "COMMIT"),
            ("COMMIT AND CHAIN", "COMMIT"),
            ("COMMIT PREPARED 'x'", "COMMIT"),
            ("commit/*", "COMMIT"),
            ("/*x*/ end", "END"),
            ("/**/end", "END"),
            ("/***/end", "END"),
            ("/*/ */end", "END"),
            ("/*/**/*/end", "END"),
            ("END TRANSACTION", "END"),
            ("/* /* */ */ ABORT", "ABORT"),
            ("/*--*/abort", "ABORT"),
            ("--/*\nabort", "ABORT"),
            ("ROLLBACK", "ROLLBACK"),
            ("ROLLBACK TO a", "ROLLBACK"),
            ("rollback prepared 'x'", "ROLLBACK"),
            ("SAVEPOINT a", "SAVEPOINT"),
            ("savepoint\"a\"", "SAVEPOINT"),
            ("RELEASE a", "RELEASE"),
            ("release savepoint a", "RELEASE"),
            ("START TRANSACTION", "START TRANSACTION"),
            ("start/* */transaction read only", "START TRANSACTION"),
            ("PREPARE TRANSACTION 'x'", "PREPARE TRANSACTION"),
            ("PREPARE/**/TRANSACTION 'x'", "PREPARE TRANSACTION"),
            ("prepare transaction--\n$$x$$", "PREPARE TRANSACTION"),
            ("SET TRANSACTION READ WRITE", "SET TRANSACTION"),
            ("set/**/transaction/**/snapshot 'x'", "SET TRANSACTION"),
            ("SET LOCAL TRANSACTION READ WRITE", "SET TRANSACTION"),
            ("SET SESSION TRANSACTION READ WRITE", "SET TRANSACTION"),
            ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SET SESSION CHARACTERISTICS"),
            (
                "set session session characteristics as transaction read only",
                "SET SESSION CHARACTERISTICS",
            ),
        ] {
            assert_eq!(transaction_control(sql, Dialect::Postgres), Some(expected), "{sql:?}");
        }
    }

    #[test]
    fn other_statements_are_not_taken_for_transaction_control() {
        for sql in [
            "",
            " ",
            ";",
            "--begin",
            "/*begin",
            "/* /* */ begin",
            "/*/ begin",
            "select 'commit'",
            "select 1; commit",
            "(begin",
            "'begin'",
            "\"begin\"",
            "$$begin$$",
            "with commit as (select 1) select * from commit",
            "endpoint",
            "begin_",
            "begin1",
            "begin$",
            "commitment",
            "begin\u{a0}",
            "bégin",
            "e/**/nd",
            "- -\nbegin",
            "/ *x*/begin",
            "start",
            "start replication",
            "prepare p as select 1",
            "prepare p(int) as select 1",
            "prepare transaction as select 1",
            "prepare transaction(int) as select 1",
            "set transaction_read_only = off",
            "set transaction = 1",
            "set transaction to 1",
            "set transaction.x to 1",
            "set local work_mem = 1",
            "set session authorization x",
            "set session_replication_role = replica",
            "set",
            "set session",
            "explain select 1",
            "reset all",
            "execute commit",
            "call commit()",
            "do $$ begin end $$",
        ] {
            assert_eq!(transaction_control(sql, Dialect::Postgres), None, "{sql:?}");
        }
    }

    #[test]
    fn sqlite_reads_its_own_comments_and_keywords() {
        for (sql, expected) in [
            ("BEGIN IMMEDIATE", Some("BEGIN")),
            ("\u{feff};begin", Some("BEGIN")),
            ("--c\nend", Some("END")),
            ("/* /* */ rollback", Some("ROLLBACK")),
            ("savepoint x", Some("SAVEPOINT")),
            ("release x", Some("RELEASE")),
            ("/**/commit", Some("COMMIT")),
            ("--c\rbegin", None),
            ("/* /* */ */ begin", None),
            ("abort", None),
            ("start transaction", None),
            ("prepare transaction 'x'", None),
            ("[begin]", None),
            ("`begin`", None),
            ("explain begin", None),
            ("replace into t values (1)", None),
        ] {
            assert_eq!(transaction_control(sql, Dialect::Sqlite), expected, "{sql:?}");
        }
    }

    /// Text that stands before a statement without being part of one.
    fn padding() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            "[ \t\n\r\x0b\x0c]{1,3}",
            "--[a-z ;'\"/*$-]{0,8}\n",
            "/\\*[a-z ;'\"\n$-]{0,8}\\*/",
            Just("/* a /* b */ c */".to_owned()),
        ];
        prop::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
    }

    fn any_case(word: &'static str) -> impl Strategy<Value = String> {
        prop::collection::vec(any::<bool>(), word.len()).prop_map(move |upper| {
            word.chars()
                .zip(upper)
                .map(|(c, upper)| if upper { c } else { c.to_ascii_lowercase() })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(sql in any::<String>(), sqlish in "[a-zA-Z/*;' \n\r-]{0,40}") {
            for dialect in [Dialect::Postgres, Dialect::Sqlite] {
                transaction_control(&sql, dialect);
                transaction_control(&sqlish, dialect);
            }
        }

        #[test]
        fn no_padding_hides_control(
            before in padding(),
            empty in prop::sample::select(vec!["", ";", ";;"]),
            more in padding(),
            keyword in prop::sample::select(POSTGRES_CONTROL.to_vec()).prop_flat_map(any_case),
            after in prop::sample::select(vec!["", ";", " x", "/**/", "--", "\n;"]),
        ) {
            let sql = format!("{before}{empty}{more}{keyword}{after}");
            let expected = keyword.to_ascii_uppercase();
            prop_assert_eq!(transaction_control(&sql, Dialect::Postgres), Some(&*expected));
        }

        #[test]
        fn no_padding_hides_control_of_several_words(
            words in prop::sample::select(vec![
                vec!["PREPARE", "TRANSACTION", "'x'"],
                vec!["START", "TRANSACTION", ""],
                vec!["SET", "TRANSACTION", "READ"],
                vec!["SET", "LOCAL", "TRANSACTION", "READ"],
                vec!["SET", "SESSION", "CHARACTERISTICS", "AS"],
            ]),
            paddings in prop::collection::vec(padding(), 5),
        ) {
            let sql: String = words
                .iter()
                .zip(&paddings)
                .map(|(word, padding)| format!("{padding} {word}"))
                .collect();
            prop_assert!(transaction_control(&sql, Dialect::Postgres).is_some(), "{:?}", sql);
        }
    }
}
