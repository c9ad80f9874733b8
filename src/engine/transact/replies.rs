//! The replies to the caller.

use std::time::Instant;

use super::errors::{disconnected, stalled};
use super::limits::TransactionLimits;
use super::messages::{ReplyBody, TransactReply};
use crate::clock::now;
use crate::engine::task_stream::{PartSender, SendFailure};
use crate::error::{Error, Result};

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
