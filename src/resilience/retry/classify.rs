//! What an error says about another attempt.

use crate::error::{Error, ErrorKind, Outcome};

/// What an error says about another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Another attempt would fail as well, or must not be made.
    Final,
    /// Nothing was applied; the database, or the way to it, was in trouble.
    Outage,
    /// Nothing was applied, as the tables changed under a prepared statement: once anew.
    Stale,
    /// Nothing was applied; another transaction was in the way.
    Conflict,
    /// The same key is at work elsewhere.
    KeyTaken,
    /// It may have been applied.
    Doubt,
}

impl Verdict {
    /// Judges by the kind and the outcome alone.
    pub(crate) fn of(error: &Error) -> Self {
        let verdict = Self::of_kind(error.kind());
        match (error.outcome(), verdict) {
            (Outcome::Applied, _) => Self::Final,
            // However the connection was lost: this is what matters of it.
            (Outcome::Unknown, Self::Outage | Self::Stale | Self::Conflict | Self::KeyTaken) => {
                Self::Doubt
            }
            (Outcome::NotApplied | Outcome::Unknown, verdict) => verdict,
        }
    }

    fn of_kind(kind: ErrorKind) -> Self {
        use ErrorKind as K;
        match kind {
            K::DatabaseUnavailable | K::ConnectionLost | K::NotPrimary => Self::Outage,
            K::PlanChanged => Self::Stale,
            K::SerializationFailure | K::DeadlockDetected => Self::Conflict,
            K::KeyInProgress => Self::KeyTaken,
            K::OutcomeUnknown => Self::Doubt,
            // The pool has waited already; more callers would only lengthen its queue.
            K::PoolExhausted
            // Of our own making, and not over within a call.
            | K::ShuttingDown
            | K::BackendMisconfigured
            | K::Internal
            // The lock's holder was waited for already.
            | K::LockNotAvailable
            | K::DeadlineExceeded
            | K::Cancelled
            | K::StreamStalled
            | K::IdleInTransactionTimeout
            | K::TransactionTimeout
| K::Terminated
| K::PoolPaused
            // Of the caller's making: the same again.
            | K::ResultTooLarge
            | K::RowTooLarge
            | K::InvalidParameter
            | K::ParameterOutOfRange
            | K::InvalidOption
            | K::InvalidSql
            | K::InvalidCommand
            | K::TransactionControl
            | K::TransactionAborted
            | K::NotCommitted
            | K::DatabaseNotFound
            | K::PoolNotFound
            | K::ExpectationFailed
            | K::KeyReused
            | K::KeyApplied
            | K::ReadOnly
            // The database has answered.
            | K::AlreadyExists
            | K::FailedPrecondition
            | K::OutOfRange
            | K::InvalidStatement
            | K::PermissionDenied
            | K::Unsupported
            | K::ResourceExhausted
            | K::DataLoss
            | K::DatabaseInternal => Self::Final,
        }
    }
}
