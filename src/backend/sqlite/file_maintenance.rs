//! The maintenance of a database's file beside its calls: the planner's statistics, free pages, and the log.
//!
//! It has a connection of its own, and writes in steps of some milliseconds with pauses between them: that is
//! how long a caller's write waits for it. What does not fit into its time is for the next run.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::park_timeout;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::error::{Origin, Step, translate};
use super::file::{absolute_path, size_and_time};
use super::session::SessionConfig;
use crate::backend::maintenance_state::{LastMaintenance, MaintenanceState, MaintenanceWork};
use crate::error::{Error, ErrorKind, Result};

/// The time that a step which writes is to take, and the longest that a step waits for a lock.
const STEP_TIME: Duration = Duration::from_millis(4);

/// The pages that the first step frees, and the most.
const FIRST_PAGES: u32 = 16;
const MOST_PAGES: u32 = 4096;

/// The attempts to empty the log: each may hold writers up while it waits for readers.
const TRUNCATIONS: usize = 3;

/// The steps of SQLite's virtual machine between two looks at the time.
const STEPS_BETWEEN_CHECKS: i32 = 10_000;

/// The rows of each index that statistics are made of: some milliseconds.
const ANALYSIS_LIMIT: u32 = 400;

/// `PRAGMA auto_vacuum` of a file whose free pages can be given back step by step.
const INCREMENTAL: u32 = 2;

/// The statements by which all tables would be optimized; the lowest bit says that none is run.
const OPTIMIZATION: &str = "PRAGMA optimize(0x10003)";

/// A number that another one follows when another connection has written.
const VERSION: &str = "PRAGMA data_version";

/// More than the distance of two times that the kernel gives to files.
const CLOCK_TICK: Duration = Duration::from_millis(100);

/// The limits of one run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MaintenanceLimits {
    pub(crate) time: Duration,
    /// The size of the log, in bytes, from which it is emptied.
    pub(crate) log_size: u64,
}

/// Sizes and times of the file and of its log: while they are the same, nothing was written.
type Fingerprint = [Option<(u64, SystemTime)>; 2];

/// The maintenance of one database.
pub(crate) struct FileMaintenance {
    config: Arc<SessionConfig>,
    limits: MaintenanceLimits,
    state: Mutex<MaintenanceState>,
    /// The files behind the last run; `None` if it has left work.
    seen: Mutex<Option<Fingerprint>>,
    is_closed: Arc<AtomicBool>,
}

impl FileMaintenance {
    pub(crate) fn new(config: Arc<SessionConfig>, limits: MaintenanceLimits) -> Self {
        let is_closed = Arc::default();
        Self { config, limits, state: Mutex::default(), seen: Mutex::default(), is_closed }
    }

    /// The runs so far.
    pub(crate) fn state(&self) -> MaintenanceState {
        self.state.lock().clone()
    }

    /// Ends a run soon, and begins none.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    /// Runs once, unless nothing was written since the last run. Blocks.
    pub(crate) fn run(&self) -> Result<()> {
        let path = absolute_path(&self.config.path)?;
        if self.is_closed.load(Ordering::Relaxed) {
            return Ok(());
        }
        if self.seen.lock().is_some_and(|seen| seen == fingerprint(&path)) {
            self.state.lock().skipped += 1;
            return Ok(());
        }
        let began = Instant::now();
        let mut work = MaintenanceWork::default();
        let count = self.config.open_connections.enter();
        let result = self.work(&path, began + self.limits.time, &mut work);
        drop(count);
        let known = result.as_ref().ok().copied().flatten().filter(|_files| !work.is_partial);
        *self.seen.lock() = known.filter(is_settled);
        let result = result.map(drop);
        let error = result.as_ref().err().map(ToString::to_string);
        self.state.lock().add(LastMaintenance { began, took: began.elapsed(), error, work });
        result
    }

    /// Does the work, and returns the files as they are then, unless somebody has written meanwhile.
    fn work(
        &self,
        path: &Path,
        end: Instant,
        work: &mut MaintenanceWork,
    ) -> Result<Option<Fingerprint>> {
        let is_closed = Arc::clone(&self.is_closed);
        let is_over = move || Instant::now() >= end || is_closed.load(Ordering::Relaxed);
        let details = self.config.details;
        let failed = |error| translate(error, &Origin { sql: "", step: Step::Write, details });
        let connection = open(path, is_over.clone()).map_err(failed)?;
        let run = Run { connection: &connection, is_over: &is_over };
        let done = run.all(path, self.limits.log_size, work);
        let before = fingerprint(path);
        let unseen = done.and_then(|version| Ok(run.number(VERSION)? != version));
        // Not while another one is closed: one of them has to find itself to be the last.
        let alone = self.config.open_connections.closing();
        drop(connection);
        drop(alone);
        let has_missed = unseen.map_err(failed)?;
        let after = fingerprint(path);
        // The last connection has removed the log.
        let is_same = before == after || after[1].is_none();
        Ok((is_same && !has_missed).then_some(after))
    }
}

/// Returns true if a write that comes now changes the times: they are those of the kernel's last tick.
fn is_settled(files: &Fingerprint) -> bool {
    let is_old = |(_size, time): &(u64, SystemTime)| {
        time.elapsed().is_ok_and(|elapsed| elapsed > CLOCK_TICK)
    };
    files.iter().flatten().all(is_old)
}

