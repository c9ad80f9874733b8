//! The count of open connections, so that a server can wait until they are closed.

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

/// The connections of one database.
#[derive(Debug, Default)]
pub(crate) struct OpenConnections {
    open: watch::Sender<usize>,
    closing: Mutex<()>,
}

impl OpenConnections {
    /// Counts a connection until the result is dropped, after the connection.
    pub(crate) fn enter(&self) -> OpenConnection {
        self.open.send_modify(|open| *open += 1);
        OpenConnection(self.open.clone())
    }

    /// A lock for closing a connection.
    pub(crate) fn closing(&self) -> MutexGuard<'_, ()> {
        self.closing.lock()
    }

    /// Waits until there is no connection.
    pub(crate) async fn none(&self) {
        let mut open = self.open.subscribe();
        // The sender is in `self`, so the channel is open.
        drop(open.wait_for(|open| *open == 0).await);
    }
}

/// One counted connection.
pub(crate) struct OpenConnection(watch::Sender<usize>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn there_is_none_once_each_is_closed() {
        let connections = OpenConnections::default();
        assert!(connections.none().now_or_never().is_some());
        let one = connections.enter();
        let other = connections.enter();
        drop(one);
        assert!(connections.none().now_or_never().is_none());
        drop(other);
        assert!(connections.none().now_or_never().is_some());
    }
}
