//! The schema of a database as SQL to commit: sorted, and the same text for the same definitions.
//!
//! SQLite keeps the text of each definition, MySQL and MariaDB tell it with SHOW CREATE. PostgreSQL does neither: its own
//! `pg_dump` is the only program that writes all of its definitions, in every version.

mod mysql_schema;
mod pg_dump;
mod sqlite_schema;

pub(crate) use mysql_schema::mysql_schema;
pub(crate) use pg_dump::{PgDump, major};
pub(crate) use sqlite_schema::sqlite_schema;
