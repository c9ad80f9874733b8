//! Maintenance of a database at an operator's command (`rowgate maintain`): table by table, where the database has that.

use std::time::{Duration, Instant};

use super::admin_connections::{administer, check_file_exists, open_admin};
use super::backends::configured;
use crate::backend::{AdminConnection, AdminRows};
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::sql::Dialect;

/// The kinds of maintenance to do; without one it is the analysis.
#[derive(Debug, Clone, Copy, Default)]
pub struct MaintenanceTasks {
    /// Give the room of deleted rows back.
    pub vacuum: bool,
    /// Make the statistics of the planner anew.
    pub analyze: bool,
    /// Build indexes anew.
    pub reindex: bool,
}

/// A statement of the maintenance that has ended.
#[derive(Debug)]
pub struct MaintenanceStep {
    /// The statement.
    pub sql: String,
    /// The time that it took.
    pub took: Duration,
    /// The reason of its failure; the others run all the same.
    pub error: Option<Error>,
    /// The database's remark if it has done nothing.
    pub remark: Option<String>,
}

/// The tables of PostgreSQL that the role may maintain: materialized views among them, and partitioned tables, which only
/// have statistics. The last row counts the others.
const POSTGRES_TABLES: &str = "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), c.relkind::pg_catalog.text, \
    pg_catalog.pg_has_role(c.relowner, 'USAGE')::pg_catalog.text \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
    WHERE c.relkind::pg_catalog.text IN ('r', 'm', 'p') AND c.relpersistence::pg_catalog.text <> 't' \
    AND n.nspname::pg_catalog.text NOT IN ('pg_catalog', 'information_schema', 'pg_toast') \
    ORDER BY n.nspname, c.relname";

/// Moves SQLite's log into its file.
const CHECKPOINT: &str = "PRAGMA wal_checkpoint(TRUNCATE)";

/// Lets MariaDB build a table with a history anew, which it keeps as it is.
const KEEP_HISTORY: &str = "SET system_versioning_alter_history = KEEP";

const MYSQL_TABLES: &str = "SELECT table_name, table_type FROM information_schema.tables \
    WHERE table_schema = DATABASE() AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') ORDER BY table_name";

/// Runs the maintenance, and tells of each statement; returns the tables that belong to others. Blocks; must not be called from a runtime.
///
/// # Errors
/// There is no such database, it cannot be reached, or the operator has interrupted.
pub fn maintain(
    config: &Config,
    name: &str,
    tasks: MaintenanceTasks,
    report: &mut dyn FnMut(MaintenanceStep),
) -> Result<Vec<String>> {
    let database = configured(config, name)?;
    check_file_exists(database)?;
    administer(async |interruption| {
        let mut connection = open_admin(name, database, &interruption).await?;
        let (statements, skipped) = plan(&mut *connection, tasks).await?;
        for sql in statements {
            let start = Instant::now();
            let ran = connection.run(&sql).await.and_then(|rows| check(&sql, &rows));
            interruption.check()?;
            let took = start.elapsed();
            let (remark, error) = ran.map_or_else(|error| (None, Some(error)), |it| (it, None));
            report(MaintenanceStep { sql, took, error, remark });
        }
        Ok(skipped)
    })
}

/// The statements to run, and the tables that belong to others.
async fn plan(
    connection: &mut dyn AdminConnection,
    tasks: MaintenanceTasks,
) -> Result<(Vec<String>, Vec<String>)> {
    let MaintenanceTasks { vacuum, analyze, reindex } = tasks;
    let is_default = !(vacuum || analyze || reindex);
    let tasks = MaintenanceTasks { analyze: analyze || is_default, ..tasks };
    Ok(match connection.dialect() {
        Dialect::Sqlite => (sqlite_statements(tasks), Vec::new()),
        Dialect::Mysql => {
            let tables = connection.run(MYSQL_TABLES).await?;
            if tables.iter().any(|row| text(row, 1) == "SYSTEM VERSIONED") {
                connection.run(KEEP_HISTORY).await?;
            }
            (mysql_statements(&tables, tasks), Vec::new())
        }
        Dialect::Postgres => {
            let tables = connection.run(POSTGRES_TABLES).await?;
            let (own, others): (Vec<_>, Vec<_>) =
                tables.into_iter().partition(|row| text(row, 2).starts_with('t'));
            let others = others.iter().map(|row| text(row, 0).to_owned()).collect();
            (postgres_statements(&own, tasks), others)
        }
    })
}

fn sqlite_statements(tasks: MaintenanceTasks) -> Vec<String> {
    let all = [
        (tasks.reindex, "REINDEX"),
        (tasks.vacuum, "VACUUM"),
        (tasks.analyze, "ANALYZE"),
        // The file that VACUUM has written is in the log.
        (tasks.vacuum, CHECKPOINT),
    ];
    all.iter().filter(|(is_wanted, _)| *is_wanted).map(|(_, sql)| (*sql).to_owned()).collect()
}

