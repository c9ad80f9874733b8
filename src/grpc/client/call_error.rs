//! The error of a call, for the command line.

use std::fmt;
use std::time::Duration;

use prost::Message as _;
use prost_types::Any;
use tonic::{Code, ConnectError, Status};
use tonic_types::pb;

use crate::error::{DatabaseReport, FieldViolation, Outcome};
use crate::grpc::method_names::code_name;

pub(crate) type CallResult<T> = Result<T, CallError>;

/// The error of a call, in plain fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CallError {
    /// The gRPC code: `INVALID_ARGUMENT`.
    pub(crate) code: &'static str,
    pub(crate) message: String,
    /// Rowgate's reason; `None` when something else made the status.
    pub(crate) reason: Option<String>,
    pub(crate) outcome: Outcome,
    /// The database's report, and the server's hint; fields are empty where nothing was reported.
    pub(crate) report: DatabaseReport,
    pub(crate) violations: Vec<FieldViolation>,
    pub(crate) retry_after: Option<Duration>,
}

impl CallError {
    /// An error without details.
    pub(crate) fn new(code: &'static str, message: impl Into<String>, outcome: Outcome) -> Self {
        Self { code, message: message.into(), outcome, ..Self::default() }
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.report.hint = hint.into();
        self
    }

    /// Returns true for a call that was not sent, as no connection could be made for it.
    pub(crate) fn is_of_connecting(&self) -> bool {
        self.reason.is_none() && self.code == "UNAVAILABLE" && self.outcome == Outcome::NotApplied
    }

    /// Returns true if the transport may have made the error.
    pub(crate) fn may_be_of_transport(&self) -> bool {
        self.reason.is_none()
            && matches!(self.code, "UNKNOWN" | "UNAVAILABLE" | "INTERNAL" | "CANCELLED")
    }

    /// Reads Rowgate's details. A status without its ErrorInfo was made by a proxy or the transport, and tells
    /// nothing about the outcome.
    pub(crate) fn from_status(status: &Status) -> Self {
        if let Some(cause) = connecting_failed(status) {
            return Self::new("UNAVAILABLE", cause, Outcome::NotApplied);
        }
        let mut message = status.message().to_owned();
        if let Some(cause) = root_cause(status).filter(|cause| !message.contains(cause)) {
            message = format!("{message}: {cause}");
        }
        let details = pb::Status::decode(status.details()).unwrap_or_default().details;
        Self::with_details(status.code(), message, &details)
    }

    /// Reads the error of a command in a transaction.
    pub(crate) fn from_reply(status: &pb::Status) -> Self {
        Self::with_details(Code::from(status.code), status.message.clone(), &status.details)
    }

    fn with_details(code: Code, message: String, details: &[Any]) -> Self {
        let mut error = Self::new(code_name(code), message, Outcome::Unknown);
        for detail in details {
            error.take_detail(&detail.type_url, &detail.value);
        }
        error
    }

    /// Reads one detail. An undecodable or unknown one is skipped: the rest of the status is still shown.
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
                let violation = |pb::bad_request::FieldViolation { field, description, .. }| {
                    FieldViolation { field, description }
                };
                self.violations = bad.field_violations.into_iter().map(violation).collect();
            }
            "google.rpc.RetryInfo" => {
                let retry = pb::RetryInfo::decode(value).unwrap_or_default();
                self.retry_after = retry.retry_delay.and_then(|delay| delay.try_into().ok());
            }
            "rowgate.v1.DatabaseError" => {
                self.report = DatabaseReport::decode(value).unwrap_or_default();
            }
            _ => {}
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CallError {}

/// The cause for which no connection was made; `None` for a call that may have been sent.
fn connecting_failed(status: &Status) -> Option<String> {
    let first = std::error::Error::source(status);
    let mut causes = std::iter::successors(first, |cause| cause.source());
    let connecting = causes.find(|cause| cause.is::<ConnectError>())?;
    Some(root_cause(connecting).unwrap_or_else(|| connecting.to_string()))
}

/// Returns the last cause of an error: the causes between are only "transport error".
pub(crate) fn root_cause(error: &dyn std::error::Error) -> Option<String> {
    std::iter::successors(error.source(), |cause| cause.source()).last().map(ToString::to_string)
}
