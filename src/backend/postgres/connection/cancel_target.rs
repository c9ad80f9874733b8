//! The connection that a cancel request is for.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::backend::cancel::Cancellable;
use crate::backend::postgres::connect::Connector;
use crate::backend::postgres::protocol::protocol_state::ProtocolState;

/// A connection, and the connector that leads to its server.
pub(crate) struct CancelTarget {
    pub(crate) connector: Arc<Connector>,
    pub(crate) protocol: Arc<ProtocolState>,
}

impl Cancellable for CancelTarget {
    fn cancel(&self) -> BoxFuture<'static, bool> {
        let connector = Arc::clone(&self.connector);
        let protocol = Arc::clone(&self.protocol);
        Box::pin(async move { connector.cancel(&protocol).await.is_ok() })
    }

    fn last_answered(&self) -> u64 {
        self.protocol.last_answered()
    }
}
