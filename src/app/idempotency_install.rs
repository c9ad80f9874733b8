//! Creates the table of idempotency keys, by command (`rowgate idempotency install`) or at startup
//! (`idempotency.create_table`).

use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::Handle;

use super::workers::single_threaded;
use crate::backend::postgres;
use crate::backend::{Backend, Installed};
use crate::config::Config;
use crate::deadline::Deadline;
use crate::engine::Database;
use crate::error::{Error, ErrorKind, Result};

/// Creates a configured database's table of idempotency keys, unless it exists. Blocks; must not be called from a runtime.
///
/// # Errors
/// The reason why the table cannot be created.
pub fn install_keys(config: &Config, name: &str) -> Result<Installed> {
    single_threaded()?.block_on(async {
        let backend = backend(config, name)?;
        let limit = config.databases.get(name).map(|database| database.default_deadline);
        let deadline = Deadline::at(Instant::now() + limit.unwrap_or_default());
        let installed = backend.install_keys(deadline).await;
        backend.close();
        installed
    })
}

/// The SQL that creates the table, for a migration tool; `None` if the first key creates it. Does not connect.
///
/// # Errors
/// As [`install_keys`].
pub fn key_table_sql(config: &Config, name: &str) -> Result<Option<String>> {
    Ok(backend(config, name)?.key_table_sql())
}

/// The SQL that creates the table if the database is PostgreSQL; `None` without such a database.
#[must_use]
pub fn postgres_key_table_sql(config: &Config, name: &str) -> Option<String> {
    config.databases.get(name).map(|database| postgres::key_table_sql(&database.idempotency))
}

/// The backend of a configured database.
pub(super) fn backend(config: &Config, name: &str) -> Result<Arc<dyn Backend>> {
    super::backends::open(name, super::backends::configured(config, name)?)
}

/// Creates the table of a reachable database. Returns false if the database has become unreachable, and the table is
/// to be created later. Any other failure is logged, and the server serves that database without keys.
pub(crate) async fn create_table(database: &Database, workers: &[Handle]) -> bool {
    match create(database, workers).await {
        Ok(Installed::Created) => {
            tracing::info!(database = database.name(), "table of idempotency keys created");
        }
        Ok(Installed::Existed | Installed::NotNeeded) => {}
        Err(error) => {
            if matches!(error.kind(), ErrorKind::ConnectionLost | ErrorKind::DatabaseUnavailable) {
                return false;
            }
            let database = database.name();
            let reason = error.reason();
            let cause = error.cause();
            tracing::error!(database, reason, %error, cause, "table of idempotency keys not created");
        }
    }
    true
}

/// Creates the table on a worker, which then drives the connection.
async fn create(database: &Database, workers: &[Handle]) -> Result<Installed> {
    let backend = Arc::clone(database.backend());
    let deadline = Deadline::at(Instant::now() + database.limits().default);
    let install = async move { backend.install_keys(deadline).await };
    let worker = workers.first().cloned().unwrap_or_else(Handle::current);
    worker.spawn(install).await.map_err(|error| {
        Error::new(ErrorKind::Internal, "the installation task failed").with_cause(error)
    })?
}
