//! The commit that tells the truth.

pub(crate) mod resolution;
pub(crate) mod token;

use super::session::Session;
use crate::backend::postgres::connection::pipeline::{
    Answer, Failure, Pipeline, ResultQuota, Step,
};
use crate::backend::{TransactionMode, TransactionOutcome};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::planted_bug::PlantedBug;
use resolution::Name;
use token::{CURRENT, INCARNATION, Token};

/// Ends a transaction that we opened; one that failed or ended inside answers with an error, never with
/// a silent ROLLBACK.
pub(crate) const COMMIT: &str = "SAVEPOINT rowgate_guard; COMMIT";

/// An answer, unless it did not come before the deadline.
type Answered = Option<std::result::Result<Answer, Failure>>;

/// The statement that opens a transaction.
pub(crate) fn begin(mode: TransactionMode) -> String {
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
pub(crate) fn controls_transaction(tag: &str) -> bool {
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
pub(crate) fn was_controlled() -> Error {
    let message = "the statement ended its transaction, which SQL text may not do here";
    Error::new(ErrorKind::TransactionControl, message).with_outcome(Outcome::Unknown)
}

impl Session {
    /// Asks, once for each connection, which incarnation of the server it is on.
    pub(crate) async fn incarnation(&mut self, deadline: Deadline) -> Result<String> {
        if let Some(incarnation) = &self.connection().incarnation {
            return Ok(incarnation.clone());
        }
        let incarnation = self.value(deadline, INCARNATION).await?.unwrap_or_default();
        self.connection().incarnation = Some(incarnation.clone());
        Ok(incarnation)
    }

    /// Commits an open transaction.
    pub(crate) async fn commit(mut self, deadline: Deadline, incarnation: &str) -> Result<()> {
        let room = ResultQuota::new(0, 0);
        let guarded = if PlantedBug::IgnoredTag.is_planted() { "COMMIT" } else { COMMIT };
        let steps = vec![Step::Script(CURRENT.to_owned()), Step::Script(guarded.to_owned())];
        let mut landing =
            self.send_pipeline(deadline, Pipeline { steps, room: &room, commits: true }).await?;
        let ended = (landing.next(), landing.next());
        self.conclude(ended, incarnation, deadline).await
    }

    /// Ends with what the request for the transaction's number and the commit were answered.
    pub(crate) async fn conclude(
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
                // It has written nothing so far. What can only read will not: then nothing is lost with
                // the answer. Anything else may get its number while it commits: a NOTIFY does.
                self.reads |= self.only_reads;
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
    pub(crate) fn unconfirmed(&self) -> Error {
        let database = &self.shared().database;
        let message = format!(
            "no synchronous standby of database \"{database}\" confirmed the commit in time"
        );
        Error::new(ErrorKind::OutcomeUnknown, message).with_outcome(Outcome::Unknown)
    }

    /// Finds out what became of a commit, where the error says that it is unknown.
    pub(crate) async fn resolve(
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
            TransactionOutcome::Applied => Ok(()),
            TransactionOutcome::NotApplied => Err(shared.lost_before_commit()),
            TransactionOutcome::InProgress | TransactionOutcome::Unknown => {
                Err(error.with_transaction_token(token.print()))
            }
        }
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
