//! The connection whose statement is killed.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use futures_util::future::BoxFuture;

use super::connection_state::ConnectionState;
use crate::backend::cancel::Cancellable;
use crate::backend::mysql::connect::Connector;
use crate::backend::mysql::connect::connector::Kill;

/// A connection, and the connector that leads to its server.
pub(crate) struct KillTarget {
    pub(crate) connector: Arc<Connector>,
    pub(crate) state: Arc<ConnectionState>,
}

impl Cancellable for KillTarget {
    fn cancel(&self) -> BoxFuture<'static, bool> {
        let connector = Arc::clone(&self.connector);
        let state = Arc::clone(&self.state);
        Box::pin(async move { connector.kill(&state, Kill::Query).await })
    }

    fn last_answered(&self) -> u64 {
        self.state.answered.load(Relaxed)
    }
}
