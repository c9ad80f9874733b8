//! Which connections there are, so that a server that ends can wait until they are closed.

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

/// The connections of one database.
#[derive(Debug, Default)]
pub(crate) struct OpenConnections {
    open: watch::Sender<usize>,
    closing: Mutex<()>,
}

impl OpenConnections {
    /// Counts a connection until what is returned is dropped, after the connection.
    pub(crate) fn enter(&self) -> Present {
        self.open.send_modify(|open| *open += 1);
        Present(self.open.clone())
    }

    /// Held while a connection closes.
    pub(crate) fn closing(&self) -> MutexGuard<'_, ()> {
        self.closing.lock()
    }

    /// Returns once there is no connection.
    pub(crate) async fn none(&self) {
        let mut open = self.open.subscribe();
        // The sender is in `self`, so it cannot be gone.
        drop(open.wait_for(|open| *open == 0).await);
    }
}

/// A connection that is there.
pub(crate) struct Present(watch::Sender<usize>);

impl Drop for Present {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn there_is_none_once_each_has_gone() {
        let presence = OpenConnections::default();
        assert!(presence.none().now_or_never().is_some());
        let (one, other) = (presence.enter(), presence.enter());
        drop(one);
        assert!(presence.none().now_or_never().is_none());
        drop(other);
        assert!(presence.none().now_or_never().is_some());
    }
}
