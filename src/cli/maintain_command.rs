//! `rowgate maintain`.

use super::command_error::Result;
use super::config_flags::Settings;
use super::console::{Console, Exit, one_line, visible};
use crate::app::{self, MaintenanceStep, MaintenanceTasks};

const ABOUT: &str = "\
The command connects to the database itself, at admin_url if there is one, and runs one statement after the other. Each is printed \
with the time that it took.

  --analyze   PostgreSQL, SQLite: ANALYZE   MySQL: ANALYZE TABLE
  --vacuum    PostgreSQL, SQLite: VACUUM    MySQL: OPTIMIZE TABLE, which builds the table and its indexes anew
  --reindex   PostgreSQL: REINDEX TABLE CONCURRENTLY   SQLite: REINDEX   MySQL: as --vacuum

PostgreSQL's autovacuum and SQLite's maintenance in the server do the usual work by themselves. VACUUM and REINDEX of SQLite, and \
OPTIMIZE of some tables of MySQL, hold up writes while they run.

Examples:
  rowgate maintain main
  rowgate maintain main --vacuum --analyze
  ROWGATE__DATABASES__SHOP__ADMIN_URL=postgres://owner@db/shop rowgate maintain shop --reindex

Exit status: 0 when all statements ran; 1 when one failed; 78 when the configuration has problems.";

/// Vacuum, analyze and reindex a database
#[derive(Debug, clap::Args)]
#[command(after_help = ABOUT)]
pub(crate) struct Args {
    /// The logical name of the database
    database: String,
    #[command(flatten)]
    settings: Settings,
    /// Give the room of deleted rows back
    #[arg(long)]
    vacuum: bool,
    /// Make the statistics of the planner anew; without any of these flags it is this
    #[arg(long)]
    analyze: bool,
    /// Build indexes anew
    #[arg(long)]
    reindex: bool,
}

pub(crate) fn run(args: &Args, console: &mut Console<'_>) -> Result<Exit> {
    let Args { database, settings, vacuum, analyze, reindex } = args;
    let config = settings.load_without_listeners(console)?.config;
    let tasks = MaintenanceTasks { vacuum: *vacuum, analyze: *analyze, reindex: *reindex };
    let mut failed = 0_u64;
    let mut printed = Ok(());
    let others = app::maintain(&config, database, tasks, &mut |step| {
        failed += u64::from(step.error.is_some());
        let shown = print(&step, console);
        if printed.is_ok() {
            printed = shown;
        }
    })?;
    printed?;
    if !others.is_empty() {
        let text = format!("skipped, as they belong to others: {}", others.join(", "));
        writeln!(console.err, "{}", visible(&text))?;
    }
    if failed > 0 {
        return Ok(console.fail(&format!("{failed} of the statements failed"))?);
    }
    Ok(Exit::Success)
}

fn print(step: &MaintenanceStep, console: &mut Console<'_>) -> std::io::Result<()> {
    let seconds = step.took.as_secs_f64();
    let result = match (&step.error, &step.remark) {
        (Some(error), _) => format!("failed: {}", one_line(error)),
        (None, Some(remark)) => format!("nothing done: {remark}"),
        (None, None) => "ok".to_owned(),
    };
    let line = format!("{seconds:>9.3} s  {}  {result}", step.sql);
    writeln!(console.out, "{}", visible(&line))?;
    console.out.flush()
}
