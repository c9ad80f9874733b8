//! The one error vocabulary.
//!
//! [`ErrorKind`] decides everything that follows from an error: the gRPC code, the reason, the label
//! of a metric, the field of a log line. What callers may read (`message`, `hint`, [`DatabaseReport`])
//! and the private cause are separate fields; the cause is for logs only.

mod kind;

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::time::Duration;

pub use kind::ErrorKind;

/// The result of everything that can fail in a call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What became of the call's work in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Nothing was applied, and nothing ever will be. Also every failed read.
    NotApplied,
    /// The work is committed, although the call failed (its result was too large, say).
    Applied,
    /// It may have been applied or not.
    Unknown,
}

impl Outcome {
    /// The value of `ErrorInfo.metadata["outcome"]`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotApplied => "NOT_APPLIED",
            Self::Applied => "APPLIED",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// What the database said of a failure, as callers may read it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DatabaseReport {
    /// The SQLSTATE, five characters; empty for SQLite.
    pub sqlstate: String,
    /// ERROR, FATAL or PANIC.
    pub severity: String,
    /// The constraint's name.
    pub constraint: String,
    /// The schema's name.
    pub schema: String,
    /// The table's name.
    pub table: String,
    /// The column's name.
    pub column: String,
    /// The data type's name.
    pub data_type: String,
    /// Where in the SQL text, in characters from 1; 0 for nowhere.
    pub position: u32,
    /// The database's DETAIL; empty unless the configuration allows it.
    pub detail: String,
}

/// A field of the request that is wrong, for `google.rpc.BadRequest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldViolation {
    /// The path of the field, as in `parameters[0]` or `options.timeout`.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

/// An error, as it crosses every module.
#[derive(Debug)]
pub struct Error(Box<Parts>);

