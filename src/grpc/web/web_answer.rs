//! Answers of gRPC, translated back.

use std::future::poll_fn;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response, StatusCode, response};
use hyper::body::{Body, Frame};
use tonic::{Code, Status};

use super::answer_body::{AnswerBody, AnswerContext};
use super::answer_error::{unwritable, without_message, without_status};
use super::answer_form::{AnswerForm, own_headers};
use super::connect_error::{ConnectError, http_status, json};
use super::page_origins::expose;
use super::plain_answer::protect;
use super::web_body::only_message;
use super::web_format::WebProtocol;
use crate::telemetry::RpcCall;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Translates an answer of gRPC. Its own body lasts as long as the new one: with it ends the call.
pub(crate) async fn translate<B>(
    form: AnswerForm,
    answer: Response<B>,
    context: AnswerContext,
) -> Response<AnswerBody<B>>
where
    B: Body<Data = Bytes, Error = Status> + Unpin,
{
    let origin = form.origin.clone();
    let mut answer = if form.format.protocol == WebProtocol::ConnectUnary {
        unary(form, answer, context).await
    } else {
        stream(form, answer, context)
    };
    protect(answer.headers_mut());
    if let Some(origin) = origin {
        expose(&origin, answer.headers_mut());
    }
    answer
}

/// Translates an answer of one message, whose end decides about its head.
async fn unary<B>(
    form: AnswerForm,
    answer: Response<B>,
    context: AnswerContext,
) -> Response<AnswerBody<B>>
where
    B: Body<Data = Bytes, Error = Status> + Unpin,
{
    let (response::Parts { mut headers, .. }, mut body) = answer.into_parts();
    let mut received = BytesMut::new();
    // The answer of an error alone has its trailers among the headers.
    let ended = Status::from_header_map(&headers).map(|_status| std::mem::take(&mut headers));
    let mut trailers = match ended {
        Some(trailers) => trailers,
        None => receive(&mut body, &mut received).await,
    };
    let read = read_answer(&form, &received, &trailers, context.recorder.call());
    let mut own = own_headers(&headers, "");
    let mut http = StatusCode::OK;
    let mut code = Code::Ok;
    let content = match read {
        Ok(content) => {
            own.insert(CONTENT_TYPE, form.format.content_type());
            content
        }
        Err(error) => {
            http = form.status.unwrap_or_else(|| http_status(error.code()));
            code = error.code();
            trailers = trailers_of(&error);
            own.insert(CONTENT_TYPE, JSON);
            json(&ConnectError::new(&error, &form.shapes))
        }
    };
    own.extend(own_headers(&trailers, "trailer-"));
    let mut response = Response::new(AnswerBody::whole(body, context, content, code));
    *response.status_mut() = http;
    *response.headers_mut() = own;
    response
}

/// Makes the content of a whole answer. A success without a message is none.
fn read_answer(
    form: &AnswerForm,
    received: &[u8],
    trailers: &HeaderMap,
    call: &RpcCall,
) -> Result<Bytes, Status> {
    let status = Status::from_header_map(trailers).unwrap_or_else(|| without_status(call));
    if status.code() != Code::Ok {
        return Err(status);
    }
    let message = only_message(received).map_err(|_error| without_message(call))?;
    form.content(message).map_err(|_malformed| unwritable(call))
}

/// Receives a body to its end, and returns the trailers; none where it broke off.
async fn receive<B>(body: &mut B, received: &mut BytesMut) -> HeaderMap
where
    B: Body<Data = Bytes, Error = Status> + Unpin,
{
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => received.extend_from_slice(&data),
            Ok(Err(frame)) => return frame.into_trailers().unwrap_or_default(),
            Err(status) if status.code() == Code::Ok => break,
            Err(status) => return trailers_of(&status),
        }
    }
    HeaderMap::new()
}

fn trailers_of(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    // Our messages are ASCII, or encoded.
    status.add_header(&mut trailers).unwrap_or_default();
    trailers
}

/// Translates an answer of any number of messages, which are sent as they come.
fn stream<B>(
    form: AnswerForm,
    answer: Response<B>,
    context: AnswerContext,
) -> Response<AnswerBody<B>>
where
    B: Body<Data = Bytes, Error = Status> + Unpin,
{
    let (response::Parts { headers, .. }, body) = answer.into_parts();
    let content_type = form.format.content_type();
    let is_ended = Status::from_header_map(&headers).is_some();
    let mut own = if is_ended { HeaderMap::new() } else { own_headers(&headers, "") };
    own.insert(CONTENT_TYPE, content_type);
    let ended = is_ended.then_some(headers);
    let mut response = Response::new(AnswerBody::streamed(body, context, form, ended));
    *response.headers_mut() = own;
    response
}
