//! The meaning of error numbers: the name of the condition, and its kind.

use super::message_template;
use crate::error::ErrorKind;

/// One line for each form of a message: the error number, with `!` where only this form has the meaning, the
/// condition, and the template of the message. MySQL 5.7 to 9 and MariaDB 10.6 to 11; the numbers are one list up to
/// 1880, and each server's own from there on.
const ERRNOS: &str = include_str!("errnos.txt");

/// The kinds of the conditions. The names are PostgreSQL's where it has the condition, so that callers need not know
/// which database they use, or the kind's own.
const KINDS: &[(&str, ErrorKind)] = &[
    ("ACTIVE_SQL_TRANSACTION", ErrorKind::FailedPrecondition),
    ("AMBIGUOUS_COLUMN", ErrorKind::InvalidStatement),
    ("CARDINALITY_VIOLATION", ErrorKind::InvalidStatement),
    ("CASE_NOT_FOUND", ErrorKind::FailedPrecondition),
    ("CHARACTER_NOT_IN_REPERTOIRE", ErrorKind::InvalidStatement),
    ("CHECK_VIOLATION", ErrorKind::FailedPrecondition),
    ("COLLATION_MISMATCH", ErrorKind::InvalidStatement),
    ("CONFIGURATION_LIMIT_EXCEEDED", ErrorKind::ResourceExhausted),
    ("CONNECTION_LOST", ErrorKind::ConnectionLost),
    ("DATABASE_UNAVAILABLE", ErrorKind::DatabaseUnavailable),
    ("DATATYPE_MISMATCH", ErrorKind::InvalidStatement),
    ("DATA_CORRUPTED", ErrorKind::DataLoss),
    ("DATETIME_FIELD_OVERFLOW", ErrorKind::OutOfRange),
    ("DEADLINE", ErrorKind::DeadlineExceeded),
    ("DEADLOCK_DETECTED", ErrorKind::DeadlockDetected),
    ("DEPENDENT_OBJECTS_STILL_EXIST", ErrorKind::FailedPrecondition),
    ("DISK_FULL", ErrorKind::ResourceExhausted),
    ("DIVISION_BY_ZERO", ErrorKind::InvalidStatement),
    ("DUPLICATE_ALIAS", ErrorKind::InvalidStatement),
    ("DUPLICATE_COLUMN", ErrorKind::InvalidStatement),
    ("DUPLICATE_OBJECT", ErrorKind::AlreadyExists),
    ("DUPLICATE_TABLE", ErrorKind::AlreadyExists),
    ("FEATURE_NOT_SUPPORTED", ErrorKind::Unsupported),
    ("FOREIGN_KEY_VIOLATION", ErrorKind::FailedPrecondition),
    ("GROUPING_ERROR", ErrorKind::InvalidStatement),
    ("INSUFFICIENT_PRIVILEGE", ErrorKind::PermissionDenied),
    ("INSUFFICIENT_RESOURCES", ErrorKind::ResourceExhausted),
    ("INVALID_CATALOG_NAME", ErrorKind::FailedPrecondition),
    ("INVALID_COLUMN_REFERENCE", ErrorKind::InvalidStatement),
    ("INVALID_FOREIGN_KEY", ErrorKind::InvalidStatement),
    ("INVALID_PARAMETER_VALUE", ErrorKind::InvalidStatement),
    ("INVALID_PASSWORD", ErrorKind::FailedPrecondition),
    ("INVALID_SAVEPOINT_SPECIFICATION", ErrorKind::InvalidStatement),
    ("INVALID_TABLE_DEFINITION", ErrorKind::InvalidStatement),
    ("INVALID_TEXT_REPRESENTATION", ErrorKind::InvalidStatement),
    ("INVALID_TRANSACTION_STATE", ErrorKind::FailedPrecondition),
    ("INVALID_TRANSACTION_TERMINATION", ErrorKind::FailedPrecondition),
    ("LOCK_NOT_AVAILABLE", ErrorKind::LockNotAvailable),
    ("NAME_TOO_LONG", ErrorKind::InvalidStatement),
    ("NOT_NULL_VIOLATION", ErrorKind::FailedPrecondition),
    ("NOT_PRIMARY", ErrorKind::NotPrimary),
    ("NO_DATA_FOUND", ErrorKind::FailedPrecondition),
    ("NUMERIC_VALUE_OUT_OF_RANGE", ErrorKind::OutOfRange),
    ("OBJECT_IN_USE", ErrorKind::FailedPrecondition),
    ("OBJECT_NOT_IN_PREREQUISITE_STATE", ErrorKind::FailedPrecondition),
    ("OUTCOME_UNKNOWN", ErrorKind::OutcomeUnknown),
    ("OUT_OF_MEMORY", ErrorKind::ResourceExhausted),
    ("PLAN_CHANGED", ErrorKind::PlanChanged),
    ("PROGRAM_LIMIT_EXCEEDED", ErrorKind::ResourceExhausted),
    ("READ_ONLY", ErrorKind::ReadOnly),
    ("SEQUENCE_GENERATOR_LIMIT_EXCEEDED", ErrorKind::FailedPrecondition),
    ("SERIALIZATION_FAILURE", ErrorKind::SerializationFailure),
    ("SQL_ROUTINE_EXCEPTION", ErrorKind::FailedPrecondition),
    ("STATEMENT_TOO_COMPLEX", ErrorKind::ResourceExhausted),
    ("STRING_DATA_RIGHT_TRUNCATION", ErrorKind::InvalidStatement),
    ("SYNTAX_ERROR", ErrorKind::InvalidStatement),
    ("TOO_MANY_COLUMNS", ErrorKind::ResourceExhausted),
    ("TRANSACTION_ROLLBACK", ErrorKind::FailedPrecondition),
    ("UNDEFINED_COLUMN", ErrorKind::InvalidStatement),
    ("UNDEFINED_FUNCTION", ErrorKind::InvalidStatement),
    ("UNDEFINED_OBJECT", ErrorKind::InvalidStatement),
    ("UNDEFINED_TABLE", ErrorKind::InvalidStatement),
    ("UNIQUE_VIOLATION", ErrorKind::AlreadyExists),
    ("WITH_CHECK_OPTION_VIOLATION", ErrorKind::FailedPrecondition),
    ("WRONG_OBJECT_TYPE", ErrorKind::InvalidStatement),
];

