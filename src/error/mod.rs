//! The one error vocabulary.
//!
//! The table of [`ErrorKind`] decides everything that follows from an error: the gRPC code, the reason, the
//! label of a metric, retries and pauses. Callers may read `message`, `hint` and [`DatabaseReport`]; the
//! cause is for logs only.

mod kind;

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::time::Duration;

pub(crate) use kind::{ErrorKind, GrpcCode, LogLine, RetryClass};

/// The database's report of a failure, as callers may read it; an [`Error`] has its hint, statement and token apart.
pub(crate) use crate::value::proto::DatabaseError as DatabaseReport;

/// The result of everything that can fail in a call.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// The outcome of the call's work in the database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Nothing was applied, and nothing ever will be. Also every failed read.
    #[default]
    NotApplied,
    /// The work is committed, although the call failed (its result was too large, say).
    Applied,
    Unknown,
}

impl Outcome {
    /// The value of `ErrorInfo.metadata["outcome"]`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotApplied => "NOT_APPLIED",
            Self::Applied => "APPLIED",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// A field of the request that is wrong, for `google.rpc.BadRequest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldViolation {
    /// The path of the field, as in `parameters[0]` or `options.timeout`.
    pub field: String,
    pub description: String,
}

/// An error, as it crosses every module.
#[derive(Debug)]
pub struct Error(Box<Parts>);

#[derive(Debug, Default)]
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
    claimed_key: bool,
    is_denial: bool,
    denied_database: Option<String>,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The begin of the hint of each error of work that is applied: any other advice would lead to doing it again.
const APPLIED: &str = "It is applied: do not send it again.";

/// The hint for a result that did not fit and that came with a write: to ask for less would be to write again.
const READ_IT: &str = "Read what it wrote; the next time return less.";

