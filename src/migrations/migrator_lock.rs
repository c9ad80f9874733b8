//! The lock of the one migrator that may work on a database.

use std::time::{Duration, Instant};

use super::finding::Finding;
use super::migration_error::MigrationError;
use crate::backend::AdminConnection;
use crate::error::{Error, ErrorKind, Result};

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(200);

/// The lock, held by a connection of its own: a connection that waits for a lock within the database has a snapshot, for the end of
/// which CREATE INDEX CONCURRENTLY waits. So it is polled.
pub(crate) struct MigratorLock(Box<dyn AdminConnection>);

impl MigratorLock {
    /// Takes the lock, and waits for it so long; calls `waiting` once if it must.
    pub(crate) async fn take(
        mut connection: Box<dyn AdminConnection>,
        wait: Duration,
        waiting: impl FnOnce(),
    ) -> Result<Self, MigrationError> {
        let end = Instant::now() + wait;
        let mut waiting = Some(waiting);
        while !connection.try_lock().await? {
            if Instant::now() >= end {
                let wait = humantime::format_duration(wait);
                let why = format!("another migrator has worked on it for {wait}");
                let instead = "Look at what it does, or wait for longer with --wait.";
                return Err(MigrationError::Refused(vec![Finding::new("database", why, instead)]));
            }
            if let Some(waiting) = waiting.take() {
                waiting();
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(Self(connection))
    }

    /// The connection that has the lock: nothing that a file does reaches it.
    pub(crate) fn connection(&mut self) -> &mut dyn AdminConnection {
        &mut *self.0
    }

    /// Checks that the lock is still held: it is lost with its connection.
    pub(crate) async fn check(&mut self) -> Result<()> {
        self.0.run("SELECT 1").await.map(drop).map_err(|error| {
            if error.kind() == ErrorKind::Cancelled {
                return error;
            }
            let message = "the connection that holds the lock of migrators was lost";
            Error::new(ErrorKind::ConnectionLost, message).with_cause(error)
        })
    }
}
