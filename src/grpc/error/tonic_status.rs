//! Statuses that tonic makes itself, before a call reaches us: made ours, since a status without our
//! ErrorInfo means to callers that the outcome is unknown.

use http::Response;
use tonic::body::Body;
use tonic::{Code, Status};

use super::respond::answer;
use crate::error::{Error, ErrorKind};
use crate::telemetry::RpcCall;

/// Replaces a status of tonic's own. Ours all have details, so one without is tonic's.
pub(crate) fn made_ours(
    call: &RpcCall,
    mut response: Response<Body>,
    max_request_size: usize,
) -> Response<Body> {
    let foreign = Status::from_header_map(response.headers());
    if let Some(foreign) = foreign.filter(|status| status.details().is_empty())
        && let Some(error) = error(&foreign, max_request_size)
    {
        // Its other headers stay: `grpc-accept-encoding`, say. Ours are ASCII, so they can be added.
        answer(call, &error).add_header(response.headers_mut()).unwrap_or_default();
    }
    response
}

/// What went wrong before a request was read: the code alone tells, as no service has run for it.
pub(crate) fn error(foreign: &Status, max_request_size: usize) -> Option<Error> {
    let message = foreign.message();
    let error = match foreign.code() {
        Code::OutOfRange => {
            let message = format!("the request is larger than {max_request_size} bytes");
            Error::new(ErrorKind::ResourceExhausted, message)
                .with_condition("REQUEST_TOO_LARGE")
                .with_hint("Send less at once, or raise grpc.max_request_size.")
        }
        Code::Internal => {
            let message = format!("the request cannot be read: {message}");
            Error::new(ErrorKind::InvalidParameter, message).with_condition("MALFORMED_REQUEST")
        }
        Code::Unimplemented if message.is_empty() => {
            Error::new(ErrorKind::Unsupported, "there is no such method")
        }
        Code::Unimplemented => Error::new(ErrorKind::Unsupported, message.to_owned()),
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => return None,
    };
    Some(error)
}
