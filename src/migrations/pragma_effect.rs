//! The effect of SQLite's PRAGMA in a file: many do nothing in a transaction, or in a database that exists, and say nothing.

use super::script_parts::{ScriptMode, ScriptStatement};
use crate::sql::{Dialect, Scanner, SqlToken, is_among};

/// The reason for which a PRAGMA is refused, and the remedy.
pub(super) type Ineffective = (String, &'static str);

/// The pragmas that do what they say in a transaction, in order; all others that set a value are refused there.
const IN_TRANSACTION: [&str; 27] = [
    "analysis_limit",
    "application_id",
    "automatic_index",
    "cache_size",
    "cache_spill",
    "case_sensitive_like",
    "cell_size_check",
    "defer_foreign_keys",
    "foreign_key_check",
    "foreign_key_list",
    "hard_heap_limit",
    "ignore_check_constraints",
    "incremental_vacuum",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "legacy_alter_table",
    "max_page_count",
    "optimize",
    "quick_check",
    "recursive_triggers",
    "table_info",
    "table_list",
    "table_xinfo",
    "user_version",
    "writable_schema",
];

/// The settings of a file that VACUUM alone brings about.
const BY_VACUUM: &str = "AUTO_VACUUM";

/// The settings that a file has from its beginning.
const FROM_BEGINNING: &str = "PAGE_SIZE ENCODING";

const OWN_FILE: &str =
    "Begin the file with `-- rowgate: no-transaction`; the setting ends with the file.";
const WITH_VACUUM: &str = "Write a file that begins with `-- rowgate: no-transaction`, with this statement and VACUUM behind it.";
const BEFORE: &str =
    "Make the file with it before the first `rowgate migrate up`, as with the program sqlite3.";
const REMOVE: &str = "Remove it.";

/// The reason for which a statement would do nothing where it stands, without an error.
pub(super) fn ineffective(
    statements: &[ScriptStatement],
    index: usize,
    mode: ScriptMode,
) -> Option<Ineffective> {
    let name = set_pragma(&statements.get(index)?.sql)?;
    let is = |names: &str| is_among(&name, names);
    if is("JOURNAL_MODE") {
        let why = "PRAGMA journal_mode changes nothing here: Rowgate keeps the file in WAL mode";
        return Some((why.to_owned(), REMOVE));
    }
    if is(FROM_BEGINNING) {
        let why =
            format!("SQLite ignores PRAGMA {name} in a file that has tables and is in WAL mode");
        return Some((why, BEFORE));
    }
    let is_alone = mode == ScriptMode::EachAlone;
    if is(BY_VACUUM) {
        let mut behind = statements.iter().skip(index + 1);
        let is_done = is_alone && behind.any(|it| starts_with_vacuum(&it.sql));
        let why =
            format!("PRAGMA {name} changes a file that has tables only with VACUUM behind it");
        return (!is_done).then_some((why, WITH_VACUUM));
    }
    if is_alone || IN_TRANSACTION.iter().any(|known| name.eq_ignore_ascii_case(known)) {
        return None;
    }
    let why = if is("FOREIGN_KEYS") {
        "SQLite ignores PRAGMA foreign_keys within a transaction".to_owned()
    } else {
        format!("PRAGMA {name} is none of those that are known to work within a transaction")
    };
    Some((why, OWN_FILE))
}

/// The name of the pragma that a statement gives a value.
fn set_pragma(sql: &str) -> Option<String> {
    let tokens: Vec<SqlToken<'_>> = Scanner::at_first_statement(sql, Dialect::Sqlite).collect();
    let is_pragma = tokens.first().is_some_and(|first| is_among(first.text, "PRAGMA"));
    let rest = tokens.get(1..).filter(|_| is_pragma)?;
    let (name, behind) = match rest {
        [_schema, point, name, behind @ ..] if point.text == "." => (name, behind),
        [name, behind @ ..] => (name, behind),
        [] => return None,
    };
    let sets = behind.first().is_some_and(|sign| matches!(sign.text, "=" | "("));
    let quotes: &[char] = &['"', '\'', '`', '[', ']'];
    sets.then(|| name.text.trim_matches(quotes).to_owned())
}

fn starts_with_vacuum(sql: &str) -> bool {
    let first = Scanner::at_first_statement(sql, Dialect::Sqlite).next();
    first.is_some_and(|first| is_among(first.text, "VACUUM"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(texts: &[&str], mode: ScriptMode) -> Option<String> {
        let statement =
            |sql: &&str| ScriptStatement { sql: (*sql).to_owned(), first_line: 1, line: 1 };
        let statements: Vec<_> = texts.iter().map(statement).collect();
        ineffective(&statements, 0, mode).map(|(why, _)| why)
    }

    #[test]
    fn pragmas_without_an_effect_are_found() {
        use ScriptMode::{EachAlone, OneTransaction};
        for (sql, mode, why) in [
            ("pragma foreign_keys = off", OneTransaction, "ignores PRAGMA foreign_keys"),
            (
                "-- a\nPRAGMA main.\"foreign_keys\"(0)",
                OneTransaction,
                "ignores PRAGMA foreign_keys",
            ),
            ("pragma synchronous = off", OneTransaction, "none of those that are known"),
            ("pragma nope = 1", OneTransaction, "none of those that are known"),
            ("pragma journal_mode = delete", OneTransaction, "changes nothing"),
            ("pragma journal_mode(delete)", EachAlone, "changes nothing"),
            ("pragma page_size = 8192", EachAlone, "ignores PRAGMA page_size"),
            ("pragma encoding = 'UTF-16'", OneTransaction, "ignores PRAGMA encoding"),
            ("pragma auto_vacuum = full", EachAlone, "only with VACUUM"),
        ] {
            let found = found(&[sql], mode);
            assert!(found.as_ref().is_some_and(|found| found.contains(why)), "{sql}: {found:?}");
        }
        let vacuum = ["pragma auto_vacuum = incremental", "vacuum"];
        assert_eq!(found(&vacuum, EachAlone), None);
        assert!(found(&vacuum, OneTransaction).is_some());
    }

    #[test]
    fn other_statements_are_left_alone() {
        use ScriptMode::{EachAlone, OneTransaction};
        for (sql, mode) in [
            ("pragma defer_foreign_keys = on", OneTransaction),
            ("pragma user_version = 7", OneTransaction),
            ("pragma foreign_keys", OneTransaction),
            ("pragma foreign_keys = off", EachAlone),
            ("pragma foreign_key_check(t)", OneTransaction),
            ("insert into doc values ('see pragma foreign_keys = off')", OneTransaction),
            ("create table pragma (foreign_keys)", OneTransaction),
        ] {
            assert_eq!(found(&[sql], mode), None, "{sql}");
        }
        assert!(IN_TRANSACTION.is_sorted());
    }
}
