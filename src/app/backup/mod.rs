//! Backups of a database into one file, and their restoration (`rowgate backup`, `rowgate restore`).
//!
//! A SQLite database is copied here. For PostgreSQL and MySQL their own programs do the work. In any case the file
//! has a partial name until it is whole, and an interrupted backup leaves none of the final name.

mod client_login;
mod client_program;
mod dump_text;
mod file_job;
mod lock_watch;
mod mysql_contents;
mod mysql_dump;
mod mysql_sequences;
mod named_file;
mod partial_file;
mod postgres_archive;
mod sqlite_file;
mod supervision;

use std::time::Instant;

use super::admin_connections::open_admin;
use super::backends::configured;
use super::workers::single_threaded;
use crate::backend::{AdminConnection, Interrupt};
use crate::config::{Config, Database, Target};
use crate::error::Result;
use file_job::Done;
pub use file_job::{FileJob, Summary};
use named_file::{check_destination, check_source};
pub(crate) use partial_file::PartialFile;
use supervision::Control;
pub use supervision::Progress;

/// Writes a backup of a database into a file. Blocks; must not be called from a runtime.
///
/// # Errors
/// The reason why there is none. No file of the final name was made or changed then.
pub fn backup(config: &Config, job: &FileJob, report: &mut dyn FnMut(Progress)) -> Result<Summary> {
    let database = &configured(config, &job.database)?.administered();
    check_destination(&job.file)?;
    run(report, async |control| match &database.target {
        Target::Sqlite(target) => sqlite_file::backup(target, job, control).await,
        Target::Postgres(target) => {
            let mut opened = Opened::open(&job.database, database, &control).await?;
            let work =
                postgres_archive::backup(database, target, job, &control, &mut *opened.connection);
            work.await
        }
        Target::Mysql(target) => {
            let mut opened = Opened::open(&job.database, database, &control).await?;
            let work = mysql_dump::backup(database, target, job, &control, &mut *opened.connection);
            work.await
        }
    })
}

/// Restores a database from the file of a backup. Blocks; must not be called from a runtime.
///
/// # Errors
/// The reason why it was not restored.
pub fn restore(
    config: &Config,
    job: &FileJob,
    report: &mut dyn FnMut(Progress),
) -> Result<Summary> {
    let database = &configured(config, &job.database)?.administered();
    check_source(&job.file)?;
    run(report, async |control| match &database.target {
        Target::Sqlite(target) => sqlite_file::restore(target, job, control).await,
        Target::Postgres(target) => {
            let mut opened = Opened::open(&job.database, database, &control).await?;
            let work =
                postgres_archive::restore(database, target, job, &control, &mut *opened.connection);
            work.await
        }
        Target::Mysql(target) => {
            let mut opened = Opened::open(&job.database, database, &control).await?;
            let work =
                mysql_dump::restore(database, target, job, &control, &mut *opened.connection);
            work.await
        }
    })
}

fn run(
    report: &mut dyn FnMut(Progress),
    work: impl AsyncFnOnce(Control) -> Result<Done>,
) -> Result<Summary> {
    let start = Instant::now();
    let control = Control::default();
    let working = work(control.clone());
    let done = single_threaded()?.block_on(supervision::supervise(working, &control, report))?;
    Ok(Summary { bytes: done.bytes, took: start.elapsed(), notes: done.notes })
}

/// A connection to the server, for what its programs do not tell. A login that is refused is told here, before anything is made.
struct Opened {
    connection: Box<dyn AdminConnection>,
    /// Kept, as the connection waits for it.
    _interrupt: Interrupt,
}

impl Opened {
    async fn open(name: &str, database: &Database, control: &Control) -> Result<Self> {
        let (interrupt, interruption) = Interrupt::new();
        let connection =
            control.or_interrupted(Box::pin(open_admin(name, database, &interruption))).await?;
        Ok(Self { connection, _interrupt: interrupt })
    }
}
