//! PostgreSQL's error replies as [`Error`]s.
//!
//! What a SQLSTATE means to a caller is decided here and nowhere else. What an error may tell is
//! decided in `redact`: messages quote rows, and callers of a gateway are many.
//!
//! This module sees one reply and not what was in pipeline: whether a lost connection leaves a write in
//! doubt, and whether a standby was expected, its callers know.

pub(crate) mod redact;
pub mod sqlstate;

use std::time::Duration;

use tokio_postgres::error::{DbError, ErrorPosition, Severity};

use crate::config::ErrorDetails;
use crate::error::{DatabaseReport, Error, ErrorKind, Outcome};

/// The pause after a reply that tells that a pooler cannot reach its server: no breaker protects that one.
const RETRY_UNAVAILABLE: Duration = Duration::from_secs(1);

/// The error that a caller gets for an error reply.
///
/// The outcome is [`Outcome::NotApplied`], as a reply says that the statement failed, except where the
/// SQLSTATE itself says that it is unknown (08007, 40003, 57P02): a caller that knows that nothing was
/// written, or that something was, sets it anew. The reply is not kept as the cause, which is logged.
#[must_use]
pub fn from_db(error: &DbError, details: ErrorDetails) -> Error {
    from_reply(&Reply::new(error), details)
}

/// As [`from_db`], for the reply to a statement whose text is known: a syntax error can then name the
/// word at which it stands where it is certainly no piece of a literal.
#[must_use]
pub fn from_statement(error: &DbError, sql: &str, details: ErrorDetails) -> Error {
    from_reply(&Reply { sql: Some(sql), ..Reply::new(error) }, details)
}

/// Whether the connection is over: the server closes it after a FATAL or PANIC.
#[must_use]
pub fn ends_connection(error: &DbError) -> bool {
    Reply::new(error).fatal
}

/// Whether the reply reports that the connection is lost or was never made: the server shuts down, was
/// told to end this session, or takes none. A function that talks to another server may raise the same
/// codes; its errors are not FATAL and say nothing of this connection.
#[must_use]
pub fn is_connection_loss(error: &DbError) -> bool {
    Reply::new(error).is_connection_loss()
}

/// Whether the server crashed under the session (57P02): unlike an orderly end, it may have committed.
#[must_use]
pub fn is_crash(error: &DbError) -> bool {
    error.code().code() == "57P02"
}

/// Whether somebody ended the session before the statement began: 57P01 as a reply means that nothing was
/// applied.
#[must_use]
pub fn is_terminated(error: &DbError) -> bool {
    ends_connection(error) && error.code().code() == "57P01"
}

/// Whether the tables changed under a prepared statement: to prepare it anew heals it. It has not run.
#[must_use]
pub fn is_stale_plan(error: &DbError) -> bool {
    Reply::new(error).is_stale_plan()
}

/// Whether a prepared statement is not there, or one is there of its name, as far as that is one of those
/// that `is_ours` knows. A caller's own EXECUTE, or a function's error, may say the same of others.
#[must_use]
pub fn is_lost_statement(error: &DbError, is_ours: impl Fn(&str) -> bool) -> bool {
    let names = |message: &str| {
        let mut words = message.split(|c: char| !c.is_ascii_alphanumeric());
        words.any(|word| is_name_of_the_drivers(word) && is_ours(word))
    };
    // The message may be translated; the name and the server's own function are not.
    let of_server = ["FetchPreparedStatement", "StorePreparedStatement"];
    matches!(error.code().code(), "26000" | "42P05")
        && error.routine().is_none_or(|routine| of_server.contains(&routine))
        && names(error.message())
}

