//! Transact: an interactive transaction.
//!
//! One task owns it from `begin` to its end. Whatever ends the stream otherwise (the caller goes, stays
//! silent, takes no replies, takes too long, or the server ends) rolls back at once, in the middle of a
//! statement too; a commit that was sent is finished.

mod begin;
mod errors;
mod statement_replies;
mod task;

use std::sync::Arc;

use futures_util::future::FutureExt;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc::channel;
use tokio::sync::oneshot;
use tokio_stream::wrappers::ReceiverStream;

use super::{Caller, Engine};
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::value::proto::{ResultSet, TransactRequest};
use task::TransactionTask;

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
    /// A result, or a part of one.
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
    /// What came is no command: the stream ends with this once the commands before it are done.
    Refused(Error),
    /// The caller has closed its side: no command follows.
    HalfClosed,
    /// The caller has cancelled, or its connection is lost.
    Gone,
}

impl Engine {
    /// Serves one transaction in a task of its own until it ends. Replies come in the order of the
    /// commands; a stream that does not end with an error was committed or rolled back as it was told.
    /// Dropped, it rolls back, unless a commit was sent. A command is taken when its turn has come: what
    /// is read ahead is bounded by whoever makes the stream.
    pub fn transact<C: Into<Caller>>(
        self: &Arc<Self>,
        incoming: BoxStream<'static, Incoming>,
        caller: C,
    ) -> impl Stream<Item = Result<Reply>> + Send + use<C> {
        let (replies, receiver) = channel(1);
        let (end, ended) = oneshot::channel();
        let owner = TransactionTask::new(Arc::clone(self), incoming, replies, caller.into());
        tokio::spawn(async move {
            end.send(owner.serve().await).unwrap_or_default();
        });
        // The end does not pass through the channel: a caller that takes no replies is told it, too.
        let end = ended.map(|ended| match ended {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Err(error)),
            Err(_gone) => Some(Err(broken_off())),
        });
        ReceiverStream::new(receiver)
            .map(Ok)
            .chain(end.into_stream().filter_map(std::future::ready))
    }
}

/// The error of a stream whose task has gone without a word.
fn broken_off() -> Error {
    Error::new(ErrorKind::Internal, "the transaction broke off").with_outcome(Outcome::Unknown)
}

#[cfg(test)]
mod tests;
