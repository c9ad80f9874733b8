//! Drops everything in a database, so that its migrations run anew.
//!
//! The database itself stays, and so does SQLite's file: other processes may have it open, and would go on with a file that
//! is deleted, or with sessions whose database is gone.

use crate::backend::AdminConnection;
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::sql::Dialect;

/// Drops the schemas that the role may drop, and its objects in no schema, all or none, and creates `public` and the schema of the ledger anew.
const DESTROY_POSTGRES: &str = include_str!("destroy.sql");

/// The schemas, and the objects in none, that the role may not drop. A subscription is dropped by nobody here: that asks its
/// publisher, and cannot be undone.
const LEFT_POSTGRES: &str = "SELECT name FROM (\
    SELECT 1, nspname::text FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' \
        AND NOT pg_catalog.pg_has_role(nspowner, 'USAGE') \
    UNION ALL SELECT 2, 'publication ' || pubname FROM pg_catalog.pg_publication \
    UNION ALL SELECT 3, 'subscription ' || subname FROM pg_catalog.pg_subscription \
        WHERE subdbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) \
    UNION ALL SELECT 4, 'foreign server ' || srvname FROM pg_catalog.pg_foreign_server \
    UNION ALL SELECT 5, 'event trigger ' || evtname FROM pg_catalog.pg_event_trigger \
    UNION ALL SELECT 6, 'foreign-data wrapper ' || fdwname FROM pg_catalog.pg_foreign_data_wrapper \
        WHERE oid NOT IN (SELECT objid FROM pg_catalog.pg_depend WHERE deptype = 'e') \
    UNION ALL SELECT 7, 'language ' || lanname FROM pg_catalog.pg_language \
        WHERE oid >= 16384 AND oid NOT IN (SELECT objid FROM pg_catalog.pg_depend WHERE deptype = 'e') \
    UNION ALL SELECT 8, 'cast from ' || pg_catalog.format_type(castsource, NULL) || ' to ' || pg_catalog.format_type(casttarget, NULL) \
        FROM pg_catalog.pg_cast \
        WHERE oid >= 16384 AND oid NOT IN (SELECT objid FROM pg_catalog.pg_depend WHERE deptype IN ('e', 'i')) \
    UNION ALL SELECT 9, pg_catalog.count(*) || ' large objects' FROM pg_catalog.pg_largeobject_metadata \
        HAVING pg_catalog.count(*) > 0) AS objects (kind, name) ORDER BY kind, name";

/// Tells the statements that drop all objects, those first that others do not depend on: routines and events may call each other,
/// and triggers go with their tables.
const DROPS_MYSQL: &str = "SELECT CONCAT('DROP VIEW `', REPLACE(table_name, '`', '``'), '`') FROM information_schema.views \
        WHERE table_schema = DATABASE() \
    UNION ALL SELECT CONCAT('DROP ', IF(table_type = 'SEQUENCE', 'SEQUENCE', 'TABLE'), ' `', REPLACE(table_name, '`', '``'), '`') \
        FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type NOT IN ('VIEW', 'SYSTEM VIEW') \
    UNION ALL SELECT CONCAT('DROP ', routine_type, ' `', REPLACE(routine_name, '`', '``'), '`') \
        FROM information_schema.routines WHERE routine_schema = DATABASE() AND routine_type IN ('FUNCTION', 'PROCEDURE') \
    UNION ALL SELECT CONCAT('DROP EVENT `', REPLACE(event_name, '`', '``'), '`') \
        FROM information_schema.events WHERE event_schema = DATABASE()";

/// Tells the statements that drop all objects; indexes and triggers go with their tables, and shadow tables with the virtual
/// ones that they are behind.
const DROPS_SQLITE: &str = "SELECT 'DROP ' || type || ' main.\"' || replace(name, '\"', '\"\"') || '\"' FROM main.sqlite_schema \
    WHERE type IN ('view', 'table') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
    AND name NOT IN (SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'shadow') \
    ORDER BY type = 'table', sql LIKE 'create virtual%' DESC";