/// Whether the driver names statements so: a letter and a number.
fn is_name_of_the_drivers(word: &str) -> bool {
    let number = word.strip_prefix('s').unwrap_or_default();
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// What is read of an error reply; the driver's type cannot be made in a test.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reply<'a> {
    pub(crate) code: &'a str,
    pub(crate) severity: &'a str,
    pub(crate) fatal: bool,
    pub(crate) message: &'a str,
    pub(crate) detail: Option<&'a str>,
    pub(crate) hint: Option<&'a str>,
    /// In the caller's text, in characters from 1.
    pub(crate) position: Option<u32>,
    /// The caller's text.
    pub(crate) sql: Option<&'a str>,
    pub(crate) context: Option<&'a str>,
    pub(crate) routine: Option<&'a str>,
    pub(crate) constraint: Option<&'a str>,
    pub(crate) schema: Option<&'a str>,
    pub(crate) table: Option<&'a str>,
    pub(crate) column: Option<&'a str>,
    pub(crate) data_type: Option<&'a str>,
}

impl<'a> Reply<'a> {
    fn new(error: &'a DbError) -> Self {
        Self {
            code: error.code().code(),
            // The other field of the protocol is in the server's language.
            severity: match error.parsed_severity() {
                Some(Severity::Error) => "ERROR",
                Some(Severity::Fatal) => "FATAL",
                Some(Severity::Panic) => "PANIC",
                Some(
                    Severity::Warning
                    | Severity::Notice
                    | Severity::Debug
                    | Severity::Info
                    | Severity::Log,
                )
                | None => error.severity(),
            },
            fatal: matches!(error.parsed_severity(), Some(Severity::Fatal | Severity::Panic)),
            message: error.message(),
            detail: error.detail(),
            hint: error.hint(),
            position: match error.position() {
                Some(ErrorPosition::Original(position)) => Some(*position),
                // In the body of a function, which the caller may not even know.
                Some(ErrorPosition::Internal { .. }) | None => None,
            },
            sql: None,
            context: error.where_(),
            routine: error.routine(),
            constraint: error.constraint(),
            schema: error.schema(),
            table: error.table(),
            column: error.column(),
            data_type: error.datatype(),
        }
    }

    fn is_connection_loss(&self) -> bool {
        self.fatal && (self.code.starts_with("57P") || self.code.starts_with("08"))
    }

    fn is_stale_plan(&self) -> bool {
        // The message may be translated; the C function's name is not.
        self.code == "0A000"
            && (self.routine == Some("RevalidateCachedQuery")
                || self.message == "cached plan must not change result type")
    }

    /// The index of the parameter that could not be read, which the last line of the context names:
    /// `unnamed portal parameter $2`, or `portal "p1" parameter $2 = '…'`.
    fn parameter(&self) -> Option<usize> {
        let line = self.context?.lines().next_back()?;
        let line = line.strip_prefix("unnamed ").unwrap_or(line).strip_prefix("portal ")?;
        let (_portal, number) = line.split_once("parameter $")?;
        let digits = number.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse::<usize>().ok()?.checked_sub(1)
    }
}

fn from_reply(reply: &Reply<'_>, details: ErrorDetails) -> Error {
    let message = redact::message(reply, details);
    let (error, kind) = match reply.parameter() {
        Some(index) => {
            let kind = match reply.code {
                "22003" | "22008" => ErrorKind::OutOfRange,
                _ => ErrorKind::InvalidParameter,
            };
            (Error::field(kind, format!("parameters[{index}]"), message), kind)
        }
        None => {
            let kind = kind(reply);
            (Error::new(kind, message), kind)
        }
    };
    let mut error = error.with_report(report(reply, details)).with_outcome(outcome(kind));
    // The protocol's own refusal of more than one statement; the message may be translated.
    if reply.code == "42601" && reply.routine == Some("exec_parse_message") {
        return error.with_condition("MULTIPLE_STATEMENTS").with_hint(
            "Send each as a call of its own, or as one of an ExecuteBatch; nothing has run.",
        );
    }
    if names_no_condition(kind) {
        error = error.with_condition(condition(reply.code));
    }
    if let Some(hint) = redact::hint(reply, details) {
        error = error.with_hint(hint);
    }
    if kind == ErrorKind::DatabaseUnavailable {
        return error.with_retry_after(RETRY_UNAVAILABLE);
    }
    error
}

