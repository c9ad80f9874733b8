//! The SQL of the table of idempotency keys.

use std::time::Duration;

/// Rows deleted at once: the writer serves no other call meanwhile.
const EXPIRED_AT_ONCE: u32 = 1000;

/// The statements on the table of idempotency keys. Times are seconds since 1970.
#[derive(Debug)]
pub(crate) struct KeyTable {
    pub(crate) create: String,
    pub(crate) claim: String,
    pub(crate) read: String,
    pub(crate) store: String,
    pub(crate) state: String,
    pub(crate) any_expired: String,
    pub(crate) expire: String,
    pub(crate) retention: i64,
}

impl KeyTable {
    /// Builds the statements. The configured name is one identifier here, a point in it a part of the name: a
    /// schema of PostgreSQL would be another file to SQLite.
    pub(crate) fn new(table: &str, retention: Duration) -> Self {
        let quote = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let index = quote(&format!("{table}_expires_at"));
        let table = quote(table);
        let row = "caller = ?1 AND \"key\" = ?2";
        let expired = "expires_at <= unixepoch()";
        Self {
            // The response is last: SQLite reads through a large value to reach a later column.
            create: format!(
                "CREATE TABLE IF NOT EXISTS {table} (caller TEXT NOT NULL, \"key\" TEXT NOT NULL, \
                 request_hash BLOB NOT NULL, created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, \
                 response BLOB, PRIMARY KEY (caller, \"key\")); \
                 CREATE INDEX IF NOT EXISTS {index} ON {table} (expires_at)"
            ),
            // Changes one row, or none where another batch has the key.
            claim: format!(
                "INSERT INTO {table} (caller, \"key\", request_hash, created_at, expires_at) \
                 VALUES (?1, ?2, ?3, unixepoch(), unixepoch() + ?4) ON CONFLICT (caller, \"key\") \
                 DO UPDATE SET request_hash = excluded.request_hash, response = NULL, \
                 created_at = excluded.created_at, expires_at = excluded.expires_at WHERE {expired}"
            ),
            read: format!("SELECT request_hash, response FROM {table} WHERE {row}"),
            store: format!("UPDATE {table} SET response = ?3 WHERE {row}"),
            state: format!("SELECT 1 FROM {table} WHERE {row} AND NOT {expired}"),
            any_expired: format!("SELECT 1 FROM {table} WHERE {expired} LIMIT 1"),
            expire: format!(
                "DELETE FROM {table} WHERE (caller, \"key\") IN \
                 (SELECT caller, \"key\" FROM {table} WHERE {expired} LIMIT {EXPIRED_AT_ONCE})"
            ),
            retention: i64::try_from(retention.as_secs()).unwrap_or(i64::MAX),
        }
    }
}
