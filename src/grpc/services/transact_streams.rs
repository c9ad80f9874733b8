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

use crate::engine::{Caller, Engine, Incoming, Reply, ReplyBody};
use crate::grpc::error::respond::{answer, detail};
use crate::grpc::error::tonic_status;
use crate::telemetry::RpcCall;
use crate::value::proto::transact_response::Reply as Wire;
use crate::value::proto::{
    Begun, Committed, Done, RolledBack, TransactRequest, TransactResponse, TransactResult,
};

/// Commands that are read ahead of their turn at most: enough to keep a database busy over a long way,
/// and beyond it the caller is held back by HTTP/2's flow control.
const READ_AHEAD: usize = 64;

/// Serves one transaction; the response's headers need not wait for anything.
pub(crate) fn serve(
    engine: &Arc<Engine>,
    commands: BoxStream<'static, Incoming>,
    caller: Caller,
) -> impl Stream<Item = Result<TransactResponse, Status>> + Send + use<> {
    let call = Arc::clone(&caller.call);
    engine.transact(commands, caller).map(move |reply| match reply {
        Ok(reply) => Ok(encode(&call, reply)),
        Err(error) => Err(answer(&call, &error)),
    })
}

/// Reads commands ahead in a task of its own, which ends with the stream that it returns.
pub(crate) fn commands(
    commands: Streaming<TransactRequest>,
    max_request_size: usize,
) -> BoxStream<'static, Incoming> {
    let (ahead, receiver) = channel(READ_AHEAD);
    tokio::spawn(Reader::new(ahead, max_request_size).read(commands));
    // Its room is free again when a command is taken.
    ReceiverStream::new(receiver).map(|Ahead(incoming, _room)| incoming).boxed()
}

/// What was read ahead, and the room that it takes.
struct Ahead(Incoming, Option<OwnedSemaphorePermit>);

/// Reads commands ahead: no more than [`READ_AHEAD`], and no more bytes than one request may have.
struct Reader {
    ahead: Sender<Ahead>,
    room: Arc<Semaphore>,
    max_request_size: usize,
}

impl Reader {
    fn new(ahead: Sender<Ahead>, max_request_size: usize) -> Self {
        let room = Arc::new(Semaphore::new(max_request_size.min(Semaphore::MAX_PERMITS)));
        Self { ahead, room, max_request_size }
    }

    /// Hands the commands on until there are no more, or nobody takes them.
    async fn read(self, mut commands: Streaming<TransactRequest>) {
        tokio::select! {
            () = self.hand_on(&mut commands) => {}
            () = self.ahead.closed() => {}
        }
    }

    async fn hand_on(&self, commands: &mut Streaming<TransactRequest>) {
        loop {
            let incoming = incoming(commands.message().await, self.max_request_size);
            let room = match &incoming {
                Incoming::Command(command) => self.room(command).await,
                Incoming::Refused(_) | Incoming::HalfClosed | Incoming::Gone => None,
            };
            let last = room.is_none();
            if self.ahead.send(Ahead(incoming, room)).await.is_err() || last {
                return;
            }
        }
    }

    /// Waits until a command has room among those that wait for their turn.
    async fn room(&self, command: &TransactRequest) -> Option<OwnedSemaphorePermit> {
        let all = u32::try_from(self.max_request_size).unwrap_or(u32::MAX);
        let size = u32::try_from(command.encoded_len()).unwrap_or(u32::MAX).min(all);
        // It is never closed.
        Arc::clone(&self.room).acquire_many_owned(size).await.ok()
    }
}

/// What a message of the caller's is to the engine. A reset that only says CANCEL looks like the end of
/// the stream here; the replies' stream is dropped then, which is what tells.
fn incoming(message: Result<Option<TransactRequest>, Status>, max_request_size: usize) -> Incoming {
    let status = match message {
        Ok(Some(command)) => return Incoming::Command(command),
        Ok(None) => return Incoming::HalfClosed,
        Err(status) => status,
    };
    // What the transport says has a source; what is wrong with the message has none.
    match tonic_status::error(&status, max_request_size).filter(|_| status.source().is_none()) {
        Some(error) => Incoming::Refused(error),
        None => Incoming::Gone,
    }
}

fn encode(call: &RpcCall, reply: Reply) -> TransactResponse {
    let body = match reply.body {
        ReplyBody::Begun => Wire::Begun(Begun {}),
        ReplyBody::Result { result_set, more } => {
            Wire::Result(TransactResult { result_set: Some(result_set), more })
        }
        ReplyBody::Done => Wire::Done(Done {}),
        ReplyBody::Committed => Wire::Committed(Committed {}),
        ReplyBody::RolledBack => Wire::RolledBack(RolledBack {}),
        ReplyBody::Failed(error) => Wire::Error(detail(call, &error)),
    };
    TransactResponse { sequence: reply.sequence, reply: Some(body) }
}
