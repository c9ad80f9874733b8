//! The schema of a database as SQL to commit: sorted, and the same text for the same definitions.
//!
//! SQLite keeps the text of each definition, MySQL and MariaDB tell it with SHOW CREATE. PostgreSQL does neither: its own
//! `pg_dump` is the only program that writes all of its definitions, in every version.

mod mysql_schema;
mod mysql_views;
mod pg_dump;
mod sequence_names;
mod sqlite_schema;

pub(crate) use mysql_schema::{MysqlSchema, mysql_schema};
pub(crate) use pg_dump::{PgDump, major};
pub(crate) use sequence_names::{places, without_database};
pub(crate) use sqlite_schema::sqlite_schema;
