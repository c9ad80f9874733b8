//! The message of a request: received whole, for it is the only one, and made the one message of gRPC's request.

use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut as _, Bytes, BytesMut};
use hyper::body::{Body as _, Incoming};
use prost::Message as _;

use super::json_reader::read_json;
use super::web_format::{WebCodec, WebFormat, WebProtocol};
use super::web_schema::WebMethod;
use crate::error::{Error, ErrorKind, Result};
use crate::grpc::respond::{malformed_request, request_too_large};
use crate::value::proto::{AccessMode, QueryRequest};

/// The bytes before a message in gRPC, in gRPC-Web and in an envelope of Connect: a flag, and the length.
pub(super) const PREFIX: usize = 5;
/// The flag of a compressed message.
const COMPRESSED: u8 = 1;

/// The form of a request's message.
#[derive(Debug)]
pub(super) struct MessageForm {
    pub(super) format: WebFormat,
    pub(super) method: Arc<WebMethod>,
    /// The largest message.
    pub(super) max_size: usize,
    /// True for a Query that came by GET.
    pub(super) is_read_only: bool,
}

/// The body of a request of another protocol.
pub(crate) struct WebRequestBody {
    incoming: Incoming,
    message: RequestMessage,
    state: BodyState,
}

/// The message of a request, as far as it was received.
#[derive(Debug)]
pub(super) struct RequestMessage {
    form: MessageForm,
    received: BytesMut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BodyState {
    Receiving,
    Received,
    Ended,
}

/// The reason why a request has no message.
#[derive(Debug)]
pub(crate) enum WebBodyError {
    /// The connection has ended, or the stream.
    Transport(hyper::Error),
    /// It can be answered with this error.
    Refused(Error),
}

impl From<Error> for WebBodyError {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl WebRequestBody {
    pub(super) fn new(incoming: Incoming, form: MessageForm) -> Self {
        Self { incoming, message: RequestMessage::new(form, &[]), state: BodyState::Receiving }
    }

    /// The body of a request whose message was in its URL.
    pub(super) fn of_query(incoming: Incoming, form: MessageForm, message: &[u8]) -> Self {
        let message = RequestMessage::new(form, message);
        Self { incoming, message, state: BodyState::Received }
    }

    pub(crate) fn into_incoming(self) -> Incoming {
        self.incoming
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.state == BodyState::Ended
    }

    /// Receives the message, with gRPC's prefix; then `None`.
    pub(crate) fn poll_message(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, WebBodyError>>> {
        while self.state == BodyState::Receiving {
            let Some(frame) = ready!(Pin::new(&mut self.incoming).poll_frame(cx)) else {
                self.state = BodyState::Received;
                break;
            };
            let received = frame.map_err(unreadable).and_then(|frame| {
                // Trailers of a request mean nothing to these protocols.
                Ok(self.message.receive(&frame.into_data().unwrap_or_default())?)
            });
            if let Err(error) = received {
                self.state = BodyState::Ended;
                return Poll::Ready(Some(Err(error)));
            }
        }
        if self.state == BodyState::Ended {
            return Poll::Ready(None);
        }
        self.state = BodyState::Ended;
        Poll::Ready(Some(self.message.finish().map_err(WebBodyError::Refused)))
    }
}

/// The reason why a body cannot be read on: HTTP/1.1 may frame it in a way that is none.
fn unreadable(error: hyper::Error) -> WebBodyError {
    let source = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    let is_malformed = |error: &&io::Error| {
        matches!(
            error.kind(),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
        )
    };
    match source.filter(is_malformed) {
        Some(why) => malformed_request(why)
            .with_hint(
                "The body has `Content-Length` bytes, or well-formed chunks (RFC 9112, 6 and 7).",
            )
            .into(),
        None => WebBodyError::Transport(error),
    }
}

impl RequestMessage {
    /// A message that begins like this.
    pub(super) fn new(form: MessageForm, received: &[u8]) -> Self {
        Self { form, received: BytesMut::from(received) }
    }

    /// Receives a part of it.
    ///
    /// # Errors
    /// It is too large, or not the only one.
    pub(super) fn receive(&mut self, data: &[u8]) -> Result<()> {
        self.received.extend_from_slice(data);
        self.check_size()
    }

    /// Makes the message of gRPC, with its prefix, once it is whole.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn finish(&mut self) -> Result<Bytes> {
        self.form.message(&std::mem::take(&mut self.received))
    }

