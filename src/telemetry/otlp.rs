//! The export of traces and metrics by OTLP, on a thread of its own: a collector that is slow or unreachable delays no
//! call, and costs a bounded queue (`OTEL_BSP_MAX_QUEUE_SIZE`) and a log line a minute.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use hyper_rustls::HttpsConnectorBuilder;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
use opentelemetry_otlp::{
    ExporterBuildError, MetricExporter, SpanExporter, WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, Temporality};
use opentelemetry_sdk::trace::{self, SdkTracerProvider, SpanData};
use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::sampling::{SampledIds, Sampling};
use crate::config::{Otel, Protocol};

const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// The limit of one request over HTTP; `OTEL_EXPORTER_OTLP_TIMEOUT` is that of all its attempts.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The export thread; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Sender {
    handle: Handle,
    _stop: oneshot::Sender<()>,
}

impl Sender {
    pub(crate) fn start() -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        std::thread::Builder::new().name("telemetry".to_owned()).spawn(move || {
            // Nothing is ever sent.
            drop(runtime.block_on(stopped));
            runtime.shutdown_background();
        })?;
        Ok(Self { handle, _stop: stop })
    }

    /// Makes the provider of exported spans.
    pub(crate) fn traces(
        &self,
        protocol: Protocol,
        settings: &Otel,
        resource: &Resource,
    ) -> Result<SdkTracerProvider, ExporterBuildError> {
        let _runtime = self.handle.enter();
        let builder = SpanExporter::builder();
        let exporter = match protocol {
            Protocol::Grpc => builder.with_tonic().with_tls_config(tls()).build()?,
            Protocol::Http => builder.with_http().with_http_client(self.client()).build()?,
        };
        Ok(SdkTracerProvider::builder()
            .with_batch_exporter(Monitored::new("traces", exporter))
            .with_sampler(Sampling(settings.sampler).of_the_sdk())
            .with_id_generator(SampledIds::new(settings.sampler))
            .with_resource(resource.clone())
            .build())
    }

    /// Makes the reader that exports metrics every `OTEL_METRIC_EXPORT_INTERVAL`.
    pub(crate) fn metrics(
        &self,
        protocol: Protocol,
    ) -> Result<PeriodicReader<impl PushMetricExporter + use<>>, ExporterBuildError> {
        let _runtime = self.handle.enter();
        let builder = MetricExporter::builder();
        let exporter = match protocol {
            Protocol::Grpc => builder.with_tonic().with_tls_config(tls()).build()?,
            Protocol::Http => builder.with_http().with_http_client(self.client()).build()?,
        };
        Ok(PeriodicReader::builder(Monitored::new("metrics", exporter)).build())
    }

    fn client(&self) -> ExportThreadClient {
        let connector = HttpsConnectorBuilder::new().with_native_roots().unwrap_or_else(|_none| {
            // Without root certificates only plain HTTP works.
            HttpsConnectorBuilder::new().with_tls_config(no_roots())
        });
        let connector = connector.https_or_http().enable_http1().build();
        let client = HyperClient::new(connector, REQUEST_TIMEOUT, None);
        ExportThreadClient { client: std::sync::Arc::new(client), handle: self.handle.clone() }
    }
}

fn no_roots() -> rustls::ClientConfig {
    rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("ring has the default versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

fn tls() -> ClientTlsConfig {
    ClientTlsConfig::new().with_native_roots()
}

/// An HTTP client that runs on the export thread: the SDK's threads have no runtime.
#[derive(Debug)]
struct ExportThreadClient {
    client: std::sync::Arc<dyn HttpClient>,
    handle: Handle,
}

#[async_trait]
impl HttpClient for ExportThreadClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = std::sync::Arc::clone(&self.client);
        self.handle.spawn(async move { client.send_bytes(request).await }).await?
    }
}

/// An exporter whose failures are logged, at a limited rate.
#[derive(Debug)]
struct Monitored<E> {
    signal: &'static str,
    exporter: E,
    failures: Mutex<ExportFailures>,
}

#[derive(Debug, Default)]
struct ExportFailures {
    /// The requests that failed since the last success.
    count: u64,
    last_warning: Option<Instant>,
    /// Tells whether the recovery is to be logged.
    warned: bool,
}

impl<E> Monitored<E> {
    fn new(signal: &'static str, exporter: E) -> Self {
        Self { signal, exporter, failures: Mutex::default() }
    }

    fn record(&self, result: &OTelSdkResult) {
        let signal = self.signal;
        let mut failures = self.failures.lock();
        let Err(error) = result else {
            failures.count = 0;
            if std::mem::take(&mut failures.warned) {
                tracing::info!(signal, "telemetry export recovered");
            }
            return;
        };
        failures.count += 1;
        if failures.last_warning.is_none_or(|last| last.elapsed() >= WARNING_INTERVAL) {
            failures.last_warning = Some(Instant::now());
            failures.warned = true;
            let failed = failures.count;
            tracing::warn!(signal, failed, %error, "telemetry export failed; dropping data");
        }
    }
}

impl<E: trace::SpanExporter> trace::SpanExporter for Monitored<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let result = self.exporter.export(batch).await;
        self.record(&result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl<E: PushMetricExporter> PushMetricExporter for Monitored<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let result = self.exporter.export(metrics).await;
        self.record(&result);
        result
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}
