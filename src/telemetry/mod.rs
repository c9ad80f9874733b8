//! Logs, traces and metrics of a process, and the rules of what may be in them.
//!
//! The only module that knows OpenTelemetry. Other modules report events: an `RpcCall` as it begins and ends, an
//! `Operation` in a `DatabaseTelemetry`, an error that was answered. Settings are arguments: only the SDK itself reads
//! parts of `OTEL_*` from the environment.

mod audit;
mod connection_timing;
mod database_telemetry;
mod db_operation;
mod latencies;
mod log_rate_limit;
mod logs;
pub mod metrics;
mod otlp;
mod rpc_call;
mod sampling;
pub(crate) mod top_statements;
mod traces;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use http::HeaderMap;
use opentelemetry::metrics::{Meter, MeterProvider as _};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::resource::{ResourceDetector as _, SdkProvidedResourceDetector};
use opentelemetry_sdk::trace::SdkTracerProvider;
use opentelemetry_semantic_conventions::SCHEMA_URL;
use opentelemetry_semantic_conventions::attribute as semconv;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

pub(crate) use audit::Refusals;
pub(crate) use connection_timing::{Acquiring, Connecting};
pub(crate) use database_telemetry::DatabaseTelemetry;
pub(crate) use db_operation::Operation;
pub use logs::InitError;
pub(crate) use rpc_call::{OperationTiming, RpcCall};

use crate::config;
use audit::RefusalCounts;
use log_rate_limit::LogRateLimit;
use metrics::{DatabaseGauges, Instruments};
use rpc_call::CallRecords;
use top_statements::{DatabaseStatements, Failures, RecentOperations, TopStatements, Totals};
use traces::Tracing;

/// The name of the scope, and of the service unless it is configured.
const NAME: &str = "rowgate";

/// The longest wait for a collector at the end of a process.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// The telemetry of a process; cheap to clone.
#[derive(Debug, Clone)]
pub struct Telemetry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tracing: Tracing,
    records: Arc<CallRecords>,
    meter: Meter,
    registry: prometheus::Registry,
    slow: Duration,
    traces: Option<SdkTracerProvider>,
    metrics: SdkMeterProvider,
    /// Dropped after the providers that send through it.
    sender: Option<otlp::Sender>,
}

impl Drop for Inner {
    /// Drops the providers on another thread: one that was not shut down flushes and blocks.
    fn drop(&mut self) {
        if self.sender.is_some() {
            let providers = (self.traces.take(), std::mem::take(&mut self.metrics));
            // Without a thread they are dropped here.
            drop(std::thread::Builder::new().spawn(move || drop(providers)));
        }
    }
}

impl Telemetry {
    /// Starts logs, traces and metrics, for the whole process.
    ///
    /// # Errors
    /// An invalid log filter, an export that cannot be set up as configured, or logging that was started before.
    pub fn start(settings: &config::Telemetry) -> Result<Self, InitError> {
        let telemetry = Self::without_logs(settings)?;
        let tracer = telemetry.0.traces.as_ref().map(|traces| traces.tracer_with_scope(scope()));
        logs::start(settings, tracer)?;
        Ok(telemetry)
    }

    /// Makes the telemetry of a database whose records are discarded.
    pub(crate) fn silent(name: &str) -> Arc<DatabaseTelemetry> {
        let instruments = Instruments::new(&SdkMeterProvider::default().meter(NAME));
        let statements = DatabaseStatements::new(Instant::now());
        DatabaseTelemetry::new(name, "", instruments, Duration::ZERO, statements)
    }

    /// Starts traces and metrics without logs; spans are then discarded.
    ///
    /// # Errors
    /// An export that cannot be set up as configured.
    pub fn without_logs(settings: &config::Telemetry) -> Result<Self, InitError> {
        let otel = &settings.otel;
        let exports = otel.traces.is_some() || otel.metrics.is_some();
        let sender = exports.then(otlp::Sender::start).transpose().map_err(export_error)?;
        let resource = resource();
        let registry = prometheus::Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .build()
            .map_err(export_error)?;
        let mut meters = SdkMeterProvider::builder().with_resource(resource.clone());
        if !otel.disabled {
            meters = meters.with_reader(exporter);
        }
        if let (Some(sender), Some(protocol)) = (&sender, otel.metrics) {
            meters = meters.with_reader(sender.metrics(protocol).map_err(export_error)?);
        }
        let traces = match (&sender, otel.traces) {
            (Some(sender), Some(protocol)) => {
                Some(sender.traces(protocol, otel, &resource).map_err(export_error)?)
            }
            (Some(_) | None, _) => None,
        };
        let metrics = meters.build();
        let meter = metrics.meter_with_scope(scope());
        let records = CallRecords {
            instruments: Instruments::new(&meter),
            log_rate_limit: LogRateLimit::default(),
            audit_rate_limit: LogRateLimit::default(),
            top_statements: TopStatements::new(Instant::now()),
            refusals: RefusalCounts::default(),
        };
        Ok(Self(Arc::new(Inner {
            tracing: Tracing::new(otel, traces.is_some()),
            records: Arc::new(records),
            meter,
            registry,
            slow: settings.slow_query,
            traces,
            metrics,
            sender,
        })))
    }

