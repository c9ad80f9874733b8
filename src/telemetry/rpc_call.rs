//! One call, from its headers to the end of its answer.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use http::Uri;
use opentelemetry_semantic_conventions::attribute;
use parking_lot::Mutex;
use tracing::Span;

use super::traces;
use super::traces::{TraceContext, TraceIds};
use super::{DatabaseTelemetry, Telemetry};
use crate::error::Error;

/// The status of calls that ended well.
const OK: &str = "OK";

/// Of what a caller chose, a span holds so many bytes at most.
const LONGEST: usize = 200;

/// What telemetry knows of one call. The default one is nobody's.
#[derive(Debug, Default)]
pub struct RpcCall {
    served: Option<Served>,
    trace: TraceContext,
    about: OnceLock<About>,
    statement: OnceLock<Arc<str>>,
    work: Mutex<Work>,
    failure: Mutex<Option<Failure>>,
}

/// What a call is about, as lines of the log tell it.
#[derive(Debug)]
pub struct About {
    /// The database's logical name.
    pub database: Arc<str>,
    /// Who calls.
    pub caller: String,
    /// What the caller calls it.
    pub tag: String,
}

/// Why a call that is sampled failed, as its span tells it.
#[derive(Debug)]
struct Failure {
    reason: String,
    outcome: &'static str,
    sqlstate: Option<String>,
}

/// A call that somebody sent.
#[derive(Debug)]
struct Served {
    telemetry: Telemetry,
    method: &'static str,
    began: Instant,
}

/// What a call does in its database.
#[derive(Debug, Default)]
struct Work {
    /// The wait for the connection that it works on.
    waited: Duration,
    operation: State,
}

/// An operation in the database.
#[derive(Debug, Default)]
enum State {
    /// There is none.
    #[default]
    None,
    /// It waits for a connection.
    Pending(Intent),
    /// It runs.
    Running { since: Instant, span: Span },
}

/// What is about to run.
#[derive(Debug, Clone)]
pub(crate) struct Intent {
    pub(crate) database: Arc<DatabaseTelemetry>,
    pub(crate) name: &'static str,
    /// The statement in short, without literals; empty for none.
    pub(crate) text: Arc<str>,
    /// Statements of a batch, two at least.
    pub(crate) batch: Option<usize>,
}

/// How long an operation took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Took {
    /// To get its connection; zero for a later command of a transaction.
    pub waited: Duration,
    /// In the database.
    pub ran: Duration,
}

impl RpcCall {
    pub(crate) fn new(
        telemetry: Telemetry,
        method: &'static str,
        began: Instant,
        trace: TraceContext,
    ) -> Self {
        if trace.is_sampled() {
            trace.set(attribute::RPC_SYSTEM_NAME, "grpc");
            trace.set(attribute::RPC_METHOD, method);
        }
        Self { served: Some(Served { telemetry, method, began }), trace, ..Self::default() }
    }

