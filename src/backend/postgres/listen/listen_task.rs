//! The task that keeps the connection on which a database's listeners listen.
//!
//! It opens the connection for the first listener, tells the server of channels that come and go, opens another one when it
//! is lost, and closes it a while after the last listener has left.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::listen_hub::{ChannelChanges, ListenHub};
use crate::backend::connect_breaker::BreakerState;
use crate::backend::postgres::connection::Connection;
use crate::backend::postgres::error::from_statement;
use crate::backend::postgres::protocol::notifications::NotificationSink;
use crate::backend::postgres::session::database_context::DatabaseContext;
use crate::clock::{milliseconds, now};
use crate::error::{Error, ErrorKind, Result};
use crate::resilience::Backoff;

/// The time between two looks at the connection and at the pool, which cost nothing.
const LOOK: Duration = Duration::from_millis(500);

/// The channels of one flight, at most.
const FLIGHT: usize = 500;

/// The SQLSTATE `read_only_sql_transaction`, with which a standby refuses LISTEN.
const STANDBY: &str = "25006";

/// The task, with all that it needs of its database.
pub(super) struct ListenTask {
    pub(super) hub: Arc<ListenHub>,
    pub(super) context: Arc<DatabaseContext>,
    /// The pauses between two attempts to connect.
    pub(super) backoff: Backoff,
    pub(super) connect_timeout: Duration,
}

/// The reason why a connection is not listened on any more.
#[derive(Debug)]
enum Ended {
    /// Nobody listens.
    Idle,
    Lost,
    /// The server does not listen at all.
    Refused(Error),
}

/// Ends the listeners if the task panics.
struct Running<'a> {
    hub: &'a ListenHub,
    has_ended: bool,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.hub.task_failed();
        }
    }
}

impl ListenTask {
    /// Runs until nobody listens.
    pub(super) async fn run(self) {
        let hub = Arc::clone(&self.hub);
        let mut running = Running { hub: &hub, has_ended: false };
        tokio::select! {
            () = self.keep_listening() => {}
            never = hub.sleepers.wake() => match never {},
        }
        hub.sleepers.wake_all();
        running.has_ended = true;
    }

    /// Opens one connection after the other, until nobody listens.
    async fn keep_listening(&self) {
        let hub = &self.hub;
        let mut breaker = self.context.opener.breaker.state();
        let mut pauses = self.backoff.series();
        loop {
            let began = now();
            breaker.borrow_and_update();
            match self.listen().await {
                Ended::Idle => break,
                Ended::Lost => {}
                Ended::Refused(error) => hub.fail_starting(&error),
            }
            if hub.stop_if_idle() {
                break;
            }
            if now().saturating_duration_since(began) >= self.backoff.max {
                pauses = self.backoff.series();
            }
            tokio::select! {
                () = tokio::time::sleep(pauses.next(fastrand::f64())) => {}
                () = closed(&mut breaker) => {}
                // A new listener is not to wait for the end of the pause.
                () = hub.changed.notified() => {}
            }
        }
    }

    /// Opens a connection, and listens on it until it ends.
    async fn listen(&self) -> Ended {
        // A flush that comes while it is being opened counts.
        let generation = self.context.pool.open_generation();
        let connection = match self.open().await {
            Ok(connection) => connection,
            Err(error) => {
                let database = &self.hub.database;
                let reason = error.reason();
                tracing::debug!(database, reason, %error, "no connection to listen on");
                return Ended::Refused(error);
            }
        };
        let opened = now();
        let ended = self.attend(&connection, generation).await;
        connection.abort();
        if matches!(ended, Ended::Idle) {
            // Another task may listen by now.
            return ended;
        }
        let listeners = self.hub.lose();
        if listeners > 0 {
            let database = &self.hub.database;
            let age_ms = milliseconds(now().saturating_duration_since(opened));
            tracing::warn!(
                database,
                listeners,
                age_ms,
                "listening connection lost; opening another one"
            );
        }
        ended
    }

    async fn open(&self) -> Result<Connection> {
        let opener = &self.context.opener;
        if opener.connector.is_behind_pooler() {
            return Err(self.behind_pooler());
        }
        let connection = Box::pin(opener.open_through_breaker()).await?;
        if connection.protocol.is_behind_pooler() {
            return Err(self.behind_pooler());
        }
        self.hub.hear();
        let sink = Arc::clone(&self.hub) as Arc<dyn NotificationSink>;
        connection.protocol.notifications.get_or_init(|| sink);
        Ok(connection)
    }

    /// Listens on a connection until it ends.
    async fn attend(&self, connection: &Connection, generation: Option<u64>) -> Ended {
        let hub = &self.hub;
        let mut listened = HashSet::new();
        // Listeners that come and go do not put it off.
        let mut next_look = now() + LOOK;
        loop {
            if let Err(ended) = self.tell(connection, &mut listened).await {
                return ended;
            }
            let is_idle = hub.is_idle();
            let until = if is_idle { now() + hub.settings.idle_timeout } else { next_look };
            tokio::select! {
                () = connection.protocol.ended() => return Ended::Lost,
                () = hub.changed.notified() => {}
                () = tokio::time::sleep_until(until.into()) => {
                    next_look = now() + LOOK;
                    if is_idle && hub.stop_if_idle() {
                        return Ended::Idle;
                    }
                    if !self.is_current(connection, generation).await {
                        return Ended::Lost;
                    }
                }
            }
        }
    }