    /// Begins a call of `method`, whose `headers` arrived when it `began`.
    pub(crate) fn call(
        &self,
        system: &'static str,
        method: &'static str,
        headers: &HeaderMap,
        began: Instant,
    ) -> RpcCall {
        let trace = self.0.tracing.begin(method, headers);
        trace.set(semconv::RPC_SYSTEM_NAME, system);
        RpcCall::new(Arc::clone(&self.0.records), method, began, trace)
    }

    pub(crate) fn database(&self, name: &str, system: &'static str) -> Arc<DatabaseTelemetry> {
        let CallRecords { instruments, top_statements, .. } = &*self.0.records;
        let statements = top_statements.add_database(name, Instant::now());
        DatabaseTelemetry::new(name, system, instruments.clone(), self.0.slow, statements)
    }

    /// Observes `source` at each collection of metrics.
    pub(crate) fn observe(&self, source: impl Fn() -> Vec<DatabaseGauges> + Send + Sync + 'static) {
        metrics::observe(&self.0.meter, &Arc::new(source));
    }

    pub(crate) fn recent_operations(&self, database: &str) -> RecentOperations {
        self.0.records.top_statements.operations(database, Instant::now())
    }

    /// The totals of a database since the start.
    pub(crate) fn totals(&self, database: &str) -> Totals {
        self.0.records.top_statements.totals(database)
    }

    /// The errors that were recently answered, the most frequent first.
    pub(crate) fn failures(&self) -> Vec<Failures> {
        self.0.records.top_statements.failures(Instant::now())
    }

    /// The calls that were refused since the start, by caller and reason.
    pub(crate) fn refusals(&self) -> Vec<Refusals> {
        self.0.records.refusals.all()
    }

    /// Renders all metrics in Prometheus' text format; fails with the reason why they cannot be written.
    pub(crate) fn metrics(&self) -> Result<String, String> {
        metrics::render(&self.0.registry).map_err(|error| error.to_string())
    }

    /// Exports what is pending, within `limit`; nothing is recorded or exported afterwards.
    pub(crate) async fn end(&self, limit: Duration) {
        if self.0.sender.is_none() {
            return;
        }
        let limit = limit.min(FLUSH_TIMEOUT);
        let traces = self.0.traces.clone();
        let metrics = self.0.metrics.clone();
        // The exporters log failures.
        let traces = spawn_blocking(move || traces.map(|it| it.shutdown_with_timeout(limit)));
        let metrics = spawn_blocking(move || metrics.shutdown_with_timeout(limit));
        let both = async { tokio::join!(traces, metrics) };
        drop(tokio::time::timeout(limit, both).await);
    }
}

/// The tasks of all runtimes of a process; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tasks(Arc<OnceLock<Vec<Handle>>>);

impl Tasks {
    /// Sets the runtimes, once.
    pub(crate) fn watch(&self, runtimes: Vec<Handle>) {
        self.0.set(runtimes).unwrap_or_default();
    }

    pub(crate) fn alive(&self) -> usize {
        let runtimes = self.0.get().into_iter().flatten();
        runtimes.map(|runtime| runtime.metrics().num_alive_tasks()).sum()
    }
}

fn export_error(error: impl std::fmt::Display) -> InitError {
    InitError::Export(error.to_string())
}

/// The resource of exported telemetry: `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` have precedence.
fn resource() -> Resource {
    // A resource built from both detectors does not keep the precedence that the specification demands.
    let configured = SdkProvidedResourceDetector.detect().get(&semconv::SERVICE_NAME.into());
    let configured = configured.map(|name| name.to_string());
    let name = configured.filter(|name| !name.starts_with("unknown_service"));
    Resource::builder()
        .with_service_name(name.unwrap_or_else(|| NAME.to_owned()))
        .with_attribute(KeyValue::new(semconv::SERVICE_VERSION, env!("CARGO_PKG_VERSION")))
        .with_schema_url([], SCHEMA_URL)
        .build()
}

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder(NAME)
        .with_version(env!("CARGO_PKG_VERSION"))
        .with_schema_url(SCHEMA_URL)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tasks_count_until_they_have_ended() {
        let tasks = Tasks::default();
        assert_eq!(tasks.alive(), 0);
        tasks.watch(vec![Handle::current()]);
        let waits = tokio::spawn(std::future::pending::<()>());
        assert_eq!(tasks.alive(), 1);
        waits.abort();
        assert!(waits.await.is_err());
        assert_eq!(tasks.alive(), 0);
    }
}
