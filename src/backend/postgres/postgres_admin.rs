//! The connection of an operator's command to PostgreSQL.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio_postgres::{Error as DriverError, SimpleQueryRow};

use super::connect::Connector;
use super::connection::Connection;
use super::connection::cancel_target::CancelTarget;
use super::connection::opener::Opener;
use super::error::from_statement;
use super::protocol::kept_notices::KeptNotices;
use super::protocol::simple_query::rows;
use crate::backend::definitions::StatementRules;
use crate::backend::resolution::connection_lost;
use crate::backend::{
    AdminConnection, AdminLogin, AdminRows, ConnectBreaker, Interruption, StatementFailure,
};
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
    notices: Arc<KeptNotices>,
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
        let protocol = &connection.protocol;
        // Some types have no binary form; the rows of single statements are dropped.
        protocol.text_results.request_unnamed();
        let notices = Arc::clone(protocol.notices.get_or_init(Arc::default));
        let connector = opener.connector;
        Ok(Self { name: name.to_owned(), connector, connection, interruption, notices })
    }

    fn cancel_target(&self) -> CancelTarget {
        CancelTarget {
            connector: Arc::clone(&self.connector),
            protocol: Arc::clone(&self.connection.protocol),
        }
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
            let target = self.cancel_target();
            let Self { name, connection, interruption, .. } = self;
            let statement = async {
                let answer = connection.client.simple_query(sql).await;
                answer.map_err(|error| Self::failed(name, error, sql))
            };
            let messages = interruption.watch(target, statement).await?;
            Ok(rows(&messages).map(values).collect())
        })
    }

    fn run_one<'a>(&'a mut self, sql: &'a str) -> BoxFuture<'a, Result<(), StatementFailure>> {
        Box::pin(async move {
            let target = self.cancel_target();
            let Self { name, connection, interruption, .. } = self;
            let protocol = &connection.protocol;
            protocol.record_requests();
            // The extended protocol takes one statement.
            let statement = async {
                let answer = connection.client.execute_typed(sql, &[]).await;
                answer.map(drop).map_err(|error| Self::failed(name, error, sql))
            };
            let ran = interruption.watch(target, statement).await;
            let sent = protocol.take_recorded();
            ran.map_err(|error| {
                let was_bound = sent.first().is_none_or(|exchange| exchange.bound);
                let is_before_run = error.report().is_some() && !was_bound;
                StatementFailure { error, is_before_run }
            })
        })
    }

    fn take_remarks(&mut self) -> Vec<String> {
        self.notices.take()
    }

    fn in_transaction(&self) -> bool {
        self.connection.protocol.in_transaction()
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