/// What a SQLSTATE means: single codes first, then classes, then what PostgreSQL does not define.
fn kind(reply: &Reply<'_>) -> ErrorKind {
    match reply.code {
        "0A000" if reply.is_stale_plan() => ErrorKind::PlanChanged,
        "0A000" => ErrorKind::Unsupported,
        // Poolers answer with it when they are full or paused; from the server it is our defect.
        "08P01" if !reply.fatal => ErrorKind::DatabaseInternal,
        "08007" | "40003" | "57P02" => ErrorKind::OutcomeUnknown,
        "22003" | "22008" => ErrorKind::OutOfRange,
        "23505" | "42P07" | "42710" => ErrorKind::AlreadyExists,
        "25006" => ErrorKind::ReadOnly,
        "25P02" => ErrorKind::TransactionAborted,
        "25P03" => ErrorKind::IdleInTransactionTimeout,
        "25P04" | "57014" => ErrorKind::DeadlineExceeded,
        // Raised by a statement about other roles and databases they are the caller's affair.
        "28000" | "28P01" | "3D000" if reply.fatal => ErrorKind::BackendMisconfigured,
        "40001" => ErrorKind::SerializationFailure,
        "40P01" => ErrorKind::DeadlockDetected,
        "42501" => ErrorKind::PermissionDenied,
        // SERIALIZABLE transactions have met more often than the server can note (predicate.c). Like the
        // conflict that it would have noted, it is gone with one of them.
        "53200" if matches!(reply.routine, Some("SetRWConflict" | "SetPossibleUnsafeConflict")) => {
            ErrorKind::SerializationFailure
        }
        "53300" | "57P03" => ErrorKind::DatabaseUnavailable,
        "55P03" => ErrorKind::LockNotAvailable,
        "57P01" | "57P04" | "57P05" if reply.fatal => ErrorKind::ConnectionLost,
        "XX001" | "XX002" => ErrorKind::DataLoss,
        code if sqlstate::condition(code).is_some() => kind_of_class(code),
        _ if reply.fatal => ErrorKind::DatabaseInternal,
        // Invented by the database's own code.
        _ => ErrorKind::FailedPrecondition,
    }
}

fn kind_of_class(code: &str) -> ErrorKind {
    match code.get(..2).unwrap_or_default() {
        "08" => ErrorKind::DatabaseUnavailable,
        // Data, names and statements that are wrong whatever the database holds.
        "0F" | "0L" | "0P" | "10" | "21" | "22" | "26" | "34" | "3B" | "3F" | "42" => {
            ErrorKind::InvalidStatement
        }
        // A constraint, a state, or what the database's own code raises.
        "00" | "01" | "02" | "09" | "20" | "23" | "24" | "25" | "27" | "28" | "2B" | "2D"
        | "2F" | "38" | "39" | "3D" | "40" | "44" | "55" | "P0" => ErrorKind::FailedPrecondition,
        "53" | "54" => ErrorKind::ResourceExhausted,
        _ => ErrorKind::DatabaseInternal,
    }
}

/// Whether the reason is PostgreSQL's own name of the condition, as the kind has none.
fn names_no_condition(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::AlreadyExists
            | ErrorKind::FailedPrecondition
            | ErrorKind::OutOfRange
            | ErrorKind::InvalidStatement
            | ErrorKind::PermissionDenied
            | ErrorKind::Unsupported
            | ErrorKind::ResourceExhausted
            | ErrorKind::DataLoss
            | ErrorKind::DatabaseInternal
    )
}

fn condition(code: &str) -> std::borrow::Cow<'static, str> {
    match sqlstate::condition(code) {
        Some(name) => name.into(),
        None => {
            let clean =
                |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
            let code: String = code.chars().take(5).map(clean).collect();
            format!("SQLSTATE_{code}").into()
        }
    }
}

