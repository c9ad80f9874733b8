//! A statement in short, for people: its first words, and a `?` for every literal.
//!
//! It stands in logs and lists, so what it cannot tell to be no literal ends it.

use super::analysis::Dialect;
use super::transaction_control::{
    dollar_delimiter, is_word_part, quoted_length, skip_blanks, skip_closed_blanks,
};

/// How long it gets, in bytes, before it is cut.
const LONGEST: usize = 100;

/// Stands for what was cut.
const CUT: char = '…';

/// The first words of `sql` without its literals and comments.
pub(crate) fn summary(sql: &str, dialect: Dialect) -> String {
    let mut short = String::new();
    let mut rest = skip_blanks(sql, dialect).trim_end();
    while let Some(first) = rest.chars().next() {
        let Some((shown, length)) = token(rest, first, dialect, &short) else {
            short.push(CUT);
            break;
        };
        if short.len() + shown.len() > LONGEST {
            short.push(CUT);
            break;
        }
        short.push_str(shown);
        let after = rest.get(length..).unwrap_or_default();
        let Ok(next) = skip_closed_blanks(after, dialect) else { break };
        if next.len() < after.len() && !next.is_empty() {
            short.push(' ');
        }
        rest = next;
    }
    short
}

/// What is shown of the token at the start of `text`, and the token's length; `None` where it is in doubt.
fn token<'a>(
    text: &'a str,
    first: char,
    dialect: Dialect,
    before: &str,
) -> Option<(&'a str, usize)> {
    let within = |is_part: fn(char) -> bool| text.find(|c| !is_part(c)).unwrap_or(text.len());
    match (first, dialect) {
        ('\'', _) => Some(("?", string(text, before)?)),
        ('"', Dialect::Postgres) => {
            let length = quoted_length(text, '"', false)?;
            Some((text.get(..length)?, length))
        }
        // SQLite takes what names nothing for a string.
        ('"' | '`', _) => Some(("?", quoted_length(text, first, false)?)),
        ('$', _) => dollar(text, dialect),
        ('0'..='9', _) => Some(("?", within(|c| is_word_part(c) || c == '.'))),
        _ if is_word_part(first) => {
            let length = within(is_word_part);
            Some((text.get(..length)?, length))
        }
        _ => Some((text.get(..first.len_utf8())?, first.len_utf8())),
    }
}

/// The parameter or the quoted string at the start of `text`. SQLite takes what is quoted so for a parameter's name, and
/// whoever wrote it meant a string.
fn dollar(text: &str, dialect: Dialect) -> Option<(&str, usize)> {
    if let Some(mark) = dollar_delimiter(text) {
        let body = text.get(mark.len()..).filter(|_| dialect == Dialect::Postgres)?;
        return Some(("?", mark.len() * 2 + body.find(mark)?));
    }
    let length = 1 + text.get(1..)?.bytes().take_while(u8::is_ascii_digit).count();
    Some((text.get(..length)?, length))
}

/// The length of the string at the start of `text`. Whether a backslash escapes in one without an E is a
/// setting of the session.
fn string(text: &str, before: &str) -> Option<usize> {
    let mut end = before.chars().rev();
    let escapes = end.next().is_some_and(|c| c.eq_ignore_ascii_case(&'e'))
        && !end.next().is_some_and(is_word_part);
    let length = quoted_length(text, '\'', escapes)?;
    let certain = escapes || !text.get(..length)?.contains('\\');
    certain.then_some(length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_summary_is_the_first_words_without_literals() {
        for (sql, expected) in [
            ("select 1", "select ?"),
            (
                "SELECT *\n  FROM t -- why\n WHERE a = 'x''y' AND b=$1",
                "SELECT * FROM t WHERE a = ? AND b=$1",
            ),
            (
                "insert into t values (1.5e3, E'a\\'b', $$c$$, $x$d$x$, X'0f')",
                "insert into t values (?, E?, ?, ?, X?)",
            ),
            ("select \"Column\".t1 from a.b", "select \"Column\".t1 from a.b"),
            ("  ", ""),
            ("/* secret */ select a", "select a"),
            ("select 'a\\' , secret '", "select …"),
            ("select 'secret", "select …"),
            ("select $$secret", "select …"),
        ] {
            assert_eq!(summary(sql, Dialect::Postgres), expected, "{sql}");
        }
        let sqlite = "select \"secret\", `x`, :name, $name from t where a = 'secret'";
        assert_eq!(
            summary(sqlite, Dialect::Sqlite),
            "select ?, ?, :name, $name from t where a = ?"
        );
    }

    #[test]
    fn a_long_statement_is_cut() {
        let short = summary(&format!("select {}", "a_column, ".repeat(50)), Dialect::Postgres);
        assert!(short.len() <= LONGEST + CUT.len_utf8() && short.ends_with(CUT), "{short}");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(sql in any::<String>(), sqlish in "[a-e1$'\"\\\\.:/*@é \n-]{0,40}") {
            for text in [&sql, &sqlish] {
                summary(text, Dialect::Postgres);
                summary(text, Dialect::Sqlite);
            }
        }

        #[test]
        fn no_literal_gets_through(
            before in "[a-d (),=*]{0,20}",
            literal in "[a-d' (),\n-]{0,10}",
            form in 0..4_usize,
        ) {
            let quoted = format!("{literal}SECRET{literal}").replace('\'', "''");
            let sql = match form {
                0 => format!("select {before} '{quoted}'"),
                1 => format!("select {before} e'{quoted}\\'SECRET'"),
                2 => format!("select {before} $q${literal}SECRET$q$"),
                _ => format!("select {before} 77SECRET"),
            };
            prop_assert!(!summary(&sql, Dialect::Postgres).contains("SECRET"), "{}", sql);
            if form != 1 {
                prop_assert!(!summary(&sql, Dialect::Sqlite).contains("SECRET"), "{}", sql);
            }
        }
    }
}
