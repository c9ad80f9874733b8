//! The table of idempotency keys, made by hand: `rowgate idempotency install`.

use std::time::Instant;

use crate::backend::{Backend, Installed};
use crate::config::Config;
use crate::deadline::Deadline;
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

fn backend(config: &Config, name: &str) -> Result<std::sync::Arc<dyn Backend>> {
    let Some(database) = config.databases.get(name) else {
        let message = format!("there is no database \"{name}\"");
        let names: Vec<_> = config.databases.keys().map(String::as_str).collect();
        return Err(Error::new(ErrorKind::DatabaseNotFound, message)
            .with_hint(format!("The databases are {}.", names.join(", "))));
    };
    super::backends::open(name, database)
}
