//! The connection of an operator's command to PostgreSQL.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio_postgres::{Error as DriverError, SimpleQueryRow};

use super::connect::Connector;
use super::connection::Connection;
use super::connection::cancel_target::CancelTarget;
use super::connection::opener::Opener;
use super::error::from_statement;
use super::protocol::simple_query::rows;
use crate::backend::definitions::StatementRules;
use crate::backend::resolution::connection_lost;
use crate::backend::{AdminConnection, AdminLogin, AdminRows, ConnectBreaker, Interruption};
use crate::config::{Database, ErrorDetails, PostgresTarget};
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::sql::Dialect;

/// The advisory lock of commands that change definitions: "rowgatem" in bytes.
const LOCK: &str = "SELECT pg_catalog.pg_try_advisory_lock(8245940728639022445)";

/// A connection to PostgreSQL as the owner of a database.
pub(crate) struct PostgresAdmin {
    name: String,
    connector: Arc<Connector>,
    connection: Connection,
    interruption: Interruption,
}

impl PostgresAdmin {
    /// Connects to the target; its driver runs on the calling runtime.
    pub(crate) async fn open(
        name: &str,
        config: &Database,
        target: &PostgresTarget,
        interruption: &Interruption,
    ) -> Result<Self> {
        let opener = Opener {
            connector: Arc::new(Connector::new(name, config, target, Vec::new())?),
            breaker: ConnectBreaker::new(name, config),
            statements: StatementRules::new(config),
        };
        let mut interruption = interruption.clone();
        let connection = interruption.or_fail(opener.open()).await?;
        Ok(Self { name: name.to_owned(), connector: opener.connector, connection, interruption })
    }

    fn failed(name: &str, error: DriverError, sql: &str) -> Error {
        match error.as_db_error() {
            Some(reply) => from_statement(reply, sql, ErrorDetails::Full),
            None => connection_lost(name).with_outcome(Outcome::Unknown).with_cause(error),
        }
    }
}

impl AdminConnection for PostgresAdmin {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    fn server(&self) -> String {
        self.connection.capabilities.engine.label()
    }

    fn login(&self) -> AdminLogin {
        self.connector.login()
    }

    fn run<'a>(&'a mut self, sql: &'a str) -> BoxFuture<'a, Result<AdminRows>> {
        Box::pin(async move {
            let Self { name, connector, connection, interruption } = self;
            let target = CancelTarget {
                connector: Arc::clone(connector),
                protocol: Arc::clone(&connection.protocol),
            };
            let statement = async {
                let answer = connection.client.simple_query(sql).await;
                answer.map_err(|error| Self::failed(name, error, sql))
            };
            let messages = interruption.watch(target, statement).await?;
            Ok(rows(&messages).map(values).collect())
        })
    }

    fn try_lock(&mut self) -> BoxFuture<'_, Result<bool>> {
        Box::pin(async move {
            if self.connection.protocol.is_behind_pooler() {
                let message = format!(
                    "database \"{}\" is behind a pooler, where no lock of a session holds",
                    self.name
                );
                return Err(Error::new(ErrorKind::FailedPrecondition, message).with_hint(
                    "Set databases.NAME.admin_url to the server itself, as it is without the pooler.",
                ));
            }
            let rows = self.run(LOCK).await?;
            Ok(rows.first().is_some_and(|row| row == &[Some("t".to_owned())]))
        })
    }
}

fn values(row: &SimpleQueryRow) -> Vec<Option<String>> {
    (0..row.len()).map(|index| row.get(index).map(str::to_owned)).collect()
}
