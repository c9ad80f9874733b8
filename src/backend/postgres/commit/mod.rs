//! Commits whose result is the truth: a commit without an answer is resolved.

pub(crate) mod resolution;
pub(crate) mod token;

use std::sync::Arc;

use tokio_postgres::error::SqlState;

use super::connect::capabilities::{Ability, Capabilities, Expected, Probe};
use super::connection::pipeline::{
    PipelineEnd, PipelineStep, StepOutput, StepResult, TransactionEnd,
};
use super::idempotency::key_table;
use super::session::Session;
use super::session::failure::{ability_lost, of_own_statement};
use crate::backend::idempotency::stored;
use crate::backend::postgres::connection::idempotency_table::key_values;
use crate::backend::resolution::resolve;
use crate::backend::result_quota::ResultQuota;
use crate::backend::{IdempotencyKey, IsolationLevel, TransactionMode};
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::planted_bug::PlantedBug;
use crate::value::Value;
use crate::value::proto::ResultSet;
use resolution::outcome_of_token;
use token::{CURRENT_XID, INCARNATION, REPEATABLE_READ_XID, SERIALIZABLE_XID, Token, UNKNOWN_XID};

/// Ends a transaction that we opened; fails in one that failed or ended before, which a mere COMMIT answers
/// with a silent ROLLBACK.
const COMMIT: &str = "SAVEPOINT rowgate_guard; COMMIT";

/// The savepoint at the start of a READ_ONLY transaction. No caller may give this name to one.
pub(crate) const READ_ONLY_SAVEPOINT: &str = "rowgate_read_only";

/// Ends a READ_ONLY transaction: what it wrote in spite of its mode is undone. The commit has a meaning only for
/// SERIALIZABLE: a report that is rolled back would not forbid the writes that contradict it.
const END_READ_ONLY: &str = "ROLLBACK TO SAVEPOINT rowgate_read_only; COMMIT";

/// The questions that show whether savepoints are as [`COMMIT`] and [`END_READ_ONLY`] need them.
pub(crate) fn probes() -> [Probe; 3] {
    let all = "BEGIN; SAVEPOINT rowgate_guard; ROLLBACK TO SAVEPOINT rowgate_guard; COMMIT";
    [
        Probe::new(Ability::Savepoints, all, Expected::Answered),
        Probe::new(Ability::Savepoints, COMMIT, Expected::Refused),
        Probe::new(Ability::Savepoints, COMMIT, Expected::Refused)
            .after("BEGIN")
            .after("SELECT rowgate_fails"),
    ]
}

/// The statements that end the transaction of a session's work. Without savepoints the answer to the commit tells
/// whether it was one.
pub(crate) fn commit_of(session: &mut Session) -> &'static str {
    match (session.work.forbids_writes, session.can(Ability::Savepoints)) {
        (true, true) => END_READ_ONLY,
        (false, true) => COMMIT,
        (true, false) => "ROLLBACK",
        (false, false) => "COMMIT",
    }
}

/// The query of the transaction's number, which fails where the transaction is not as isolated as its caller
/// asked: before PostgreSQL 16 a `RESET transaction_isolation` ends the level at any time.
pub(crate) fn xid_of(session: &mut Session) -> &'static str {
    if !session.can(Ability::TransactionNumbers) {
        return UNKNOWN_XID;
    }
    match session.work.isolation {
        None | Some(IsolationLevel::ReadCommitted) => CURRENT_XID,
        Some(IsolationLevel::RepeatableRead) => REPEATABLE_READ_XID,
        Some(IsolationLevel::Serializable) => SERIALIZABLE_XID,
    }
}

/// Passes the answer to [`xid_of`] on, unless the server has lost the ability to answer.
pub(crate) fn number(
    session: &mut Session,
    answer: Option<StepResult>,
) -> Result<Option<StepResult>> {
    if let Some(Err(error)) = &answer
        && error.is_inability()
    {
        session.connection().capabilities.lose(Ability::TransactionNumbers);
        return Err(ability_lost(&session.database.name));
    }
    Ok(answer)
}

/// Opens a transaction.
pub(crate) async fn open_transaction(session: &mut Session, mode: TransactionMode) -> Result<()> {
    let begin = begin(mode, &session.connection().capabilities)?;
    session.run(&begin).await
}

