//! Bodies that this server ends: a request that is late, a response that nobody takes or that would last as long
//! as the server.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::runtime::Handle;
use tokio::time::{Sleep, sleep, timeout};
use tonic::{Code, Status};

use super::unread::{PIECE, Piece, UnreadAnswers, UnreadFrame};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Outcome};
use crate::grpc::method_names::STATUS;
use crate::grpc::respond::answer;
use crate::grpc::web::web_body::{WebBodyError, WebRequestBody};
use crate::telemetry::RpcCall;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The time for a call to end with an error of its own after a part of its answer was given up: what it has done
/// says more than that the answer is lost.
const LOST_TIMEOUT: Duration = Duration::from_secs(1);

/// The time for a caller to close its side after its answer: long enough for a network's round trip.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The bytes of a request.
pub(crate) enum CallBody {
    Grpc(Incoming),
    /// Those of another protocol, as gRPC has them.
    Web(Box<WebRequestBody>),
}

impl CallBody {
    fn poll_frame(
        &mut self,
        call: &RpcCall,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let body = match self {
            Self::Grpc(body) => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
            }
            Self::Web(body) => body,
        };
        let message = ready!(body.poll_message(cx));
        Poll::Ready(message.map(|message| match message {
            Ok(message) => Ok(Frame::data(message)),
            Err(WebBodyError::Transport(error)) => Err(error.into()),
            Err(WebBodyError::Refused(error)) => Err(answer(call, &error).into()),
        }))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Grpc(body) => body.is_end_stream(),
            Self::Web(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Grpc(body) => body.size_hint(),
            Self::Web(_) => SizeHint::default(),
        }
    }

    fn into_incoming(self) -> Incoming {
        match self {
            Self::Grpc(body) => body,
            Self::Web(body) => body.into_incoming(),
        }
    }
}

/// The body of a request; it fails unless it is received before a deadline.
///
/// Dropped before its end, it is read on for [`CLOSE_TIMEOUT`] and thrown away. HTTP/2 (RFC 9113, 8.1) would let the
/// server reset the stream instead, with NO_ERROR, once its answer is complete; but haproxy makes that a reset
/// with CANCEL, which takes the place of the status.
pub(crate) struct RequestBody {
    call: Arc<RpcCall>,
    /// The body; `None` only in `drop`.
    body: Option<CallBody>,
    deadline: Option<Deadline>,
    /// Made when the body must be waited for, which is rare.
    timer: Option<Pin<Box<Sleep>>>,
    has_waited: bool,
}

