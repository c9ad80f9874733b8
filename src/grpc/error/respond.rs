//! What is done with an error that reaches a caller: it is logged, here and nowhere else, counted, and answered.

use tonic::Status;

use super::status;
use crate::error::{Error, ErrorKind};
use crate::telemetry::{FailureScope, RpcCall};

/// Logs and counts an error of a call, and makes the status of it.
pub(crate) fn answer(call: &RpcCall, error: &Error) -> Status {
    call.failed(error, FailureScope::Call);
    log(call, error);
    status::status(error)
}

/// The same of an error in a stream that stays open.
pub(crate) fn detail(call: &RpcCall, error: &Error) -> tonic_types::Status {
    call.failed(error, FailureScope::Command);
    log(call, error);
    status::reply(error)
}

fn log(call: &RpcCall, error: &Error) {
    // A thousand callers that fail for one reason are told of ten times a second.
    let Some(unsaid) = call.admit_log_line(error.label()) else { return };
    let about = call.labels();
    let sqlstate = error.report().map(|report| report.sqlstate.as_str());
    let ids = call.ids();
    let (message, cause) = match is_ours(error.kind()) {
        true => (message(error), error.cause()),
        false => (public(error), String::new()),
    };
    let line = Line {
        rpc: call.method(),
        database: about.map(|about| &*about.database),
        caller: about.map(|about| about.caller.as_str()),
        tag: said(about.map(|about| about.tag.as_str())),
        statement: said(call.statement()),
        reason: error.reason(),
        outcome: error.outcome().as_str(),
        sqlstate: said(sqlstate),
        error: said(Some(message)),
        cause: said(Some(cause.as_str())),
        trace_id: ids.as_ref().map(|ids| ids.trace_id.as_str()),
        span_id: ids.as_ref().map(|ids| ids.span_id.as_str()),
        unsaid: Some(unsaid).filter(|unsaid| *unsaid > 0),
    };
    line.write(is_ours(error.kind()));
}

/// A line of the log.
struct Line<'a> {
    rpc: &'a str,
    database: Option<&'a str>,
    caller: Option<&'a str>,
    tag: Option<&'a str>,
    statement: Option<&'a str>,
    reason: &'a str,
    outcome: &'a str,
    sqlstate: Option<&'a str>,
    error: Option<&'a str>,
    cause: Option<&'a str>,
    trace_id: Option<&'a str>,
    span_id: Option<&'a str>,
    unsaid: Option<u64>,
}

impl Line<'_> {
    fn write(&self, warns: bool) {
        let Self { rpc, database, caller, tag, statement, reason, outcome, sqlstate, .. } = *self;
        let Self { error, cause, trace_id, span_id, unsaid, .. } = *self;
        // The level of an event is a constant.
        macro_rules! write {
            ($level:ident) => {
                tracing::$level!(
                    rpc,
                    database,
                    caller,
                    tag,
                    statement,
                    reason,
                    outcome,
                    sqlstate,
                    error,
                    cause,
                    trace_id,
                    span_id,
                    unsaid,
                    "call failed"
                )
            };
        }
        if warns { write!(warn) } else { write!(info) }
    }
}

/// What is there to say.
fn said(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

/// The message of an error for which nothing that a caller sent is quoted: where it happened.
fn public(error: &Error) -> &str {
    let quotes_nothing = matches!(
        error.kind(),
        ErrorKind::PoolExhausted
            | ErrorKind::ShuttingDown
            | ErrorKind::DeadlineExceeded
            | ErrorKind::Cancelled
            | ErrorKind::StreamStalled
            | ErrorKind::ResultTooLarge
            | ErrorKind::RowTooLarge
            | ErrorKind::LockNotAvailable
            | ErrorKind::IdleInTransactionTimeout
            | ErrorKind::TransactionTimeout
            | ErrorKind::Terminated
            | ErrorKind::PoolPaused
    );
    if quotes_nothing { message(error) } else { "" }
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