/// The meaning of an error number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meaning {
    pub(super) kind: ErrorKind,
    pub(super) condition: &'static str,
    pub(super) template: &'static str,
}

/// Returns the meaning of an error: of the line whose template its message has, else of the number's first line that
/// is not bound to its message; `None` for a number that is not known.
pub(super) fn meaning(errno: u16, message: &str) -> Option<Meaning> {
    let number = errno.to_string();
    let lines = || ERRNOS.lines().filter_map(|line| Line::read(line.strip_prefix(&*number)?));
    let matching = lines().find(|line| message_template::values(line.template, message).is_some());
    let Line { condition, template, .. } =
        matching.or_else(|| lines().find(|line| !line.is_bound))?;
    let (condition, kind) = KINDS.iter().find(|(name, _)| *name == condition)?;
    Some(Meaning { kind: *kind, condition, template })
}

/// The part of a line behind its number.
struct Line {
    is_bound: bool,
    condition: &'static str,
    template: &'static str,
}

impl Line {
    fn read(rest: &'static str) -> Option<Self> {
        let unbound = rest.strip_prefix("! ").map_or(rest.strip_prefix(' '), Some)?;
        let (condition, template) = unbound.split_once(' ')?;
        Some(Self { is_bound: rest.starts_with('!'), condition, template })
    }
}

