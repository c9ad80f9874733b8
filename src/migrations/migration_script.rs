//! The statements of a file of migrations, and how they are to run.

use super::delimiters::{Span, split_delimited};
use super::finding::Finding;
use super::migration_files::MigrationFile;
use super::pragma_effect::ineffective;
use super::script_parts::{ScriptMode, ScriptStatement, mode};
use crate::sql::{Dialect, MysqlStatement, Unsendable, split_statements, transaction_control};

/// A file, split into statements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MigrationScript {
    pub(crate) mode: ScriptMode,
    pub(crate) statements: Vec<ScriptStatement>,
}

impl MigrationScript {
    /// Reads the statements of a file; fails with all that must not be in it.
    pub(crate) fn of(file: &MigrationFile, dialect: Dialect) -> Result<Self, Vec<Finding>> {
        let finding = |(line, why): (usize, String), instead: &str| {
            Finding::new(format!("{}:{line}", file.name), why, instead)
        };
        let mode = mode(&file.text, dialect).map_err(|unknown| {
            let instead = "The only one is `-- rowgate: no-transaction`.";
            vec![finding(unknown, instead)]
        })?;
        let statements = statements(&file.text, dialect)
            .map_err(|error| vec![finding(error, "Mend the file.")])?;
        let mut findings = Vec::new();
        if statements.is_empty() {
            let instead = "Write it, or remove the file: what ran once is not changed any more.";
            findings.push(Finding::new(&file.name, "it has no statement", instead));
        }
        if let Some(line) = undo_mark(&file.text) {
            let why = "here begin the statements by which another tool undoes the file".to_owned();
            let instead = "Remove this line and what follows it: files go forward only.";
            findings.push(finding((line, why), instead));
        }
        for (index, statement) in statements.iter().enumerate() {
            let is_sqlite = dialect == Dialect::Sqlite;
            let without_effect =
                || if is_sqlite { ineffective(&statements, index, mode) } else { None };
            if let Some((why, instead)) = refusal(&statement.sql, dialect).or_else(without_effect) {
                findings.push(finding((statement.line, why), instead));
            }
        }
        if findings.is_empty() { Ok(Self { mode, statements }) } else { Err(findings) }
    }
}

/// The line of a comment behind which other tools have the statements that undo a file: those of dbmate, goose and sql-migrate.
fn undo_mark(text: &str) -> Option<usize> {
    const MARKS: [&str; 3] = ["migrate:down", "+goose down", "+migrate down"];
    let is_mark = |line: &str| {
        let comment = line.trim_start().strip_prefix("--").map(|it| it.trim().to_ascii_lowercase());
        comment.is_some_and(|comment| MARKS.iter().any(|mark| comment.starts_with(mark)))
    };
    text.lines().position(is_mark).map(|index| index + 1)
}

/// Splits a text into statements; fails with the line and the reason.
pub(crate) fn statements(
    text: &str,
    dialect: Dialect,
) -> Result<Vec<ScriptStatement>, (usize, String)> {
    let sets_delimiter = || text.to_ascii_lowercase().contains("delimiter");
    if dialect == Dialect::Mysql && sets_delimiter() {
        let line_at = |at: usize| 1 + text[..at].matches('\n').count();
        let spans = split_delimited(text).map_err(|(at, why)| (line_at(at), why))?;
        let statement = |Span { start, first_word, end }| {
            let whole: &str = &text[start..end];
            let start = start + (whole.len() - whole.trim_ascii_start().len());
            ScriptStatement {
                sql: whole.trim_ascii().to_owned(),
                first_line: line_at(start),
                line: line_at(first_word),
            }
        };
        return Ok(spans.into_iter().map(statement).collect());
    }
    let split = split_statements(text, dialect).map_err(|error| (error.line, error.why))?;
    let statement = |it: crate::sql::SplitStatement<'_>| ScriptStatement {
        sql: it.sql.to_owned(),
        first_line: it.first_line,
        line: it.line,
    };
    Ok(split.into_iter().map(statement).collect())
}

/// The reason for which a statement must not be in a file, and what to do.
fn refusal(sql: &str, dialect: Dialect) -> Option<(String, &'static str)> {
    const REMOVE: &str = "Remove it: each file is one transaction by itself, or none with \
        `-- rowgate: no-transaction` as its first line.";
    const REMOVE_ON_MYSQL: &str =
        "Remove it: on MySQL and MariaDB each statement of a file commits by itself.";
    const DELIMIT: &str = "Where it belongs to the body of a routine, a trigger or an event, set another DELIMITER before it, \
        as in the mysql client. Else remove it: on MySQL and MariaDB each statement of a file commits by itself.";
    let [control, instead] = if dialect == Dialect::Mysql {
        let facts = MysqlStatement::of(sql);
        match &facts.text {
            Err(Unsendable::Invalid(why)) => return Some((why.clone(), "Mend the file.")),
            Err(Unsendable::Several { .. }) => {
                let why = "there are several statements in one".to_owned();
                return Some((why, "End each with the delimiter."));
            }
            Ok(_) => {}
        }
        if let Some(state) = facts.session_state.filter(|state| holds_all(state.what)) {
            let why =
                format!("{} keeps the migrator itself from writing to its ledger", state.what);
            return Some((why, "Remove it: hold the lock with a client of the database."));
        }
        let control = facts.transaction_control()?;
        let ends_a_body = control.starts_with("END") || control.starts_with("BEGIN");
        [control, if ends_a_body { DELIMIT } else { REMOVE_ON_MYSQL }]
    } else {
        [transaction_control(sql, dialect)?, REMOVE]
    };
    Some((format!("{control} controls the transaction"), instead))
}

