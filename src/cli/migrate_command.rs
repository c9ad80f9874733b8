//! `rowgate migrate`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;

use super::command_error::{CommandError, Result, Text, place};
use super::config_flags::Settings;
use super::console::{Console, Exit, counted, visible};
use crate::app;
use crate::clock::milliseconds;
use crate::config::Config;
use crate::migrations::{
    FailedStatement, FailedStep, FileState, MigrationError, MigrationFiles, MigrationPlan,
    PendingFile, ScriptMode, UpOptions, UpStep, UpSummary, new_file,
};

const ABOUT: &str = "\
A file is named V1__create_orders.sql: a number, two underscores, a name. Each runs once, in the order of the numbers, and its \
content is kept in the table rowgate_migrations. On PostgreSQL and SQLite a file is one transaction; one that begins with the \
comment `-- rowgate: no-transaction` runs statement by statement, as every file does on MySQL and MariaDB. Files go forward only. \
docs/LIFECYCLE.md tells more.

Examples:
  rowgate migrate new 'create orders'
  rowgate migrate up --dry-run
  rowgate migrate up
  ROWGATE__DATABASES__SHOP__ADMIN_URL=postgres://owner@db/shop rowgate migrate up --database shop
  rowgate migrate verify                     in the tests of a change: fails unless all has run

Exit status: 0 success, also when there is nothing to do; 1 a statement failed, files are refused, or verify finds a \
difference; 2 wrong usage; 78 when the configuration has problems.";

/// Change a database's definitions by numbered files, each once
#[derive(Debug, clap::Args)]
#[command(after_help = ABOUT)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the files that did not run yet
    Up {
        #[command(flatten)]
        place: Place,
        /// Print the statements that would run, and run nothing
        #[arg(long)]
        dry_run: bool,
        /// The last number to run; all if omitted
        #[arg(long, value_name = "NUMBER")]
        target: Option<i64>,
        /// The longest wait for another migrator at work
        #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = humantime::parse_duration)]
        wait: Duration,
        /// Begin a ledger although a schema outside of the search path has one (PostgreSQL)
        #[arg(long)]
        new_ledger: bool,
    },
    /// List the files, and which of them ran
    Status {
        #[command(flatten)]
        place: Place,
    },
    /// Fail unless all files ran as they are
    Verify {
        #[command(flatten)]
        place: Place,
    },
    /// Make the next file
    New {
        /// Its purpose, in some words
        name: String,
        #[command(flatten)]
        place: Place,
    },
}

/// The database and its files.
#[derive(Debug, clap::Args)]
struct Place {
    #[command(flatten)]
    settings: Settings,
    /// The logical name of the database; the default one if omitted
    #[arg(long, value_name = "NAME")]
    database: Option<String>,
    /// The directory of the files; `databases.NAME.migrations` if omitted
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// A configured database and the directory of its files.
struct Chosen {
    config: Config,
    name: String,
    directory: PathBuf,
}

const NOT_CONFIGURED: &str = "no database is configured here: name the server's configuration with --config, --database-url or \
    DATABASE_URL (sqlite:rowgate.db is what a server without one uses)";

impl Place {
    fn choose(&self, console: &mut Console<'_>) -> Result<Chosen> {
        let loaded = self.settings.load_without_listeners(console)?;
        if self.database.is_none() && !loaded.names_a_database() {
            return Err(CommandError::Config(NOT_CONFIGURED.to_owned()));
        }
        let config = loaded.config;
        let name = self.database.clone().unwrap_or_else(|| config.default_database.clone());
        let configured = &app::configured(&config, &name)?.migrations;
        let directory = self.dir.clone().unwrap_or_else(|| PathBuf::from(configured));
        Ok(Chosen { config, name, directory })
    }
}

impl Chosen {
    fn files(&self) -> Result<MigrationFiles> {
        Ok(MigrationFiles::read(&self.directory)?)
    }
}

pub(crate) fn run(args: &Args, console: &mut Console<'_>) -> Result<Exit> {
    match &args.command {
        Command::Up { place, dry_run: true, target, new_ledger, .. } => {
            let chosen = place.choose(console)?;
            let files = chosen.files()?;
            let Chosen { config, name, .. } = &chosen;
            let pending = app::pending_migrations(config, name, &files, (*target, *new_ledger))?;
            print_pending(&chosen.name, &pending, console)?;
            Ok(Exit::Success)
        }
        Command::Up { place, target, wait, new_ledger, .. } => {
            let options = UpOptions { target: *target, wait: *wait, new_ledger: *new_ledger };
            up(&place.choose(console)?, options, console)
        }
        Command::Status { place } => status(&place.choose(console)?, console),
        Command::Verify { place } => verify(&place.choose(console)?, console),
        Command::New { name, place } => {
            if !name.contains(|c: char| c.is_ascii_alphanumeric()) {
                let why = "the name needs a letter or digit of ASCII";
                return Err(CommandError::Usage(why.to_owned()));
            }
            let path = new_file(&directory_of(place, console)?, name)?;
            writeln!(console.out, "{}", visible(&path.display().to_string()))?;
            Ok(Exit::Success)
        }
    }
}

/// The directory of new files, which needs no configured database.
fn directory_of(place: &Place, console: &mut Console<'_>) -> Result<PathBuf> {
    match &place.dir {
        Some(directory) => Ok(directory.clone()),
        None => Ok(place.choose(console)?.directory),
    }
}

fn up(chosen: &Chosen, options: UpOptions, console: &mut Console<'_>) -> Result<Exit> {
    let files = chosen.files()?;
    let name = &chosen.name;
    let mut written = Ok(());
    let mut progress = |step: UpStep<'_>| {
        let result = print_step(name, &step, console);
        written = std::mem::replace(&mut written, Ok(())).and(result);
    };
    let summary = app::migrate_up(&chosen.config, name, &files, options, &mut progress)?;
    written?;
    writeln!(console.out, "{}", visible(&summary_text(name, summary)))?;
    Ok(Exit::Success)
}

