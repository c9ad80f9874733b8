//! What is done with an error that reaches a caller: it is logged, here and nowhere else, and answered.

use std::error::Error as _;
use std::io;

use tonic::Status;

use super::status::status;
use crate::error::{Error, ErrorKind};

/// Logs an error and makes the status of it. `rpc` is the method that failed.
pub(super) fn answer(rpc: &'static str, error: &Error) -> Status {
    let (reason, outcome) = (error.reason(), error.outcome().as_str());
    let sqlstate = error.report().map_or("", |report| report.sqlstate.as_str());
    if is_ours(error.kind()) {
        let message = message(error);
        let cause = cause(error);
        tracing::warn!(rpc, reason, outcome, sqlstate, message, cause, "call failed");
    } else {
        tracing::debug!(rpc, reason, outcome, sqlstate, "call failed");
    }
    status(error)
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

/// The private cause: what the driver says in words of its own, and the system's errors beneath it.
/// Whatever else is beneath may be the database's reply, which quotes rows.
fn cause(error: &Error) -> String {
    let Some(first) = error.source() else { return String::new() };
    let mut text = first.to_string();
    let mut next = first.source();
    while let Some(link) = next {
        if link.is::<io::Error>() {
            text = format!("{text}: {link}");
        }
        next = link.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;
    use crate::error::DatabaseReport;

    /// A driver's error over one of another kind.
    #[derive(Debug)]
    struct Driver(Box<dyn std::error::Error + Send + Sync>);

    impl fmt::Display for Driver {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("db error")
        }
    }

    impl std::error::Error for Driver {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&*self.0)
        }
    }

    fn lost() -> Error {
        Error::new(ErrorKind::ConnectionLost, "lost")
    }

    #[test]
    fn a_cause_is_told_but_for_what_may_quote_rows() {
        let reply: Box<dyn std::error::Error + Send + Sync> = "row-7f3a".into();
        assert_eq!(cause(&lost().with_cause(Driver(reply))), "db error");
        let reset = io::Error::new(io::ErrorKind::ConnectionReset, "reset by peer");
        assert_eq!(cause(&lost().with_cause(Driver(reset.into()))), "db error: reset by peer");
        assert_eq!(cause(&lost()), "");
    }

    #[test]
    fn a_message_of_the_database_is_not_logged() {
        assert_eq!(message(&lost()), "lost");
        assert_eq!(message(&lost().with_report(DatabaseReport::default())), "");
    }
}
