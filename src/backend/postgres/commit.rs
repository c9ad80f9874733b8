//! The commit that tells the truth, and what became of one that got no answer.

use std::time::{Duration, Instant};

use super::codec;
use super::connection::Connection;
use super::flight::{Answer, Failure, Flight, Room, Step, rows};
use super::lease::Lease;
use super::shared::Shared;
use super::token::{CURRENT, INCARNATION, Token};
use crate::backend::{IdempotencyKey, TransactionMode, UnitState};
use crate::config::Planted;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Outcome, Result};

/// Ends a transaction that we opened; one that failed or ended inside answers with an error, never with
/// a silent ROLLBACK.
pub(super) const COMMIT: &str = "SAVEPOINT rowgate_guard; COMMIT";

/// An answer, unless it did not come before the deadline.
type Answered = Option<std::result::Result<Answer, Failure>>;

/// By what a transaction is asked for.
#[derive(Clone, Copy)]
enum Name<'a> {
    Token(&'a Token),
    /// It has claimed this key.
    Key(&'a IdempotencyKey),
}

/// How long to wait between two attempts to ask.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a commit without an answer is asked for at most, once its deadline has passed.
const LAST_CALL: Duration = Duration::from_millis(30);
/// How late after its deadline a call may end: 50 ms, of which the way back takes a part.
const LATEST: Duration = Duration::from_millis(45);

/// How a key is claimed only to see whether it can be: the first to claim it may still be at work.
const ASK_KEY: &str = "BEGIN; SET LOCAL lock_timeout = '1s'";

/// The statement that opens a transaction.
pub(super) fn begin(mode: TransactionMode) -> String {
    use crate::backend::IsolationLevel as Level;
    let mut sql = "BEGIN".to_owned();
    match mode.isolation {
        None => {}
        Some(Level::ReadCommitted) => sql.push_str(" ISOLATION LEVEL READ COMMITTED"),
        Some(Level::RepeatableRead) => sql.push_str(" ISOLATION LEVEL REPEATABLE READ"),
        Some(Level::Serializable) => sql.push_str(" ISOLATION LEVEL SERIALIZABLE"),
    }
    if mode.deferrable {
        sql.push_str(" DEFERRABLE");
    }
    if mode.read_only {
        // The first query pins the mode; without it `SET TRANSACTION READ WRITE` escapes.
        sql.push_str(" READ ONLY; SELECT 1");
    }
    sql
}

/// Whether a command tag shows that a statement's text controlled the transaction after all.
pub(super) fn controls_transaction(tag: &str) -> bool {
    [
        "COMMIT",
        "ROLLBACK",
        "BEGIN",
        "START TRANSACTION",
        "PREPARE TRANSACTION",
        "SAVEPOINT",
        "RELEASE",
    ]
    .contains(&tag)
}

/// The error of a unit whose own text controlled its transaction: a part may be applied.
pub(super) fn was_controlled() -> Error {
    let message = "the statement ended its transaction, which SQL text may not do here";
    Error::new(ErrorKind::TransactionControl, message).with_outcome(Outcome::Unknown)
}

impl Lease {
    /// Asks, once for each connection, which incarnation of the server it is on.
    pub(super) async fn incarnation(&mut self, deadline: Deadline) -> Result<String> {
        if let Some(incarnation) = &self.connection().incarnation {
            return Ok(incarnation.clone());
        }
        let incarnation = self.value(deadline, INCARNATION).await?.unwrap_or_default();
        self.connection().incarnation = Some(incarnation.clone());
        Ok(incarnation)
    }

    /// Commits an open transaction.
    pub(super) async fn commit(mut self, deadline: Deadline, incarnation: &str) -> Result<()> {
        let room = Room::new(0, 0);
        let guarded = if Planted::IgnoredTag.is_there() { "COMMIT" } else { COMMIT };
        let steps = vec![Step::Script(CURRENT.to_owned()), Step::Script(guarded.to_owned())];
        let mut landing = self.fly(deadline, Flight { steps, room: &room, commits: true }).await?;
        let ended = (landing.next(), landing.next());
        self.conclude(ended, incarnation, deadline).await
    }

    /// Ends with what the request for the transaction's number and the commit were answered.
    pub(super) async fn conclude(
        mut self,
        (number, committed): (Answered, Answered),
        incarnation: &str,
        deadline: Deadline,
    ) -> Result<()> {
        let (mut number, mut cut) = (number, None);
        if let Some(Err(_)) = number {
            cut = number.take().and_then(std::result::Result::err);
        }
        let token = match number {
            Some(Ok(Answer::Script(Some(xid)))) => Token::new(incarnation, &xid),
            Some(Ok(Answer::Script(None))) => {
                // It has written nothing: then nothing is lost with the answer.
                self.reads = true;
                None
            }
            Some(Ok(Answer::Rows(_)) | Err(_)) | None => None,
        };
        let error = match (committed, cut) {
            (Some(Ok(_)), _) if self.connection().wire.take_unconfirmed() => {
                return Err(self.unconfirmed());
            }
            (Some(Ok(_)), _) => return Ok(()),
            // What failed before the commit is why it failed, too.
            (_, Some(failure)) | (Some(Err(failure)), None) => self.misfortune(failure, ""),
            (None, None) => self.deadline_passed(),
        };
        let error = match error.report().map(|report| report.sqlstate.as_str()) {
            Some("25P01") => was_controlled(),
            Some(_) | None => error,
        };
        self.resolve(error, token, deadline).await
    }

    /// The error of a commit that is there, and that no standby has confirmed: the database calls it a
    /// success, with a warning. It may not survive a failover, so it is none.
    pub(super) fn unconfirmed(&self) -> Error {
        let database = &self.shared().database;
        let message = format!(
            "no synchronous standby of database \"{database}\" confirmed the commit in time"
        );
        Error::new(ErrorKind::OutcomeUnknown, message).with_outcome(Outcome::Unknown)
    }

    /// Finds out what became of a commit, where the error says that it is unknown.
    pub(super) async fn resolve(
        self,
        error: Error,
        token: Option<Token>,
        deadline: Deadline,
    ) -> Result<()> {
        let Some(token) = token else { return Err(error) };
        if error.outcome() != Outcome::Unknown {
            return Err(error);
        }
        let shared = std::sync::Arc::clone(self.shared());
        // The connection is of no more use, and its end is what the server may be waiting for.
        drop(self);
        match shared.ask_until_known(Name::Token(&token), deadline).await {
            UnitState::Applied => Ok(()),
            UnitState::NotApplied => Err(shared.lost_before_commit()),
            UnitState::InProgress | UnitState::Unknown => {
                Err(error.with_transaction_token(token.print()))
            }
        }
    }
}

impl Shared {
    /// What became of a transaction, asked on new connections until it is known or the deadline passes.
    async fn ask_until_known(&self, name: Name<'_>, deadline: Deadline) -> UnitState {
        let last_call = (Instant::now() + LAST_CALL).min(deadline.instant() + LATEST);
        let latest = deadline.instant().max(last_call);
        let asking = async {
            loop {
                let answer = match name {
                    Name::Token(token) => self.ask(token).await,
                    Name::Key(key) => self.ask_key(key).await,
                };
                match answer {
                    Ok(UnitState::InProgress) | Err(_) => tokio::time::sleep(PAUSE).await,
                    Ok(known) => return known,
                }
            }
        };
        let asked = tokio::time::timeout_at(latest.into(), asking).await;
        asked.unwrap_or(UnitState::Unknown)
    }

    /// Ends a commit whose outcome is in doubt by the key that its transaction has claimed.
    pub(super) async fn resolve_by_key(
        &self,
        key: &IdempotencyKey,
        doubt: Error,
        deadline: Deadline,
    ) -> Result<()> {
        match self.ask_until_known(Name::Key(key), deadline).await {
            UnitState::Applied => Ok(()),
            UnitState::NotApplied => Err(self.lost_before_commit()),
            UnitState::InProgress | UnitState::Unknown => Err(doubt),
        }
    }

    /// What became of the transaction that has claimed a key, asked once on a new connection by claiming
    /// it again. Where that succeeds the first claim is gone, and with it all that it was made with.
    async fn ask_key(&self, key: &IdempotencyKey) -> Result<UnitState> {
        let mut connection = self.opener.open_through_gate().await?;
        let lost = |error| self.unanswered().with_cause(error);
        connection.client.batch_execute(ASK_KEY).await.map_err(lost)?;
        let claim = connection.prepare(&self.keys.claim).await.map_err(lost)?;
        let values = self.keys.claiming(key);
        let values = codec::encode(&values, claim.statement.params())?;
        let Err(error) = connection.client.execute_raw(&claim.statement, values).await else {
            // The connection ends here, and its claim with it.
            return Ok(UnitState::NotApplied);
        };
        match error.code().map(tokio_postgres::error::SqlState::code) {
            Some("23505") => self.standing_under(key, &mut connection).await.map_err(lost),
            Some("55P03") => Ok(UnitState::InProgress),
            Some(_) | None => Err(lost(error)),
        }
    }

    /// Whose row stands under a key: that of this request, or of another one that came after it.
    async fn standing_under(
        &self,
        key: &IdempotencyKey,
        connection: &mut Connection,
    ) -> std::result::Result<UnitState, tokio_postgres::Error> {
        connection.client.batch_execute("ROLLBACK").await?;
        let read = connection.prepare(&self.keys.read).await?;
        let row = connection.client.query_opt(&read.statement, &[&key.caller, &key.key]).await?;
        Ok(match row.map(|row| row.try_get::<_, Vec<u8>>(0)).transpose()? {
            Some(hash) if hash == key.request_hash => UnitState::Applied,
            Some(_) => UnitState::NotApplied,
            None => UnitState::InProgress,
        })
    }

    fn lost_before_commit(&self) -> Error {
        let message = format!("the connection to database \"{}\" was lost", self.database);
        Error::new(ErrorKind::ConnectionLost, message).with_retry_after(Duration::from_millis(20))
    }

    /// Asks once, on a new connection: an old one may be to a server that is no longer the primary.
    pub(super) async fn ask(&self, token: &Token) -> Result<UnitState> {
        let connection = self.opener.open_through_gate().await?;
        let question = token.question();
        let answer = connection.client.simple_query(&question).await;
        let messages = match answer {
            Ok(messages) => messages,
            // The number is in the future: it was given by an incarnation that lost it.
            Err(error) if error.code().is_some_and(|code| code.code() == "22023") => {
                return Ok(UnitState::NotApplied);
            }
            Err(error) => return Err(self.unanswered().with_cause(error)),
        };
        let Some(row) = rows(&messages).next() else { return Err(self.unanswered()) };
        Ok(token.state(row.get(0).unwrap_or_default(), row.get(1)))
    }

    fn unanswered(&self) -> Error {
        let message = format!("database \"{}\" does not answer", self.database);
        Error::new(ErrorKind::DatabaseUnavailable, message)
            .with_retry_after(Duration::from_millis(250))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::IsolationLevel;

    #[test]
    fn a_transaction_is_opened_as_it_was_asked_for() {
        let mode =
            |isolation, read_only, deferrable| TransactionMode { isolation, read_only, deferrable };
        let cases = [
            (mode(None, false, false), "BEGIN"),
            (mode(None, true, false), "BEGIN READ ONLY; SELECT 1"),
            (
                mode(Some(IsolationLevel::Serializable), true, true),
                "BEGIN ISOLATION LEVEL SERIALIZABLE DEFERRABLE READ ONLY; SELECT 1",
            ),
        ];
        for (mode, sql) in cases {
            assert_eq!(begin(mode), sql);
        }
    }
}
