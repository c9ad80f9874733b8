//! Transact: the two streams of an interactive transaction.

use std::error::Error as _;
use std::sync::Arc;

use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use prost::Message;
use tokio::sync::mpsc::{Sender, channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::engine::{Caller, CallerEvent, Engine, ReplyBody};
use crate::grpc::respond::{answer, detail, request_error};
use crate::value::proto::{TransactRequest, TransactResponse};

/// The limit on commands that are read ahead: enough to keep a distant database busy. Beyond it HTTP/2's
/// flow control stops the caller.
const READ_AHEAD: usize = 64;

/// Serves one transaction; the response's headers need not wait for anything.
pub(crate) fn responses(
    engine: &Arc<Engine>,
    events: BoxStream<'static, CallerEvent>,
    caller: Caller,
) -> impl Stream<Item = Result<TransactResponse, Status>> + Send + use<> {
    let call = Arc::clone(&caller.call);
    engine.transact(events, caller).map(move |reply| {
        let reply = reply.map_err(|error| answer(&call, &error))?;
        let body = reply.body.unwrap_or_else(|error| ReplyBody::Error(detail(&call, &error)));
        Ok(TransactResponse { sequence: reply.sequence, reply: Some(body) })
    })
}

/// Reads commands ahead in a task of its own, which ends with the returned stream.
pub(crate) fn events(
    commands: Streaming<TransactRequest>,
    max_request_size: usize,
) -> BoxStream<'static, CallerEvent> {
    let (queue, receiver) = channel(READ_AHEAD);
    let quota = Arc::new(Semaphore::new(max_request_size.min(Semaphore::MAX_PERMITS)));
    let reader = CommandReader { queue, quota, max_request_size };
    tokio::spawn(reader.run(commands));
    // Taking an event frees its part of the quota.
    ReceiverStream::new(receiver).map(|queued| queued.event).boxed()
}

/// An event that was read ahead.
struct QueuedEvent {
    event: CallerEvent,
    _quota: Option<OwnedSemaphorePermit>,
}

/// Reads commands ahead: no more than [`READ_AHEAD`], and no more bytes than one request may have.
struct CommandReader {
    queue: Sender<QueuedEvent>,
    quota: Arc<Semaphore>,
    max_request_size: usize,
}

impl CommandReader {
    /// Reads commands until there are no more, or until the queue is closed.
    async fn run(self, mut commands: Streaming<TransactRequest>) {
        tokio::select! {
            () = self.read(&mut commands) => {}
            () = self.queue.closed() => {}
        }
    }

    async fn read(&self, commands: &mut Streaming<TransactRequest>) {
        loop {
            let event = event(commands.message().await, self.max_request_size);
            let quota = if let CallerEvent::Command(command) = &event {
                self.acquire_quota(command).await
            } else {
                None
            };
            let is_last = quota.is_none();
            if self.queue.send(QueuedEvent { event, _quota: quota }).await.is_err() || is_last {
                return;
            }
        }
    }

    /// Waits until the queued commands leave enough bytes for another one.
    async fn acquire_quota(&self, command: &TransactRequest) -> Option<OwnedSemaphorePermit> {
        let all = u32::try_from(self.max_request_size).unwrap_or(u32::MAX);
        let size = u32::try_from(command.encoded_len()).unwrap_or(u32::MAX).min(all);
        // The semaphore is never closed.
        Arc::clone(&self.quota).acquire_many_owned(size).await.ok()
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
