//! Idempotency keys: a row in the same transaction as the work.
//!
//! The row is the first statement of the unit and its response the last before the commit, so key, work
//! and response are applied together or not at all. A second unit under the same key waits at the row of
//! the first, which is the lock.

use std::sync::Arc;

use super::connection::result_shape::ResultShape;
use super::execute::statement_start::{Head, ReadyStatement, start_own};
use super::key_rows::{KeyRows, key_id};
use super::protocol::answers::Event;
use super::session::Session;
use crate::backend::idempotency::{Claimed, in_progress};
use crate::backend::{BatchResult, IdempotencyKey, Installed, TransactionOutcome};
use crate::error::{Error, ErrorKind, Result};
use crate::sql::MysqlText;
use crate::value::{EncodedRows, Kind, Row, RowEncoder, RowsField, Value};

/// The reason of errors where the table does not exist.
const NOT_INSTALLED: &str = "IDEMPOTENCY_NOT_INSTALLED";

/// Runs a statement on the table of keys; returns its rows, and the number that it changed.
pub(crate) async fn execute(
    session: &mut Session,
    text: &MysqlText,
    values: &[Value],
) -> Result<(Vec<Row>, u64)> {
    let runnable = session.prepare(&text.sql, text).await.map_err(table_error)?;
    let statement = ReadyStatement::new(&text.sql, text, runnable, values, 0)?;
    let head = start_own(session, &statement).await?;
    let shape = match head {
        Head::Done(ok) => return Ok((Vec::new(), ok.affected_rows)),
        Head::Rows(shape) => shape,
    };
    let rows = read_rows(session, &shape).await?;
    let rows = rows.decode().map_err(|error| {
        Error::new(ErrorKind::Internal, "a row of the table of keys cannot be read")
            .with_cause(error)
    })?;
    Ok((rows, 0))
}

async fn read_rows(session: &mut Session, shape: &Arc<ResultShape>) -> Result<EncodedRows> {
    let mut encoder = RowEncoder::new(RowsField::OfResult);
    loop {
        match session.answer(async |on| on.event().await).await? {
            Event::Row(packet) => {
                shape.decoder.encode_binary_row(&packet, &mut encoder)?;
                encoder.end_row();
            }
            Event::Columns(_) | Event::ResultEnd(_) | Event::Prepared(_) => {}
            Event::Done(_) => return Ok(encoder.take()),
            Event::Failed(error) => return Err(session.refused(&error, "")),
        }
    }
}

/// The meaning of an error of a statement on the table of keys.
fn table_error(error: Error) -> Error {
    if !has_sqlstate(&error, NO_SUCH_TABLE) {
        return error;
    }
    let message = "the table of idempotency keys does not exist";
    Error::new(ErrorKind::FailedPrecondition, message)
        .with_condition(NOT_INSTALLED)
        .with_hint("Run rowgate idempotency install once for this database.")
}

const NO_SUCH_TABLE: &str = "42S02";

fn has_sqlstate(error: &Error, sqlstate: &str) -> bool {
    error.report().is_some_and(|report| report.sqlstate == sqlstate)
}

