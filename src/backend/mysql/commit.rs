//! Commits whose result is the truth: a commit without an answer is resolved by its key, or by a mark, which is a row
//! that is committed with the work.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{SystemTime, UNIX_EPOCH};

use ring::rand::{SecureRandom, SystemRandom};

use super::commit_token::CommitToken;
use super::connection::connection_state::ConnectionState;
use super::connection::{CommandEnd, Connection};
use super::execute::statement_start::ReadyStatement;
use super::execute::unit::{check_guard, closing, roll_back};
use super::key_rows::KeyRows;
use super::keys::{SYNC_WAIT, outcome_of_claim, store, with_claimed_key};
use super::protocol::commands::Command;
use super::protocol::server_error::ServerError;
use super::session::mysql_context::MysqlContext;
use super::session::requests::Runnable;
use super::session::{Applies, Session, SessionConnection, UnitState};
use crate::backend::idempotency::stored;
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
}

/// The numbers of the errors of a server without a table for marks, or without a right to it: NO_SUCH_TABLE,
/// TABLEACCESS_DENIED, COLUMNACCESS_DENIED. They leave the transaction as it was.
const HAS_NO_MARKS: [u16; 3] = [1146, 1142, 1143];

/// The number and place of a commit, by which it can be resolved.
struct Mark {
    number: [u8; 32],
    token: CommitToken,
}

/// Commits an open transaction, and resolves the outcome where it is unknown.
pub(crate) async fn commit(mut session: Session, plan: CommitPlan<'_>) -> Result<()> {
    if let Err(error) = prepare_end(&mut session, &plan).await {
        let is_read_only = plan.is_read_only;
        if session.takes_commands() {
            drop(roll_back(&mut session, is_read_only).await);
        }
        return Err(error);
    }
    let needs_mark = plan.writes && plan.key.is_none();
    let marked = if needs_mark { mark(&mut session).await } else { Ok(None) };
    let mut mark = match marked {
        Ok(mark) => mark,
        Err(error) => {
            if session.takes_commands() {
                drop(roll_back(&mut session, plan.is_read_only).await);
            }
            return Err(error);
        }
    };
    let ended = send_commit(&mut session, &plan, &mut mark).await;
    let Err(error) = ended else { return Ok(()) };
    if error.kind() != ErrorKind::OutcomeUnknown || error.outcome() != Outcome::Unknown {
        return Err(error);
    }
    let database = Arc::clone(&session.database);
    let state = Arc::clone(&session.connection().state);
    let deadline = session.deadline;
    let is_node = session.connection().server.is_galera;
    // The connection is of no more use.
    drop(session);
    match (plan.key, mark) {
        (Some(key), _) => {
            let row = CommitRow::Key(key, deadline);
            let query = || outcome_after_the_end(&database, &state, is_node, row);
            resolve(&database.name, query, error, deadline).await
        }
        (None, Some((Mark { token, .. }, _))) => {
            let error = error.with_transaction_token(token.print());
            let row = CommitRow::Mark(&token);
            let query = || outcome_after_the_end(&database, &state, is_node, row);
            resolve(&database.name, query, error, deadline).await
        }
        (None, None) => Err(error),
    }
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
async fn prepare_end(session: &mut Session, plan: &CommitPlan<'_>) -> Result<()> {
    if plan.is_guarded && !plan.is_read_only {
        check_guard(session).await?;
    }
    if let Some(key) = plan.key {
        let stored = store(session, key, stored(plan.results)).await;
        stored.map_err(|error| with_claimed_key(plan.key, error))?;
    }
    Ok(())
}

/// Makes the mark of a commit, and the statement that writes it; `None` where no table holds marks.
async fn mark(session: &mut Session) -> Result<Option<(Mark, Runnable)>> {
    let database = Arc::clone(&session.database);
    let server = Arc::clone(&session.connection().server);
    if !database.marks.are_possible() || server.uuid.is_empty() {
        return Ok(None);
    }
    let claim = &database.keys.claim;
    let runnable = match session.prepare_all(&[(&claim.sql, claim)]).await?.pop() {
        Some(Ok(runnable)) => runnable,
        Some(Err(error)) if HAS_NO_MARKS.contains(&error.errno) => {
            database.marks.are_refused();
            return Ok(None);
        }
        // It may have rolled all of it back: the commit would say OK of nothing.
        Some(Err(error)) => return Err(session.refused(&error, "")),
        None => return Ok(None),
    };
    let mut number = [0; 32];
    SystemRandom::new().fill(&mut number).map_err(|_unspecified| {
        Error::new(ErrorKind::Internal, "the system has no random numbers")
    })?;
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let token = CommitToken {
        server: server.uuid.clone(),
        started: server.started,
        thread: session.connection().state.thread_id,
        time: seconds,
        mark: number,
    };
    Ok(Some((Mark { number, token }, runnable)))
}

/// Sends the mark, the commit and what follows in one flight, and tells how the commit ended.
async fn send_commit(
    session: &mut Session,
    plan: &CommitPlan<'_>,
    mark: &mut Option<(Mark, Runnable)>,
) -> Result<()> {
    session.begin_request()?;
    let database = Arc::clone(&session.database);
    if let Some((mark, runnable)) = mark {
        let claim = &database.keys.claim;
        let values = KeyRows::mark_values(&mark.number);
        let ready = ReadyStatement::new(&claim.sql, claim, runnable.clone(), &values, 0)?;
        ready.queue_own(session)?;
    }
    let before = session.connection().state.sent.load(Relaxed);
    session.connection().queue_own(Command::Query("COMMIT"));
    for statement in closing(plan.is_read_only) {
        session.connection().queue_own(Command::Query(statement));
    }
    session.work.applies = if plan.writes { Applies::Commit } else { Applies::Nothing };
    let answers = usize::from(mark.is_some()) + 1 + closing(plan.is_read_only).len();
    let mut ends: Vec<CommandEnd> = Vec::with_capacity(answers);
    let deadline = session.deadline;
    let SessionConnection { checkout, cancel } = session.parts();
    cancel.commit = Some(before + 1 - u64::from(mark.is_some()));
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
    let mut ends = ends.into_iter();
    let mut doubt = None;
    if mark.is_some()
        && let Some(Err(error)) = ends.next()
    {
        // There is no row by which the commit could be resolved.
        *mark = None;
        doubt = mark_refused(session, &error)?;
    }
    match ends.next() {
        Some(Ok(_)) => {
            session.work.applies = Applies::Nothing;
            session.work.is_divisible = false;
            doubt.map_or(Ok(()), Err)
        }
        Some(Err(error)) => Err(session.refused(&error, "")),
        None if PlantedBug::AssumedCommit.is_planted() => Ok(()),
        None => match read {
            Some(Err(failure)) => Err(session.stream_failed(failure)),
            Some(Ok(())) | None => Err(session.deadline_passed()),
        },
    }
}

/// The meaning of a mark that was refused, to the commit behind it: an error if that has committed nothing, and a doubt
/// if it may have. Whoever is rolled back gets OK for a commit of nothing.
fn mark_refused(session: &mut Session, error: &ServerError) -> Result<Option<Error>> {
    let failed = session.refused(error, "");
    if session.work.unit == UnitState::RolledBack {
        session.work.applies = Applies::Nothing;
        return Err(failed.with_outcome(session.rolled_back_outcome()));
    }
    if HAS_NO_MARKS.contains(&error.errno) {
        session.database.marks.are_refused();
        return Ok(None);
    }
    let message = "the commit's mark was refused, and perhaps all was rolled back with it";
    Ok(Some(outcome_unknown(message.to_owned()).with_cause(failed)))
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
