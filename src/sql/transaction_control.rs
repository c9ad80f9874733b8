//! Finds transaction control at the start of a statement, so that it can be rejected.
//!
//! It reads only as far as it must: blanks, comments and empty statements before the first keyword, and
//! the few words after it that distinguish `PREPARE TRANSACTION` from `PREPARE p`. The extended protocol and
//! SQLite's `prepare` run one statement of a text, so the first one is the one that matters. It needs no
//! parser that could fail to understand the rest.

use super::scanner::{Dialect, leading_words};

/// First words that control the transaction whatever follows them.
const CONTROL: [&str; 7] = ["BEGIN", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE"];

/// The transaction control that `sql` starts with, in upper case.
pub(crate) fn transaction_control(sql: &str, dialect: Dialect) -> Option<&'static str> {
    let mut words = leading_words(sql, dialect);
    let first = words.next()?;
    let keyword = CONTROL.into_iter().find(|keyword| is(first, keyword));
    match dialect {
        Dialect::Postgres => keyword.or_else(|| longer(first, words)),
        // SQLite has no ABORT.
        Dialect::Sqlite | Dialect::Mysql => keyword.filter(|keyword| *keyword != "ABORT"),
    }
}

/// Control that takes more than its first word to recognize.
fn longer<'a>(first: &str, mut words: impl Iterator<Item = &'a str>) -> Option<&'static str> {
    if is(first, "SET") {
        return set_control(words);
    }
    let control = ["START TRANSACTION", "PREPARE TRANSACTION"]
        .into_iter()
        .find(|control| control.strip_suffix(" TRANSACTION").is_some_and(|verb| is(first, verb)))?;
    if !is(words.next()?, "TRANSACTION") {
        return None;
    }
    // `PREPARE transaction AS …` and `PREPARE transaction (int) AS …` prepare a statement of that name.
    let prepares = is(first, "PREPARE") && words.next().is_some_and(|w| w == "(" || is(w, "AS"));
    (!prepares).then_some(control)
}

/// `SET [LOCAL | SESSION] TRANSACTION …` and `SET [LOCAL | SESSION] SESSION CHARACTERISTICS …`.
fn set_control<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<&'static str> {
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
        // A setting may have this name, too: `SET transaction = 1`, `SET transaction.x TO 1`.
        let setting = after.starts_with(['=', '.']) || is(after, "TO");
        return (!setting).then_some("SET TRANSACTION");
    }
    (is(word, "SESSION") && is(after, "CHARACTERISTICS")).then_some(CHARACTERISTICS)
}

fn is(word: &str, keyword: &str) -> bool {
    word.eq_ignore_ascii_case(keyword)
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
            keyword in prop::sample::select(CONTROL.to_vec()).prop_flat_map(any_case),
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
