//! Resets a connection before the next caller gets it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::held_connection::SessionConnection;
use super::mysql_context::MysqlContext;
use crate::backend::mysql::connect::server_questions::ROLE;
use crate::backend::mysql::connection::connection_state::ConnectionState;
use crate::backend::mysql::protocol::commands::Command;
use crate::pool::CloseReason;

/// The time a reset may take before the connection is closed instead.
const RESET_LIMIT: Duration = Duration::from_secs(5);
/// The time a killed statement may take to end, before the connection is killed.
const KILL_LIMIT: Duration = Duration::from_millis(600);
/// The time for which the end of a killed connection is waited for, and the pause between two looks.
const END_LIMIT: Duration = Duration::from_secs(60);
const END_PAUSE: Duration = Duration::from_millis(100);

/// A connection on its way back to the pool.
pub(crate) struct SessionReset {
    pub(crate) connection: Option<SessionConnection>,
    pub(crate) database: Arc<MysqlContext>,
    pub(crate) closes: bool,
    pub(crate) changes_definitions: bool,
}

impl SessionReset {
    /// Resets the connection and checks it in, or kills and closes it.
    pub(crate) async fn run(mut self) {
        let was_busy = self.connection.as_ref().is_some_and(|own| own.checkout.unanswered() > 0);
        let stopped = if was_busy { self.stop().await } else { self.settle().await };
        if was_busy && self.changes_definitions {
            // The statement had not ended when the session did.
            self.database.definitions_changed();
        }
        if !stopped {
            return self.end_connection().await;
        }
        if self.closes {
            return;
        }
        let reset = tokio::time::timeout(RESET_LIMIT, self.reset()).await;
        if let Ok(Some(())) = reset
            && let Some(SessionConnection { checkout, .. }) = self.connection.take()
        {
            self.database.resets.fetch_add(1, Relaxed);
            drop(checkout);
        }
    }

    /// Kills the statement that runs and reads its answer; returns true once that has come. A commit is only waited
    /// for.
    async fn stop(&mut self) -> bool {
        let Some(SessionConnection { checkout, cancel }) = &mut self.connection else {
            return false;
        };
        cancel.send();
        let limit = if cancel.is_pending() { KILL_LIMIT } else { RESET_LIMIT };
        let drained = cancel.repeat_until(checkout.drain());
        let is_drained = matches!(tokio::time::timeout(limit, drained).await, Ok(Ok(())));
        is_drained && cancel.settled().await
    }

    async fn settle(&mut self) -> bool {
        let Some(SessionConnection { cancel, .. }) = &mut self.connection else { return false };
        cancel.settled().await
    }

    /// Ends a connection whose statement does not: the server would run it on after the end of its socket.
    async fn end_connection(&mut self) {
        let Some(SessionConnection { checkout, .. }) = self.connection.take() else { return };
        let state = Arc::clone(&checkout.state);
        let reason = if checkout.has_ended() { CloseReason::Broken } else { CloseReason::Dirty };
        checkout.discard(reason);
        self.database.end_thread(&state).await;
    }

    /// Resets the session; `None` if it cannot be used any more.
    async fn reset(&mut self) -> Option<()> {
        let SessionConnection { checkout, .. } = self.connection.as_mut()?;
        if checkout.changes.schema && checkout.schema.is_none() {
            // A reset keeps the schema, and no command leaves it.
            return None;
        }
        checkout.queue_own(Command::ResetConnection);
        let mut answers = 2;
        if let Some(schema) = checkout.schema.clone() {
            checkout.queue_own(Command::InitDb(&schema));
            answers += 1;
        }
        let baseline = Arc::clone(&checkout.baseline);
        checkout.queue_own(Command::Query(&baseline));
        checkout.queue_own(Command::Query(ROLE));
        for _ in 0..answers {
            checkout.end_of_command().await.ok()?.ok()?;
        }
        if checkout.first_answer().await? != checkout.server.role {
            // A reset keeps the role, too.
            return None;
        }
        checkout.was_reset();
        checkout.shrink();
        (checkout.commits_each() && !checkout.in_transaction()).then_some(())
    }
}

impl MysqlContext {
    /// Kills a connection until the server does not know it any more; returns true then. What it ran has ended.
    async fn end_thread(&self, state: &ConnectionState) -> bool {
        let ending = async {
            while !self.opener.connector.has_ended(state).await {
                tokio::time::sleep(END_PAUSE).await;
            }
        };
        tokio::time::timeout(END_LIMIT, ending).await.is_ok()
    }
}

impl Drop for SessionReset {
    fn drop(&mut self) {
        if let Some(SessionConnection { checkout, .. }) = self.connection.take() {
            checkout.discard(CloseReason::Dirty);
        }
    }
}
