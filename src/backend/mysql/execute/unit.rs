//! The beginning and the end of a transaction that the server itself opens.

use std::time::{Duration, Instant};

use crate::backend::mysql::connection::CommandEnd;
use crate::backend::mysql::session::{Applies, Session, UnitState};
use crate::backend::{IsolationLevel, TransactionMode};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Outcome, Result};

/// The savepoint at the start of a unit whose statements may run code of the database's: a COMMIT in it removes the
/// savepoint.
pub(crate) const GUARD: &str = "SAVEPOINT rowgate_guard";
pub(crate) const RELEASE_GUARD: &str = "RELEASE SAVEPOINT rowgate_guard";

/// The number of an error: there is no such savepoint.
const NO_SAVEPOINT: u16 = 1305;

/// The statements that open a transaction. Without autocommit, what follows a statement with which the server rolled
/// all back does not commit by itself.
pub(crate) fn opening(mode: TransactionMode, is_guarded: bool) -> Vec<&'static str> {
    let mut statements = vec!["SET autocommit=0"];
    if mode.read_only {
        // DDL leaves the transaction, and its mode; it does not leave the session's.
        statements.push("SET SESSION TRANSACTION READ ONLY");
    }
    match mode.isolation {
        None => {}
        Some(IsolationLevel::ReadCommitted) => {
            statements.push("SET TRANSACTION ISOLATION LEVEL READ COMMITTED");
        }
        Some(IsolationLevel::RepeatableRead) => {
            statements.push("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ");
        }
        Some(IsolationLevel::Serializable) => {
            statements.push("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE");
        }
    }
    statements.push(if mode.read_only {
        "START TRANSACTION READ ONLY"
    } else {
        "START TRANSACTION"
    });
    if is_guarded {
        statements.push(GUARD);
    }
    statements
}

/// The statements that bring the session back from a transaction to where each statement commits by itself.
pub(crate) fn closing(is_read_only: bool) -> &'static [&'static str] {
    if is_read_only {
        &["SET SESSION TRANSACTION READ WRITE", "SET autocommit=1"]
    } else {
        &["SET autocommit=1"]
    }
}

/// Opens a transaction.
pub(crate) async fn open(
    session: &mut Session,
    mode: TransactionMode,
    is_guarded: bool,
) -> Result<()> {
    session.run_own(&opening(mode, is_guarded)).await?;
    Ok(())
}

/// Fails if no transaction is open: a statement has ended it.
pub(crate) fn check_open(session: &mut Session) -> Result<()> {
    let connection = session.connection();
    if !connection.in_transaction() || connection.commits_each() {
        return Err(transaction_controlled());
    }
    Ok(())
}

/// Takes the answer to [`RELEASE_GUARD`]: fails if a statement has ended the transaction that was opened, and begun
/// another.
pub(crate) fn check_released(session: &mut Session, end: CommandEnd) -> Result<()> {
    match end {
        Ok(_) => Ok(()),
        Err(error) if error.errno == NO_SAVEPOINT => Err(transaction_controlled()),
        Err(error) => Err(session.refused(&error, "")),
    }
}

/// Rolls a transaction back, and brings the session back to where each statement commits by itself: only once nothing
/// is left, as that would commit it.
pub(crate) async fn roll_back(session: &mut Session, is_read_only: bool) -> Result<()> {
    session.applies(Applies::Nothing);
    if let Err(error) = session.run_own(&["ROLLBACK"]).await {
        session.close();
        return Err(error);
    }
    session.run_own(closing(is_read_only)).await.map(drop)
}

/// Rolls back after a failure, and tells what that left: a table without transactions keeps what was written.
pub(crate) async fn roll_back_after_failure(session: &mut Session, is_read_only: bool) -> Outcome {
    let unknown = session.rolled_back_outcome();
    if !session.takes_commands() {
        return unknown;
    }
    session.applies(Applies::Nothing);
    let deadline = Deadline::at(Instant::now() + ROLLBACK_LIMIT);
    if session.begin_command(deadline).await.is_err() {
        return unknown;
    }
    // The server tells only of what it rolls back now.
    let was_rolled_back = session.work.unit == UnitState::RolledBack;
    match session.roll_back_and_look(closing(is_read_only)).await {
        Ok(true) if !was_rolled_back => Outcome::NotApplied,
        Ok(false) => Outcome::Unknown,
        Ok(true) => unknown,
        Err(_) => {
            session.close();
            unknown
        }
    }
}

/// The time that a rollback is waited for; it goes on by itself.
pub(crate) const ROLLBACK_LIMIT: Duration = Duration::from_secs(5);

/// The error of a unit whose own text controlled its transaction: a part may be applied.
pub(crate) fn transaction_controlled() -> Error {
    let message = "the statement ended its transaction, which SQL text may not do here";
    Error::new(ErrorKind::TransactionControl, message).with_outcome(Outcome::Unknown)
}

/// The error of a command in a transaction in which a statement has failed.
pub(crate) fn transaction_aborted() -> Error {
    let message = "an earlier statement of the transaction has failed: it can only be rolled back";
    Error::new(ErrorKind::TransactionAborted, message)
        .with_hint("Roll back, or roll back to a savepoint that was set before the failure.")
}
