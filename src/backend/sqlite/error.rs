//! Translation of SQLite's errors.
//!
//! A message of SQLite's is shown as far as it is made of names from the schema and the statement;
//! a part that may quote a value is cut unless the configuration allows it (`error_details`).

use std::borrow::Cow;
use std::ffi::c_int;
use std::time::Duration;

use rusqlite::ffi;

use super::row_channel::StopReason;
use crate::config::ErrorDetails;
use crate::error::{DatabaseReport, Error, ErrorKind, Outcome};

/// The delay after which a caller may retry for a lock.
const LOCK_RETRY: Duration = Duration::from_millis(50);

/// The reason of a statement about a table that does not exist.
pub(crate) const UNDEFINED_TABLE: &str = "UNDEFINED_TABLE";

/// The activity of SQLite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Open,
    /// Compiling the statement: nothing has run.
    Compile,
    Read,
    /// Running a write: nothing is applied before its commit.
    Write,
    Commit,
}

/// The origin of an error.
pub(crate) struct Origin<'a> {
    pub(crate) sql: &'a str,
    pub(crate) step: Step,
    pub(crate) details: ErrorDetails,
}

/// The error of a text that holds more than one statement.
pub(crate) fn several_statements() -> Error {
    Error::new(ErrorKind::InvalidStatement, "cannot run several statements in one call")
        .with_condition("MULTIPLE_STATEMENTS")
        .with_hint("Send each as a call of its own, or as one of an ExecuteBatch; nothing has run.")
}

/// Translates an error of SQLite's.
pub(crate) fn translate(error: rusqlite::Error, origin: &Origin<'_>) -> Error {
    let Some((code, message, position)) = read(&error, origin.sql) else {
        let message = format!("the SQLite driver failed: {}", kind_of(&error));
        return Error::new(ErrorKind::Internal, message);
    };
    let mut report =
        DatabaseReport { severity: "ERROR".to_owned(), position, ..Default::default() };
    let translated = match code & 0xff {
        ffi::SQLITE_CONSTRAINT => constraint(code, &message, &mut report),
        ffi::SQLITE_ERROR => generic(&message, origin),
        primary => by_code(primary, code, origin.step),
    };
    let translated = translated.with_report(report);
    let own = origin.details == ErrorDetails::Full
        && !message.is_empty()
        && code & 0xff != ffi::SQLITE_INTERRUPT;
    let translated = if own { translated.with_message(message) } else { translated };
    // The driver's own text repeats the statement, which may hold what no log should. Where the file
    // cannot be opened, it says which.
    match error.sqlite_error() {
        Some(failure) if failure.code == rusqlite::ErrorCode::CannotOpen => {
            translated.with_cause(error)
        }
        _ => translated.with_cause(ffi::Error::new(code)),
    }
}

/// SQLite's own code and message in a driver error, and the position in the statement.
fn read(error: &rusqlite::Error, sent: &str) -> Option<(c_int, String, u32)> {
    if let rusqlite::Error::SqliteFailure(failure, message) = error {
        return Some((failure.extended_code, message.clone().unwrap_or_default(), 0));
    }
    if let rusqlite::Error::SqlInputError { error, msg, sql, offset } = error {
        return Some((error.extended_code, msg.clone(), position(sent, sql, *offset)));
    }
    None
}

/// The kind of a driver error, without the values that it may quote.
fn kind_of(error: &rusqlite::Error) -> String {
    let debug = format!("{error:?}");
    debug.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default().to_owned()
}

/// The position in the statement, in characters from 1. The driver trims the text that it compiles.
fn position(sent: &str, compiled: &str, offset: c_int) -> u32 {
    let Ok(offset) = usize::try_from(offset) else { return 0 };
    let Some(start) = sent.find(compiled) else { return 0 };
    let before = sent.get(..start + offset).unwrap_or_default();
    u32::try_from(before.chars().count() + 1).unwrap_or(0)
}

/// An error of a kind under the name of its condition.
fn error(kind: ErrorKind, message: impl Into<Cow<'static, str>>, condition: &'static str) -> Error {
    Error::new(kind, message).with_condition(condition)
}

