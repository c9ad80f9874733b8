//! One database, as telemetry has it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use opentelemetry_semantic_conventions::attribute;
use tracing::Span;

use super::metrics::DatabaseInstruments;
use super::rpc_call::{Intent, RpcCall, Took};
use super::top_statements::{Statement, Statements};
use super::traces;
use crate::error::{Error, ErrorKind};

/// Records what is done in one database.
#[derive(Debug)]
pub struct DatabaseTelemetry {
    name: Arc<str>,
    system: &'static str,
    metrics: DatabaseInstruments,
    slow: Option<Duration>,
    recent: Arc<Statements>,
}

/// Something that runs in a database, until it is told how it ended. Dropped before, it was given up.
#[derive(Debug)]
pub struct Operation {
    database: Arc<DatabaseTelemetry>,
    call: Arc<RpcCall>,
    statement: Statement,
    over: bool,
}

impl DatabaseTelemetry {
    pub(crate) fn new(
        name: &str,
        system: &'static str,
        metrics: super::metrics::Instruments,
        slow: Duration,
        recent: Arc<Statements>,
    ) -> Arc<Self> {
        let name: Arc<str> = name.into();
        let metrics = DatabaseInstruments::new(metrics, system, &name);
        let slow = Some(slow).filter(|slow| !slow.is_zero());
        Arc::new(Self { name, system, metrics, slow, recent })
    }

    /// Its logical name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Begins a statement of a call, on the connection that it is lent next.
    #[must_use]
    pub fn statement(
        self: &Arc<Self>,
        call: &Arc<RpcCall>,
        name: &'static str,
        text: &Arc<str>,
    ) -> Operation {
        self.begin(call, self.intent(name, text), false)
    }

    /// Begins one on the connection that it has.
    #[must_use]
    pub fn command(
        self: &Arc<Self>,
        call: &Arc<RpcCall>,
        name: &'static str,
        text: &Arc<str>,
    ) -> Operation {
        self.begin(call, self.intent(name, text), true)
    }

    /// Begins a batch of two statements or more, on the connection that its call is lent next.
    #[must_use]
    pub fn batch(
        self: &Arc<Self>,
        call: &Arc<RpcCall>,
        statements: usize,
        text: &Arc<str>,
    ) -> Operation {
        let intent = Intent { batch: Some(statements), ..self.intent("BATCH", text) };
        self.begin(call, intent, false)
    }

    /// A connection came back.
    pub fn came_back(&self, held: Duration) {
        self.metrics.came_back(held);
    }

    /// Says in a span which database it is of.
    pub(crate) fn describe(&self, span: &Span) {
        if !span.is_none() {
            traces::set(span, attribute::DB_SYSTEM_NAME, self.system.into());
            traces::set(span, attribute::DB_NAMESPACE, Arc::clone(&self.name).into());
        }
    }

    fn intent(self: &Arc<Self>, name: &'static str, text: &Arc<str>) -> Intent {
        Intent { database: Arc::clone(self), name, text: Arc::clone(text), batch: None }
    }

    fn begin(
        self: &Arc<Self>,
        call: &Arc<RpcCall>,
        intent: Intent,
        has_connection: bool,
    ) -> Operation {
        let statement = Statement { operation: intent.name, text: Arc::clone(&intent.text) };
        call.begin(intent, has_connection);
        Operation { database: Arc::clone(self), call: Arc::clone(call), statement, over: false }
    }
}

impl Operation {
    /// Where it runs.
    #[must_use]
    pub fn database(&self) -> Arc<DatabaseTelemetry> {
        Arc::clone(&self.database)
    }

    /// It has ended; perhaps because an operator told its call to stop. Returns how long it took when that is long: it
    /// is to be logged.
    pub fn end(mut self, error: Option<&Error>, stopped: bool) -> Option<Took> {
        let operator = stopped.then_some("operator");
        let cause =
            error.and_then(|error| cause(error.kind()).map(|cause| operator.unwrap_or(cause)));
        self.finish(error, cause)
    }

    /// Its result was not taken: it is over a limit, or its reader stalls.
    pub fn abandoned(mut self) -> Option<Took> {
        let error = Error::new(ErrorKind::Cancelled, "the result is not taken");
        self.finish(Some(&error), Some("abandoned"))
    }

    /// Its caller has gone.
    pub fn given_up(mut self) -> Option<Took> {
        let error = Error::new(ErrorKind::Cancelled, "the caller is gone");
        self.finish(Some(&error), Some("caller"))
    }

    fn finish(&mut self, error: Option<&Error>, cause: Option<&'static str>) -> Option<Took> {
        self.over = true;
        let (took, span) = self.call.over()?;
        let metrics = &self.database.metrics;
        metrics.ended(self.statement.operation, took.ran, error.map(Error::label));
        self.database.recent.ran(&self.statement, took.ran, error.is_some(), Instant::now());
        if let Some(error) = error {
            traces::record_error(&span, error);
        }
        if let Some(cause) = cause {
            metrics.cancelled(cause);
        }
        let slow = self.database.slow.is_some_and(|slow| took.ran >= slow);
        slow.then(|| {
            metrics.was_slow();
            took
        })
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if !self.over {
            let error = Error::new(ErrorKind::Cancelled, "the caller is gone");
            self.finish(Some(&error), Some("caller"));
        }
    }
}

/// What statements are stopped by, as errors tell it.
const CAUSES: [(ErrorKind, &str); 3] = [
    (ErrorKind::DeadlineExceeded, "deadline"),
    (ErrorKind::Cancelled, "caller"),
    (ErrorKind::ShuttingDown, "shutdown"),
];

/// Why a statement was stopped, if its error says that it was.
fn cause(kind: ErrorKind) -> Option<&'static str> {
    CAUSES.iter().find(|(error, _)| *error == kind).map(|(_, cause)| *cause)
}

/// Opening a connection, until it is told how that ended.
#[derive(Debug)]
pub struct Connecting(Span);

impl Connecting {
    /// Begins it, for the call that waits for it if one does.
    #[must_use]
    pub fn begin(database: &DatabaseTelemetry) -> Self {
        let span = traces::connecting();
        database.describe(&span);
        Self(span)
    }

    /// What is done for it.
    #[must_use]
    pub fn span(&self) -> &Span {
        &self.0
    }

    /// It is open.
    pub fn opened(self, database: &DatabaseTelemetry, took: Duration) {
        database.metrics.opened(took);
    }

    /// It could not be opened.
    pub fn failed(&self, error: &Error) {
        traces::record_error(&self.0, error);
    }
}

/// Getting a connection, until it is told how that ended.
#[derive(Debug)]
pub struct Acquiring {
    span: Span,
    began: Instant,
}

impl Acquiring {
    /// Begins it for a call.
    #[must_use]
    pub fn begin(database: &DatabaseTelemetry, call: &RpcCall, now: Instant) -> Self {
        let span = call.trace().acquire();
        database.describe(&span);
        Self { span, began: now }
    }

    /// What connections that are opened meanwhile are opened for.
    #[must_use]
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// A connection was lent.
    pub fn lent(self, database: &DatabaseTelemetry, call: &RpcCall, now: Instant) {
        let waited = now.saturating_duration_since(self.began);
        database.metrics.lent(waited);
        drop(self.span);
        call.lent(waited, now);
    }

    /// None was.
    pub fn failed(self, error: &Error) {
        traces::record_error(&self.span, error);
    }
}