/// Claims a key within an open transaction. Returns the row of an earlier unit under the key, after which
/// the transaction is rolled back.
pub(crate) async fn claim(session: &mut Session, key: &IdempotencyKey) -> Result<Option<Claimed>> {
    let database = Arc::clone(&session.database);
    match execute(session, &database.keys.claim, &KeyRows::claim_values(key)).await {
        Ok(_) => {
            session.work.is_keyed = true;
            Ok(None)
        }
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
    let is_waiting =
        matches!(error.kind(), ErrorKind::LockNotAvailable | ErrorKind::DeadlineExceeded);
    if is_waiting {
        return Err(in_progress());
    }
    if error.kind() != ErrorKind::AlreadyExists {
        return Err(error);
    }
    session.run_own(&["ROLLBACK"]).await?;
    let database = Arc::clone(&session.database);
    let id = Value::bytes(key_id(&key.caller, &key.key));
    let row = read(session, &id).await?.ok_or_else(in_progress)?;
    if row.expired {
        execute(session, &database.keys.forget, &[id]).await?;
        session.run_own(&["COMMIT"]).await?;
        return Err(in_progress());
    }
    Ok(row)
}

/// Returns the results that the unit under a key has stored.
pub(crate) async fn stored_results(
    session: &mut Session,
    key: &IdempotencyKey,
) -> Result<Option<BatchResult>> {
    wait_for_others(session).await?;
    let id = Value::bytes(key_id(&key.caller, &key.key));
    let row = read(session, &id).await?.filter(|row| !row.expired);
    row.map(|row| row.replay(key)).transpose()
}

/// Stores the response of a unit in the row of its key; fails if the row is gone.
pub(crate) async fn store(
    session: &mut Session,
    key: &IdempotencyKey,
    response: Vec<u8>,
) -> Result<()> {
    let database = Arc::clone(&session.database);
    let values = [Value::bytes(response), Value::bytes(key_id(&key.caller, &key.key))];
    let (_, stored) = execute(session, &database.keys.store, &values).await?;
    if stored == 1 {
        return Ok(());
    }
    let message = "the row of the call's own idempotency key is gone";
    Err(Error::new(ErrorKind::FailedPrecondition, message)
        .with_condition("IDEMPOTENCY_KEY_GONE")
        .with_hint("No statement of a call may change or hide the table of idempotency keys."))
}

/// Reads the row with this number.
async fn read(session: &mut Session, id: &Value) -> Result<Option<Claimed>> {
    let database = Arc::clone(&session.database);
    let (rows, _) = execute(session, &database.keys.read, std::slice::from_ref(id)).await?;
    Ok(rows.into_iter().next().map(|row| {
        let mut values = row.values.into_iter().map(|value| value.kind);
        let mut bytes = || match values.next().flatten() {
            Some(Kind::BytesValue(bytes)) => Some(bytes),
            Some(_) | None => None,
        };
        let request_hash = bytes().unwrap_or_default();
        let response = bytes();
        let expired = matches!(values.next().flatten(), Some(Kind::Int64Value(1)));
        Claimed { request_hash, response, expired }
    }))
}

/// Has a node of a Galera cluster read what the others have committed; a reset undoes it.
async fn wait_for_others(session: &mut Session) -> Result<()> {
    if !session.connection().server.is_galera {
        return Ok(());
    }
    session.checkin.is_touched = true;
    session.run_own(&[SYNC_WAIT]).await.map(drop)
}

/// Has reads on a node wait until it has all that the cluster had committed before.
pub(crate) const SYNC_WAIT: &str = "SET SESSION wsrep_sync_wait=1";

/// Returns the outcome, so far, of the unit under a key.
pub(crate) async fn outcome_of_key(
    session: &mut Session,
    caller: &str,
    key: &str,
) -> Result<TransactionOutcome> {
    wait_for_others(session).await?;
    let id = Value::bytes(key_id(caller, key));
    if read(session, &id).await?.is_some_and(|row| !row.expired) {
        return Ok(TransactionOutcome::Applied);
    }
    if session.connection().server.takes_writes {
        return Ok(TransactionOutcome::NotApplied);
    }
    let database = &session.database.name;
    let message = format!("the server of database \"{database}\" is a replica, and may be behind");
    Err(Error::new(ErrorKind::NotPrimary, message)
        .with_hint("Ask the database that the transaction was sent to."))
}

/// Returns the outcome of a unit that has claimed a key, once its connection has ended.
pub(crate) async fn outcome_of_claim(
    session: &mut Session,
    key: &IdempotencyKey,
) -> Result<TransactionOutcome> {
    wait_for_others(session).await?;
    let id = Value::bytes(key_id(&key.caller, &key.key));
    Ok(match read(session, &id).await? {
        Some(row) if row.request_hash == key.request_hash => TransactionOutcome::Applied,
        Some(_) | None => TransactionOutcome::NotApplied,
    })
}

/// Deletes keys and marks that have expired; returns their number, 0 without a table.
pub(crate) async fn delete_expired(session: &mut Session) -> Result<u64> {
    let database = Arc::clone(&session.database);
    // At the default level the gaps between keys would be locked, and claims would wait.
    let statements = ["SET TRANSACTION ISOLATION LEVEL READ COMMITTED", &database.keys.expire];
    match session.run_own(&statements).await {
        Ok(ok) => Ok(ok.affected_rows),
        Err(error) if has_sqlstate(&error, NO_SUCH_TABLE) => Ok(0),
        Err(error) => Err(error),
    }
}

/// Creates the table of keys unless it exists, and checks that it can hold keys.
pub(crate) async fn install(session: &mut Session) -> Result<Installed> {
    let database = Arc::clone(&session.database);
    let keys = &database.keys;
    let existed = match session.prepare(&keys.read.sql, &keys.read).await {
        Ok(_) => true,
        Err(error) if has_sqlstate(&error, NO_SUCH_TABLE) => {
            session.run_own(&[&keys.create()]).await?;
            false
        }
        Err(error) => return Err(unsuitable(keys, error)),
    };
    for text in [&keys.claim, &keys.store, &keys.read, &keys.forget] {
        session.prepare(&text.sql, text).await.map_err(|error| unsuitable(keys, error))?;
    }
    Ok(if existed { Installed::Existed } else { Installed::Created })
}

fn unsuitable(keys: &KeyRows, cause: Error) -> Error {
    if cause.report().is_none() {
        return cause;
    }
    let message = format!("the relation {} cannot hold idempotency keys: {cause}", keys.table());
    Error::new(ErrorKind::FailedPrecondition, message)
        .with_hint("Give it the columns that --print shows, or name another in idempotency.table.")
}

/// Notes in the error of a unit that it has claimed its key, when there is one.
pub(crate) fn with_claimed_key(key: Option<&IdempotencyKey>, error: Error) -> Error {
    if key.is_some() { error.with_claimed_key() } else { error }
}
