//! Prepares a database for claims of callers (`rowgate claims install`).

use std::time::Instant;

use super::idempotency_install::backend;
use super::workers::single_threaded;
use crate::backend::postgres;
use crate::config::Config;
use crate::deadline::Deadline;
use crate::error::Result;

/// Creates the functions of claims in a configured database, and makes its keys those of the configuration; returns their number.
/// Blocks; must not be called from a runtime.
///
/// # Errors
/// The reason why they cannot be created.
pub fn install_claims(config: &Config, name: &str) -> Result<usize> {
    single_threaded()?.block_on(async {
        let backend = backend(config, name)?;
        let Some(database) = config.databases.get(name) else { return Ok(0) };
        let deadline = Deadline::at(Instant::now() + database.default_deadline);
        let installed = backend.install_claims(database.claims.clone(), deadline).await;
        backend.close();
        installed
    })
}

/// The SQL that creates the functions of claims, the same for every database. It holds no secret.
#[must_use]
pub fn claims_sql() -> String {
    postgres::claims_sql()
}

/// The SQL that makes a database's keys those of the configuration: as secret as they are.
///
/// # Errors
/// There is no such database.
pub fn claim_keys_sql(config: &Config, name: &str) -> Result<String> {
    backend(config, name)?;
    let claims = config.databases.get(name).map(|database| &database.claims);
    Ok(claims.map(postgres::claim_keys_sql).unwrap_or_default())
}
