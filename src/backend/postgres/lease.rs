//! A connection at work for one caller; however that ends, the next caller sees none of it.
//!
//! It ends in one of: known idle and untouched: back to the pool; anything else: cleaned by a task of
//! its own, off the caller's path, and closed if that fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::codec::Parameter;
use super::connect::Connector;
use super::connection::{Connection, Opener, Prepared};
use crate::config::ErrorDetails;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::pool::{Checkout, CloseReason};

/// How long a cancelled statement may take to answer before its caller is told without its answer.
pub(super) const CANCEL_GRACE: Duration = Duration::from_millis(40);
/// How long cleaning may take before the connection is closed instead.
const CLEANING_LIMIT: Duration = Duration::from_secs(5);
/// Everything a statement can leave in a session, but prepared statements of the driver's own.
const RESET: &str = "CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *; \
    SELECT pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES; \
    DO $rowgate$ DECLARE prepared text; BEGIN \
    FOR prepared IN SELECT name FROM pg_catalog.pg_prepared_statements WHERE from_sql LOOP \
    EXECUTE pg_catalog.format('DEALLOCATE %I', prepared); END LOOP; END $rowgate$";

/// What leases share.
pub(super) struct Shared {
    pub(super) database: String,
    pub(super) connector: Arc<Connector>,
    pub(super) details: ErrorDetails,
    pub(super) resets: AtomicU64,
}

/// A connection at work.
pub(super) struct Lease {
    checkout: Option<Checkout<Opener>>,
    shared: Arc<Shared>,
    /// Whether a request may be unanswered.
    pub(super) busy: bool,
    /// Whether the session may hold a trace of the caller.
    pub(super) touched: bool,
    /// Whether what runs only reads: then nothing can have been applied.
    pub(super) reads: bool,
    /// Whether the server has lost statements that the driver still counts on.
    pub(super) spoiled: bool,
}

impl Lease {
    pub(super) fn new(checkout: Checkout<Opener>, shared: Arc<Shared>, reads: bool) -> Self {
        Self { checkout: Some(checkout), shared, busy: false, touched: true, reads, spoiled: false }
    }

    pub(super) fn connection(&mut self) -> &mut Connection {
        self.checkout.as_mut().expect("a lease holds its connection until it is dropped")
    }

    /// Prepares a statement on the connection.
    pub(super) async fn prepare(&mut self, deadline: Deadline, sql: &str) -> Result<Arc<Prepared>> {
        let guard = self.begin(deadline);
        let answer = guard.watch(self.connection().prepare(sql)).await;
        self.settle(answer, sql)
    }

    /// Runs statements without parameters of our own making.
    pub(super) async fn run(&mut self, deadline: Deadline, sql: &str) -> Result<()> {
        let guard = self.begin(deadline);
        let answer = guard.watch(self.connection().client.batch_execute(sql)).await;
        self.settle(answer, sql)
    }

    /// Starts a prepared statement; from here on the lease is busy until its rows are done.
    pub(super) async fn start(
        &mut self,
        deadline: Deadline,
        sql: &str,
        prepared: &Prepared,
        parameters: Vec<Parameter<'_>>,
    ) -> Result<tokio_postgres::RowStream> {
        let guard = self.begin(deadline);
        let client = &self.connection().client;
        let answer = guard.watch(client.query_raw(&prepared.statement, parameters)).await;
        let stream = self.settle(answer, sql)?;
        self.busy = true;
        Ok(stream)
    }

    fn begin(&mut self, deadline: Deadline) -> Guard {
        self.busy = true;
        let connector = Arc::clone(&self.shared.connector);
        Guard { deadline, connector, key: self.connection().wire.key() }
    }

    fn settle<T>(
        &mut self,
        answer: Option<std::result::Result<T, tokio_postgres::Error>>,
        sql: &str,
    ) -> Result<T> {
        match answer {
            Some(Ok(value)) => {
                self.busy = false;
                Ok(value)
            }
            Some(Err(error)) => Err(self.failure(error, sql)),
            None => Err(self.deadline_passed()),
        }
    }

    /// Starts a cancel of what runs, without waiting for it.
    pub(super) fn cancel(&mut self) {
        let connector = Arc::clone(&self.shared.connector);
        let key = self.connection().wire.key();
        tokio::spawn(async move { drop(connector.cancel(key).await) });
    }

