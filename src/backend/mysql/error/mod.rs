//! The errors of MySQL and MariaDB as [`Error`]s.
//!
//! The meaning of an error number is decided here and nowhere else, and so is what an error may disclose: messages quote
//! rows. This module sees one reply and not what was in flight: its callers know whether a lost connection leaves a
//! write in doubt, and whether a server for reading was expected.

mod conditions;
mod foreign_key;
mod message_template;
mod syntax_position;

use std::borrow::Cow;
use std::time::Duration;

use self::conditions::{Meaning, kind_of_class, meaning};
use self::foreign_key::ForeignKey;
use self::message_template::{is_name, public_text, shortened, values, without_quoted};
use super::protocol::server_error::ServerError;
use crate::config::ErrorDetails;
use crate::error::{DatabaseReport, Error, ErrorKind, Outcome};

/// The pause after a refusal of a connection.
const RETRY_UNAVAILABLE: Duration = Duration::from_secs(1);

/// The most bytes of a message: proxies drop responses with longer trailers.
const TEXT_LIMIT: usize = 1024;

/// Errors of a login that only an operator can mend.
const LOGIN: [u16; 15] =
    [1044, 1045, 1049, 1129, 1130, 1251, 1275, 1524, 1698, 1820, 1862, 3118, 3159, 4150, 4151];

/// Errors of names, of rights and of what a definition says.
const BEFORE_CHANGE: [u16; 33] = [
    1007, 1044, 1046, 1049, 1050, 1051, 1054, 1059, 1060, 1061, 1063, 1064, 1067, 1068, 1069, 1070,
    1071, 1072, 1074, 1075, 1091, 1142, 1143, 1146, 1227, 1304, 1305, 1347, 1359, 1360, 1370, 1537,
    1539,
];

/// The packet was larger than the server takes: it closes the connection.
const PACKET_TOO_LARGE: u16 = 1153;

/// The SQLSTATE of a SIGNAL that has no meaning of its own.
const RAISED: &str = "45000";

/// The statement that SIGNAL was in set no error number.
const SIGNAL: u16 = 1644;

/// The part of a connection's life in which an error came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Login,
    Statement,
}

/// The meaning of a write that a server refuses because it takes none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefusedWrite {
    /// The server was a primary, or should be one.
    NotPrimary,
    /// A server for reading was asked for.
    ReadOnly,
}

/// The circumstances of an error.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ErrorContext<'a> {
    pub(crate) phase: Phase,
    pub(crate) refused_write: RefusedWrite,
    pub(crate) details: ErrorDetails,
    /// The caller's text; empty where there is none.
    pub(crate) sql: &'a str,
}

/// Returns the error of a reply.
///
/// The outcome is [`Outcome::NotApplied`], as a reply says that the statement failed, except where the number itself says
/// that it is unknown: an error of a commit, and a connection that ended otherwise than by a shutdown or as idle. Nor
/// is it known of a proxy's own errors about connections. A caller that knows more sets it. The reply is not kept as
/// the cause, because causes are logged.
pub(crate) fn from_server_error(reply: &ServerError, context: &ErrorContext<'_>) -> Error {
    let meaning = meaning(reply.errno, &reply.message);
    let kind = kind(reply, meaning, context);
    let error = Error::new(kind, message(reply, meaning, context.details));
    let is_in_doubt = context.phase == Phase::Statement && is_in_doubt(reply, kind);
    let outcome = if is_in_doubt { Outcome::Unknown } else { Outcome::NotApplied };
    let error = error.with_report(report(reply, meaning, context)).with_outcome(outcome);
    if has_condition(kind) {
        return error.with_condition(condition(reply, meaning));
    }
    if kind == ErrorKind::DatabaseUnavailable {
        return error.with_retry_after(RETRY_UNAVAILABLE);
    }
    error
}

