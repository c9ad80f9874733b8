//! Requests by GET, whose message is in the URL (Connect, Unary-Get).
//!
//! A page can make a browser send any GET, without asking first. So each needs a header that no page can make a browser send
//! without a preflight, and a host that is no name of a stranger's.

use std::borrow::Cow;
use std::net::IpAddr;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, HeaderName, Uri};
use percent_encoding::percent_decode_str;

use super::web_body::compressed;
use super::web_format::{WebCodec, WebFormat, WebProtocol};
use crate::error::{Error, ErrorKind, Result};
use crate::grpc::respond::malformed_request;

/// Either padding is allowed (Connect, Unary-Get-Request).
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The headers that pages cannot make browsers send by themselves.
const PROOFS: [HeaderName; 2] = [
    HeaderName::from_static("connect-protocol-version"),
    HeaderName::from_static("connect-timeout-ms"),
];

/// The message of a request by GET.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct QueryMessage {
    pub(super) format: WebFormat,
    pub(super) message: Vec<u8>,
}

/// Checks that no page has sent a GET by itself. `has_origin` tells that its origin was allowed: its browser has asked then.
///
/// # Errors
/// One may have.
pub(super) fn check_sender(
    headers: &HeaderMap,
    uri: &Uri,
    has_origin: bool,
    allowed_hosts: &[String],
) -> Result<()> {
    let bearer = |value: &http::HeaderValue| {
        value.as_bytes().get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "))
    };
    let has_token = headers.get(AUTHORIZATION).is_some_and(bearer);
    if !has_token && !PROOFS.iter().any(|name| headers.contains_key(name)) {
        let why = "a GET needs a header that no page can make a browser send by itself";
        return Err(refused(
            why,
            "Send the header Connect-Protocol-Version: 1, or a bearer token.",
        ));
    }
    if !has_origin && !is_host_allowed(headers, uri, allowed_hosts) {
        let why = "this name of the server is not allowed for a GET";
        return Err(refused(why, "Use its address, or add the name to grpc.web.allowed_hosts."));
    }
    Ok(())
}

fn refused(why: &str, hint: &'static str) -> Error {
    let error = Error::new(ErrorKind::PermissionDenied, why.to_owned()).with_hint(hint);
    error.with_condition("GET_NOT_ALLOWED")
}

fn is_host_allowed(headers: &HeaderMap, uri: &Uri, allowed: &[String]) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let host = match (uri.host(), hosts.next(), hosts.next()) {
        // HTTP/2 has it in the URI. With two of them, nobody knows which the client has meant.
        (Some(host), None, None) => Some(host),
        (None, Some(host), None) => host.to_str().ok(),
        _ => None,
    };
    let Some(name) = host.map(without_port) else { return false };
    name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || allowed.iter().any(|allowed| name.eq_ignore_ascii_case(allowed))
}

/// Returns the name or the address of a host, without its port and without the brackets of IPv6.
fn without_port(host: &str) -> &str {
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    match bracketed {
        Some((address, port)) if port.is_empty() || port.starts_with(':') => address,
        _ => host.split_once(':').map_or(host, |(name, _port)| name),
    }
}

/// Reads the message in a URL.
///
/// # Errors
/// There is none, or it cannot be read.
pub(super) fn read(uri: &Uri) -> Result<QueryMessage> {
    let query = uri.query().unwrap_or_default();
    let parameter = |name: &str| only_value(query, name);
    let text = |name: &str| {
        let value = parameter(name)?.unwrap_or_default();
        String::from_utf8(value).map_err(|error| malformed_request(&error))
    };
    if text("connect")? != "v1" {
        return Err(malformed_request(&"its URL has no parameter connect=v1"));
    }
    let codec = match text("encoding")?.as_str() {
        "json" => WebCodec::Json,
        "proto" => WebCodec::Protobuf,
        other => {
            let why = format!("its URL has encoding={other}, which is neither json nor proto");
            return Err(malformed_request(&why));
        }
    };
    let compression = text("compression")?;
    if !["", "identity"].contains(&compression.as_str()) {
        return Err(compressed(&compression));
    }
    let message = parameter("message")?;
    let message = message.ok_or_else(|| malformed_request(&"its URL has no parameter message"))?;
    let message = match text("base64")?.as_str() {
        "1" => BASE64.decode(message).map_err(|error| malformed_request(&error))?,
        _ => message,
    };
    let format = WebFormat { protocol: WebProtocol::ConnectUnary, codec };
    Ok(QueryMessage { format, message })
}

