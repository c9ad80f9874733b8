//! Who calls.

use std::sync::Arc;
use std::time::Duration;

use crate::pool::CallContext;
use crate::telemetry::RpcCall;

/// Who calls, and how much time it gives.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// Its identity when it has one, else its address without the port: callers are told apart by it.
    pub name: String,
    /// Its call, as telemetry has it.
    pub call: Arc<RpcCall>,
    /// The time that its gRPC timeout leaves; `None` when it sent none.
    pub time_left: Option<Duration>,
}

impl From<Option<Duration>> for Caller {
    /// A caller of whom nothing else is known.
    fn from(time_left: Option<Duration>) -> Self {
        Self { name: String::new(), call: Arc::default(), time_left }
    }
}

impl Caller {
    /// What the pool is told of one call.
    pub(crate) fn context(
        &self,
        database: &Arc<str>,
        rpc: &'static str,
        tag: &str,
    ) -> Arc<CallContext> {
        self.call.set_labels(database, &self.name, tag);
        CallContext::new(Arc::clone(&self.call), self.name.clone(), rpc, tag.to_owned())
    }
}
