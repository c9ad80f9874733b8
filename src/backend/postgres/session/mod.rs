//! A connection at work for one caller, whose state the next caller never sees.
//!
//! At its end a connection that is known to be idle and clean goes back to the pool. Any other is reset by a
//! task of its own, off the caller's path, and closed if that fails.

mod checkin;
pub(crate) mod claim_keys;
pub(crate) mod custom_settings;
pub(crate) mod database_context;
pub(crate) mod effects;
mod error_mapping;
pub(crate) mod failure;
mod in_flight;
mod origins;
mod request;
pub(crate) mod reset;
pub(crate) mod session_copies;
pub(crate) mod work;

use std::sync::Arc;
use std::time::Instant;

use super::connect::capabilities::Ability;
use super::connection::Connection;
use super::connection::cancel_target::CancelTarget;
use super::connection::opener::Opener;
use super::protocol::requests::RequestKind;
use crate::backend::attempt::AttemptError;
use crate::backend::cancel::{Cancel, grace_end};
use crate::backend::resolution::connection_lost;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::planted_bug::PlantedBug;
use crate::pool::{Checkout, CloseReason};
use crate::sql::CustomSettings;
use checkin::{Checkin, Disposition};
use database_context::DatabaseContext;
use effects::SessionEffect;
use in_flight::InFlight;
use reset::{RESET_LIMIT, SessionConnection, SessionReset};
use work::{PlanOrigin, SessionWork};

/// A connection at work for one caller.
pub(crate) struct Session {
    /// `None` only while the session is dropped.
    connection: Option<SessionConnection>,
    pub(crate) database: Arc<DatabaseContext>,
    pub(crate) deadline: Deadline,
    in_flight: InFlight,
    pub(crate) work: SessionWork,
    pub(crate) checkin: Checkin,
    /// The custom settings that its statements may have set.
    custom_settings: CustomSettings,
}

impl Session {
    pub(crate) fn new(
        checkout: Checkout<Opener>,
        database: &Arc<DatabaseContext>,
        deadline: Deadline,
    ) -> Self {
        let connector = Arc::clone(&database.opener.connector);
        let protocol = Arc::clone(&checkout.protocol);
        let target = CancelTarget { connector, protocol };
        let cancel = Cancel::new(target, Arc::clone(checkout.context()));
        // The notice may be of a caller who did not wait for the answer.
        checkout.protocol.take_unconfirmed();
        Self {
            connection: Some(SessionConnection { checkout, cancel }),
            database: Arc::clone(database),
            deadline,
            in_flight: InFlight::default(),
            work: SessionWork::default(),
            checkin: Checkin::default(),
            custom_settings: CustomSettings::None,
        }
    }

    fn parts(&mut self) -> &mut SessionConnection {
        self.connection.as_mut().expect("a session has its connection until it is dropped")
    }

    pub(crate) fn connection(&mut self) -> &mut Connection {
        &mut self.parts().checkout
    }

    /// Returns true if the server has an ability.
    pub(crate) fn can(&mut self, ability: Ability) -> bool {
        self.connection().capabilities.has(ability)
    }

    /// Has later statements prepared anew: one ran that changes the meaning of others.
    pub(crate) fn redefine(&mut self) {
        self.checkin.redefined = true;
        self.prepare_anew();
    }

    fn prepare_anew(&mut self) {
        if self.checkin.changes_definitions {
            self.connection().forget_definitions();
        } else {
            self.connection().forget_statements();
        }
    }

    /// Has later statements prepared anew if one that changed their meaning was rolled back.
    pub(crate) fn rolled_back_to_savepoint(&mut self) {
        if self.checkin.redefined {
            self.prepare_anew();
        }
    }

    /// Begins a request, unless the deadline has passed: a cancel may have been sent by then, and no other
    /// would stop it.
    fn begin(&mut self, requests: Vec<RequestKind>) -> Result<()> {
        if Instant::now() >= self.deadline.instant() {
            let message = "the deadline passed before all of it was sent to the database";
            return Err(Error::new(ErrorKind::DeadlineExceeded, message));
        }
        self.in_flight.begin(requests);
        self.parts().cancel.begin_request();
        Ok(())
    }

    /// Has the connection closed at the end of the session.
    pub(crate) fn close(&mut self) {
        self.checkin.at_least(Disposition::Close);
    }

    /// Starts a cancel of the statement that runs, without waiting for it.
    pub(crate) fn cancel(&mut self) {
        self.parts().cancel.send();
    }

    /// Starts a cancel of what runs, if something does.
    pub(crate) fn cancel_if_busy(&mut self) {
        if self.in_flight.is_busy() {
            self.cancel();
        }
    }

