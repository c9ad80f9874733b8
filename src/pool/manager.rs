//! The interface between a pool and its kind of connections.

use std::sync::Arc;

use super::checkout_registry::ConnectionActivity;
use crate::error::{Error, Result};

/// Opens and validates connections of one kind.
pub(crate) trait Manager: Send + Sync + 'static {
    type Connection: Send + 'static;

    /// True if a connection is driven by the worker that opened it.
    const BOUND_TO_WORKER: bool;

    /// Checks without I/O that it makes sense to open a connection.
    fn may_connect(&self) -> Result<()> {
        Ok(())
    }

    /// Notes that an operator asked for new connections; none of them was opened yet.
    fn reconnects(&self) {}

    /// Opens a connection. The caller bounds it by `pool.connect_timeout`.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection>> + Send;

    /// Returns true if the server refused a connection because it is at its limit of connections.
    fn is_full(&self, _error: &Error) -> bool {
        false
    }

    /// Returns true if an idle connection may be checked out; no I/O.
    fn is_usable(&self, connection: &Self::Connection) -> bool;

    /// Returns true if a connection that was idle for long answers. The caller bounds its time; when it is
    /// dropped before its end, the connection is closed.
    fn validate(&self, _connection: &mut Self::Connection) -> impl Future<Output = bool> + Send {
        async { true }
    }

    /// The activity of a connection, if it can be observed.
    fn activity(&self, _connection: &Self::Connection) -> Option<Arc<dyn ConnectionActivity>> {
        None
    }
}
