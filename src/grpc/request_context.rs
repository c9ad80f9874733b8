//! The context of a request: its call, its caller, and the caller's deadline.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName};
use tonic::Request;

use crate::access::Identity;
use crate::engine::Caller;
use crate::error::{Error, ErrorKind, Result};
use crate::telemetry::RpcCall;

/// The header of a call's timeout (gRPC over HTTP/2, Requests).
const TIMEOUT_HEADER: HeaderName = HeaderName::from_static("grpc-timeout");

/// Returns the timeout among a call's headers. A malformed one is an error: without it, the call would run for the
/// default time, which its caller did not ask for.
pub(crate) fn timeout(headers: &HeaderMap) -> Result<Option<Duration>> {
    let mut values = headers.get_all(TIMEOUT_HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let timeout = parse_timeout(value.as_bytes()).filter(|_| values.next().is_none());
    let malformed = || {
        let message = "the header grpc-timeout is malformed: it is not 1 to 8 digits and a unit";
        let hint = "The units are H, M, S, m, u and n; `1500m` is 1.5 s.";
        Error::new(ErrorKind::InvalidOption, message).with_hint(hint)
    };
    timeout.map(Some).ok_or_else(malformed)
}

/// Parses a timeout; `None` when it is malformed.
fn parse_timeout(text: &[u8]) -> Option<Duration> {
    let (unit, digits) = text.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(amount * 3600),
        b'M' => Duration::from_secs(amount * 60),
        b'S' => Duration::from_secs(amount),
        b'm' => Duration::from_millis(amount),
        b'u' => Duration::from_micros(amount),
        b'n' => Duration::from_nanos(amount),
        _ => return None,
    })
}

pub(crate) fn rpc_call<T>(request: &Request<T>) -> Arc<RpcCall> {
    request.extensions().get::<Arc<RpcCall>>().cloned().unwrap_or_default()
}

/// Returns the rest of the caller's timeout. It started with the call's headers, and the request's message
/// may have come later.
pub(crate) fn time_left<T>(request: &Request<T>) -> Option<Duration> {
    let timeout = request.metadata().as_ref().get(TIMEOUT_HEADER)?.as_bytes();
    let began = rpc_call(request).began();
    let elapsed = began.map_or(Duration::ZERO, |began| began.elapsed());
    Some(parse_timeout(timeout)?.saturating_sub(elapsed))
}

/// The client of a connection, for each call on it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Peer {
    pub(crate) address: Option<IpAddr>,
    /// The address or the user as text. Many services behind one proxy count as one.
    pub(crate) name: Arc<str>,
    /// The names in the certificate that it has presented, which was verified.
    pub(crate) certificate_names: Arc<[String]>,
    /// The user at the other end of a Unix socket.
    pub(crate) uid: Option<u32>,
}

impl Peer {
    pub(crate) fn new(address: Option<SocketAddr>) -> Self {
        let address = address.map(|address| address.ip().to_canonical());
        let name = address.map(|address| address.to_string().into()).unwrap_or_default();
        Self { address, name, ..Self::default() }
    }

    /// The client of a Unix socket.
    pub(crate) fn on_socket(uid: Option<u32>) -> Self {
        let name = uid.map(|uid| format!("uid:{uid}").into()).unwrap_or_default();
        Self { name, uid, ..Self::default() }
    }
}

/// Returns the name of the peer. Empty if it is not known.
pub(crate) fn peer_name<T>(request: &Request<T>) -> Arc<str> {
    request.extensions().get::<Peer>().map(|peer| Arc::clone(&peer.name)).unwrap_or_default()
}

/// Returns the caller: its identity, or the peer where callers are not authenticated.
pub(crate) fn caller<T>(request: &Request<T>) -> Caller {
    let extensions = request.extensions();
    let identity = extensions.get::<Arc<Identity>>().cloned();
    // The gate gives every call one.
    let identity = identity.unwrap_or_else(|| Arc::new(Identity::nobody()));
    let name =
        if identity.name.is_empty() { peer_name(request) } else { Arc::clone(&identity.name) };
    Caller { name, call: rpc_call(request), time_left: time_left(request), identity }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<Duration> {
        parse_timeout(text.as_bytes())
    }

    #[test]
    fn a_timeout_is_up_to_eight_digits_and_a_unit() {
        assert_eq!(parse("100m"), Some(Duration::from_millis(100)));
        assert_eq!(parse("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for wrong in ["", "m", "1", "123456789m", "-1S", "1.5S", "1x", "1é"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
