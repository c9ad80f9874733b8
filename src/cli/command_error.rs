//! The error of a command, and the description of a failed call for people.

use std::fmt::Write as _;
use std::io;

use super::console::{Console, Exit, one_line, visible};
use crate::config::Problems;
use crate::error::{Error, Outcome};
use crate::grpc::client::CallError;

/// The length of the part of a long line that is shown around an error, in characters.
const WINDOW: usize = 100;

/// The hint for a server that lacks the method and is probably not Rowgate, or its operators' port.
const NO_SUCH_METHOD: &str = "The server does not serve Rowgate's gRPC: check that it is the address that \
    `rowgate serve` prints as gRPC.";

/// The hint for a statement or a batch of a caller that may only read.
const READ_ONLY: &str = "On this command line --read-only sends READ_ONLY.";

/// The result of a command or of a part of it.
pub(crate) type Result<T, E = CommandError> = std::result::Result<T, E>;

/// The error that ends a command.
#[derive(Debug)]
pub(crate) enum CommandError {
    /// The output cannot be written.
    Output(io::Error),
    /// The output cannot be written, and this became of what it tells of.
    Unprinted(io::Error, Outcome),
    Call(Box<CallError>),
    /// The error of a call that writes, so that its outcome is told.
    Write(Box<CallError>),
    Failed(String),
    /// The command line lacks something.
    Usage(String),
    /// The configuration has these problems.
    Config(String),
}

impl CommandError {
    /// Adds what became of a call to an output that cannot be written. One whose reader has gone ends the command
    /// without a word.
    pub(crate) fn behind(self, outcome: Outcome) -> Self {
        if let Self::Output(error) = self {
            if error.kind() == io::ErrorKind::BrokenPipe {
                return Self::Output(error);
            }
            return Self::Unprinted(error, outcome);
        }
        self
    }

    /// Prints the error, unless the output cannot be written.
    pub(crate) fn print(self, console: &mut Console<'_>) -> io::Result<Exit> {
        match self {
            Self::Output(error) => Err(error),
            Self::Unprinted(error, left) => {
                let mut text = format!("error: {}", unwritable(&error));
                line(&mut text, "outcome", outcome(left));
                console.err.write_all(format!("{text}\n").as_bytes())?;
                Ok(Exit::Failure)
            }
            Self::Call(error) => console.fail(&describe(&error, None)),
            Self::Write(error) => console.fail(&describe_write(&error)),
            Self::Failed(why) => console.fail(&why),
            Self::Usage(why) => console.fail(&why).map(|_failure| Exit::Usage),
            Self::Config(problems) => console.fail(&problems).map(|_failure| Exit::Config),
        }
    }
}

impl From<io::Error> for CommandError {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<CallError> for CommandError {
    fn from(error: CallError) -> Self {
        Self::Call(Box::new(error))
    }
}

impl From<Error> for CommandError {
    fn from(error: Error) -> Self {
        Self::Failed(one_line(&error))
    }
}

impl From<Problems> for CommandError {
    fn from(problems: Problems) -> Self {
        Self::Config(problems.to_string())
    }
}

/// The statement that a call ran.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'a> {
    /// The text that was sent.
    pub(crate) sql: &'a str,
    /// The line of the file on which it begins, from 1.
    pub(crate) first_line: usize,
}

impl<'a> Text<'a> {
    /// Makes the text of a statement that is not in a batch file.
    pub(crate) fn alone(sql: &'a str) -> Self {
        Self { sql, first_line: 1 }
    }
}

/// Describes a failed call on several lines, without a final line break; a call without a statement has no outcome.
pub(crate) fn describe(error: &CallError, statement: Option<Text<'_>>) -> String {
    let mut text = error.message.clone();
    let report = &error.report;
    if let Some(place) = statement.and_then(|text| place(text, report.position)) {
        text.push('\n');
        text.push_str(&place);
    }
    for violation in &error.violations {
        // Rowgate's own message has the description already; another server's may not.
        if !error.message.contains(&violation.description) {
            line(&mut text, &violation.field, &violation.description);
        }
    }
    match &error.reason {
        Some(reason) => line(&mut text, "reason", &format!("{reason} ({})", error.code)),
        None => line(&mut text, "code", error.code),
    }
    line(&mut text, "sqlstate", &report.sqlstate);
    line(&mut text, "schema", &report.schema);
    line(&mut text, "table", &report.table);
    line(&mut text, "column", &report.column);
    line(&mut text, "constraint", &report.constraint);
    line(&mut text, "data type", &report.data_type);
    line(&mut text, "detail", &report.detail);
    let is_other_server = error.reason.is_none() && error.code == "UNIMPLEMENTED";
    line(&mut text, "hint", if is_other_server { NO_SUCH_METHOD } else { &report.hint });
    let is_denied = error.reason.as_deref() == Some("ACCESS_DENIED");
    if is_denied && error.message.ends_with("is not READ_ONLY") {
        line(&mut text, "hint", READ_ONLY);
    }
    if let Some(delay) = error.retry_after {
        line(&mut text, "retry after", &humantime::format_duration(delay).to_string());
    }
    if statement.is_some() {
        line(&mut text, "outcome", outcome(error.outcome));
    }
    line(&mut text, "transaction token", &report.transaction_token);
    visible(&text)
}

/// Describes a failed call that writes without a statement, and its outcome last.
fn describe_write(error: &CallError) -> String {
    let mut text = describe(error, None);
    line(&mut text, "outcome", outcome(error.outcome));
    text
}

/// Describes an output that cannot be written.
pub(crate) fn unwritable(error: &io::Error) -> String {
    format!("output cannot be written: {error}")
}

