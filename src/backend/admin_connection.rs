//! The connection of an operator's command: no pool's, and SQL runs on it as it is written.

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::cancel::{Cancel, Cancellable};
use crate::config::Secret;
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::pool::CallContext;
use crate::sql::Dialect;

/// The time that a statement has to answer once it was cancelled. Some of MySQL's cannot be.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(10);

/// Rows in text; `None` is NULL.
pub(crate) type AdminRows = Vec<Vec<Option<String>>>;

/// A connection to a database as its owner, beside all pools. It has no timeout of statements, but the database's
/// `lock_timeout`; its errors quote all that the database says, as the terminal is the operator's.
///
/// Once the operator interrupts the process, the statement that runs is cancelled, and no other begins. Dropped, the
/// connection ends, and with it a transaction that is open.
pub(crate) trait AdminConnection: Send {
    /// The dialect of its statements.
    fn dialect(&self) -> Dialect;

    /// The name and version of the server, as in `PostgreSQL 15.8`.
    fn server(&self) -> String;

    /// The login that it was opened with, which a command may have printed; empty for a file.
    fn login(&self) -> AdminLogin;

    /// Runs SQL without parameters, and returns its rows; several results in one list.
    ///
    /// # Cancel safety
    /// Dropped, it leaves the statement running: drop the connection, too.
    fn run<'a>(&'a mut self, sql: &'a str) -> BoxFuture<'a, Result<AdminRows>>;

    /// Runs one statement without parameters, and drops its rows. A text that is several statements to the database is refused,
    /// and nothing of it runs.
    ///
    /// # Cancel safety
    /// As [`Self::run`].
    fn run_one<'a>(&'a mut self, sql: &'a str) -> BoxFuture<'a, Result<(), StatementFailure>>;

    /// Takes what the database has remarked on the statements that ran, one by one, since this was last called.
    fn take_remarks(&mut self) -> Vec<String>;

    /// Returns true if a transaction is open, as the database said last.
    fn in_transaction(&self) -> bool;

    /// Takes the lock of all commands that change definitions, unless another process has it: false then. It is held
    /// until the connection ends, and keeps nobody from anything else.
    fn try_lock(&mut self) -> BoxFuture<'_, Result<bool>>;
}

/// The failure of one statement.
#[derive(Debug)]
pub(crate) struct StatementFailure {
    pub(crate) error: Error,
    /// The database has read it and not begun to run it.
    pub(crate) is_before_run: bool,
}

impl From<Error> for StatementFailure {
    fn from(error: Error) -> Self {
        Self { error, is_before_run: false }
    }
}

/// A login, for programs that connect by themselves.
#[derive(Debug, Clone, Default)]
pub(crate) struct AdminLogin {
    pub(crate) user: String,
    pub(crate) password: Option<Secret>,
}

/// The end of a command at its operator's request: the part of those who work.
#[derive(Clone)]
pub(crate) struct Interruption(watch::Receiver<bool>);

/// The part of the one who hears the operator.
pub(crate) struct Interrupt(watch::Sender<bool>);

impl Interrupt {
    /// A request that was not made yet.
    pub(crate) fn new() -> (Self, Interruption) {
        let (sender, receiver) = watch::channel(false);
        (Self(sender), Interruption(receiver))
    }

    /// Makes the request.
    pub(crate) fn request(&self) {
        self.0.send_replace(true);
    }
}

impl Interruption {
    /// Waits for the request; for ever if nobody can make it any more.
    pub(crate) async fn requested(&mut self) {
        if self.0.wait_for(|is_requested| *is_requested).await.is_err() {
            std::future::pending().await
        }
    }

    /// Fails once the request was made.
    pub(crate) fn check(&self) -> Result<()> {
        if *self.0.borrow() { Err(interrupted(Outcome::NotApplied)) } else { Ok(()) }
    }

    /// Waits for what may be given up at any time.
    pub(crate) async fn or_fail<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            done = work => done,
            () = self.requested() => Err(interrupted(Outcome::NotApplied)),
        }
    }

    /// Waits for a statement. Once the operator interrupts it is cancelled, and its failure is the interruption.
    pub(crate) async fn watch<T>(
        &mut self,
        connection: impl Cancellable,
        statement: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.check()?;
        let mut statement = std::pin::pin!(statement);
        tokio::select! {
            biased;
            answer = &mut statement => return answer,
            () = self.requested() => {}
        }
        let mut cancel = Cancel::new(connection, CallContext::own("admin"));
        let answer = cancel.repeat_until(statement);
        match tokio::time::timeout(CANCEL_TIMEOUT, answer).await {
            // It was done before the cancel.
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(interrupted(error.outcome())),
            Err(_elapsed) => Err(interrupted(Outcome::Unknown)),
        }
    }
}

/// The error of a statement that the operator has interrupted.
fn interrupted(outcome: Outcome) -> Error {
    let message = match outcome {
        Outcome::NotApplied => "interrupted",
        Outcome::Applied | Outcome::Unknown => "interrupted, and the statement may go on",
    };
    Error::new(ErrorKind::Cancelled, message).with_outcome(outcome)
}
