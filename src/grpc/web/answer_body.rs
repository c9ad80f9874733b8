//! The bodies of translated answers: each message as it comes, and no more of them than the reader takes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use http::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};
use tonic::{Code, Status};

use super::answer_error::{unwritable, without_status};
use super::answer_form::AnswerForm;
use super::web_body::PREFIX;
use crate::grpc::http2::status_recorder::StatusRecorder;
use crate::grpc::http2::unread::{PIECE, Piece, UnreadAnswers, UnreadFrame};
use crate::telemetry::RpcCall;

/// The call that an answer belongs to, and the place where its large parts wait for their reader.
pub(crate) struct AnswerContext {
    /// Records the end of the call: when the last part is taken, with the status that is in it.
    pub(crate) recorder: StatusRecorder,
    pub(crate) unread: Arc<UnreadAnswers>,
}

/// The body of a translated answer.
pub(crate) struct AnswerBody<B> {
    /// The body of gRPC's answer, which holds what the call holds.
    answer: B,
    context: AnswerContext,
    part: AnswerPart,
    /// `None` once no part follows.
    translation: Option<StreamTranslation>,
    /// The status in the last part.
    code: Code,
}

/// The part that is being sent.
#[derive(Default)]
struct AnswerPart {
    /// One that is sent as it is.
    small: Option<Bytes>,
    /// One that is sent in pieces.
    large: Option<UnreadFrame>,
    /// The bytes that are left.
    left: usize,
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
    End(Bytes, Code),
    /// It ended within a message: whatever follows would be taken for the rest of it.
    Broken(Status),
}

impl AnswerPart {
    fn new(content: Bytes, context: &AnswerContext) -> Self {
        let left = content.len();
        if left > PIECE {
            let AnswerContext { recorder, unread } = context;
            let large = unread.keep(recorder.call(), recorder.call().outcome(), content);
            return Self { large: Some(large), left, ..Self::default() };
        }
        Self { small: Some(content), left, ..Self::default() }
    }

    /// Takes what comes next of it; `None` once nothing is left.
    fn take(&mut self) -> Option<Result<Bytes, Status>> {
        if self.left == 0 {
            return None;
        }
        let taken = match (self.small.take(), &self.large) {
            (Some(part), _) => Piece::Data(part),
            (None, Some(large)) => large.take(),
            (None, None) => Piece::End,
        };
        match taken {
            Piece::Data(piece) => {
                self.left = self.left.saturating_sub(piece.len());
                Some(Ok(piece))
            }
            Piece::Lost(status) => {
                self.left = 0;
                Some(Err(status))
            }
            Piece::End => {
                self.left = 0;
                None
            }
        }
    }
}

impl<B> AnswerBody<B> {
    /// A body of one part, with the status of its call.
    pub(super) fn whole(answer: B, context: AnswerContext, content: Bytes, code: Code) -> Self {
        let part = AnswerPart::new(content, &context);
        let mut body = Self { answer, context, part, translation: None, code };
        body.note_end();
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
        Self { answer, context, part: AnswerPart::default(), translation, code: Code::Unknown }
    }

    fn send(&mut self, content: Bytes) {
        self.part = AnswerPart::new(content, &self.context);
    }

    /// Sends the last part of a stream.
    fn send_last(&mut self, end: Bytes, code: Code) {
        self.translation = None;
        self.code = code;
        self.send(end);
    }

    fn is_ended(&self) -> bool {
        self.translation.is_none() && self.part.left == 0
    }

    /// Records the end of the call once the last part was taken.
    fn note_end(&mut self) {
        if self.is_ended() {
            self.context.recorder.record(self.code);
        }
    }

    /// Ends a body that cannot go on: its reader sees that it is cut off.
    fn cut_off(&mut self, status: Status) -> Status {
        self.translation = None;
        self.part = AnswerPart::default();
        self.context.recorder.record(status.code());
        status
    }

