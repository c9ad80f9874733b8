//! Idempotency keys: a row in the same transaction as the work.
//!
//! The row is the first statement of the unit and its response the last before the commit, so key, work
//! and response are applied together or not at all. A second unit under the same key waits at the row of
//! the first, which is the lock.

use std::sync::Arc;

use super::connect::capabilities::{Ability, Expected, Probe};
use super::connection::pipeline::{PipelineEnd, PipelineStep, StepOutput};
use super::session::Session;
use super::session::failure::{not_primary, of_own_statement};
use crate::backend::idempotency::{Claimed, in_progress};
use crate::backend::postgres::connection::idempotency_table::{KeyTable, key_values};
use crate::backend::result_quota::ResultQuota;
use crate::backend::{BatchResult, IdempotencyKey, Installed, TransactionOutcome};
use crate::error::{Error, ErrorKind, Result};
use crate::value::{Kind, Row, Value};

/// The reason of errors where the table does not exist.
const NOT_INSTALLED: &str = "IDEMPOTENCY_NOT_INSTALLED";

/// Serializes the creation of the table, which fails for the second of two at the same moment in spite of
/// IF NOT EXISTS. The number is the word `rowgate` in ASCII.
const CREATE_LOCK: &str = "SELECT pg_catalog.pg_advisory_xact_lock(32210705971246181)";

/// A query of one value: whether the server is a standby.
const IN_RECOVERY: &str = "select pg_catalog.pg_is_in_recovery()";

/// The question that shows whether a standby can be told from a primary.
pub(crate) fn probe() -> Probe {
    Probe::new(Ability::Recovery, IN_RECOVERY, Expected::Answered)
}

/// Returns the table of keys as the session's connection sees it, to work on it: its triggers, rules and
/// policies are somebody's code.
pub(crate) async fn key_table(session: &mut Session) -> Result<Arc<KeyTable>> {
    let database = Arc::clone(&session.database);
    let table =
        session.request("", async |connection| connection.key_table(&database.key_table).await);
    let table = table.await.map_err(|error| of_own_statement(error, &database.name))?;
    let table = table.ok_or_else(not_installed)?;
    session.effects_of(&table.change).await?;
    Ok(table)
}

/// The meaning of an error of a statement on the table of keys: one that is not there may be elsewhere.
pub(crate) fn key_table_error(session: &mut Session, error: Error) -> Error {
    if !has_sqlstate(&error, "42P01") {
        return of_own_statement(error, &session.database.name);
    }
    session.connection().key_table = None;
    not_installed()
}

/// Claims a key within an open transaction. Returns the row of an earlier unit under the key, after which
/// the transaction is rolled back.
pub(crate) async fn claim(session: &mut Session, key: &IdempotencyKey) -> Result<Option<Claimed>> {
    let table = key_table(session).await?;
    match execute(session, &table.claim, &table.claim_values(key)).await {
        Ok(_) => Ok(None),
        Err(error) => conflicting_row(session, error, key).await.map(Some),
    }
}

/// Rolls back after a claim that failed, and returns the row that made it fail; the error is
/// `KeyInProgress` when it is not committed yet, is gone, or had expired and was deleted now.
pub(crate) async fn conflicting_row(
    session: &mut Session,
    error: Error,
    key: &IdempotencyKey,
) -> Result<Claimed> {
    let is_waiting = ["55P03", "57014"].iter().any(|code| has_sqlstate(&error, code));
    if is_waiting || error.kind() == ErrorKind::DeadlineExceeded {
        return Err(in_progress());
    }
    if !has_sqlstate(&error, "23505") {
        return Err(key_table_error(session, error));
    }
    session.run("ROLLBACK").await?;
    let row = read(session, &key.caller, &key.key).await?.ok_or_else(in_progress)?;
    if !row.expired {
        return Ok(row);
    }
    let table = key_table(session).await?;
    execute(session, &table.forget, &key_values(&key.caller, &key.key)).await?;
    Err(in_progress())
}

/// Returns the outcome, so far, of the unit under a key.
pub(crate) async fn outcome_of_key(
    session: &mut Session,
    caller: &str,
    key: &str,
) -> Result<TransactionOutcome> {
    if read(session, caller, key).await?.is_some_and(|row| !row.expired) {
        return Ok(TransactionOutcome::Applied);
    }
    // A standby may not have the row yet.
    match session.ask(Ability::Recovery, IN_RECOVERY).await?.as_deref() {
        Some("f") => Ok(TransactionOutcome::NotApplied),
        Some(_) => Err(may_be_behind(&session.database.name)),
        None => Ok(TransactionOutcome::Unknown),
    }
}