pub(crate) fn print_step(
    name: &str,
    step: &UpStep<'_>,
    console: &mut Console<'_>,
) -> io::Result<()> {
    match step {
        UpStep::Waiting => {
            let text = format!("database {name}: another migrator is at work, waiting for it");
            writeln!(console.err, "{}", visible(&text))
        }
        UpStep::Destroyed { left: [] } => {
            writeln!(console.out, "database {}: everything is dropped", visible(name))
        }
        UpStep::Destroyed { left } => {
            let left = left.join(", ");
            let text = format!("database {name}: what belongs to the role is dropped");
            writeln!(console.out, "{}", visible(&text))?;
            let text = format!(
                "these were left, as they belong to other roles: {left}\n  Connect as their owner (admin_url) to \
                 drop them; subscriptions and languages are dropped by hand."
            );
            writeln!(console.err, "warning: {}", visible(&text))
        }
        UpStep::Note(note) => writeln!(console.err, "note: {}", visible(note)),
        UpStep::Remark { file, line, text } => {
            writeln!(console.err, "{}", visible(&format!("{file}:{line}: {text}")))
        }
        UpStep::Applied { file, took } => {
            let text = format!("{file} applied in {} ms", milliseconds(*took));
            writeln!(console.out, "{}", visible(&text))?;
            console.out.flush()
        }
    }
}

pub(crate) fn summary_text(name: &str, summary: UpSummary) -> String {
    let UpSummary { applied, version } = summary;
    let at =
        if version == 0 { "before its first file".to_owned() } else { format!("at V{version}") };
    match applied {
        0 => format!("database {name}: nothing to do, it is {at}"),
        1.. => {
            let files = counted(u64::try_from(applied).unwrap_or(u64::MAX), "file");
            format!("database {name}: {files} applied, it is {at}")
        }
    }
}

fn print_pending(name: &str, pending: &[PendingFile], console: &mut Console<'_>) -> io::Result<()> {
    if pending.is_empty() {
        return writeln!(console.err, "database {}: nothing to do", visible(name));
    }
    for PendingFile { name, script } in pending {
        let way = match script.mode {
            ScriptMode::OneTransaction => "in one transaction",
            ScriptMode::EachAlone => "each statement by itself",
        };
        writeln!(console.out, "-- {}, {way}", visible(name))?;
        for statement in &script.statements {
            writeln!(console.out, "{}{}", visible(&statement.sql), end_of(&statement.sql))?;
        }
    }
    Ok(())
}

/// The semicolon behind a statement, on a line of its own where a comment may end the last one.
fn end_of(sql: &str) -> &'static str {
    let last = sql.lines().next_back().unwrap_or_default();
    if last.contains("--") || last.contains('#') { "\n;" } else { ";" }
}

fn status(chosen: &Chosen, console: &mut Console<'_>) -> Result<Exit> {
    let files = chosen.files()?;
    let plan = app::migration_plan(&chosen.config, &chosen.name, &files)?;
    console.out.write_all(visible(&table(&plan, &chosen.directory)).as_bytes())?;
    console.out.flush()?;
    notes(&plan, console)?;
    for finding in &plan.findings {
        writeln!(console.err, "warning: {}", visible(&finding.to_string()))?;
    }
    Ok(Exit::Success)
}

fn notes(plan: &MigrationPlan, console: &mut Console<'_>) -> io::Result<()> {
    plan.notes.iter().try_for_each(|note| writeln!(console.err, "note: {}", visible(note)))
}

