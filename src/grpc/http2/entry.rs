//! The first look at a request: gRPC goes to the dispatch as it is, everything else by the edge. Browsers are asked for their origin either way.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{Method, Request, Response, Version};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tonic::Status;
use tonic::body::Body;

use super::bodies::CallBody;
use super::dispatch::{Dispatch, ResponseBody, ResponseFuture};
use super::refusal::Refusal;
use crate::grpc::web::answer_body::{AnswerBody, AnswerContext};
use crate::grpc::web::web_answer::translate;
use crate::grpc::web::web_format::content_type;
use crate::grpc::web::web_request::{EdgeRequest, PlainRequest, WebCall, WebEdge};

/// The names of protocols in telemetry (semantic conventions for RPC, `rpc.system.name`).
const GRPC: &str = "grpc";
const CONNECT: &str = "connect_rpc";
/// The same of a request that is no call.
const HTTP: &str = "http";

/// The service of one connection.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) dispatch: Dispatch,
    pub(crate) edge: Arc<WebEdge>,
    /// Turns true with the first request of the connection.
    pub(crate) is_begun: Arc<AtomicBool>,
}

/// A request until its answer begins.
pub(crate) enum EntryFuture {
    Grpc(ResponseFuture),
    Web(BoxFuture<'static, Result<Response<EntryBody>, h2::Error>>),
}

/// The body of an answer.
pub(crate) enum EntryBody {
    Grpc(ResponseBody),
    Web(Box<AnswerBody<ResponseBody>>),
    /// The body of an answer to no call.
    Plain(Body),
}

impl hyper::service::Service<Request<Incoming>> for Entry {
    type Response = Response<EntryBody>;
    type Error = h2::Error;
    type Future = EntryFuture;

    fn call(&self, request: Request<Incoming>) -> EntryFuture {
        self.is_begun.store(true, Relaxed);
        if is_grpc(&request) {
            let refusal = self.edge.check_origin(request.headers()).err().map(Refusal::Error);
            let request = request.map(CallBody::Grpc);
            return EntryFuture::Grpc(self.dispatch.start(request, GRPC, refusal));
        }
        EntryFuture::Web(self.clone().serve(request).boxed())
    }
}

/// Returns true for a call of gRPC: its content is messages in Protocol Buffers, over HTTP/2.
fn is_grpc(request: &Request<Incoming>) -> bool {
    let is_named = content_type(request.headers()).is_some_and(|content| {
        content.eq_ignore_ascii_case(b"application/grpc")
            || content.eq_ignore_ascii_case(b"application/grpc+proto")
    });
    is_named && request.method() == Method::POST && request.version() == Version::HTTP_2
}

impl Entry {
    async fn serve(self, request: Request<Incoming>) -> Result<Response<EntryBody>, h2::Error> {
        let Self { dispatch, edge, .. } = self;
        let WebCall { request, refused, answer } = match edge.accept(request) {
            EdgeRequest::Preflight(answer) => return Ok(answer.map(EntryBody::Plain)),
            EdgeRequest::Plain(plain) => {
                let PlainRequest { request, answer } = *plain;
                let request = request.map(CallBody::Grpc);
                let refusal = Some(Refusal::Answer(answer));
                let answer = dispatch.start(request, HTTP, refusal).await?;
                return Ok(answer.map(EntryBody::Grpc));
            }
            EdgeRequest::Call(call) => *call,
        };
        let system = if answer.is_connect() { CONNECT } else { GRPC };
        let request = request.map(|body| CallBody::Web(Box::new(body)));
        let mut response = dispatch.start(request, system, refused.map(Refusal::Error)).await?;
        let context = AnswerContext {
            recorder: response.body_mut().take_recorder(),
            unread: Arc::clone(&dispatch.services.unread),
        };
        let translated = translate(answer, response, context).await;
        Ok(translated.map(|body| EntryBody::Web(Box::new(body))))
    }
}

impl Future for EntryFuture {
    type Output = Result<Response<EntryBody>, h2::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Grpc(call) => {
                let response = ready!(Pin::new(call).poll(cx));
                Poll::Ready(response.map(|response| response.map(EntryBody::Grpc)))
            }
            Self::Web(call) => call.as_mut().poll(cx),
        }
    }
}

impl HttpBody for EntryBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.get_mut() {
            Self::Grpc(body) => Pin::new(body).poll_frame(cx),
            Self::Web(body) => Pin::new(body.as_mut()).poll_frame(cx),
            Self::Plain(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Grpc(body) => body.is_end_stream(),
            Self::Web(body) => body.is_end_stream(),
            Self::Plain(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Grpc(body) => body.size_hint(),
            Self::Web(body) => body.size_hint(),
            Self::Plain(body) => body.size_hint(),
        }
    }
}
