//! The SQL of the table of idempotency keys.

use std::time::Duration;

use crate::backend::IdempotencyKey;
use crate::backend::idempotency::quoted;
use crate::sql::Analysis;
use crate::value::Value;

/// The number of rows that are deleted at once.
const EXPIRED_AT_ONCE: u32 = 5000;

/// The part of the table's name that the index's name has, in bytes: PostgreSQL would cut off the end of
/// a name over 63 bytes, which tells them apart.
const NAME_IN_INDEX: usize = 52;

/// The statements that work on the table of keys.
#[derive(Debug)]
pub(crate) struct KeyTable {
    pub(crate) table: String,
    pub(crate) claim: String,
    pub(crate) store: String,
    pub(crate) read: String,
    pub(crate) forget: String,
    pub(crate) expire: String,
    /// A change of the table, by the names in it.
    pub(crate) change: Analysis,
    retention: Duration,
}

impl KeyTable {
    /// The table of a configured name, with or without a schema.
    pub(crate) fn new(name: &str, retention: Duration) -> Self {
        Self::with_quoted_name(quoted(name), retention)
    }

    fn with_quoted_name(table: String, retention: Duration) -> Self {
        let row = "where caller operator(pg_catalog.=) $1 and key operator(pg_catalog.=) $2";
        let expired = "expires_at operator(pg_catalog.<) pg_catalog.now()";
        Self {
            claim: format!(
                "insert into {table} (caller, key, request_hash, expires_at) \
                 values ($1, $2, $3, \
                 pg_catalog.now() operator(pg_catalog.+) pg_catalog.make_interval(secs => $4))"
            ),
            // It runs behind statements of the caller's, and fails unless the row is there.
            store: format!(
                "with stored as (update {table} set response = $3 {row} returning 1) \
                 select 1 operator(pg_catalog./) pg_catalog.count(*) from stored"
            ),
            read: format!("select request_hash, response, {expired} from {table} {row}"),
            forget: format!("delete from {table} {row} and {expired}"),
            expire: format!(
                "with expired as (delete from {table} where ctid operator(pg_catalog.=) any \
                 (array(select ctid from {table} where {expired} limit {EXPIRED_AT_ONCE} \
                 for update skip locked)) returning 1) select pg_catalog.count(*) from expired"
            ),
            change: Analysis::of_change(table.clone()),
            table,
            retention,
        }
    }

    pub(crate) fn in_schema(&self, schema: &str) -> Self {
        let bare = self.table.rsplit("\".\"").next().unwrap_or_default().trim_matches('"');
        let schema = schema.replace('"', "\"\"");
        Self::with_quoted_name(format!("\"{schema}\".\"{bare}\""), self.retention)
    }

    pub(crate) fn claim_values(&self, key: &IdempotencyKey) -> [Value; 4] {
        let [caller, name] = key_values(&key.caller, &key.key);
        let hash = Value::bytes(key.request_hash.to_vec());
        [caller, name, hash, Value::float64(self.retention.as_secs_f64())]
    }

    /// The DDL that creates the table, with comments on its columns.
    pub(crate) fn create(&self) -> String {
        let table = &self.table;
        let bare = table.rsplit("\".\"").next().unwrap_or(table).replace('"', "");
        let stem = &bare[..bare.floor_char_boundary(NAME_IN_INDEX)];
        format!(
            "\
-- Idempotency keys of Rowgate. A row is written in the transaction of the call that it belongs to.
-- The role that Rowgate connects as needs SELECT, INSERT, UPDATE and DELETE on the table.
CREATE TABLE IF NOT EXISTS {table} (
    -- who sent the key; empty: nobody authenticated
    caller       pg_catalog.text        NOT NULL,
    -- the key, as the caller chose it
    key          pg_catalog.text        NOT NULL,
    -- SHA-256 of the request: the key is for it alone
    request_hash pg_catalog.bytea       NOT NULL,
    -- what a repetition is answered; null: nothing
    response     pg_catalog.bytea,
    -- when the call ran
    created_at   pg_catalog.timestamptz NOT NULL DEFAULT pg_catalog.now(),
    -- when Rowgate may delete the row
    expires_at   pg_catalog.timestamptz NOT NULL,
    PRIMARY KEY (caller, key)
);
CREATE INDEX IF NOT EXISTS \"{stem}_expires_at\" ON {table} (expires_at);
"
        )
    }

    /// A query of one value: the schema in which a relation of the table's name is found.
    pub(crate) fn schema_query(&self) -> String {
        format!(
            "SELECT s.nspname FROM pg_catalog.pg_class AS t \
             JOIN pg_catalog.pg_namespace AS s ON s.oid OPERATOR(pg_catalog.=) t.relnamespace \
             WHERE t.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass('{}')",
            self.table.replace('\'', "''")
        )
    }
}

/// The first two parameters of every statement on one key's row.
pub(crate) fn key_values(caller: &str, key: &str) -> [Value; 2] {
    [Value::text(caller), Value::text(key)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_named_after_the_table_and_never_cut() {
        let index = |table: &str| {
            let sql = KeyTable::new(table, Duration::from_secs(60)).create();
            let line = sql.lines().find(|line| line.starts_with("CREATE INDEX"));
            line.expect("there is one").to_owned()
        };
        let line = index("infra.keys");
        assert!(line.contains("\"keys_expires_at\" ON \"infra\".\"keys\" "), "{line}");
        let line = index(&"ü".repeat(31));
        assert!(line.contains(&format!("\"{}_expires_at\"", "ü".repeat(26))), "{line}");
    }

    #[test]
    fn the_name_of_the_table_is_quoted_as_text() {
        let sql = KeyTable::new("it's", Duration::from_secs(60)).schema_query();
        assert!(sql.ends_with("to_regclass('\"it''s\"')"), "{sql}");
    }
}
