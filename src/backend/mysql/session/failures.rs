//! The errors of a session: the meaning of a failure to the caller, and to the connection.

use super::{Applies, Disposition, Session, UnitState};
use crate::backend::attempt::RetryScope;
use crate::backend::idempotency::unprotected;
use crate::backend::mysql::error::{
    ErrorContext, Phase, RefusedWrite, from_server_error, is_before_change, is_connection_end,
    is_stale_statement, is_whole_rollback,
};
use crate::backend::mysql::protocol::packet_stream::StreamFailure;
use crate::backend::mysql::protocol::server_error::ServerError;
use crate::backend::resolution::{connection_lost, outcome_unknown};
use crate::error::{Error, ErrorKind, Outcome};
use crate::sql::Definition;

// Numbers of errors (MySQL and MariaDB, "Server Error Message Reference").

/// A statement was killed, by KILL QUERY or at its timeout.
const QUERY_INTERRUPTED: u16 = 1317;

impl Session {
    /// The error of a statement that the server answered with an error.
    pub(crate) fn refused(&mut self, error: &ServerError, sql: &str) -> Error {
        let errno = error.errno;
        let was_killed = self.parts().cancel.was_requested();
        if self.connection().was_ended_before() {
            // It was sent before the statement came: the connection had been ended while it was idle.
            self.close();
            self.work.retry = RetryScope::OtherConnection;
            return connection_lost(&self.database.name).with_cause(error.message.clone());
        }
        if is_connection_end(error) {
            self.close();
        }
        self.note_refusal(error);
        self.unit_failed();
        if self.work.unit != UnitState::None && is_whole_rollback(error) {
            self.work.unit = UnitState::RolledBack;
        }
        let is_for_reading = self.work.forbids_writes;
        let context = ErrorContext {
            phase: Phase::Statement,
            refused_write: if is_for_reading {
                RefusedWrite::ReadOnly
            } else {
                RefusedWrite::NotPrimary
            },
            details: self.database.error_details,
            sql,
        };
        let reported = from_server_error(error, &context);
        let has_not_begun = self.work.definition == Definition::OfOne && is_before_change(error);
        // In a unit its rollback tells.
        let is_divided =
            self.work.is_divisible && self.work.unit == UnitState::None && !has_not_begun;
        let mut failed = match errno {
            QUERY_INTERRUPTED if was_killed => {
                let message = "the deadline passed; the statement was cancelled";
                Error::new(ErrorKind::DeadlineExceeded, message)
            }
            _ if is_stale_statement(error) => {
                self.forget_plans();
                reported
            }
            _ => {
                // The node of a cluster that lacks its quorum, or a server that became read-only.
                if reported.kind() == ErrorKind::NotPrimary {
                    // Where any server would do, another address of the name may lead to one that takes writes.
                    let needs_writes = self.database.opener.connector.needs_writes();
                    self.close();
                    if needs_writes {
                        self.checkin.disposition = Disposition::FailOver;
                    }
                }
                reported
            }
        };
        if is_divided && failed.outcome() == Outcome::NotApplied {
            failed = failed.with_outcome(Outcome::Unknown);
        }
        if self.work.applies == Applies::Nothing { self.of_unit(failed) } else { failed }
    }

    /// Fails if what clears the session's history in front of a statement was refused within a transaction: with it,
    /// all may have been rolled back, and the statement behind it has begun another one. Its connection is closed.
    pub(crate) fn must_be_cleared(
        &mut self,
        cleared: Result<(), ServerError>,
        sql: &str,
    ) -> Result<(), Error> {
        match cleared {
            Err(error) if self.work.unit != UnitState::None => {
                self.close();
                Err(self.refused(&error, sql))
            }
            // What stands for itself answers for itself.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Has statements prepared anew: definitions have changed.
    fn forget_plans(&mut self) {
        self.database.definitions_changed();
        self.connection().forget_stale_statements();
        if !self.work.has_begun || self.work.applies != Applies::Commit && !self.work.is_divisible {
            self.work.retry = RetryScope::FreshPlans;
        }
    }

    /// The error of a stream that has failed.
    pub(crate) fn stream_failed(&mut self, failure: StreamFailure) -> Error {
        let failed = self.failure_of_stream(failure);
        if self.work.applies == Applies::Nothing { self.of_unit(failed) } else { failed }
    }

    /// The error of a unit that was not committed: under a key, what may have stayed of it is not to be done again.
    pub(crate) fn of_unit(&self, error: Error) -> Error {
        let may_stay = self.work.is_divisible && error.outcome() == Outcome::Unknown;
        if self.work.is_keyed && may_stay { unprotected(error) } else { error }
    }

    fn failure_of_stream(&mut self, failure: StreamFailure) -> Error {
        self.close();
        let database = self.database.name.clone();
        let is_harmless = self.work.applies == Applies::Nothing && !self.work.is_divisible;
        match failure {
            StreamFailure::TooLarge => {
                let outcome = if is_harmless { Outcome::NotApplied } else { Outcome::Unknown };
                Error::new(ErrorKind::RowTooLarge, "a row is larger than max_row_size")
                    .with_outcome(outcome)
                    .with_hint("Select less of it, or raise max_row_size.")
            }
            StreamFailure::Malformed(what) if is_harmless => {
                let message = format!("a message of database \"{database}\" could not be read");
                Error::new(ErrorKind::Internal, message).with_cause(what)
            }
            StreamFailure::Malformed(what) => outcome_unknown(format!(
                "the answer of database \"{database}\" to a write is unreadable"
            ))
            .with_cause(what),
            StreamFailure::Lost(error) if is_harmless => {
                connection_lost(&database).with_cause(error)
            }
            StreamFailure::Lost(error) => {
                let lost = connection_lost(&database);
                outcome_unknown(format!("{lost} during a write")).with_cause(error)
            }
        }
    }

    /// The outcome of a transaction that was rolled back.
    pub(crate) fn rolled_back_outcome(&self) -> Outcome {
        if self.work.is_divisible { Outcome::Unknown } else { Outcome::NotApplied }
    }

    /// The error of a request without an answer in time. The connection of a commit is not used again: its number names
    /// the commit.
    pub(crate) fn deadline_passed(&mut self) -> Error {
        if self.work.applies == Applies::Commit {
            self.close();
        }
        self.unit_failed();
        let database = &self.database.name;
        // In a unit its rollback tells what stayed.
        let is_told = !self.work.is_divisible || self.work.unit != UnitState::None;
        if self.work.applies == Applies::Nothing && is_told {
            let message = format!("the deadline passed while database \"{database}\" was working");
            return Error::new(ErrorKind::DeadlineExceeded, message);
        }
        outcome_unknown(format!("the deadline passed while database \"{database}\" was writing"))
    }
}
