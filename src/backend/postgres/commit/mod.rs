//! Commits whose result is the truth: a commit without an answer is resolved.

pub(crate) mod resolution;
pub(crate) mod token;

use std::sync::Arc;

use tokio_postgres::error::SqlState;

use super::connection::pipeline::{PipelineEnd, PipelineStep, ResultQuota, StepOutput, StepResult};
use super::idempotency::key_table;
use super::session::Session;
use super::session::work::SessionWork;
use crate::backend::idempotency::stored;
use crate::backend::postgres::connection::idempotency_table::key_values;
use crate::backend::{IdempotencyKey, IsolationLevel, TransactionMode};
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::planted_bug::PlantedBug;
use crate::value::Value;
use crate::value::proto::ResultSet;
use resolution::{outcome_of_token, resolve};
use token::{CURRENT_XID, INCARNATION, REPEATABLE_READ_XID, SERIALIZABLE_XID, Token};

/// Ends a transaction that we opened; fails in one that failed or ended before, which a mere COMMIT answers
/// with a silent ROLLBACK.
const COMMIT: &str = "SAVEPOINT rowgate_guard; COMMIT";

/// The savepoint at the start of a READ_ONLY transaction. No caller may give this name to one.
pub(crate) const READ_ONLY_SAVEPOINT: &str = "rowgate_read_only";

/// Ends a READ_ONLY transaction: what it wrote in spite of its mode is undone. The commit has a meaning only for
/// SERIALIZABLE: a report that is rolled back would not forbid the writes that contradict it.
const END_READ_ONLY: &str = "ROLLBACK TO SAVEPOINT rowgate_read_only; COMMIT";

/// The statements that end the transaction of such work.
pub(crate) fn commit_of(work: &SessionWork) -> &'static str {
    if work.forbids_writes { END_READ_ONLY } else { COMMIT }
}

/// The query of the transaction's number, which fails where the transaction is not as isolated as its caller
/// asked: before PostgreSQL 16 a `RESET transaction_isolation` ends the level at any time.
pub(crate) fn xid_of(work: &SessionWork) -> &'static str {
    match work.isolation {
        None | Some(IsolationLevel::ReadCommitted) => CURRENT_XID,
        Some(IsolationLevel::RepeatableRead) => REPEATABLE_READ_XID,
        Some(IsolationLevel::Serializable) => SERIALIZABLE_XID,
    }
}

/// The statement that opens a transaction.
pub(crate) fn begin(mode: TransactionMode) -> String {
    let isolation = match mode.isolation {
        None => "",
        Some(IsolationLevel::ReadCommitted) => " ISOLATION LEVEL READ COMMITTED",
        Some(IsolationLevel::RepeatableRead) => " ISOLATION LEVEL REPEATABLE READ",
        Some(IsolationLevel::Serializable) => " ISOLATION LEVEL SERIALIZABLE",
    };
    let deferrable = if mode.deferrable { " DEFERRABLE" } else { "" };
    if !mode.read_only {
        return format!("BEGIN{isolation}{deferrable}");
    }
    // The savepoint pins the mode, which no subtransaction may change, without taking the snapshot that
    // belongs to the first statement.
    format!("BEGIN{isolation}{deferrable} READ ONLY; SAVEPOINT {READ_ONLY_SAVEPOINT}")
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
        let incarnation = session.query_value(INCARNATION).await?.unwrap_or_default();
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
        let prepared = session.prepare(&table.store).await?;
        let [caller, key] = key_values(&key.caller, &key.key);
        values = [caller, key, Value::bytes(stored(results))];
        let parameters = prepared.encode(&values)?;
        steps.push(PipelineStep::OwnStatement(prepared, parameters));
    }
    let guarded = commit_of(&session.work);
    let commit = if PlantedBug::IgnoredTag.is_planted() { "COMMIT" } else { guarded };
    steps.extend([xid_of(&session.work), commit].map(PipelineStep::script));
    let quota = ResultQuota::unlimited();
    let mut responses = session.send_pipeline(steps, &quota, PipelineEnd::Commit).await?;
    let stored = key.and_then(|_| responses.next());
    let mut answers = CommitAnswers { xid: responses.next(), commit: responses.next() };
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
        (Some(Ok(_)), _) if !left_isolation => return session.check_confirmed(),
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
    let resolved =
        resolve(&database, || outcome_of_token(&database, &token), error, deadline).await;
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
            assert_eq!(begin(mode), sql);
        }
    }
}
