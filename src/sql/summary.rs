//! The summary of a statement for people: its first words, and a `?` for every literal.
//!
//! It stands in logs and lists, so it ends where a literal is not certain to end.

use super::scanner::{COMMENT, Dialect, Scanner, SqlToken, TokenKind, is_word_part};

/// The length at which a summary is cut.
const MAX_BYTES: usize = 100;

/// Stands for what was cut.
const CUT: char = '…';

/// The first words of `sql` without its literals and comments.
pub(crate) fn summary(sql: &str, dialect: Dialect) -> String {
    let mut short = String::new();
    let sql = sql.trim_end();
    let mut scanner = Scanner::new(sql, dialect);
    let mut end = 0;
    let mut assigns = None;
    while let Some(token) = scanner.next() {
        if token.kind == TokenKind::Unterminated(COMMENT) {
            break;
        }
        if token.start > end && !short.is_empty() {
            short.push(' ');
        }
        match shown(&token, dialect) {
            Some(shown) if short.len() + shown.len() <= MAX_BYTES => short.push_str(shown),
            Some(_) | None => {
                short.push(CUT);
                break;
            }
        }
        if token.kind == TokenKind::Number {
            scanner.skip_chars(|c| is_word_part(c) || c == '.');
        }
        end = sql.len() - scanner.rest().len();
        let assigns = *assigns.get_or_insert_with(|| is_any_of(token.text, &ASSIGNING));
        if assigns && is_any_of(token.text, &BEFORE_VALUE) && end < sql.len() {
            short.push_str(" …");
            break;
        }
    }
    short
}

/// The commands that assign values, which need no quotes: `set work.token = secret`.
const ASSIGNING: [&str; 3] = ["set", "alter", "pragma"];

/// The tokens of such a command that precede a value.
const BEFORE_VALUE: [&str; 9] =
    ["=", "(", "to", "zone", "role", "authorization", "names", "schema", "catalog"];

fn is_any_of(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| word.eq_ignore_ascii_case(text))
}

/// The text shown for a token; `None` if it may be part of a literal.
fn shown<'a>(token: &SqlToken<'a>, dialect: Dialect) -> Option<&'a str> {
    let text = token.text;
    match token.kind {
        // Other databases quote with backticks.
        TokenKind::Symbol => (!text.contains('`')).then_some(text),
        TokenKind::Word => Some(text),
        TokenKind::QuotedName if dialect == Dialect::Postgres => Some(text),
        // `[name]` is a name to SQLite, unless whoever wrote it meant an array of literals.
        TokenKind::QuotedName if text.starts_with('[') && !text.contains(is_of_a_literal) => {
            Some(text)
        }
        // SQLite takes any other name that names nothing for a string.
        TokenKind::QuotedName => Some("?"),
        TokenKind::String => (!text.contains('\\')).then_some("?"),
        TokenKind::EscapeString if text.starts_with('\'') => Some("?"),
        TokenKind::EscapeString => Some(if text.starts_with('e') { "e?" } else { "E?" }),
        TokenKind::DollarString | TokenKind::Number => Some("?"),
        // A parameter to SQLite, and a dollar-quoted string to whoever wrote it.
        TokenKind::Parameter if text[1..].contains('$') => None,
        TokenKind::Parameter if text.starts_with('$') => Some(text),
        TokenKind::Parameter => {
            Some(if text[1..].starts_with(|c: char| c.is_ascii_digit()) { "?" } else { text })
        }
        TokenKind::Unterminated(_) => None,
    }
}

fn is_of_a_literal(c: char) -> bool {
    c.is_ascii_digit() || matches!(c, '\'' | '"' | '`' | '$')
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
            ("set work.token = secret", "set work.token = …"),
            ("SET LOCAL work.token TO secret, more", "SET LOCAL work.token TO …"),
            ("set time zone secret", "set time zone …"),
            ("alter role r set a = secret", "alter role …"),
            ("update t set a = b", "update t set a = b"),
            ("/* secret */ select a", "select a"),
            ("select 'a\\' , secret '", "select …"),
            ("select 'secret", "select …"),
            ("select $$secret", "select …"),
        ] {
            assert_eq!(summary(sql, Dialect::Postgres), expected, "{sql}");
        }
        let brackets = "select 1 as [a <b>], array['secret', 7]";
        assert_eq!(summary(brackets, Dialect::Sqlite), "select ? as [a <b>], array?");
        let sqlite = "select \"secret\", `x`, :name, $name from t where a = 'secret'";
        assert_eq!(
            summary(sqlite, Dialect::Sqlite),
            "select ?, ?, :name, $name from t where a = ?"
        );
    }

    #[test]
    fn a_long_statement_is_cut() {
        let short = summary(&format!("select {}", "a_column, ".repeat(50)), Dialect::Postgres);
        assert!(short.len() <= MAX_BYTES + CUT.len_utf8() && short.ends_with(CUT), "{short}");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(sql in any::<String>(), sqlish in "[a-e1$'\"\\\\.:/*@é \n-]{0,40}") {
            for text in [&sql, &sqlish] {
                summary(text, Dialect::Postgres);
                summary(text, Dialect::Sqlite);
                summary(text, Dialect::Mysql);
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
