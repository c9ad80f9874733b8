//! A connection at work for one caller, whose state the next caller never sees.
//!
//! At its end a connection that is known to be idle and clean goes back to the pool. Any other is reset by a
//! task of its own, off the caller's path, and closed if that fails.

pub(crate) mod catalog;
mod failures;
mod held_connection;
mod kept_writes;
pub(crate) mod mysql_context;
pub(crate) mod requests;
mod session_reset;
pub(crate) mod statement_effects;

use std::sync::Arc;
use std::time::Instant;

use super::connection::Connection;
use super::connection::kill_target::KillTarget;
use super::connection::mysql_opener::Opener;
use crate::backend::attempt::{AttemptError, PlanUse, RetryScope};
use crate::backend::cancel::{Cancel, grace_end};
use crate::backend::resolution::connection_lost;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::planted_bug::PlantedBug;
use crate::pool::{Checkout, CloseReason};
use crate::sql::Definition;
pub(crate) use held_connection::SessionConnection;
use mysql_context::MysqlContext;
use session_reset::SessionReset;

/// A connection at work for one caller.
pub(crate) struct Session {
    /// `None` only while the session is dropped.
    connection: Option<SessionConnection>,
    pub(crate) database: Arc<MysqlContext>,
    pub(crate) deadline: Deadline,
    pub(crate) work: SessionWork,
    pub(crate) checkin: Checkin,
}

/// The part of the caller's work that the next answer decides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Applies {
    /// Nothing: it only reads, or its commit is still to be sent.
    #[default]
    Nothing,
    /// A statement that commits by itself.
    Statement,
    /// A commit.
    Commit,
}

/// The transaction that is open for the caller.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum UnitState {
    /// None: each statement commits by itself.
    #[default]
    None,
    Open,
    /// A statement has failed: it is rolled back, if need be to a savepoint.
    Failed,
    /// The database has rolled all of it back with an error.
    RolledBack,
}

/// The use of a connection after its session, in rising order of caution.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Disposition {
    #[default]
    Reuse,
    Close,
    /// The server takes no writes any more: so it is with the pool's other connections.
    FailOver,
}

/// An error with which the server answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refusal {
    errno: u16,
    /// The number of commands that were sent until then, none of which is unanswered.
    sent: u64,
}

/// The caller's work on a session.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, of which any may hold"
)]
pub(crate) struct SessionWork {
    pub(crate) applies: Applies,
    /// True if a part of what was written may stay although it failed or was rolled back: a table without transactions.
    pub(crate) is_divisible: bool,
    /// True if the statement that runs, or that has failed, may have ended the transaction.
    pub(crate) may_have_ended: bool,
    /// True once the unit has claimed an idempotency key.
    pub(crate) is_keyed: bool,
    /// True once the caller has created a temporary table, whose name may be that of another table.
    pub(crate) has_temporary: bool,
    /// The error with which the server answered the last command, if it did.
    pub(crate) refusal: Option<Refusal>,
    /// The definitions that the statement changes which runs.
    pub(crate) definition: Definition,
    /// True if the caller asked the database to forbid writes.
    pub(crate) forbids_writes: bool,
    /// True once a statement of the caller's has been sent.
    pub(crate) has_begun: bool,
    pub(crate) plans: PlanUse,
    /// The retry that is allowed after the failure of the attempt.
    pub(crate) retry: RetryScope,
    pub(crate) unit: UnitState,
}

/// The state in which a session checks its connection in.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Checkin {
    pub(crate) disposition: Disposition,
    /// A statement ran that may have left something in the session.
    pub(crate) is_touched: bool,
    /// A setting of our own was changed, whose effect on statements is known.
    pub(crate) has_own_settings: bool,
    /// A statement ran that may have changed definitions of the database.
    pub(crate) changes_definitions: bool,
}

impl Session {
    pub(crate) fn new(
        checkout: Checkout<Opener>,
        database: &Arc<MysqlContext>,
        deadline: Deadline,
    ) -> Self {
        let target = KillTarget {
            connector: Arc::clone(&database.opener.connector),
            state: Arc::clone(&checkout.state),
        };
        let cancel = Cancel::new(target, Arc::clone(checkout.context()));
        Self {
            connection: Some(SessionConnection { checkout, cancel }),
            database: Arc::clone(database),
            deadline,
            work: SessionWork::default(),
            checkin: Checkin::default(),
        }
    }

    pub(crate) fn parts(&mut self) -> &mut SessionConnection {
        self.connection.as_mut().expect("a session has its connection until it is dropped")
    }

    pub(crate) fn connection(&mut self) -> &mut Connection {
        &mut self.parts().checkout
    }

    /// Begins a request, unless the deadline has passed.
    pub(crate) fn begin_request(&mut self) -> Result<()> {
        if Instant::now() >= self.deadline.instant() {
            let message = "the deadline passed before all of it was sent to the database";
            return Err(Error::new(ErrorKind::DeadlineExceeded, message));
        }
        self.parts().cancel.begin_request();
        Ok(())
    }

