//! The caller of a call.

use std::sync::Arc;
use std::time::Duration;

use crate::pool::CallContext;
use crate::telemetry::RpcCall;

/// The caller of a call, and the time that it allows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Caller {
    /// Its identity when it has one, otherwise its address without the port. Callers are distinguished by it.
    pub(crate) name: String,
    /// Its call, as telemetry knows it.
    pub(crate) call: Arc<RpcCall>,
    /// The rest of its gRPC timeout; `None` when it sent none.
    pub(crate) time_left: Option<Duration>,
}

impl Caller {
    /// Makes the context of the call for the pool and telemetry.
    pub(super) fn context(
        &self,
        database: &Arc<str>,
        rpc: &'static str,
        tag: &str,
    ) -> Arc<CallContext> {
        self.call.set_labels(database, &self.name, tag);
        CallContext::new(Arc::clone(&self.call), self.name.clone(), rpc, tag.to_owned())
    }
}
