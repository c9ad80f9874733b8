//! The traits of a server that its logins have shown.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;

use parking_lot::Mutex;

use super::capabilities::Capabilities;
use crate::backend::postgres::protocol::statement_names::Route;

/// The traits of one server, each kept once it was shown.
#[derive(Debug, Default)]
pub(crate) struct ServerTraits {
    /// True once it has rejected a login with `options` and accepted one without.
    pub(crate) refuses_options: AtomicBool,
    is_behind_pooler: AtomicBool,
    capabilities: Mutex<Option<Capabilities>>,
}

impl ServerTraits {
    pub(crate) fn route(&self) -> Route {
        if self.is_behind_pooler.load(SeqCst) { Route::Pooler } else { Route::Direct }
    }

    /// Returns its capabilities, as far as they are known.
    pub(crate) fn known_capabilities(&self) -> Option<Capabilities> {
        self.capabilities.lock().clone()
    }

    /// Notes capabilities that a session has shown; returns true the first time.
    pub(crate) fn found_capabilities(&self, shown: &Capabilities) -> bool {
        self.capabilities.lock().replace(shown.clone()).is_none()
    }

    /// Notes that a pooler is between; returns true the first time.
    pub(crate) fn found_pooler(&self) -> bool {
        !self.is_behind_pooler.swap(true, SeqCst)
    }
}
