//! Commits whose result is the truth: a commit without an answer is resolved by its key, or by its mark.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::commit_mark::CommitMark;
use super::commit_token::CommitToken;
use super::connection::connection_state::ConnectionState;
use super::connection::{CommandEnd, Connection};
use super::error::is_whole_rollback;
use super::execute::unit::{
    RELEASE_GUARD, check_open, check_released, closing, roll_back_after_failure,
};
use super::keys::{SYNC_WAIT, outcome_of_claim, store, with_claimed_key};
use super::protocol::commands::Command;
use super::protocol::server_error::ServerError;
use super::session::mysql_context::MysqlContext;
use super::session::{Applies, Session, SessionConnection};
use crate::backend::idempotency::{rolled_back, stored};
use crate::backend::resolution::{no_answer, outcome_unknown, resolve};
use crate::backend::{IdempotencyKey, TransactionOutcome};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::planted_bug::PlantedBug;
use crate::pool::CallContext;
use crate::value::proto::ResultSet;

/// The end of a unit that is to be committed.
pub(crate) struct CommitPlan<'a> {
    pub(crate) key: Option<&'a IdempotencyKey>,
    /// The results to store under the key.
    pub(crate) results: &'a [ResultSet],
    pub(crate) is_read_only: bool,
    /// The guard was set at the start.
    pub(crate) is_guarded: bool,
    /// Something may have been written.
    pub(crate) writes: bool,
    /// The mark, if it was written with the statements.
    pub(crate) mark: Option<CommitMark>,
}

/// The numbers of errors of a commit after which the server has rolled back, beside those that say so: it takes no
/// writes any more.
const ROLLED_BACK_BY_COMMIT: [u16; 2] = [1290, 1836];

/// The failure of a commit that was sent.
enum CommitFailure {
    /// Its outcome is known, or nothing can find it out.
    Told(Error),
    /// The server refused it, but may have committed with what follows; or there is no answer.
    InDoubt { error: Error, refusal: Option<Error> },
}

/// Commits an open transaction, and resolves the outcome where it is unknown.
pub(crate) async fn commit(mut session: Session, mut plan: CommitPlan<'_>) -> Result<()> {
    if let Err(error) = prepare_end(&mut session, &mut plan).await {
        let outcome = roll_back_after_failure(&mut session, plan.is_read_only).await;
        return Err(rolled_back_to(error, outcome, plan.key));
    }
    // A table without transactions keeps its rows, whatever became of the commit.
    let rolled_back = session.rolled_back_outcome();
    let (error, refusal) = match send_commit(&mut session, &plan).await {
        Ok(()) => return Ok(()),
        Err(CommitFailure::Told(error)) => {
            return Err(rolled_back_to(error, rolled_back, plan.key));
        }
        Err(CommitFailure::InDoubt { error, refusal }) => (error, refusal),
    };
    session.close();
    let database = Arc::clone(&session.database);
    let state = Arc::clone(&session.connection().state);
    let deadline = session.deadline;
    let is_node = session.connection().server.is_galera;
    // The connection is of no more use.
    drop(session);
    let resolved = match (plan.key, plan.mark) {
        (Some(key), _) => {
            let row = CommitRow::Key(key, deadline);
            let query = || outcome_after_the_end(&database, &state, is_node, row);
            resolve(&database.name, query, error, deadline).await
        }
        (None, Some(CommitMark { token, .. })) => {
            let is_whole = rolled_back == Outcome::NotApplied;
            let error = if is_whole { error.with_transaction_token(token.print()) } else { error };
            let row = CommitRow::Mark(&token);
            let query = || outcome_after_the_end(&database, &state, is_node, row);
            resolve(&database.name, query, error, deadline).await
        }
        (None, None) => Err(error),
    };
    resolved.map_err(|error| {
        let is_known = error.outcome() == Outcome::NotApplied;
        rolled_back_to(refusal.filter(|_| is_known).unwrap_or(error), rolled_back, plan.key)
    })
}