fn constraint(code: c_int, message: &str, report: &mut DatabaseReport) -> Error {
    let about = message.split_once(" failed: ").map_or("", |(_, about)| about);
    let (condition, what) = match code {
        ffi::SQLITE_CONSTRAINT_UNIQUE
        | ffi::SQLITE_CONSTRAINT_PRIMARYKEY
        | ffi::SQLITE_CONSTRAINT_ROWID => ("UNIQUE_VIOLATION", "unique constraint"),
        ffi::SQLITE_CONSTRAINT_NOTNULL => ("NOT_NULL_VIOLATION", "not-null constraint"),
        ffi::SQLITE_CONSTRAINT_CHECK => ("CHECK_VIOLATION", "check constraint"),
        ffi::SQLITE_CONSTRAINT_FOREIGNKEY => ("FOREIGN_KEY_VIOLATION", "foreign key constraint"),
        // RAISE in a trigger has the application's own message.
        ffi::SQLITE_CONSTRAINT_TRIGGER => {
            return error(ErrorKind::FailedPrecondition, message.to_owned(), "RAISE_EXCEPTION");
        }
        // STRICT tables: `cannot store TEXT value in INTEGER column t.a`.
        ffi::SQLITE_CONSTRAINT_DATATYPE => {
            return error(ErrorKind::InvalidStatement, message.to_owned(), "DATATYPE_MISMATCH");
        }
        _ => {
            let condition = "INTEGRITY_CONSTRAINT_VIOLATION";
            return error(ErrorKind::FailedPrecondition, "a constraint failed", condition);
        }
    };
    match condition {
        "CHECK_VIOLATION" => about.clone_into(&mut report.constraint),
        "FOREIGN_KEY_VIOLATION" => {}
        _ => name_columns(about, report),
    }
    let kind = match condition {
        "UNIQUE_VIOLATION" => ErrorKind::AlreadyExists,
        _ => ErrorKind::FailedPrecondition,
    };
    let detail = if about.is_empty() { String::new() } else { format!(": {about}") };
    error(kind, format!("{what} failed{detail}"), condition)
}

/// Reads `t.a, t.b` or `index 'name'`.
fn name_columns(about: &str, report: &mut DatabaseReport) {
    if let Some(index) = about.strip_prefix("index '") {
        index.trim_end_matches('\'').clone_into(&mut report.constraint);
        return;
    }
    if let Some((table, column)) = about.split_once('.') {
        table.clone_into(&mut report.table);
        if !column.contains(", ") {
            column.clone_into(&mut report.column);
        }
    }
}

/// SQLITE_ERROR: everything that has no code of its own is told by its message.
fn generic(message: &str, origin: &Origin<'_>) -> Error {
    let known = [
        ("no such table", ErrorKind::InvalidStatement, UNDEFINED_TABLE),
        ("no such column", ErrorKind::InvalidStatement, "UNDEFINED_COLUMN"),
        ("no such function", ErrorKind::InvalidStatement, "UNDEFINED_FUNCTION"),
        ("ambiguous column name", ErrorKind::InvalidStatement, "AMBIGUOUS_COLUMN"),
        ("too many SQL variables", ErrorKind::InvalidParameter, "INVALID_PARAMETER"),
        ("integer overflow", ErrorKind::OutOfRange, "NUMERIC_VALUE_OUT_OF_RANGE"),
        ("incomplete input", ErrorKind::InvalidStatement, "SYNTAX_ERROR"),
    ];
    if message.contains("syntax error") && message.starts_with("near ") {
        return syntax_error(message, origin.details);
    }
    if message.starts_with("unrecognized token") {
        let message = "syntax error: unrecognized token";
        return error(ErrorKind::InvalidStatement, message, "SYNTAX_ERROR");
    }
    if let Some((_, kind, condition)) =
        known.into_iter().find(|(start, ..)| message.starts_with(start))
    {
        return error(kind, message.to_owned(), condition);
    }
    if message.ends_with("already exists") && origin.step != Step::Read {
        return error(ErrorKind::AlreadyExists, message.to_owned(), "DUPLICATE_OBJECT");
    }
    // A statement that was only compiled has named nothing but its own words and the schema's.
    let whole = origin.step == Step::Compile || origin.details == ErrorDetails::Full;
    let shown = if whole { message } else { without_values(message) };
    let shown = if shown.is_empty() { "the statement failed" } else { shown };
    error(ErrorKind::InvalidStatement, shown.to_owned(), "SQLITE_ERROR")
}

