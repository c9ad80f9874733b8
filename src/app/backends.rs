//! Which backend serves which database.

use std::sync::Arc;

use crate::backend::Backend;
use crate::backend::postgres::Postgres;
use crate::backend::sqlite::Sqlite;
use crate::config::{Config, Database, Target};
use crate::error::Result;

pub(super) fn open(name: &str, database: &Database) -> Result<Arc<dyn Backend>> {
    Ok(match &database.target {
        Target::Postgres(target) => Arc::new(Postgres::open(name, database, target)?),
        Target::Sqlite(target) => Arc::new(Sqlite::open(name, database, target)),
    })
}

/// A database's name, configuration and backend.
pub(super) type Opened = (String, Database, Arc<dyn Backend>);

pub(super) fn open_all(config: &Config) -> Result<Vec<Opened>> {
    let databases = config.databases.iter();
    databases
        .map(|(name, database)| Ok((name.clone(), database.clone(), open(name, database)?)))
        .collect()
}
