//! One call, from its headers to the end of its answer.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use http::Uri;
use opentelemetry_semantic_conventions::attribute;
use parking_lot::Mutex;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use super::audit::{AuditFacts, AuditedCall, RefusalCounts, is_refusal};
use super::database_telemetry::DatabaseTelemetry;
use super::log_rate_limit::{LineKind, LogRateLimit};
use super::metrics::{Instruments, is_server_error};
use super::top_statements::{FailureKind, Statement, TopStatements};
use super::traces::{self, TraceContext};
use crate::config::Audit;
use crate::error::{Error, Outcome};

/// The most bytes of a span's attribute that a caller chose.
const MAX_ATTRIBUTE: usize = 200;

/// The records that all calls of a process share.
#[derive(Debug)]
pub(crate) struct CallRecords {
    pub(crate) instruments: Instruments,
    pub(crate) log_rate_limit: LogRateLimit,
    /// Of lines of audit.
    pub(crate) audit_rate_limit: LogRateLimit,
    pub(crate) top_statements: TopStatements,
    pub(crate) refusals: RefusalCounts,
}

/// The telemetry of one call. The default one belongs to no caller.
#[derive(Debug, Default)]
pub(crate) struct RpcCall {
    received: Option<Received>,
    trace: TraceContext,
    labels: OnceLock<CallLabels>,
    statement: OnceLock<Arc<str>>,
    /// The name of the identity of its caller.
    identity: OnceLock<Arc<str>>,
    /// The outcome of its work if it succeeds.
    outcome: OnceLock<Outcome>,
    work: Mutex<Work>,
    failure: Mutex<Option<Failure>>,
    audit: AuditFacts,
}

/// The labels of a call in log lines.
#[derive(Debug)]
pub(crate) struct CallLabels {
    pub(crate) database: Arc<str>,
    pub(crate) caller: Arc<str>,
    /// The caller's own name for the call.
    pub(crate) tag: Arc<str>,
}

/// The failure of a sampled call, for its span.
#[derive(Debug)]
struct Failure {
    reason: String,
    outcome: &'static str,
    sqlstate: Option<String>,
}

/// A call that a caller has sent.
#[derive(Debug)]
struct Received {
    records: Arc<CallRecords>,
    method: &'static str,
    began: Instant,
}

#[derive(Debug, Default)]
struct Work {
    /// The wait for the present connection.
    waited: Duration,
    operation: OperationState,
}

#[derive(Debug, Default)]
enum OperationState {
    #[default]
    None,
    /// It waits for a connection.
    Pending(OperationDescription),
    Running {
        since: Instant,
        span: Span,
    },
}

#[derive(Debug, Clone)]
pub(crate) struct OperationDescription {
    pub(crate) database: Arc<DatabaseTelemetry>,
    pub(crate) statement: Statement,
    /// The number of statements of a batch of two or more.
    pub(crate) batch: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OperationTiming {
    /// The wait for its connection; zero for a later command of a transaction.
    pub(crate) waited: Duration,
    /// The time in the database.
    pub(crate) ran: Duration,
}

impl RpcCall {
    pub(crate) fn new(
        records: Arc<CallRecords>,
        method: &'static str,
        began: Instant,
        trace: TraceContext,
    ) -> Self {
        trace.set(attribute::RPC_METHOD, method);
        Self { received: Some(Received { records, method, began }), trace, ..Self::default() }
    }

    /// The method, as in `rowgate.v1.DatabaseService/Query`; empty for none.
    pub(crate) fn method(&self) -> &'static str {
        self.received.as_ref().map_or("", |received| received.method)
    }

    /// The arrival of its headers; `None` if no caller sent it.
    pub(crate) fn began(&self) -> Option<Instant> {
        self.received.as_ref().map(|received| received.began)
    }