/// `near "FORM": syntax error`; the word is shown unless it may be a literal.
fn syntax_error(message: &str, details: ErrorDetails) -> Error {
    let word =
        message.strip_prefix("near \"").and_then(|rest| rest.strip_suffix("\": syntax error"));
    let is_word =
        |word: &str| !word.starts_with(|c: char| c.is_ascii_digit()) && !word.contains(['\'', '"']);
    let shown = word.filter(|word| details == ErrorDetails::Full || is_word(word));
    let near = shown.map(|word| format!(" near \"{word}\"")).unwrap_or_default();
    error(ErrorKind::InvalidStatement, format!("syntax error{near}"), "SYNTAX_ERROR")
}

/// A message up to where it may quote a value.
fn without_values(message: &str) -> &str {
    let quoted = message.find(['\'', '"', '[']).unwrap_or(message.len());
    let listed = message.find(": ").unwrap_or(message.len());
    message[..quoted.min(listed)].trim_end_matches([' ', ':'])
}

fn by_code(primary: c_int, code: c_int, step: Step) -> Error {
    let (kind, message, condition) = match primary {
        // Only a job's own callback interrupts, and a caller who cancelled does not read this.
        ffi::SQLITE_INTERRUPT => return StopReason::Deadline.into(),
        ffi::SQLITE_TOOBIG if step != Step::Compile => return too_large(),
        ffi::SQLITE_IOERR => return io_error(step),
        ffi::SQLITE_NOMEM => return out_of_memory(step),
        ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED => {
            let message = "another process or statement holds the database's lock";
            return error(ErrorKind::LockNotAvailable, message, "LOCK_NOT_AVAILABLE")
                .with_retry_after(LOCK_RETRY);
        }
        ffi::SQLITE_CANTOPEN => {
            let message = "the database file cannot be opened";
            return error(ErrorKind::DatabaseUnavailable, message, "DATABASE_UNAVAILABLE")
                .with_hint("The directory must exist and be writable.");
        }
        ffi::SQLITE_FULL => (ErrorKind::ResourceExhausted, "the disk is full", "DISK_FULL"),
        ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB => (
            ErrorKind::DataLoss,
            "the database file is damaged or not a database",
            "DATA_CORRUPTED",
        ),
        ffi::SQLITE_READONLY => {
            (ErrorKind::ReadOnly, "the database cannot be written", "READ_ONLY")
        }
        ffi::SQLITE_MISMATCH => {
            (ErrorKind::InvalidStatement, "datatype mismatch", "DATATYPE_MISMATCH")
        }
        ffi::SQLITE_RANGE => {
            (ErrorKind::InvalidParameter, "a parameter is out of range", "INVALID_PARAMETER")
        }
        ffi::SQLITE_TOOBIG => (ErrorKind::InvalidSql, "the statement is too long", "INVALID_SQL"),
        ffi::SQLITE_AUTH | ffi::SQLITE_PERM => {
            (ErrorKind::PermissionDenied, "SQLite does not allow it", "INSUFFICIENT_PRIVILEGE")
        }
        ffi::SQLITE_SCHEMA => (
            ErrorKind::PlanChanged,
            "the tables kept changing while the statement was compiled",
            "PLAN_CHANGED",
        ),
        _ => {
            let message = format!("SQLite failed with code {code}");
            return error(ErrorKind::DatabaseInternal, message, "SQLITE_INTERNAL");
        }
    };
    error(kind, message, condition)
}

fn out_of_memory(step: Step) -> Error {
    let message = "the statement needs more memory than SQLite may use";
    let failed = error(ErrorKind::ResourceExhausted, message, "OUT_OF_MEMORY")
        .with_hint("databases.NAME.sqlite_heap_limit bounds it, for all calls together.");
    // The log may have been written already.
    if step == Step::Commit { failed.with_outcome(Outcome::Unknown) } else { failed }
}

fn io_error(step: Step) -> Error {
    let message = "reading or writing the file failed";
    let failed = error(ErrorKind::DatabaseInternal, message, "IO_ERROR");
    // A commit whose sync failed may still be in the log and come back after a crash.
    if step == Step::Commit { failed.with_outcome(Outcome::Unknown) } else { failed }
}

/// The error of a row over `max_row_size`.
pub(crate) fn too_large() -> Error {
    Error::new(ErrorKind::RowTooLarge, "a row or value is larger than the largest row allowed")
        .with_hint("databases.NAME.max_row_size bounds it.")
}