/// Returns true if the server closes the connection after the error. A connection that is closed in vain loses nothing.
pub(crate) fn is_connection_end(reply: &ServerError) -> bool {
    let is_lost = |meaning: Meaning| meaning.kind == ErrorKind::ConnectionLost;
    reply.errno == PACKET_TOO_LARGE
        || reply.sqlstate.starts_with("08")
        || meaning(reply.errno, &reply.message).is_some_and(is_lost)
}

/// Returns true if the error rolled back the whole transaction, and not the statement alone.
pub(crate) fn is_whole_rollback(reply: &ServerError) -> bool {
    // A deadlock, a snapshot's conflict, a full lock table, a certification failure, and branches of XA.
    matches!(reply.errno, 1213 | 1020 | 1206 | 3101 | 1402 | 1613 | 1614)
        || (reply.errno == 1180 && !is_in_doubt(reply, ErrorKind::SerializationFailure))
}

/// Returns true if the error, of a statement that changes the definition of one object, came before it has changed it: the
/// names, the rights and the new definition are checked first.
pub(crate) fn is_before_change(reply: &ServerError) -> bool {
    BEFORE_CHANGE.contains(&reply.errno)
}

/// Returns true if a statement cannot be prepared, and may be sent as text.
pub(crate) fn is_not_preparable(reply: &ServerError) -> bool {
    reply.errno == 1295
}

/// Returns true if a prepared statement is no longer valid and must be prepared anew.
pub(crate) fn is_stale_statement(reply: &ServerError) -> bool {
    matches!(reply.errno, 1243 | 1615)
}

fn kind(reply: &ServerError, meaning: Option<Meaning>, context: &ErrorContext<'_>) -> ErrorKind {
    if context.phase == Phase::Login && LOGIN.contains(&reply.errno) {
        return ErrorKind::BackendMisconfigured;
    }
    let Some(Meaning { kind, .. }) = meaning else {
        let raised = reply.errno == SIGNAL;
        let by_class = kind_of_class(&reply.sqlstate).filter(|_| !raised);
        return by_class.unwrap_or(ErrorKind::FailedPrecondition);
    };
    // A node without its cluster takes no reads either.
    let is_for_reading = kind == ErrorKind::NotPrimary && matches!(reply.errno, 1290 | 1836);
    if is_for_reading && context.refused_write == RefusedWrite::ReadOnly {
        return ErrorKind::ReadOnly;
    }
    kind
}

/// Returns true if the error does not tell whether something was applied.
fn is_in_doubt(reply: &ServerError, kind: ErrorKind) -> bool {
    let meaning = meaning(reply.errno, &reply.message).map(|meaning| meaning.kind);
    let is_told = matches!(reply.errno, 1053 | 4031);
    kind == ErrorKind::OutcomeUnknown
        || meaning == Some(ErrorKind::OutcomeUnknown)
        || (kind == ErrorKind::ConnectionLost && !is_told)
        || (kind == ErrorKind::DatabaseUnavailable && meaning.is_none())
}

/// Returns true if the reason is the name of the condition, as the kind has none of its own.
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

/// Returns the name of the condition: that of the number, else that of a SIGNAL, else the number itself.
fn condition(reply: &ServerError, meaning: Option<Meaning>) -> Cow<'static, str> {
    if let Some(Meaning { condition, .. }) = meaning {
        return condition.into();
    }
    if reply.sqlstate == RAISED {
        return "RAISE_EXCEPTION".into();
    }
    if is_raised(reply) {
        return format!("SQLSTATE_{}", reply.sqlstate).into();
    }
    format!("ERRNO_{}", reply.errno).into()
}

/// Returns true if the database's own code raised the error, with a text of its choice.
fn is_raised(reply: &ServerError) -> bool {
    reply.errno == SIGNAL
        || reply.sqlstate.starts_with("45")
        || kind_of_class(&reply.sqlstate).is_none()
}

fn message(reply: &ServerError, meaning: Option<Meaning>, details: ErrorDetails) -> String {
    let text = match meaning {
        _ if details == ErrorDetails::Full => reply.message.clone(),
        Some(Meaning { template, .. }) => public_text(template, &reply.message),
        None if is_raised(reply) => without_quoted(&reply.message),
        None => format!("the database reports error {} ({})", reply.errno, reply.sqlstate),
    };
    shortened(&text, TEXT_LIMIT)
}

