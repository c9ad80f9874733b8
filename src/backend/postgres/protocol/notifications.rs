//! The receiver of a connection's notifications.

use std::fmt;

use tokio_postgres::Notification;

/// Takes the notifications of a connection, on the task that drives it.
pub(crate) trait NotificationSink: fmt::Debug + Send + Sync {
    /// Takes one without waiting; returns the number of listeners that it has gone to.
    fn notify(&self, notification: &Notification) -> usize;
}
