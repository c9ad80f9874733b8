//! Sends traces and metrics by OTLP, from a thread of its own: a collector that is slow or away costs calls
//! nothing, memory no more than the queue has (`OTEL_BSP_MAX_QUEUE_SIZE`), and the log a line now and then.

use std::fmt::Debug;
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
use opentelemetry_sdk::trace;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData};
use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use super::sampling::{Ids, Sampling};
use crate::config::{Otel, Protocol};

/// Between two warnings that the collector takes nothing.
const QUIET: Duration = Duration::from_secs(60);

/// For one request over HTTP, whatever `OTEL_EXPORTER_OTLP_TIMEOUT` says of all its attempts.
const REQUEST: Duration = Duration::from_secs(10);

/// The thread that sends; it ends when this is dropped.
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

    /// What takes spans.
    pub(crate) fn traces(
        &self,
        protocol: Protocol,
        settings: &Otel,
        resource: &Resource,
    ) -> Result<SdkTracerProvider, ExporterBuildError> {
        let _on_our_thread = self.handle.enter();
        let builder = SpanExporter::builder();
        let exporter = match protocol {
            Protocol::Grpc => builder.with_tonic().with_tls_config(tls()).build()?,
            Protocol::Http => builder.with_http().with_http_client(self.client()).build()?,
        };
        Ok(SdkTracerProvider::builder()
            .with_batch_exporter(Told::new("traces", exporter))
            .with_sampler(Sampling::new(settings.sampler).of_the_sdk())
            .with_id_generator(Ids::new(settings.sampler))
            .with_resource(resource.clone())
            .build())
    }

    /// What sends metrics every `OTEL_METRIC_EXPORT_INTERVAL`.
    pub(crate) fn metrics(
        &self,
        protocol: Protocol,
    ) -> Result<PeriodicReader<impl PushMetricExporter + use<>>, ExporterBuildError> {
        let _on_our_thread = self.handle.enter();
        let builder = MetricExporter::builder();
        let exporter = match protocol {
            Protocol::Grpc => builder.with_tonic().with_tls_config(tls()).build()?,
            Protocol::Http => builder.with_http().with_http_client(self.client()).build()?,
        };
        Ok(PeriodicReader::builder(Told::new("metrics", exporter)).build())
    }

    fn client(&self) -> OnThread {
        let roots = HttpsConnectorBuilder::new().with_native_roots();
        let connector = roots.unwrap_or_else(|_none| {
            // Without any only plain HTTP can be spoken.
            HttpsConnectorBuilder::new().with_tls_config(no_roots())
        });
        let connector = connector.https_or_http().enable_http1().build();
        let client = HyperClient::new(connector, REQUEST, None);
        OnThread { client: std::sync::Arc::new(client), handle: self.handle.clone() }
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

/// Speaks HTTP on the thread that sends, whichever thread asks: the SDK's have no runtime.
#[derive(Debug)]
struct OnThread {
    client: std::sync::Arc<dyn HttpClient>,
    handle: Handle,
}

#[async_trait]
impl HttpClient for OnThread {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = std::sync::Arc::clone(&self.client);
        self.handle.spawn(async move { client.send_bytes(request).await }).await?
    }
}

/// An exporter whose failures are told, though not each of them.
struct Told<E> {
    what: &'static str,
    exporter: E,
    trouble: Mutex<Trouble>,
}

/// What is known of failures.
#[derive(Debug, Default)]
struct Trouble {
    /// Requests that failed since one did not.
    failed: u64,
    /// When they were told of.
    last: Option<Instant>,
    /// Whether it is to be told that they are over.
    told: bool,
}

impl<E> Told<E> {
    fn new(what: &'static str, exporter: E) -> Self {
        Self { what, exporter, trouble: Mutex::default() }
    }

    fn tell(&self, result: &OTelSdkResult) {
        let signal = self.what;
        let mut trouble = self.trouble.lock();
        let Err(error) = result else {
            trouble.failed = 0;
            // Of one that comes and goes nothing is said in between either.
            if std::mem::take(&mut trouble.told) {
                tracing::info!(signal, "telemetry is taken again");
            }
            return;
        };
        trouble.failed += 1;
        if trouble.last.is_none_or(|last| last.elapsed() >= QUIET) {
            (trouble.last, trouble.told) = (Some(Instant::now()), true);
            let failed = trouble.failed;
            tracing::warn!(signal, failed, %error, "telemetry cannot be sent and is dropped");
        }
    }
}

impl<E> Debug for Told<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Told").field("what", &self.what).finish_non_exhaustive()
    }
}

impl<E: trace::SpanExporter> trace::SpanExporter for Told<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let result = self.exporter.export(batch).await;
        self.tell(&result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl<E: PushMetricExporter> PushMetricExporter for Told<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let result = self.exporter.export(metrics).await;
        self.tell(&result);
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

/// Runs what blocks on a thread of its own; returns when it is done, or cannot be.
pub(crate) async fn aside(work: impl FnOnce() + Send + 'static) {
    let (done, is_done) = oneshot::channel();
    let thread = std::thread::Builder::new().name("flush".to_owned()).spawn(move || {
        work();
        done.send(()).unwrap_or_default();
    });
    if thread.is_ok() {
        drop(is_done.await);
    }
}