    /// Begins a command with a deadline of its own: waits until a cancelled statement has ended, and no
    /// cancel can hit the next request.
    pub(crate) async fn begin_command(&mut self, deadline: Deadline) -> Result<()> {
        self.deadline = deadline;
        self.work.plan_origin = PlanOrigin::New;
        let is_busy = self.in_flight.is_busy();
        let SessionConnection { checkout, cancel } = self.parts();
        let was_cancelled = cancel.is_pending() || (is_busy && cancel.was_requested());
        if !was_cancelled {
            return Ok(());
        }
        let settling = async {
            cancel.repeat_until(checkout.protocol.quiesce()).await;
            // A request that was given up before the driver had sent it may still be queued, and this one
            // is behind it.
            cancel.settled().await && checkout.client.check_connection().await.is_ok()
        };
        match tokio::time::timeout_at(deadline.instant().into(), settling).await {
            Ok(true) => {
                self.in_flight.answered();
                Ok(())
            }
            Ok(false) => {
                self.checkin.at_least(Disposition::Close);
                Err(connection_lost(&self.database.name))
            }
            Err(_elapsed) => Err(self.deadline_passed()),
        }
    }

    /// Waits until the connection is lost, however long the session is used meanwhile.
    pub(crate) fn lost(&self) -> impl Future<Output = Error> + use<> {
        let protocol = self.connection.as_ref().map(|own| Arc::clone(&own.checkout.protocol));
        let database = Arc::clone(&self.database);
        async move {
            if let Some(protocol) = protocol {
                protocol.ended().await;
            }
            connection_lost(&database.name)
        }
    }

    /// Returns true if a transaction is open, aborted or not, and can take a command.
    pub(crate) fn is_in_transaction(&self) -> bool {
        let Some(SessionConnection { checkout, cancel }) = &self.connection else { return false };
        // A cancelled statement will have ended when the next command is sent.
        let takes_command = if self.in_flight.is_busy() {
            cancel.was_requested()
        } else {
            checkout.protocol.in_transaction()
        };
        takes_command
            && self.checkin.disposition == Disposition::Reuse
            && !checkout.client.is_closed()
    }

    /// Rolls back an open transaction, and waits for it.
    pub(crate) async fn roll_back(self) {
        self.roll_back_by(Deadline::at(Instant::now() + RESET_LIMIT)).await;
    }

    async fn roll_back_by(mut self, deadline: Deadline) {
        if self.is_in_transaction() && self.begin_command(deadline).await.is_ok() {
            // After a failure the connection is reset or closed when the session is dropped.
            drop(self.run("ROLLBACK").await);
        }
    }

    /// Rolls back within the deadline, or soon if the call was terminated. Once the deadline has passed, or if that is not
    /// enough, the reset of the connection does it.
    pub(crate) async fn roll_back_in_time(self) {
        let Some(own) = &self.connection else { return };
        let context = own.checkout.context();
        let now = Instant::now();
        let end = self.deadline.instant();
        if now < end {
            let end = if context.is_terminated() { grace_end(context, self.deadline) } else { end };
            self.roll_back_by(Deadline::at(end.min(now + RESET_LIMIT))).await;
        }
    }

    /// Rolls back after the error of an attempt.
    pub(crate) async fn abort(self, error: Error) -> AttemptError {
        let failed = self.attempt_error(error);
        self.roll_back_in_time().await;
        failed
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
        let Checkin { disposition, effect, redefined, changes_definitions } = self.checkin;
        let is_idle = checkout.protocol.is_idle() || PlantedBug::RecycledTransaction.is_planted();
        let is_settled = !self.in_flight.is_busy() && !cancel.is_pending() && is_idle;
        let is_clean = is_settled && effect < SessionEffect::Anything;
        if changes_definitions {
            self.database.definitions_changed();
        }
        if redefined {
            // What was prepared meanwhile has the meaning that it had for this caller.
            checkout.forget_statements();
        }
        if disposition == Disposition::Close || checkout.protocol.take_deallocated() {
            connection.checkout.discard(CloseReason::Dirty);
        } else if checkout.client.is_closed() {
            connection.checkout.discard(CloseReason::Broken);
        } else if is_clean && checkout.has_changed_role() {
            // No statement that ran can have made the server report this.
            self.database.fail_over(checkout);
            connection.checkout.discard(CloseReason::Failover);
        } else if is_clean && disposition == Disposition::Reuse {
            if effect == SessionEffect::Sequences {
                checkout.has_drawn();
            }
        } else if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let reset = SessionReset {
                connection: Some(connection),
                database: Arc::clone(&self.database),
                is_busy: self.in_flight.is_busy(),
                checkin: self.checkin,
                custom_settings: std::mem::take(&mut self.custom_settings),
            };
            drop(runtime.spawn(reset.run()));
        } else {
            connection.checkout.discard(CloseReason::Dirty);
        }
    }
}
