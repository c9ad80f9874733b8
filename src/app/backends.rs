//! Which backend serves which database.

use std::sync::Arc;

use crate::backend::postgres::Postgres;
use crate::backend::sqlite::Sqlite;
use crate::backend::{Backend, Instrumented};
use crate::config::{Config, Database, Target};
use crate::error::Result;
use crate::telemetry::{self, Telemetry};

/// A backend that nobody watches.
pub(crate) fn open(name: &str, database: &Database) -> Result<Arc<dyn Backend>> {
    open_with(&Telemetry::silent(name), database)
}

fn open_with(
    telemetry: &Arc<telemetry::DatabaseTelemetry>,
    database: &Database,
) -> Result<Arc<dyn Backend>> {
    Ok(match &database.target {
        Target::Postgres(target) => Arc::new(Postgres::open(telemetry, database, target)?),
        Target::Sqlite(target) => Arc::new(Sqlite::open(telemetry, database, target)),
    })
}

/// The database's kind, as OpenTelemetry names it (`db.system.name`).
fn system(target: &Target) -> &'static str {
    match target {
        Target::Postgres(_) => "postgresql",
        Target::Sqlite(_) => "sqlite",
    }
}

/// A database's name, configuration and backend.
pub(crate) type Opened = (String, Database, Arc<dyn Backend>);

pub(crate) fn open_all(config: &Config, telemetry: &Telemetry) -> Result<Vec<Opened>> {
    let open = |(name, database): (&String, &Database)| {
        let telemetry = telemetry.database(name, system(&database.target));
        let backend = open_with(&telemetry, database)?;
        let seen: Arc<dyn Backend> = Arc::new(Instrumented::new(backend, telemetry));
        Ok((name.clone(), database.clone(), seen))
    };
    config.databases.iter().map(open).collect()
}
