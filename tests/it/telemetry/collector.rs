//! A collector of OTLP, over gRPC and over HTTP on one port: what a test sees is what any collector is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::oneshot;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::harness::client::PATIENCE;
use crate::harness::wait::eventually;

/// Listens until it is dropped.
pub(super) struct Collector {
    address: SocketAddr,
    taken: Arc<Mutex<Taken>>,
    _stop: oneshot::Sender<()>,
}

/// The requests that were received.
#[derive(Debug, Default)]
struct Taken {
    spans: Vec<Span>,
    /// The latest of each name.
    metrics: BTreeMap<String, Metric>,
    /// Attributes of whoever sends, with the version of the conventions.
    resources: BTreeSet<String>,
    /// The transport and signal of each request: `grpc traces`.
    ways: BTreeSet<String>,
    /// All of it, as text.
    text: String,
}

impl Collector {
    /// Listens on a port of its own.
    pub(super) fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").expect("a port is free"))
    }

    /// Takes what comes to `listener`.
    pub(super) fn on(listener: TcpListener) -> Self {
        let address = listener.local_addr().expect("it listens");
        let taken = Arc::new(Mutex::new(Taken::default()));
        let (stop, stopped) = oneshot::channel();
        let taker = Taker(Arc::clone(&taken));
        // On a thread of its own, as tests wait on theirs.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be made").block_on(serve(listener, taker, stopped));
        });
        Self { address, taken, _stop: stop }
    }

    /// The value of `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until there is something to be seen in the spans.
    #[track_caller]
    pub(super) fn spans<T>(&self, what: &str, look: impl Fn(&[Span]) -> Option<T>) -> T {
        let seen = || look(&self.taken.lock().spans);
        let start = std::time::Instant::now();
        eventually(what, PATIENCE, || {
            let found = seen();
            if found.is_none() && start.elapsed() > PATIENCE / 4 {
                let taken = self.taken.lock();
                let names: Vec<_> = taken.spans.iter().map(|span| &span.name).collect();
                panic!("{what}: not in {names:?}");
            }
            found
        })
    }

    /// Waits until there is something to be seen in the metrics.
    #[track_caller]
    pub(super) fn metrics<T>(
        &self,
        what: &str,
        look: impl Fn(&BTreeMap<String, Metric>) -> Option<T>,
    ) -> T {
        eventually(what, PATIENCE, || look(&self.taken.lock().metrics))
    }

    /// The names of all spans.
    pub(super) fn names(&self) -> Vec<String> {
        self.taken.lock().spans.iter().map(|span| span.name.clone()).collect()
    }

    /// Returns the transport and signal of each request.
    pub(super) fn ways(&self) -> Vec<String> {
        self.taken.lock().ways.iter().cloned().collect()
    }

    /// Returns the resources of the senders.
    pub(super) fn resources(&self) -> Vec<String> {
        self.taken.lock().resources.iter().cloned().collect()
    }

    /// All that came, as text.
    pub(super) fn text(&self) -> String {
        self.taken.lock().text.clone()
    }
}

async fn serve(listener: TcpListener, taker: Taker, stopped: oneshot::Receiver<()>) {
    listener.set_nonblocking(true).expect("it is a socket");
    let listener = tokio::net::TcpListener::from_std(listener).expect("it listens");
    let services = Routes::new(TraceServiceServer::new(taker.clone()))
        .add_service(MetricsServiceServer::new(taker.clone()));
    let also = taker.clone();
    let traces = |head: HeaderMap, body: Bytes| async move {
        taker.take_http(&head, body, Taken::take_traces)
    };
    let metrics = |head: HeaderMap, body: Bytes| async move {
        also.take_http(&head, body, Taken::take_metrics)
    };
    let router = services
        .into_axum_router()
        .route("/v1/traces", post(traces))
        .route("/v1/metrics", post(metrics));
    let serving = tonic::transport::Server::builder()
        .accept_http1(true)
        .add_routes(Routes::from(router))
        .serve_with_incoming(TcpIncoming::from(listener));
    tokio::select! {
        served = serving => served.expect("it serves"),
        _ = stopped => {}
    }
}

/// Takes requests, however they come.
#[derive(Debug, Clone)]
struct Taker(Arc<Mutex<Taken>>);

impl Taker {
    fn take_http<M: Message + Default>(
        self,
        headers: &HeaderMap,
        body: Bytes,
        take: fn(&mut Taken, &str, M),
    ) -> StatusCode {
        if headers["content-type"] != "application/x-protobuf" {
            return StatusCode::UNSUPPORTED_MEDIA_TYPE;
        }
        match M::decode(body) {
            Ok(message) => {
                take(&mut self.0.lock(), "http", message);
                StatusCode::OK
            }
            Err(_) => StatusCode::BAD_REQUEST,
        }
    }
}

#[tonic::async_trait]
impl TraceService for Taker {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().take_traces("grpc", request.into_inner());
        Ok(Response::new(Default::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Taker {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.0.lock().take_metrics("grpc", request.into_inner());
        Ok(Response::new(Default::default()))
    }
}

impl Taken {
    fn take_traces(&mut self, way: &str, request: ExportTraceServiceRequest) {
        self.came(way, "traces", &request);
        for of_resource in request.resource_spans {
            self.sent_by(
                &of_resource.resource.unwrap_or_default().attributes,
                &of_resource.schema_url,
            );
            for of_scope in of_resource.scope_spans {
                assert_eq!(of_scope.scope.expect("there is one").name, "rowgate");
                self.spans.extend(of_scope.spans);
            }
        }
    }

    fn take_metrics(&mut self, way: &str, request: ExportMetricsServiceRequest) {
        self.came(way, "metrics", &request);
        for of_resource in request.resource_metrics {
            self.sent_by(
                &of_resource.resource.unwrap_or_default().attributes,
                &of_resource.schema_url,
            );
            let metrics = of_resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics);
            self.metrics.extend(metrics.map(|metric| (metric.name.clone(), metric)));
        }
    }

    fn came(&mut self, way: &str, what: &str, request: &impl Debug) {
        self.ways.insert(format!("{way} {what}"));
        self.text.push_str(&format!("{request:?}\n"));
    }

    fn sent_by(&mut self, attributes: &[KeyValue], schema: &str) {
        self.resources.insert(format!("schema_url={schema}"));
        let attributes = attributes.iter();
        self.resources.extend(attributes.map(|own| format!("{}={}", own.key, text(own))));
    }
}

/// A value as text.
pub(super) fn text(attribute: &KeyValue) -> String {
    match attribute.value.clone() {
        Some(AnyValue { value: Some(Value::StringValue(text)) }) => text,
        Some(AnyValue { value: Some(Value::IntValue(number)) }) => number.to_string(),
        other => format!("{other:?}"),
    }
}
