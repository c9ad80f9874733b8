//! The connection of an operator's command to a SQLite file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fallible_iterator::FallibleIterator;
use futures_util::future::BoxFuture;
use rusqlite::types::ValueRef;
use rusqlite::{Batch, Connection, InterruptHandle, OpenFlags};
use tokio::sync::oneshot;

use super::connection::STACK_BYTES;
use super::error::{Origin, Step, translate};
use super::file::{DirectoryLock, absolute_path, create_private, write_ahead};
use super::row_channel::connection_lost;
use crate::backend::cancel::Cancellable;
use crate::backend::{AdminConnection, AdminLogin, AdminRows, Interruption, StatementFailure};
use crate::config::{Database, ErrorDetails, SqliteTarget};
use crate::error::{Error, ErrorKind, Result};
use crate::sql::Dialect;

/// A connection to a SQLite file, on a thread of its own: it waits until that has closed the file when it is dropped.
pub(crate) struct SqliteAdmin {
    path: PathBuf,
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
    running: Running,
    interruption: Interruption,
    /// A transaction is open.
    in_transaction: bool,
    /// The directory of the file while it is locked.
    lock: Option<DirectoryLock>,
}

struct Job {
    sql: String,
    extent: Extent,
    answer: oneshot::Sender<JobEnd>,
}

/// The number of statements that a text may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    Any,
    One,
}

/// The end of a job, with the state of the connection.
struct JobEnd {
    result: Result<AdminRows>,
    is_before_run: bool,
    in_transaction: bool,
}

/// The statement that runs on a connection.
#[derive(Clone)]
struct Running(Arc<InterruptHandle>);

impl Cancellable for Running {
    fn cancel(&self) -> BoxFuture<'static, bool> {
        self.0.interrupt();
        Box::pin(std::future::ready(true))
    }

    fn last_answered(&self) -> u64 {
        0
    }
}

impl SqliteAdmin {
    /// Opens the file, and creates it if there is none.
    pub(crate) async fn open(
        config: &Database,
        target: &SqliteTarget,
        interruption: &Interruption,
    ) -> Result<Self> {
        let (jobs, queue) = sync_channel(1);
        let (opened, opening) = oneshot::channel();
        let opener = SqliteOpener {
            path: target.path.clone(),
            lock_timeout: config.lock_timeout,
            connect_timeout: config.pool.connect_timeout,
        };
        let run = move || match opener.connect() {
            Ok(connection) => {
                if opened.send(Ok(Running(Arc::new(connection.get_interrupt_handle())))).is_ok() {
                    run_jobs(&connection, &queue);
                }
            }
            // Nobody waits if the command has ended.
            Err(error) => drop(opened.send(Err(error))),
        };
        let named = std::thread::Builder::new().name("admin".to_owned()).stack_size(STACK_BYTES);
        let thread = named.spawn(run).map_err(|error| {
            let message = "cannot start a thread for a connection";
            Error::new(ErrorKind::DatabaseUnavailable, message).with_cause(error)
        })?;
        let running = opening.await.map_err(|closed| connection_lost().with_cause(closed))??;
        Ok(Self {
            path: target.path.clone(),
            jobs: Some(jobs),
            thread: Some(thread),
            running,
            interruption: interruption.clone(),
            in_transaction: false,
            lock: None,
        })
    }

    /// Runs a text on the thread.
    async fn run_text(&mut self, sql: &str, extent: Extent) -> JobEnd {
        let (answer, answered) = oneshot::channel();
        let job = Job { sql: sql.to_owned(), extent, answer };
        let jobs = self.jobs.as_ref();
        let mut end = None;
        let statement = async {
            let sent = jobs.is_some_and(|jobs| jobs.send(job).is_ok());
            let answer = answered.await.map_err(|closed| connection_lost().with_cause(closed))?;
            if !sent {
                return Err(connection_lost());
            }
            let JobEnd { result, is_before_run, in_transaction } = answer;
            end = Some((is_before_run, in_transaction));
            result
        };
        let result = self.interruption.watch(self.running.clone(), statement).await;
        let (is_before_run, in_transaction) = end.unwrap_or((false, self.in_transaction));
        self.in_transaction = in_transaction;
        JobEnd { result, is_before_run, in_transaction }
    }
}