/// Returns the kind of an error whose number is not known, by its SQLSTATE's class; `None` for a class of no server: the
/// database's own code made it up.
pub(super) fn kind_of_class(sqlstate: &str) -> Option<ErrorKind> {
    Some(match sqlstate.get(..2).unwrap_or_default() {
        "08" => ErrorKind::DatabaseUnavailable,
        "0A" => ErrorKind::Unsupported,
        // Data, names and statements that are wrong in any state of the database.
        "07" | "20" | "21" | "22" | "24" | "26" | "34" | "3F" | "42" => ErrorKind::InvalidStatement,
        // A constraint, a state, or an error that the database's own code raises.
        "01" | "02" | "23" | "25" | "27" | "28" | "2B" | "2D" | "2F" | "38" | "39" | "3B"
        | "3D" | "40" | "44" | "45" | "55" | "XA" => ErrorKind::FailedPrecondition,
        "53" | "54" => ErrorKind::ResourceExhausted,
        "70" => ErrorKind::DeadlineExceeded,
        "00" | "0B" | "HV" | "HY" => ErrorKind::DatabaseInternal,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    const PAGE: &str = include_str!("../../../../docs/ERRORS.md");

    fn lines() -> impl Iterator<Item = (u16, Line)> {
        ERRNOS.lines().map(|line| {
            let (number, rest) = line.split_at(4);
            (number.parse().expect("a number"), Line::read(rest).expect("well-formed"))
        })
    }

    #[test]
    fn the_lines_are_sorted_and_every_condition_has_its_kind() {
        assert!(lines().is_sorted_by_key(|(number, _)| number));
        assert!(KINDS.is_sorted_by_key(|(name, _)| name));
        let used: BTreeSet<_> = lines().map(|(_, line)| line.condition).collect();
        let known: BTreeSet<_> = KINDS.iter().map(|(name, _)| *name).collect();
        assert_eq!(used, known);
        for (number, line) in lines() {
            let found = meaning(number, "").map(|it| it.condition);
            assert!(line.is_bound || found.is_some(), "{number}");
            assert!(!line.template.contains("}{"), "{}", line.template);
        }
    }

    #[test]
    fn the_page_has_the_table_of_the_code() {
        let mut numbers: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for (number, line) in lines() {
            numbers.entry(line.condition).or_default().insert(number.to_string());
        }
        let rows: Vec<String> = KINDS
            .iter()
            .map(|(condition, kind)| {
                let code = format!("{:?}", kind.code());
                let mut name = String::new();
                for c in code.chars() {
                    if c.is_uppercase() && !name.is_empty() {
                        name.push('_');
                    }
                    name.push(c.to_ascii_uppercase());
                }
                let numbers: Vec<_> = numbers[condition].iter().cloned().collect();
                format!("| `{condition}` | {name} | {} |", numbers.join(", "))
            })
            .collect();
        let expected = rows.join("\n");
        assert!(PAGE.contains(&expected), "docs/ERRORS.md should have this table:\n{expected}");
    }

    #[test]
    fn a_number_with_several_meanings_is_told_by_its_message() {
        let condition = |errno, message| meaning(errno, message).map(|it| it.condition);
        let read_only = "The MariaDB server is running with the --read-only option so it cannot \
                         execute this statement";
        let other = read_only.replace("--read-only", "--secure-file-priv");
        let conflict = "Got error 149 \"Lock deadlock; Retry transaction\" during COMMIT";
        let cases = [
            (1290, read_only, Some("NOT_PRIMARY")),
            (1290, &other, Some("OBJECT_NOT_IN_PREREQUISITE_STATE")),
            (1180, conflict, Some("SERIALIZATION_FAILURE")),
            (1180, "Got error 5 \"Input/output error\" during COMMIT", Some("OUTCOME_UNKNOWN")),
            (1180, "", Some("OUTCOME_UNKNOWN")),
            (1305, "SAVEPOINT a does not exist", Some("INVALID_SAVEPOINT_SPECIFICATION")),
            (1305, "PROCEDURE d.p does not exist", Some("UNDEFINED_FUNCTION")),
            (1047, "WSREP has not yet prepared node for application use", Some("NOT_PRIMARY")),
            (1047, "Unknown command", None),
            (
                4031,
                "The client was disconnected by the server because of inactivity. See wait_timeout",
                Some("CONNECTION_LOST"),
            ),
            (4031, "Referenced trigger 'x' for the given action time does not exist", None),
            (4025, "CONSTRAINT `c` failed for `d`.`t`", Some("CHECK_VIOLATION")),
            (1028, "Sort aborted: Query execution was interrupted", Some("DEADLINE")),
            (1028, "Sort aborted", None),
            (10, "", None),
            (106, "", None),
            (10_620, "", None),
        ];
        for (errno, message, expected) in cases {
            assert_eq!(condition(errno, message), expected, "{errno} {message}");
        }
    }
}
