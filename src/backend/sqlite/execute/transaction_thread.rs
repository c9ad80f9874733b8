//! A connection that one transaction holds: its thread takes one command after the other until the
//! transaction ends, or nobody is there to end it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;

use super::statement_run::Ran;
use crate::backend::idempotency::applied_before;
use crate::backend::sqlite::connection::{ConnectionCheckout, Worked, give_back, restore, work};
use crate::backend::sqlite::row_channel::RowSender;
use crate::backend::sqlite::session::Session;
use crate::backend::{IdempotencyKey, SavepointCommand, Statement};
use crate::error::{Error, ErrorKind, Result};

/// A command to the thread of a connection that is held.
pub(crate) enum Task {
    /// Run a statement.
    Run(Arc<Statement>, RowSender<Ran>),
    /// Set, go back to or forget a savepoint.
    Savepoint(SavepointCommand, String, RowSender<()>),
    /// Commit; then it is over.
    Commit(RowSender<()>),
    /// Roll back; then it is over.
    Rollback(RowSender<()>),
}

/// A transaction to open, and where its commands will come from.
pub(crate) struct TransactionThread {
    /// The key that it claims.
    pub(crate) key: Option<IdempotencyKey>,
    /// The commands.
    pub(crate) tasks: Receiver<Task>,
    /// Whether the transaction is open; told before any answer.
    pub(crate) open: Arc<AtomicBool>,
    /// Where it is told that the transaction is open, or why not.
    pub(crate) opened: RowSender<()>,
}

/// Serves one transaction. Says whether the connection is still good.
pub(crate) fn hold(
    session: &mut Session,
    loan: Option<ConnectionCheckout>,
    hold: TransactionThread,
) -> bool {
    let TransactionThread { key, tasks, open, opened } = hold;
    match work(session, &opened, |session| session.begin_under(key.as_ref())) {
        Worked::Ended(Ok(())) => {}
        failed @ (Worked::Ended(Err(_)) | Worked::Panicked) => {
            return give_back(session, loan, opened, failed);
        }
    }
    open.store(true, Ordering::Release);
    opened.end(Ok(()));
    // Whoever drops the transaction ends this: what is left of it is rolled back with the cleaning.
    while let Ok(task) = tasks.recv() {
        let usable = match task {
            Task::Run(sent, outlet) => {
                let ran = work(session, &outlet, |session| {
                    let statement = (sent.sql.as_str(), sent.parameters.as_slice());
                    session.run_within(statement, sent.read_only, &mut &outlet).map(Ran::Done)
                });
                answer(session, &open, outlet, ran)
            }
            Task::Savepoint(command, name, outlet) => {
                let done = work(session, &outlet, |session| session.savepoint(command, &name));
                answer(session, &open, outlet, done)
            }
            Task::Commit(outlet) => {
                open.store(false, Ordering::Release);
                let committed = work(session, &outlet, |session| session.commit(&outlet));
                return give_back(session, loan, outlet, committed);
            }
            Task::Rollback(outlet) => {
                open.store(false, Ordering::Release);
                return give_back(session, loan, outlet, Worked::Ended(Ok(())));
            }
        };
        if !usable {
            return restore(session, loan, &Worked::<()>::Panicked);
        }
    }
    restore(session, loan, &Worked::Ended(Ok(())))
}

/// Answers a command that leaves the connection held; says whether it can be.
fn answer<T>(
    session: &Session,
    open: &AtomicBool,
    outlet: RowSender<T>,
    worked: Worked<T>,
) -> bool {
    let usable = matches!(worked, Worked::Ended(_));
    open.store(usable && !session.connection.is_autocommit(), Ordering::Release);
    outlet.end(worked.end());
    usable
}

impl Session {
    /// Begins a transaction under a key, if there is one.
    fn begin_under(&self, key: Option<&IdempotencyKey>) -> Result<()> {
        self.begin()?;
        if let Some(key) = key
            && let Some(claimed) = self.claim(key)?
        {
            claimed.check(key)?;
            return Err(applied_before());
        }
        Ok(())
    }

    fn savepoint(&self, command: SavepointCommand, name: &str) -> Result<()> {
        // SAVEPOINT would begin a transaction.
        self.check_open()?;
        let verb = match command {
            SavepointCommand::Set => "SAVEPOINT",
            SavepointCommand::RollbackTo => "ROLLBACK TO",
            SavepointCommand::Release => "RELEASE",
        };
        let sql = format!("{verb} {}", identifier(name));
        self.control(&sql).map_err(|error| {
            if error.kind() != ErrorKind::InvalidStatement {
                return error;
            }
            // The one thing that can be wrong with it; the condition has PostgreSQL's name.
            let message = format!("there is no savepoint \"{name}\"");
            Error::new(ErrorKind::InvalidStatement, message)
                .with_condition("INVALID_SAVEPOINT_SPECIFICATION")
                .with_cause(error)
        })
    }
}

/// A savepoint's name as SQL. SQLite takes `A` for `a`, even between quotes; digits it tells apart.
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