fn line(text: &mut String, name: &str, value: &str) {
    if !value.is_empty() {
        write!(text, "\n  {name}: {value}").expect("writing to a String never fails");
    }
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::NotApplied => "NOT_APPLIED, nothing was changed",
        Outcome::Applied => "APPLIED, the change is committed",
        Outcome::Unknown => "UNKNOWN, a change may have been applied or not",
    }
}

/// Returns the line of the statement that contains the position, with a caret below. Positions count characters from 1;
/// one past the end means that more text was expected.
pub(crate) fn place(text: Text<'_>, position: u32) -> Option<String> {
    let index = usize::try_from(position.checked_sub(1)?).ok()?;
    let sql = text.sql.trim_end();
    let before: String = sql.chars().take(index).collect();
    let row = before.matches('\n').count();
    let column = before.rsplit('\n').next()?.chars().count();
    let line = sql.split('\n').nth(row)?;
    let start = column.saturating_sub(WINDOW * 2 / 3);
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    let shown: String = line.chars().skip(start).take(WINDOW).map(printable).collect();
    let before = if start > 0 { "…" } else { "" };
    let after = if line.chars().count() > start + WINDOW { "…" } else { "" };
    let label = format!("  line {}: {before}", text.first_line + row);
    let indent = " ".repeat(label.chars().count() + column - start);
    Some(format!("{label}{shown}{after}\n{indent}^"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::error::{DatabaseReport, FieldViolation};

    #[test]
    fn everything_known_is_shown() {
        let mut error = CallError::new(
            "INVALID_ARGUMENT",
            "relation \"nope\" does not exist",
            Outcome::NotApplied,
        );
        error.reason = Some("UNDEFINED_TABLE".to_owned());
        error.retry_after = Some(Duration::from_millis(250));
        error.report =
            DatabaseReport { sqlstate: "42P01".to_owned(), position: 15, ..Default::default() };
        error.report.hint = "Create it first.".to_owned();
        let expected = "\
relation \"nope\" does not exist
  line 1: select * from nope
                        ^
  reason: UNDEFINED_TABLE (INVALID_ARGUMENT)
  sqlstate: 42P01
  hint: Create it first.
  retry after: 250ms
  outcome: NOT_APPLIED, nothing was changed";
        assert_eq!(describe(&error, Some(Text::alone("select * from nope"))), expected);
    }

    #[test]
    fn a_status_of_a_proxy_leaves_the_outcome_unknown() {
        let error = CallError::new("UNAVAILABLE", "upstream\u{1b}[31m lost", Outcome::Unknown);
        let expected = "\
upstream\\u{1b}[31m lost
  code: UNAVAILABLE
  outcome: UNKNOWN, a change may have been applied or not";
        assert_eq!(describe(&error, Some(Text::alone(""))), expected);
    }

    #[test]
    fn a_server_without_the_method_may_not_be_rowgate() {
        let mut error = CallError::new("UNIMPLEMENTED", "HTTP status code 404", Outcome::Unknown);
        assert!(describe(&error, None).contains("hint: The server does not serve Rowgate's gRPC"));
        error.reason = Some("FEATURE_NOT_SUPPORTED".to_owned());
        assert!(!describe(&error, None).contains("hint"));
    }

    #[test]
    fn who_may_only_read_is_told_the_flag_that_says_so() {
        let message = "this caller may only read, and options.access_mode is not READ_ONLY";
        let mut error = CallError::new("PERMISSION_DENIED", message, Outcome::NotApplied);
        assert!(!describe(&error, None).contains("--read-only"));
        error.reason = Some("ACCESS_DENIED".to_owned());
        error.report.hint = "Send READ_ONLY.".to_owned();
        let described = describe(&error, None);
        assert!(described.contains("hint: Send READ_ONLY.\n  hint: On this"), "{described}");
        assert!(described.contains("--read-only"), "{described}");
    }

    #[test]
    fn a_field_is_named_once() {
        let mut error =
            CallError::new("INVALID_ARGUMENT", "parameters[0]: not a date", Outcome::NotApplied);
        error.violations = vec![FieldViolation {
            field: "parameters[0]".to_owned(),
            description: "not a date".to_owned(),
        }];
        assert_eq!(describe(&error, None).matches("not a date").count(), 1);
        error.message = "invalid request".to_owned();
        assert!(describe(&error, None).contains("\n  parameters[0]: not a date\n"));
    }

    #[test]
    fn the_caret_is_below_the_character_at_the_position() {
        let cases = [
            ("select x", 8, "  line 1: select x\n                 ^"),
            ("select 'ü', x", 13, "  line 1: select 'ü', x\n                      ^"),
            ("select\n\t1,\n  x\n", 14, "  line 3:   x\n            ^"),
            // One past the end, although the statement ends in a line break.
            ("select\n", 8, "  line 1: select\n                ^"),
            ("select", 4_000_000_000, "  line 1: select\n                ^"),
        ];
        for (sql, position, expected) in cases {
            assert_eq!(place(Text::alone(sql), position).as_deref(), Some(expected), "{sql:?}");
        }
        assert_eq!(place(Text::alone("select"), 0), None);
    }

    #[test]
    fn of_a_long_line_the_part_around_the_error_is_shown() {
        let sql = format!("select {}, oops, {}", "a".repeat(500), "b".repeat(500));
        let place = place(Text::alone(&sql), 510).unwrap();
        let (line, caret) = place.split_once('\n').unwrap();
        assert!(line.starts_with("  line 1: …aaa") && line.ends_with("bbb…"), "{line}");
        assert_eq!(line.chars().nth(caret.chars().count() - 1), Some('o'));
    }
}
