//! The context of a request: its call, its caller, and the caller's deadline.

use std::sync::Arc;
use std::time::Duration;

use tonic::Request;

use super::timeout_header::{self, parse_timeout};
use crate::engine::Caller;
use crate::telemetry::RpcCall;

/// Returns the call that a request belongs to.
pub(crate) fn rpc_call<T>(request: &Request<T>) -> Arc<RpcCall> {
    request.extensions().get::<Arc<RpcCall>>().cloned().unwrap_or_default()
}

/// Returns the rest of the caller's timeout. It started with the call's headers, and the request's message
/// may have come later.
pub(crate) fn time_left<T>(request: &Request<T>) -> Option<Duration> {
    let timeout = request.metadata().get(timeout_header::NAME)?.as_encoded_bytes();
    let began = rpc_call(request).began();
    let elapsed = began.map_or(Duration::ZERO, |began| began.elapsed());
    Some(parse_timeout(timeout)?.saturating_sub(elapsed))
}

/// Returns the caller: the peer, by its address. Many services behind one proxy count as one.
pub(crate) fn caller<T>(request: &Request<T>) -> Caller {
    let name = request.remote_addr().map(|peer| peer.ip().to_canonical().to_string());
    Caller {
        name: name.unwrap_or_default(),
        call: rpc_call(request),
        time_left: time_left(request),
    }
}