/// OPTIMIZE builds a table of InnoDB with its indexes anew, and its statistics.
fn mysql_statements(tables: &AdminRows, tasks: MaintenanceTasks) -> Vec<String> {
    let command = if tasks.vacuum || tasks.reindex { "OPTIMIZE" } else { "ANALYZE" };
    let quoted = |row: &Vec<Option<String>>| text(row, 0).replace('`', "``");
    tables.iter().map(|row| format!("{command} TABLE `{}`", quoted(row))).collect()
}

fn postgres_statements(tables: &AdminRows, tasks: MaintenanceTasks) -> Vec<String> {
    let mut statements = Vec::new();
    let has_storage = |row: &&Vec<Option<String>>| text(row, 1) != "p";
    if tasks.reindex {
        // Callers write meanwhile.
        let reindex = |row: &Vec<_>| format!("REINDEX TABLE CONCURRENTLY {}", text(row, 0));
        statements.extend(tables.iter().filter(has_storage).map(reindex));
    }
    for row in tables {
        let table = text(row, 0);
        let vacuums = tasks.vacuum && has_storage(&row);
        statements.extend(match (vacuums, tasks.analyze) {
            (true, true) => Some(format!("VACUUM (ANALYZE) {table}")),
            (true, false) => Some(format!("VACUUM {table}")),
            (false, true) => Some(format!("ANALYZE {table}")),
            (false, false) => None,
        });
    }
    statements
}

/// Checks the rows in which a failure is told: MySQL's, and those of SQLite's checkpoint, whose first value is 1 if it gave up.
/// Returns MySQL's remark if it tells no status: then the table's engine has nothing that could be done.
fn check(sql: &str, rows: &AdminRows) -> Result<Option<String>> {
    if sql == CHECKPOINT && rows.first().is_some_and(|row| text(row, 0) == "1") {
        let message =
            "the log could not be emptied into the file: another connection reads or writes";
        return Err(Error::new(ErrorKind::FailedPrecondition, message).with_hint(
            "The server does it by itself, or run this again when the database is quiet.",
        ));
    }
    let failed = rows.iter().find(|row| text(row, 2).eq_ignore_ascii_case("error"));
    if let Some(row) = failed {
        return Err(Error::new(ErrorKind::FailedPrecondition, text(row, 3).to_owned()));
    }
    let of = |kinds: &[&str]| {
        rows.iter().find(|row| kinds.iter().any(|kind| text(row, 2).eq_ignore_ascii_case(kind)))
    };
    let remark = of(&["note", "warning"]).filter(|_| of(&["status"]).is_none());
    Ok(remark.map(|row| text(row, 3).to_owned()))
}

fn text(row: &[Option<String>], index: usize) -> &str {
    row.get(index).and_then(Option::as_deref).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[&str]) -> Vec<Option<String>> {
        values.iter().map(|value| Some((*value).to_owned())).collect()
    }

    const ALL: MaintenanceTasks = MaintenanceTasks { vacuum: true, analyze: true, reindex: true };

    #[test]
    fn each_table_gets_what_it_can_have() {
        let tables = vec![row(&["public.parts", "p", "t"]), row(&["public.\"T\"", "r", "t"])];
        let expected = [
            "REINDEX TABLE CONCURRENTLY public.\"T\"",
            "ANALYZE public.parts",
            "VACUUM (ANALYZE) public.\"T\"",
        ];
        assert_eq!(postgres_statements(&tables, ALL), expected);
        let vacuum = MaintenanceTasks { vacuum: true, ..MaintenanceTasks::default() };
        assert_eq!(postgres_statements(&tables, vacuum), ["VACUUM public.\"T\""]);
        assert_eq!(mysql_statements(&vec![row(&["a`b"])], ALL), ["OPTIMIZE TABLE `a``b`"]);
        assert_eq!(sqlite_statements(vacuum), ["VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"]);
    }

    #[test]
    fn a_row_of_an_error_is_a_failure() {
        let note = row(&["shop.t", "optimize", "note", "doing recreate + analyze instead"]);
        let status = row(&["shop.t", "optimize", "status", "OK"]);
        assert_eq!(check("", &vec![note.clone(), status]).expect("it is done"), None);
        let none =
            row(&["shop.t", "optimize", "note", "The storage engine doesn't support optimize"]);
        let remark = check("", &vec![none]).expect("it is no failure");
        assert_eq!(remark.as_deref(), Some("The storage engine doesn't support optimize"));
        let error = row(&["shop.t", "optimize", "Error", "Table 'shop.t' doesn't exist"]);
        let failed = check("", &vec![note, error]).expect_err("it failed");
        assert_eq!(failed.message(), "Table 'shop.t' doesn't exist");
        let busy = |value| check(CHECKPOINT, &vec![row(&[value, "12", "3"])]);
        assert!(busy("0").is_ok());
        assert!(busy("1").is_err());
    }
}