/// The files as a table.
fn table(plan: &MigrationPlan, directory: &Path) -> String {
    if plan.files.is_empty() {
        return format!("no files in {}\n", directory.display());
    }
    let mut rows = vec![["version", "name", "state", "when"].map(str::to_owned)];
    rows.extend(plan.files.iter().map(|file| {
        let state = file.state.word().to_owned();
        [file.version.to_string(), file.name.clone(), state, file.when.clone()]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let [version, name, state] = [0, 1, 2].map(|column| width(column).unwrap_or_default());
    let mut text = String::new();
    for [number, file, is, when] in &rows {
        let line = format!("{number:>version$}  {file:<name$}  {is:<state$}  {when}");
        text += &format!("{}\n", line.trim_end());
    }
    text
}

fn verify(chosen: &Chosen, console: &mut Console<'_>) -> Result<Exit> {
    let files = chosen.files()?;
    let plan = app::migration_plan(&chosen.config, &chosen.name, &files)?;
    notes(&plan, console)?;
    let pending = plan.files.iter().filter(|file| file.state == FileState::Pending);
    let pending = pending.map(|file| format!("{}: it did not run", file.name));
    let found: Vec<_> = plan.findings.iter().map(ToString::to_string).chain(pending).collect();
    let name = &chosen.name;
    if !found.is_empty() {
        let text = format!("database {name} differs from its files:\n{}", found.join("\n"));
        return Err(CommandError::Failed(text));
    }
    let count = counted(u64::try_from(plan.files.len()).unwrap_or(u64::MAX), "file");
    let text = format!("database {name}: {count}, all applied as they are");
    writeln!(console.out, "{}", visible(&text))?;
    Ok(Exit::Success)
}

impl From<MigrationError> for CommandError {
    fn from(error: MigrationError) -> Self {
        match error {
            MigrationError::Refused(findings) => {
                let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
                Self::Failed(format!("nothing was run:\n{}", lines.join("\n")))
            }
            MigrationError::Failed(failed) => Self::Failed(failure_text(&failed)),
            MigrationError::Error(error) => error.into(),
        }
    }
}

/// Describes a statement that failed: its place, what the database says, and the state of the file.
fn failure_text(failed: &FailedStatement) -> String {
    let FailedStatement { file, step, sql, first_line, line, error, advice } = failed;
    let report = error.report();
    let position = report.map_or(0, |report| report.position);
    let before = usize::try_from(position.saturating_sub(1)).unwrap_or_default();
    let within = sql.chars().take(before).filter(|c| *c == '\n').count();
    let mut text = match (step, position) {
        (FailedStep::Start, _) => format!("{file}: the ledger does not take it: {error}"),
        (FailedStep::Commit, _) => format!("{file}: the end of the file failed: {error}"),
        (FailedStep::Statement, 0) => format!("{file}:{line}: {error}"),
        (FailedStep::Statement, _) => format!("{file}:{}: {error}", first_line + within),
    };
    let shown = Text { sql, first_line: *first_line };
    if !sql.is_empty() {
        text.extend(place(shown, position).map(|place| format!("\n{place}")));
    }
    let mut add = |name: &str, value: &str| {
        if !value.is_empty() {
            text += &format!("\n  {name}: {value}");
        }
    };
    if let Some(report) = report {
        add("sqlstate", &report.sqlstate);
        add("detail", &report.detail);
    }
    add("hint", error.hint().unwrap_or_default());
    let cause = if report.is_some() { String::new() } else { error.cause() };
    add("cause", &cause);
    format!("{text}\n{advice}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{DatabaseReport, Error, ErrorKind};

    #[test]
    fn a_failure_names_the_file_the_line_and_the_text() {
        let error = Error::new(ErrorKind::InvalidStatement, "column \"b\" does not exist")
            .with_report(DatabaseReport {
                sqlstate: "42703".to_owned(),
                position: 25,
                ..DatabaseReport::default()
            });
        let failed = FailedStatement {
            file: "V2__a.sql".to_owned(),
            step: FailedStep::Statement,
            sql: "-- about\nselect a,\n     b\nfrom t".to_owned(),
            first_line: 4,
            line: 5,
            error,
            advice: "Nothing is applied.".to_owned(),
        };
        let expected = "\
V2__a.sql:6: column \"b\" does not exist
  line 6:      b
               ^
  sqlstate: 42703
Nothing is applied.";
        assert_eq!(failure_text(&failed), expected);
        let error = Error::new(ErrorKind::ConnectionLost, "lost");
        let lost = FailedStatement { error, ..failed };
        assert_eq!(failure_text(&lost), "V2__a.sql:5: lost\nNothing is applied.");
    }

    #[test]
    fn nothing_to_do_is_said() {
        let text = |applied, version| summary_text("main", UpSummary { applied, version });
        assert_eq!(text(0, 0), "database main: nothing to do, it is before its first file");
        assert_eq!(text(0, 7), "database main: nothing to do, it is at V7");
        assert_eq!(text(2, 9), "database main: 2 files applied, it is at V9");
    }
}