/// Opens a connection that does not sync what it writes: all of it can be done again.
fn open(
    path: &Path,
    is_over: impl FnMut() -> bool + Send + 'static,
) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(STEP_TIME)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    let settings = format!("PRAGMA synchronous = NORMAL; PRAGMA analysis_limit = {ANALYSIS_LIMIT}");
    connection.execute_batch(&settings)?;
    connection.progress_handler(STEPS_BETWEEN_CHECKS, Some(is_over))?;
    Ok(connection)
}

fn fingerprint(path: &Path) -> Fingerprint {
    [size_and_time(path, ""), size_and_time(path, "-wal")]
}

/// The end of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StepEnd {
    Done,
    /// A lock was not to be had.
    Busy,
    /// The time is over.
    Stopped,
}

/// A run on its connection.
struct Run<'a> {
    connection: &'a Connection,
    is_over: &'a dyn Fn() -> bool,
}

impl Run<'_> {
    /// Does all of the work; returns the version of the file at its beginning.
    fn all(&self, path: &Path, limit: u64, work: &mut MaintenanceWork) -> rusqlite::Result<u32> {
        let version = self.number(VERSION)?;
        self.analyze(work)?;
        self.free_pages(work)?;
        self.empty_log(path, limit, work)?;
        Ok(version)
    }

    /// Makes the statistics of tables anew whose sizes have changed much, each in a step of its own.
    fn analyze(&self, work: &mut MaintenanceWork) -> rusqlite::Result<()> {
        let mut statement = self.connection.prepare(OPTIMIZATION)?;
        let texts = statement.query_map([], |row| row.get::<_, String>(0))?;
        let texts: Vec<String> = texts.collect::<rusqlite::Result<_>>()?;
        drop(statement);
        for text in texts.iter().filter(|text| text.starts_with("ANALYZE")) {
            match self.until_over(text)? {
                StepEnd::Done => work.tables_analyzed += 1,
                StepEnd::Busy | StepEnd::Stopped => {
                    work.is_partial = true;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Gives free pages back to the file system, where the file was made for that.
    fn free_pages(&self, work: &mut MaintenanceWork) -> rusqlite::Result<()> {
        if self.number("PRAGMA auto_vacuum")? != INCREMENTAL {
            return Ok(());
        }
        let mut pages = FIRST_PAGES;
        loop {
            let free = self.number("PRAGMA freelist_count")?;
            if free == 0 {
                return Ok(());
            }
            let start = Instant::now();
            let end = self.until_over(&format!("PRAGMA incremental_vacuum({pages})"))?;
            if end != StepEnd::Done {
                work.is_partial = true;
                return Ok(());
            }
            let took = start.elapsed();
            let freed = free.saturating_sub(self.number("PRAGMA freelist_count")?);
            work.pages_freed += u64::from(freed);
            if took > STEP_TIME {
                pages = (pages / 2).max(1);
            } else if took < STEP_TIME / 2 {
                pages = (pages * 2).min(MOST_PAGES);
            }
            // Callers' writes come in between.
            park_timeout(took.max(Duration::from_millis(1)));
        }
    }

    /// Writes the log into the file, which hinders nobody, and empties it if it is large.
    fn empty_log(
        &self,
        path: &Path,
        limit: u64,
        work: &mut MaintenanceWork,
    ) -> rusqlite::Result<()> {
        let size = || size_and_time(path, "-wal").map_or(0, |(size, _time)| size);
        self.step("PRAGMA wal_checkpoint(PASSIVE)")?;
        for _ in 0..TRUNCATIONS {
            if size() <= limit || (self.is_over)() {
                break;
            }
            self.step("PRAGMA wal_checkpoint(TRUNCATE)")?;
            park_timeout(STEP_TIME);
        }
        work.log_size = size();
        work.is_partial |= work.log_size > limit;
        Ok(())
    }

    /// Repeats a step while its lock is not to be had and there is time.
    fn until_over(&self, sql: &str) -> rusqlite::Result<StepEnd> {
        loop {
            if (self.is_over)() {
                return Ok(StepEnd::Stopped);
            }
            let end = self.step(sql)?;
            if end != StepEnd::Busy {
                return Ok(end);
            }
            park_timeout(STEP_TIME);
        }
    }

    /// Runs a statement to its end, whatever rows it returns.
    fn step(&self, sql: &str) -> rusqlite::Result<StepEnd> {
        let run = || {
            let mut statement = self.connection.prepare(sql)?;
            let mut rows = statement.raw_query();
            while rows.next()?.is_some() {}
            Ok(())
        };
        match run() {
            Ok(()) => Ok(StepEnd::Done),
            Err(error) => match rusqlite::Error::sqlite_error_code(&error) {
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Ok(StepEnd::Busy),
                Some(ErrorCode::OperationInterrupted) => Ok(StepEnd::Stopped),
                _ => Err(error),
            },
        }
    }

    fn number(&self, sql: &str) -> rusqlite::Result<u32> {
        self.connection.query_row(sql, [], |row| row.get(0))
    }
}

/// Runs the maintenance on a thread that may block.
pub(crate) async fn maintain(maintenance: &Arc<FileMaintenance>) -> Result<()> {
    let maintenance = Arc::clone(maintenance);
    let ran = tokio::task::spawn_blocking(move || maintenance.run()).await;
    ran.map_err(|error| {
        Error::new(ErrorKind::Internal, "the maintenance has failed").with_cause(error)
    })?
}