fn outcome(kind: ErrorKind) -> Outcome {
    if kind == ErrorKind::OutcomeUnknown { Outcome::Unknown } else { Outcome::NotApplied }
}

fn report(reply: &Reply<'_>, details: ErrorDetails) -> DatabaseReport {
    let name = |name: Option<&str>| redact::shortened(name.unwrap_or_default(), redact::NAME_LIMIT);
    DatabaseReport {
        sqlstate: reply.code.to_owned(),
        severity: reply.severity.to_owned(),
        constraint: name(reply.constraint),
        schema: name(reply.schema),
        table: name(reply.table),
        column: name(reply.column),
        data_type: name(reply.data_type),
        position: reply.position.unwrap_or_default(),
        detail: redact::detail(reply, details),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(code: &str) -> Reply<'_> {
        Reply { code, severity: "ERROR", message: "m", ..Reply::default() }
    }

    fn fatal(code: &str) -> Reply<'_> {
        Reply { severity: "FATAL", fatal: true, ..reply(code) }
    }

    fn mapped(reply: &Reply<'_>) -> (ErrorKind, String) {
        let error = from_reply(reply, ErrorDetails::Safe);
        (error.kind(), error.reason().to_owned())
    }

    #[test]
    fn a_conflict_that_could_not_be_noted_is_one() {
        let memory = reply("53200");
        assert_eq!(mapped(&memory), (ErrorKind::ResourceExhausted, "OUT_OF_MEMORY".to_owned()));
        let conflict = Reply { routine: Some("SetRWConflict"), ..memory };
        let expected = (ErrorKind::SerializationFailure, "SERIALIZATION_FAILURE".to_owned());
        assert_eq!(mapped(&conflict), expected);
    }

    #[test]
    fn each_sqlstate_has_its_kind_and_reason() {
        let cases = [
            ("40001", ErrorKind::SerializationFailure, "SERIALIZATION_FAILURE"),
            ("40P01", ErrorKind::DeadlockDetected, "DEADLOCK_DETECTED"),
            ("55P03", ErrorKind::LockNotAvailable, "LOCK_NOT_AVAILABLE"),
            ("25P03", ErrorKind::IdleInTransactionTimeout, "IDLE_IN_TRANSACTION_TIMEOUT"),
            ("25P02", ErrorKind::TransactionAborted, "TRANSACTION_ABORTED"),
            ("25006", ErrorKind::ReadOnly, "READ_ONLY"),
            ("57014", ErrorKind::DeadlineExceeded, "DEADLINE"),
            ("23505", ErrorKind::AlreadyExists, "UNIQUE_VIOLATION"),
            ("42P07", ErrorKind::AlreadyExists, "DUPLICATE_TABLE"),
            ("42710", ErrorKind::AlreadyExists, "DUPLICATE_OBJECT"),
            ("23502", ErrorKind::FailedPrecondition, "NOT_NULL_VIOLATION"),
            ("23503", ErrorKind::FailedPrecondition, "FOREIGN_KEY_VIOLATION"),
            ("23514", ErrorKind::FailedPrecondition, "CHECK_VIOLATION"),
            ("23P01", ErrorKind::FailedPrecondition, "EXCLUSION_VIOLATION"),
            ("P0001", ErrorKind::FailedPrecondition, "RAISE_EXCEPTION"),
            ("2BP01", ErrorKind::FailedPrecondition, "DEPENDENT_OBJECTS_STILL_EXIST"),
            ("55000", ErrorKind::FailedPrecondition, "OBJECT_NOT_IN_PREREQUISITE_STATE"),
            ("RG001", ErrorKind::FailedPrecondition, "SQLSTATE_RG001"),
            ("ab-é1", ErrorKind::FailedPrecondition, "SQLSTATE_AB__1"),
            ("22003", ErrorKind::OutOfRange, "NUMERIC_VALUE_OUT_OF_RANGE"),
            ("22008", ErrorKind::OutOfRange, "DATETIME_FIELD_OVERFLOW"),
            ("22P02", ErrorKind::InvalidStatement, "INVALID_TEXT_REPRESENTATION"),
            ("42P01", ErrorKind::InvalidStatement, "UNDEFINED_TABLE"),
            ("42601", ErrorKind::InvalidStatement, "SYNTAX_ERROR"),
            ("21000", ErrorKind::InvalidStatement, "CARDINALITY_VIOLATION"),
            ("3F000", ErrorKind::InvalidStatement, "INVALID_SCHEMA_NAME"),
            ("26000", ErrorKind::InvalidStatement, "INVALID_SQL_STATEMENT_NAME"),
            ("0A000", ErrorKind::Unsupported, "FEATURE_NOT_SUPPORTED"),
            ("42501", ErrorKind::PermissionDenied, "INSUFFICIENT_PRIVILEGE"),
            ("53100", ErrorKind::ResourceExhausted, "DISK_FULL"),
            ("53200", ErrorKind::ResourceExhausted, "OUT_OF_MEMORY"),
            ("54001", ErrorKind::ResourceExhausted, "STATEMENT_TOO_COMPLEX"),
            ("XX001", ErrorKind::DataLoss, "DATA_CORRUPTED"),
            ("XX002", ErrorKind::DataLoss, "INDEX_CORRUPTED"),
            ("XX000", ErrorKind::DatabaseInternal, "INTERNAL_ERROR"),
            ("58030", ErrorKind::DatabaseInternal, "IO_ERROR"),
            ("08P01", ErrorKind::DatabaseInternal, "PROTOCOL_VIOLATION"),
            ("08006", ErrorKind::DatabaseUnavailable, "DATABASE_UNAVAILABLE"),
            ("08007", ErrorKind::OutcomeUnknown, "OUTCOME_UNKNOWN"),
            ("40003", ErrorKind::OutcomeUnknown, "OUTCOME_UNKNOWN"),
            ("3D000", ErrorKind::FailedPrecondition, "INVALID_CATALOG_NAME"),
        ];
        for (code, kind, reason) in cases {
            assert_eq!(mapped(&reply(code)), (kind, reason.to_owned()), "{code}");
        }
    }

    #[test]
    fn a_fatal_reply_is_about_the_connection() {
        let cases = [
            ("57P03", ErrorKind::DatabaseUnavailable, "DATABASE_UNAVAILABLE"),
            ("53300", ErrorKind::DatabaseUnavailable, "DATABASE_UNAVAILABLE"),
            ("08P01", ErrorKind::DatabaseUnavailable, "DATABASE_UNAVAILABLE"),
            ("57P01", ErrorKind::ConnectionLost, "CONNECTION_LOST"),
            ("57P02", ErrorKind::OutcomeUnknown, "OUTCOME_UNKNOWN"),
            ("28P01", ErrorKind::BackendMisconfigured, "BACKEND_MISCONFIGURED"),
            ("28000", ErrorKind::BackendMisconfigured, "BACKEND_MISCONFIGURED"),
            ("3D000", ErrorKind::BackendMisconfigured, "BACKEND_MISCONFIGURED"),
            ("RG001", ErrorKind::DatabaseInternal, "SQLSTATE_RG001"),
        ];
        for (code, kind, reason) in cases {
            assert_eq!(mapped(&fatal(code)), (kind, reason.to_owned()), "{code}");
        }
        assert!(fatal("57P01").is_connection_loss());
        assert!(fatal("08006").is_connection_loss());
        assert!(!fatal("28P01").is_connection_loss());
        // Raised by a foreign-data wrapper, say: our own connection is well.
        assert!(!reply("08006").is_connection_loss());
    }

    #[test]
    fn a_stale_plan_is_known_in_any_language() {
        let stale = Reply { routine: Some("RevalidateCachedQuery"), ..reply("0A000") };
        assert_eq!(mapped(&stale), (ErrorKind::PlanChanged, "PLAN_CHANGED".to_owned()));
        let stale = Reply { message: "cached plan must not change result type", ..reply("0A000") };
        assert!(stale.is_stale_plan());
    }

    #[test]
    fn only_what_may_be_retried_says_when() {
        for code in ["40001", "40P01", "55P03", "25P03", "08006"] {
            let error = from_reply(&reply(code), ErrorDetails::Safe);
            assert!(error.retry_after().is_some(), "{code}");
            assert_eq!(error.outcome(), Outcome::NotApplied, "{code}");
        }
        for code in ["23505", "42601", "25P02", "57014", "XX000", "08007"] {
            assert_eq!(from_reply(&reply(code), ErrorDetails::Safe).retry_after(), None, "{code}");
        }
        let unknown = from_reply(&reply("08007"), ErrorDetails::Safe);
        assert_eq!(unknown.outcome(), Outcome::Unknown);
    }

    #[test]
    fn a_parameter_that_the_database_cannot_read_is_named() {
        let cases = [
            (
                "22P02",
                "unnamed portal parameter $2",
                ErrorKind::InvalidParameter,
                "INVALID_PARAMETER",
            ),
            (
                "XX000",
                "SQL function\nunnamed portal parameter $2 = '...'",
                ErrorKind::InvalidParameter,
                "INVALID_PARAMETER",
            ),
            (
                "22P02",
                "portal \"p17\" parameter $2",
                ErrorKind::InvalidParameter,
                "INVALID_PARAMETER",
            ),
            (
                "22003",
                "unnamed portal parameter $2",
                ErrorKind::OutOfRange,
                "NUMERIC_VALUE_OUT_OF_RANGE",
            ),
            (
                "22008",
                "unnamed portal parameter $2",
                ErrorKind::OutOfRange,
                "DATETIME_FIELD_OVERFLOW",
            ),
        ];
        for (code, context, kind, reason) in cases {
            let reply = Reply {
                context: Some(context),
                message: "invalid input syntax for type uuid: \"secret\"",
                ..reply(code)
            };
            let error = from_reply(&reply, ErrorDetails::Safe);
            assert_eq!((error.kind(), error.reason()), (kind, reason));
            let violation = error.violation().expect("it names the parameter");
            assert_eq!(violation.field, "parameters[1]");
            assert_eq!(violation.description, "invalid input syntax for type uuid: \"…\"");
            assert_eq!(error.message(), format!("parameters[1]: {}", violation.description));
        }
        let others = [
            "PL/pgSQL function f() line 1 at RAISE",
            "unnamed portal parameter $1\nPL/pgSQL function f()",
            "unnamed portal parameter $0",
            "unnamed portal parameter $x",
            "",
        ];
        for context in others {
            assert_eq!(Reply { context: Some(context), ..reply("22P02") }.parameter(), None);
        }
    }

    #[test]
    fn the_report_holds_what_the_database_said() {
        let full = Reply {
            detail: Some("Key (a)=(secret) already exists."),
            hint: Some("Think again."),
            constraint: Some("t_a_key"),
            schema: Some("public"),
            table: Some("t"),
            column: Some("a"),
            data_type: Some("d"),
            position: Some(7),
            ..reply("23505")
        };
        let error = from_reply(&full, ErrorDetails::Safe);
        let expected = DatabaseReport {
            sqlstate: "23505".to_owned(),
            severity: "ERROR".to_owned(),
            constraint: "t_a_key".to_owned(),
            schema: "public".to_owned(),
            table: "t".to_owned(),
            column: "a".to_owned(),
            data_type: "d".to_owned(),
            position: 7,
            detail: String::new(),
        };
        assert_eq!(error.report(), Some(&expected));
        assert_eq!(error.hint(), Some("Think again."));
        let error = from_reply(&full, ErrorDetails::Full);
        let detail = error.report().map(|report| report.detail.as_str());
        assert_eq!(detail, Some("Key (a)=(secret) already exists."));
    }
}