/// Drops everything that the login may drop; returns the names of what is left.
///
/// # Errors
/// It says what is dropped.
pub(crate) async fn destroy(connection: &mut dyn AdminConnection) -> Result<Vec<String>> {
    let dialect = connection.dialect();
    let mut dropped = 0;
    let all = drop_all(connection, &mut dropped).await;
    all.map_err(|error| amid_destruction(error, dialect, dropped))?;
    if dialect != Dialect::Postgres {
        return Ok(Vec::new());
    }
    let left = connection.run(LEFT_POSTGRES).await;
    left.map(first_values)
        .map_err(|error| error.with_hint("Everything is dropped: run `rowgate migrate up`."))
}

/// Says of an interruption that nothing is dropped yet.
pub(crate) fn before_destruction(error: Error) -> Error {
    let is_interruption = error.kind() == ErrorKind::Cancelled;
    if is_interruption { error.with_hint("Nothing is dropped.") } else { error }
}

/// Says of an error how much may be dropped.
fn amid_destruction(error: Error, dialect: Dialect, dropped: usize) -> Error {
    let state = match (dialect, error.outcome()) {
        (Dialect::Mysql, _) if dropped == 0 => {
            "Nothing is dropped, or the first object alone: run `rowgate reset` again.".to_owned()
        }
        (Dialect::Mysql, _) => {
            let objects = if dropped == 1 { "object is" } else { "objects are" };
            format!("{dropped} {objects} dropped, and others not: run `rowgate reset` again.")
        }
        (Dialect::Postgres | Dialect::Sqlite, Outcome::NotApplied) => {
            "Nothing is dropped.".to_owned()
        }
        (Dialect::Postgres | Dialect::Sqlite, Outcome::Applied | Outcome::Unknown) => {
            "Everything may be dropped, or nothing: look at the database.".to_owned()
        }
    };
    let hint = error.hint().map_or_else(|| state.clone(), |hint| format!("{state} {hint}"));
    error.with_hint(hint)
}

/// Drops all; counts what was dropped by itself.
async fn drop_all(connection: &mut dyn AdminConnection, dropped: &mut usize) -> Result<()> {
    match connection.dialect() {
        Dialect::Postgres => connection.run(DESTROY_POSTGRES).await.map(drop),
        Dialect::Mysql => {
            connection.run("SET foreign_key_checks = 0").await?;
            let drops = first_values(connection.run(DROPS_MYSQL).await?);
            let total = drops.len();
            for drop in drops {
                connection.run(&drop).await.map_err(|error| {
                    let message =
                        format!("{drop}, number {} of {total}: {}", *dropped + 1, error.message());
                    error.with_message(message)
                })?;
                *dropped += 1;
            }
            connection.run("SET foreign_key_checks = 1").await.map(drop)
        }
        Dialect::Sqlite => {
            connection.run("PRAGMA foreign_keys = OFF").await?;
            connection.run("BEGIN IMMEDIATE").await?;
            for drop in first_values(connection.run(DROPS_SQLITE).await?) {
                connection.run(&drop).await?;
            }
            connection.run("PRAGMA user_version = 0").await?;
            // The connection is closed behind it: its setting goes with it.
            connection.run("COMMIT").await.map(drop)
        }
    }
}

fn first_values(rows: Vec<Vec<Option<String>>>) -> Vec<String> {
    rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interruption_says_what_is_dropped() {
        let told = |dialect, outcome| {
            let error = Error::new(ErrorKind::Cancelled, "interrupted").with_outcome(outcome);
            amid_destruction(error, dialect, 2).hint().unwrap_or_default().to_owned()
        };
        for dialect in [Dialect::Postgres, Dialect::Sqlite] {
            assert_eq!(told(dialect, Outcome::NotApplied), "Nothing is dropped.");
            assert!(told(dialect, Outcome::Unknown).starts_with("Everything may be dropped"));
        }
        // Each of its definitions commits by itself.
        assert!(told(Dialect::Mysql, Outcome::NotApplied).starts_with("2 objects are dropped"));
        let other = Error::new(ErrorKind::LockNotAvailable, "timeout").with_hint("Wait.");
        let hint = "1 object is dropped, and others not: run `rowgate reset` again. Wait.";
        assert_eq!(amid_destruction(other, Dialect::Mysql, 1).hint(), Some(hint));
    }
}
