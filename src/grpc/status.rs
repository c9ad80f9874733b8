//! The only place that makes a status.
//!
//! Trailers that are too long get lost on the way, so texts are cut: the message to 1 KiB, the
//! details to 4 KiB, `DatabaseError` first and `ErrorInfo` never.

use std::collections::HashMap;

use prost::Message;
use prost_types::Any;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};
use tonic_types::pb;

use crate::error::{Error, ErrorKind};
use crate::value::proto::DatabaseError;

const DOMAIN: &str = "rowgate";
const MAX_MESSAGE: usize = 1 << 10;
const MAX_TEXT: usize = 512;

pub(super) fn status(error: &Error) -> Status {
    let code = code(error.kind());
    let message = cut(error.message(), MAX_MESSAGE);
    let details =
        pb::Status { code: code.into(), message: message.to_owned(), details: details(error) };
    let pushback = match error.retry_after() {
        Some(delay) => delay.as_millis().to_string(),
        None => "-1".to_owned(),
    };
    let mut metadata = MetadataMap::new();
    if let Ok(value) = MetadataValue::try_from(pushback) {
        metadata.insert("grpc-retry-pushback-ms", value);
    }
    let details = details.encode_to_vec().into();
    Status::with_details_and_metadata(code, message, details, metadata)
}

fn details(error: &Error) -> Vec<Any> {
    let outcome = ("outcome".to_owned(), error.outcome().as_str().to_owned());
    let info = pb::ErrorInfo {
        reason: error.reason().to_owned(),
        domain: DOMAIN.to_owned(),
        metadata: HashMap::from([outcome]),
    };
    let mut details = vec![any("google.rpc.ErrorInfo", &info)];
    details.push(any("rowgate.v1.DatabaseError", &database_error(error)));
    if let Some(delay) = error.retry_after() {
        let retry_delay = prost_types::Duration::try_from(delay).ok();
        details.push(any("google.rpc.RetryInfo", &pb::RetryInfo { retry_delay }));
    }
    if let Some(violation) = error.violation() {
        let violation = pb::bad_request::FieldViolation {
            field: cut(&violation.field, MAX_TEXT).to_owned(),
            description: cut(&violation.description, MAX_TEXT).to_owned(),
            ..Default::default()
        };
        let request = pb::BadRequest { field_violations: vec![violation] };
        details.push(any("google.rpc.BadRequest", &request));
    }
    details
}

fn database_error(error: &Error) -> DatabaseError {
    let report = error.report().cloned().unwrap_or_default();
    let short = |text: &str| cut(text, MAX_TEXT / 2).to_owned();
    DatabaseError {
        sqlstate: report.sqlstate,
        severity: report.severity,
        constraint: short(&report.constraint),
        schema: short(&report.schema),
        table: short(&report.table),
        column: short(&report.column),
        data_type: short(&report.data_type),
        position: report.position,
        hint: cut(error.hint().unwrap_or_default(), MAX_TEXT).to_owned(),
        detail: cut(&report.detail, MAX_TEXT).to_owned(),
        failed_statement: error.failed_statement(),
        transaction_token: error.transaction_token().unwrap_or_default().to_owned(),
    }
}

fn any(name: &str, message: &impl Message) -> Any {
    Any { type_url: format!("type.googleapis.com/{name}"), value: message.encode_to_vec() }
}

/// At most `limit` bytes of a text, on a character's boundary.
fn cut(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

fn code(kind: ErrorKind) -> Code {
    use ErrorKind as K;
    match kind {
        K::PoolExhausted | K::ResultTooLarge | K::RowTooLarge | K::ResourceExhausted => {
            Code::ResourceExhausted
        }
        K::DatabaseUnavailable | K::ConnectionLost | K::ShuttingDown | K::NotPrimary => {
            Code::Unavailable
        }
        K::OutcomeUnknown => Code::Unknown,
        K::DeadlineExceeded => Code::DeadlineExceeded,
        K::Cancelled => Code::Cancelled,
        K::StreamStalled
        | K::SerializationFailure
        | K::DeadlockDetected
        | K::LockNotAvailable
        | K::IdleInTransactionTimeout
        | K::TransactionTimeout
        | K::KeyInProgress
        | K::PlanChanged => Code::Aborted,
        K::BackendMisconfigured
        | K::TransactionAborted
        | K::NotCommitted
        | K::ExpectationFailed
        | K::KeyReused
        | K::ReadOnly
        | K::FailedPrecondition => Code::FailedPrecondition,
        K::InvalidParameter
        | K::InvalidOption
        | K::InvalidSql
        | K::InvalidCommand
        | K::TransactionControl
        | K::InvalidStatement => Code::InvalidArgument,
        K::ParameterOutOfRange | K::OutOfRange => Code::OutOfRange,
        K::DatabaseNotFound | K::PoolNotFound => Code::NotFound,
        K::AlreadyExists | K::KeyApplied => Code::AlreadyExists,
        K::PermissionDenied => Code::PermissionDenied,
        K::Unsupported => Code::Unimplemented,
        K::DataLoss => Code::DataLoss,
        K::DatabaseInternal | K::Internal => Code::Internal,
    }
}