/// The error of a GET with a body, which nobody would read.
pub(super) fn with_body() -> Error {
    let error = malformed_request(&"a GET has no body, and this one announces one");
    error.with_hint("Its message is the parameter message of its URL; or send a POST.")
}

/// Returns the value of a parameter; `None` without one.
///
/// # Errors
/// It is there more than once: which one counts is told otherwise by each reader of URLs.
fn only_value(query: &str, name: &str) -> Result<Option<Vec<u8>>> {
    let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let mut values = pairs.filter(|(key, _)| decoded(key) == name.as_bytes());
    let first = values.next().map(|(_, value)| decoded(value));
    if values.next().is_some() {
        let why = format!("its URL has the parameter {name} more than once");
        return Err(malformed_request(&why));
    }
    Ok(first)
}

/// Decodes a name or a value in a URL's query, where a plus sign stands for a space.
fn decoded(value: &str) -> Vec<u8> {
    let spaced = value.replace('+', " ");
    Cow::from(percent_decode_str(&spaced)).into_owned()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn message(query: &str) -> Result<QueryMessage> {
        read(&format!("/a.B/C?{query}").parse().expect("it is a URI"))
    }

    #[test]
    fn a_message_is_read_as_text_or_as_base64() {
        let json = br#"{"sql":"select 1 + 1"}"#;
        for query in [
            "connect=v1&encoding=json&message=%7B%22sql%22%3A%22select+1+%2B+1%22%7D",
            "message=%7B%22sql%22:%22select%201%20%2B%201%22%7D&encoding=json&base64=0&connect=v1",
            "connect=v1&encoding=json&base64=1&message=eyJzcWwiOiJzZWxlY3QgMSArIDEifQ",
            "connect=v1&encoding=json&base64=1&compression=identity&message=eyJzcWwiOiJzZWxlY3QgMSArIDEifQ==",
        ] {
            let read = message(query).expect("it can be read");
            assert_eq!(read.message, json, "{query}");
            assert_eq!(read.format.codec, WebCodec::Json);
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for query in [
            "",
            "encoding=json&message=%7B%7D",
            "connect=v2&encoding=json&message=%7B%7D",
            "connect=v1&message=%7B%7D",
            "connect=v1&encoding=xml&message=%7B%7D",
            "connect=v1&encoding=json",
            "connect=v1&encoding=json&base64=1&message=*",
            "connect=v1&encoding=json&compression=gzip&message=%7B%7D",
            "connect=v1&encoding=json&message=%7B%7D&message=%7B%7D",
            "connect=v1&encoding=json&message=%7B%7D&mess%61ge=x",
            "connect=v1&encoding=json&encoding=proto&message=%7B%7D",
            "connect=v1&connect=v2&encoding=json&message=%7B%7D",
            "connect=v1&encoding=json&base64=0&base64=1&message=%7B%7D",
            "connect=v1&encoding=json&compression=identity&compression&message=%7B%7D",
        ] {
            assert!(message(query).is_err(), "{query}");
        }
    }

    #[test]
    fn a_get_proves_that_no_page_has_sent_it() {
        let check = |pairs: &[(&'static str, &'static str)], has_origin| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(*name, HeaderValue::from_static(value));
            }
            let uri = Uri::from_static("/a.B/C");
            check_sender(&headers, &uri, has_origin, &["rowgate".to_owned()]).is_ok()
        };
        let version = ("connect-protocol-version", "1");
        for host in ["127.0.0.1:50051", "[::1]:50051", "localhost", "LOCALHOST:1", "rowgate:50051"]
        {
            assert!(check(&[("host", host), version], false), "{host}");
            assert!(check(&[("host", host), ("authorization", "Bearer x")], false), "{host}");
            assert!(!check(&[("host", host)], false), "{host}");
            assert!(!check(&[("host", host), ("authorization", "Basic x")], false), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", ""] {
            assert!(!check(&[("host", host), version], false), "{host}");
            assert!(check(&[("host", host), version], true), "{host}");
        }
        assert!(!check(&[version], false));
        assert!(!check(&[("host", "localhost"), ("host", "evil.example"), version], false));
    }
}
