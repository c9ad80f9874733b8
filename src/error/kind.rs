//! What can go wrong, and the reason that callers read.

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// No connection became free in time, or too many callers wait.
    PoolExhausted,
    /// The database cannot be reached, or takes no connections.
    DatabaseUnavailable,
    /// The connection was lost; nothing was applied.
    ConnectionLost,
    /// The server is shutting down.
    ShuttingDown,
    /// The database refuses the server's own credentials, or has no such database.
    BackendMisconfigured,
    /// The database is a standby.
    NotPrimary,
    /// A write was in flight when the connection was lost or the deadline passed.
    OutcomeUnknown,
    /// The deadline passed; nothing was applied.
    DeadlineExceeded,
    /// The caller cancelled.
    Cancelled,
    /// The reader of a stream took nothing for too long.
    StreamStalled,
    /// The result is over a cap on rows or bytes.
    ResultTooLarge,
    /// One row is over a cap.
    RowTooLarge,
    /// A parameter is missing, too many, unset, or of the wrong kind.
    InvalidParameter,
    /// A parameter is outside the range of its type.
    ParameterOutOfRange,
    /// An option is invalid.
    InvalidOption,
    /// The statement is empty or over a limit.
    InvalidSql,
    /// The statement controls transactions.
    TransactionControl,
    /// No such database.
    DatabaseNotFound,
    /// No such pool.
    PoolNotFound,
    /// A transaction could not be serialized.
    SerializationFailure,
    /// A deadlock.
    DeadlockDetected,
    /// A lock was not available in time; SQLite's BUSY.
    LockNotAvailable,
    /// The transaction waited too long for its next command.
    IdleInTransactionTimeout,
    /// The transaction took too long as a whole.
    TransactionTimeout,
    /// An operator ended it.
    Terminated,
    /// The pool is paused, and was not resumed in time.
    PoolPaused,
    /// The transaction is aborted.
    TransactionAborted,
    /// The caller ended its transaction without a commit.
    NotCommitted,
    /// A command that has no place in the transaction's present state.
    InvalidCommand,
    /// A statement changed more or fewer rows than expected.
    ExpectationFailed,
    /// Another request was sent under this idempotency key.
    KeyReused,
    /// The first run under this idempotency key is not over.
    KeyInProgress,
    /// What this idempotency key stands for was applied before.
    KeyApplied,
    /// A write where READ_ONLY was asked.
    ReadOnly,
    /// The tables changed under a prepared statement.
    PlanChanged,
    /// The database: something exists already.
    AlreadyExists,
    /// The database: a constraint, a state, or an error that its own code raises.
    FailedPrecondition,
    /// The database: a value outside its range.
    OutOfRange,
    /// The database: the statement or its data is invalid.
    InvalidStatement,
    /// The database: not allowed.
    PermissionDenied,
    /// The database: not supported.
    Unsupported,
    /// The database: out of disk, memory, or over a limit of its own.
    ResourceExhausted,
    /// The database: its data is damaged.
    DataLoss,
    /// The database: an internal error.
    DatabaseInternal,
    /// A defect of this server.
    Internal,
}

impl ErrorKind {
    /// The reason in `ErrorInfo`, where the database named no condition of its own.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::PoolExhausted => "POOL_EXHAUSTED",
            Self::DatabaseUnavailable => "DATABASE_UNAVAILABLE",
            Self::ConnectionLost => "CONNECTION_LOST",
            Self::ShuttingDown => "SHUTTING_DOWN",
            Self::BackendMisconfigured => "BACKEND_MISCONFIGURED",
            Self::NotPrimary => "NOT_PRIMARY",
            Self::OutcomeUnknown => "OUTCOME_UNKNOWN",
            Self::DeadlineExceeded => "DEADLINE",
            Self::Cancelled => "CANCELLED",
            Self::StreamStalled => "STREAM_STALLED",
            Self::ResultTooLarge => "RESULT_TOO_LARGE",
            Self::RowTooLarge => "ROW_TOO_LARGE",
            Self::InvalidParameter => "INVALID_PARAMETER",
            Self::ParameterOutOfRange => "PARAMETER_OUT_OF_RANGE",
            Self::InvalidOption => "INVALID_OPTION",
            Self::InvalidSql => "INVALID_SQL",
            Self::TransactionControl => "TRANSACTION_CONTROL",
            Self::DatabaseNotFound => "DATABASE_NOT_FOUND",
            Self::PoolNotFound => "POOL_NOT_FOUND",
            Self::SerializationFailure => "SERIALIZATION_FAILURE",
            Self::DeadlockDetected => "DEADLOCK_DETECTED",
            Self::LockNotAvailable => "LOCK_NOT_AVAILABLE",
            Self::IdleInTransactionTimeout => "IDLE_IN_TRANSACTION_TIMEOUT",
            Self::TransactionTimeout => "TRANSACTION_TIMEOUT",
            Self::Terminated => "TERMINATED",
            Self::PoolPaused => "POOL_PAUSED",
            Self::TransactionAborted => "TRANSACTION_ABORTED",
            Self::NotCommitted => "NOT_COMMITTED",
            Self::InvalidCommand => "INVALID_COMMAND",
            Self::ExpectationFailed => "EXPECTATION_FAILED",
            Self::KeyReused => "KEY_REUSED",
            Self::KeyInProgress => "KEY_IN_PROGRESS",
            Self::KeyApplied => "KEY_APPLIED",
            Self::ReadOnly => "READ_ONLY",
            Self::PlanChanged => "PLAN_CHANGED",
            Self::AlreadyExists => "ALREADY_EXISTS",
            Self::FailedPrecondition => "FAILED_PRECONDITION",
            Self::OutOfRange => "OUT_OF_RANGE",
            Self::InvalidStatement => "INVALID_STATEMENT",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::Unsupported => "FEATURE_NOT_SUPPORTED",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::DataLoss => "DATA_LOSS",
            Self::DatabaseInternal => "DATABASE_INTERNAL",
            Self::Internal => "INTERNAL",
        }
    }
}
