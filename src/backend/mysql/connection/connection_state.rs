//! The state of a connection, for those who do not hold it.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Instant;

use crate::backend::network::ServerAddress;
use crate::pool::ConnectionActivity;

#[derive(Debug)]
pub(crate) struct ConnectionState {
    /// The number by which the server knows it.
    pub(crate) thread_id: u64,
    /// The index of its server among those of the URL.
    pub(crate) server: usize,
    /// The address that it was opened to.
    pub(crate) address: ServerAddress,
    /// The time of its login.
    pub(crate) since: Instant,
    /// The commands that were sent and answered.
    pub(crate) sent: AtomicU64,
    pub(crate) answered: AtomicU64,
    pub(crate) in_transaction: AtomicBool,
}

impl ConnectionState {
    pub(crate) fn new(thread_id: u64, server: usize, address: ServerAddress) -> Self {
        Self {
            thread_id,
            server,
            address,
            since: Instant::now(),
            sent: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            in_transaction: AtomicBool::new(false),
        }
    }
}

impl ConnectionActivity for ConnectionState {
    fn describe(&self) -> &'static str {
        if self.sent.load(Relaxed) > self.answered.load(Relaxed) {
            "active"
        } else if self.in_transaction.load(Relaxed) {
            "idle in transaction"
        } else {
            "idle"
        }
    }
}