/// The error of a unit that was not committed, or may not have been, by what a rollback of it leaves.
fn rolled_back_to(error: Error, left: Outcome, key: Option<&IdempotencyKey>) -> Error {
    if error.outcome() == Outcome::Applied {
        return error;
    }
    rolled_back(error, left, key.is_some())
}

/// The row that is committed with a unit, by which its commit can be resolved.
#[derive(Clone, Copy)]
enum CommitRow<'a> {
    /// The row of a key, looked for until the deadline.
    Key(&'a IdempotencyKey, Deadline),
    Mark(&'a CommitToken),
}

impl CommitRow<'_> {
    async fn ask(self, database: &Arc<MysqlContext>) -> Result<TransactionOutcome> {
        match self {
            Self::Key(key, deadline) => outcome_by_key(database, key, deadline).await,
            Self::Mark(token) => outcome_of_token(database, token).await,
        }
    }
}

/// Does what must succeed before the commit is sent.
async fn prepare_end(session: &mut Session, plan: &mut CommitPlan<'_>) -> Result<()> {
    let is_guarded = plan.is_guarded && !plan.is_read_only;
    if is_guarded {
        check_open(session)?;
    }
    let needs_mark = plan.writes && plan.key.is_none() && plan.mark.is_none();
    let mark = if needs_mark { CommitMark::prepare(session).await? } else { None };
    if is_guarded || mark.is_some() {
        session.begin_request()?;
    }
    if is_guarded {
        session.connection().queue_own(Command::Query(RELEASE_GUARD));
    }
    if let Some(mark) = &mark {
        mark.queue(session)?;
    }
    let mut released = None;
    let mut marked = None;
    if is_guarded {
        released = Some(session.answer(async |on| on.end_of_command().await).await?);
    }
    if mark.is_some() {
        marked = Some(session.answer(async |on| on.end_of_command().await).await?);
    }
    if let Some(end) = released {
        check_released(session, end)?;
    }
    if let (Some(mark), Some(end)) = (mark, marked) {
        plan.mark = mark.written(session, end)?;
    }
    if let Some(key) = plan.key {
        let stored = store(session, key, stored(plan.results)).await;
        stored.map_err(|error| with_claimed_key(plan.key, error))?;
    }
    session.begin_request()
}

/// Sends the commit and what follows in one flight, and tells how the commit ended.
async fn send_commit(session: &mut Session, plan: &CommitPlan<'_>) -> Result<(), CommitFailure> {
    let before = session.connection().state.sent.load(Relaxed);
    session.connection().queue_own(Command::Query("COMMIT"));
    for statement in closing(plan.is_read_only) {
        session.connection().queue_own(Command::Query(statement));
    }
    session.work.applies = if plan.writes { Applies::Commit } else { Applies::Nothing };
    let answers = 1 + closing(plan.is_read_only).len();
    let mut ends: Vec<CommandEnd> = Vec::with_capacity(answers);
    let deadline = session.deadline;
    let SessionConnection { checkout, cancel } = session.parts();
    cancel.commit = Some(before + 1);
    let reading = async {
        for _ in 0..answers {
            ends.push(checkout.end_of_command().await?);
        }
        Ok(())
    };
    let read = cancel.watch(deadline, reading).await;
    if matches!(read, Some(Ok(()))) {
        cancel.commit = None;
    }
    match ends.into_iter().next() {
        Some(Ok(_)) => {
            session.work.applies = Applies::Nothing;
            session.work.is_divisible = false;
            Ok(())
        }
        Some(Err(error)) => Err(refused(session, plan, &error)),
        None if PlantedBug::AssumedCommit.is_planted() => Ok(()),
        None => {
            let error = match read {
                Some(Err(failure)) => session.stream_failed(failure),
                Some(Ok(())) | None => session.deadline_passed(),
            };
            let is_in_doubt = error.kind() == ErrorKind::OutcomeUnknown;
            Err(if is_in_doubt {
                CommitFailure::InDoubt { error, refusal: None }
            } else {
                CommitFailure::Told(error)
            })
        }
    }
}

