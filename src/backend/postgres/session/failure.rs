//! What a failure means: to the caller, and to the connection.

use tokio_postgres::error::DbError;

use super::Session;
use crate::backend::postgres::connection::pipeline::Failure;
use crate::backend::postgres::error::{
    ends_connection, from_statement, is_lost_statement, is_stale_plan, is_terminated,
};
use crate::config::TargetSession;
use crate::error::{Error, ErrorKind, Outcome};

/// Whether what failed may be run again at once, unseen by the caller: nothing of it has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetryScope {
    /// It may not.
    No,
    /// On another connection: this one was ended while it was idle.
    Elsewhere,
    /// With statements that are prepared anew.
    Afresh,
}

/// How many connections that were ended while idle one attempt may meet. Each is closed.
const SPOILED_TRIES: usize = 8;

/// How often statements are prepared anew: the tables may change again between that and the run.
const FRESH_TRIES: usize = 3;

/// What an attempt may try unseen, as long as nothing of it has begun to run.
pub(crate) struct AttemptBudget {
    left: usize,
    fresh_left: usize,
    /// Whether statements are prepared anew.
    pub(crate) afresh: bool,
}

impl AttemptBudget {
    pub(crate) fn new() -> Self {
        Self { left: SPOILED_TRIES, fresh_left: FRESH_TRIES, afresh: false }
    }

    /// Whether another try may be made.
    pub(crate) fn allow(&mut self, again: RetryScope) -> bool {
        match again {
            RetryScope::No => false,
            RetryScope::Elsewhere => {
                self.left = self.left.saturating_sub(1);
                self.left > 0
            }
            RetryScope::Afresh => {
                self.afresh = true;
                let may = self.fresh_left > 0;
                self.fresh_left = self.fresh_left.saturating_sub(1);
                may
            }
        }
    }
}

impl Session {
    /// What was sent is not what was meant to be, so nothing can be said of what it was answered.
    pub(crate) fn mistaken(&mut self, commits: bool) -> Error {
        self.broken = true;
        let database = &self.shared.database;
        tracing::error!(database, "requests and answers do not fit on a connection");
        if !commits || self.reads {
            return self.lost();
        }
        let message =
            format!("what database \"{database}\" answered does not fit what it was asked");
        Error::new(ErrorKind::OutcomeUnknown, message).with_outcome(Outcome::Unknown)
    }

    /// What a failure in a pipeline means.
    pub(crate) fn misfortune(&mut self, failure: Failure, sql: &str) -> Error {
        match failure {
            Failure::Driver(error) => {
                let busy = self.busy;
                let error = self.failure(error, sql);
                self.busy = busy;
                error
            }
            Failure::Ours(error) => error,
        }
    }

    /// What the driver's error means here.
    pub(crate) fn failure(&mut self, error: tokio_postgres::Error, sql: &str) -> Error {
        let failure = self.failure_of_a_whole(error, sql);
        if self.divisible && failure.outcome() == Outcome::NotApplied {
            // What it committed before it failed stays.
            return failure.with_outcome(Outcome::Unknown);
        }
        failure
    }

    /// The same of a statement that is applied as a whole or not at all.
    fn failure_of_a_whole(&mut self, error: tokio_postgres::Error, sql: &str) -> Error {
        if let Some(reported) = error.as_db_error() {
            self.busy = false;
            let mapped = from_statement(reported, sql, self.shared.details);
            self.broken |= ends_connection(reported);
            let mapped = self.stale(reported, mapped);
            if is_terminated(reported) && !self.begun && !self.divisible {
                self.again = RetryScope::Elsewhere;
            }
            if mapped.kind() == ErrorKind::DeadlineExceeded && self.cancel.is_aimed() {
                return Error::new(
                    ErrorKind::DeadlineExceeded,
                    "the deadline passed; the statement was cancelled",
                );
            }
            let writes = !self.read_only && self.shared.connector.takes_writes();
            if mapped.kind() == ErrorKind::ReadOnly && writes {
                match self.connection().kept {
                    // It never was anything else: another name or address may lead elsewhere.
                    TargetSession::Any => self.broken = true,
                    TargetSession::ReadWrite
                    | TargetSession::Primary
                    | TargetSession::ReadOnly
                    | TargetSession::Standby
                    | TargetSession::PreferStandby => self.is_suspect = true,
                }
                return self.not_primary().with_cause(error);
            }
            if mapped.kind() == ErrorKind::OutcomeUnknown && self.reads {
                return self.lost().with_cause(error);
            }
            return mapped;
        }
        let wire = &self.connection().wire;
        if wire.rejected_a_row() {
            let outcome = self.outcome();
            return Error::new(ErrorKind::RowTooLarge, "a row is larger than max_row_size")
                .with_outcome(outcome)
                .with_hint("Select less of it, or raise max_row_size.");
        }
        if wire.is_copying() {
            return Error::new(
                ErrorKind::Unsupported,
                "COPY to or from the client is not supported",
            )
            .with_hint("Use StreamQuery to read and parameters to write.");
        }
        let begun = wire.last_sent();
        if self.reads || self.decisive.is_some_and(|number| begun < number) {
            return self.lost().with_cause(error);
        }
        let database = &self.shared.database;
        let message = format!("the connection to database \"{database}\" was lost during a write");
        Error::new(ErrorKind::OutcomeUnknown, message)
            .with_outcome(Outcome::Unknown)
            .with_cause(error)
    }

    /// Sees to a statement that was prepared and has to be anew. Before anything has begun to run that goes
    /// unseen; later it is an error as any other, of which nothing was applied.
    fn stale(&mut self, reported: &DbError, mapped: Error) -> Error {
        let is_ours = |name: &str| match self.at_work.is_empty() {
            // One of our own questions, or a statement that is being prepared.
            true => true,
            false => self.at_work.iter().any(|kind| kind.is_named(name)),
        };
        let is_lost = is_lost_statement(reported, is_ours);
        if !is_lost && !is_stale_plan(reported) {
            return mapped;
        }
        // With one all are lost, those of which only the driver knows too.
        self.broken |= is_lost;
        self.connection().forget_statements();
        if !self.begun && !self.divisible {
            self.again = RetryScope::Afresh;
        }
        let error = Error::new(ErrorKind::PlanChanged, mapped.message().to_owned());
        match mapped.report() {
            Some(report) => error.with_report(report.clone()),
            None => error,
        }
    }

    /// The error of a statement that did not answer its cancel in time.
    pub(crate) fn deadline_passed(&self) -> Error {
        let database = &self.shared.database;
        if self.reads && !self.divisible {
            let message = format!("the deadline passed while database \"{database}\" was working");
            return Error::new(ErrorKind::DeadlineExceeded, message);
        }
        let message = format!("the deadline passed while database \"{database}\" was writing");
        Error::new(ErrorKind::OutcomeUnknown, message).with_outcome(Outcome::Unknown)
    }

    /// A write was refused that nobody asked to refuse: the server became a standby, and so have the
    /// connections that are open to it.
    fn not_primary(&self) -> Error {
        let database = &self.shared.database;
        let message = format!("the server of database \"{database}\" takes no writes: a standby");
        Error::new(ErrorKind::NotPrimary, message)
    }

    fn outcome(&self) -> Outcome {
        if self.reads { Outcome::NotApplied } else { Outcome::Unknown }
    }

    pub(crate) fn lost(&self) -> Error {
        let database = &self.shared.database;
        let message = format!("the connection to database \"{database}\" was lost");
        Error::new(ErrorKind::ConnectionLost, message)
    }
}