    /// Has the connection closed at the end of the session.
    pub(crate) fn close(&mut self) {
        self.checkin.disposition = self.checkin.disposition.max(Disposition::Close);
    }

    /// Notes that a statement of the caller's transaction has failed.
    pub(crate) fn unit_failed(&mut self) {
        if self.work.unit == UnitState::Open {
            self.work.unit = UnitState::Failed;
        }
    }

    /// Starts a kill of the statement that runs, without waiting for it.
    pub(crate) fn cancel(&mut self) {
        self.parts().cancel.send();
    }

    /// Begins a command with a deadline of its own: waits until a statement that was killed or given up has ended, and
    /// no kill can hit the next one.
    pub(crate) async fn begin_command(&mut self, deadline: Deadline) -> Result<()> {
        self.deadline = deadline;
        let SessionConnection { checkout, cancel } = self.parts();
        if checkout.unanswered() == 0 && !cancel.is_pending() {
            return Ok(());
        }
        let settling = async {
            let drained = cancel.repeat_until(checkout.drain()).await.is_ok();
            drained && cancel.settled().await
        };
        match tokio::time::timeout_at(deadline.instant().into(), settling).await {
            Ok(true) => Ok(()),
            Ok(false) => {
                self.close();
                Err(connection_lost(&self.database.name))
            }
            Err(_elapsed) => Err(self.deadline_passed()),
        }
    }

    /// Returns true if the call must end: its deadline has passed, or somebody has terminated it.
    pub(crate) fn must_end(&self) -> bool {
        let Some(own) = &self.connection else { return true };
        own.checkout.context().is_terminated() || Instant::now() >= self.deadline.instant()
    }

    /// The moment until which the call waits for the end of what it has given up.
    pub(crate) fn last_moment(&self) -> Instant {
        match &self.connection {
            Some(own) if self.must_end() => grace_end(own.checkout.context(), self.deadline),
            _ => self.deadline.instant(),
        }
    }

    /// Returns true if a command can be sent, or will be once the statement that was killed has ended.
    pub(crate) fn takes_commands(&self) -> bool {
        let Some(SessionConnection { checkout, cancel }) = &self.connection else { return false };
        let will_end = checkout.unanswered() == 0 || cancel.was_requested();
        will_end && self.checkin.disposition == Disposition::Reuse && !checkout.has_ended()
    }

    /// Returns true if the answers to what was sent are worth reading: the connection works, and nothing was killed.
    pub(crate) fn reads_on(&self) -> bool {
        let Some(SessionConnection { checkout, cancel }) = &self.connection else { return false };
        let works = self.checkin.disposition == Disposition::Reuse && !checkout.has_ended();
        works && !cancel.was_requested()
    }

    /// Waits until the server has closed the connection.
    pub(crate) fn lost(&self) -> impl Future<Output = Error> + use<> {
        let own = self.connection.as_ref();
        let watch = own.and_then(|own| own.checkout.watch().ok());
        let database = Arc::clone(&self.database);
        async move {
            match watch {
                Some(watch) => watch.closed().await,
                None => std::future::pending().await,
            }
            connection_lost(&database.name)
        }
    }

    /// The error of the attempt that the session was made for, with the retry that it allows.
    pub(crate) fn attempt_error(&self, error: Error) -> AttemptError {
        AttemptError { error, retry: self.work.retry }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        let SessionConnection { checkout, cancel } = &mut connection;
        if self.checkin.changes_definitions {
            self.database.definitions_changed();
        }
        let is_open = checkout.in_transaction() || !checkout.commits_each();
        let is_open = is_open && !PlantedBug::RecycledTransaction.is_planted();
        let is_settled = checkout.unanswered() == 0 && !cancel.is_pending() && !is_open;
        let Checkin { is_touched, has_own_settings, .. } = self.checkin;
        let is_touched = is_touched || has_own_settings || checkout.is_touched();
        let is_touched = is_touched && !PlantedBug::KeptSession.is_planted();
        if self.checkin.disposition == Disposition::FailOver {
            self.database.fail_over(checkout);
            connection.checkout.discard(CloseReason::Failover);
        } else if checkout.has_ended() {
            connection.checkout.discard(CloseReason::Broken);
        } else if self.checkin.disposition == Disposition::Close && is_settled {
            connection.checkout.discard(CloseReason::Dirty);
        } else if is_settled && !is_touched {
            checkout.shrink();
        } else if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let reset = SessionReset {
                connection: Some(connection),
                database: Arc::clone(&self.database),
                closes: self.checkin.disposition == Disposition::Close,
                changes_definitions: self.checkin.changes_definitions,
            };
            drop(runtime.spawn(reset.run()));
        } else {
            connection.checkout.discard(CloseReason::Dirty);
        }
    }
}
