//! `rowgate schema`.

use std::path::PathBuf;

use super::command_error::Result;
use super::config_flags::Settings;
use super::console::{Console, Exit, visible};
use crate::app;

const ABOUT: &str = "\
The text is the same for the same definitions, and sorted, so that a file of it can be committed and compared. No owners, rights, \
or rows are in it. PostgreSQL's is written by its own pg_dump, which must not be older than the server; the first line names its \
version.

Examples:
  rowgate schema shop > schema.sql
  rowgate schema shop | diff schema.sql -
  rowgate schema shop --pg-dump /usr/lib/postgresql/17/bin/pg_dump

Exit status: 0 success; 1 the database or pg_dump cannot be used; 78 when the configuration has problems.";

/// Print the definitions of a database as SQL
#[derive(Debug, clap::Args)]
#[command(after_help = ABOUT)]
pub(crate) struct Args {
    /// The logical name of the database
    database: String,
    #[command(flatten)]
    settings: Settings,
    /// The program for PostgreSQL
    #[arg(long, value_name = "FILE", default_value = "pg_dump")]
    pg_dump: PathBuf,
}

pub(crate) fn run(args: Args, console: &mut Console<'_>) -> Result<Exit> {
    let config = args.settings.load_without_listeners(console)?.config;
    let app::ExportedSchema { sql, warning } =
        app::export_schema(&config, &args.database, args.pg_dump)?;
    if let Some(warning) = warning {
        writeln!(console.err, "warning: {}", visible(&warning))?;
    }
    if console.is_terminal {
        console.out.write_all(visible(&sql).as_bytes())?;
    } else {
        console.out.write_all(sql.as_bytes())?;
    }
    Ok(Exit::Success)
}
