//! The kinds of errors: one table says what follows from each.

use std::time::Duration;

/// A code of `google.rpc.Code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrpcCode {
    Cancelled = 1,
    Unknown = 2,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Aborted = 10,
    OutOfRange = 11,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    DataLoss = 15,
}

/// The retries that the server itself makes after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryClass {
    /// Another attempt would fail as well, or must not be made.
    Never,
    /// Nothing was applied; the database was unreachable or the connection was lost.
    Outage,
    /// Nothing was applied, as the tables changed under a prepared statement: one more attempt.
    StalePlan,
    /// Nothing was applied; another transaction was in the way.
    Conflict,
    /// Another call with the same idempotency key is running.
    KeyInProgress,
    /// The attempt may have been applied.
    InDoubt,
}

/// The one who has to act on an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Responsible {
    /// The caller; also a conflict between callers.
    Caller,
    /// The operator of this server or of the database.
    Operator,
}

/// A row of the table.
struct Meaning {
    reason: &'static str,
    code: GrpcCode,
    retry_class: RetryClass,
    responsible: Responsible,
    retry_after: Option<Duration>,
}

/// Defines the kinds by the table of their meanings.
macro_rules! error_kinds {
    (@pause) => { None };
    (@pause $ms:literal) => { Some(Duration::from_millis($ms)) };
    ($(
        $(#[$doc:meta])*
        $kind:ident = $reason:literal, $code:ident, $class:ident, $who:ident $(, $ms:literal ms)?;
    )*) => {
        /// The kind of a failure.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorKind { $( $(#[$doc])* $kind, )* }

        impl ErrorKind {
            const fn meaning(self) -> Meaning {
                match self {
                    $( Self::$kind => Meaning {
                        reason: $reason,
                        code: GrpcCode::$code,
                        retry_class: RetryClass::$class,
                        responsible: Responsible::$who,
                        retry_after: error_kinds!(@pause $($ms)?),
                    }, )*
                }
            }
        }
    };
}

// kind = reason, code, retries by the server, who has to act, pause for the caller
error_kinds! {
    /// No connection became free in time, or too many callers wait. The pool has waited already.
    PoolExhausted = "POOL_EXHAUSTED", ResourceExhausted, Never, Caller, 100 ms;
    /// The database cannot be reached, or takes no connections.
    DatabaseUnavailable = "DATABASE_UNAVAILABLE", Unavailable, Outage, Operator, 250 ms;
    /// The connection was lost; nothing was applied.
    ConnectionLost = "CONNECTION_LOST", Unavailable, Outage, Operator, 100 ms;
    /// The server is shutting down.
    ShuttingDown = "SHUTTING_DOWN", Unavailable, Never, Caller, 100 ms;
    /// The database rejects the server's own credentials, or has no such database.
    BackendMisconfigured = "BACKEND_MISCONFIGURED", FailedPrecondition, Never, Operator;
    /// The database is a standby.
    NotPrimary = "NOT_PRIMARY", Unavailable, Outage, Operator, 250 ms;
    /// A write was in flight when the connection was lost or the deadline passed.
    OutcomeUnknown = "OUTCOME_UNKNOWN", Unknown, InDoubt, Operator;
    /// The deadline passed; nothing was applied.
    DeadlineExceeded = "DEADLINE", DeadlineExceeded, Never, Caller;
    /// The caller cancelled.
    Cancelled = "CANCELLED", Cancelled, Never, Caller;
    /// The reader of a stream took nothing for too long.
    StreamStalled = "STREAM_STALLED", Aborted, Never, Caller;
    /// The result is over a cap on rows or bytes.
    ResultTooLarge = "RESULT_TOO_LARGE", ResourceExhausted, Never, Caller;
    /// One row is over a cap.
    RowTooLarge = "ROW_TOO_LARGE", ResourceExhausted, Never, Caller;
    /// A parameter is missing, too many, unset, or of the wrong kind.
    InvalidParameter = "INVALID_PARAMETER", InvalidArgument, Never, Caller;
    /// A parameter is outside the range of its type.
    ParameterOutOfRange = "PARAMETER_OUT_OF_RANGE", OutOfRange, Never, Caller;
    /// An option is invalid.
    InvalidOption = "INVALID_OPTION", InvalidArgument, Never, Caller;
    /// The statement is empty or over a limit.
    InvalidSql = "INVALID_SQL", InvalidArgument, Never, Caller;
    /// The statement controls transactions.
    TransactionControl = "TRANSACTION_CONTROL", InvalidArgument, Never, Caller;
    /// No such database.
    DatabaseNotFound = "DATABASE_NOT_FOUND", NotFound, Never, Caller;
    /// No such pool.
    PoolNotFound = "POOL_NOT_FOUND", NotFound, Never, Caller;
    /// A transaction could not be serialized.
    SerializationFailure = "SERIALIZATION_FAILURE", Aborted, Conflict, Caller, 20 ms;
    /// A deadlock.
    DeadlockDetected = "DEADLOCK_DETECTED", Aborted, Conflict, Caller, 20 ms;
    /// A lock was not available in time; SQLite's BUSY. The database has waited already.
    LockNotAvailable = "LOCK_NOT_AVAILABLE", Aborted, Never, Caller, 100 ms;
    /// The transaction waited too long for its next command.
    IdleInTransactionTimeout = "IDLE_IN_TRANSACTION_TIMEOUT", Aborted, Never, Caller, 100 ms;
    /// The transaction took too long.
    TransactionTimeout = "TRANSACTION_TIMEOUT", Aborted, Never, Caller;
    /// An operator ended it.
    Terminated = "TERMINATED", Aborted, Never, Caller;
    /// The pool is paused, and was not resumed in time.
    PoolPaused = "POOL_PAUSED", Unavailable, Never, Caller, 100 ms;
    /// The transaction is aborted.
    TransactionAborted = "TRANSACTION_ABORTED", FailedPrecondition, Never, Caller;
    /// The caller ended its transaction without a commit.
    NotCommitted = "NOT_COMMITTED", FailedPrecondition, Never, Caller;
    /// A command is not allowed in the transaction's present state.
    InvalidCommand = "INVALID_COMMAND", InvalidArgument, Never, Caller;
    /// A statement changed more or fewer rows than expected.
    ExpectationFailed = "EXPECTATION_FAILED", FailedPrecondition, Never, Caller;
    /// Another request was sent under this idempotency key.
    KeyReused = "KEY_REUSED", FailedPrecondition, Never, Caller;
    /// The first run under this idempotency key is not over.
    KeyInProgress = "KEY_IN_PROGRESS", Aborted, KeyInProgress, Caller, 100 ms;
    /// The transaction under this idempotency key was applied before.
    KeyApplied = "KEY_APPLIED", AlreadyExists, Never, Caller;
    /// A write where READ_ONLY was requested.
    ReadOnly = "READ_ONLY", FailedPrecondition, Never, Caller;
    /// The tables changed under a prepared statement.
    PlanChanged = "PLAN_CHANGED", Aborted, StalePlan, Caller, 20 ms;
    /// The database: something exists already.
    AlreadyExists = "ALREADY_EXISTS", AlreadyExists, Never, Caller;
    /// The database: a constraint, a state, or an error that its own code raises.
    FailedPrecondition = "FAILED_PRECONDITION", FailedPrecondition, Never, Caller;
    /// The database: a value outside its range.
    OutOfRange = "OUT_OF_RANGE", OutOfRange, Never, Caller;
    /// The database: the statement or its data is invalid.
    InvalidStatement = "INVALID_STATEMENT", InvalidArgument, Never, Caller;
    /// The database: not allowed.
    PermissionDenied = "PERMISSION_DENIED", PermissionDenied, Never, Caller;
    /// The database: not supported.
    Unsupported = "FEATURE_NOT_SUPPORTED", Unimplemented, Never, Caller;
    /// The database: out of disk, memory, or over a limit of its own.
    ResourceExhausted = "RESOURCE_EXHAUSTED", ResourceExhausted, Never, Caller;
    /// The database: its data is damaged.
    DataLoss = "DATA_LOSS", DataLoss, Never, Operator;
    /// The database: an internal error.
    DatabaseInternal = "DATABASE_INTERNAL", Internal, Never, Operator;
    /// A defect of this server.
    Internal = "INTERNAL", Internal, Never, Operator;
}

impl ErrorKind {
    /// The reason in `ErrorInfo` and the label in metrics, unless the database names a condition of its own.
    pub fn reason(self) -> &'static str {
        self.meaning().reason
    }

    /// The gRPC code of a failure after which nothing was applied.
    pub fn code(self) -> GrpcCode {
        self.meaning().code
    }

    /// The retries that the server itself makes when nothing was applied.
    pub fn retry_class(self) -> RetryClass {
        self.meaning().retry_class
    }

    /// The pause for the caller before it sends the same call again; `None` for failures
    /// that do not pass by themselves.
    pub fn retry_after(self) -> Option<Duration> {
        self.meaning().retry_after
    }

    /// Returns true if an operator has to act, and not the caller.
    pub fn concerns_operator(self) -> bool {
        self.meaning().responsible == Responsible::Operator
    }
}
