//! Logs, traces and metrics: what leaves the process for those who watch it, and what must never be in it.
//!
//! The only place that knows OpenTelemetry. Others hand it what happened: a `RpcCall` as it comes and ends, an `Operation`
//! in a `DatabaseTelemetry`, an error that was answered. It knows settings only as arguments: the environment is read elsewhere,
//! but for what the SDK itself reads of `OTEL_*`.

mod db_operation;
mod log_rate_limit;
mod logs;
pub mod metrics;
mod otlp;
mod rpc_call;
mod sampling;
mod task_count;
pub mod top_statements;
mod traces;

use std::sync::Arc;
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

pub use db_operation::{Acquiring, Connecting, DatabaseTelemetry, Operation};
pub use logs::InitError;
pub use rpc_call::{About, RpcCall, Took};
pub use task_count::Tasks;
pub use traces::{TraceContext, TraceIds};

use crate::config;
use log_rate_limit::LogRateLimit;
use metrics::{Instruments, Reading};
use top_statements::{Failures, Ran, Statements, TopStatements};
use traces::Tracing;

/// The name of what is measured here, as of whoever sends.
const SERVICE: &str = "rowgate";

/// The end of a process waits for a collector no longer than this.
const LAST_REQUESTS: Duration = Duration::from_secs(5);

/// What leaves a process; cheap to clone.
#[derive(Debug, Clone)]
pub struct Telemetry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tracing: Tracing,
    instruments: Instruments,
    meter: Meter,
    registry: prometheus::Registry,
    slow: Duration,
    log_rate_limit: LogRateLimit,
    recent: TopStatements,
    traces: Option<SdkTracerProvider>,
    metrics: SdkMeterProvider,
    /// Ends after what it sends for.
    _sender: Option<otlp::Sender>,
}

impl Drop for Inner {
    /// What was not ended before would send once more, and wait for that.
    fn drop(&mut self) {
        if self._sender.is_some() {
            let left = (self.traces.take(), std::mem::take(&mut self.metrics));
            // Without a thread it is dropped here after all.
            drop(std::thread::Builder::new().spawn(move || drop(left)));
        }
    }
}

impl Telemetry {
    /// Starts logs, traces and metrics, for the whole process.
    ///
    /// # Errors
    /// When the filter of logs is invalid, nothing can be sent as configured, or logging was started before.
    pub fn start(settings: &config::Telemetry) -> Result<Self, InitError> {
        let telemetry = Self::without_logs(settings)?;
        let tracer = telemetry.0.traces.as_ref().map(|traces| traces.tracer_with_scope(scope()));
        logs::start(settings, tracer)?;
        Ok(telemetry)
    }

    /// One that nobody watches, and what records for a database there.
    #[must_use]
    pub fn silent(name: &str) -> Arc<DatabaseTelemetry> {
        let meter = SdkMeterProvider::default().meter(SERVICE);
        let statements = Statements::new(Instant::now());
        DatabaseTelemetry::new(name, "", Instruments::new(&meter), Duration::ZERO, statements)
    }

    /// Starts traces and metrics alone, for who keeps the logs of the process; nothing takes spans then.
    ///
    /// # Errors
    /// When nothing can be sent as configured.
    pub fn without_logs(settings: &config::Telemetry) -> Result<Self, InitError> {
        let cannot = |why: &dyn std::fmt::Display| InitError::Export(why.to_string());
        let otel = &settings.otel;
        let sends = otel.traces.is_some() || otel.metrics.is_some();
        let sender = sends.then(otlp::Sender::start).transpose().map_err(|error| cannot(&error))?;
        let resource = resource();
        let registry = prometheus::Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .scope_info_enabled(false)
            .build()
            .map_err(|error| cannot(&error))?;
        let mut meters = SdkMeterProvider::builder().with_resource(resource.clone());
        if !otel.disabled {
            meters = meters.with_reader(exporter);
        }
        let mut traces = None;
        if let Some(sender) = &sender {
            if let Some(protocol) = otel.metrics {
                let reader = sender.metrics(protocol).map_err(|error| cannot(&error))?;
                meters = meters.with_reader(reader);
            }
            let provider =
                otel.traces.map(|protocol| sender.traces(protocol, otel, &resource)).transpose();
            traces = provider.map_err(|error| cannot(&error))?;
        }
        let metrics = meters.build();
        let meter = metrics.meter_with_scope(scope());
        Ok(Self(Arc::new(Inner {
            tracing: Tracing::new(otel, traces.is_some()),
            instruments: Instruments::new(&meter),
            meter,
            registry,
            slow: settings.slow_query,
            log_rate_limit: LogRateLimit::default(),
            recent: TopStatements::new(Instant::now()),
            traces,
            metrics,
            _sender: sender,
        })))
    }

