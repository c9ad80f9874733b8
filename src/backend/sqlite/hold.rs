//! A connection that one transaction holds: its thread takes one command after the other until the
//! transaction ends, or nobody is there to end it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::Receiver;

use super::connection::Loan;
use super::pipe::Outlet;
use super::run::{Ran, Request};
use super::session::{Role, Session};
use crate::error::{Error, ErrorKind, Result};
use crate::pool::CloseReason;

/// A command to the thread of a connection that is held.
pub(super) enum Task {
    /// Run a statement.
    Run(Request, Outlet<Ran>),
    /// Set, go back to or forget a savepoint.
    Savepoint(String, Outlet<()>),
    /// Commit, or roll back; then it is over.
    End(&'static str, Outlet<()>),
}

/// A transaction to open and the commands that will come.
pub(super) struct Hold {
    pub(super) tasks: Receiver<Task>,
    /// Whether the transaction is open; told before any answer.
    pub(super) open: Arc<AtomicBool>,
    pub(super) opened: Outlet<()>,
}

/// Serves one transaction. Says whether the connection is still good.
pub(super) fn hold(session: &mut Session, loan: Option<Loan>, hold: Hold) -> bool {
    let Hold { tasks, open, opened } = hold;
    let began = guarded(|| begin(session, &opened));
    if began.is_err() {
        return give_back(session, loan, opened, began);
    }
    open.store(true, SeqCst);
    opened.end(Ok(()));
    // Whoever drops the transaction ends this: what is left of it is rolled back with the cleaning.
    while let Ok(task) = tasks.recv() {
        match task {
            Task::Run(request, outlet) => {
                let ran = guarded(|| {
                    ready(session, &outlet)?;
                    session.run(request, &outlet)
                });
                told(session, &open, outlet, ran);
            }
            Task::Savepoint(sql, outlet) => {
                let done = guarded(|| {
                    ready(session, &outlet)?;
                    session.own(&sql)
                });
                told(session, &open, outlet, done);
            }
            Task::End(sql, outlet) => {
                let ended = guarded(|| {
                    ready(session, &outlet)?;
                    session.control(sql)
                });
                open.store(false, SeqCst);
                return give_back(session, loan, outlet, ended);
            }
        }
    }
    settle(session, loan, None)
}

fn begin(session: &mut Session, opened: &Outlet<()>) -> Result<()> {
    ready(session, opened)?;
    match session.role {
        Role::Writer => session.control("BEGIN IMMEDIATE"),
        Role::Reader => {
            session.control("BEGIN")?;
            // The first read takes the snapshot.
            session.own("SELECT 1 FROM sqlite_schema LIMIT 1")
        }
    }
}

fn ready<T: Send + 'static>(session: &mut Session, outlet: &Outlet<T>) -> Result<()> {
    if let Some(stop) = outlet.stopped() {
        return Err(stop.into());
    }
    session.arm(outlet)
}

/// Answers a command that leaves the connection held.
fn told<T>(session: &Session, open: &AtomicBool, outlet: Outlet<T>, end: Result<T>) {
    // A write that is interrupted takes its whole transaction with it (sqlite3_interrupt).
    open.store(!session.connection.is_autocommit(), SeqCst);
    outlet.end(end);
}

/// Gives the connection back clean, then answers the last command.
fn give_back(session: &Session, loan: Option<Loan>, outlet: Outlet<()>, end: Result<()>) -> bool {
    let usable = settle(session, loan, end.as_ref().err());
    outlet.end(end);
    usable
}

fn settle(session: &Session, loan: Option<Loan>, error: Option<&Error>) -> bool {
    let closed: Option<CloseReason> = session.clean(error);
    match (loan, closed) {
        (Some(loan), Some(reason)) => loan.discard(reason),
        (Some(loan), None) => drop(loan),
        (None, _) => {}
    }
    closed.is_none()
}

/// The driver panics where SQLite hands it names that are not UTF-8.
fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_panic| Err(Error::new(ErrorKind::Internal, "the SQLite driver panicked")))
}
