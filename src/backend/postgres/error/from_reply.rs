//! The [`Error`] of an error reply: its kind, outcome, retry pause and public texts.

use std::borrow::Cow;
use std::time::Duration;

use tokio_postgres::error::DbError;

use super::error_reply::ErrorReply;
use super::{redaction, sqlstate_names};
use crate::config::ErrorDetails;
use crate::error::{DatabaseReport, Error, ErrorKind, Outcome};

/// The pause after a reply that reports that a pooler cannot reach its server: no breaker protects that one.
const RETRY_UNAVAILABLE: Duration = Duration::from_secs(1);

/// Returns the error of a reply to a statement with this text. A syntax error names its token where
/// the text shows that it is not part of a literal.
///
/// The outcome is [`Outcome::NotApplied`], as a reply says that the statement failed, except where the
/// SQLSTATE itself says that it is unknown (08007, 40003, 57P02); a caller that knows more sets it.
/// The reply is not kept as the cause, because causes are logged.
pub(crate) fn from_statement(error: &DbError, sql: &str, details: ErrorDetails) -> Error {
    from_reply(&ErrorReply { sql: Some(sql), ..ErrorReply::new(error) }, details)
}

fn from_reply(reply: &ErrorReply<'_>, details: ErrorDetails) -> Error {
    let message = redaction::message(reply, details);
    let kind = kind(reply);
    let error = match reply.parameter() {
        Some(index) => Error::field(kind, format!("parameters[{index}]"), message),
        None => Error::new(kind, message),
    };
    let is_unknown = kind == ErrorKind::OutcomeUnknown;
    let outcome = if is_unknown { Outcome::Unknown } else { Outcome::NotApplied };
    let mut error = error.with_report(report(reply, details)).with_outcome(outcome);
    // The extended protocol rejects more than one statement; the message may be translated.
    if reply.code == "42601" && reply.routine == Some("exec_parse_message") {
        return error.with_condition("MULTIPLE_STATEMENTS").with_hint(
            "Send each as a call of its own, or as one of an ExecuteBatch; nothing has run.",
        );
    }
    if has_condition(kind) {
        error = error.with_condition(condition(reply.code));
    }
    if let Some(hint) = redaction::hint(reply, details) {
        error = error.with_hint(hint);
    }
    if kind == ErrorKind::DatabaseUnavailable {
        return error.with_retry_after(RETRY_UNAVAILABLE);
    }
    error
}

/// Returns the kind of a reply: by its SQLSTATE, then by the class, then for codes that PostgreSQL
/// does not define.
fn kind(reply: &ErrorReply<'_>) -> ErrorKind {
    match reply.code {
        "22003" | "22008" => ErrorKind::OutOfRange,
        _ if reply.parameter().is_some() => ErrorKind::InvalidParameter,
        "0A000" if reply.is_stale_plan() => ErrorKind::PlanChanged,
        "0A000" => ErrorKind::Unsupported,
        // Poolers answer with a fatal one when they are full or paused.
        "08P01" if !reply.is_fatal => ErrorKind::DatabaseInternal,
        "08007" | "40003" | "57P02" => ErrorKind::OutcomeUnknown,
        "23505" | "42P07" | "42710" => ErrorKind::AlreadyExists,
        "25006" => ErrorKind::ReadOnly,
        "25P02" => ErrorKind::TransactionAborted,
        "25P03" => ErrorKind::IdleInTransactionTimeout,
        "25P04" | "57014" => ErrorKind::DeadlineExceeded,
        // A statement about other roles and databases may raise the same codes, not as FATAL.
        "28000" | "28P01" | "3D000" if reply.is_fatal => ErrorKind::BackendMisconfigured,
        "40001" => ErrorKind::SerializationFailure,
        "40P01" => ErrorKind::DeadlockDetected,
        "42501" => ErrorKind::PermissionDenied,
        // More conflicts between SERIALIZABLE transactions than the server can record (predicate.c): like
        // a recorded conflict, it ends with one of them.
        "53200" if matches!(reply.routine, Some("SetRWConflict" | "SetPossibleUnsafeConflict")) => {
            ErrorKind::SerializationFailure
        }
        "53300" | "57P03" => ErrorKind::DatabaseUnavailable,
        "55P03" => ErrorKind::LockNotAvailable,
        "57P01" | "57P04" | "57P05" if reply.is_fatal => ErrorKind::ConnectionLost,
        "XX001" | "XX002" => ErrorKind::DataLoss,
        code if sqlstate_names::condition(code).is_some() => kind_of_class(code),
        _ if reply.is_fatal => ErrorKind::DatabaseInternal,
        // Defined by the database's own code.
        _ => ErrorKind::FailedPrecondition,
    }
}

