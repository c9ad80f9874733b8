//! Transact: the two streams of an interactive transaction.

use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc::{Sender, channel};
use tonic::{Status, Streaming};

use super::failure::{answer, detail};
use crate::engine::{Caller, Engine, Incoming, Reply, ReplyBody};
use crate::value::proto::transact_response::Reply as Wire;
use crate::value::proto::{
    Begun, Committed, Done, RolledBack, TransactRequest, TransactResponse, TransactResult,
};

/// Commands that are read ahead of their turn: what a caller may pipeline before it is held back.
const READ_AHEAD: usize = 64;

/// Serves one transaction; the response's headers need not wait for anything.
pub(super) fn serve(
    engine: &Arc<Engine>,
    commands: Streaming<TransactRequest>,
    caller: Caller,
) -> impl Stream<Item = Result<TransactResponse, Status>> + Send + use<> {
    let (incoming, receiver) = channel(READ_AHEAD);
    tokio::spawn(read(commands, incoming));
    engine.transact(receiver, caller).map(|reply| match reply {
        Ok(reply) => Ok(encode(reply)),
        Err(error) => Err(answer("Transact", &error)),
    })
}

/// Hands the commands on until there are no more, or nobody takes them.
async fn read(mut commands: Streaming<TransactRequest>, incoming: Sender<Incoming>) {
    loop {
        let next = tokio::select! {
            message = commands.message() => match message {
                Ok(Some(command)) => Incoming::Command(command),
                Ok(None) => Incoming::HalfClosed,
                Err(_cancelled) => Incoming::Gone,
            },
            () = incoming.closed() => return,
        };
        let last = !matches!(next, Incoming::Command(_));
        if incoming.send(next).await.is_err() || last {
            return;
        }
    }
}

fn encode(reply: Reply) -> TransactResponse {
    let body = match reply.body {
        ReplyBody::Begun => Wire::Begun(Begun {}),
        ReplyBody::Result { result_set, more } => {
            Wire::Result(TransactResult { result_set: Some(result_set), more })
        }
        ReplyBody::Done => Wire::Done(Done {}),
        ReplyBody::Committed => Wire::Committed(Committed {}),
        ReplyBody::RolledBack => Wire::RolledBack(RolledBack {}),
        ReplyBody::Failed(error) => Wire::Error(detail("Transact", &error)),
    };
    TransactResponse { sequence: reply.sequence, reply: Some(body) }
}
