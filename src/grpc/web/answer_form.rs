//! The form of an answer: its messages, and its end.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut as _, Bytes};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};
use tonic::{Code, Status};

use super::connect_error::{ConnectError, EndOfStream, json};
use super::json_shapes::JsonShapes;
use super::json_writer::{Malformed, write_json};
use super::web_body::PREFIX;
use super::web_format::{WebCodec, WebFormat, WebProtocol};

/// The flag of a message that is not compressed.
const PLAIN: u8 = 0;
/// The flag of the end of a stream, in Connect.
const END_STREAM: u8 = 2;
/// The flag of trailers, in gRPC-Web.
const TRAILERS: u8 = 0x80;

/// The headers of gRPC's own, which other protocols say otherwise.
const GRPC_HEADERS: [HeaderName; 7] = [
    CONTENT_TYPE,
    CONTENT_LENGTH,
    HeaderName::from_static("grpc-status"),
    HeaderName::from_static("grpc-message"),
    HeaderName::from_static("grpc-status-details-bin"),
    HeaderName::from_static("grpc-encoding"),
    HeaderName::from_static("grpc-accept-encoding"),
];

/// The form of an answer.
#[derive(Debug)]
pub(crate) struct AnswerForm {
    pub(super) format: WebFormat,
    pub(super) shapes: Arc<JsonShapes>,
    /// The place of its message among the shapes.
    pub(super) message: usize,
    /// The origin of the page that may read it.
    pub(super) origin: Option<HeaderValue>,
    /// The status of HTTP in the place of that of its code.
    pub(super) status: Option<StatusCode>,
}

impl AnswerForm {
    pub(crate) fn is_connect(&self) -> bool {
        self.format.is_connect()
    }

    /// Makes the content of a message.
    ///
    /// # Errors
    /// It is none of this server's: a defect.
    pub(super) fn content(&self, message: &[u8]) -> Result<Bytes, Malformed> {
        if self.format.codec == WebCodec::Protobuf {
            return Ok(Bytes::copy_from_slice(message));
        }
        let mut json = Vec::with_capacity(message.len() * 2);
        write_json(&self.shapes, self.message, message, &mut json)?;
        Ok(json.into())
    }

    /// Makes a message of a stream.
    ///
    /// # Errors
    /// As of [`Self::content`].
    pub(super) fn frame(&self, message: &[u8]) -> Result<Bytes, Malformed> {
        Ok(self.framed(PLAIN, &self.content(message)?))
    }

    /// Makes the end of a stream, of gRPC's trailers and the status in them.
    pub(super) fn end(&self, status: &Status, trailers: &HeaderMap) -> Bytes {
        if !self.is_connect() {
            let mut text = Vec::new();
            for (name, value) in trailers.iter().filter(|(name, _)| *name != CONTENT_TYPE) {
                text.put_slice(name.as_str().as_bytes());
                text.put_slice(b": ");
                text.put_slice(value.as_bytes());
                text.put_slice(b"\r\n");
            }
            return self.framed(TRAILERS, &text);
        }
        let is_error = status.code() != Code::Ok;
        let error = is_error.then(|| ConnectError::new(status, &self.shapes));
        self.framed(END_STREAM, &json(&EndOfStream { error, metadata: metadata(trailers) }))
    }

    /// Makes the end of a stream that ends with a status of its own.
    pub(super) fn end_with(&self, status: &Status) -> Bytes {
        let mut trailers = HeaderMap::new();
        // Our messages are ASCII, or encoded.
        status.add_header(&mut trailers).unwrap_or_default();
        self.end(status, &trailers)
    }

    fn framed(&self, flags: u8, content: &[u8]) -> Bytes {
        let mut framed = Vec::with_capacity(PREFIX + content.len());
        framed.put_u8(flags);
        framed.put_u32(u32::try_from(content.len()).unwrap_or(u32::MAX));
        framed.put_slice(content);
        match self.format.protocol {
            // Each frame with its own padding, so that a reader need not wait for the next one.
            WebProtocol::GrpcWebText => STANDARD.encode(framed).into(),
            WebProtocol::ConnectUnary | WebProtocol::ConnectStream | WebProtocol::GrpcWeb => {
                framed.into()
            }
        }
    }
}

/// The headers of an answer that are no part of gRPC, with a prefix to their names.
pub(super) fn own_headers(headers: &HeaderMap, prefix: &str) -> HeaderMap {
    let own = headers.iter().filter(|(name, _)| !GRPC_HEADERS.contains(name));
    let mut prefixed = HeaderMap::new();
    for (name, value) in own {
        if let Ok(name) = HeaderName::try_from(format!("{prefix}{name}")) {
            prefixed.append(name, value.clone());
        }
    }
    prefixed
}

/// The trailers of a stream as Connect has them: each name with its values.
fn metadata(trailers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let own = own_headers(trailers, "");
    let values = |name: &HeaderName| {
        let values = own.get_all(name).iter();
        values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
    };
    own.keys().map(|name| (name.to_string(), values(name))).collect()
}