#[derive(Debug)]
struct Parts {
    kind: ErrorKind,
    message: Cow<'static, str>,
    hint: Option<Cow<'static, str>>,
    outcome: Outcome,
    condition: Option<Cow<'static, str>>,
    report: Option<DatabaseReport>,
    violation: Option<FieldViolation>,
    retry_after: Option<Duration>,
    failed_statement: Option<u32>,
    transaction_token: Option<String>,
    had_its_key: bool,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What to do about a result that did not fit and that came with a write.
const APPLIED: &str =
    "It is applied: do not send it again. Read what it wrote; the next time return less.";

impl Error {
    /// An error after which nothing was applied.
    ///
    /// The message is public: lower case, no full stop, what happened to what, no data of rows.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Parts {
            kind,
            message: message.into(),
            hint: None,
            outcome: Outcome::NotApplied,
            condition: None,
            report: None,
            violation: None,
            retry_after: None,
            failed_statement: None,
            transaction_token: None,
            had_its_key: false,
            cause: None,
        }))
    }

    /// An error about one field of the request.
    #[must_use]
    pub fn field(
        kind: ErrorKind,
        field: impl Into<String>,
        description: impl Into<String>,
    ) -> Self {
        let violation = FieldViolation { field: field.into(), description: description.into() };
        let mut error = Self::new(kind, format!("{}: {}", violation.field, violation.description));
        error.0.violation = Some(violation);
        error
    }

    /// Says that the unit had its idempotency key when it failed: then no earlier unit under that key was
    /// applied, and none will be.
    #[must_use]
    pub fn with_its_key(mut self) -> Self {
        self.0.had_its_key = true;
        self
    }

    /// Whether the unit had its idempotency key.
    #[must_use]
    pub fn had_its_key(&self) -> bool {
        self.0.had_its_key
    }

    /// What to do about it, as a sentence.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// What became of the work.
    #[must_use]
    pub fn with_outcome(mut self, outcome: Outcome) -> Self {
        self.0.outcome = outcome;
        if self.0.kind == ErrorKind::ResultTooLarge && outcome == Outcome::Applied {
            // To ask for less would be to write again.
            self.0.hint = Some(Cow::Borrowed(APPLIED));
        }
        self
    }

    /// The database's own name of the condition, in upper case: it becomes the reason.
    #[must_use]
    pub fn with_condition(mut self, condition: impl Into<Cow<'static, str>>) -> Self {
        self.0.condition = Some(condition.into());
        self
    }

    /// What the database said.
    #[must_use]
    pub fn with_report(mut self, report: DatabaseReport) -> Self {
        self.0.report = Some(report);
        self
    }

    /// The field of the request that is to blame.
    #[must_use]
    pub fn with_violation(mut self, violation: FieldViolation) -> Self {
        self.0.violation = Some(violation);
        self
    }

    /// Gives the field that is to blame another path, in the message as well.
    #[must_use]
    pub fn with_field(mut self, path: impl FnOnce(&str) -> String) -> Self {
        if let Some(violation) = &mut self.0.violation {
            let path = path(&violation.field);
            let rest = self.0.message.strip_prefix(violation.field.as_str());
            if let Some(rest) = rest.filter(|rest| rest.starts_with(':')) {
                self.0.message = format!("{path}{rest}").into();
            }
            violation.field = path;
        }
        self
    }

    /// When to try again.
    #[must_use]
    pub fn with_retry_after(mut self, delay: Duration) -> Self {
        self.0.retry_after = Some(delay);
        self
    }

    /// The same without a word on when to try again.
    #[must_use]
    pub fn without_retry_after(mut self) -> Self {
        self.0.retry_after = None;
        self
    }

    /// Which statement of a batch failed, from 0.
    #[must_use]
    pub fn with_failed_statement(mut self, index: usize) -> Self {
        self.0.failed_statement = u32::try_from(index).ok();
        self
    }

    /// The same of a statement that stands alone in its request.
    #[must_use]
    pub fn without_failed_statement(mut self) -> Self {
        self.0.failed_statement = None;
        self
    }

    /// By what the database can be asked later what became of the work.
    #[must_use]
    pub fn with_transaction_token(mut self, token: impl Into<String>) -> Self {
        self.0.transaction_token = Some(token.into());
        self
    }

    /// The private cause, for logs.
    #[must_use]
    pub fn with_cause(
        mut self,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// The private cause, for logs: what the driver says in words of its own, and the system's errors
    /// beneath it. Whatever else is beneath may be the database's reply, which quotes rows. Empty when
    /// there is none.
    #[must_use]
    pub fn cause(&self) -> String {
        let Some(first) = &self.0.cause else { return String::new() };
        let mut text = first.to_string();
        let mut next = first.source();
        while let Some(link) = next {
            if link.is::<io::Error>() {
                text = format!("{text}: {link}");
            }
            next = link.source();
        }
        text
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The public message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The reason as metrics have it, one of a finite set: a condition that a database's own code makes up stays out.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match &self.0.condition {
            Some(Cow::Borrowed(condition)) => condition,
            Some(Cow::Owned(_)) | None => self.kind().reason(),
        }
    }

    /// The reason: the database's condition, else the kind's own.
    #[must_use]
    pub fn reason(&self) -> &str {
        match &self.0.condition {
            Some(condition) => condition,
            None => self.0.kind.reason(),
        }
    }

    /// What became of the work.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.0.outcome
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// What the database said.
    #[must_use]
    pub fn report(&self) -> Option<&DatabaseReport> {
        self.0.report.as_ref()
    }

    /// The field of the request that is to blame.
    #[must_use]
    pub fn violation(&self) -> Option<&FieldViolation> {
        self.0.violation.as_ref()
    }

    /// Which statement of a batch failed, from 0.
    #[must_use]
    pub fn failed_statement(&self) -> Option<u32> {
        self.0.failed_statement
    }

    /// By what the database can be asked later what became of the work.
    #[must_use]
    pub fn transaction_token(&self) -> Option<&str> {
        self.0.transaction_token.as_deref()
    }

    /// When to try again.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0.cause {
            Some(cause) => Some(&**cause),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A driver's error over one of another kind.
    #[derive(Debug)]
    struct Driver(Box<dyn std::error::Error + Send + Sync>);

    impl fmt::Display for Driver {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("db error")
        }
    }

    impl std::error::Error for Driver {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&*self.0)
        }
    }

    fn lost() -> Error {
        Error::new(ErrorKind::ConnectionLost, "lost")
    }

    #[test]
    fn a_cause_is_told_but_for_what_may_quote_rows() {
        let reply: Box<dyn std::error::Error + Send + Sync> = "row-7f3a".into();
        assert_eq!(lost().with_cause(Driver(reply)).cause(), "db error");
        let reset = io::Error::new(io::ErrorKind::ConnectionReset, "reset by peer");
        assert_eq!(lost().with_cause(Driver(reset.into())).cause(), "db error: reset by peer");
        assert_eq!(lost().cause(), "");
    }
}
