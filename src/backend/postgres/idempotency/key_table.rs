//! Idempotency keys: a row in the same transaction as the work.
//!
//! The row is the first statement of the unit and its response the last before the commit, so key, work
//! and response are applied together or not at all. A second unit under the same key waits at the row of
//! the first, which is the lock.

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::error::SqlState;

use crate::backend::idempotency::{Claimed, in_progress, quoted, stored};
use crate::backend::postgres::codec;
use crate::backend::postgres::commit::COMMIT;
use crate::backend::postgres::commit::token::CURRENT;
use crate::backend::postgres::connection::Connection;
use crate::backend::postgres::connection::pipeline::{
    Answer, Failure, Pipeline, ResultQuota, Step, first_value,
};
use crate::backend::postgres::session::Session;
use crate::backend::{BatchResult, IdempotencyKey, TransactionOutcome};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::value::proto::ResultSet;
use crate::value::{Kind, Row, Value};

/// Rows deleted at once.
const EXPIRED_AT_ONCE: u32 = 5000;

/// The reason of calls with a key where there is no table for it.
const NOT_INSTALLED: &str = "IDEMPOTENCY_NOT_INSTALLED";

/// The statements that work on the table of keys.
#[derive(Debug)]
pub(crate) struct KeyTable {
    pub(crate) table: String,
    pub(crate) claim: String,
    pub(crate) store: String,
    pub(crate) read: String,
    pub(crate) forget: String,
    pub(crate) expire: String,
    retention: Duration,
}

impl KeyTable {
    /// `table` is a name as configured, with or without a schema.
    pub(crate) fn new(table: &str, retention: Duration) -> Self {
        Self::of(quoted(table), retention)
    }

    /// `table` is a name as in SQL.
    fn of(table: String, retention: Duration) -> Self {
        let row = "where caller = $1 and key = $2";
        Self {
            claim: format!(
                "insert into {table} (caller, key, request_hash, expires_at) \
                 values ($1, $2, $3, now() + make_interval(secs => $4))"
            ),
            // It runs behind statements of the caller's, whatever their search path, and fails unless the
            // row is there.
            store: format!(
                "with stored as (update {table} set response = $3 \
                 where caller operator(pg_catalog.=) $1 and key operator(pg_catalog.=) $2 returning 1) \
                 select 1 operator(pg_catalog./) pg_catalog.count(*) from stored"
            ),
            read: format!("select request_hash, response, expires_at < now() from {table} {row}"),
            forget: format!("delete from {table} {row} and expires_at < now()"),
            expire: format!(
                "with expired as (delete from {table} where ctid = any (array(select ctid from {table} \
                 where expires_at < now() limit {EXPIRED_AT_ONCE} for update skip locked)) returning 1) \
                 select count(*) from expired"
            ),
            table,
            retention,
        }
    }

    /// The same table in a schema.
    fn within(&self, schema: &str) -> Self {
        let bare = self.table.rsplit("\".\"").next().unwrap_or_default().trim_matches('"');
        let schema = schema.replace('"', "\"\"");
        Self::of(format!("\"{schema}\".\"{bare}\""), self.retention)
    }

    /// The values that claim a key.
    pub(crate) fn claiming(&self, key: &IdempotencyKey) -> Vec<Value> {
        let mut values = naming(&key.caller, &key.key);
        values.push(Value::bytes(key.request_hash.to_vec()));
        values.push(Value::float64(self.retention.as_secs_f64()));
        values
    }
}

/// The values that name a key's row.
pub(crate) fn naming(caller: &str, key: &str) -> Vec<Value> {
    vec![Value::text(caller), Value::text(key)]
}

impl Connection {
    /// The table of keys as its session found it first, whatever search path a caller sets later; `None`:
    /// there is none. Asked once, while the session is nobody's.
    pub(crate) async fn keys(
        &mut self,
        configured: &KeyTable,
    ) -> std::result::Result<Option<Arc<KeyTable>>, tokio_postgres::Error> {
        if let Some(keys) = &self.keys {
            return Ok(Some(Arc::clone(keys)));
        }
        let messages = self.client.simple_query(&configured.place()).await?;
        let Some(schema) = first_value(&messages) else { return Ok(None) };
        let keys = Arc::new(configured.within(&schema));
        Ok(Some(Arc::clone(self.keys.insert(keys))))
    }
}

