//! `rowgate reset`.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::command_error::{CommandError, Result};
use super::config_flags::Settings;
use super::console::{Console, Exit, visible};
use super::migrate_command::{print_step, summary_text};
use crate::app;
use crate::migrations::{MigrationFiles, UpOptions, UpStep};

const ABOUT: &str = "\
For development and tests: a database on another machine is refused. PostgreSQL's schemas are dropped in one transaction, as far as \
the role owns them, and `public` and the schema of the ledger are created anew, with their owners and rights. On MySQL and MariaDB, and in SQLite's file, all objects are dropped, while \
the database or the file stays: other processes may have it open. Then `rowgate migrate up` runs.

Example:
  rowgate reset shop --yes-destroy shop

Exit status: 0 success; 1 it failed; 2 the names differ; 78 when the configuration has problems.";

/// Drop everything in a database of this machine, and migrate anew
#[derive(Debug, clap::Args)]
#[command(after_help = ABOUT)]
pub(crate) struct Args {
    /// The logical name of the database
    database: String,
    /// The same name again: everything in it is lost
    #[arg(long, value_name = "NAME")]
    yes_destroy: String,
    #[command(flatten)]
    settings: Settings,
    /// The directory of the files; `databases.NAME.migrations` if omitted
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The longest wait for a migrator at work
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = humantime::parse_duration)]
    wait: Duration,
}

pub(crate) fn run(args: &Args, console: &mut Console<'_>) -> Result<Exit> {
    let name = &args.database;
    if *name != args.yes_destroy {
        let why = format!("--yes-destroy names {}, and the database is {name}", args.yes_destroy);
        return Err(CommandError::Usage(why));
    }
    let config = args.settings.load_without_listeners(console)?.config;
    let configured = &app::configured(&config, name)?.migrations;
    let directory = args.dir.clone().unwrap_or_else(|| PathBuf::from(configured));
    let files = MigrationFiles::read(&directory)?;
    let options = UpOptions { target: None, wait: args.wait, new_ledger: false };
    let mut written = io::Result::Ok(());
    let mut progress = |step: UpStep<'_>| {
        let result = print_step(name, &step, console);
        written = std::mem::replace(&mut written, Ok(())).and(result);
    };
    let summary = app::reset_database(&config, name, &files, options, &mut progress)?;
    written?;
    writeln!(console.out, "{}", visible(&summary_text(name, summary)))?;
    Ok(Exit::Success)
}
