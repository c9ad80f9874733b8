//! The schema of a configured database as SQL (`rowgate schema`).

use std::path::PathBuf;

use super::admin_connections::{administer, check_file_exists, open_admin};
use super::backends::configured;
use crate::config::{Config, Target};
use crate::error::Result;
use crate::schema_dump::{MysqlSchema, PgDump, major, mysql_schema, sqlite_schema};

/// A schema, and what its reader should know.
#[derive(Debug)]
pub(crate) struct ExportedSchema {
    pub(crate) sql: String,
    pub(crate) warning: Option<String>,
}

/// Returns the schema of a database; PostgreSQL's by this `pg_dump`. Blocks; must not be called from a runtime.
pub(crate) fn export_schema(
    config: &Config,
    name: &str,
    pg_dump: PathBuf,
) -> Result<ExportedSchema> {
    let database = configured(config, name)?;
    let administered = database.administered();
    check_file_exists(database)?;
    administer(async |mut interruption| {
        let mut connection = open_admin(name, database, &interruption).await?;
        let target = match &administered.target {
            Target::Postgres(target) => target,
            Target::Mysql(_) => {
                let MysqlSchema { sql, warning } = mysql_schema(&mut *connection).await?;
                return Ok(ExportedSchema { sql, warning });
            }
            Target::Sqlite(_) => return Ok(plain(sqlite_schema(&mut *connection).await?)),
        };
        let server = connection.server();
        let login = connection.login();
        let program = interruption.or_fail(PgDump::find(pg_dump)).await?;
        let is_old = program.major() < major(&server);
        let warning =
            is_old.then(|| format!("{} is older than the server, {server}", program.version));
        let sql = interruption.or_fail(program.schema(target, &login)).await?;
        Ok(ExportedSchema { sql, warning })
    })
}

fn plain(sql: String) -> ExportedSchema {
    ExportedSchema { sql, warning: None }
}
