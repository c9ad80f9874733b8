//! A connection in a transaction: its thread takes one command after the other until the
//! transaction ends, or its caller drops it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;

use super::statement_run::{Access, run_in_transaction};
use crate::backend::idempotency::applied_before;
use crate::backend::sqlite::connection::{
    ConnectionCheckout, Work, WorkResult, finish, release, run_armed,
};
use crate::backend::sqlite::idempotency::claim;
use crate::backend::sqlite::row_channel::RowSender;
use crate::backend::sqlite::session::Session;
use crate::backend::{Completion, IdempotencyKey, SavepointCommand, Statement};
use crate::error::{Error, ErrorKind, Result};
use crate::pool::CloseReason;

/// A command to the thread of a transaction, and the sender of its result.
pub(crate) enum Command {
    /// Runs a statement.
    Run(Arc<Statement>, RowSender<Option<Completion>>),
    /// Sets, rolls back to or releases a savepoint.
    Savepoint(SavepointCommand, String, RowSender<()>),
    /// Commits and ends the transaction.
    Commit(RowSender<()>),
    /// Rolls back and ends the transaction.
    Rollback(RowSender<()>),
}

/// The thread's side of a transaction.
pub(crate) struct TransactionThread {
    pub(crate) commands: Receiver<Command>,
    /// True while the transaction is open; set before any answer.
    pub(crate) open: Arc<AtomicBool>,
}

/// A job that begins a transaction under a key, if there is one, and serves it.
pub(crate) fn transaction_job(
    thread: TransactionThread,
    key: Option<IdempotencyKey>,
    opened: RowSender<()>,
) -> Work {
    Box::new(move |session, checkout| {
        match run_armed(session, &opened, |session| begin(session, key.as_ref())) {
            WorkResult::Returned(Ok(())) => {
                thread.open.store(true, Ordering::Release);
                opened.end(Ok(()));
                thread.serve(session, checkout)
            }
            failed @ (WorkResult::Returned(Err(_)) | WorkResult::Panicked) => {
                finish(session, checkout, &opened, failed)
            }
        }
    })
}

impl TransactionThread {
    /// Serves the transaction. Returns true if the connection is still usable.
    fn serve(self, session: &mut Session, checkout: Option<ConnectionCheckout>) -> bool {
        // When the caller drops the transaction, the reset rolls it back.
        while let Ok(command) = self.commands.recv() {
            let usable = match command {
                Command::Run(sent, sender) => {
                    let ran = run_armed(session, &sender, |session| {
                        let access = Access::of(sent.read_only);
                        let rows = &mut &sender;
                        run_in_transaction(session, &sent.sql, &sent.parameters, access, rows)
                            .map(Some)
                    });
                    self.answer(session, &sender, ran)
                }
                Command::Savepoint(command, name, sender) => {
                    let done =
                        run_armed(session, &sender, |session| savepoint(session, command, &name));
                    self.answer(session, &sender, done)
                }
                Command::Commit(sender) => {
                    self.open.store(false, Ordering::Release);
                    let committed = run_armed(session, &sender, |session| session.commit(&sender));
                    return finish(session, checkout, &sender, committed);
                }
                Command::Rollback(sender) => {
                    self.open.store(false, Ordering::Release);
                    return finish(session, checkout, &sender, WorkResult::Returned(Ok(())));
                }
            };
            if !usable {
                return release(checkout, Some(CloseReason::Broken));
            }
        }
        release(checkout, session.reset(None))
    }

    /// Answers a command after which the transaction may go on; returns true if it may.
    fn answer<T>(&self, session: &Session, sender: &RowSender<T>, result: WorkResult<T>) -> bool {
        let usable = matches!(result, WorkResult::Returned(_));
        self.open.store(usable && !session.connection.is_autocommit(), Ordering::Release);
        sender.end(result.into_result());
        usable
    }
}

/// Begins a transaction under a key, if there is one.
fn begin(session: &Session, key: Option<&IdempotencyKey>) -> Result<()> {
    session.begin()?;
    if let Some(key) = key
        && let Some(claimed) = claim(session, key)?
    {
        claimed.check(key)?;
        return Err(applied_before());
    }
    Ok(())
}

fn savepoint(session: &Session, command: SavepointCommand, name: &str) -> Result<()> {
    // SAVEPOINT would begin a transaction.
    session.check_open()?;
    let verb = match command {
        SavepointCommand::Set => "SAVEPOINT",
        SavepointCommand::RollbackTo => "ROLLBACK TO",
        SavepointCommand::Release => "RELEASE",
    };
    session.control(&format!("{verb} {}", identifier(name))).map_err(|error| {
        if error.kind() != ErrorKind::InvalidStatement {
            return error;
        }
        // Nothing else can be wrong with it; the condition has PostgreSQL's name.
        let message = format!("there is no savepoint \"{name}\"");
        Error::new(ErrorKind::InvalidStatement, message)
            .with_condition("INVALID_SAVEPOINT_SPECIFICATION")
            .with_cause(error)
    })
}

/// A savepoint's name as SQL, in hexadecimal: SQLite takes `A` for `a`, even between quotes.
fn identifier(name: &str) -> String {
    use std::fmt::Write as _;
    let mut identifier = String::with_capacity(2 + 2 * name.len());
    identifier.push('s');
    for byte in name.bytes() {
        write!(identifier, "{byte:02x}").expect("a string takes everything");
    }
    identifier
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_are_different_savepoints() {
        assert_eq!(identifier("A\"; b"), "s41223b2062");
        assert_ne!(identifier("a").to_ascii_lowercase(), identifier("A").to_ascii_lowercase());
    }
}
