//! The head of a request: what it is, and its headers as gRPC has them.

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use hyper::body::{Body as _, Incoming};
use tonic::body::Body;
use tonic::metadata::GRPC_CONTENT_TYPE;

use super::answer_form::AnswerForm;
use super::get_query;
use super::page_origins::Origins;
use super::plain_answer::{CallMethods, sentence, wrong_method, wrong_type};
use super::web_body::{MessageForm, WebRequestBody, compressed};
use super::web_format::{WebCodec, WebFormat, WebProtocol};
use super::web_schema::{WebMethod, WebSchema};
use crate::config::GrpcWeb;
use crate::error::{Error, ErrorKind, Result};

const TIMEOUT_MS: HeaderName = HeaderName::from_static("connect-timeout-ms");
const VERSION: HeaderName = HeaderName::from_static("connect-protocol-version");
const STREAM_ENCODING: HeaderName = HeaderName::from_static("connect-content-encoding");
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The only method that is served by GET though it has effects: in a READ_ONLY transaction it has none.
const QUERY: &str = "/rowgate.v1.DatabaseService/Query";

/// The edge: requests that are none of gRPC's.
#[derive(Debug)]
pub(crate) struct WebEdge {
    pub(crate) schema: WebSchema,
    origins: Origins,
    settings: GrpcWeb,
    max_request_size: usize,
    /// The address of the operators' port.
    operators: SocketAddr,
}

/// A request at the edge.
pub(crate) enum EdgeRequest {
    /// A browser's question before a request, with its answer.
    Preflight(Response<Body>),
    /// No call.
    Plain(Box<PlainRequest>),
    /// A call, which is refused with an error if there is one.
    Call(Box<WebCall>),
}

/// A request that is no call, with its answer.
pub(crate) struct PlainRequest {
    pub(crate) request: Request<Incoming>,
    pub(crate) answer: Response<Body>,
}

/// A call of another protocol, as one of gRPC.
pub(crate) struct WebCall {
    pub(crate) request: Request<WebRequestBody>,
    pub(crate) refused: Option<Error>,
    pub(crate) answer: AnswerForm,
}

impl WebEdge {
    /// # Errors
    /// Descriptors that are inconsistent: a defect of the build.
    pub(crate) fn new(
        settings: &GrpcWeb,
        max_request_size: usize,
        operators: SocketAddr,
    ) -> Result<Self> {
        Ok(Self {
            schema: WebSchema::new()?,
            origins: Origins::new(&settings.allowed_origins),
            settings: settings.clone(),
            max_request_size,
            operators,
        })
    }

    /// Tells what a request is.
    pub(crate) fn accept(&self, request: Request<Incoming>) -> EdgeRequest {
        if !self.settings.enabled {
            return plain(request, self.not_found());
        }
        if let Some(answer) = self.origins.preflight(&request) {
            return EdgeRequest::Preflight(answer);
        }
        let format = WebFormat::of(request.headers()).filter(|_| request.method() == Method::POST);
        match (self.schema.method(request.uri().path()).cloned(), format) {
            (None, None) => plain(request, self.not_found()),
            (None, Some(format)) => self.unknown_method(request, format),
            (Some(method), Some(format)) => self.post(request, method, format),
            (Some(method), None) if request.method() == Method::GET => self.get(request, method),
            (Some(method), None) if request.method() != Method::POST => {
                let methods = self.methods(&method, request.uri().path());
                plain(request, wrong_method(methods))
            }
            (Some(method), None) => {
                plain(request, wrong_type(&method.name, method.has_answer_stream))
            }
        }
    }

    /// Checks the origin of a request of gRPC, which no other rule of the edge is for.
    ///
    /// # Errors
    /// A browser has sent it for a page that may not call.
    pub(crate) fn check_origin(&self, headers: &HeaderMap) -> Result<()> {
        self.origins.check(headers).map(|_origin| ())
    }

    /// The answer to a request of nothing that is here.
    pub(crate) fn not_found(&self) -> Response<Body> {
        let protocols = if self.settings.enabled { "gRPC, Connect and gRPC-Web" } else { "gRPC" };
        let text = format!(
            "This is Rowgate's port for services, which speaks {protocols}, and there is nothing at this path. The operators' \
             page is at http://{}/.",
            self.operators
        );
        sentence(StatusCode::NOT_FOUND, text)
    }

    fn unknown_method(&self, request: Request<Incoming>, format: WebFormat) -> EdgeRequest {
        let message = format!("there is no method {}", request.uri().path());
        let error = Error::new(ErrorKind::Unsupported, message);
        let error = error.with_hint("The methods are in proto/rowgate/v1.");
        // None of its fields is read.
        let Some(method) = self.schema.method(QUERY).cloned() else {
            return plain(request, self.not_found());
        };
        let mut answer = self.answer(&method, format);
        answer.status = Some(StatusCode::NOT_FOUND);
        let call = self.call(request, Refusable { method, format, answer, refused: Ok(()) });
        // Whatever else is wrong with it: where nothing is, nothing else matters.
        EdgeRequest::Call(Box::new(WebCall { refused: Some(error), ..call }))
    }