    /// Takes a call of `method`, whose `headers` had come when it `began`.
    #[must_use]
    pub fn call(&self, method: &'static str, headers: &HeaderMap, began: Instant) -> RpcCall {
        RpcCall::new(self.clone(), method, began, self.0.tracing.begin(method, headers))
    }

    /// What records for one database.
    #[must_use]
    pub fn database(&self, name: &str, system: &'static str) -> Arc<DatabaseTelemetry> {
        let statements = self.0.recent.database(name, Instant::now());
        DatabaseTelemetry::new(name, system, self.0.instruments.clone(), self.0.slow, statements)
    }

    /// Has the state of databases read by `source` whenever metrics are asked for.
    pub fn read(&self, source: impl Fn() -> Vec<Reading> + Send + Sync + 'static) {
        metrics::observe(&self.0.meter, &(Arc::new(source) as metrics::Source));
    }

    /// What ran in a database of late.
    #[must_use]
    pub fn ran(&self, database: &str) -> Ran {
        self.0.recent.ran(database, Instant::now())
    }

    /// The errors that were answered of late, the most frequent first.
    #[must_use]
    pub fn failures(&self) -> Vec<Failures> {
        self.0.recent.failures(Instant::now())
    }

    fn recent(&self) -> &TopStatements {
        &self.0.recent
    }

    fn log_rate_limit(&self) -> &LogRateLimit {
        &self.0.log_rate_limit
    }

    fn instruments(&self) -> &Instruments {
        &self.0.instruments
    }

    /// All metrics, in Prometheus' text format.
    ///
    /// # Errors
    /// Why they cannot be written.
    pub fn metrics(&self) -> Result<String, std::borrow::Cow<'static, str>> {
        metrics::text_of(&self.0.registry)
    }

    /// Sends what is still to be sent, for no longer than this; nothing is measured or sent from then on.
    pub async fn end(&self, limit: Duration) {
        if self.0._sender.is_none() {
            return;
        }
        let limit = limit.min(LAST_REQUESTS);
        let (traces, metrics) = (self.0.traces.clone(), self.0.metrics.clone());
        // Failures are told by what sends.
        let traces = otlp::aside(move || {
            if let Some(traces) = traces {
                traces.shutdown_with_timeout(limit).unwrap_or_default();
            }
        });
        let metrics = otlp::aside(move || {
            metrics.shutdown_with_timeout(limit).unwrap_or_default();
        });
        let both = async { tokio::join!(traces, metrics) };
        drop(tokio::time::timeout(limit, both).await);
    }
}

/// Who sends: `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` go before.
fn resource() -> Resource {
    // In the order of the specification, which building a resource from both does not keep.
    let named = SdkProvidedResourceDetector.detect().get(&semconv::SERVICE_NAME.into());
    let named = named.map(|name| name.to_string());
    let named = named.filter(|name| !name.starts_with("unknown_service"));
    let builder =
        Resource::builder().with_service_name(named.unwrap_or_else(|| SERVICE.to_owned()));
    let version = KeyValue::new(semconv::SERVICE_VERSION, env!("CARGO_PKG_VERSION"));
    builder.with_attribute(version).with_schema_url([], SCHEMA_URL).build()
}

fn scope() -> InstrumentationScope {
    InstrumentationScope::builder(SERVICE)
        .with_version(env!("CARGO_PKG_VERSION"))
        .with_schema_url(SCHEMA_URL)
        .build()
}
