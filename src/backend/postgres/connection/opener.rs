//! Opening and validating connections, for the pool and beside it.

use std::sync::Arc;

use super::Connection;
use crate::backend::connect_breaker::ConnectBreaker;
use crate::backend::definitions::StatementRules;
use crate::backend::postgres::connect::Connector;
use crate::backend::postgres::protocol::protocol_state::ProtocolState;
use crate::error::{Error, Result};
use crate::planted_bug::PlantedBug;
use crate::pool::{ConnectionActivity, Manager};

/// The SQLSTATE `too_many_connections`.
const TOO_MANY_CONNECTIONS: &str = "53300";

#[derive(Clone)]
pub(crate) struct Opener {
    pub(crate) breaker: Arc<ConnectBreaker>,
    pub(crate) connector: Arc<Connector>,
    pub(crate) statements: StatementRules,
}

impl Opener {
    /// Opens a connection that is not the pool's, whatever the breaker says.
    pub(crate) async fn open(&self) -> Result<Connection> {
        Ok(Connection::new(self.connector.open().await?, &self.statements))
    }

    /// Opens a connection that is not the pool's, unless the breaker is open.
    pub(crate) async fn open_through_breaker(&self) -> Result<Connection> {
        self.breaker.connect(Box::pin(self.open())).await
    }
}

impl Manager for Opener {
    type Connection = Connection;

    const BOUND_TO_WORKER: bool = true;

    fn may_connect(&self) -> Result<()> {
        self.breaker.may_connect()
    }

    fn reconnects(&self) {
        self.connector.role_settings.forget();
    }

    async fn connect(&self) -> Result<Connection> {
        let mut connection = self.open_through_breaker().await?;
        connection.held = Some(Arc::clone(&self.breaker.pooled));
        Ok(connection)
    }

    fn is_full(&self, error: &Error) -> bool {
        error.report().is_some_and(|report| report.sqlstate == TOO_MANY_CONNECTIONS)
    }

    fn is_usable(&self, connection: &Connection) -> bool {
        // A request without an answer can only be the Close of a statement, which the driver sends when
        // it likes: the connection was idle when it was checked in.
        !connection.client.is_closed()
            && !connection.has_changed_role()
            && (!connection.protocol.in_transaction()
                || PlantedBug::RecycledTransaction.is_planted())
    }

    async fn validate(&self, connection: &mut Connection) -> bool {
        connection.client.check_connection().await.is_ok()
    }

    fn activity(&self, connection: &Connection) -> Option<Arc<dyn ConnectionActivity>> {
        Some(Arc::clone(&connection.protocol) as Arc<dyn ConnectionActivity>)
    }
}

impl ConnectionActivity for ProtocolState {
    fn describe(&self) -> &'static str {
        if self.last_sent() > self.last_answered() {
            "active"
        } else if self.in_transaction() {
            "idle in transaction"
        } else {
            "idle"
        }
    }
}