impl AdminConnection for SqliteAdmin {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn server(&self) -> String {
        format!("SQLite {}", rusqlite::version())
    }

    fn login(&self) -> AdminLogin {
        AdminLogin::default()
    }

    fn run<'a>(&'a mut self, sql: &'a str) -> BoxFuture<'a, Result<AdminRows>> {
        Box::pin(async move { self.run_text(sql, Extent::Any).await.result })
    }

    fn run_one<'a>(&'a mut self, sql: &'a str) -> BoxFuture<'a, Result<(), StatementFailure>> {
        Box::pin(async move {
            let JobEnd { result, is_before_run, .. } = self.run_text(sql, Extent::One).await;
            result.map(drop).map_err(|error| StatementFailure { error, is_before_run })
        })
    }

    /// SQLite has none.
    fn take_remarks(&mut self) -> Vec<String> {
        Vec::new()
    }

    fn in_transaction(&self) -> bool {
        self.in_transaction
    }

    fn try_lock(&mut self) -> BoxFuture<'_, Result<bool>> {
        Box::pin(async move {
            self.lock = DirectoryLock::take(&self.path)?;
            Ok(self.lock.is_some())
        })
    }
}

impl Drop for SqliteAdmin {
    fn drop(&mut self) {
        drop(self.jobs.take());
        // A panic was printed.
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn run_jobs(connection: &Connection, queue: &Receiver<Job>) {
    while let Ok(Job { sql, extent, answer }) = queue.recv() {
        // A commit that could not be written may come back after a crash.
        let step = if sql == super::session::COMMIT { Step::Commit } else { Step::Write };
        let mut is_before_run = false;
        let found = match extent {
            Extent::Any => query(connection, &sql).map_err(|error| failed(error, &sql, step)),
            Extent::One => run_single(connection, &sql, &mut is_before_run),
        };
        let in_transaction = !connection.is_autocommit();
        // Nobody waits if the command has ended.
        drop(answer.send(JobEnd { result: found, is_before_run, in_transaction }));
    }
}

/// Runs the one statement of a text, and drops its rows.
fn run_single(connection: &Connection, sql: &str, is_before_run: &mut bool) -> Result<AdminRows> {
    let failed = |error| failed(error, sql, Step::Write);
    *is_before_run = true;
    let mut batch = Batch::new(connection, sql);
    let first = batch.next().map_err(failed)?;
    if batch.next().map_err(failed)?.is_some() {
        return Err(Error::new(ErrorKind::InvalidStatement, "the text holds several statements")
            .with_condition("MULTIPLE_STATEMENTS"));
    }
    *is_before_run = false;
    if let Some(mut statement) = first {
        let mut rows = statement.raw_query();
        while rows.next().map_err(failed)?.is_some() {}
    }
    Ok(AdminRows::new())
}

/// Opens the connection, on its thread.
struct SqliteOpener {
    path: PathBuf,
    lock_timeout: Duration,
    connect_timeout: Duration,
}

impl SqliteOpener {
    fn connect(&self) -> Result<Connection> {
        let path = absolute_path(&self.path)?;
        // SQLite tells why a file cannot be opened.
        drop(create_private(&path));
        self.connect_to(&path).map_err(|error| failed(error, "", Step::Open))
    }

    fn connect_to(&self, path: &Path) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(self.lock_timeout)?;
        write_ahead(&connection, Instant::now() + self.connect_timeout)?;
        connection.execute_batch("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON")?;
        Ok(connection)
    }
}

fn query(connection: &Connection, sql: &str) -> rusqlite::Result<AdminRows> {
    let mut found = AdminRows::new();
    let mut batch = Batch::new(connection, sql);
    while let Some(mut statement) = batch.next()? {
        let columns = statement.column_count();
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next()? {
            let values = (0..columns).map(|column| row.get_ref(column).map(text));
            found.push(values.collect::<rusqlite::Result<_>>()?);
        }
    }
    Ok(found)
}

fn text(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(text) | ValueRef::Blob(text) => {
            Some(String::from_utf8_lossy(text).into_owned())
        }
    }
}

fn failed(error: rusqlite::Error, sql: &str, step: Step) -> Error {
    translate(error, &Origin { sql, step, details: ErrorDetails::Full })
}