/// Returns the database's own report of an error.
fn report(
    reply: &ServerError,
    meaning: Option<Meaning>,
    context: &ErrorContext<'_>,
) -> DatabaseReport {
    let severity = if is_connection_end(reply) { "FATAL" } else { "ERROR" };
    let mut report = DatabaseReport {
        sqlstate: reply.sqlstate.clone(),
        severity: severity.to_owned(),
        ..Default::default()
    };
    let Some(Meaning { condition, template, .. }) = meaning else { return report };
    if condition == "SYNTAX_ERROR" {
        let position = syntax_position::position(&reply.message, context.sql);
        report.position = position.unwrap_or_default();
    }
    for (hole, value) in values(template, &reply.message).unwrap_or_default() {
        if let Some(key) = ForeignKey::parse(value).filter(|_| hole == "reference") {
            report.schema = key.schema;
            report.table = key.table;
            report.constraint = key.constraint;
            report.column = key.column;
        }
        let field = match hole {
            "schema" => &mut report.schema,
            "table" => &mut report.table,
            "column" => &mut report.column,
            "constraint" => &mut report.constraint,
            _ => continue,
        };
        // A column's name may stand behind that of its table.
        let name = if hole == "column" { value.rsplit('.').next() } else { Some(value) };
        if let Some(name) = name.filter(|name| is_name(name)) {
            name.clone_into(field);
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::GrpcCode;

    const AT_WORK: ErrorContext<'_> = ErrorContext {
        phase: Phase::Statement,
        refused_write: RefusedWrite::NotPrimary,
        details: ErrorDetails::Safe,
        sql: "",
    };

    const READ_ONLY: &str = "The MySQL server is running with the --super-read-only option so it cannot execute this statement";

    fn reply(errno: u16, sqlstate: &str, message: &str) -> ServerError {
        ServerError { errno, sqlstate: sqlstate.to_owned(), message: message.to_owned() }
    }

    fn error(errno: u16, sqlstate: &str, message: &str) -> Error {
        from_server_error(&reply(errno, sqlstate, message), &AT_WORK)
    }

    #[test]
    fn each_number_has_its_kind_and_reason() {
        let cases = [
            (1062, "23000", ErrorKind::AlreadyExists, "UNIQUE_VIOLATION"),
            (1050, "42S01", ErrorKind::AlreadyExists, "DUPLICATE_TABLE"),
            (1048, "23000", ErrorKind::FailedPrecondition, "NOT_NULL_VIOLATION"),
            (1452, "23000", ErrorKind::FailedPrecondition, "FOREIGN_KEY_VIOLATION"),
            (3819, "HY000", ErrorKind::FailedPrecondition, "CHECK_VIOLATION"),
            (1264, "22003", ErrorKind::OutOfRange, "NUMERIC_VALUE_OUT_OF_RANGE"),
            (1366, "HY000", ErrorKind::InvalidStatement, "INVALID_TEXT_REPRESENTATION"),
            (1064, "42000", ErrorKind::InvalidStatement, "SYNTAX_ERROR"),
            (1146, "42S02", ErrorKind::InvalidStatement, "UNDEFINED_TABLE"),
            (1142, "42000", ErrorKind::PermissionDenied, "INSUFFICIENT_PRIVILEGE"),
            (1040, "08004", ErrorKind::DatabaseUnavailable, "DATABASE_UNAVAILABLE"),
            (1205, "HY000", ErrorKind::LockNotAvailable, "LOCK_NOT_AVAILABLE"),
            (3572, "HY000", ErrorKind::LockNotAvailable, "LOCK_NOT_AVAILABLE"),
            (1213, "40001", ErrorKind::DeadlockDetected, "DEADLOCK_DETECTED"),
            (1020, "HY000", ErrorKind::SerializationFailure, "SERIALIZATION_FAILURE"),
            (1792, "25006", ErrorKind::ReadOnly, "READ_ONLY"),
            (1836, "HY000", ErrorKind::NotPrimary, "NOT_PRIMARY"),
            (1317, "70100", ErrorKind::DeadlineExceeded, "DEADLINE"),
            (1969, "70100", ErrorKind::DeadlineExceeded, "DEADLINE"),
            (1114, "HY000", ErrorKind::ResourceExhausted, "DISK_FULL"),
            (1153, "08S01", ErrorKind::ResourceExhausted, "PROGRAM_LIMIT_EXCEEDED"),
            (1615, "HY000", ErrorKind::PlanChanged, "PLAN_CHANGED"),
            (1180, "HY000", ErrorKind::OutcomeUnknown, "OUTCOME_UNKNOWN"),
            (1295, "HY000", ErrorKind::Unsupported, "FEATURE_NOT_SUPPORTED"),
            // A SIGNAL, with and without a meaning of its own.
            (1644, "45000", ErrorKind::FailedPrecondition, "RAISE_EXCEPTION"),
            (30_001, "45000", ErrorKind::FailedPrecondition, "RAISE_EXCEPTION"),
            (1644, "22012", ErrorKind::FailedPrecondition, "SQLSTATE_22012"),
            (1644, "SH001", ErrorKind::FailedPrecondition, "SQLSTATE_SH001"),
            (30_002, "SH001", ErrorKind::FailedPrecondition, "SQLSTATE_SH001"),
            // Numbers that are not known.
            (9_999, "23000", ErrorKind::FailedPrecondition, "ERRNO_9999"),
            (9_999, "42000", ErrorKind::InvalidStatement, "ERRNO_9999"),
            (9_999, "HY000", ErrorKind::DatabaseInternal, "ERRNO_9999"),
            (9_999, "08S01", ErrorKind::DatabaseUnavailable, "DATABASE_UNAVAILABLE"),
        ];
        for (errno, sqlstate, kind, reason) in cases {
            let error = error(errno, sqlstate, "m");
            assert_eq!((error.kind(), error.reason()), (kind, reason), "{errno} {sqlstate}");
            assert_eq!(error.report().map(|report| &*report.sqlstate), Some(sqlstate));
        }
    }

    #[test]
    fn a_login_that_only_an_operator_can_mend_is_a_misconfiguration() {
        let login = ErrorContext { phase: Phase::Login, ..AT_WORK };
        let denied = "Access denied for user 'app'@'localhost' (using password: YES)";
        for errno in [1044, 1045, 1049, 1130, 1698, 1862, 3159, 4151] {
            let error = from_server_error(&reply(errno, "28000", denied), &login);
            assert_eq!(error.reason(), "BACKEND_MISCONFIGURED", "{errno}");
        }
        let error = from_server_error(&reply(1045, "28000", denied), &login);
        let public = "Access denied for user '…'@'…' (using password: YES)";
        assert_eq!(error.message(), public);
        let full = from_server_error(&reply(1040, "08004", "Too many connections"), &login);
        assert_eq!(full.kind(), ErrorKind::DatabaseUnavailable);
        assert_eq!(full.retry_after(), Some(RETRY_UNAVAILABLE));
    }

    #[test]
    fn a_refused_write_means_what_was_asked_of_the_server() {
        let reader = ErrorContext { refused_write: RefusedWrite::ReadOnly, ..AT_WORK };
        let refused = reply(1290, "HY000", READ_ONLY);
        assert_eq!(from_server_error(&refused, &AT_WORK).reason(), "NOT_PRIMARY");
        assert_eq!(from_server_error(&refused, &reader).reason(), "READ_ONLY");
        let text = "WSREP has not yet prepared node for application use";
        let alone = reply(1047, "08S01", text);
        assert_eq!(from_server_error(&alone, &reader).reason(), "NOT_PRIMARY");
        let text = READ_ONLY.replace("--super-read-only", "--skip-grant-tables");
        let other = from_server_error(&reply(1290, "HY000", &text), &AT_WORK);
        assert_eq!(other.reason(), "OBJECT_NOT_IN_PREREQUISITE_STATE");
    }

    #[test]
    fn only_errors_that_tell_it_leave_nothing_applied() {
        let unknown = [
            (1180, "Got error 5 \"Input/output error\" during COMMIT"),
            (1181, "Got error 5 during ROLLBACK"),
            (1927, "Connection was killed"),
            (1158, "Got an error reading communication packets"),
            (2013, "Lost connection to MySQL server during query"),
        ];
        for (errno, message) in unknown {
            let error = error(errno, "HY000", message);
            assert_eq!(error.outcome(), Outcome::Unknown, "{errno}");
            assert_eq!((error.code(), error.retry_after()), (GrpcCode::Unknown, None), "{errno}");
        }
        let proxy = error(9_999, "08S01", "Lost connection to backend server");
        assert_eq!(proxy.outcome(), Outcome::Unknown);
        let login = ErrorContext { phase: Phase::Login, ..AT_WORK };
        let bad = from_server_error(&reply(1043, "08S01", "Bad handshake"), &login);
        assert_eq!((bad.kind(), bad.outcome()), (ErrorKind::ConnectionLost, Outcome::NotApplied));
        let idle =
            "The client was disconnected by the server because of inactivity. See wait_timeout";
        let conflict = "Got error 149 \"Lock deadlock; Retry transaction\" during COMMIT";
        let told = [
            (1053, "Server shutdown in progress"),
            (4031, idle),
            (1180, conflict),
            (1213, ""),
            (1062, ""),
            (9_999, ""),
        ];
        for (errno, message) in told {
            assert_eq!(error(errno, "HY000", message).outcome(), Outcome::NotApplied, "{errno}");
        }
    }

    #[test]
    fn ends_of_connections_and_of_transactions_are_known() {
        let ends = |errno, sqlstate, message| is_connection_end(&reply(errno, sqlstate, message));
        assert!(ends(1053, "08S01", "Server shutdown in progress"));
        assert!(ends(1927, "70100", "Connection was killed"));
        assert!(ends(1153, "HY000", "Got a packet bigger"));
        assert!(ends(9_999, "08S01", ""));
        assert!(!ends(1317, "70100", "Query execution was interrupted"));
        assert!(!ends(4031, "HY000", "Referenced trigger 'x' does not exist"));
        let whole = |errno, message| is_whole_rollback(&reply(errno, "HY000", message));
        assert!(whole(1213, "") && whole(1020, "") && whole(3101, "") && whole(1206, ""));
        assert!(whole(1180, "Got error 149 \"Lock deadlock\" during COMMIT"));
        assert!(!whole(1180, "Got error 5 during COMMIT"));
        assert!(!whole(1205, "") && !whole(1062, "") && !whole(1412, ""));
        assert!(is_not_preparable(&reply(1295, "HY000", "")));
        assert!(is_stale_statement(&reply(1615, "HY000", "")));
    }

    #[test]
    fn the_report_has_the_names_of_the_message() {
        let names = |errno, message: &str| {
            let report = error(errno, "HY000", message).report().cloned().expect("a report");
            [report.schema, report.table, report.column, report.constraint].join("|")
        };
        let fk = "`d`.`t`, CONSTRAINT `c` FOREIGN KEY (`a`) REFERENCES `p` (`id`)";
        let cases = [
            (1062, "Duplicate entry 'x' for key 'email'".to_owned(), "|||email"),
            (1062, "Duplicate entry 'x' for key 'users.email'".to_owned(), "|users||email"),
            (1062, "Duplicate entry 'x' for key 'bob@x'".to_owned(), "|||"),
            (1048, "Column 'a' cannot be null".to_owned(), "||a|"),
            (1146, "Table 'd.nope' doesn't exist".to_owned(), "d|nope||"),
            (4025, "CONSTRAINT `c` failed for `d`.`t`".to_owned(), "d|t||c"),
            (3819, "Check constraint 'c' is violated.".to_owned(), "|||c"),
            (
                1366,
                "Incorrect integer value: 'x' for column `d`.`t`.`a` at row 1".to_owned(),
                "d|t|a|",
            ),
            (
                1452,
                format!("Cannot add or update a child row: a foreign key constraint fails ({fk})"),
                "d|t|a|c",
            ),
        ];
        for (errno, message, expected) in cases {
            assert_eq!(names(errno, &message), expected, "{message}");
        }
    }

    /// Errors as MariaDB 10.11 sent them, one a line: number, SQLSTATE and message; then what becomes of them: the reason,
    /// the public message, and the schema, table, column and constraint.
    const CAPTURED: &str = include_str!("captured_errors.txt");

    fn read(line: &str) -> String {
        let parts: Vec<&str> = line.split(" | ").collect();
        let [errno, sqlstate, message, ..] = parts[..] else { panic!("{line}") };
        let error = error(errno.parse().expect("a number"), sqlstate, message);
        let report = error.report().cloned().expect("a report");
        let names = [report.schema, report.table, report.column, report.constraint].join(",");
        let parts = [errno, sqlstate, message, error.reason(), error.message(), &names];
        format!("{}\n", parts.join(" | "))
    }

    #[test]
    fn errors_as_a_server_sent_them_are_told_and_redacted() {
        let read: String = CAPTURED.lines().map(read).collect();
        assert!(read == CAPTURED, "it should be:\n{read}");
    }

    #[test]
    fn messages_show_names_and_no_values() {
        let fk = "(`d`.`t`, CONSTRAINT `c` FOREIGN KEY (`a`) REFERENCES `p` (`id`))";
        let fails =
            format!("Cannot add or update a child row: a foreign key constraint fails {fk}");
        let cases = [
            (1062, "Duplicate entry 'SECRET' for key 'a'", "Duplicate entry '…' for key 'a'"),
            (1452, &fails, &fails),
            (
                1292,
                "Truncated incorrect DOUBLE value: 'SECRET'",
                "Truncated incorrect DOUBLE value: '…'",
            ),
            (
                1690,
                "BIGINT value is out of range in '(1 + SECRET)'",
                "BIGINT value is out of range in '…'",
            ),
            (1644, "no funds on 'SECRET'", "no funds on '…'"),
            (1105, "Unknown error SECRET", "the database reports error 1105 (HY000)"),
            (1054, "Unknown column 'b' in 'field list'", "Unknown column 'b' in 'field list'"),
            (1205, "Sperre SECRET", "Lock wait timeout exceeded; try restarting transaction"),
        ];
        for (errno, message, public) in cases {
            let safe = error(errno, "HY000", message);
            assert_eq!(safe.message(), public);
            let context = ErrorContext { details: ErrorDetails::Full, ..AT_WORK };
            let full = from_server_error(&reply(errno, "HY000", message), &context);
            assert_eq!(full.message(), message);
        }
    }

    #[test]
    fn a_syntax_error_has_its_position() {
        let message = "You have an error in your SQL syntax; check the manual that corresponds to your \
                       MariaDB server version for the right syntax to use near 'form t where a = ?' at line 1";
        let context = ErrorContext { sql: "select * form t where a = $1", ..AT_WORK };
        let error = from_server_error(&reply(1064, "42000", message), &context);
        assert_eq!(error.report().map(|report| report.position), Some(10));
        assert!(error.message().ends_with("to use near '…' at line 1"), "{}", error.message());
    }

    proptest! {
        #[test]
        fn any_error_has_a_public_text_within_its_limit(
            errno in prop_oneof![any::<u16>(), 1000..2000_u16, 3000..4200_u16],
            sqlstate in "[0-9A-Z]{0,5}",
            message in "(?s).{0,1200}",
        ) {
            let reply = reply(errno, &sqlstate, &message);
            let _ends = (is_connection_end(&reply), is_whole_rollback(&reply));
            let error = from_server_error(&reply, &AT_WORK);
            prop_assert!(error.message().len() <= TEXT_LIMIT);
            prop_assert!(!error.reason().is_empty());
        }
    }
}
