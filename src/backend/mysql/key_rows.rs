//! The SQL of the table of idempotency keys, which also has the marks of commits.

use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::backend::IdempotencyKey;
use crate::sql::MysqlText;
use crate::value::Value;

/// The number of rows that are deleted at once.
const EXPIRED_AT_ONCE: u32 = 5000;

/// The statements that work on the table of keys.
#[derive(Debug)]
pub(crate) struct KeyRows {
    table: String,
    /// Takes the row of a key, or fails if it is taken.
    pub(crate) claim: MysqlText,
    /// Stores the response in the row.
    pub(crate) store: MysqlText,
    /// Reads the hash, the response, and if the row has expired.
    pub(crate) read: MysqlText,
    /// Deletes the row if it has expired.
    pub(crate) forget: MysqlText,
    pub(crate) expire: String,
    pub(crate) retention: Duration,
}

impl KeyRows {
    /// The table of a configured name, with or without a schema.
    pub(crate) fn new(name: &str, retention: Duration) -> Self {
        let parts = name.split('.').map(|part| format!("`{}`", part.replace('`', "``")));
        let table = parts.collect::<Vec<_>>().join(".");
        let seconds = retention.as_secs();
        let text = |sql: String| {
            let parameters = sql.matches('?').count();
            MysqlText { sql, order: (1..).take(parameters).collect() }
        };
        Self {
            claim: text(format!(
                "INSERT INTO {table} (id, caller, `key`, request_hash, created_at, expires_at) \
                 VALUES (?, ?, ?, ?, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6) + INTERVAL {seconds} SECOND)"
            )),
            store: text(format!("UPDATE {table} SET response = ? WHERE id = ?")),
            read: text(format!(
                "SELECT request_hash, response, expires_at < UTC_TIMESTAMP(6) FROM {table} WHERE id = ?"
            )),
            forget: text(format!(
                "DELETE FROM {table} WHERE id = ? AND expires_at < UTC_TIMESTAMP(6)"
            )),
            expire: format!(
                "DELETE FROM {table} WHERE expires_at < UTC_TIMESTAMP(6) LIMIT {EXPIRED_AT_ONCE}"
            ),
            table,
            retention,
        }
    }

    /// The values of [`KeyRows::claim`].
    pub(crate) fn claim_values(key: &IdempotencyKey) -> [Value; 4] {
        let IdempotencyKey { caller, key, request_hash } = key;
        [
            Value::bytes(key_id(caller, key)),
            Value::bytes(caller.as_bytes()),
            Value::bytes(key.as_bytes()),
            Value::bytes(request_hash.to_vec()),
        ]
    }

    /// The values of the mark of a commit, in a row of its own.
    pub(crate) fn mark_values(mark: &[u8; 32]) -> [Value; 4] {
        let none = Value::bytes(Vec::new());
        [Value::bytes(mark.to_vec()), none.clone(), none, Value::bytes([0; 32].to_vec())]
    }

    /// A query of the row with this mark; it needs no parameters.
    pub(crate) fn mark_query(&self, mark: &[u8; 32]) -> String {
        let digits: String = mark.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("SELECT 1 FROM {} WHERE id = 0x{digits}", self.table)
    }

    /// The DDL that creates the table.
    pub(crate) fn create(&self) -> String {
        let table = &self.table;
        format!(
            "\
-- Idempotency keys of Rowgate, and marks of commits. A row is written in the transaction of the call that it belongs to.
-- The user that Rowgate connects as needs SELECT, INSERT, UPDATE and DELETE on the table.
CREATE TABLE IF NOT EXISTS {table} (
    -- SHA-256 of caller and key, so that waiting for one key blocks no other
    id           BINARY(32)     NOT NULL PRIMARY KEY,
    -- who sent the key; empty: nobody authenticated
    caller       VARBINARY(512) NOT NULL,
    -- the key, as the caller chose it; empty in the mark of a commit
    `key`        VARBINARY(128) NOT NULL,
    -- SHA-256 of the request: the key is for it alone
    request_hash BINARY(32)     NOT NULL,
    -- what a repetition is answered; null: nothing
    response     LONGBLOB,
    -- when the call ran
    created_at   DATETIME(6)    NOT NULL,
    -- when Rowgate may delete the row
    expires_at   DATETIME(6)    NOT NULL,
    INDEX expires_at (expires_at)
) ENGINE = InnoDB;
"
        )
    }

    pub(crate) fn table(&self) -> &str {
        &self.table
    }

    /// The name of the table, without its schema and without quotes.
    pub(crate) fn unquoted_name(&self) -> &str {
        self.table.rsplit('.').next().unwrap_or_default().trim_matches('`')
    }
}

/// The number of a key's row.
pub(crate) fn key_id(caller: &str, key: &str) -> Vec<u8> {
    let mut hash = Sha256::new();
    hash.update(caller.as_bytes());
    hash.update([0]);
    hash.update(key.as_bytes());
    hash.finalize().to_vec()
}
