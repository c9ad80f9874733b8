//! Idempotency keys: a row in the same transaction as the work.
//!
//! The row is the first statement of the unit and its response the last before the commit, so key, work
//! and response are applied together or not at all. A second unit under the same key waits at the row of
//! the first, which is the lock.

use std::time::Duration;

use super::codec;
use super::commit::COMMIT;
use super::flight::{Answer, Flight, Room, Step};
use super::lease::Lease;
use super::token::CURRENT;
use crate::backend::keys::{Claimed, in_progress, quoted, stored};
use crate::backend::{BatchResult, IdempotencyKey, UnitState};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::value::proto::ResultSet;
use crate::value::{Kind, Row, Value};

/// Rows deleted at once.
const EXPIRED_AT_ONCE: u32 = 5000;

/// The statements that work on the table of keys.
#[derive(Debug)]
pub(super) struct KeyTable {
    pub(super) table: String,
    pub(super) claim: String,
    pub(super) store: String,
    pub(super) read: String,
    pub(super) forget: String,
    pub(super) expire: String,
    retention: Duration,
}

impl KeyTable {
    /// `table` is a name as configured, with or without a schema.
    pub(super) fn new(table: &str, retention: Duration) -> Self {
        let table = quoted(table);
        let row = "where caller = $1 and key = $2";
        Self {
            claim: format!(
                "insert into {table} (caller, key, request_hash, expires_at) \
                 values ($1, $2, $3, now() + make_interval(secs => $4))"
            ),
            store: format!("update {table} set response = $3 {row}"),
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

    /// The values that claim a key.
    pub(super) fn claiming(&self, key: &IdempotencyKey) -> Vec<Value> {
        let mut values = naming(&key.caller, &key.key);
        values.push(Value::bytes(key.request_hash.to_vec()));
        values.push(Value::float64(self.retention.as_secs_f64()));
        values
    }
}

/// The values that name a key's row.
pub(super) fn naming(caller: &str, key: &str) -> Vec<Value> {
    vec![Value::text(caller), Value::text(key)]
}

impl Lease {
    /// Runs a statement of our own, in or outside a transaction.
    pub(super) async fn execute(
        &mut self,
        deadline: Deadline,
        sql: &str,
        values: &[Value],
    ) -> Result<Vec<Row>> {
        let prepared = self.prepare(deadline, sql).await?;
        let parameters = codec::encode(values, prepared.statement.params())?;
        let room = Room::new(u64::MAX, u64::MAX);
        let steps = vec![Step::Statement(prepared, parameters)];
        let mut landing = self.fly(deadline, Flight { steps, room: &room, commits: false }).await?;
        match landing.next() {
            Some(Ok(Answer::Rows(rows))) => Ok(rows),
            Some(Ok(Answer::Script(_))) => Ok(Vec::new()),
            Some(Err(failure)) => Err(self.misfortune(failure, sql)),
            None => Err(self.deadline_passed()),
        }
    }

    /// The row under a key; `None` when there is none.
    pub(super) async fn claimed(
        &mut self,
        (caller, key): (&str, &str),
        deadline: Deadline,
    ) -> Result<Option<Claimed>> {
        let sql = self.shared().keys.read.clone();
        let rows = self.execute(deadline, &sql, &naming(caller, key)).await?;
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

    /// Deletes the row under a key that has expired.
    pub(super) async fn forget(&mut self, key: &IdempotencyKey, deadline: Deadline) -> Result<()> {
        let sql = self.shared().keys.forget.clone();
        self.execute(deadline, &sql, &naming(&key.caller, &key.key)).await.map(drop)
    }
}

impl Lease {
    /// What became of the unit under a key, so far.
    pub(super) async fn state_of_key(
        &mut self,
        key: (&str, &str),
        deadline: Deadline,
    ) -> Result<UnitState> {
        match self.claimed(key, deadline).await.map_err(missing_table)? {
            Some(row) if !row.expired => return Ok(UnitState::Applied),
            Some(_) | None => {}
        }
        // What is not there yet may be on the primary.
        match self.value(deadline, "select pg_catalog.pg_is_in_recovery()").await?.as_deref() {
            Some("f") => Ok(UnitState::NotApplied),
            Some(_) | None => Err(self.shared().behind()),
        }
    }
}

/// What stands in the way of a claim.
pub(super) enum Conflict {
    /// The unit was applied before, with these results.
    Replayed(BatchResult),
    /// Nothing any more.
    Gone,
}

impl Lease {
    /// What follows from a claim that failed: its transaction is rolled back, and the row that was there
    /// before is read.
    pub(super) async fn claim_failed(
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
    pub(super) async fn standing(
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
            Some(_) | None => return Err(missing_table(error)),
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
    pub(super) async fn store_and_commit(
        mut self,
        key: Option<&IdempotencyKey>,
        results: &[ResultSet],
        incarnation: &str,
        deadline: Deadline,
    ) -> Result<()> {
        let Some(key) = key else { return self.commit(deadline, incarnation).await };
        let store = self.shared().keys.store.clone();
        let prepared = self.prepare(deadline, &store).await?;
        let mut values = naming(&key.caller, &key.key);
        values.push(Value::bytes(stored(results)));
        let parameters = codec::encode(&values, prepared.statement.params())?;
        let mut steps = vec![Step::Statement(prepared, parameters)];
        steps.extend([CURRENT, COMMIT].map(|sql| Step::Script(sql.to_owned())));
        let room = Room::new(u64::MAX, u64::MAX);
        let mut landing = self.fly(deadline, Flight { steps, room: &room, commits: true }).await?;
        let (stored, number, committed) = (landing.next(), landing.next(), landing.next());
        // A response that was not stored is why the transaction failed.
        let number = match stored {
            Some(Err(failure)) => Some(Err(failure)),
            Some(Ok(_)) | None => number,
        };
        self.conclude((number, committed), incarnation, deadline).await
    }
}

/// Says of a table that is not there what to do.
pub(super) fn missing_table(error: Error) -> Error {
    match error.report().map(|report| report.sqlstate.as_str()) {
        Some("42P01") => not_installed(),
        Some(_) | None => error,
    }
}

fn not_installed() -> Error {
    let message = "the table of idempotency keys does not exist";
    Error::new(ErrorKind::FailedPrecondition, message)
        .with_condition("IDEMPOTENCY_NOT_INSTALLED")
        .with_hint("Run rowgate idempotency install once for this database.")
}
