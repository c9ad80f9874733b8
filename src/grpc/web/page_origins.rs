//! Requests of browsers: which pages may call, and what CORS tells browsers about it (the Fetch standard, HTTP extensions).
//!
//! A browser sends the header Origin with each POST, and asks first (a preflight) before a page sends what a form cannot send.
//! Pages of the allowed origins alone are answered; everybody else who has an origin is refused, this server's own origin
//! too: a page may have this server's address under a name of its own (DNS rebinding).

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN,
    VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use tonic::body::Body;

use super::plain_answer::{protect, sentence};
use crate::error::{Error, ErrorKind, Result};

/// The header with which browsers say where a request comes from, relative to where it goes.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

const METHODS: HeaderValue = HeaderValue::from_static("POST, GET");

/// The headers that a page may send: those that this server reads, and those that the clients of the protocols send.
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, connect-protocol-version, connect-timeout-ms, connect-accept-encoding, \
     connect-content-encoding, grpc-timeout, traceparent, tracestate, x-grpc-web, x-user-agent",
);

/// The headers that a page may read.
const ANSWER_HEADERS: HeaderValue = HeaderValue::from_static(
    "grpc-status, grpc-message, grpc-status-details-bin, grpc-retry-pushback-ms, \
     trailer-grpc-retry-pushback-ms",
);

/// The time in seconds for which a browser need not ask again.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// The origins that may call.
#[derive(Debug)]
pub(crate) struct Origins(Vec<String>);

impl Origins {
    pub(crate) fn new(allowed: &[String]) -> Self {
        Self(allowed.to_vec())
    }

    /// Returns the origin of a request that may go on; `None` if no browser has sent it.
    ///
    /// # Errors
    /// Its origin is not allowed.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<Option<HeaderValue>> {
        let mut origins = headers.get_all(ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) if !headers.contains_key(FETCH_SITE) => Ok(None),
            (Some(origin), None) if self.allows(origin) => Ok(Some(origin.clone())),
            _ => Err(refused()),
        }
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        self.0.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes())
    }

    /// The answer to a preflight; `None` if a request is none.
    pub(crate) fn preflight<B>(&self, request: &Request<B>) -> Option<Response<Body>> {
        let headers = request.headers();
        let is_preflight = request.method() == Method::OPTIONS
            && headers.contains_key(ORIGIN)
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if !is_preflight {
            return None;
        }
        let Ok(Some(origin)) = self.check(headers) else {
            let text = "Pages of this origin may not call: it is not in grpc.web.allowed_origins.";
            return Some(sentence(StatusCode::FORBIDDEN, text));
        };
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        protect(headers);
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        headers.insert(VARY, HeaderValue::from_static("origin"));
        Some(response)
    }
}

/// Lets the page that has sent a request read its answer.
pub(crate) fn expose(origin: &HeaderValue, headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, ANSWER_HEADERS);
    headers.append(VARY, HeaderValue::from_static("origin"));
}

fn refused() -> Error {
    let message = "pages of this origin may not call";
    let hint = "Add the origin to grpc.web.allowed_origins if its pages may call. A program that is no browser sends no \
        header Origin.";
    let error = Error::new(ErrorKind::PermissionDenied, message).with_hint(hint);
    error.with_condition("ORIGIN_NOT_ALLOWED")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: &str = "https://app.example.com";

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn origins() -> Origins {
        Origins::new(&[ALLOWED.to_owned(), "http://localhost:3000".to_owned()])
    }

    #[test]
    fn an_origin_is_allowed_as_it_is_written_and_no_other_is() {
        assert_eq!(origins().check(&HeaderMap::new()).expect("a program"), None);
        let page = headers(&[("origin", ALLOWED), ("sec-fetch-site", "cross-site")]);
        assert_eq!(origins().check(&page).expect("allowed").expect("a page"), ALLOWED);
        for refused in [
            &[("origin", "null")][..],
            &[("origin", "")],
            &[("origin", "https://app.example.com:8443")],
            &[("origin", "https://app.example.com.evil.example")],
            &[("origin", "http://app.example.com")],
            &[("origin", "https://evil.example")],
            &[("origin", "http://127.0.0.1:50051")],
            &[("origin", ALLOWED), ("origin", ALLOWED)],
            &[("sec-fetch-site", "same-origin")],
            &[("sec-fetch-site", "none")],
        ] {
            let error = origins().check(&headers(refused)).expect_err("it is refused");
            assert_eq!(error.reason(), "ORIGIN_NOT_ALLOWED", "{refused:?}");
        }
        let none = Origins::new(&[]);
        assert!(none.check(&page).is_err());
    }

    #[test]
    fn preflights_are_answered_for_allowed_origins_alone() {
        let preflight = |origin: &'static str, asked: &'static str| {
            let request = Request::options("/rowgate.v1.DatabaseService/Query");
            let request = request.header("origin", origin).header(asked, "POST");
            origins().preflight(&request.body(()).expect("it is well formed"))
        };
        let answer = preflight(ALLOWED, "access-control-request-method").expect("a preflight");
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        assert_eq!(answer.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], ALLOWED);
        assert!(!answer.headers().contains_key("access-control-allow-credentials"));
        for origin in ["null", "https://evil.example", "*"] {
            let answer = preflight(origin, "access-control-request-method").expect("a preflight");
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{origin}");
            assert!(!answer.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN), "{origin}");
        }
        assert!(preflight(ALLOWED, "x-other").is_none());
    }
}
