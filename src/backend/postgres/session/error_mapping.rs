//! The errors of a session: a failure is classified, then applied to the session once.

use tokio_postgres::Error as DriverError;

use super::Session;
use super::checkin::Disposition;
use super::failure::{
    FailureContext, Meaning, ReplyCause, SessionFailure, classify, not_primary, unreadable,
};
use super::work::{PlanOrigin, WriteState};
use crate::backend::attempt::RetryScope;
use crate::backend::copy_unsupported;
use crate::backend::postgres::connection::pipeline::{StepError, StepOutput, StepResult};
use crate::backend::postgres::error::from_statement;
use crate::backend::resolution::{connection_lost, outcome_unknown};
use crate::error::{Error, ErrorKind, Outcome, Result};

impl Session {
    /// The error of a request that was answered by an error reply, or not at all.
    pub(crate) fn failed(&mut self, error: DriverError, sql: &str) -> Error {
        if error.as_db_error().is_some() {
            self.in_flight.answered();
        }
        self.classified(error, sql, self.work.writes)
    }

    /// The error of a request in a pipeline.
    pub(crate) fn step_failed(&mut self, error: StepError, sql: &str) -> Error {
        match error {
            StepError::Driver(error) => self.classified(error, sql, self.work.writes),
            StepError::Response(error) => error,
        }
    }

    /// The output of a request in a pipeline, before its commit. After an error reply the commit has failed
    /// with it, even if the server crashed; without an answer it may not have.
    pub(crate) fn step_output(
        &mut self,
        result: Option<StepResult>,
        sql: &str,
    ) -> Result<StepOutput> {
        match result {
            Some(Ok(output)) => Ok(output),
            Some(Err(StepError::Driver(error))) if error.as_db_error().is_some() => {
                let writes = WriteState { applied_by: None, ..self.work.writes };
                Err(self.classified(error, sql, writes))
            }
            Some(Err(error)) => Err(self.step_failed(error, sql)),
            None => Err(self.deadline_passed()),
        }
    }

    fn classified(&mut self, error: DriverError, sql: &str, writes: WriteState) -> Error {
        let context = FailureContext {
            writes,
            has_begun: self.work.has_begun,
            plan_origin: self.work.plan_origin,
            was_cancelled: self.parts().cancel.was_requested(),
            expects_writes: !self.work.forbids_writes
                && self.database.opener.connector.takes_writes(),
            required_role: self.connection().required_role,
        };
        let (failure, reported) = match error.as_db_error() {
            Some(reply) => {
                let reported = from_statement(reply, sql, self.database.error_details);
                (SessionFailure::of_reply(reply, reported.kind(), &self.in_flight), reported)
            }
            None => {
                let failure = SessionFailure::without_reply(&self.connection().protocol, &error);
                (failure, connection_lost(&self.database.name))
            }
        };
        let class = classify(failure, &context);
        self.checkin.at_least(class.disposition);
        if class.retry != RetryScope::None {
            self.work.retry = class.retry;
        }
        if let SessionFailure::Reply { cause, .. } = failure {
            self.forget_after(cause, class.meaning, sql);
        }
        let failed = explain(class.meaning, reported, error, writes, &self.database.name);
        if writes.is_partial && failed.outcome() == Outcome::NotApplied {
            // The part that was committed before the failure stays.
            return failed.with_outcome(Outcome::Unknown);
        }
        failed
    }

    /// Has prepared anew what an error reply shows, or may show, to be out of date.
    fn forget_after(&mut self, cause: ReplyCause, meaning: Meaning, sql: &str) {
        match cause {
            ReplyCause::StalePlan | ReplyCause::StaleReference
                if meaning == Meaning::PlanChanged =>
            {
                // Others have changed definitions: no connection can know them.
                self.database.definitions_changed();
                self.connection().forget_definitions();
            }
            ReplyCause::LostStatement => self.connection().forget_statements(),
            ReplyCause::Misfit if self.work.plan_origin == PlanOrigin::Kept => {
                let key = self.work.statement_key(sql);
                self.connection().forget_statement(&key);
            }
            ReplyCause::StalePlan
            | ReplyCause::StaleReference
            | ReplyCause::Misfit
            | ReplyCause::Terminated
            | ReplyCause::Other => {}
        }
    }

    /// The error of requests that are not those that were to be sent: their answers prove nothing.
    pub(super) fn mismatched(&mut self) -> Error {
        self.checkin.at_least(Disposition::Close);
        let database = &self.database.name;
        tracing::error!(database, "responses do not match the requests on a connection");
        if self.work.writes.is_none() {
            return connection_lost(database);
        }
        let message = format!("the responses of database \"{database}\" do not match the requests");
        outcome_unknown(message)
    }

    /// The error of a request without an answer in time.
    pub(crate) fn deadline_passed(&self) -> Error {
        let database = &self.database.name;
        let writes = self.work.writes;
        if writes.is_none() && !writes.is_partial {
            let message = format!("the deadline passed while database \"{database}\" was working");
            return Error::new(ErrorKind::DeadlineExceeded, message);
        }
        outcome_unknown(format!("the deadline passed while database \"{database}\" was writing"))
    }
}

/// The outcome of a statement whose end is not read, although it may have run to it.
fn unread_outcome(writes: WriteState) -> Outcome {
    if writes.is_none() { Outcome::NotApplied } else { Outcome::Unknown }
}

/// The error of a classified failure; `reported` is that of its SQLSTATE.
fn explain(
    meaning: Meaning,
    reported: Error,
    error: DriverError,
    writes: WriteState,
    database: &str,
) -> Error {
    match meaning {
        Meaning::Sqlstate => reported,
        Meaning::PlanChanged => {
            let report = reported.report().cloned().unwrap_or_default();
            Error::new(ErrorKind::PlanChanged, reported.message().to_owned()).with_report(report)
        }
        Meaning::Cancelled => {
            let message = "the deadline passed; the statement was cancelled";
            Error::new(ErrorKind::DeadlineExceeded, message)
        }
        Meaning::NotPrimary => {
            let reason = "accepts no writes: it is a standby";
            not_primary(format!("the server of database \"{database}\" {reason}")).with_cause(error)
        }
        Meaning::RowTooLarge => {
            Error::new(ErrorKind::RowTooLarge, "a row is larger than max_row_size")
                .with_outcome(unread_outcome(writes))
                .with_hint("Select less of it, or raise max_row_size.")
        }
        Meaning::CopyUnsupported => copy_unsupported().with_outcome(unread_outcome(writes)),
        Meaning::Unreadable => unreadable(database).with_cause(error),
        Meaning::ConnectionLost => connection_lost(database).with_cause(error),
        Meaning::UnreadableWrite => outcome_unknown(format!(
            "the answer of database \"{database}\" to a write is unreadable"
        ))
        .with_cause(error),
        Meaning::LostDuringWrite => {
            let lost = connection_lost(database);
            outcome_unknown(format!("{lost} during a write")).with_cause(error)
        }
    }
}
