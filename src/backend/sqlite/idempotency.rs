//! Idempotency keys: a row in the same transaction as the work.
//!
//! The row is the first change of a unit and its response the last before the commit, so key, work and
//! response are applied together or not at all. The table is made when it is first needed: this is the
//! database that needs nothing installed.

use std::time::Duration;

use rusqlite::limits::Limit;
use rusqlite::{Connection, OptionalExtension, params};

use super::error::{Step, UNDEFINED_TABLE};
use super::row_channel::RowSender;
use super::session::Session;
use crate::backend::idempotency::{Claimed, stored};
use crate::backend::sqlite::session::authorizer::Phase;
use crate::backend::{IdempotencyKey, TransactionOutcome};
use crate::error::Result;
use crate::value::proto::ResultSet;

/// Rows deleted at once: the writer serves nobody else for so long.
const EXPIRED_AT_ONCE: u32 = 1000;

/// The statements that work on the table of keys. Times are seconds since 1970.
#[derive(Debug)]
pub(crate) struct KeyTable {
    create: String,
    claim: String,
    read: String,
    store: String,
    state: String,
    any_expired: String,
    expire: String,
    retention: i64,
}

impl KeyTable {
    /// The configured name is one identifier here, a point in it a part of the name: what is a schema to
    /// PostgreSQL would be another file to SQLite.
    pub(crate) fn new(table: &str, retention: Duration) -> Self {
        let quote = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let (index, table) = (quote(&format!("{table}_expires_at")), quote(table));
        let row = "caller = ?1 AND \"key\" = ?2";
        let expired = "expires_at <= unixepoch()";
        Self {
            // The response is last: what stands behind a large value is read through it.
            create: format!(
                "CREATE TABLE IF NOT EXISTS {table} (caller TEXT NOT NULL, \"key\" TEXT NOT NULL, \
                 request_hash BLOB NOT NULL, created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, \
                 response BLOB, PRIMARY KEY (caller, \"key\")); \
                 CREATE INDEX IF NOT EXISTS {index} ON {table} (expires_at)"
            ),
            // Changes one row, or none where the key is another unit's.
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

impl Session {
    /// Claims a key in the open transaction; returns the row of the unit that has it.
    ///
    /// # Errors
    /// When the table of that name is no table of keys.
    pub(crate) fn claim(&self, key: &IdempotencyKey) -> Result<Option<Claimed>> {
        let keys = &self.spec.keys;
        let claim = |connection: &Connection| {
            let values = params![key.caller, key.key, key.request_hash.as_slice(), keys.retention];
            connection.prepare_cached(&keys.claim)?.execute(values)
        };
        let changed = match self.on_keys(&keys.claim, claim) {
            Err(error) if error.reason() == UNDEFINED_TABLE => {
                self.on_keys(&keys.create, |connection| connection.execute_batch(&keys.create))?;
                self.on_keys(&keys.claim, claim)?
            }
            changed => changed?,
        };
        if changed > 0 {
            return Ok(None);
        }
        let read = |connection: &Connection| {
            let mut statement = connection.prepare_cached(&keys.read)?;
            statement.query_row(params![key.caller, key.key], |row| {
                let (request_hash, response) = (row.get(0)?, row.get(1)?);
                Ok(Claimed { request_hash, response, expired: false })
            })
        };
        self.on_keys(&keys.read, read).map(Some)
    }

    /// Stores the results of a unit under its key.
    ///
    /// # Errors
    /// When SQLite cannot.
    pub(crate) fn store(&self, key: &IdempotencyKey, results: &[ResultSet]) -> Result<()> {
        let sql = &self.spec.keys.store;
        let response = stored(results);
        let store = |connection: &Connection| {
            connection.prepare_cached(sql)?.execute(params![key.caller, key.key, response])
        };
        self.on_keys(sql, store).map(drop)
    }

    /// What became of the unit under a key.
    ///
    /// # Errors
    /// Why the database does not say.
    pub(crate) fn state(&self, caller: &str, key: &str) -> Result<TransactionOutcome> {
        let applied = self.finds(&self.spec.keys.state, &[caller, key])?;
        Ok(if applied { TransactionOutcome::Applied } else { TransactionOutcome::NotApplied })
    }

    /// Deletes keys that have expired; returns how many.
    ///
    /// # Errors
    /// Why it could not.
    pub(crate) fn expire(&self, outlet: &RowSender<u64>) -> Result<u64> {
        // Mostly there are none, and nobody has to wait.
        if !self.finds(&self.spec.keys.any_expired, &[])? {
            return Ok(0);
        }
        let sql = &self.spec.keys.expire;
        self.begin()?;
        let expire = |connection: &Connection| connection.prepare_cached(sql)?.execute([]);
        let deleted = self.on_keys(sql, expire)?;
        self.commit(outlet)?;
        Ok(u64::try_from(deleted).unwrap_or(u64::MAX))
    }

    /// Whether a query finds a row; it finds none where there is no table of keys.
    fn finds(&self, sql: &str, values: &[&str]) -> Result<bool> {
        let find = |connection: &Connection| {
            let mut statement = connection.prepare_cached(sql)?;
            statement.query_row(rusqlite::params_from_iter(values), |_row| Ok(())).optional()
        };
        match self.on_keys(sql, find) {
            Err(error) if error.reason() == UNDEFINED_TABLE => Ok(false),
            found => Ok(found?.is_some()),
        }
    }

    /// Works on the table of keys: a response may be larger than the largest row of a caller's, as it
    /// holds several.
    fn on_keys<T>(
        &self,
        sql: &str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T> {
        self.guard.enter(Phase::Own);
        let worked =
            self.connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, i32::MAX).and_then(|usual| {
                let worked = work(&self.connection);
                self.connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, usual)?;
                worked
            });
        self.guard.enter(Phase::Compile);
        worked.map_err(|error| self.failed(error, sql, Step::Write))
    }
}
