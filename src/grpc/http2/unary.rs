//! Unary calls without the layers for streams: one message in, one message out (gRPC over HTTP/2).

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, request};
use hyper::body::{Body as HttpBody, Frame};
use prost::Message;
use tonic::body::Body;
use tonic::metadata::{GRPC_CONTENT_TYPE, MetadataMap};
use tonic::{Request, Status};

use super::bodies::RequestBody;
use crate::grpc::method_names::STATUS;
use crate::grpc::respond::Answer;

/// The header of a compression, of which this server knows none.
const ENCODING_HEADER: HeaderName = HeaderName::from_static("grpc-encoding");
/// The bytes before a message: a flag, and the length.
const PREFIX: usize = 5;
/// The flag of a message that is not compressed.
const PLAIN: u8 = 0;
const OK: HeaderValue = HeaderValue::from_static("0");

/// The largest messages, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UnaryLimits {
    pub(crate) request: usize,
    pub(crate) response: usize,
}

/// Returns true if the message of a call may be compressed: tonic refuses it.
pub(crate) fn may_be_compressed(headers: &HeaderMap) -> bool {
    headers.contains_key(ENCODING_HEADER)
}

/// Serves one call.
pub(crate) async fn serve<Q, A, F>(
    request: http::Request<RequestBody>,
    limits: UnaryLimits,
    handle: impl FnOnce(Request<Q>) -> F,
) -> http::Response<Body>
where
    Q: Message + Default,
    A: Message,
    F: Future<Output = Answer<A>>,
{
    let (request::Parts { headers, extensions, .. }, body) = request.into_parts();
    let message = match receive(body, limits.request).await {
        Ok(message) => message,
        Err(status) => return status.into_http(),
    };
    let metadata = MetadataMap::from_headers(headers);
    let answer = handle(Request::from_parts(metadata, extensions, message)).await;
    match answer.and_then(|answer| encode(answer.get_ref(), limits.response)) {
        Ok(message) => {
            let body = MessageBody { message: Some(message), has_ended: false };
            let mut response = http::Response::new(Body::new(body));
            response.headers_mut().insert(CONTENT_TYPE, GRPC_CONTENT_TYPE);
            response
        }
        Err(status) => status.into_http(),
    }
}

/// Receives the message of a request, to the end of the request.
async fn receive<Q: Message + Default>(
    mut body: RequestBody,
    max_size: usize,
) -> Result<Q, Status> {
    let mut received = Bytes::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(Status::from_error)?;
        let Ok(data) = frame.into_data() else { break };
        received = if received.is_empty() { data } else { joined(received, &data) };
        if length(&received, max_size)?.is_some_and(|length| received.len() - PREFIX > length) {
            return Err(Status::internal("there is more than one message"));
        }
    }
    match length(&received, max_size)? {
        Some(length) if received.len() - PREFIX == length => {
            received.advance(PREFIX);
            Q::decode(received).map_err(|error| Status::internal(error.to_string()))
        }
        Some(_) => Err(Status::internal("it ends within its message")),
        None => Err(Status::internal("its message is missing")),
    }
}

/// Joins what was received so far to the next frame.
fn joined(received: Bytes, data: &[u8]) -> Bytes {
    // Not shared with anybody, so it grows in place.
    let mut received = received.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&*shared));
    received.extend_from_slice(data);
    received.freeze()
}

/// Returns the length of the message that begins here; `None` until its prefix is here.
fn length(mut received: &[u8], max_size: usize) -> Result<Option<usize>, Status> {
    if received.len() < PREFIX {
        return Ok(None);
    }
    let flag = received.get_u8();
    let length = received.get_u32();
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if flag != PLAIN {
        return Err(Status::internal("it has a compressed message, and names no compression"));
    }
    if length > max_size {
        let text = format!("the message has {length} bytes, and {max_size} are allowed");
        return Err(Status::out_of_range(text));
    }
    Ok(Some(length))
}

/// Encodes the message of a response, with its prefix.
fn encode(message: &impl Message, max_size: usize) -> Result<Bytes, Status> {
    let length = message.encoded_len();
    if length > max_size {
        let text = format!("the response has {length} bytes, and {max_size} are allowed");
        return Err(Status::resource_exhausted(text));
    }
    let mut encoded = BytesMut::with_capacity(PREFIX + length);
    encoded.put_u8(PLAIN);
    encoded.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    message.encode_raw(&mut encoded);
    Ok(encoded.freeze())
}

/// The body of a response that succeeded.
struct MessageBody {
    message: Option<Bytes>,
    has_ended: bool,
}

impl HttpBody for MessageBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if let Some(message) = this.message.take() {
            return Poll::Ready(Some(Ok(Frame::data(message))));
        }
        if std::mem::replace(&mut this.has_ended, true) {
            return Poll::Ready(None);
        }
        let mut trailers = HeaderMap::with_capacity(1);
        trailers.insert(STATUS, OK);
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended
    }
}
