//! The backend of each database.

use std::sync::Arc;

use crate::backend::mysql::Mysql;
use crate::backend::postgres::Postgres;
use crate::backend::sqlite::Sqlite;
use crate::backend::{Backend, Instrumented};
use crate::config::{Config, Database, Target};
use crate::error::{Error, ErrorKind, Result};
use crate::telemetry::{DatabaseTelemetry, Telemetry};

/// Finds a configured database.
pub(crate) fn configured<'a>(config: &'a Config, name: &str) -> Result<&'a Database> {
    config.databases.get(name).ok_or_else(|| {
        let message = format!("there is no database \"{name}\"");
        let names: Vec<_> = config.databases.keys().map(String::as_str).collect();
        Error::new(ErrorKind::DatabaseNotFound, message)
            .with_hint(format!("The databases are {}.", names.join(", ")))
    })
}

/// Opens a backend without telemetry.
pub(crate) fn open(name: &str, database: &Database) -> Result<Arc<dyn Backend>> {
    open_with(&Telemetry::silent(name), database)
}

fn open_with(telemetry: &Arc<DatabaseTelemetry>, database: &Database) -> Result<Arc<dyn Backend>> {
    Ok(match &database.target {
        Target::Postgres(target) => Arc::new(Postgres::open(telemetry, database, target)?),
        Target::Mysql(target) => Arc::new(Mysql::open(telemetry, database, target)?),
        Target::Sqlite(target) => Arc::new(Sqlite::open(telemetry, database, target)),
    })
}

/// A database's name, configuration and backend.
pub(crate) type Opened = (String, Database, Arc<dyn Backend>);

/// Opens all databases.
pub(crate) fn open_all(config: &Config, telemetry: &Telemetry) -> Result<Vec<Opened>> {
    let open = |(name, database): (&String, &Database)| {
        // OpenTelemetry's `db.system.name`.
        let system = match &database.target {
            Target::Postgres(_) => "postgresql",
            // MariaDB tells in its greeting that it is that.
            Target::Mysql(_) => "mysql",
            Target::Sqlite(_) => "sqlite",
        };
        let telemetry = telemetry.database(name, system);
        let backend = open_with(&telemetry, database)?;
        let instrumented: Arc<dyn Backend> = Arc::new(Instrumented::new(backend, telemetry));
        Ok((name.clone(), database.clone(), instrumented))
    };
    config.databases.iter().map(open).collect()
}