    /// Takes the next piece of the present part; `None` once there is none.
    fn take(&mut self) -> Option<Result<Bytes, Status>> {
        let taken = self.part.take()?.map_err(|status| self.cut_off(status));
        self.note_end();
        Some(taken)
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
            if let Some(taken) = this.take() {
                return Poll::Ready(Some(taken.map(Frame::data)));
            }
            let Some(translation) = &mut this.translation else { return Poll::Ready(None) };
            let call = this.context.recorder.call();
            match ready!(translation.poll_part(&mut this.answer, call, cx)) {
                StreamPart::Message(message) => this.send(message),
                StreamPart::End(end, code) => this.send_last(end, code),
                StreamPart::Broken(status) => {
                    return Poll::Ready(Some(Err(this.cut_off(status))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.is_ended()
    }

    fn size_hint(&self) -> SizeHint {
        if self.translation.is_some() {
            return SizeHint::default();
        }
        SizeHint::with_exact(u64::try_from(self.part.left).unwrap_or(u64::MAX))
    }
}

impl StreamTranslation {
    fn poll_part<B>(
        &mut self,
        answer: &mut B,
        call: &RpcCall,
        cx: &mut Context<'_>,
    ) -> Poll<StreamPart>
    where
        B: Body<Data = Bytes, Error = Status> + Unpin,
    {
        if let Some(trailers) = self.ended.take() {
            return Poll::Ready(self.end(&trailers, call));
        }
        loop {
            if let Some(message) = take_message(&mut self.received) {
                let part = match self.form.frame(&message) {
                    Ok(frame) => StreamPart::Message(frame),
                    Err(_malformed) => {
                        let status = unwritable(call);
                        StreamPart::End(self.form.end_with(&status), status.code())
                    }
                };
                return Poll::Ready(part);
            }
            let frame = match ready!(Pin::new(&mut *answer).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(status)) => return Poll::Ready(self.end_with(status)),
                None => return Poll::Ready(self.end_with(without_status(call))),
            };
            match frame.into_data() {
                Ok(data) => self.received.extend_from_slice(&data),
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    return Poll::Ready(self.end(&trailers, call));
                }
            }
        }
    }

    /// The end that trailers tell: a success only where they say so behind the last whole message.
    fn end(&self, trailers: &HeaderMap, call: &RpcCall) -> StreamPart {
        let status = Status::from_header_map(trailers);
        match status.filter(|status| status.code() != Code::Ok || self.received.is_empty()) {
            Some(status) if self.received.is_empty() => {
                StreamPart::End(self.form.end(&status, trailers), status.code())
            }
            Some(status) => StreamPart::Broken(status),
            None => self.end_with(without_status(call)),
        }
    }

    fn end_with(&self, status: Status) -> StreamPart {
        // Whatever made an end without trailers, it is no success.
        let is_ok = status.code() == Code::Ok;
        let status = if is_ok { Status::unknown("the answer ended early") } else { status };
        if self.received.is_empty() {
            StreamPart::End(self.form.end_with(&status), status.code())
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

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::Duration;

    use futures_util::FutureExt as _;
    use serde_json::Value as Json;

    use super::*;
    use crate::grpc::web::web_format::{WebCodec, WebFormat, WebProtocol};
    use crate::grpc::web::web_schema::WebSchema;

    const TIMEOUT: Duration = Duration::from_secs(10);

    /// The frames of gRPC's answer, all of which are there.
    struct Given(VecDeque<Result<Frame<Bytes>, Status>>);

    impl Body for Given {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Ready(self.get_mut().0.pop_front())
        }
    }

    fn stream(
        codec: WebCodec,
        frames: impl IntoIterator<Item = Result<Frame<Bytes>, Status>>,
    ) -> AnswerBody<Given> {
        let schema = WebSchema::new().expect("the descriptors are sound");
        let method = schema.method("/rowgate.v1.DatabaseService/StreamQuery").expect("it is there");
        let format = WebFormat { protocol: WebProtocol::ConnectStream, codec };
        let shapes = Arc::clone(&schema.shapes);
        let message = method.answer;
        let form = AnswerForm { format, shapes, message, origin: None, status: None };
        let unread = UnreadAnswers::new(usize::MAX, TIMEOUT);
        let context = AnswerContext { recorder: StatusRecorder::default(), unread };
        AnswerBody::streamed(Given(frames.into_iter().collect()), context, form, None)
    }

    /// The next piece of a body; `None` at its end.
    fn next(body: &mut AnswerBody<Given>) -> Option<Result<Bytes, Status>> {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx));
        let frame = frame.now_or_never().expect("everything is there")?;
        Some(frame.map(|frame| frame.into_data().expect("it is data")))
    }

    fn message(content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).expect("it is short").to_be_bytes();
        [&[0], &length[..], content].concat()
    }

    fn data(bytes: Vec<u8>) -> Result<Frame<Bytes>, Status> {
        Ok(Frame::data(bytes.into()))
    }

    fn trailers(code: &'static str) -> Result<Frame<Bytes>, Status> {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", http::HeaderValue::from_static(code));
        Ok(Frame::trailers(trailers))
    }

    /// The error in the end of a stream.
    fn error(end: &[u8]) -> Json {
        assert_eq!(end[0], 2, "it is the end");
        let mut end: Json = serde_json::from_slice(&end[PREFIX..]).expect("it is JSON");
        end["error"].take()
    }

    #[tokio::test]
    async fn only_trailers_behind_a_whole_message_end_a_stream_well() {
        let mut body = stream(WebCodec::Protobuf, [data(message(b"\n\0")), trailers("0")]);
        assert_eq!(next(&mut body).expect("a message").expect("whole"), message(b"\n\0"));
        assert!(error(&next(&mut body).expect("an end").expect("whole")).is_null());
        assert!(next(&mut body).is_none() && body.is_end_stream());

        let cut = message(b"\n\0")[..6].to_vec();
        for end in [Some(trailers("0")), Some(trailers("13")), Some(Err(Status::ok(""))), None] {
            let mut body = stream(WebCodec::Protobuf, [data(cut.clone())].into_iter().chain(end));
            next(&mut body).expect("it breaks off").expect_err("it is cut off");
            assert!(next(&mut body).is_none());
        }
        for end in [Some(Err(Status::ok(""))), Some(Err(Status::internal(""))), None] {
            let frames = [data(message(b"\n\0"))].into_iter().chain(end);
            let mut body = stream(WebCodec::Protobuf, frames);
            next(&mut body).expect("a message").expect("whole");
            let end = next(&mut body).expect("an end").expect("whole");
            assert!(error(&end)["code"].is_string(), "{end:?}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_written_tells_that_its_outcome_is_unknown() {
        for frames in [vec![data(message(b"\xff")), trailers("0")], Vec::new()] {
            let mut body = stream(WebCodec::Json, frames);
            let error = error(&next(&mut body).expect("an end").expect("whole"));
            assert_eq!(error["code"], "internal");
            assert_eq!(error["details"][0]["debug"]["metadata"]["outcome"], "UNKNOWN");
            assert!(next(&mut body).is_none());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_part_that_is_given_up_cuts_the_stream_off() {
        let large = message(&vec![0; 3 * PIECE]);
        let mut body = stream(WebCodec::Protobuf, [data(large), trailers("0")]);
        next(&mut body).expect("a piece").expect("it waits for its reader");
        tokio::time::sleep(2 * TIMEOUT).await;
        next(&mut body).expect("the rest").expect_err("it was given up");
        assert!(next(&mut body).is_none(), "no success follows");
    }
}