    /// Refuses a message as soon as it is known to be too large.
    fn check_size(&self) -> Result<()> {
        let max_size = self.form.max_size;
        let size = match self.form.format.protocol {
            WebProtocol::ConnectUnary => self.received.len(),
            WebProtocol::ConnectStream | WebProtocol::GrpcWeb => {
                let Some(length) = announced(&self.received) else { return Ok(()) };
                if length <= max_size && self.received.len() - PREFIX > length {
                    return Err(miscounted("more than one message"));
                }
                length
            }
            WebProtocol::GrpcWebText => (self.received.len() / 4 * 3).saturating_sub(PREFIX + 2),
        };
        if size > max_size { Err(request_too_large(max_size)) } else { Ok(()) }
    }
}

/// The length that the first prefix announces.
fn announced(received: &[u8]) -> Option<usize> {
    let length = received.get(1..PREFIX)?.try_into().ok()?;
    Some(usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX))
}

impl MessageForm {
    /// Makes the message of gRPC, with its prefix, of a whole body.
    fn message(&self, body: &[u8]) -> Result<Bytes> {
        let decoded;
        let body = if self.format.protocol == WebProtocol::GrpcWebText {
            decoded = STANDARD.decode(body).map_err(|error| malformed_request(&error))?;
            &decoded[..]
        } else {
            body
        };
        let message = match self.format.protocol {
            WebProtocol::ConnectUnary => body,
            WebProtocol::ConnectStream | WebProtocol::GrpcWeb | WebProtocol::GrpcWebText => {
                only_message(body)?
            }
        };
        if message.len() > self.max_size {
            return Err(request_too_large(self.max_size));
        }
        let mut framed = BytesMut::with_capacity(PREFIX + message.len());
        framed.put_bytes(0, PREFIX);
        match self.format.codec {
            WebCodec::Protobuf if self.is_read_only => read_only(message)?.encode_raw(&mut framed),
            WebCodec::Protobuf => framed.put_slice(message),
            WebCodec::Json if self.is_read_only => {
                let mut encoded = Vec::new();
                read_json(&self.method.request, message, &mut encoded)?;
                read_only(&encoded)?.encode_raw(&mut framed);
            }
            WebCodec::Json => read_json(&self.method.request, message, &mut framed)?,
        }
        let length = u32::try_from(framed.len() - PREFIX).unwrap_or(u32::MAX);
        framed[1..PREFIX].copy_from_slice(&length.to_be_bytes());
        Ok(framed.freeze())
    }
}

/// Returns the message in the only frame of a body.
pub(super) fn only_message(body: &[u8]) -> Result<&[u8]> {
    if body.is_empty() {
        return Err(miscounted("no message"));
    }
    let cut = || malformed_request(&"it ends within its message");
    let length = announced(body).ok_or_else(cut)?;
    match body[0] {
        0 => {}
        COMPRESSED => {
            return Err(malformed_request(
                &"it has a compressed message, and names no compression",
            ));
        }
        flags => return Err(malformed_request(&format!("its message has unknown flags: {flags}"))),
    }
    let (message, rest) = body[PREFIX..].split_at_checked(length).ok_or_else(cut)?;
    if rest.is_empty() { Ok(message) } else { Err(miscounted("more than one message")) }
}

/// The error of a request without exactly one message, a cardinality violation in gRPC's list of status codes.
fn miscounted(count: &str) -> Error {
    let message = format!("the request has {count}: this method takes exactly one");
    Error::new(ErrorKind::Unsupported, message).with_condition("MALFORMED_REQUEST")
}

/// Makes a Query one that only reads.
fn read_only(message: &[u8]) -> Result<QueryRequest> {
    let mut query = QueryRequest::decode(message).map_err(|error| malformed_request(&error))?;
    let options = query.options.get_or_insert_default();
    if options.access_mode() == AccessMode::ReadWrite {
        let why = "a GET only reads; send a POST, or leave it out";
        return Err(Error::field(ErrorKind::InvalidOption, "options.access_mode", why));
    }
    options.set_access_mode(AccessMode::ReadOnly);
    Ok(query)
}

/// The error of a compressed request.
pub(super) fn compressed(by: &str) -> Error {
    let message =
        format!("the request is compressed by {by}, and this server reads no compression");
    let error = Error::new(ErrorKind::Unsupported, message);
    error.with_hint("Send it as it is: the only encoding is identity.")
}
