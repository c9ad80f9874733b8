//! The caller's deadline, from the `grpc-timeout` header (gRPC over HTTP/2, Requests).

use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use tonic::Request;

use super::call_of;

const HEADER: &str = "grpc-timeout";

/// The time that the caller gives, as sent; `None` when it sends none, or none that can be read.
pub(crate) fn timeout_in(headers: &HeaderMap) -> Option<Duration> {
    headers.get(HEADER).map(HeaderValue::as_bytes).and_then(parse_bytes)
}

/// What is left of the time that the caller gives: it began when the call's headers came, and the
/// request's message may have taken a while after them.
pub(crate) fn time_left<T>(request: &Request<T>) -> Option<Duration> {
    let given = parse_bytes(request.metadata().get(HEADER)?.as_encoded_bytes())?;
    let began = call_of(request).began();
    Some(given.saturating_sub(began.map_or(Duration::ZERO, |began| began.elapsed())))
}

fn parse_bytes(text: &[u8]) -> Option<Duration> {
    parse(std::str::from_utf8(text).ok()?)
}

fn parse(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let digits = text.strip_suffix(unit)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        'H' => Duration::from_secs(amount * 3600),
        'M' => Duration::from_secs(amount * 60),
        'S' => Duration::from_secs(amount),
        'm' => Duration::from_millis(amount),
        'u' => Duration::from_micros(amount),
        'n' => Duration::from_nanos(amount),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_up_to_eight_digits_and_a_unit() {
        assert_eq!(parse("100m"), Some(Duration::from_millis(100)));
        assert_eq!(parse("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for wrong in ["", "m", "1", "123456789m", "-1S", "1.5S", "1x", "1é"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
