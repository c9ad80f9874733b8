//! Why a call failed, as the command line shows it.

use std::fmt;
use std::time::Duration;

use prost::Message as _;
use tonic::{Code, Status};
use tonic_types::pb;

use crate::error::{DatabaseReport, FieldViolation, Outcome};
use crate::value::proto::DatabaseError;

/// Why a call failed, in plain fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallError {
    /// The gRPC code: `INVALID_ARGUMENT`.
    pub code: &'static str,
    /// The message.
    pub message: String,
    /// The reason Rowgate gives; `None` when something else made the status.
    pub reason: Option<String>,
    /// What became of the work.
    pub outcome: Outcome,
    /// What to do about it; may be empty.
    pub hint: String,
    /// What the database said; its fields are empty where it said nothing.
    pub report: DatabaseReport,
    /// The fields of the request that are to blame.
    pub violations: Vec<FieldViolation>,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// Which statement of a batch failed, from 0.
    pub failed_statement: Option<u32>,
    /// With what the server can be asked later what became of the work; may be empty.
    pub transaction_token: String,
}

impl CallError {
    /// An error without details.
    #[must_use]
    pub fn new(code: &'static str, message: impl Into<String>, outcome: Outcome) -> Self {
        Self {
            code,
            message: message.into(),
            reason: None,
            outcome,
            hint: String::new(),
            report: DatabaseReport::default(),
            violations: Vec::new(),
            retry_after: None,
            failed_statement: None,
            transaction_token: String::new(),
        }
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// Reads Rowgate's details. A status without its ErrorInfo was made by something on the way, and
    /// says nothing about what the database did.
    pub(crate) fn from_status(status: &Status) -> Self {
        let mut message = status.message().to_owned();
        if let Some(cause) = root_cause(status).filter(|cause| !message.contains(cause)) {
            message = format!("{message}: {cause}");
        }
        let mut error = Self::new(code_name(status.code()), message, Outcome::Unknown);
        let details = pb::Status::decode(status.details()).unwrap_or_default().details;
        for detail in details {
            error.take_detail(&detail.type_url, &detail.value);
        }
        error
    }

    /// An undecodable or unknown detail adds nothing: the rest of the status is still worth showing.
    fn take_detail(&mut self, type_url: &str, value: &[u8]) {
        match type_url.rsplit('/').next().unwrap_or_default() {
            "google.rpc.ErrorInfo" => {
                let info = pb::ErrorInfo::decode(value).unwrap_or_default();
                if info.domain == "rowgate" {
                    self.outcome = match info.metadata.get("outcome").map(String::as_str) {
                        Some("NOT_APPLIED") => Outcome::NotApplied,
                        Some("APPLIED") => Outcome::Applied,
                        Some(_) | None => Outcome::Unknown,
                    };
                    self.reason = Some(info.reason);
                }
            }
            "google.rpc.BadRequest" => {
                let bad = pb::BadRequest::decode(value).unwrap_or_default();
                self.violations = bad
                    .field_violations
                    .into_iter()
                    .map(|violation| FieldViolation {
                        field: violation.field,
                        description: violation.description,
                    })
                    .collect();
            }
            "google.rpc.RetryInfo" => {
                let retry = pb::RetryInfo::decode(value).unwrap_or_default();
                self.retry_after = retry.retry_delay.and_then(|delay| delay.try_into().ok());
            }
            "rowgate.v1.DatabaseError" => {
                self.take_report(DatabaseError::decode(value).unwrap_or_default());
            }
            _ => {}
        }
    }

    fn take_report(&mut self, error: DatabaseError) {
        self.hint = error.hint;
        self.failed_statement = error.failed_statement;
        self.transaction_token = error.transaction_token;
        self.report = DatabaseReport {
            sqlstate: error.sqlstate,
            severity: error.severity,
            constraint: error.constraint,
            schema: error.schema,
            table: error.table,
            column: error.column,
            data_type: error.data_type,
            position: error.position,
            detail: error.detail,
        };
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CallError {}

/// What stands at the end of a chain of causes: the ones between say "transport error".
pub(crate) fn root_cause(error: &dyn std::error::Error) -> Option<String> {
    let mut cause = error.source()?;
    while let Some(next) = cause.source() {
        cause = next;
    }
    Some(cause.to_string())
}

/// The code's name in the gRPC specification, which is what other clients show.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