/// The failure of a commit that the server refused. Where it has not rolled back, what restores autocommit behind it has
/// committed.
fn refused(session: &mut Session, plan: &CommitPlan<'_>, error: &ServerError) -> CommitFailure {
    let failed = session.refused(error, "");
    let is_rolled_back = is_whole_rollback(error) || ROLLED_BACK_BY_COMMIT.contains(&error.errno);
    if is_rolled_back || !plan.writes {
        return CommitFailure::Told(failed);
    }
    if failed.outcome() != Outcome::NotApplied {
        return CommitFailure::InDoubt { error: failed, refusal: None };
    }
    let message = format!("the commit was refused, and perhaps done all the same: {failed}");
    CommitFailure::InDoubt { error: outcome_unknown(message), refusal: Some(failed) }
}

/// Returns the outcome of a commit by its row, of which the absence means something only when the commit's connection
/// has ended.
async fn outcome_after_the_end(
    database: &Arc<MysqlContext>,
    state: &ConnectionState,
    is_node: bool,
    row: CommitRow<'_>,
) -> Result<TransactionOutcome> {
    // The node may be silent or gone for good: what it has committed is on the others.
    if is_node && matches!(row.ask(database).await, Ok(TransactionOutcome::Applied)) {
        return Ok(TransactionOutcome::Applied);
    }
    if database.opener.connector.has_ended(state).await {
        row.ask(database).await
    } else {
        Ok(TransactionOutcome::InProgress)
    }
}

/// Returns the outcome of a unit by its key, on another connection.
async fn outcome_by_key(
    database: &Arc<MysqlContext>,
    key: &IdempotencyKey,
    deadline: Deadline,
) -> Result<TransactionOutcome> {
    let checkout = database.pool.acquire(deadline, &CallContext::own("resolve")).await?;
    let mut session = Session::new(checkout, database, deadline);
    outcome_of_claim(&mut session, key).await
}

/// Returns the outcome of a commit by its token, on a new connection.
pub(crate) async fn outcome_of_token(
    database: &Arc<MysqlContext>,
    token: &CommitToken,
) -> Result<TransactionOutcome> {
    let connection = database.opener.open_through_breaker().await?;
    let server = Arc::clone(&connection.server);
    let is_same_server = token.is_of(&server.uuid, server.started);
    let mut questions = Vec::new();
    if server.is_galera {
        questions.push(SYNC_WAIT.to_owned());
    }
    // In this order: once the connection is gone, nothing can add the row.
    questions
        .push(format!("SELECT 1 FROM information_schema.processlist WHERE id = {}", token.thread));
    questions.push(database.keys.mark_query(&token.mark));
    let counts = count_rows(connection, &questions).await;
    let counts = counts.map_err(|cause| no_answer(&database.name).with_cause(cause))?;
    let [.., threads, rows] = counts[..] else { return Err(no_answer(&database.name)) };
    if rows == 0 && threads > 0 && is_same_server {
        return Ok(TransactionOutcome::InProgress);
    }
    let is_expired = token.is_older_than(database.keys.retention);
    Ok(match rows {
        1.. => TransactionOutcome::Applied,
        0 if is_same_server && !is_expired => TransactionOutcome::NotApplied,
        // The row may be on another server, or was deleted.
        0 => TransactionOutcome::Unknown,
    })
}

/// Runs statements of our own on a connection that is not the pool's; returns how many rows each has.
async fn count_rows(
    mut connection: Connection,
    statements: &[String],
) -> std::result::Result<Vec<usize>, String> {
    for sql in statements {
        connection.queue_own(Command::Query(sql));
    }
    let mut counts = Vec::with_capacity(statements.len());
    for _ in statements {
        let count = connection.count_rows().await;
        let count = count.map_err(|failure| format!("{failure:?}"))?;
        counts.push(count.map_err(|error| error.message)?);
    }
    Ok(counts)
}