    fn post(
        &self,
        request: Request<Incoming>,
        method: Arc<WebMethod>,
        format: WebFormat,
    ) -> EdgeRequest {
        let is_unary = format.protocol == WebProtocol::ConnectUnary;
        let is_enveloped = format.protocol == WebProtocol::ConnectStream;
        let is_wrong = if method.has_answer_stream { is_unary } else { is_enveloped };
        if is_wrong && !method.has_request_stream {
            return plain(request, wrong_type(&method.name, method.has_answer_stream));
        }
        let answer = self.answer(&method, format);
        let refused = if method.has_request_stream { Err(streams(&method)) } else { Ok(()) };
        let call = self.call(request, Refusable { method, format, answer, refused });
        EdgeRequest::Call(Box::new(call))
    }

    /// The methods of HTTP by which a method is served.
    fn methods(&self, method: &WebMethod, path: &str) -> CallMethods {
        let may_get = (method.is_read || path == QUERY) && !method.has_answer_stream;
        match (may_get, self.settings.get) {
            (false, _) => CallMethods::Post,
            (true, false) => CallMethods::PostUnlessGet,
            (true, true) => CallMethods::PostAndGet,
        }
    }

    fn get(&self, request: Request<Incoming>, method: Arc<WebMethod>) -> EdgeRequest {
        let is_query = request.uri().path() == QUERY;
        let methods = self.methods(&method, request.uri().path());
        if methods != CallMethods::PostAndGet {
            return plain(request, wrong_method(methods));
        }
        let unread = WebFormat { protocol: WebProtocol::ConnectUnary, codec: WebCodec::Json };
        let read = get_query::read(request.uri());
        let format = read.as_ref().map_or(unread, |read| read.format);
        let mut answer = self.answer(&method, format);
        let checked = self.origins.check(request.headers()).and_then(|origin| {
            let allowed = &self.settings.allowed_hosts;
            let has_origin = origin.is_some();
            answer.origin = origin;
            get_query::check_sender(request.headers(), request.uri(), has_origin, allowed)
        });
        let (mut parts, incoming) = request.into_parts();
        let bodiless = if incoming.is_end_stream() { Ok(()) } else { Err(get_query::with_body()) };
        let translated = checked.and(bodiless).and(read).and_then(|read| {
            translate_head(&mut parts.headers, format)?;
            Ok(read.message)
        });
        parts.method = Method::POST;
        parts.uri = Uri::try_from(parts.uri.path()).unwrap_or_default();
        let form =
            MessageForm { format, method, max_size: self.max_request_size, is_read_only: is_query };
        let (message, refused) = match translated {
            Ok(message) => (message, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let body = WebRequestBody::of_query(incoming, form, &message);
        let request = Request::from_parts(parts, body);
        EdgeRequest::Call(Box::new(WebCall { request, refused, answer }))
    }

    fn call(&self, request: Request<Incoming>, call: Refusable) -> WebCall {
        let Refusable { method, format, mut answer, refused } = call;
        let (mut parts, incoming) = request.into_parts();
        let checked = self.origins.check(&parts.headers).map(|origin| answer.origin = origin);
        let refused = checked.and(refused).and(translate_head(&mut parts.headers, format)).err();
        let max_size = self.max_request_size;
        let form = MessageForm { format, method, max_size, is_read_only: false };
        let request = Request::from_parts(parts, WebRequestBody::new(incoming, form));
        WebCall { request, refused, answer }
    }

    fn answer(&self, method: &WebMethod, format: WebFormat) -> AnswerForm {
        let shapes = Arc::clone(&self.schema.shapes);
        AnswerForm { format, shapes, message: method.answer, origin: None, status: None }
    }
}

fn plain(request: Request<Incoming>, answer: Response<Body>) -> EdgeRequest {
    EdgeRequest::Plain(Box::new(PlainRequest { request, answer }))
}

/// A call, and why it is refused.
struct Refusable {
    method: Arc<WebMethod>,
    format: WebFormat,
    answer: AnswerForm,
    refused: Result<()>,
}

/// The error of a method that takes a stream of requests.
fn streams(method: &WebMethod) -> Error {
    let name = &method.name;
    let message = format!("{name} takes a stream of requests, which is served over gRPC alone");
    let hint = match name.as_str() {
        "Transact" => {
            "Call it by gRPC over HTTP/2; or send the statements of the transaction as one ExecuteBatch."
        }
        "CopyIn" => {
            "Call it by gRPC over HTTP/2, as `rowgate copy` does; or send the rows as an ExecuteBatch of inserts."
        }
        _ => "Call it by gRPC over HTTP/2; `rowgate descriptor` prints the descriptors.",
    };
    Error::new(ErrorKind::Unsupported, message).with_hint(hint)
}

/// Makes the headers those of gRPC.
fn translate_head(headers: &mut HeaderMap, format: WebFormat) -> Result<()> {
    let of_messages = match format.protocol {
        WebProtocol::ConnectUnary => None,
        WebProtocol::ConnectStream => Some(STREAM_ENCODING),
        WebProtocol::GrpcWeb | WebProtocol::GrpcWebText => Some(GRPC_ENCODING),
    };
    for name in [of_messages, Some(CONTENT_ENCODING)].into_iter().flatten() {
        if let Some(encoding) = other_than(headers, &name, "identity") {
            return Err(compressed(&String::from_utf8_lossy(encoding.as_bytes())));
        }
        headers.remove(name);
    }
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_TYPE, GRPC_CONTENT_TYPE);
    if !format.is_connect() {
        return Ok(());
    }
    headers.remove(GRPC_ENCODING);
    headers.remove(GRPC_TIMEOUT);
    if other_than(headers, &VERSION, "1").is_some() {
        let message =
            "the header connect-protocol-version is not 1, the only version that there is";
        return Err(Error::new(ErrorKind::InvalidOption, message));
    }
    headers.remove(VERSION);
    if headers.contains_key(TIMEOUT_MS) {
        let timeout = grpc_timeout(headers)?;
        headers.remove(TIMEOUT_MS);
        headers.insert(GRPC_TIMEOUT, timeout);
    }
    Ok(())
}

/// Returns a value of a header that is not the only one it may have, however often it is there.
fn other_than<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    allowed: &str,
) -> Option<&'a HeaderValue> {
    headers.get_all(name).iter().find(|value| *value != allowed)
}

