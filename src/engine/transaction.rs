//! Transact: an interactive transaction, owned by a task.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, channel};

use super::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::value::proto::{ResultSet, TransactRequest};

/// A reply to a command.
#[derive(Debug)]
pub struct Reply {
    /// The command's sequence.
    pub sequence: u32,
    /// What became of it.
    pub body: ReplyBody,
}

/// What became of a command.
#[derive(Debug)]
pub enum ReplyBody {
    /// The transaction is open.
    Begun,
    /// A result, or a part of one; `more` says whether parts follow.
    Result {
        /// The first part has the columns, the last the command and its count.
        result_set: ResultSet,
        /// Whether parts follow.
        more: bool,
    },
    /// A savepoint command is done.
    Done,
    /// The commit is durable.
    Committed,
    /// Everything was rolled back.
    RolledBack,
    /// The command failed; the stream stays open.
    Failed(Error),
}

/// How the caller's side of the stream goes on.
#[derive(Debug)]
pub enum Incoming {
    /// A command.
    Command(TransactRequest),
    /// The caller has closed its side: no command follows.
    HalfClosed,
    /// The caller has cancelled, or its connection is lost.
    Gone,
}

impl Engine {
    /// Serves one transaction in a task of its own until it ends. Replies come through the channel in
    /// the order of the commands, an error that ends the transaction as the last. Dropping the receiver
    /// rolls back, unless a commit was sent.
    #[must_use]
    pub fn transact(
        self: &Arc<Self>,
        _incoming: Receiver<Incoming>,
        _grpc_timeout: Option<Duration>,
    ) -> Receiver<Result<Reply>> {
        let (replies, receiver) = channel(1);
        tokio::spawn(async move {
            let error = Error::new(ErrorKind::Unsupported, "not built yet");
            drop(replies.send(Err(error)).await);
        });
        receiver
    }
}