impl Session {
    /// The table of keys.
    pub(crate) async fn keys(&mut self, deadline: Deadline) -> Result<Arc<KeyTable>> {
        let shared = Arc::clone(self.shared());
        let (connection, cancel) = self.begin(deadline)?;
        let answer = cancel.watch(deadline, connection.keys(&shared.keys)).await;
        self.settle(answer, "")?.ok_or_else(not_installed)
    }

    /// What an error of a statement on the table of keys means: one that is not there may be elsewhere.
    pub(crate) fn of_keys(&mut self, error: Error) -> Error {
        match error.report().map(|report| report.sqlstate.as_str()) {
            Some("42P01") => {
                self.connection().keys = None;
                not_installed()
            }
            Some(_) | None => error,
        }
    }

    /// Runs a statement of our own, in or outside a transaction.
    pub(crate) async fn execute(
        &mut self,
        deadline: Deadline,
        sql: &str,
        values: &[Value],
    ) -> Result<Vec<Row>> {
        let prepared = self.prepare(deadline, sql).await?;
        let parameters = codec::encode(values, prepared.statement.params())?;
        let room = ResultQuota::new(u64::MAX, u64::MAX);
        let steps = vec![Step::Statement(prepared, parameters)];
        let mut landing =
            self.send_pipeline(deadline, Pipeline { steps, room: &room, commits: false }).await?;
        match landing.next() {
            Some(Ok(Answer::Rows(rows))) => Ok(rows),
            Some(Ok(Answer::Script(_))) => Ok(Vec::new()),
            Some(Err(failure)) => Err(self.misfortune(failure, sql)),
            None => Err(self.deadline_passed()),
        }
    }

    /// The row under a key; `None` when there is none.
    pub(crate) async fn claimed(
        &mut self,
        (caller, key): (&str, &str),
        deadline: Deadline,
    ) -> Result<Option<Claimed>> {
        let keys = self.keys(deadline).await?;
        let rows = self.execute(deadline, &keys.read, &naming(caller, key)).await;
        let rows = rows.map_err(|error| self.of_keys(error))?;
        Ok(rows.into_iter().next().map(|row| {
            let mut values = row.values.into_iter().map(|value| value.kind);
            let mut bytes = || match values.next().flatten() {
                Some(Kind::BytesValue(bytes)) => Some(bytes),
                Some(_) | None => None,
            };
            let (request_hash, response) = (bytes().unwrap_or_default(), bytes());
            let expired = matches!(values.next().flatten(), Some(Kind::BoolValue(true)));
            Claimed { request_hash, response, expired }
        }))
    }

    /// Deletes rows that have expired, and returns one with their number; `None` without a table.
    pub(crate) async fn expire_keys(&mut self, deadline: Deadline) -> Result<Option<Vec<Row>>> {
        let keys = match self.keys(deadline).await {
            Err(error) if error.reason() == NOT_INSTALLED => return Ok(None),
            keys => keys?,
        };
        match self.execute(deadline, &keys.expire, &[]).await.map_err(|error| self.of_keys(error)) {
            Err(error) if error.reason() == NOT_INSTALLED => Ok(None),
            rows => rows.map(Some),
        }
    }

    /// Deletes the row under a key that has expired.
    pub(crate) async fn forget(&mut self, key: &IdempotencyKey, deadline: Deadline) -> Result<()> {
        let keys = self.keys(deadline).await?;
        self.execute(deadline, &keys.forget, &naming(&key.caller, &key.key)).await.map(drop)
    }
}

impl Session {
    /// What became of the unit under a key, so far.
    pub(crate) async fn state_of_key(
        &mut self,
        key: (&str, &str),
        deadline: Deadline,
    ) -> Result<TransactionOutcome> {
        match self.claimed(key, deadline).await? {
            Some(row) if !row.expired => return Ok(TransactionOutcome::Applied),
            Some(_) | None => {}
        }
        // What is not there yet may be on the primary.
        match self.value(deadline, "select pg_catalog.pg_is_in_recovery()").await?.as_deref() {
            Some("f") => Ok(TransactionOutcome::NotApplied),
            Some(_) | None => Err(self.shared().behind()),
        }
    }
}

