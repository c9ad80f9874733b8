//! Statuses that tonic makes before a call reaches a service. They are replaced by ours: a status without our
//! ErrorInfo means to callers that the outcome is unknown.

use http::Response;
use tonic::body::Body;
use tonic::{Code, Status};

use super::respond::answer;
use crate::error::{Error, ErrorKind};
use crate::telemetry::RpcCall;

/// Replaces a status of tonic's own. Ours all have details, so one without is tonic's.
pub(crate) fn replace_status(
    call: &RpcCall,
    mut response: Response<Body>,
    max_request_size: usize,
) -> Response<Body> {
    let status = Status::from_header_map(response.headers());
    if let Some(status) = status.filter(|status| status.details().is_empty())
        && let Some(error) = request_error(&status, max_request_size)
    {
        // The other headers stay, as `grpc-accept-encoding`. Ours are ASCII, so they can be added.
        answer(call, &error).add_header(response.headers_mut()).unwrap_or_default();
    }
    response
}

/// Returns the error of a request that no service has read: its code alone tells the cause.
pub(crate) fn request_error(status: &Status, max_request_size: usize) -> Option<Error> {
    let message = status.message();
    let code = status.code();
    if code == Code::OutOfRange {
        let message = format!("the request is larger than {max_request_size} bytes");
        let error = Error::new(ErrorKind::ResourceExhausted, message);
        let hint = "Send less at once, or raise grpc.max_request_size.";
        Some(error.with_condition("REQUEST_TOO_LARGE").with_hint(hint))
    } else if code == Code::Internal {
        let message = format!("the request cannot be read: {message}");
        let error = Error::new(ErrorKind::InvalidParameter, message);
        Some(error.with_condition("MALFORMED_REQUEST"))
    } else if code == Code::Unimplemented {
        let message = if message.is_empty() { "there is no such method" } else { message };
        Some(Error::new(ErrorKind::Unsupported, message.to_owned()))
    } else {
        None
    }
}