    /// Sets its labels, unless it has some.
    pub(crate) fn set_labels(&self, database: &Arc<str>, caller: &Arc<str>, tag: &Arc<str>) {
        self.labels.get_or_init(|| CallLabels {
            database: Arc::clone(database),
            caller: Arc::clone(caller),
            tag: Arc::clone(tag),
        });
    }

    /// Sets the identity of its caller: the section of the configuration, with a member's own name behind a slash; and its
    /// kind.
    pub(crate) fn set_identity(&self, name: &Arc<str>, kind: &'static str) {
        self.identity.get_or_init(|| Arc::clone(name));
        self.audit.set_identity_kind(kind);
    }

    /// Lets it have a line of audit, if it belongs to those that are to have one.
    pub(crate) fn set_audit(&self, scope: Audit, peer: &Arc<str>) {
        self.audit.begin(scope, peer);
    }

    /// Its labels; `None` if it was rejected before they were known.
    pub(crate) fn labels(&self) -> Option<&CallLabels> {
        self.labels.get()
    }

    /// Sets the summary of its statement, unless it has one.
    pub(crate) fn set_statement(&self, summary: &Arc<str>) {
        self.statement.get_or_init(|| Arc::clone(summary));
    }

    /// Sets the outcome of its work if it succeeds.
    pub(crate) fn does(&self, outcome: Outcome) {
        self.outcome.get_or_init(|| outcome);
    }

    /// The outcome of its work if it succeeds; `Unknown` if it was not set, as of streams.
    pub(crate) fn outcome(&self) -> Outcome {
        self.outcome.get().copied().unwrap_or(Outcome::Unknown)
    }

    pub(crate) fn statement(&self) -> Option<&str> {
        self.statement.get().map(|statement| &**statement)
    }

    /// Records an error that it, or one command within it, was answered with.
    pub(crate) fn answered_with(&self, error: &Error) {
        let Some(Received { records, method, .. }) = &self.received else { return };
        self.audit.answered_with(error);
        let reason = error.label();
        let outcome = error.outcome().as_str();
        let database = self.labels.get().map(|labels| &labels.database);
        records.instruments.record_failure(method, database, reason, outcome);
        if is_refusal(error) {
            let identity = self.identity.get().map_or("", |name| &**name);
            // The names of members have no bound.
            let section = identity.split('/').next().unwrap_or_default();
            records.instruments.record_refusal(method, section, reason);
            records.refusals.add(section, reason);
        }
        let kind = FailureKind { method, reason, outcome, database: database.cloned() };
        records.top_statements.record_failure(kind, Instant::now());
    }

    /// Notes the error that ends it, for its span.
    pub(crate) fn failed(&self, error: &Error) {
        if self.trace.is_sampled() {
            *self.failure.lock() = Some(Failure {
                reason: error.reason().to_owned(),
                outcome: error.outcome().as_str(),
                sqlstate: traces::sqlstate(error).map(str::to_owned),
            });
        }
    }

    /// Sets the attributes of its span that name the server and the caller.
    pub(crate) fn set_peers(&self, uri: &Uri, caller: Option<IpAddr>) {
        if !self.trace.is_sampled() {
            return;
        }
        let path = uri.path().strip_prefix('/').unwrap_or_default();
        if path != self.method() {
            // A label must not hold it.
            self.trace.set(attribute::RPC_METHOD_ORIGINAL, truncated(path));
        }
        if let Some(host) = uri.host() {
            self.trace.set(attribute::SERVER_ADDRESS, truncated(host));
        }
        if let Some(port) = uri.port_u16() {
            self.trace.set(attribute::SERVER_PORT, i64::from(port));
        }
        if let Some(caller) = caller {
            self.trace.set(attribute::CLIENT_ADDRESS, caller.to_string());
        }
    }

    /// Returns the number of suppressed lines, if a line of its method, `reason` and database may be logged.
    pub(crate) fn admit_log_line(&self, reason: &'static str) -> Option<u64> {
        let Some(Received { records, method, .. }) = &self.received else { return Some(0) };
        let database = self.labels.get().map(|labels| Arc::clone(&labels.database));
        records.log_rate_limit.admit(LineKind { method, reason, database }, Instant::now())
    }