    /// Tells the server of the channels that have come and gone.
    async fn tell(
        &self,
        connection: &Connection,
        listened: &mut HashSet<Arc<str>>,
    ) -> Result<(), Ended> {
        let ChannelChanges { listen, unlisten } = self.hub.changes(listened);
        for gone in unlisten.chunks(FLIGHT) {
            self.send(connection, &commands("UNLISTEN", gone)).await?.map_err(Ended::Refused)?;
            for name in gone {
                listened.remove(name);
            }
        }
        for new in listen.chunks(FLIGHT) {
            if self.send(connection, &commands("LISTEN", new)).await?.is_ok() {
                listened.extend(new.iter().cloned());
                self.hub.confirm(new);
            } else {
                self.tell_one_by_one(connection, new, listened).await?;
            }
        }
        Ok(())
    }

    /// As [`Self::tell`], of channels of which the server refuses some.
    async fn tell_one_by_one(
        &self,
        connection: &Connection,
        names: &[Arc<str>],
        listened: &mut HashSet<Arc<str>>,
    ) -> Result<(), Ended> {
        for name in names {
            let one = std::slice::from_ref(name);
            match self.send(connection, &commands("LISTEN", one)).await? {
                Ok(()) => {
                    listened.insert(Arc::clone(name));
                    self.hub.confirm(one);
                }
                Err(error) if error.kind() == ErrorKind::NotPrimary => {
                    return Err(Ended::Refused(error));
                }
                Err(error) => self.hub.fail_channel(name, &error),
            }
        }
        Ok(())
    }

    /// Sends commands; the server refuses all of them or none.
    async fn send(&self, connection: &Connection, commands: &str) -> Result<Result<()>, Ended> {
        let sending = connection.client.batch_execute(commands);
        let Ok(answer) = tokio::time::timeout(self.connect_timeout, sending).await else {
            return Err(Ended::Lost);
        };
        let Err(error) = answer else { return Ok(Ok(())) };
        let Some(reply) = error.as_db_error() else { return Err(Ended::Lost) };
        if connection.client.is_closed() || reply.code().code().starts_with("57P") {
            return Err(Ended::Lost);
        }
        if reply.code().code() == STANDBY {
            return Ok(Err(self.standby()));
        }
        Ok(Err(from_statement(reply, commands, self.context.error_details)))
    }

    /// Returns true if the connection still leads to the right server, which answers.
    async fn is_current(&self, connection: &Connection, generation: Option<u64>) -> bool {
        let Self { hub, context, .. } = self;
        let open = context.pool.open_generation();
        if open.is_some() && generation.is_some() && open != generation {
            return false;
        }
        let interval = hub.settings.check_interval;
        if connection.has_changed_role() {
            context.fail_over(connection);
            return false;
        }
        if interval.is_zero() || hub.silence() < interval {
            return true;
        }
        let check = async {
            connection.client.check_connection().await.ok()?;
            connection.check_changed_role().await.ok()
        };
        match tokio::time::timeout(self.connect_timeout, check).await {
            Ok(Some(false)) => {
                hub.hear();
                true
            }
            Ok(Some(true)) => {
                context.fail_over(connection);
                false
            }
            Ok(None) | Err(_) => false,
        }
    }

    fn behind_pooler(&self) -> Error {
        let database = &self.hub.database;
        let message = format!(
            "database \"{database}\" is behind a pooler, or that cannot be ruled out: its sessions cannot listen"
        );
        let hint = format!("Let databases.{database}.url lead to the server itself.");
        Error::new(ErrorKind::Unsupported, message).with_hint(hint)
    }

    fn standby(&self) -> Error {
        let database = &self.hub.database;
        let message = format!(
            "the server of database \"{database}\" is a standby, on which nobody can listen"
        );
        let hint = format!(
            "Only the primary takes listeners: target_session_attrs=read-write in databases.{database}.url finds it."
        );
        Error::new(ErrorKind::NotPrimary, message).with_hint(hint)
    }
}

/// Waits until the breaker closes.
async fn closed(breaker: &mut watch::Receiver<BreakerState>) {
    while breaker.changed().await.is_ok() {
        if !breaker.borrow_and_update().open {
            return;
        }
    }
    std::future::pending().await
}

/// A command for each channel, whose exact name is quoted.
fn commands(command: &str, names: &[Arc<str>]) -> String {
    let quoted = names.iter().map(|name| format!("{command} \"{}\"", name.replace('"', "\"\"")));
    quoted.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exact_and_cannot_end_their_quotes() {
        let names = ["a", "A b", "x\"; drop table t; --", "é"].map(Arc::from);
        assert_eq!(
            commands("LISTEN", &names),
            "LISTEN \"a\"; LISTEN \"A b\"; LISTEN \"x\"\"; drop table t; --\"; LISTEN \"é\""
        );
    }
}
