//! The two sides of a transaction's stream.

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

/// A reply to a command.
#[derive(Debug)]
pub(crate) struct TransactReply {
    /// The command's sequence.
    pub(crate) sequence: u32,
    /// The reply; an error is the command's own, and the stream stays open.
    pub(crate) body: Result<ReplyBody>,
}