/// Makes gRPC's timeout, of at most eight digits, of Connect's, which has up to ten and is in milliseconds.
fn grpc_timeout(headers: &HeaderMap) -> Result<HeaderValue> {
    let mut values = headers.get_all(TIMEOUT_MS).iter();
    let text = values.next().and_then(|value| value.to_str().ok());
    let is_plain = |text: &&str| {
        (1..=10).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let milliseconds = text.filter(is_plain).and_then(|text| text.parse::<u64>().ok());
    let timeout = milliseconds.filter(|_| values.next().is_none()).and_then(|milliseconds| {
        let timeout = if milliseconds < 100_000_000 {
            format!("{milliseconds}m")
        } else {
            format!("{}S", milliseconds / 1000)
        };
        HeaderValue::try_from(timeout).ok()
    });
    timeout.ok_or_else(|| {
        let message = "the header connect-timeout-ms is malformed: it is not 1 to 10 digits, once";
        Error::new(ErrorKind::InvalidOption, message).with_hint("`1500` is 1.5 s.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(pairs: &[(&'static str, &'static str)]) -> Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let format = WebFormat { protocol: WebProtocol::ConnectStream, codec: WebCodec::Json };
        translate_head(&mut headers, format).map(|()| headers)
    }

    #[test]
    fn a_timeout_keeps_its_length() {
        for (given, expected) in [
            ("0", "0m"),
            ("1500", "1500m"),
            ("99999999", "99999999m"),
            ("100000000", "100000S"),
            ("9999999999", "9999999S"),
        ] {
            let headers = translated(&[("connect-timeout-ms", given), ("grpc-timeout", "1H")]);
            assert_eq!(headers.expect("it is one")["grpc-timeout"], expected);
        }
        for wrong in ["", "-1", "1.5", "10000000000", "1s", "+1"] {
            let error = translated(&[("connect-timeout-ms", wrong)]).expect_err("it is none");
            assert_eq!(error.reason(), "INVALID_OPTION", "{wrong}");
        }
        assert!(translated(&[("connect-timeout-ms", "1"), ("connect-timeout-ms", "2")]).is_err());
        let own = translated(&[("grpc-timeout", "1H")]).expect("it is ignored");
        assert!(!own.contains_key("grpc-timeout"), "it is not of this protocol");
    }

    #[test]
    fn other_versions_and_compressions_are_refused() {
        assert!(translated(&[("connect-protocol-version", "1")]).is_ok());
        assert!(translated(&[("connect-content-encoding", "identity")]).is_ok());
        assert!(translated(&[("connect-protocol-version", "2")]).is_err());
        for name in ["connect-content-encoding", "content-encoding"] {
            let error = translated(&[(name, "gzip")]).expect_err("it is compressed");
            assert_eq!(error.reason(), "FEATURE_NOT_SUPPORTED", "{name}");
        }
    }

    #[test]
    fn a_header_that_is_repeated_with_another_value_is_refused() {
        for (name, allowed, other) in [
            ("connect-content-encoding", "identity", "gzip"),
            ("content-encoding", "identity", "gzip"),
            ("connect-protocol-version", "1", "2"),
        ] {
            for pairs in [[(name, allowed), (name, other)], [(name, other), (name, allowed)]] {
                assert!(translated(&pairs).is_err(), "{pairs:?}");
            }
            let same = translated(&[(name, allowed), (name, allowed)]).expect("they agree");
            assert!(!same.contains_key(name), "{name}");
        }
    }
}
