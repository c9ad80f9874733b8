//! The servers and addresses that lately did not answer, which are tried last.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::server_address::ServerAddress;

/// The time after which an attempt without an answer makes its target slow.
const SLOW_AFTER: Duration = Duration::from_millis(500);
/// The time for which a slow target is tried last, so that not every connection waits for it.
const AVOIDED_FOR: Duration = Duration::from_secs(30);

/// A server, by its index, or one of its addresses.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    Server(usize),
    Address(ServerAddress),
}

/// The targets that did not answer, and since when.
pub(crate) struct SlowServers {
    slow_after: Duration,
    since: Mutex<HashMap<Target, Instant>>,
}

impl SlowServers {
    /// Creates the list; `timeout` is the time for a connection to any of so many servers.
    pub(crate) fn new(timeout: Duration, servers: usize) -> Self {
        let servers = u32::try_from(servers).unwrap_or(u32::MAX).max(1);
        Self { slow_after: SLOW_AFTER.min(timeout / 2 / servers), since: Mutex::default() }
    }

    pub(crate) fn contains(&self, target: &Target) -> bool {
        self.since.lock().get(target).is_some_and(|since| since.elapsed() < AVOIDED_FOR)
    }

    /// Starts an attempt, which may be dropped at any moment.
    pub(crate) fn attempt(&self, target: Target) -> Attempt<'_> {
        Attempt { slow: self, target, began: Instant::now(), answered: false }
    }
}

/// An attempt to connect. A target that has not answered when it is dropped is slow.
pub(crate) struct Attempt<'a> {
    slow: &'a SlowServers,
    target: Target,
    began: Instant,
    pub(crate) answered: bool,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let mut slow = self.slow.since.lock();
        if self.answered {
            slow.remove(&self.target);
        } else if self.began.elapsed() >= self.slow.slow_after {
            slow.retain(|_, since| since.elapsed() < AVOIDED_FOR);
            slow.insert(self.target.clone(), Instant::now());
        }
    }
}
