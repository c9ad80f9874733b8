//! What is done with an error that reaches a caller: it is logged, here and nowhere else, counted, and answered.

use tonic::Status;

use super::status;
use crate::error::{Error, ErrorKind};
use crate::telemetry::Call;

/// Logs and counts an error of a call, and makes the status of it.
pub(super) fn answer(call: &Call, error: &Error) -> Status {
    record(call, error);
    status::status(error)
}

/// The same of an error in a stream that stays open.
pub(super) fn detail(call: &Call, error: &Error) -> tonic_types::Status {
    record(call, error);
    status::reply(error)
}

fn record(call: &Call, error: &Error) {
    call.failed(error);
    // A thousand callers that fail for one reason are told of once a second.
    let Some(unsaid) = call.may_tell(error.label()) else { return };
    let rpc = call.method();
    let (reason, outcome) = (error.reason(), error.outcome().as_str());
    let sqlstate = error.report().map(|report| report.sqlstate.as_str());
    let sqlstate = sqlstate.filter(|sqlstate| !sqlstate.is_empty());
    let ids = call.ids();
    let trace_id = ids.as_ref().map(|ids| ids.trace_id.as_str());
    let span_id = ids.as_ref().map(|ids| ids.span_id.as_str());
    let unsaid = Some(unsaid).filter(|unsaid| *unsaid > 0);
    if is_ours(error.kind()) {
        let message = message(error);
        let cause = error.cause();
        tracing::warn!(
            rpc,
            reason,
            outcome,
            sqlstate,
            error = message,
            cause,
            trace_id,
            span_id,
            unsaid,
            "call failed"
        );
    } else {
        tracing::info!(rpc, reason, outcome, sqlstate, trace_id, span_id, unsaid, "call failed");
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