    /// The method, as in `rowgate.v1.DatabaseService/Query`; empty for none.
    #[must_use]
    pub fn method(&self) -> &'static str {
        self.served.as_ref().map_or("", |served| served.method)
    }

    /// When its headers had come; `None`: nobody sent it.
    #[must_use]
    pub fn began(&self) -> Option<Instant> {
        self.served.as_ref().map(|served| served.began)
    }

    /// Says what it is about; what is said first stays.
    pub fn is_about(&self, database: &Arc<str>, caller: &str, tag: &str) {
        let about = || About {
            database: Arc::clone(database),
            caller: caller.to_owned(),
            tag: tag.to_owned(),
        };
        self.about.get_or_init(about);
    }

    /// What it is about; `None`: it was refused before that was known.
    #[must_use]
    pub fn about(&self) -> Option<&About> {
        self.about.get()
    }

    /// Says what it runs, without literals; what is said first stays.
    pub fn runs(&self, summary: &Arc<str>) {
        self.statement.get_or_init(|| Arc::clone(summary));
    }

    /// What it runs.
    #[must_use]
    pub fn statement(&self) -> Option<&str> {
        self.statement.get().map(|statement| &**statement)
    }

    /// It was answered with an error: its own end, or that of a command `within` it.
    pub fn failed(&self, error: &Error, within: bool) {
        let Some(Served { telemetry, method, .. }) = &self.served else { return };
        let outcome = error.outcome().as_str();
        let database = self.about.get().map(|about| &about.database);
        telemetry.instruments().failed((method, database), error.label(), outcome);
        telemetry.recent().failed(method, error.label(), outcome, Instant::now());
        if self.trace.is_sampled() && !within {
            let sqlstate = traces::sqlstate(error).map(str::to_owned);
            let failure = Failure { reason: error.reason().to_owned(), outcome, sqlstate };
            *self.failure.lock() = Some(failure);
        }
    }

    /// Says in its span where it was sent, and by whom.
    pub fn asked(&self, uri: &Uri, caller: Option<IpAddr>) {
        if !self.trace.is_sampled() {
            return;
        }
        let path = uri.path().strip_prefix('/').unwrap_or_default();
        if path != self.method() {
            // A label must not hold it.
            self.trace.set(attribute::RPC_METHOD_ORIGINAL, shortened(path));
        }
        if let Some(host) = uri.host() {
            self.trace.set(attribute::SERVER_ADDRESS, shortened(host));
        }
        if let Some(port) = uri.port_u16() {
            self.trace.set(attribute::SERVER_PORT, i64::from(port));
        }
        if let Some(caller) = caller {
            self.trace.set(attribute::CLIENT_ADDRESS, caller.to_string());
        }
    }

    /// Whether a line about it may be written that many others are like, by their method, `kind` and database; and how
    /// many of them were not since the last.
    #[must_use]
    pub fn may_tell(&self, kind: &'static str) -> Option<u64> {
        let Some(Served { telemetry, method, .. }) = &self.served else { return Some(0) };
        let database = self.about.get().map(|about| Arc::clone(&about.database));
        telemetry.log_rate_limit().admit((method, kind, database), Instant::now())
    }

    /// It has ended with a status: its name, as in `OK`.
    pub fn ended(&self, code: &'static str) {
        let Some(Served { telemetry, method, began }) = &self.served else { return };
        telemetry.instruments().called(method, code, began.elapsed());
        if self.trace.is_sampled() {
            self.trace.set(attribute::RPC_RESPONSE_STATUS_CODE, code);
            if code != OK {
                self.tell_failure(code);
            }
            self.trace.end(is_the_servers(code).then_some(code));
        }
    }

    /// Says in its span why it failed. An error of a command within it is none of its own.
    fn tell_failure(&self, code: &'static str) {
        let Some(Failure { reason, outcome, sqlstate }) = self.failure.lock().take() else {
            return self.trace.set(attribute::ERROR_TYPE, code);
        };
        self.trace.set(attribute::ERROR_TYPE, reason);
        self.trace.set("rowgate.outcome", outcome);
        if let Some(sqlstate) = sqlstate {
            self.trace.set(attribute::DB_RESPONSE_STATUS_CODE, sqlstate);
        }
    }

    /// Its trace.
    #[must_use]
    pub fn trace(&self) -> &TraceContext {
        &self.trace
    }

    /// What log lines say of its trace.
    #[must_use]
    pub fn ids(&self) -> Option<TraceIds> {
        self.trace.ids()
    }

    /// It has a connection from now on: what waited for it runs.
    pub fn lent(&self, waited: Duration, now: Instant) {
        let mut work = self.work.lock();
        work.waited = waited;
        if let State::Pending(intent) = &work.operation {
            let span = self.span(intent);
            work.operation = State::Running { since: now, span };
        }
    }

    /// Something is to be run; on a connection that it has, or else once it is lent one.
    pub(crate) fn begin(&self, intent: Intent, has_connection: bool) {
        let mut work = self.work.lock();
        if has_connection {
            work.waited = Duration::ZERO;
            work.operation = State::Running { since: Instant::now(), span: self.span(&intent) };
        } else {
            work.operation = State::Pending(intent);
        }
    }

    /// It is over. `None`: it never began.
    pub(crate) fn over(&self) -> Option<(Took, Span)> {
        let mut work = self.work.lock();
        let waited = std::mem::take(&mut work.waited);
        match std::mem::take(&mut work.operation) {
            State::Running { since, span } => Some((Took { waited, ran: since.elapsed() }, span)),
            State::None | State::Pending(_) => None,
        }
    }

    fn span(&self, intent: &Intent) -> Span {
        if !self.trace.is_sampled() {
            return Span::none();
        }
        let Intent { database, name, text, batch } = intent;
        let span = self.trace.operation(&format!("{name} {}", database.name()));
        database.describe(&span);
        let set = |key, value: opentelemetry::Value| traces::set(&span, key, value);
        set(attribute::DB_OPERATION_NAME, (*name).into());
        if !text.is_empty() {
            set(attribute::DB_QUERY_TEXT, Arc::clone(text).into());
        }
        if let Some(count) = batch {
            set(
                attribute::DB_OPERATION_BATCH_SIZE,
                i64::try_from(*count).unwrap_or(i64::MAX).into(),
            );
        }
        span
    }
}

fn shortened(text: &str) -> String {
    text.get(..text.floor_char_boundary(LONGEST)).unwrap_or_default().to_owned()
}

/// Whether a status is a failure of the server (semantic conventions for gRPC, spans of servers).
pub(crate) fn is_the_servers(code: &str) -> bool {
    let failures =
        ["UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"];
    failures.contains(&code)
}