/// Returns the results that the unit under a key has stored.
pub(crate) async fn stored_results(
    session: &mut Session,
    key: &IdempotencyKey,
) -> Result<Option<BatchResult>> {
    let row = read(session, &key.caller, &key.key).await?;
    row.filter(|row| !row.expired).map(|row| row.replay(key)).transpose()
}

/// Deletes keys that have expired; returns their number, 0 without a table.
pub(crate) async fn delete_expired(session: &mut Session) -> Result<u64> {
    let deleted = async {
        let table = key_table(session).await?;
        let rows = execute(session, &table.expire, &[]).await;
        rows.map_err(|error| key_table_error(session, error))
    };
    let rows = match deleted.await {
        Err(error) if error.reason() == NOT_INSTALLED => return Ok(0),
        rows => rows?,
    };
    Ok(match rows.first().and_then(|row| row.values.first()) {
        Some(Value { kind: Some(Kind::Int64Value(count)) }) => u64::try_from(*count).unwrap_or(0),
        Some(_) | None => 0,
    })
}

/// Creates the table of keys unless it exists, and checks that it can hold keys.
pub(crate) async fn install(session: &mut Session) -> Result<Installed> {
    let database = Arc::clone(&session.database);
    let configured = &database.key_table;
    let existed = session.query_value(&configured.schema_query()).await?.is_some();
    if !existed {
        // One script is one transaction.
        session.run(&format!("{CREATE_LOCK};\n{}", configured.create())).await?;
    }
    let table = key_table(session).await?;
    for sql in [&table.claim, &table.store, &table.read, &table.forget, &table.expire] {
        session.prepare(sql).await.map_err(|error| unsuitable(&table, error))?;
    }
    Ok(if existed { Installed::Existed } else { Installed::Created })
}

/// Notes in the error of a unit that it has claimed its key, when there is one.
pub(crate) fn with_claimed_key(key: Option<&IdempotencyKey>, error: Error) -> Error {
    if key.is_some() { error.with_claimed_key() } else { error }
}

/// The error of a question that only a primary can answer.
pub(crate) fn may_be_behind(database: &str) -> Error {
    not_primary(format!("the server of database \"{database}\" is a standby, and may be behind"))
        .with_hint("Ask the database that the transaction was sent to.")
}

/// Runs a statement of our own, in or outside a transaction.
pub(crate) async fn execute(
    session: &mut Session,
    sql: &str,
    values: &[Value],
) -> Result<Vec<Row>> {
    let prepared = session.prepare(sql).await?;
    let parameters = prepared.encode(values)?;
    let mut quota = ResultQuota::unlimited();
    let steps = vec![PipelineStep::OwnStatement(prepared, parameters)];
    let mut responses = session.send_pipeline(steps, &quota, PipelineEnd::NoCommit).await?;
    let output = session.step_output(responses.next(), sql)?;
    quota.check()?;
    let StepOutput::Rows(rows) = output else { return Ok(Vec::new()) };
    rows.decode().map_err(|error| {
        Error::new(ErrorKind::Internal, "a row of the table of keys cannot be read")
            .with_cause(error)
    })
}

/// Reads the row under a key.
async fn read(session: &mut Session, caller: &str, key: &str) -> Result<Option<Claimed>> {
    let table = key_table(session).await?;
    let rows = execute(session, &table.read, &key_values(caller, key)).await;
    let rows = rows.map_err(|error| key_table_error(session, error))?;
    Ok(rows.into_iter().next().map(|row| {
        let mut values = row.values.into_iter().map(|value| value.kind);
        let mut bytes = || {
            let value = values.next().flatten();
            if let Some(Kind::BytesValue(bytes)) = value { Some(bytes) } else { None }
        };
        let request_hash = bytes().unwrap_or_default();
        let response = bytes();
        let expired = matches!(values.next().flatten(), Some(Kind::BoolValue(true)));
        Claimed { request_hash, response, expired }
    }))
}

fn has_sqlstate(error: &Error, sqlstate: &str) -> bool {
    error.report().is_some_and(|report| report.sqlstate == sqlstate)
}

fn not_installed() -> Error {
    let message = "the table of idempotency keys does not exist";
    Error::new(ErrorKind::FailedPrecondition, message)
        .with_condition(NOT_INSTALLED)
        .with_hint("Run rowgate idempotency install once for this database.")
}

fn unsuitable(table: &KeyTable, error: Error) -> Error {
    if error.report().is_none() {
        return error;
    }
    let message = format!("the relation {} cannot hold idempotency keys: {error}", table.table);
    Error::new(ErrorKind::FailedPrecondition, message)
        .with_hint("Give it the columns that --print shows, or name another in idempotency.table.")
}
