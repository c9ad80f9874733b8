//! What is done with an error that reaches a caller: it is logged, here and nowhere else, and answered.

use tonic::Status;

use super::status;
use crate::error::{Error, ErrorKind};

/// Logs an error and makes the status of it. `rpc` is the method that failed.
pub(super) fn answer(rpc: &'static str, error: &Error) -> Status {
    log(rpc, error);
    status::status(error)
}

/// Logs an error and makes the reply of it, in a stream that stays open.
pub(super) fn detail(rpc: &'static str, error: &Error) -> tonic_types::Status {
    log(rpc, error);
    status::reply(error)
}

fn log(rpc: &'static str, error: &Error) {
    let (reason, outcome) = (error.reason(), error.outcome().as_str());
    let sqlstate = error.report().map_or("", |report| report.sqlstate.as_str());
    if is_ours(error.kind()) {
        let message = message(error);
        let cause = error.cause();
        tracing::warn!(rpc, reason, outcome, sqlstate, error = message, cause, "call failed");
    } else {
        tracing::debug!(rpc, reason, outcome, sqlstate, "call failed");
    }
}

/// Whether operators should look: the fault is not the caller's, and not a conflict between callers.
fn is_ours(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::DatabaseUnavailable
        | ErrorKind::ConnectionLost
        | ErrorKind::OutcomeUnknown
        | ErrorKind::BackendMisconfigured
        | ErrorKind::NotPrimary
        | ErrorKind::DataLoss
        | ErrorKind::DatabaseInternal
        | ErrorKind::Internal => true,
        ErrorKind::PoolExhausted
        | ErrorKind::ShuttingDown
        | ErrorKind::DeadlineExceeded
        | ErrorKind::Cancelled
        | ErrorKind::StreamStalled
        | ErrorKind::ResultTooLarge
        | ErrorKind::RowTooLarge
        | ErrorKind::InvalidParameter
        | ErrorKind::ParameterOutOfRange
        | ErrorKind::InvalidOption
        | ErrorKind::InvalidSql
        | ErrorKind::TransactionControl
        | ErrorKind::DatabaseNotFound
        | ErrorKind::PoolNotFound
        | ErrorKind::SerializationFailure
        | ErrorKind::DeadlockDetected
        | ErrorKind::LockNotAvailable
        | ErrorKind::IdleInTransactionTimeout
        | ErrorKind::TransactionTimeout
        | ErrorKind::Terminated
        | ErrorKind::PoolPaused
        | ErrorKind::TransactionAborted
        | ErrorKind::NotCommitted
        | ErrorKind::InvalidCommand
        | ErrorKind::ExpectationFailed
        | ErrorKind::KeyReused
        | ErrorKind::KeyInProgress
        | ErrorKind::KeyApplied
        | ErrorKind::ReadOnly
        | ErrorKind::PlanChanged
        | ErrorKind::AlreadyExists
        | ErrorKind::FailedPrecondition
        | ErrorKind::OutOfRange
        | ErrorKind::InvalidStatement
        | ErrorKind::PermissionDenied
        | ErrorKind::Unsupported
        | ErrorKind::ResourceExhausted => false,
    }
}

/// The message, unless the database wrote it: where the configuration lets callers see rows in
/// errors, that is no leave to log them.
fn message(error: &Error) -> &str {
    if error.report().is_some() { "" } else { error.message() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::DatabaseReport;

    fn lost() -> Error {
        Error::new(ErrorKind::ConnectionLost, "lost")
    }

    #[test]
    fn a_message_of_the_database_is_not_logged() {
        assert_eq!(message(&lost()), "lost");
        assert_eq!(message(&lost().with_report(DatabaseReport::default())), "");
    }
}
