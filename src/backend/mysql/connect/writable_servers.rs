//! The servers that took writes when a connection was last opened to them.
//!
//! A server that takes no writes any more is found out by whoever opens the next connection, which then leads elsewhere. Those
//! that were opened to it before would be used again.

use std::collections::HashSet;

use parking_lot::Mutex;

use crate::backend::network::ServerAddress;

#[derive(Debug, Default)]
pub(crate) struct WritableServers(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    writable: HashSet<ServerAddress>,
    /// One that takes no writes any more, of which nobody was told yet.
    changed: Option<ServerAddress>,
}

impl WritableServers {
    /// Notes what a server has said of itself.
    pub(super) fn note(&self, address: &ServerAddress, takes_writes: bool) {
        let mut state = self.0.lock();
        if takes_writes {
            state.writable.insert(address.clone());
        } else if state.writable.remove(address) {
            state.changed = Some(address.clone());
        }
    }

    /// Forgets a server whose connections are being closed.
    pub(crate) fn forget(&self, address: &ServerAddress) {
        self.0.lock().writable.remove(address);
    }

    /// Returns a server that takes no writes any more, once.
    pub(crate) fn take_changed(&self) -> Option<ServerAddress> {
        self.0.lock().changed.take()
    }
}