/// What stands in the way of a claim.
pub(crate) enum Conflict {
    /// The unit was applied before, with these results.
    Replayed(BatchResult),
    /// Nothing any more.
    Gone,
}

impl Session {
    /// What follows from a claim that failed: its transaction is rolled back, and the row that was there
    /// before is read.
    pub(crate) async fn claim_failed(
        &mut self,
        error: Error,
        key: &IdempotencyKey,
        deadline: Deadline,
    ) -> Result<Conflict> {
        let Some(row) = self.standing(error, key, deadline).await? else {
            return Ok(Conflict::Gone);
        };
        row.replay(key).map(Conflict::Replayed)
    }

    /// The row that made a claim fail; `None` when it is gone, or had expired and is gone now.
    pub(crate) async fn standing(
        &mut self,
        error: Error,
        key: &IdempotencyKey,
        deadline: Deadline,
    ) -> Result<Option<Claimed>> {
        if error.kind() == ErrorKind::DeadlineExceeded {
            return Err(in_progress());
        }
        match error.report().map(|report| report.sqlstate.as_str()) {
            Some("55P03" | "57014") => return Err(in_progress()),
            Some("23505") => {}
            Some(_) | None => return Err(self.of_keys(error)),
        }
        self.run(deadline, "ROLLBACK").await?;
        match self.claimed((&key.caller, &key.key), deadline).await? {
            Some(row) if row.expired => {
                self.forget(key, deadline).await?;
                Ok(None)
            }
            row => Ok(row),
        }
    }

    /// Stores the response under the key, when there is one, and commits.
    pub(crate) async fn store_and_commit(
        self,
        key: Option<&IdempotencyKey>,
        results: &[ResultSet],
        incarnation: &str,
        deadline: Deadline,
    ) -> Result<()> {
        let Some(key) = key else { return self.commit(deadline, incarnation).await };
        let ended = self.store_and_commit_under(key, results, incarnation, deadline).await;
        ended.map_err(|error| had(Some(key), error))
    }

    async fn store_and_commit_under(
        mut self,
        key: &IdempotencyKey,
        results: &[ResultSet],
        incarnation: &str,
        deadline: Deadline,
    ) -> Result<()> {
        let keys = self.keys(deadline).await?;
        let prepared = self.prepare(deadline, &keys.store).await?;
        let mut values = naming(&key.caller, &key.key);
        values.push(Value::bytes(stored(results)));
        let parameters = codec::encode(&values, prepared.statement.params())?;
        let mut steps = vec![Step::Statement(prepared, parameters)];
        steps.extend([CURRENT, COMMIT].map(|sql| Step::Script(sql.to_owned())));
        let room = ResultQuota::new(u64::MAX, u64::MAX);
        let mut landing =
            self.send_pipeline(deadline, Pipeline { steps, room: &room, commits: true }).await?;
        let (stored, number, committed) = (landing.next(), landing.next(), landing.next());
        let is_gone = matches!(&stored, Some(Err(Failure::Driver(error)))
            if error.code() == Some(&SqlState::DIVISION_BY_ZERO));
        // A response that was not stored is why the transaction failed.
        let number = match stored {
            Some(Err(failure)) => Some(Err(failure)),
            Some(Ok(_)) | None => number,
        };
        let ended = self.conclude((number, committed), incarnation, deadline).await;
        match ended {
            Err(error) if is_gone => Err(key_gone(error)),
            ended => ended,
        }
    }
}

/// What is to be known of the error of a unit that has claimed its key, when there is one.
pub(crate) fn had(key: Option<&IdempotencyKey>, error: Error) -> Error {
    if key.is_some() { error.with_claimed_key() } else { error }
}

/// The error of a unit whose response found no row to be stored in.
fn key_gone(cause: Error) -> Error {
    let message = "the row of the call's own idempotency key is gone";
    Error::new(ErrorKind::FailedPrecondition, message)
        .with_condition("IDEMPOTENCY_KEY_GONE")
        .with_hint("No statement of a call may change or hide the table of idempotency keys.")
        .with_cause(cause)
}

fn not_installed() -> Error {
    let message = "the table of idempotency keys does not exist";
    Error::new(ErrorKind::FailedPrecondition, message)
        .with_condition(NOT_INSTALLED)
        .with_hint("Run rowgate idempotency install once for this database.")
}
