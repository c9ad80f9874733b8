//! The connection of an operator's command to MySQL or MariaDB.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::connect::Connector;
use super::connect::connector::text_values;
use super::connection::Connection;
use super::connection::kill_target::KillTarget;
use super::connection::mysql_opener::Opener;
use super::error::{ErrorContext, Phase, RefusedWrite, from_server_error, is_before_change};
use super::protocol::answers::Event;
use super::protocol::commands::Command;
use super::protocol::packet_stream::StreamFailure;
use super::protocol::server_error::ServerError;
use crate::backend::definitions::StatementRules;
use crate::backend::resolution::connection_lost;
use crate::backend::{
    AdminConnection, AdminLogin, AdminRows, ConnectBreaker, Interruption, StatementFailure,
};
use crate::config::{Database, ErrorDetails, MysqlTarget};
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::sql::{Definition, Dialect, MysqlStatement};
use crate::telemetry::DatabaseTelemetry;

/// The lock of commands that change definitions. Its name has at most 64 characters, and is one for the whole server.
const LOCK: &str = "SELECT GET_LOCK(CONCAT('rowgate migrate ', MD5(DATABASE())), 0)";

/// The bytes of a packet beside the text in it.
const PACKET_OVERHEAD: usize = 1024;

/// Tells the warnings of the last statement; the server keeps `max_error_count` of them.
const WARNINGS: &str = "SHOW WARNINGS";

/// A connection to MySQL or MariaDB as the owner of a database.
pub(crate) struct MysqlAdmin {
    name: String,
    connector: Arc<Connector>,
    connection: Connection,
    interruption: Interruption,
    remarks: Vec<String>,
}

impl MysqlAdmin {
    /// Connects to the target; it is driven by the calling runtime.
    pub(crate) async fn open(
        telemetry: &Arc<DatabaseTelemetry>,
        config: &Database,
        target: &MysqlTarget,
        interruption: &Interruption,
    ) -> Result<Self> {
        let name = telemetry.name().to_owned();
        let opener = Opener {
            connector: Arc::new(Connector::new(telemetry, config, target)?),
            breaker: ConnectBreaker::new(&name, config),
            statements: StatementRules::new(config),
        };
        let mut interruption = interruption.clone();
        let connection = interruption.or_fail(opener.open()).await?;
        let connector = opener.connector;
        Ok(Self { name, connector, connection, interruption, remarks: Vec::new() })
    }

    /// Runs a statement; returns its rows, and the number of warnings.
    async fn run_text(&mut self, sql: &str) -> Result<(AdminRows, u16)> {
        self.check_size(sql)?;
        let Self { name, connector, connection, interruption, .. } = self;
        let target =
            KillTarget { connector: Arc::clone(connector), state: Arc::clone(&connection.state) };
        let statement = async {
            match query(connection, sql).await {
                Ok(Ok(_)) if connection.in_transaction() || !connection.commits_each() => {
                    Err(left_open())
                }
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(error)) => Err(refused(&error, sql)),
                Err(failure) => Err(lost(name, failure)),
            }
        };
        interruption.watch(target, statement).await
    }

    fn check_size(&self, sql: &str) -> Result<()> {
        let limit = self.connection.server.max_allowed_packet;
        if sql.len().saturating_add(PACKET_OVERHEAD) <= limit {
            return Ok(());
        }
        let message =
            format!("the statement is larger than the {limit} bytes of max_allowed_packet");
        Err(Error::new(ErrorKind::ResourceExhausted, message)
            .with_hint("Split it, or raise max_allowed_packet on the server."))
    }
}

impl AdminConnection for MysqlAdmin {
    fn dialect(&self) -> Dialect {
        Dialect::Mysql
    }

    fn server(&self) -> String {
        self.connection.server.version.to_string()
    }

    fn login(&self) -> AdminLogin {
        self.connector.login()
    }

