//! The command tag of a statement: `INSERT`, `CREATE TABLE`.

use crate::sql::{Dialect, Scanner, TokenKind};

/// The command of one statement that SQLite accepted; empty when the text holds none.
///
/// A query that starts with WITH is named after what follows its common table expressions; REPLACE
/// is an INSERT, VALUES a SELECT.
pub(crate) fn command(sql: &str) -> String {
    let mut words = top_level_words(sql);
    let Some(first) = words.next() else { return String::new() };
    match first.to_ascii_uppercase().as_str() {
        "WITH" => words.find_map(verb).unwrap_or("SELECT").to_owned(),
        word @ ("CREATE" | "DROP" | "ALTER") => {
            let adjective = ["TEMP", "TEMPORARY", "UNIQUE", "VIRTUAL"];
            let object = words
                .map(str::to_ascii_uppercase)
                .find(|word| !adjective.contains(&word.as_str()))
                .unwrap_or_default();
            format!("{word} {object}").trim_end().to_owned()
        }
        word => verb(first).unwrap_or(word).to_owned(),
    }
}

/// Tells whether `sqlite3_changes` counts the rows of the command.
pub(crate) fn counts_changes(command: &str) -> bool {
    matches!(command, "INSERT" | "UPDATE" | "DELETE")
}

/// Tells whether a command is one that writes, so that its statement need not ask a reader first.
///
/// SQLite itself decides; but it compiles some of these (ALTER, CREATE) against the schema that the
/// connection remembers, and a reader's may be out of date.
pub(crate) fn writes(command: &str) -> bool {
    counts_changes(command)
        || matches!(command, "REINDEX" | "ANALYZE" | "VACUUM")
        || ["CREATE ", "DROP ", "ALTER "].iter().any(|start| command.starts_with(start))
}

/// Tells whether a statement of this command is answered from the schema while it is compiled: when it runs,
/// it does not look if that is still the file's.
pub(crate) fn is_answered_when_compiled(command: &str) -> bool {
    matches!(command, "PRAGMA" | "EXPLAIN")
}

/// Tells whether this is `PRAGMA optimize`, which analyses tables. SQLite takes it for a statement that reads.
pub(crate) fn optimizes(sql: &str, command: &str) -> bool {
    command == "PRAGMA" && top_level_words(sql).any(|word| word.eq_ignore_ascii_case("optimize"))
}

fn verb(word: &str) -> Option<&'static str> {
    match word.to_ascii_uppercase().as_str() {
        "SELECT" | "VALUES" => Some("SELECT"),
        "INSERT" | "REPLACE" => Some("INSERT"),
        "UPDATE" => Some("UPDATE"),
        "DELETE" => Some("DELETE"),
        _ => None,
    }
}

/// The words of a statement outside parentheses.
fn top_level_words(sql: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    Scanner::at_first_statement(sql, Dialect::Sqlite)
        .filter(move |token| {
            match token.text {
                "(" => depth += 1,
                ")" => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && token.kind == TokenKind::Word
        })
        .map(|token| token.text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_statement_has_its_database_name() {
        let cases = [
            ("", ""),
            (" ;; -- nothing", ""),
            ("/* select */", ""),
            ("select 1", "SELECT"),
            ("-- insert\n/* update */ Select 1", "SELECT"),
            (";values (1)", "SELECT"),
            ("insert into t values (1)", "INSERT"),
            ("replace into t values (1)", "INSERT"),
            ("with a as (select 1) select * from a", "SELECT"),
            ("with recursive a(x) as (select 'delete'), b as (select 1) delete from t", "DELETE"),
            (
                "with \"update\" as (select 1), [delete] as (values (2)) insert into t select 1",
                "INSERT",
            ),
            ("create table t (a)", "CREATE TABLE"),
            ("create unique index i on t (a)", "CREATE INDEX"),
            ("create virtual table t using fts5(a)", "CREATE TABLE"),
            ("drop view if exists v", "DROP VIEW"),
            ("alter table t rename to u", "ALTER TABLE"),
            ("explain query plan select 1", "EXPLAIN"),
            ("vacuum", "VACUUM"),
            ("pragma user_version = 3", "PRAGMA"),
        ];
        for (sql, expected) in cases {
            assert_eq!(command(sql), expected, "{sql}");
        }
    }

    proptest! {
        #[test]
        fn any_text_has_a_command(sql in ".*") {
            let _name = command(&sql);
            let _name = command(&format!("with {sql}"));
        }
    }
}
