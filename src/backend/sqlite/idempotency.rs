//! Idempotency keys: a row in the same transaction as the work.
//!
//! The row is the first change of a batch and its response the last before the commit, so key, work and
//! response are applied together or not at all. The table is created when it is first needed: this
//! database needs no installation.

use rusqlite::limits::Limit;
use rusqlite::{Connection, OptionalExtension, params};

use super::authorizer::Phase;
use super::error::{Step, UNDEFINED_TABLE};
use super::row_channel::RowSender;
use super::session::Session;
use crate::backend::idempotency::{Claimed, stored};
use crate::backend::{BatchResult, IdempotencyKey, TransactionOutcome};
use crate::error::Result;
use crate::value::proto::ResultSet;

/// Claims a key in the open transaction; returns the row of the batch that has it.
pub(crate) fn claim(session: &Session, key: &IdempotencyKey) -> Result<Option<Claimed>> {
    let keys = &session.config.keys;
    let claim = |connection: &Connection| {
        let values = params![key.caller, key.key, key.request_hash.as_slice(), keys.retention];
        connection.prepare_cached(&keys.claim)?.execute(values)
    };
    let changed = match on_keys(session, &keys.claim, claim) {
        Err(error) if error.reason() == UNDEFINED_TABLE => {
            on_keys(session, &keys.create, |connection| connection.execute_batch(&keys.create))?;
            on_keys(session, &keys.claim, claim)?
        }
        changed => changed?,
    };
    if changed > 0 {
        // The caller's own statements have not begun.
        session.set_figures_back()?;
        return Ok(None);
    }
    let read = |connection: &Connection| {
        let mut statement = connection.prepare_cached(&keys.read)?;
        statement.query_row(params![key.caller, key.key], claimed)
    };
    on_keys(session, &keys.read, read).map(Some)
}

/// Stores the results of a batch under its key.
pub(crate) fn store(session: &Session, key: &IdempotencyKey, results: &[ResultSet]) -> Result<()> {
    let sql = &session.config.keys.store;
    let response = stored(results);
    let store = |connection: &Connection| {
        connection.prepare_cached(sql)?.execute(params![key.caller, key.key, response])
    };
    on_keys(session, sql, store).map(drop)
}

/// Returns the results that the unit under a key has stored.
pub(crate) fn stored_results(
    session: &Session,
    key: &IdempotencyKey,
) -> Result<Option<BatchResult>> {
    let read = &session.config.keys.read;
    let found = on_keys(session, read, |connection| {
        let mut statement = connection.prepare_cached(read)?;
        statement.query_row(params![key.caller, key.key], claimed).optional()
    })?;
    found.map(|row| row.replay(key)).transpose()
}

fn claimed(row: &rusqlite::Row<'_>) -> rusqlite::Result<Claimed> {
    Ok(Claimed { request_hash: row.get(0)?, response: row.get(1)?, expired: false })
}

/// Looks up the outcome of the batch under a key.
pub(crate) fn outcome(session: &Session, caller: &str, key: &str) -> Result<TransactionOutcome> {
    let applied = finds(session, &session.config.keys.state, &[caller, key])?;
    Ok(if applied { TransactionOutcome::Applied } else { TransactionOutcome::NotApplied })
}

/// Deletes expired keys; returns their number.
pub(crate) fn delete_expired(session: &Session, sender: &RowSender<u64>) -> Result<u64> {
    // Usually there are none, and no writer has to wait.
    if !finds(session, &session.config.keys.any_expired, &[])? {
        return Ok(0);
    }
    let sql = &session.config.keys.expire;
    session.begin()?;
    let expire = |connection: &Connection| connection.prepare_cached(sql)?.execute([]);
    let deleted = on_keys(session, sql, expire)?;
    session.commit(sender)?;
    Ok(u64::try_from(deleted).unwrap_or(u64::MAX))
}

/// Tells whether a query finds a row; it finds none where there is no table of keys.
fn finds(session: &Session, sql: &str, values: &[&str]) -> Result<bool> {
    let find = |connection: &Connection| {
        let mut statement = connection.prepare_cached(sql)?;
        statement.query_row(rusqlite::params_from_iter(values), |_row| Ok(())).optional()
    };
    match on_keys(session, sql, find) {
        Err(error) if error.reason() == UNDEFINED_TABLE => Ok(false),
        found => Ok(found?.is_some()),
    }
}

/// Works on the table of keys: a response may be larger than a caller's largest row, as it
/// holds several.
fn on_keys<T>(
    session: &Session,
    sql: &str,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> Result<T> {
    let connection = &session.connection;
    session.authorizer.enter(Phase::Internal);
    let worked = connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, i32::MAX).and_then(|usual| {
        let worked = work(connection);
        connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, usual)?;
        worked
    });
    session.authorizer.enter(Phase::Compile);
    worked.map_err(|error| session.translate(error, sql, Step::Write))
}