    fn run<'a>(&'a mut self, sql: &'a str) -> BoxFuture<'a, Result<AdminRows>> {
        Box::pin(async move { Ok(self.run_text(sql).await?.0) })
    }

    fn run_one<'a>(&'a mut self, sql: &'a str) -> BoxFuture<'a, Result<(), StatementFailure>> {
        Box::pin(async move {
            // The login does not ask for several statements in a text, so that the server refuses them.
            let (_, warnings) = self.run_text(sql).await?;
            if warnings > 0 {
                // The statement has run: its warnings are no reason to fail.
                let told = self.run_text(WARNINGS).await.map_or_else(
                    |error| vec![format!("{warnings} warnings, which cannot be read: {error}")],
                    |(rows, _)| rows.into_iter().filter_map(remark).collect(),
                );
                self.remarks.extend(told);
            }
            Ok(())
        })
    }

    fn take_remarks(&mut self) -> Vec<String> {
        std::mem::take(&mut self.remarks)
    }

    fn in_transaction(&self) -> bool {
        self.connection.in_transaction()
    }

    fn try_lock(&mut self) -> BoxFuture<'_, Result<bool>> {
        Box::pin(async move {
            if self.connection.schema.is_none() {
                let message = format!("the URL of database \"{}\" names no schema", self.name);
                return Err(Error::new(ErrorKind::FailedPrecondition, message)
                    .with_hint("Write mysql://USER@HOST/DATABASE."));
            }
            let rows = self.run(LOCK).await?;
            Ok(rows.first().is_some_and(|row| row == &[Some("1".to_owned())]))
        })
    }
}

/// The text of a row of SHOW WARNINGS: the level, the number and the message.
fn remark(row: Vec<Option<String>>) -> Option<String> {
    let [level, number, message] = <[Option<String>; 3]>::try_from(row).ok()?;
    Some(format!("{} {}: {}", level?, number?, message?))
}

/// Runs a statement, and reads its rows and the number of its warnings.
async fn query(
    on: &mut Connection,
    sql: &str,
) -> Result<Result<(AdminRows, u16), ServerError>, StreamFailure> {
    on.queue_own(Command::Query(sql));
    let mut rows = AdminRows::new();
    loop {
        match on.event().await? {
            Event::Columns(_) | Event::ResultEnd(_) | Event::Prepared(_) => {}
            Event::Row(packet) => rows.push(text_values(&packet)),
            Event::Done(ok) => return Ok(Ok((rows, ok.warnings))),
            Event::Failed(error) => return Ok(Err(error)),
        }
    }
}

/// The error of a statement that leaves a transaction open: what follows it would be rolled back with the connection.
fn left_open() -> Error {
    let message = "the statement has left a transaction open, or autocommit off";
    Error::new(ErrorKind::TransactionControl, message)
        .with_outcome(Outcome::Unknown)
        .with_hint("Have the routine commit what it has begun.")
}

/// The error of a statement that the server has refused: a definition of one object may be known to have changed nothing.
fn refused(error: &ServerError, sql: &str) -> Error {
    let context = ErrorContext {
        phase: Phase::Statement,
        refused_write: RefusedWrite::NotPrimary,
        details: ErrorDetails::Full,
        sql,
    };
    let reported = from_server_error(error, &context);
    let is_definition = MysqlStatement::of(sql).definition == Definition::OfOne;
    let outcome = if is_definition && is_before_change(error) {
        Outcome::NotApplied
    } else {
        Outcome::Unknown
    };
    reported.with_outcome(outcome)
}

fn lost(name: &str, failure: StreamFailure) -> Error {
    let error = connection_lost(name).with_outcome(Outcome::Unknown);
    match failure {
        StreamFailure::Lost(cause) => error.with_cause(cause),
        StreamFailure::Malformed(what) => error.with_cause(what),
        StreamFailure::TooLarge => error.with_cause("a row is too large"),
    }
}
