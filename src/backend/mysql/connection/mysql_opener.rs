//! Opening and validating connections, for the pool and beside it.

use std::sync::Arc;

use super::Connection;
use super::connection_state::ConnectionState;
use crate::backend::connect_breaker::ConnectBreaker;
use crate::backend::definitions::StatementRules;
use crate::backend::mysql::connect::{Connector, TOO_MANY_CONNECTIONS};
use crate::backend::mysql::protocol::commands::Command;
use crate::error::{Error, Result};
use crate::pool::{ConnectionActivity, Manager};

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

    // Its socket is driven by the runtime of the worker that opened it.
    const BOUND_TO_WORKER: bool = true;

    fn may_connect(&self) -> Result<()> {
        self.breaker.may_connect()
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
        connection.is_quiet() && !connection.in_transaction()
    }

    async fn validate(&self, connection: &mut Connection) -> bool {
        connection.queue_own(Command::Ping);
        matches!(connection.end_of_command().await, Ok(Ok(_)))
    }

    fn activity(&self, connection: &Connection) -> Option<Arc<dyn ConnectionActivity>> {
        let state: Arc<ConnectionState> = Arc::clone(&connection.state);
        Some(state)
    }
}