fn kind_of_class(code: &str) -> ErrorKind {
    match code.get(..2).unwrap_or_default() {
        "08" => ErrorKind::DatabaseUnavailable,
        // Data, names and statements that are wrong in any state of the database.
        "0F" | "0L" | "0P" | "10" | "21" | "22" | "26" | "34" | "3B" | "3F" | "42" => {
            ErrorKind::InvalidStatement
        }
        // A constraint, a state, or an error that the database's own code raises.
        "00" | "01" | "02" | "09" | "20" | "23" | "24" | "25" | "27" | "28" | "2B" | "2D"
        | "2F" | "38" | "39" | "3D" | "40" | "44" | "55" | "P0" => ErrorKind::FailedPrecondition,
        "53" | "54" => ErrorKind::ResourceExhausted,
        _ => ErrorKind::DatabaseInternal,
    }
}

/// Returns true if the reason is PostgreSQL's name of the condition, as the kind has none of its own.
fn has_condition(kind: ErrorKind) -> bool {
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

fn condition(code: &str) -> Cow<'static, str> {
    if let Some(name) = sqlstate_names::condition(code) {
        return name.into();
    }
    let clean = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let code: String = code.chars().take(5).map(clean).collect();
    format!("SQLSTATE_{code}").into()
}

/// Returns the database's own report of an error.
pub(crate) fn report(reply: &ErrorReply<'_>, details: ErrorDetails) -> DatabaseReport {
    let name =
        |name: Option<&str>| redaction::shortened(name.unwrap_or_default(), redaction::NAME_LIMIT);
    DatabaseReport {
        sqlstate: reply.code.to_owned(),
        severity: reply.severity.to_owned(),
        constraint: name(reply.constraint),
        schema: name(reply.schema),
        table: name(reply.table),
        column: name(reply.column),
        data_type: name(reply.data_type),
        position: reply.position.unwrap_or_default(),
        detail: redaction::detail(reply, details),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(code: &str) -> ErrorReply<'_> {
        ErrorReply { code, severity: "ERROR", message: "m", ..ErrorReply::default() }
    }

    fn fatal(code: &str) -> ErrorReply<'_> {
        ErrorReply { severity: "FATAL", is_fatal: true, ..reply(code) }
    }

    fn mapped(reply: &ErrorReply<'_>) -> (ErrorKind, String) {
        let error = from_reply(reply, ErrorDetails::Safe);
        (error.kind(), error.reason().to_owned())
    }

    #[test]
    fn a_conflict_that_could_not_be_recorded_is_a_serialization_failure() {
        let memory = reply("53200");
        assert_eq!(mapped(&memory), (ErrorKind::ResourceExhausted, "OUT_OF_MEMORY".to_owned()));
        let conflict = ErrorReply { routine: Some("SetRWConflict"), ..memory };
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
    }

    #[test]
    fn a_stale_plan_is_recognised_in_any_language() {
        let stale = ErrorReply { routine: Some("RevalidateCachedQuery"), ..reply("0A000") };
        assert_eq!(mapped(&stale), (ErrorKind::PlanChanged, "PLAN_CHANGED".to_owned()));
        let stale =
            ErrorReply { message: "cached plan must not change result type", ..reply("0A000") };
        assert!(stale.is_stale_plan());
    }

    #[test]
    fn only_retryable_errors_have_a_retry_pause() {
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
            let reply = ErrorReply {
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
    }

    #[test]
    fn the_parameter_to_blame_is_found_in_any_language() {
        let translated = [
            "unbenanntes Portal Parameter $2",
            "unbenanntes Portal Parameter $2 = '$1'",
            "paramètre de portail non nommé $2",
            "portal sin nombre, parámetro 2",
            "parametro portale senza nome $2",
            "無名ポータルパラメータ $2",
            "이름없는 포탈 $2 매개 변수",
            "неименованный портал, параметр $2 = '…'",
        ];
        for context in translated {
            let reply = ErrorReply { context: Some(context), ..reply("22P02") };
            assert_eq!(reply.parameter(), Some(1), "{context}");
        }
        let others = [
            "unbenanntes Portal mit Parametern: $1 = 'x', $2 = 'y'",
            "unnamed portal with parameters: $1 = 'x', $2 = 'y'",
            "SQL statement \"select $1\"",
            "SQL-Anweisung »select $1«",
            "JSON data, line 1: { $1",
            "PL/pgSQL function f() line 1 at RAISE",
            "unnamed portal parameter $1\nPL/pgSQL function f()",
            "unnamed portal parameter $0",
            "unnamed portal parameter $x",
            "",
        ];
        for context in others {
            assert_eq!(ErrorReply { context: Some(context), ..reply("22P02") }.parameter(), None);
        }
    }

    #[test]
    fn the_report_has_the_fields_of_the_reply() {
        let full = ErrorReply {
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
            ..Default::default()
        };
        assert_eq!(error.report(), Some(&expected));
        assert_eq!(error.hint(), Some("Think again."));
        let error = from_reply(&full, ErrorDetails::Full);
        let detail = error.report().map(|report| report.detail.as_str());
        assert_eq!(detail, Some("Key (a)=(secret) already exists."));
    }
}
