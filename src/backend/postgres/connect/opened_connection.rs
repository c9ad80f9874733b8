//! A connection as the connector hands it on.

use std::sync::Arc;

use super::capabilities::Capabilities;
use crate::backend::postgres::protocol::protocol_state::ProtocolState;
use crate::config::TargetSession;

pub(crate) struct OpenedConnection {
    pub(crate) client: tokio_postgres::Client,
    pub(crate) driver: tokio::task::JoinHandle<()>,
    pub(crate) state: Arc<ProtocolState>,
    /// The attributes that its session must keep, or the connection is closed.
    pub(crate) session: TargetSession,
    /// The statements that bring its settings back to the baseline after `RESET ALL`.
    pub(crate) settings: String,
    /// The abilities of its server.
    pub(crate) capabilities: Capabilities,
    /// False if it is only taken when no standby, which is preferred, can be reached.
    pub(super) is_preferred: bool,
}
