//! rowgate.v1.PoolService: the pools for operators.
//!
//! Knows pools only by [`crate::pool::PoolAdmin`], and nothing about their connections.

mod pool_commands;
pub(crate) mod pool_handler;
mod stats_message;
mod watch_stream;

use crate::access::Policy;
use crate::engine::{Database, Engine};
use crate::error::{Error, ErrorKind, Result};

/// Finds the pool that a request names, or all of the caller's for an empty name.
pub(crate) fn pools<'a>(
    engine: &'a Engine,
    policy: &Policy,
    name: &str,
) -> Result<Vec<&'a Database>> {
    if name.is_empty() {
        let permitted = |database: &&Database| policy.permits_database(database.name());
        return Ok(engine.databases().filter(permitted).collect());
    }
    pool(engine, policy, name).map(|database| vec![database])
}

/// Finds the pool that a request names. An empty name is an error, not the default pool: a command must name
/// the pool that it changes.
pub(crate) fn pool<'a>(engine: &'a Engine, policy: &Policy, name: &str) -> Result<&'a Database> {
    let permitted =
        || engine.databases().filter(|database| policy.permits_database(database.name()));
    let found = permitted().find(|database| database.name() == name);
    found.filter(|_| !name.is_empty()).ok_or_else(|| {
        let error = if name.is_empty() {
            Error::field(ErrorKind::InvalidOption, "pool", "the pool must be named")
        } else {
            let message = format!("there is no pool \"{name}\"");
            let error = Error::new(ErrorKind::PoolNotFound, message);
            if policy.permits_database(name) { error } else { error.denying_database(name) }
        };
        let names: Vec<_> = permitted().map(Database::name).collect();
        error.with_hint(format!("Known here: {}.", names.join(", ")))
    })
}
