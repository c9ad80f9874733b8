//! The check of a request's host. A page on another site can give its own name the address of this server, and would
//! then read what it serves in the name of whoever looks at the page (DNS rebinding): what it cannot change is that name.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::HOST;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// The name of this machine, for itself (RFC 6761, 6.3).
const LOCALHOST: &str = "localhost";

/// Passes on requests to an address, to `localhost`, or to an allowed name, and refuses all others.
pub(crate) async fn check_host(
    State(allowed): State<Arc<[String]>>,
    request: Request,
    next: Next,
) -> Response {
    if is_allowed(request.headers(), request.uri(), &allowed) {
        return next.run(request).await;
    }
    // As for an authority that is not served here (RFC 9110, 15.5.20).
    let text =
        "this host name is not allowed: use an address, or add the name to ops.allowed_hosts\n";
    (StatusCode::MISDIRECTED_REQUEST, text).into_response()
}

/// Checks the name in the header Host and the one in the URI, where HTTP/2 has it (RFC 9113, 8.3.1): each that is there, for
/// nobody knows which of two the client has meant.
fn is_allowed(headers: &HeaderMap, uri: &Uri, allowed: &[String]) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let named = match (hosts.next(), hosts.next()) {
        (first, None) => first.map(|host| host.to_str().unwrap_or_default()),
        (_, Some(_)) => return false,
    };
    let mut names = named.into_iter().chain(uri.host()).peekable();
    names.peek().is_some() && names.all(|name| is_name_allowed(name_of(name), allowed))
}

fn is_name_allowed(name: &str, allowed: &[String]) -> bool {
    name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case(LOCALHOST)
        || allowed.iter().any(|allowed| name.eq_ignore_ascii_case(allowed))
}

/// Returns the name or the address of a host, without its port and without the brackets of IPv6.
fn name_of(host: &str) -> &str {
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    match bracketed {
        Some((address, port)) if port.is_empty() || port.starts_with(':') => address,
        _ => host.split_once(':').map_or(host, |(name, _port)| name),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn is_allowed_by(hosts: &[&'static str]) -> bool {
        is_allowed_at("/status", hosts)
    }

    fn is_allowed_at(uri: &'static str, hosts: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, HeaderValue::from_static(host));
        }
        let allowed = ["rowgate".to_owned(), "ops.example".to_owned()];
        is_allowed(&headers, &Uri::from_static(uri), &allowed)
    }

    #[test]
    fn the_authority_of_http2_counts_as_the_host_does() {
        for uri in ["http://127.0.0.1:9464/", "http://[::1]:9464/", "http://rowgate:9464/status"] {
            assert!(is_allowed_at(uri, &[]), "{uri}");
            assert!(is_allowed_at(uri, &["localhost"]), "{uri}");
            assert!(!is_allowed_at(uri, &["evil.example"]), "{uri}");
        }
        for hosts in [&[][..], &["rowgate"]] {
            assert!(!is_allowed_at("http://evil.example/", hosts), "{hosts:?}");
        }
    }

    #[test]
    fn addresses_localhost_and_allowed_names_are_served() {
        for host in [
            "127.0.0.1:9464",
            "10.0.0.7",
            "[::1]:9464",
            "[fd00::1]",
            "localhost",
            "LocalHost:9464",
            "rowgate:9464",
            "OPS.example",
        ] {
            assert!(is_allowed_by(&[host]), "{host}");
        }
    }

    #[test]
    fn other_names_and_what_is_no_single_name_are_refused() {
        for hosts in [
            &["evil.example:9464"][..],
            &["rowgate.evil.example"],
            &["localhost.evil.example"],
            &["127.0.0.1.evil.example"],
            &["[::1].evil.example"],
            &["127.0.0.1", "evil.example"],
            &["evil.example", "127.0.0.1"],
            &[""],
            &["[::1"],
            &[],
        ] {
            assert!(!is_allowed_by(hosts), "{hosts:?}");
        }
    }
}