impl Error {
    /// An error after which nothing was applied.
    ///
    /// The message is public: lower case, no full stop, what happened to what, no data of rows.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Parts { kind, message: message.into(), ..Parts::default() }))
    }

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

    /// Notes that the unit had claimed its idempotency key when it failed: no earlier unit under that key was
    /// applied, and none will be.
    pub fn with_claimed_key(mut self) -> Self {
        self.0.claimed_key = true;
        self
    }

    pub fn claimed_key(&self) -> bool {
        self.0.claimed_key
    }

    /// Notes that the caller lacks a right, whatever it is told: operators see a refusal.
    pub fn denying(mut self) -> Self {
        self.0.is_denial = true;
        self
    }

    /// Notes that the caller may not use the database of this name, although it is told that there is none.
    pub fn denying_database(mut self, database: &str) -> Self {
        self.0.denied_database = Some(database.to_owned());
        self.denying()
    }

    /// Replaces the message by the database's own.
    pub fn with_message(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.0.message = message.into();
        self
    }

    /// Sets the hint, a sentence that says what to do.
    pub fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    pub fn with_outcome(mut self, outcome: Outcome) -> Self {
        self.0.outcome = outcome;
        if self.0.kind == ErrorKind::ResultTooLarge && outcome == Outcome::Applied {
            return self.with_hint(READ_IT);
        }
        self
    }

    /// Sets the database's own name of the condition, in upper case: it becomes the reason.
    pub fn with_condition(mut self, condition: impl Into<Cow<'static, str>>) -> Self {
        self.0.condition = Some(condition.into());
        self
    }

    pub fn with_report(mut self, report: DatabaseReport) -> Self {
        self.0.report = Some(report);
        self
    }

    /// Sets the field of the request that is to blame.
    pub fn with_violation(mut self, violation: FieldViolation) -> Self {
        self.0.violation = Some(violation);
        self
    }

    /// Renames the field that is to blame, in the message as well.
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

    /// Sets another pause before the next attempt than the kind's own.
    pub fn with_retry_after(mut self, pause: Duration) -> Self {
        self.0.retry_after = Some(pause);
        self
    }

    /// Sets the index of the failed statement in its batch, from 0.
    pub fn with_failed_statement(mut self, index: usize) -> Self {
        self.0.failed_statement = u32::try_from(index).ok();
        self
    }

    /// Clears the index of the failed statement, for one that is alone in its request.
    pub fn without_failed_statement(mut self) -> Self {
        self.0.failed_statement = None;
        self
    }

    /// Sets the token by which the outcome can be asked for later.
    pub fn with_transaction_token(mut self, token: impl Into<String>) -> Self {
        self.0.transaction_token = Some(token.into());
        self
    }

    pub fn with_cause(
        mut self,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// Returns true if the caller lacks a right.
    pub fn is_denial(&self) -> bool {
        self.0.is_denial || self.reason() == "ACCESS_DENIED"
    }

    /// The name of the database that the caller may not use, for operators alone.
    pub fn denied_database(&self) -> Option<&str> {
        self.0.denied_database.as_deref()
    }

    /// The text of the private cause, for logs: the driver's own words, and the system's errors beneath it.
    /// Anything else beneath may be the database's reply, which quotes rows. Empty without a cause.
    pub fn cause(&self) -> String {
        let mut text = self.0.cause.as_ref().map(ToString::to_string).unwrap_or_default();
        let first = self.0.cause.as_ref().and_then(|cause| cause.source());
        for link in std::iter::successors(first, |link| link.source()) {
            if link.is::<io::Error>() {
                text = format!("{text}: {link}");
            }
        }
        text
    }

    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The gRPC code. Clients and meshes repeat calls that failed with UNAVAILABLE or ABORTED, whatever the
    /// details say: these codes are for calls that applied nothing.
    pub fn code(&self) -> GrpcCode {
        let code = self.kind().code();
        let is_repeated = matches!(code, GrpcCode::Unavailable | GrpcCode::Aborted);
        if is_repeated && self.outcome() != Outcome::NotApplied { GrpcCode::Unknown } else { code }
    }

    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The reason as a metric label, one of a finite set: conditions that a database's own code makes up are
    /// left out.
    pub fn label(&self) -> &'static str {
        match &self.0.condition {
            Some(Cow::Borrowed(condition)) => condition,
            Some(Cow::Owned(_)) | None => self.kind().reason(),
        }
    }

    /// The reason: the database's condition, else the kind's own.
    pub fn reason(&self) -> &str {
        self.0.condition.as_deref().unwrap_or_else(|| self.kind().reason())
    }

    pub fn outcome(&self) -> Outcome {
        self.0.outcome
    }

    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The hint as callers read it: first of all that the work is applied, if it is.
    pub fn advice(&self) -> Cow<'_, str> {
        match (self.outcome(), self.hint()) {
            (Outcome::Applied, Some(hint)) => format!("{APPLIED} {hint}").into(),
            (Outcome::Applied, None) => APPLIED.into(),
            (Outcome::NotApplied | Outcome::Unknown, hint) => hint.unwrap_or_default().into(),
        }
    }

    pub fn report(&self) -> Option<&DatabaseReport> {
        self.0.report.as_ref()
    }

    pub fn violation(&self) -> Option<&FieldViolation> {
        self.0.violation.as_ref()
    }

    pub fn failed_statement(&self) -> Option<u32> {
        self.0.failed_statement
    }

    pub fn transaction_token(&self) -> Option<&str> {
        self.0.transaction_token.as_deref()
    }

    /// The pause before the caller may send the same call again; `None` if it should not, and always if
    /// something may have been applied.
    pub fn retry_after(&self) -> Option<Duration> {
        let pause = self.0.retry_after.or_else(|| self.kind().retry_after());
        pause.filter(|_| self.outcome() == Outcome::NotApplied)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.cause.as_ref().map(|cause| &**cause as &(dyn std::error::Error + 'static))
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
    fn only_what_was_not_applied_may_be_sent_again_with_its_kinds_pause() {
        let pause = ErrorKind::ConnectionLost.retry_after();
        assert!(pause.is_some());
        assert_eq!((lost().retry_after(), lost().code()), (pause, GrpcCode::Unavailable));
        let own = Duration::from_secs(7);
        assert_eq!(lost().with_retry_after(own).retry_after(), Some(own));
        for outcome in [Outcome::Applied, Outcome::Unknown] {
            let error = lost().with_outcome(outcome);
            assert_eq!((error.retry_after(), error.code()), (None, GrpcCode::Unknown));
        }
    }

    #[test]
    fn whatever_fails_after_work_was_applied_says_so_first() {
        use ErrorKind::{Cancelled, Internal, InvalidOption, KeyApplied, ResultTooLarge};
        for kind in [Cancelled, Internal, InvalidOption, KeyApplied, ResultTooLarge] {
            let error = || Error::new(kind, "m").with_outcome(Outcome::Applied);
            assert!(error().advice().starts_with(APPLIED), "{kind:?}");
            let hinted = error().with_hint("Send less.");
            assert_eq!(hinted.advice(), format!("{APPLIED} Send less."), "{kind:?}");
        }
        assert_eq!(lost().with_hint("Try it again.").advice(), "Try it again.");
        assert_eq!(lost().with_outcome(Outcome::Unknown).advice(), "");
    }

    #[test]
    fn a_cause_contains_nothing_that_may_quote_rows() {
        let reply: Box<dyn std::error::Error + Send + Sync> = "row-7f3a".into();
        assert_eq!(lost().with_cause(Driver(reply)).cause(), "db error");
        let reset = io::Error::new(io::ErrorKind::ConnectionReset, "reset by peer");
        assert_eq!(lost().with_cause(Driver(reset.into())).cause(), "db error: reset by peer");
        assert_eq!(lost().cause(), "");
    }
}