/// The statement that opens a transaction; fails for a mode that the server cannot keep.
pub(crate) fn begin(mode: TransactionMode, server: &Capabilities) -> Result<String> {
    let has_savepoints = server.has(Ability::Savepoints);
    let is_serializable = mode.isolation == Some(IsolationLevel::Serializable);
    if mode.read_only && is_serializable && !has_savepoints {
        // Only its commit tells the server what it has read.
        let message = "the database has no savepoints, which READ_ONLY with SERIALIZABLE needs";
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    let isolation = match mode.isolation {
        None => "",
        Some(IsolationLevel::ReadCommitted) => " ISOLATION LEVEL READ COMMITTED",
        Some(IsolationLevel::RepeatableRead) => " ISOLATION LEVEL REPEATABLE READ",
        Some(IsolationLevel::Serializable) => " ISOLATION LEVEL SERIALIZABLE",
    };
    let deferrable = if mode.deferrable { " DEFERRABLE" } else { "" };
    if !mode.read_only {
        return Ok(format!("BEGIN{isolation}{deferrable}"));
    }
    if !has_savepoints {
        return Ok(format!("BEGIN{isolation}{deferrable} READ ONLY"));
    }
    // The savepoint pins the mode, which no subtransaction may change, without taking the snapshot that
    // belongs to the first statement.
    Ok(format!("BEGIN{isolation}{deferrable} READ ONLY; SAVEPOINT {READ_ONLY_SAVEPOINT}"))
}

/// The error of a unit whose own text controlled its transaction: a part may be applied.
pub(crate) fn transaction_controlled() -> Error {
    let message = "the statement ended its transaction, which SQL text may not do here";
    Error::new(ErrorKind::TransactionControl, message).with_outcome(Outcome::Unknown)
}

/// Queries, once for each connection, the incarnation of its server.
pub(crate) async fn query_incarnation(session: &mut Session) -> Result<()> {
    let connection = session.connection();
    // Behind a pooler the next transaction may be another server's: no number of it is a token.
    if connection.incarnation.is_none() && !connection.protocol.is_behind_pooler() {
        let incarnation = session.ask(Ability::Tokens, INCARNATION).await?.unwrap_or_default();
        session.connection().incarnation = Some(incarnation);
    }
    Ok(())
}

/// Commits an open transaction, with its response under the key when there is one.
pub(crate) async fn commit(
    mut session: Session,
    key: Option<&IdempotencyKey>,
    results: &[ResultSet],
) -> Result<()> {
    let values;
    let mut steps = Vec::new();
    if let Some(key) = key {
        let table = key_table(&mut session).await?;
        let prepared = session.prepare(&table.store).await;
        let prepared = prepared.map_err(|error| of_own_statement(error, &session.database.name))?;
        let [caller, key] = key_values(&key.caller, &key.key);
        values = [caller, key, Value::bytes(stored(results))];
        let parameters = prepared.encode(&values)?;
        steps.push(PipelineStep::OwnStatement(prepared, parameters));
    }
    let guarded = commit_of(&mut session);
    let commit = if PlantedBug::IgnoredTag.is_planted() { "COMMIT" } else { guarded };
    steps.extend([xid_of(&mut session), commit].map(PipelineStep::script));
    let quota = ResultQuota::unlimited();
    let mut responses = session.send_pipeline(steps, &quota, PipelineEnd::Commit).await?;
    let stored = key.and_then(|_| responses.next());
    let end = responses.transaction_end();
    let xid = number(&mut session, responses.next())?;
    let mut answers = CommitAnswers { xid, commit: responses.next(), end };
    let mut is_gone = false;
    if let Some(Err(error)) = stored {
        // A response that was not stored is why the transaction failed.
        is_gone = error.reply_code() == Some(&SqlState::DIVISION_BY_ZERO);
        answers.xid = Some(Err(error));
    }
    let ended = conclude(session, answers).await;
    ended.map_err(|error| if is_gone { key_row_gone(error) } else { error })
}

/// The answers to the last requests of a transaction; `None` for those that did not come in time.
pub(crate) struct CommitAnswers {
    pub(crate) xid: Option<StepResult>,
    pub(crate) commit: Option<StepResult>,
    pub(crate) end: TransactionEnd,
}

/// Ends a session with the result of its commit, which is resolved where the error says that it is unknown.
pub(crate) async fn conclude(mut session: Session, answers: CommitAnswers) -> Result<()> {
    let left_isolation = session.work.isolation.is_some()
        && matches!(&answers.xid, Some(Err(error))
            if error.reply_code() == Some(&SqlState::ACTIVE_SQL_TRANSACTION));
    let incarnation = session.connection().incarnation.as_deref().unwrap_or_default();
    let mut token = None;
    let mut failed = None;
    match answers.xid {
        Some(Ok(StepOutput::Script(Some(xid)))) => token = Token::new(incarnation, &xid),
        Some(Ok(StepOutput::Script(None))) if !session.work.may_write => {
            // It has written nothing so far, and what can only read will not: nothing is lost with the
            // answer. Anything else may get its number while it commits: a NOTIFY does.
            session.work.writes.applied_by = None;
        }
        // A failure before the commit is why the commit failed, too.
        Some(Err(error)) => failed = Some(error),
        Some(Ok(StepOutput::Script(None) | StepOutput::Rows(_))) | None => {}
    }
    let error = match (answers.commit, failed) {
        // What only reads is committed all the same, and what it has read is not as isolated.
        (Some(Ok(_)), _) if !left_isolation => {
            check_end(&mut session, answers.end)?;
            return session.check_confirmed();
        }
        (_, Some(failed)) | (Some(Err(failed)), None) => session.step_failed(failed, ""),
        (Some(Ok(_)) | None, None) => session.deadline_passed(),
    };
    if left_isolation {
        return Err(isolation_left(error));
    }
    let is_over = error.report().is_some_and(|report| report.sqlstate == "25P01");
    let error = if is_over { transaction_controlled() } else { error };
    let Some(token) = token.filter(|_| error.outcome() == Outcome::Unknown) else {
        return Err(error);
    };
    let database = Arc::clone(&session.database);
    let deadline = session.deadline;
    let changes_definitions = session.checkin.changes_definitions;
    // The connection is of no more use, and the server may be waiting for its end.
    drop(session);
    let error = error.with_transaction_token(token.print());
    let resolving =
        resolve(&database.name, || outcome_of_token(&database, &token), error, deadline);
    let resolved = Box::pin(resolving).await;
    if changes_definitions {
        database.definitions_changed();
    }
    resolved
}

/// The error of a unit that asked for a level, and has left it.
fn isolation_left(cause: Error) -> Error {
    let message = "a statement ended the isolation level of its transaction";
    Error::new(ErrorKind::FailedPrecondition, message)
        .with_condition("ISOLATION_LEFT")
        .with_hint("No statement may reset or lower transaction_isolation: ask for the level that you need.")
        .with_cause(cause)
}

/// Checks that a commit was one where nothing guarded it.
fn check_end(session: &mut Session, end: TransactionEnd) -> Result<()> {
    if session.can(Ability::Savepoints) || session.work.forbids_writes {
        return Ok(());
    }
    match end {
        TransactionEnd::Committed => Ok(()),
        TransactionEnd::Earlier => Err(transaction_controlled()),
        TransactionEnd::RolledBack => {
            let message = "the transaction had failed, and was rolled back";
            Err(Error::new(ErrorKind::TransactionAborted, message))
        }
    }
}

/// The error of a unit whose response found no row to be stored in.
fn key_row_gone(cause: Error) -> Error {
    let message = "the row of the call's own idempotency key is gone";
    Error::new(ErrorKind::FailedPrecondition, message)
        .with_condition("IDEMPOTENCY_KEY_GONE")
        .with_hint("No statement of a call may change or hide the table of idempotency keys.")
        .with_cause(cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_is_opened_as_it_was_asked_for() {
        let mode =
            |isolation, read_only, deferrable| TransactionMode { isolation, read_only, deferrable };
        let cases = [
            (mode(None, false, false), "BEGIN"),
            (mode(None, true, false), "BEGIN READ ONLY; SAVEPOINT rowgate_read_only"),
            (
                mode(Some(IsolationLevel::Serializable), true, true),
                "BEGIN ISOLATION LEVEL SERIALIZABLE DEFERRABLE READ ONLY; SAVEPOINT rowgate_read_only",
            ),
        ];
        for (mode, sql) in cases {
            assert_eq!(begin(mode, &Capabilities::complete()).expect("it can be kept"), sql);
        }
    }
}
