//! The bodies of translated answers: each message as it comes, and no more of them than the reader takes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use http::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};
use tonic::Status;

use super::answer_form::{AnswerForm, without_status};
use super::web_body::PREFIX;
use crate::grpc::http2::unread::{PIECE, Piece, UnreadAnswers, UnreadFrame};
use crate::telemetry::RpcCall;

/// The call that an answer belongs to, and the place where its large parts wait for their reader.
pub(crate) struct AnswerContext {
    pub(crate) call: Arc<RpcCall>,
    pub(crate) unread: Arc<UnreadAnswers>,
}

/// The body of a translated answer.
pub(crate) struct AnswerBody<B> {
    /// The body of gRPC's answer: with it ends the call.
    answer: B,
    context: AnswerContext,
    /// A part that is sent as it is.
    small: Option<Bytes>,
    /// A part that is sent in pieces.
    large: Option<UnreadFrame>,
    /// The bytes of the only part that are left.
    left: usize,
    /// `None` once no part follows.
    translation: Option<StreamTranslation>,
}

/// The translation of a stream's messages.
struct StreamTranslation {
    form: AnswerForm,
    received: BytesMut,
    /// The trailers, if they came with the headers.
    ended: Option<HeaderMap>,
}

/// A part of a stream.
enum StreamPart {
    Message(Bytes),
    End(Bytes),
    /// It ended within a message: whatever follows would be taken for the rest of it.
    Broken(Status),
}

impl<B> AnswerBody<B> {
    /// A body of one part.
    pub(super) fn whole(answer: B, context: AnswerContext, content: Bytes) -> Self {
        let mut body =
            Self { answer, context, small: None, large: None, left: 0, translation: None };
        body.left = content.len();
        body.send(content);
        body
    }

    /// A body of the messages of a stream.
    pub(super) fn streamed(
        answer: B,
        context: AnswerContext,
        form: AnswerForm,
        ended: Option<HeaderMap>,
    ) -> Self {
        let translation = Some(StreamTranslation { form, received: BytesMut::new(), ended });
        Self { answer, context, small: None, large: None, left: 0, translation }
    }

    fn send(&mut self, part: Bytes) {
        if part.len() > PIECE {
            let AnswerContext { call, unread } = &self.context;
            self.large = Some(unread.keep(call, call.outcome(), part));
        } else {
            self.small = Some(part).filter(|part| !part.is_empty());
        }
    }

    /// Takes what is left of the present part.
    fn take(&mut self) -> Option<Result<Bytes, Status>> {
        if let Some(part) = self.small.take() {
            return Some(Ok(part));
        }
        match self.large.as_ref()?.take() {
            Piece::Data(piece) => Some(Ok(piece)),
            Piece::Lost(status) => {
                self.large = None;
                Some(Err(status))
            }
            Piece::End => {
                self.large = None;
                None
            }
        }
    }
}

impl<B> Body for AnswerBody<B>
where
    B: Body<Data = Bytes, Error = Status> + Unpin,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        loop {
            if let Some(part) = this.take() {
                if part.is_err() {
                    this.translation = None;
                }
                this.left = this.left.saturating_sub(part.as_ref().map_or(0, Bytes::len));
                return Poll::Ready(Some(part.map(Frame::data)));
            }
            let Some(translation) = &mut this.translation else { return Poll::Ready(None) };
            match ready!(translation.poll_part(&mut this.answer, cx)) {
                StreamPart::Message(message) => this.send(message),
                StreamPart::End(end) => {
                    this.translation = None;
                    this.send(end);
                }
                StreamPart::Broken(status) => {
                    this.translation = None;
                    return Poll::Ready(Some(Err(status)));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.translation.is_none() && self.small.is_none() && self.large.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        if self.translation.is_some() {
            return SizeHint::default();
        }
        SizeHint::with_exact(u64::try_from(self.left).unwrap_or(u64::MAX))
    }
}

impl StreamTranslation {
    fn poll_part<B>(&mut self, answer: &mut B, cx: &mut Context<'_>) -> Poll<StreamPart>
    where
        B: Body<Data = Bytes, Error = Status> + Unpin,
    {
        if let Some(trailers) = self.ended.take() {
            return Poll::Ready(StreamPart::End(self.form.end(&trailers)));
        }
        loop {
            if let Some(message) = take_message(&mut self.received) {
                let part = match self.form.frame(&message) {
                    Ok(frame) => StreamPart::Message(frame),
                    Err(status) => StreamPart::End(self.form.end_with(&status)),
                };
                return Poll::Ready(part);
            }
            let frame = match ready!(Pin::new(&mut *answer).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(status)) => return Poll::Ready(self.end_with(status)),
                None => return Poll::Ready(self.end_with(without_status())),
            };
            match frame.into_data() {
                Ok(data) => self.received.extend_from_slice(&data),
                Err(frame) if self.received.is_empty() => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    return Poll::Ready(StreamPart::End(self.form.end(&trailers)));
                }
                Err(_trailers) => return Poll::Ready(self.end_with(without_status())),
            }
        }
    }

    fn end_with(&self, status: Status) -> StreamPart {
        if self.received.is_empty() {
            StreamPart::End(self.form.end_with(&status))
        } else {
            StreamPart::Broken(status)
        }
    }
}

/// Takes the next message, without its prefix; `None` until it is whole.
fn take_message(received: &mut BytesMut) -> Option<Bytes> {
    let length = received.get(1..PREFIX)?.try_into().ok()?;
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
    if received.len() - PREFIX < length {
        return None;
    }
    received.advance(PREFIX);
    Some(received.split_to(length).freeze())
}
