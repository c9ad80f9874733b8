//! Transact: the two streams of an interactive transaction.

use std::collections::VecDeque;
use std::error::Error as _;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::{Stream, StreamExt};
use prost::Message;
use tonic::{Status, Streaming};

use crate::engine::{Caller, CallerEvent, CallerEvents, Engine, ReplyBody};
use crate::grpc::respond::{answer, detail, request_error};
use crate::value::proto::{TransactRequest, TransactResponse};

/// The limit on commands that are read ahead: enough to keep a distant database busy. Beyond it HTTP/2's
/// flow control stops the caller.
const READ_AHEAD: usize = 64;

/// Serves one transaction; the response's headers need not wait for anything.
pub(crate) fn responses(
    engine: &Arc<Engine>,
    commands: CommandReader,
    caller: Caller,
) -> impl Stream<Item = Result<TransactResponse, Status>> + Send + use<> {
    let call = Arc::clone(&caller.call);
    engine.transact(Box::new(commands), caller).map(move |reply| {
        let reply = reply.map_err(|error| answer(&call, &error))?;
        let body = reply.body.unwrap_or_else(|error| ReplyBody::Error(detail(&call, &error)));
        Ok(TransactResponse { sequence: reply.sequence, reply: Some(body) })
    })
}

/// The commands of one stream, read ahead: no more than [`READ_AHEAD`], and none once those that wait have as many
/// bytes as one request may have.
pub(crate) struct CommandReader {
    commands: Streaming<TransactRequest>,
    max_request_size: usize,
    waiting: VecDeque<WaitingEvent>,
    /// The bytes of the commands that wait.
    bytes: usize,
    /// True once no event follows those that wait.
    has_ended: bool,
}

/// An event that was read ahead.
struct WaitingEvent {
    event: CallerEvent,
    bytes: usize,
}

impl CommandReader {
    pub(crate) fn new(commands: Streaming<TransactRequest>, max_request_size: usize) -> Self {
        let waiting = VecDeque::new();
        Self { commands, max_request_size, waiting, bytes: 0, has_ended: false }
    }
}

impl CallerEvents for CommandReader {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<CallerEvent> {
        self.read_ahead(cx);
        match self.waiting.pop_front() {
            Some(WaitingEvent { event, bytes }) => {
                self.bytes -= bytes;
                Poll::Ready(event)
            }
            None if self.has_ended => Poll::Ready(CallerEvent::Disconnected),
            None => Poll::Pending,
        }
    }

    fn read_ahead(&mut self, cx: &mut Context<'_>) {
        while !self.has_ended
            && self.waiting.len() < READ_AHEAD
            && self.bytes < self.max_request_size
            && let Poll::Ready(message) = self.commands.poll_next_unpin(cx)
        {
            let event = event(message.transpose(), self.max_request_size);
            let bytes = match &event {
                CallerEvent::Command(command) => command.encoded_len(),
                CallerEvent::Invalid(_) | CallerEvent::HalfClosed | CallerEvent::Disconnected => {
                    self.has_ended = true;
                    0
                }
            };
            self.bytes += bytes;
            self.waiting.push_back(WaitingEvent { event, bytes });
        }
    }

    fn discard(&mut self, cx: &mut Context<'_>) {
        self.waiting.clear();
        self.bytes = 0;
        while !self.has_ended
            && let Poll::Ready(message) = self.commands.poll_next_unpin(cx)
        {
            self.has_ended = !matches!(message, Some(Ok(_)));
        }
    }
}

/// Makes the event of a message. A reset with CANCEL looks like the end of the stream here; the stream of the
/// replies is dropped then, which the engine sees.
fn event(message: Result<Option<TransactRequest>, Status>, max_request_size: usize) -> CallerEvent {
    let status = match message {
        Ok(Some(command)) => return CallerEvent::Command(command),
        Ok(None) => return CallerEvent::HalfClosed,
        Err(status) => status,
    };
    // Errors of the transport have a source; errors of the message have none.
    match request_error(&status, max_request_size).filter(|_| status.source().is_none()) {
        Some(error) => CallerEvent::Invalid(error),
        None => CallerEvent::Disconnected,
    }
}