/// Returns true for a lock of the session that all other writers wait for, also those of other tables.
fn holds_all(what: &str) -> bool {
    what.starts_with("FLUSH TABLES") || what == "BACKUP"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, dialect: Dialect) -> Result<MigrationScript, Vec<String>> {
        let file = MigrationFile { version: 1, name: "V1__a.sql".into(), text: text.into() };
        MigrationScript::of(&file, dialect)
            .map_err(|findings| findings.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_first_comments_choose_the_way() {
        use Dialect::{Mysql, Postgres, Sqlite};
        for (text, dialect, expected) in [
            ("create table t (a int)", Postgres, ScriptMode::OneTransaction),
            ("-- about\n\n--rowgate: no-transaction\nvacuum", Sqlite, ScriptMode::EachAlone),
            ("select 1; -- rowgate: no-transaction", Postgres, ScriptMode::OneTransaction),
            ("/* a\n */\n-- rowgate: no-transaction\nvacuum", Postgres, ScriptMode::EachAlone),
            ("/* rowgate: no-transaction */ vacuum", Sqlite, ScriptMode::EachAlone),
            ("select 1", Mysql, ScriptMode::EachAlone),
        ] {
            assert_eq!(read(text, dialect).unwrap().mode, expected, "{text}");
        }
        let unknown = read("-- a\n-- rowgate: no transaction\nvacuum", Postgres).unwrap_err();
        assert!(unknown[0].starts_with("V1__a.sql:2: there is no directive"), "{unknown:?}");
    }

    #[test]
    fn executable_comments_are_statements() {
        let text = "create table a (b int);\n/*!50003 create table c (d int) */;\n/* e; */\n";
        for text in [text.to_owned(), format!("{text}DELIMITER ;;\n")] {
            let statements = read(&text, Dialect::Mysql).unwrap().statements;
            let found: Vec<_> = statements.iter().map(|it| (it.sql.as_str(), it.line)).collect();
            let code = "/*!50003 create table c (d int) */";
            assert_eq!(found, [("create table a (b int)", 1), (code, 2)]);
        }
        let several = read("/*! insert into a values (1); drop table a */;", Dialect::Mysql);
        let several = several.unwrap_err();
        assert!(several[0].contains("there are several statements in one"), "{several:?}");
        let control = read("/*!50003 commit */;", Dialect::Mysql).unwrap_err();
        assert!(control[0].contains("COMMIT controls"), "{control:?}");
    }

    #[test]
    fn statements_know_their_lines() {
        let text = "-- a\ncreate table t (a int);\n\n-- b\n/* c */ create index i\n on t (a);\n";
        for dialect in [Dialect::Postgres, Dialect::Sqlite, Dialect::Mysql] {
            let statements = read(text, dialect).unwrap().statements;
            let lines: Vec<_> = statements.iter().map(|it| (it.first_line, it.line)).collect();
            assert_eq!(lines, [(1, 2), (4, 5)], "{dialect:?}");
        }
        let with_delimiter =
            format!("{text}DELIMITER //\ncreate procedure p() begin select 1; end//\n");
        let statements = read(&with_delimiter, Dialect::Mysql).unwrap().statements;
        let lines: Vec<_> = statements.iter().map(|it| (it.first_line, it.line)).collect();
        assert_eq!(lines, [(1, 2), (4, 5), (8, 8)]);
    }

    #[test]
    fn what_has_nothing_to_run_or_undoes_itself_is_refused() {
        for text in ["", "-- create orders\n", ";;\n"] {
            let found = read(text, Dialect::Postgres).unwrap_err();
            assert!(found[0].starts_with("V1__a.sql: it has no statement"), "{found:?}");
        }
        for mark in ["-- migrate:down", "--+goose Down", "-- +migrate Down notransaction"] {
            let text = format!("-- +goose Up\ncreate table t (a int);\n{mark}\ndrop table t;\n");
            let found = read(&text, Dialect::Sqlite).unwrap_err();
            assert!(found[0].starts_with("V1__a.sql:3: here begin the statements"), "{found:?}");
        }
        for sql in ["flush tables with read lock", "backup stage start"] {
            let found = read(sql, Dialect::Mysql).unwrap_err();
            assert!(found[0].contains("keeps the migrator itself"), "{found:?}");
        }
        let body = "create procedure p() begin select 1; end;\n";
        let found = read(body, Dialect::Mysql).unwrap_err();
        assert!(found[0].contains("DELIMITER"), "{found:?}");
    }

    #[test]
    fn transaction_control_and_texts_without_an_end_are_refused_by_line() {
        use Dialect::{Mysql, Postgres, Sqlite};
        for (text, dialect, expected) in [
            (
                "select 1;\nBEGIN;\nselect 2;\ncommit",
                Postgres,
                "V1__a.sql:2: BEGIN|V1__a.sql:4: COMMIT",
            ),
            ("select 1;\n\nsavepoint a", Sqlite, "V1__a.sql:3: SAVEPOINT"),
            ("select 1;\nset autocommit = 0", Mysql, "V1__a.sql:2: SET autocommit"),
            ("select 1;\nselect 'a", Postgres, "V1__a.sql:2: a string does not end"),
        ] {
            let found = read(text, dialect).unwrap_err();
            let expected: Vec<_> = expected.split('|').collect();
            assert_eq!(found.len(), expected.len(), "{found:?}");
            for (found, expected) in found.iter().zip(expected) {
                assert!(found.starts_with(expected), "{found}");
            }
        }
    }
}
