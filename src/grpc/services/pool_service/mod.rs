//! rowgate.v1.PoolService: the pools for operators.
//!
//! Knows pools only by [`crate::pool::PoolAdmin`], and nothing about their connections.

mod pool_commands;
pub(crate) mod pool_handler;
mod stats_message;
mod watch_stream;

use crate::engine::{Database, Engine};
use crate::error::{Error, ErrorKind, Result};

/// Finds the pool that a request names, or all for an empty name.
pub(crate) fn pools<'a>(engine: &'a Engine, name: &str) -> Result<Vec<&'a Database>> {
    if name.is_empty() {
        return Ok(engine.databases().collect());
    }
    pool(engine, name).map(|database| vec![database])
}

/// Finds the pool that a request names. An empty name is an error, not the default pool: a command must name
/// the pool that it changes.
pub(crate) fn pool<'a>(engine: &'a Engine, name: &str) -> Result<&'a Database> {
    let hint = || {
        let names: Vec<_> = engine.databases().map(Database::name).collect();
        format!("Known here: {}.", names.join(", "))
    };
    if name.is_empty() {
        let error = Error::field(ErrorKind::InvalidOption, "pool", "the pool must be named");
        return Err(error.with_hint(hint()));
    }
    engine.databases().find(|database| database.name() == name).ok_or_else(|| {
        Error::new(ErrorKind::PoolNotFound, format!("there is no pool \"{name}\""))
            .with_hint(hint())
    })
}
