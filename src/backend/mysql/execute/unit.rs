//! The beginning and the end of a transaction that the server itself opens.

use std::time::{Duration, Instant};

use crate::backend::mysql::connection::CommandEnd;
use crate::backend::mysql::protocol::commands::Command;
use crate::backend::mysql::session::statement_effects::StatementEffects;
use crate::backend::mysql::session::{Applies, Session, UnitState};
use crate::backend::{IsolationLevel, TransactionMode};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Outcome, Result};

/// The savepoint at the start of a unit whose statements may run code of the database's: a COMMIT in it removes the
/// savepoint.
pub(crate) const GUARD: &str = "SAVEPOINT rowgate_guard";
pub(crate) const RELEASE_GUARD: &str = "RELEASE SAVEPOINT rowgate_guard";

/// The savepoint in front of a statement that may end the transaction: behind it, the savepoint is still there or not.
pub(crate) const BEFORE_CALL: &str = "SAVEPOINT rowgate_call";
const RELEASE_CALL: &str = "RELEASE SAVEPOINT rowgate_call";
const ROLL_BACK_CALL: &str = "ROLLBACK TO SAVEPOINT rowgate_call";

/// The statements that undo nothing: the server warns with the last one of all writes that a rollback leaves.
const LOOK: [&str; 2] = ["SAVEPOINT rowgate_look", "ROLLBACK TO SAVEPOINT rowgate_look"];

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

/// The writes of a unit as a statement of it begins.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct WritesBefore {
    /// A part of those in front of it may stay.
    might_stay: bool,
    /// The statement may end the transaction, and has a savepoint in front of it.
    pub(crate) is_probed: bool,
}

/// Notes that a statement of a unit is about to be sent. Fails if the unit has a key that would not protect its writes.
pub(crate) fn begin_writes(
    session: &mut Session,
    effects: &StatementEffects,
) -> Result<WritesBefore> {
    session.check_key_protects(effects)?;
    let might_stay = session.work.is_divisible;
    session.work.is_divisible |= effects.is_divisible;
    session.work.may_have_ended |= effects.may_end_unit;
    Ok(WritesBefore { might_stay, is_probed: effects.may_end_unit })
}

/// Takes the end of a statement of a unit: fails if it has ended the transaction.
pub(crate) async fn end_writes(session: &mut Session, before: WritesBefore) -> Result<()> {
    check_open(session)?;
    if before.is_probed {
        session.connection().queue_own(Command::Query(RELEASE_CALL));
        let end = session.answer(async |on| on.end_of_command().await).await?;
        check_released(session, end)?;
        session.work.may_have_ended = false;
    }
    session.settle_writes(before.might_stay);
    Ok(())
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

/// Tells what a rollback would leave behind a statement that has failed; only a rollback is possible then. A statement
/// that may have ended the transaction is itself undone.
pub(crate) async fn outcome_behind_failure(session: &mut Session) -> Outcome {
    let can_tell = matches!(session.work.unit, UnitState::Open | UnitState::Failed);
    if session.work.is_divisible && can_tell && session.takes_commands() {
        let deadline = Deadline::at(session.last_moment());
        let probe = if session.work.may_have_ended { &[ROLL_BACK_CALL][..] } else { &LOOK };
        if session.begin_command(deadline).await.is_ok()
            && let Ok(end) = session.run_own(probe).await
        {
            session.settle_rollback(end.warnings);
        }
    }
    session.rolled_back_outcome()
}

/// Rolls back after a failure, and tells what that left: a table without transactions keeps what was written. A call that
/// must end waits for it only if it tells something, and no longer than for a statement that was cancelled.
pub(crate) async fn roll_back_after_failure(session: &mut Session, is_read_only: bool) -> Outcome {
    let unknown = session.rolled_back_outcome();
    if !session.takes_commands() {
        return unknown;
    }
    session.applies(Applies::Nothing);
    if session.must_end() && unknown == Outcome::NotApplied {
        // The reset of the connection rolls back.
        return unknown;
    }
    let limit = session.last_moment().min(Instant::now() + ROLLBACK_LIMIT);
    let deadline = Deadline::at(limit);
    if session.begin_command(deadline).await.is_err() {
        return unknown;
    }
    let is_told = match is_told_by_rollback(session).await {
        Ok(is_told) => is_told,
        Err(_) => {
            session.close();
            return unknown;
        }
    };
    match session.roll_back_and_look(closing(is_read_only)).await {
        Ok(true) if is_told => Outcome::NotApplied,
        Ok(false) => Outcome::Unknown,
        Ok(true) => unknown,
        Err(_) => {
            session.close();
            unknown
        }
    }
}

/// Returns true if a rollback tells of all that was written: the server tells only of what it rolls back then. What it has
/// rolled back before, with an error, is told by the warnings of that.
async fn is_told_by_rollback(session: &mut Session) -> Result<bool> {
    if session.work.may_have_ended {
        session.connection().queue_own(Command::Query(ROLL_BACK_CALL));
        let end = session.answer(async |on| on.end_of_command().await).await?;
        return Ok(end.is_ok());
    }
    if session.work.unit != UnitState::RolledBack || !session.work.is_divisible {
        return Ok(session.work.unit != UnitState::RolledBack);
    }
    Ok(session.refusal_left_nothing().await)
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
