//! `rowgate backup` and `rowgate restore`.

use std::path::PathBuf;

use super::command_error::{CommandError, Result};
use super::config_flags::Settings;
use super::console::{Console, Exit, visible};
use super::progress_line::{ProgressLine, bytes};
use crate::app::{self, FileJob, Progress, Summary};
use crate::config::{Config, Environment};
use crate::error::Error;

const BACKUP: &str = "\
The command connects to the database itself; no server is asked. SQLite is copied while it is in use, as it is in one moment, \
and the copy is checked (integrity_check). PostgreSQL needs pg_dump and writes its custom format; MySQL and MariaDB need \
mysqldump or mariadb-dump and write SQL. They are looked for in PATH and in the usual directories.

FILE is made for its owner alone. It has its name when it is whole: until then it is FILE.partial-PID, which is \
removed if the command is interrupted, and by the next backup if it was killed.

Examples:
  rowgate backup main shop.backup
  DATABASE_URL=postgres://me@db/shop rowgate backup main /var/backups/shop.dump --force

Exit status: 0 when FILE is whole; 1 when there is no backup; 78 when the configuration has problems.";

const RESTORE: &str = "\
SQLite: FILE is checked and copied into the place of the database, which must not exist, or, with --force, must not be open in \
a server. PostgreSQL: pg_restore runs in one transaction, so that a failure changes nothing; with --force it drops what is in the backup \
before it creates it. MySQL and MariaDB: the database must be empty, or, with --force, has the tables of the backup dropped and created; \
a failure leaves a part. No statement waits for a lock for longer than databases.NAME.lock_timeout.

Examples:
  rowgate restore main shop.backup
  DATABASE_URL=postgres://me@db/shop_copy rowgate restore main shop.dump --no-owner

Exit status: 0 when everything is restored; 1 when it is not; 78 when the configuration has problems.";

/// Write a backup of a database into a file
#[derive(Debug, clap::Args)]
#[command(after_help = BACKUP)]
pub(crate) struct BackupArgs {
    /// The logical name of the database
    database: String,
    /// The file to write
    file: PathBuf,
    #[command(flatten)]
    settings: Settings,
    /// Replace FILE if it exists
    #[arg(long)]
    force: bool,
}

/// Restore a database from the file of a backup
#[derive(Debug, clap::Args)]
#[command(after_help = RESTORE)]
pub(crate) struct RestoreArgs {
    /// The logical name of the database
    database: String,
    /// The file of the backup
    file: PathBuf,
    #[command(flatten)]
    settings: Settings,
    /// Replace what is in the database
    #[arg(long)]
    force: bool,
    /// PostgreSQL: let everything belong to the role that restores, and restore no rights
    #[arg(long)]
    no_owner: bool,
}

pub(crate) fn back_up(args: BackupArgs, console: &mut Console<'_>) -> Result<Exit> {
    let BackupArgs { database, file, settings, force, .. } = args;
    let job = job(database, file, force, false);
    run(&settings, &job, app::backup, console)?;
    Ok(Exit::Success)
}

pub(crate) fn restore(args: RestoreArgs, console: &mut Console<'_>) -> Result<Exit> {
    let RestoreArgs { database, file, settings, force, no_owner } = args;
    let job = job(database, file, force, no_owner);
    run(&settings, &job, app::restore, console)?;
    Ok(Exit::Success)
}

fn job(database: String, file: PathBuf, replaces: bool, without_owners: bool) -> FileJob {
    let environment = Environment::of_process();
    FileJob { database, file, replaces, without_owners, environment }
}

type Work = fn(&Config, &FileJob, &mut dyn FnMut(Progress)) -> Result<Summary, Error>;

fn run(settings: &Settings, job: &FileJob, work: Work, console: &mut Console<'_>) -> Result<()> {
    let config = settings.load_without_listeners(console)?.config;
    let mut line = ProgressLine::on_standard_error();
    let done = work(&config, job, &mut |progress| line.show(progress, console.err));
    line.clear(console.err);
    let Summary { bytes: size, took, notes } = done.map_err(|error| {
        // The text of a program keeps its lines.
        let hint = error.hint().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        CommandError::Failed(format!("{}{}{hint}", error.message(), cause.unwrap_or_default()))
    })?;
    for note in notes {
        writeln!(console.err, "{}", visible(&note))?;
    }
    let file = job.file.display();
    let seconds = took.as_secs_f64();
    let text = format!("database {}: {file}, {} in {seconds:.1} s", job.database, bytes(size));
    writeln!(console.out, "{}", visible(&text))?;
    Ok(())
}
