//! The two sides of a transaction's stream: the events of the caller, and the replies.

use std::task::{Context, Poll};
use std::time::Instant;

use super::errors::{disconnected, stalled};
use super::limits::TransactionLimits;
use crate::clock::now;
use crate::engine::task_stream::{PartSender, SendFailure};
use crate::error::{Error, Result};
use crate::value::proto::TransactRequest;
pub(crate) use crate::value::proto::transact_response::Reply as ReplyBody;

/// An event on the caller's side of the stream.
#[derive(Debug)]
pub(crate) enum CallerEvent {
    /// A command.
    Command(TransactRequest),
    /// An unreadable message: the stream ends with this error once the commands before it are done.
    Invalid(Error),
    /// The caller has closed its side: no command follows.
    HalfClosed,
    /// The caller has cancelled, or its connection is lost.
    Disconnected,
}

/// The events of one caller. They are read in the transaction's own task: each task between would cost every command
/// one more wake-up.
pub(crate) trait CallerEvents: Send {
    /// Takes the next event. The last one is the end of the stream, in one way or the other.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<CallerEvent>;

    /// Reads what has come, within bounds of its own. Unread commands would stop the other calls of their
    /// connection.
    fn read_ahead(&mut self, cx: &mut Context<'_>);

    /// Throws away what has come and what comes, of any length. No event is taken after that.
    fn discard(&mut self, cx: &mut Context<'_>);
}

/// A reply to a command.
#[derive(Debug)]
pub(crate) struct TransactReply {
    /// The command's sequence.
    pub(crate) sequence: u32,
    /// The reply; an error is the command's own, and the stream stays open.
    pub(crate) body: Result<ReplyBody>,
}

/// The sender of the replies, each with the sequence of the last command.
pub(super) struct Replies {
    pub(super) sender: PartSender<TransactReply>,
    /// The sequence of the last command; `None` before the first.
    pub(super) sequence: Option<u32>,
}

impl Replies {
    /// Sends a reply within the limits of the transaction.
    pub(super) async fn send(
        &self,
        body: Result<ReplyBody>,
        limits: TransactionLimits,
    ) -> Result<()> {
        let sent = self.try_send(body, limits.end()).await;
        sent.map_err(|failure| self.error(failure, limits))
    }

    /// Sends a reply until `latest`, if the caller takes it within the stall timeout.
    pub(super) async fn try_send(
        &self,
        body: Result<ReplyBody>,
        latest: Option<Instant>,
    ) -> Result<(), SendFailure> {
        let sequence = self.sequence.unwrap_or_default();
        self.sender.send(TransactReply { sequence, body }, latest).await
    }

    /// The error of the stream when a reply was not sent.
    pub(super) fn error(&self, failure: SendFailure, limits: TransactionLimits) -> Error {
        match failure {
            SendFailure::Disconnected => disconnected(),
            SendFailure::Late | SendFailure::Stalled => {
                limits.overdue(now()).unwrap_or_else(|| stalled(self.sender.stall_timeout))
            }
        }
    }
}
