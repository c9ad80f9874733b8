//! Drops everything in a database, so that its migrations run anew.
//!
//! The database itself stays, and so does SQLite's file: other processes may have it open, and would go on with a file that
//! is deleted, or with sessions whose database is gone.

use crate::backend::AdminConnection;
use crate::error::Result;
use crate::sql::Dialect;

/// Drops the schemas that the role may drop, all or none, and creates `public` and the schema of the ledger anew.
const DESTROY_POSTGRES: &str = include_str!("destroy.sql");

/// The schemas that the role may not drop.
const LEFT_POSTGRES: &str = "SELECT nspname FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' \
    AND NOT pg_catalog.pg_has_role(nspowner, 'USAGE') ORDER BY nspname";

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

/// Drops everything that the login may drop; returns the schemas that it may not.
pub(crate) async fn destroy(connection: &mut dyn AdminConnection) -> Result<Vec<String>> {
    match connection.dialect() {
        Dialect::Postgres => {
            connection.run(DESTROY_POSTGRES).await?;
            Ok(first_values(connection.run(LEFT_POSTGRES).await?))
        }
        Dialect::Mysql => {
            connection.run("SET foreign_key_checks = 0").await?;
            for drop in first_values(connection.run(DROPS_MYSQL).await?) {
                connection.run(&drop).await?;
            }
            connection.run("SET foreign_key_checks = 1").await?;
            Ok(Vec::new())
        }
        Dialect::Sqlite => {
            connection.run("PRAGMA foreign_keys = OFF").await?;
            connection.run("BEGIN IMMEDIATE").await?;
            for drop in first_values(connection.run(DROPS_SQLITE).await?) {
                connection.run(&drop).await?;
            }
            connection.run("PRAGMA user_version = 0").await?;
            connection.run("COMMIT").await?;
            connection.run("PRAGMA foreign_keys = ON").await?;
            Ok(Vec::new())
        }
    }
}

fn first_values(rows: Vec<Vec<Option<String>>>) -> Vec<String> {
    rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect()
}
