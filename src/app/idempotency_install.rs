//! The table of idempotency keys, made by hand (`rowgate idempotency install`) or at start
//! (`idempotency.create_table`).

use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::Handle;

use crate::backend::{Backend, Installed};
use crate::config::Config;
use crate::deadline::Deadline;
use crate::engine::Database;
use crate::error::{Error, ErrorKind, Result};

/// Makes the table of idempotency keys in a database, unless it is there; returns what was done.
/// `name` must be a configured database. Blocks; must not be called from a runtime.
///
/// # Errors
/// Why it could not.
pub fn install_keys(config: &Config, name: &str) -> Result<Installed> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
            Error::new(ErrorKind::Internal, "the runtime cannot be started").with_cause(error)
        })?;
    runtime.block_on(async {
        let backend = backend(config, name)?;
        let limit = config.databases.get(name).map(|database| database.default_deadline);
        let deadline = Deadline::at(Instant::now() + limit.unwrap_or_default());
        let installed = backend.install_keys(deadline).await;
        backend.close();
        installed
    })
}

/// The SQL that makes the table of idempotency keys in a database, for a migration tool; `None` where
/// the table is made when it is first needed. Connects to nothing.
///
/// # Errors
/// As [`install_keys`].
pub fn key_table_sql(config: &Config, name: &str) -> Result<Option<String>> {
    Ok(backend(config, name)?.key_table_sql())
}

fn backend(config: &Config, name: &str) -> Result<Arc<dyn Backend>> {
    let Some(database) = config.databases.get(name) else {
        let message = format!("there is no database \"{name}\"");
        let names: Vec<_> = config.databases.keys().map(String::as_str).collect();
        return Err(Error::new(ErrorKind::DatabaseNotFound, message)
            .with_hint(format!("The databases are {}.", names.join(", "))));
    };
    super::backends::open(name, database)
}

/// Makes the table of a database that was reached. `false`: the database has gone meanwhile, and the table
/// is to be made when it is back. Where it fails otherwise that is said, and the server serves without keys
/// there, as it does without the setting.
pub(crate) async fn create_table(database: &Database, workers: &[Handle]) -> bool {
    match create(database, workers).await {
        Ok(Installed::Created) => {
            tracing::info!(database = database.name(), "table of idempotency keys made");
        }
        Ok(Installed::Existed | Installed::NotNeeded) => {}
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::ConnectionLost | ErrorKind::DatabaseUnavailable
            ) =>
        {
            return false;
        }
        Err(error) => {
            let (reason, cause) = (error.reason(), error.cause());
            let database = database.name();
            tracing::error!(database, reason, %error, cause, "no table of idempotency keys");
        }
    }
    true
}

/// Makes the table on a worker, which then drives the connection.
async fn create(database: &Database, workers: &[Handle]) -> Result<Installed> {
    let backend = Arc::clone(database.backend());
    let deadline = Deadline::at(Instant::now() + database.limits().default);
    let install = async move { backend.install_keys(deadline).await };
    let worker = workers.first().cloned().unwrap_or_else(Handle::current);
    worker.spawn(install).await.map_err(|error| {
        Error::new(ErrorKind::Internal, "the installation broke off").with_cause(error)
    })?
}
