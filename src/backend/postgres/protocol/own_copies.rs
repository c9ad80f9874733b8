//! The COPYs that this server runs itself, as the stream under the driver sees them.
//!
//! For a COPY from the client the driver sends Bind, Execute and Sync, then the data, and then another Sync. A server
//! that is in the COPY by then ignores the first one. One that refused the statement answers it, and the second one as
//! well: the driver expects one answer, and takes the other for that of the next request. So the first Sync is left
//! out, and either way there is one answer (protocol 3.0, "COPY Operations").

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;

/// The direction of a COPY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CopyDirection {
    /// From the client.
    In,
    /// To the client.
    Out,
}

/// The COPYs of one connection.
#[derive(Debug, Default)]
pub(crate) struct OwnCopies {
    /// The next request is one.
    is_next: AtomicBool,
    /// The last request that was begun is one.
    runs: AtomicBool,
    /// It was answered by an error.
    failed: AtomicBool,
    /// The next Sync behind a Bind is left out: for what is sent, and for what is counted.
    is_sync_dropped: AtomicBool,
    is_sync_ignored: AtomicBool,
}

impl OwnCopies {
    /// Announces that the next request is a COPY. To be called right before the driver is given it.
    pub(crate) fn announce(&self, direction: CopyDirection) {
        self.runs.store(false, SeqCst);
        self.is_next.store(true, SeqCst);
        let is_in = direction == CopyDirection::In;
        self.is_sync_dropped.store(is_in, SeqCst);
        self.is_sync_ignored.store(is_in, SeqCst);
    }

    /// Returns true if the server has answered the COPY by an error: the rest of its data is for nothing.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(SeqCst)
    }

    /// Returns true if the last request is one.
    pub(super) fn is_running(&self) -> bool {
        self.runs.load(SeqCst)
    }

    pub(super) fn begin_request(&self) {
        self.runs.store(self.is_next.swap(false, SeqCst), SeqCst);
        self.failed.store(false, SeqCst);
    }

    /// Notes an error of the server's.
    pub(super) fn error_received(&self) {
        if self.is_running() {
            self.failed.store(true, SeqCst);
        }
    }

    /// Returns true if a Sync is still to be left out of what is sent.
    pub(super) fn drops_sync(&self) -> bool {
        self.is_sync_dropped.load(SeqCst)
    }

    /// Returns true, once, for the Sync that is left out of what is sent.
    pub(super) fn take_dropped_sync(&self) -> bool {
        self.is_sync_dropped.swap(false, SeqCst)
    }

    /// Returns true, once, for the Sync that does not end a request.
    pub(super) fn take_ignored_sync(&self) -> bool {
        self.is_running() && self.is_sync_ignored.swap(false, SeqCst)
    }
}
