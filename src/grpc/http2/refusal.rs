//! Requests that are answered before anybody asks who has sent them.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, Version};
use tonic::body::Body;

use super::bodies::{CallBody, RequestBody};
use crate::error::{Error, Result};
use crate::grpc::respond::answer;
use crate::telemetry::RpcCall;

/// A request that is answered before anybody asks who has sent it.
pub(crate) enum Refusal {
    Error(Error),
    /// It is no call.
    Answer(Response<Body>),
}

/// Reads on the body of a refused request, unless that is over HTTP/2: it costs the connection otherwise, and with it may cost
/// the answer.
pub(super) fn read_on(request: Request<CallBody>, call: &Arc<RpcCall>) {
    if request.version() != Version::HTTP_2 {
        drop(request.map(|body| RequestBody::new(Arc::clone(call), body, None)));
    }
}

/// The answer to a request that nobody is asked about.
pub(super) fn refused(
    call: &RpcCall,
    refusal: Option<Refusal>,
    timeout: &Result<Option<Duration>>,
) -> Option<Response<Body>> {
    match refusal {
        Some(Refusal::Answer(response)) => Some(response),
        Some(Refusal::Error(error)) => Some(answer(call, &error).into_http()),
        None => timeout.as_ref().err().map(|error| answer(call, error).into_http()),
    }
}
