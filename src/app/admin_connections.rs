//! The connections of commands that administer a database: beside the pools, as its owner, and ended by the operator.

use super::shutdown::signalled;
use super::workers::single_threaded;
use crate::backend::mysql::MysqlAdmin;
use crate::backend::postgres::PostgresAdmin;
use crate::backend::sqlite::SqliteAdmin;
use crate::backend::{AdminConnection, Interrupt, Interruption};
use crate::config::{Database, Target};
use crate::error::{Error, ErrorKind, Result};
use crate::telemetry::Telemetry;

/// Opens a connection to where a database is administered.
pub(crate) async fn open_admin(
    name: &str,
    database: &Database,
    interruption: &Interruption,
) -> Result<Box<dyn AdminConnection>> {
    let database = database.administered();
    open_to(name, &database, interruption).await.map_err(|error| named(error, &database.target))
}

async fn open_to(
    name: &str,
    database: &Database,
    interruption: &Interruption,
) -> Result<Box<dyn AdminConnection>> {
    Ok(match &database.target {
        Target::Postgres(target) => {
            Box::new(PostgresAdmin::open(name, database, target, interruption).await?)
        }
        Target::Mysql(target) => {
            let telemetry = Telemetry::silent(name);
            Box::new(MysqlAdmin::open(&telemetry, database, target, interruption).await?)
        }
        Target::Sqlite(target) => {
            Box::new(SqliteAdmin::open(database, target, interruption).await?)
        }
    })
}

/// Adds the servers that were tried to the error of a connection: the operator may know them, a caller may not.
fn named(error: Error, target: &Target) -> Error {
    let servers: Vec<_> = target.servers().iter().map(ToString::to_string).collect();
    if error.kind() != ErrorKind::DatabaseUnavailable || servers.is_empty() {
        return error;
    }
    let tried = format!("Tried {}.", servers.join(" and "));
    let hint = error.hint().map_or_else(|| tried.clone(), |hint| format!("{tried} {hint}"));
    error.with_hint(hint)
}

/// Fails where there is no file of a SQLite database: opened, it would be created.
pub(crate) fn check_file_exists(database: &Database) -> Result<()> {
    let Target::Sqlite(target) = &database.administered().target else { return Ok(()) };
    if target.path.exists() {
        return Ok(());
    }
    let message = format!("there is no file {}", target.path.display());
    Err(Error::new(ErrorKind::FailedPrecondition, message)
        .with_hint("The server, or `rowgate migrate up`, creates it."))
}

/// Runs a command on a runtime of its own, until it ends or the process gets SIGINT or SIGTERM, which cancels its statements.
/// Blocks; must not be called from a runtime.
pub(crate) fn administer<T, E: From<Error>>(
    work: impl AsyncFnOnce(Interruption) -> Result<T, E>,
) -> Result<T, E> {
    single_threaded()?.block_on(async {
        let (interrupt, interruption) = Interrupt::new();
        tokio::spawn(async move {
            signalled().await;
            interrupt.request();
            // Kept, so that nobody waits in vain for what was requested.
            std::future::pending::<()>().await;
        });
        work(interruption).await
    })
}
