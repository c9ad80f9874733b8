//! The errors of a transaction's commands and of its stream.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};

/// The longest name of a savepoint, in bytes (PostgreSQL, NAMEDATALEN).
const MAX_NAME: usize = 63;

/// The failure of a command.
pub(super) enum CommandError {
    /// The command failed alone: the caller gets a reply, and the stream stays open while the transaction does.
    Command(Error),
    /// The command did nothing, not even in the transaction, which goes on as if it had not been sent.
    Refused(Error),
    /// The stream has failed.
    Stream(Error),
}

impl From<Error> for CommandError {
    fn from(error: Error) -> Self {
        Self::Command(error)
    }
}

/// Validates the name of a savepoint.
pub(super) fn check_name(name: &str) -> Result<()> {
    if (1..=MAX_NAME).contains(&name.len()) && !name.contains('\0') {
        return Ok(());
    }
    let description = "a savepoint's name has 1 to 63 bytes, and no NUL";
    Err(Error::field(ErrorKind::InvalidParameter, "name", description))
}

pub(super) fn invalid_command(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidCommand, message)
        .with_hint("A transaction is begin, any commands, then commit or rollback.")
}

pub(super) fn aborted() -> Error {
    let message = "the transaction is aborted: an earlier command failed";
    Error::new(ErrorKind::TransactionAborted, message)
        .with_hint("Send rollback, or rollback_to with a savepoint set before.")
}

pub(super) fn not_committed() -> Error {
    let message = "the stream was closed without commit or rollback, and was rolled back";
    Error::new(ErrorKind::NotCommitted, message).with_hint(
        "Send commit before you close your side; some clients close it when their iterator ends.",
    )
}

pub(super) fn disconnected() -> Error {
    Error::new(ErrorKind::Cancelled, "the caller disconnected, and its transaction has ended")
}

pub(super) fn draining() -> Error {
    let message = "the server is shutting down; the transaction was rolled back";
    Error::new(ErrorKind::ShuttingDown, message)
}

pub(super) fn idle(limit: Duration) -> Error {
    let limit = humantime::format_duration(limit);
    Error::new(ErrorKind::IdleInTransactionTimeout, format!("no command came for {limit}"))
}

pub(super) fn stalled(limit: Duration) -> Error {
    let limit = humantime::format_duration(limit);
    Error::new(ErrorKind::StreamStalled, format!("the caller took no reply for {limit}"))
}
