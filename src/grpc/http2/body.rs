//! Bodies with an end that is not their sender's: a request that must come in time, a response that
//! goes on for as long as the server does.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::Sleep;
use tonic::Status;

use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind};
use crate::grpc::error::respond::answer;
use crate::telemetry::RpcCall;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// When a caller whom this server has sent away may try again: at once, elsewhere.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// The body of a request; it fails when it has not come whole in time.
pub(crate) struct Arriving {
    call: Arc<RpcCall>,
    body: Incoming,
    until: Option<Deadline>,
    /// Made when the body must be waited for: nearly none must.
    timer: Option<Pin<Box<Sleep>>>,
    has_waited: bool,
}

impl Arriving {
    pub(crate) fn new(call: Arc<RpcCall>, body: Incoming, until: Option<Deadline>) -> Self {
        Self { call, body, until, timer: None, has_waited: false }
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if std::mem::take(&mut this.has_waited) {
            // What has come may have been given up in the same breath: as in `RpcCall::poll`, hyper is
            // asked first.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let Some(until) = this.until else { return Poll::Pending };
        this.has_waited = true;
        let sleep = || Box::pin(tokio::time::sleep_until(until.instant().into()));
        ready!(this.timer.get_or_insert_with(sleep).as_mut().poll(cx));
        let message = "the deadline passed before the whole request had come";
        let late = Error::new(ErrorKind::DeadlineExceeded, message);
        Poll::Ready(Some(Err(answer(&this.call, &late).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of a response that never ends by itself; it ends when the server drains, after what it
/// still had to say.
pub(crate) struct Watched {
    call: Arc<RpcCall>,
    body: tonic::body::Body,
    drained: BoxFuture<'static, ()>,
    over: bool,
}

impl Watched {
    pub(crate) fn new(
        call: Arc<RpcCall>,
        body: tonic::body::Body,
        drained: BoxFuture<'static, ()>,
    ) -> Self {
        Self { call, body, drained, over: false }
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if this.over {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        ready!(this.drained.as_mut().poll(cx));
        this.over = true;
        let error = Error::new(ErrorKind::ShuttingDown, "the server is shutting down");
        let status = answer(&this.call, &error.with_retry_after(RETRY_AFTER));
        let mut trailers = HeaderMap::new();
        let added = status.add_header(&mut trailers);
        Poll::Ready(Some(added.map(|()| Frame::trailers(trailers))))
    }
}
