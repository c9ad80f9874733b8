//! The ledger: the table of the files that ran, with the SQL of each dialect.

use super::migration_files::MigrationFile;
use crate::backend::{AdminConnection, AdminRows};
use crate::error::{Error, ErrorKind, Result};
use crate::sql::Dialect;

const TABLE: &str = "rowgate_migrations";

/// The ledger of a database.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    dialect: Dialect,
    /// Its name with its schema, so that a file which changes the search path or the database does not lose it.
    table: String,
}

/// A row of the ledger: a file that ran, or that began to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LedgerRow {
    pub(crate) version: i64,
    /// The name of the file.
    pub(crate) name: String,
    pub(crate) checksum: String,
    /// The text that ran.
    pub(crate) content: String,
    pub(crate) started_at: String,
    /// `None` while it runs, and where it was interrupted.
    pub(crate) finished_at: Option<String>,
    /// The statements that are known to be done.
    pub(crate) done: usize,
}

impl Ledger {
    /// The ledger in a schema.
    pub(crate) fn in_schema(dialect: Dialect, schema: &str) -> Self {
        let schema = match dialect {
            Dialect::Postgres | Dialect::Sqlite => format!("\"{}\"", schema.replace('"', "\"\"")),
            Dialect::Mysql => format!("`{}`", schema.replace('`', "``")),
        };
        Self { dialect, table: format!("{schema}.{TABLE}") }
    }

    /// Its table, with the schema.
    pub(crate) fn table(&self) -> &str {
        &self.table
    }

    /// The statement that creates the ledger.
    pub(crate) fn create(&self) -> String {
        let table = &self.table;
        match self.dialect {
            Dialect::Postgres => format!(
                "CREATE TABLE {table} (version bigint PRIMARY KEY, name text NOT NULL, checksum text NOT NULL, \
                 content text NOT NULL, started_at timestamptz NOT NULL, finished_at timestamptz, \
                 statements_done integer NOT NULL)"
            ),
            Dialect::Mysql => format!(
                "CREATE TABLE {table} (version BIGINT PRIMARY KEY, name VARCHAR(255) NOT NULL, \
                 checksum CHAR(64) NOT NULL, content LONGTEXT NOT NULL, started_at DATETIME(6) NOT NULL, \
                 finished_at DATETIME(6), statements_done INT NOT NULL) \
                 ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"
            ),
            Dialect::Sqlite => format!(
                "CREATE TABLE {table} (version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, \
                 content TEXT NOT NULL, started_at TEXT NOT NULL, finished_at TEXT, \
                 statements_done INTEGER NOT NULL)"
            ),
        }
    }

    /// Reads all rows, in the order of their versions.
    pub(crate) async fn rows(
        &self,
        connection: &mut dyn AdminConnection,
    ) -> Result<Vec<LedgerRow>> {
        let time = |column: &str| match self.dialect {
            Dialect::Postgres => format!(
                "pg_catalog.to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
            ),
            Dialect::Mysql => format!("DATE_FORMAT({column}, '%Y-%m-%dT%H:%i:%sZ')"),
            Dialect::Sqlite => format!("strftime('%Y-%m-%dT%H:%M:%SZ', {column})"),
        };
        let [started, finished] = [time("started_at"), time("finished_at")];
        let sql = format!(
            "SELECT version, name, checksum, content, {started}, {finished}, statements_done FROM {} ORDER BY version",
            self.table
        );
        let rows = connection.run(&sql).await.map_err(|error| {
            let table = &self.table;
            let hint = if error.kind() == ErrorKind::PermissionDenied {
                format!(
                    "The table {table} belongs to another role: connect as that one (admin_url)."
                )
            } else {
                format!("The table {table} is Rowgate's: nothing else may change it.")
            };
            error.with_hint(hint)
        })?;
        read(rows)
    }

    /// The statement that notes the start of a file.
    pub(crate) fn start(&self, file: &MigrationFile) -> String {
        let [name, text] = [&file.name, &file.text].map(|text| self.quoted(text));
        format!(
            "INSERT INTO {} (version, name, checksum, content, started_at, statements_done) \
             VALUES ({}, {name}, '{}', {text}, {}, 0)",
            self.table,
            file.version,
            file.checksum(),
            self.now()
        )
    }

    /// The query of the files that ran.
    pub(crate) fn finished(&self) -> String {
        format!(
            "SELECT version, name, checksum FROM {} WHERE finished_at IS NOT NULL ORDER BY version",
            self.table
        )
    }

    /// The query of a file's row.
    pub(crate) fn find_row(&self, version: i64) -> String {
        format!("SELECT version FROM {} WHERE version = {version}", self.table)
    }

    /// The statement that notes how many statements of a file are done.
    pub(crate) fn progress(&self, version: i64, done: usize) -> String {
        format!("UPDATE {} SET statements_done = {done} WHERE version = {version}", self.table)
    }

    /// The statement that notes the end of a file.
    pub(crate) fn finish(&self, version: i64, done: usize) -> String {
        format!(
            "UPDATE {} SET statements_done = {done}, finished_at = {} WHERE version = {version}",
            self.table,
            self.now()
        )
    }

    /// The statement that has a file run anew.
    pub(crate) fn forget(&self, version: i64) -> String {
        format!("DELETE FROM {} WHERE version = {version}", self.table)
    }

    /// The statement for a file that somebody has finished by hand.
    pub(crate) fn finish_by_hand(&self, version: i64) -> String {
        let now = self.now();
        format!("UPDATE {} SET finished_at = {now} WHERE version = {version}", self.table)
    }

    fn now(&self) -> &'static str {
        match self.dialect {
            Dialect::Postgres => "pg_catalog.clock_timestamp()",
            Dialect::Mysql => "UTC_TIMESTAMP(6)",
            Dialect::Sqlite => "strftime('%Y-%m-%d %H:%M:%f', 'now')",
        }
    }

    /// A text as SQL, in a session whose settings are the baseline's.
    fn quoted(&self, text: &str) -> String {
        let text = match self.dialect {
            Dialect::Postgres | Dialect::Sqlite => text.to_owned(),
            Dialect::Mysql => text.replace('\\', "\\\\"),
        };
        format!("'{}'", text.replace('\'', "''"))
    }
}

/// Reads the rows; one that cannot be read must not look like a file that never ran.
fn read(rows: AdminRows) -> Result<Vec<LedgerRow>> {
    let row = |values: Vec<Option<String>>| {
        let [version, name, checksum, content, started_at, finished_at, done] =
            <[Option<String>; 7]>::try_from(values).ok()?;
        Some(LedgerRow {
            version: version?.parse().ok()?,
            name: name?,
            checksum: checksum?,
            content: content?,
            started_at: started_at.unwrap_or_default(),
            finished_at,
            done: done?.parse().ok()?,
        })
    };
    let unreadable =
        || Error::new(ErrorKind::FailedPrecondition, format!("a row of {TABLE} cannot be read"));
    rows.into_iter().map(|values| row(values).ok_or_else(unreadable)).collect()
}