impl RequestBody {
    pub(super) fn new(call: Arc<RpcCall>, body: CallBody, deadline: Option<Deadline>) -> Self {
        let body = Some(body);
        Self { call, body, deadline, timer: None, has_waited: false }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if std::mem::take(&mut this.has_waited) {
            // The stream may have been reset together with its last frame: as in `ResponseFuture::poll`,
            // hyper must see that first.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(body) = &mut this.body
            && let Poll::Ready(frame) = body.poll_frame(&this.call, cx)
        {
            return Poll::Ready(frame);
        }
        let Some(deadline) = this.deadline else { return Poll::Pending };
        this.has_waited = true;
        let timer = || Box::pin(tokio::time::sleep_until(deadline.instant().into()));
        ready!(this.timer.get_or_insert_with(timer).as_mut().poll(cx));
        let message = "the deadline passed before the whole request was received";
        let late = Error::new(ErrorKind::DeadlineExceeded, message);
        Poll::Ready(Some(Err(answer(&this.call, &late).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(CallBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(CallBody::size_hint).unwrap_or_default()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let Some(body) = self.body.take() else { return };
        let mut body = body.into_incoming();
        if body.is_end_stream() {
            return;
        }
        let closed = async move {
            while let Some(Ok(_)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {}
        };
        // Without a runtime the process is ending.
        if let Ok(runtime) = Handle::try_current() {
            drop(runtime.spawn(timeout(CLOSE_TIMEOUT, closed)));
        }
    }
}

/// The body of a response that never ends by itself. It ends with an error, after its frames that are ready.
pub(crate) struct WatchBody {
    pub(super) call: Arc<RpcCall>,
    pub(super) body: tonic::body::Body,
    pub(super) end: BoxFuture<'static, Error>,
    pub(super) has_ended: bool,
}

impl Body for WatchBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if this.has_ended {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        let error = ready!(this.end.as_mut().poll(cx));
        this.has_ended = true;
        let status = answer(&this.call, &error);
        let mut trailers = HeaderMap::new();
        let added = status.add_header(&mut trailers);
        Poll::Ready(Some(added.map(|()| Frame::trailers(trailers))))
    }

    // An error before the first message has no body: its headers end the stream.
    fn is_end_stream(&self) -> bool {
        self.has_ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of a response whose large frames are handed over in pieces, so that they can be given up.
pub(crate) struct PiecewiseBody {
    body: tonic::body::Body,
    call: Arc<RpcCall>,
    outcome: Outcome,
    answers: Arc<UnreadAnswers>,
    /// The frame that was made ahead of its time.
    made: Option<Frame<Bytes>>,
    unread: Option<UnreadFrame>,
    lost: Option<Box<LostAnswer>>,
}

/// The end of a body whose frame was given up: its other frames are no use to anybody.
struct LostAnswer {
    status: Status,
    /// The end of [`LOST_TIMEOUT`]; then the call is dropped, so that its statement does not run on for nobody.
    end: Pin<Box<Sleep>>,
}

impl LostAnswer {
    fn new(status: Status) -> Box<Self> {
        Box::new(Self { status, end: Box::pin(sleep(LOST_TIMEOUT)) })
    }

    fn trailers(&self) -> Result<Frame<Bytes>, Status> {
        let mut trailers = HeaderMap::new();
        self.status.add_header(&mut trailers).map(|()| Frame::trailers(trailers))
    }
}

impl PiecewiseBody {
    /// The body of a call with this outcome.
    pub(super) fn new(
        body: tonic::body::Body,
        call: &Arc<RpcCall>,
        outcome: Outcome,
        answers: &Arc<UnreadAnswers>,
    ) -> Self {
        let call = Arc::clone(call);
        let answers = Arc::clone(answers);
        Self { body, call, outcome, answers, made: None, unread: None, lost: None }
    }

    /// Encodes the only message now: a reader that takes nothing never asks for it, and the message takes more
    /// memory than its encoding.
    pub(super) fn encode(&mut self, cx: &mut Context<'_>) {
        if !self.body.is_end_stream()
            && let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut self.body).poll_frame(cx)
        {
            self.made = self.kept(frame);
        }
        // Its encoder keeps the memory of what it has encoded, so it must not stay.
        if self.unread.is_some()
            && let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut self.body).poll_frame(cx)
        {
            if frame.is_trailers() {
                self.body = tonic::body::Body::empty();
            }
            self.made = Some(frame);
        }
    }

    /// Keeps a large frame, and returns any other.
    fn kept(&mut self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        match frame.into_data() {
            Ok(bytes) if bytes.len() > PIECE => {
                self.unread = Some(self.answers.keep(&self.call, self.outcome, bytes));
                None
            }
            Ok(bytes) => Some(Frame::data(bytes)),
            Err(trailers) => Some(trailers),
        }
    }

    /// Ends a body that was given up and that does not end by itself.
    fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(lost) = &mut self.lost else { return Poll::Pending };
        ready!(lost.end.as_mut().poll(cx));
        self.body = tonic::body::Body::empty();
        Poll::Ready(Some(lost.trailers()))
    }

    /// The trailers of a body that was given up, unless the frame is data: an error of its own says more.
    fn end(frame: Frame<Bytes>, lost: &LostAnswer) -> Option<Result<Frame<Bytes>, Status>> {
        let trailers = frame.into_trailers().ok()?;
        let code = trailers.get(STATUS).map(|code| Code::from_bytes(code.as_bytes()));
        if code.is_some_and(|code| code != Code::Ok) {
            return Some(Ok(Frame::trailers(trailers)));
        }
        Some(lost.trailers())
    }
}

impl Body for PiecewiseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        loop {
            match this.unread.as_ref().map(UnreadFrame::take) {
                Some(Piece::Data(piece)) => return Poll::Ready(Some(Ok(Frame::data(piece)))),
                Some(Piece::Lost(status)) => this.lost = Some(LostAnswer::new(status)),
                Some(Piece::End) | None => {}
            }
            this.unread = None;
            let frame = match this.made.take() {
                Some(frame) => frame,
                None => match Pin::new(&mut this.body).poll_frame(cx) {
                    Poll::Ready(Some(frame)) => frame?,
                    Poll::Ready(None) => return Poll::Ready(None),
                    Poll::Pending => return this.poll_lost(cx),
                },
            };
            let ready = match &this.lost {
                Some(lost) => Self::end(frame, lost),
                None => this.kept(frame).map(Ok),
            };
            if ready.is_some() {
                return Poll::Ready(ready);
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.made.is_none() && self.unread.is_none() && self.body.is_end_stream()
    }
}
