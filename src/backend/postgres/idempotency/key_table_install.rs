//! Makes the table of idempotency keys.

use super::key_table::KeyTable;
use crate::backend::Installed;
use crate::backend::postgres::session::Session;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};

/// Two who create a table at the same moment get an error in spite of IF NOT EXISTS. The number is the
/// word `rowgate` in ASCII.
const ONE_AT_A_TIME: &str = "SELECT pg_catalog.pg_advisory_xact_lock(32210705971246181)";

/// Of the table's name in the index's, in bytes: of a name over 63 PostgreSQL would cut the end off, which
/// tells them apart.
const NAME_IN_INDEX: usize = 52;

impl KeyTable {
    /// The table, with what its columns are for.
    pub(crate) fn create(&self) -> String {
        let table = &self.table;
        let bare = table.rsplit("\".\"").next().unwrap_or(table).replace('"', "");
        let stem = &bare[..bare.floor_char_boundary(NAME_IN_INDEX)];
        format!(
            "\
-- Idempotency keys of Rowgate. A row is written in the transaction of the call that it belongs to.
-- The role that Rowgate connects as needs SELECT, INSERT, UPDATE and DELETE on the table.
CREATE TABLE IF NOT EXISTS {table} (
    caller       text        NOT NULL,                -- who sent the key; empty: nobody authenticated
    key          text        NOT NULL,                -- the key, as the caller chose it
    request_hash bytea       NOT NULL,                -- SHA-256 of the request: the key is for it alone
    response     bytea,                               -- what a repetition is answered; null: nothing
    created_at   timestamptz NOT NULL DEFAULT now(),  -- when the call ran
    expires_at   timestamptz NOT NULL,                -- when Rowgate may delete the row
    PRIMARY KEY (caller, key)
);
CREATE INDEX IF NOT EXISTS \"{stem}_expires_at\" ON {table} (expires_at);
"
        )
    }

    /// One value: the schema where there is something of the table's name.
    pub(crate) fn place(&self) -> String {
        format!(
            "SELECT s.nspname FROM pg_catalog.pg_class AS t \
             JOIN pg_catalog.pg_namespace AS s ON s.oid = t.relnamespace \
             WHERE t.oid = pg_catalog.to_regclass('{}')",
            self.table.replace('\'', "''")
        )
    }
}

impl Session {
    /// Makes the table of keys unless it is there, and checks that it can hold keys.
    pub(crate) async fn install_keys(mut self, deadline: Deadline) -> Result<Installed> {
        let shared = std::sync::Arc::clone(self.shared());
        let keys = &shared.keys;
        let existed = self.value(deadline, &keys.place()).await?.is_some();
        if !existed {
            // One script is one transaction.
            self.run(deadline, &format!("{ONE_AT_A_TIME};\n{}", keys.create())).await?;
        }
        let keys = self.keys(deadline).await?;
        for sql in [&keys.claim, &keys.store, &keys.read, &keys.forget, &keys.expire] {
            self.prepare(deadline, sql).await.map_err(|error| unfit(&keys, error))?;
        }
        Ok(if existed { Installed::Existed } else { Installed::Created })
    }
}

fn unfit(keys: &KeyTable, error: Error) -> Error {
    if error.report().is_none() {
        return error;
    }
    let message = format!("the relation {} cannot hold idempotency keys: {error}", keys.table);
    Error::new(ErrorKind::FailedPrecondition, message)
        .with_hint("Give it the columns that --print shows, or name another in idempotency.table.")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
    fn the_tables_name_is_asked_for_as_text() {
        let keys = KeyTable::new("it's", Duration::from_secs(60));
        assert!(keys.place().ends_with("to_regclass('\"it''s\"')"), "{}", keys.place());
    }
}
