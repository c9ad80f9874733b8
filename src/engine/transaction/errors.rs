//! The errors of a transaction's stream.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};

/// When a transaction may be tried again that another instance, or a quicker caller, would have ended.
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// The longest name of a savepoint, in bytes (PostgreSQL, NAMEDATALEN).
const MAX_NAME: usize = 63;

/// Checks the name of a savepoint.
pub(crate) fn check_name(name: &str) -> Result<()> {
    if (1..=MAX_NAME).contains(&name.len()) && !name.contains('\0') {
        return Ok(());
    }
    let description = "a savepoint's name has 1 to 63 bytes, and no NUL";
    Err(Error::field(ErrorKind::InvalidParameter, "name", description))
}

pub(crate) fn out_of_place(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidCommand, message)
        .with_hint("A transaction is begin, any commands, then commit or rollback.")
}

pub(crate) fn aborted() -> Error {
    let message = "the transaction is aborted: an earlier command failed";
    Error::new(ErrorKind::TransactionAborted, message)
        .with_hint("Send rollback, or rollback_to with a savepoint set before.")
}

pub(crate) fn not_committed() -> Error {
    let message = "the stream was closed without commit or rollback, and was rolled back";
    Error::new(ErrorKind::NotCommitted, message).with_hint(
        "Send commit before you close your side; some clients close it when their iterator ends.",
    )
}

pub(crate) fn gone() -> Error {
    Error::new(ErrorKind::Cancelled, "the caller has gone, and its transaction is over")
}

pub(crate) fn draining() -> Error {
    let message = "the server is shutting down; the transaction was rolled back";
    Error::new(ErrorKind::ShuttingDown, message).with_retry_after(RETRY_AFTER)
}

pub(crate) fn silent(limit: Duration) -> Error {
    let limit = humantime::format_duration(limit);
    Error::new(ErrorKind::IdleInTransactionTimeout, format!("no command came for {limit}"))
        .with_retry_after(RETRY_AFTER)
}

pub(crate) fn stalled(limit: Duration) -> Error {
    let limit = humantime::format_duration(limit);
    Error::new(ErrorKind::StreamStalled, format!("the caller took no reply for {limit}"))
}

/// A statement whose rows were not taken until its deadline.
pub(crate) fn late() -> Error {
    let message = "the deadline passed while the caller took no rows";
    Error::new(ErrorKind::DeadlineExceeded, message)
}
