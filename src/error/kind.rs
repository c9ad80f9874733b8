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
    Unauthenticated = 16,
}

/// The retries that the server itself makes after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryClass {
    /// Another attempt would fail as well, or must not be made.
    Never,
    /// Nothing was applied; the database was unreachable or the connection was lost.
    Outage,
    /// As an outage, of a database of which another server may take over: the call waits for that.
    Failover,
    /// Nothing was applied, as the tables changed under a prepared statement: one more attempt.
    StalePlan,
    /// Nothing was applied; another transaction was in the way.
    Conflict,
    /// Another call with the same idempotency key is running.
    KeyInProgress,
    /// The attempt may have been applied.
    InDoubt,
}

/// The log line of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLine {
    /// A warning with the message and the cause: an operator of this server or of the database has to act.
    Warning,
    /// The message, which never quotes the caller.
    Message,
    /// The reason alone: the message may quote the caller, who has to act.
    Reason,
}

/// Defines the kinds by the table of what follows from each.
macro_rules! error_kinds {
    (@pause) => { None };
    (@pause $ms:literal) => { Some(Duration::from_millis($ms)) };
    ($(
        $(#[$doc:meta])*
        $kind:ident = $reason:literal, $code:ident, $class:ident, $line:ident $(, $ms:literal ms)?;
    )*) => {
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
        pub enum ErrorKind { $( $(#[$doc])* $kind, )* }

        impl ErrorKind {
            /// The reason in `ErrorInfo` and the label in metrics, unless the database names a condition of its own.
            pub fn reason(self) -> &'static str {
                match self { $( Self::$kind => $reason, )* }
            }

            /// The gRPC code of a failure after which nothing was applied.
            pub fn code(self) -> GrpcCode {
                match self { $( Self::$kind => GrpcCode::$code, )* }
            }

            pub fn retry_class(self) -> RetryClass {
                match self { $( Self::$kind => RetryClass::$class, )* }
            }

            pub fn log_line(self) -> LogLine {
                match self { $( Self::$kind => LogLine::$line, )* }
            }

            /// The pause for the caller before it sends the same call again; `None` for failures that do not pass
            /// by themselves.
            pub fn retry_after(self) -> Option<Duration> {
                match self { $( Self::$kind => error_kinds!(@pause $($ms)?), )* }
            }
        }
    };
}

// kind = reason, code, retries by the server, log line, pause for the caller
error_kinds! {
    /// No connection became free in time, or too many callers wait. The pool has waited already.
    PoolExhausted = "POOL_EXHAUSTED", ResourceExhausted, Never, Message, 100 ms;
    /// The database cannot be reached, or takes no connections.
    DatabaseUnavailable = "DATABASE_UNAVAILABLE", Unavailable, Outage, Warning, 250 ms;
    /// The connection was lost; nothing was applied.
    ConnectionLost = "CONNECTION_LOST", Unavailable, Outage, Warning, 100 ms;
    ShuttingDown = "SHUTTING_DOWN", Unavailable, Never, Message, 100 ms;
    /// The database rejects the server's own credentials, or has no such database.
    BackendMisconfigured = "BACKEND_MISCONFIGURED", FailedPrecondition, Never, Warning;
    /// The database is a standby.
    NotPrimary = "NOT_PRIMARY", Unavailable, Outage, Warning, 250 ms;
    /// A write was in flight when the connection was lost or the deadline passed.
    OutcomeUnknown = "OUTCOME_UNKNOWN", Unknown, InDoubt, Warning;
    /// The deadline passed; nothing was applied.
    DeadlineExceeded = "DEADLINE", DeadlineExceeded, Never, Message;
    Cancelled = "CANCELLED", Cancelled, Never, Message;
    /// The reader of a stream took nothing for too long.
    StreamStalled = "STREAM_STALLED", Aborted, Never, Message;
    /// More notifications wait for a listener than may.
    ListenerTooSlow = "LISTENER_TOO_SLOW", Aborted, Never, Message;
    /// The result is over a cap on rows or bytes.
    ResultTooLarge = "RESULT_TOO_LARGE", ResourceExhausted, Never, Message;
    RowTooLarge = "ROW_TOO_LARGE", ResourceExhausted, Never, Message;
    /// A parameter is missing, too many, unset, or of the wrong kind.
    InvalidParameter = "INVALID_PARAMETER", InvalidArgument, Never, Reason;
    ParameterOutOfRange = "PARAMETER_OUT_OF_RANGE", OutOfRange, Never, Reason;
    InvalidOption = "INVALID_OPTION", InvalidArgument, Never, Reason;
    /// The statement is empty or over a limit.
    InvalidSql = "INVALID_SQL", InvalidArgument, Never, Reason;
    TransactionControl = "TRANSACTION_CONTROL", InvalidArgument, Never, Reason;
    DatabaseNotFound = "DATABASE_NOT_FOUND", NotFound, Never, Reason;
    PoolNotFound = "POOL_NOT_FOUND", NotFound, Never, Reason;
    /// The health of a service that there is not.
    ServiceNotFound = "SERVICE_NOT_FOUND", NotFound, Never, Reason;
    SerializationFailure = "SERIALIZATION_FAILURE", Aborted, Conflict, Reason, 20 ms;
    DeadlockDetected = "DEADLOCK_DETECTED", Aborted, Conflict, Reason, 20 ms;
    /// A lock was not available in time; SQLite's BUSY. The database has waited already.
    LockNotAvailable = "LOCK_NOT_AVAILABLE", Aborted, Never, Message, 100 ms;
    /// The transaction waited too long for its next command.
    IdleInTransactionTimeout = "IDLE_IN_TRANSACTION_TIMEOUT", Aborted, Never, Message, 100 ms;
    TransactionTimeout = "TRANSACTION_TIMEOUT", Aborted, Never, Message;
    /// An operator ended it.
    Terminated = "TERMINATED", Aborted, Never, Message;
    /// The pool is paused, and was not resumed in time.
    PoolPaused = "POOL_PAUSED", Unavailable, Never, Message, 100 ms;
    TransactionAborted = "TRANSACTION_ABORTED", FailedPrecondition, Never, Reason;
    /// The caller ended its transaction without a commit.
    NotCommitted = "NOT_COMMITTED", FailedPrecondition, Never, Reason;
    /// A command is not allowed in the transaction's present state.
    InvalidCommand = "INVALID_COMMAND", InvalidArgument, Never, Reason;
    /// A statement changed more or fewer rows than expected.
    ExpectationFailed = "EXPECTATION_FAILED", FailedPrecondition, Never, Reason;
    /// Another request was sent under this idempotency key.
    KeyReused = "KEY_REUSED", FailedPrecondition, Never, Reason;
    /// The first run under this idempotency key is not over.
    KeyInProgress = "KEY_IN_PROGRESS", Aborted, KeyInProgress, Reason, 100 ms;
    /// The transaction under this idempotency key was applied before.
    KeyApplied = "KEY_APPLIED", AlreadyExists, Never, Reason;
    /// A write where READ_ONLY was requested.
    ReadOnly = "READ_ONLY", FailedPrecondition, Never, Reason;
    /// The tables changed under a prepared statement.
    PlanChanged = "PLAN_CHANGED", Aborted, StalePlan, Reason, 20 ms;
    AlreadyExists = "ALREADY_EXISTS", AlreadyExists, Never, Reason;
    /// The database: a constraint, a state, or an error that its own code raises.
    FailedPrecondition = "FAILED_PRECONDITION", FailedPrecondition, Never, Reason;
    OutOfRange = "OUT_OF_RANGE", OutOfRange, Never, Reason;
    /// The database: the statement or its data is invalid.
    InvalidStatement = "INVALID_STATEMENT", InvalidArgument, Never, Reason;
    PermissionDenied = "PERMISSION_DENIED", PermissionDenied, Never, Reason;
    /// Nobody knows who the caller is; the cause says why, to operators alone.
    Unauthenticated = "UNAUTHENTICATED", Unauthenticated, Never, Warning;
    /// The caller is over a limit of its own.
    CallerLimit = "CALLER_LIMIT", ResourceExhausted, Never, Message, 100 ms;
    Unsupported = "FEATURE_NOT_SUPPORTED", Unimplemented, Never, Reason;
    /// The database: out of disk, memory, or over a limit of its own.
    ResourceExhausted = "RESOURCE_EXHAUSTED", ResourceExhausted, Never, Reason;
    DataLoss = "DATA_LOSS", DataLoss, Never, Warning;
    DatabaseInternal = "DATABASE_INTERNAL", Internal, Never, Warning;
    /// A defect of this server.
    #[default]
    Internal = "INTERNAL", Internal, Never, Warning;
}