    /// Ends it with a status by its name, as in `OK`.
    pub(crate) fn ended(&self, code: &'static str) {
        let Some(Received { records, method, began }) = &self.received else { return };
        let duration = began.elapsed();
        records.instruments.record_call(method, code, duration);
        let labels = self.labels.get();
        let audited = AuditedCall {
            facts: &self.audit,
            method,
            identity: self.identity.get().map_or("", |name| &**name),
            database: labels.map_or("", |labels| &*labels.database),
            tag: labels.map_or("", |labels| &*labels.tag),
            statement: self.statement().unwrap_or_default(),
            code,
            outcome: self.outcome(),
            duration,
        };
        audited.write(&records.audit_rate_limit);
        if self.trace.is_sampled() {
            self.trace.set(attribute::RPC_RESPONSE_STATUS_CODE, code);
            if code != "OK" {
                self.set_failure(code);
            }
            self.trace.end(is_server_error(code).then_some(code));
        }
    }

    fn set_failure(&self, code: &'static str) {
        // An error of a command within the call is not the call's own.
        let Some(Failure { reason, outcome, sqlstate }) = self.failure.lock().take() else {
            return self.trace.set(attribute::ERROR_TYPE, code);
        };
        self.trace.set(attribute::ERROR_TYPE, reason);
        self.trace.set("rowgate.outcome", outcome);
        if let Some(sqlstate) = sqlstate {
            self.trace.set(attribute::DB_RESPONSE_STATUS_CODE, sqlstate);
        }
    }

    pub(crate) fn trace(&self) -> &TraceContext {
        &self.trace
    }

    /// Begins an operation on the connection that it acquires next.
    pub(crate) fn begin(&self, description: OperationDescription) {
        self.work.lock().operation = OperationState::Pending(description);
    }

    /// Begins an operation on the connection that it has.
    pub(crate) fn begin_now(&self, description: &OperationDescription) {
        let span = self.operation_span(description);
        let operation = OperationState::Running { since: Instant::now(), span };
        *self.work.lock() = Work { waited: Duration::ZERO, operation };
    }

    /// Starts the operation that waited for a connection, which the call has acquired.
    pub(crate) fn connection_acquired(&self, waited: Duration, now: Instant) {
        let mut work = self.work.lock();
        work.waited = waited;
        if let OperationState::Pending(description) = &work.operation {
            let span = self.operation_span(description);
            work.operation = OperationState::Running { since: now, span };
        }
    }

    /// Ends the operation; `None` if it was never started.
    pub(crate) fn end_operation(&self) -> Option<(OperationTiming, Span)> {
        let mut work = self.work.lock();
        let waited = std::mem::take(&mut work.waited);
        match std::mem::take(&mut work.operation) {
            OperationState::Running { since, span } => {
                Some((OperationTiming { waited, ran: since.elapsed() }, span))
            }
            OperationState::None | OperationState::Pending(_) => None,
        }
    }

    fn operation_span(&self, description: &OperationDescription) -> Span {
        if !self.trace.is_sampled() {
            return Span::none();
        }
        let OperationDescription { database, statement: Statement { operation, text }, batch } =
            description;
        let span = self.trace.operation(&format!("{operation} {}", database.name()));
        database.describe(&span);
        span.set_attribute(attribute::DB_OPERATION_NAME, *operation);
        if !text.is_empty() {
            span.set_attribute(attribute::DB_QUERY_TEXT, Arc::clone(text));
        }
        if let Some(count) = batch.and_then(|count| i64::try_from(count).ok()) {
            span.set_attribute(attribute::DB_OPERATION_BATCH_SIZE, count);
        }
        span
    }
}

fn truncated(text: &str) -> String {
    text.get(..text.floor_char_boundary(MAX_ATTRIBUTE)).unwrap_or_default().to_owned()
}
