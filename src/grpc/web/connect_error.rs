//! Errors as Connect has them: a status of HTTP, and a body of JSON.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use http::StatusCode;
use prost::Message as _;
use serde::Serialize;
use serde_json::value::RawValue;
use tonic::{Code, Status};
use tonic_types::pb;

use super::json_shapes::JsonShapes;
use super::json_writer::write_json;

/// The status of HTTP for a code (Connect, Error codes).
pub(super) fn http_status(code: Code) -> StatusCode {
    let status = match code {
        Code::Ok => 200,
        Code::Cancelled => 499,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => 400,
        Code::Unauthenticated => 401,
        Code::PermissionDenied => 403,
        Code::NotFound => 404,
        Code::AlreadyExists | Code::Aborted => 409,
        Code::ResourceExhausted => 429,
        Code::Unknown | Code::Internal | Code::DataLoss => 500,
        Code::Unimplemented => 501,
        Code::Unavailable => 503,
        Code::DeadlineExceeded => 504,
    };
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The name of a code (Connect, Error codes).
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "ok",
        Code::Cancelled => "canceled",
        Code::Unknown => "unknown",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::PermissionDenied => "permission_denied",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out_of_range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        Code::Unauthenticated => "unauthenticated",
    }
}

/// An error (Connect, Error end stream).
#[derive(Serialize)]
pub(super) struct ConnectError {
    code: &'static str,
    message: String,
    details: Vec<ConnectDetail>,
}

/// A detail of an error: encoded, and readable.
#[derive(Serialize)]
struct ConnectDetail {
    #[serde(rename = "type")]
    name: String,
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    debug: Option<Box<RawValue>>,
}

/// The end of a stream (Connect, EndStreamResponse).
#[derive(Serialize)]
pub(super) struct EndOfStream {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<ConnectError>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) metadata: BTreeMap<String, Vec<String>>,
}

impl ConnectError {
    pub(super) fn new(status: &Status, shapes: &JsonShapes) -> Self {
        let details = pb::Status::decode(status.details()).unwrap_or_default().details;
        let details = details.into_iter().map(|detail| {
            let name = detail.type_url.rsplit('/').next().unwrap_or_default().to_owned();
            let mut debug = Vec::new();
            let place = shapes.find(&name);
            let written = place.map(|place| write_json(shapes, place, &detail.value, &mut debug));
            let debug = match written {
                Some(Ok(())) => String::from_utf8(debug).ok(),
                Some(Err(_)) | None => None,
            };
            let debug = debug.and_then(|debug| RawValue::from_string(debug).ok());
            ConnectDetail { name, value: STANDARD_NO_PAD.encode(&detail.value), debug }
        });
        Self {
            code: code_name(status.code()),
            message: status.message().to_owned(),
            details: details.collect(),
        }
    }
}

/// Writes JSON of texts alone, which cannot fail.
pub(super) fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}
