//! Answers to requests that are no calls: a sentence for whoever reads it.

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use tonic::body::Body;

use super::web_format::accepted_types;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");

/// Makes an answer of one sentence.
pub(crate) fn sentence(status: StatusCode, sentence: impl Into<String>) -> Response<Body> {
    let mut sentence = sentence.into();
    sentence.push('\n');
    let mut response = Response::new(Body::new(sentence));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, TEXT);
    protect(response.headers_mut());
    response
}

/// Forbids caches to keep an answer, and browsers to guess its type.
pub(crate) fn protect(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, NO_STORE);
    headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
}

/// The methods of HTTP that a call may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallMethods {
    Post,
    /// GET would be served if `grpc.web.get` allowed it.
    PostUnlessGet,
    PostAndGet,
}

/// The answer to a method of HTTP that this call has not.
pub(crate) fn wrong_method(methods: CallMethods) -> Response<Body> {
    let (which, allowed) = match methods {
        CallMethods::Post => ("a POST", "POST"),
        CallMethods::PostUnlessGet => {
            ("a POST, unless grpc.web.get allows this method by GET", "POST")
        }
        CallMethods::PostAndGet => ("a POST or a GET", "GET, POST"),
    };
    let text = format!("A call is {which}; docs/HTTP.md shows how.");
    let mut response = sentence(StatusCode::METHOD_NOT_ALLOWED, text);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// The answer to a content type that is none of a method's.
pub(crate) fn wrong_type(method: &str, of_streams: bool) -> Response<Body> {
    let types = accepted_types(of_streams);
    let kind = if of_streams { "answers with a stream" } else { "has one answer" };
    let text = format!("{method} {kind}: the content type of a request is one of {types}.");
    let mut response = sentence(StatusCode::UNSUPPORTED_MEDIA_TYPE, text);
    if let Ok(types) = HeaderValue::try_from(types) {
        response.headers_mut().insert(ACCEPT_POST, types);
    }
    response
}