    /// What the driver's error means here.
    pub(super) fn failure(&mut self, error: tokio_postgres::Error, sql: &str) -> Error {
        if let Some(reported) = error.as_db_error() {
            self.spoiled |= super::error::is_stale_statement(reported);
            let mapped = super::error::from_statement(reported, sql, self.shared.details);
            if mapped.kind() == ErrorKind::OutcomeUnknown && self.reads {
                return self.lost().with_cause(error);
            }
            return mapped;
        }
        let wire = &self.connection().wire;
        if wire.refused_a_row() {
            let outcome = self.outcome();
            return Error::new(ErrorKind::RowTooLarge, "a row is larger than max_row_size")
                .with_outcome(outcome)
                .with_hint("Select less of it, or raise max_row_size.");
        }
        if wire.is_copying() {
            return Error::new(
                ErrorKind::Unsupported,
                "COPY to or from the client is not supported",
            )
            .with_hint("Use StreamQuery to read and parameters to write.");
        }
        if self.reads {
            return self.lost().with_cause(error);
        }
        let database = &self.shared.database;
        let message = format!("the connection to database \"{database}\" was lost during a write");
        Error::new(ErrorKind::OutcomeUnknown, message)
            .with_outcome(Outcome::Unknown)
            .with_cause(error)
    }

    /// The error of a statement that did not answer its cancel in time.
    pub(super) fn deadline_passed(&self) -> Error {
        let database = &self.shared.database;
        if self.reads {
            let message = format!("the deadline passed while database \"{database}\" was working");
            return Error::new(ErrorKind::DeadlineExceeded, message);
        }
        let message = format!("the deadline passed while database \"{database}\" was writing");
        Error::new(ErrorKind::OutcomeUnknown, message).with_outcome(Outcome::Unknown)
    }

    fn outcome(&self) -> Outcome {
        if self.reads { Outcome::NotApplied } else { Outcome::Unknown }
    }

    fn lost(&self) -> Error {
        let database = &self.shared.database;
        let message = format!("the connection to database \"{database}\" was lost");
        Error::new(ErrorKind::ConnectionLost, message).with_retry_after(Duration::from_millis(100))
    }
}

/// What stops a request at its deadline.
struct Guard {
    deadline: Deadline,
    connector: Arc<Connector>,
    key: [u8; 8],
}

impl Guard {
    /// Waits for a request; at the deadline cancels it and gives it a moment to answer. `None`: it
    /// did not.
    async fn watch<F: Future>(self, request: F) -> Option<F::Output> {
        let mut request = Box::pin(request);
        let until = self.deadline.instant().into();
        if let Ok(answer) = tokio::time::timeout_at(until, &mut request).await {
            return Some(answer);
        }
        let cancelled = async {
            drop(self.connector.cancel(self.key).await);
            request.await
        };
        tokio::time::timeout(CANCEL_GRACE, cancelled).await.ok()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(checkout) = self.checkout.take() else { return };
        if !self.busy && !self.touched && checkout.wire.is_idle() {
            return;
        }
        let tag = checkout.wire.tag();
        let drops_statements = tag.starts_with("DEALLOCATE") || tag.starts_with("DISCARD");
        if self.spoiled || drops_statements {
            checkout.discard(CloseReason::Dirty);
            return;
        }
        if checkout.client.is_closed() {
            checkout.discard(CloseReason::Broken);
            return;
        }
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                let cleaning = clean(checkout, Arc::clone(&self.shared), self.busy);
                drop(runtime.spawn(cleaning));
            }
            Err(_none) => checkout.discard(CloseReason::Dirty),
        }
    }
}

/// Brings a connection back to its baseline, or closes it.
async fn clean(checkout: Checkout<Opener>, shared: Arc<Shared>, busy: bool) {
    let until = tokio::time::Instant::from_std(Instant::now() + CLEANING_LIMIT);
    match tokio::time::timeout_at(until, reset(&checkout, &shared, busy)).await {
        Ok(Ok(())) if checkout.wire.is_idle() => {
            shared.resets.fetch_add(1, Relaxed);
        }
        Ok(Ok(()) | Err(_)) | Err(_) => checkout.discard(CloseReason::Dirty),
    }
}

async fn reset(
    connection: &Connection,
    shared: &Shared,
    busy: bool,
) -> std::result::Result<(), tokio_postgres::Error> {
    if busy {
        drop(shared.connector.cancel(connection.wire.key()).await);
        // Behind whatever is still queued: once it is answered, so is all before it.
        drop(connection.client.check_connection().await);
    }
    connection.wire.quiesce().await;
    if connection.wire.in_transaction() {
        connection.client.batch_execute("ROLLBACK").await?;
    }
    connection.client.batch_execute(RESET).await
}
