//! Traces, metrics and logs as those see them who watch a server.
//!
//! | module | holds |
//! |---|---|
//! | `collector` | takes OTLP, as any collector does |
//! | `scrape` | reads `/metrics` |
//! | `traces` | spans: whose they are, what they say |
//! | `failures` | spans of what failed, and of what was tried again |
//! | `variables` | `OTEL_*` |
//! | `away` | a collector that is not there, and the end of a server |
//! | `metrics` | what moves when, under which labels |
//! | `incidents` | metrics of what goes wrong |
//! | `documented` | docs/METRICS.md, compared |
//! | `lines` | log lines of calls |
//! | `canaries` | secrets and values, which are nowhere |

mod canaries;
mod collector;
mod collector_unreachable;
mod documented;
mod failures;
mod incidents;
mod lines;
mod metrics;
mod scrape;
mod traces;
mod variables;

use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use rowgate::value::proto::{QueryOptions, QueryRequest};

use crate::harness::client::{PATIENCE, request_with, with_deadline};
use crate::harness::{Backend, Service};
use collector::{Collector, text};

/// A server that sends what it records, at once, to a collector.
struct Watched {
    service: Service,
    collector: Collector,
}

impl Watched {
    async fn start(backend: Backend) -> Self {
        Self::with(backend, "", &[]).await
    }

    /// With settings of its database and with further variables.
    async fn with(backend: Backend, settings: &str, variables: &[(&str, &str)]) -> Self {
        let collector = Collector::start();
        let url = collector.url();
        let mut environment = sending_to(&url);
        environment.extend_from_slice(variables);
        let service = Service::with_environment(backend, settings, &environment).await;
        Self { service, collector }
    }
}

/// Variables that have a server send at once.
pub(super) fn sending_to(url: &str) -> Vec<(&str, &str)> {
    vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_BSP_SCHEDULE_DELAY", "20"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "50"),
    ]
}

/// A request that ends at a deadline of the server's own clock.
fn ending_after(sql: &str, timeout: Duration) -> QueryRequest {
    let timeout = prost_types::Duration::try_from(timeout).expect("it is short");
    request_with(sql, QueryOptions { timeout: Some(timeout), ..QueryOptions::default() })
}

/// A caller with a trace of its own, of which one span is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller {
    trace: u128,
    span: u64,
}

impl Caller {
    pub(super) fn new() -> Self {
        Self { trace: fastrand::u128(1..), span: fastrand::u64(1..) }
    }

    pub(super) fn trace_id(self) -> String {
        format!("{:032x}", self.trace)
    }

    pub(super) fn span_id(self) -> String {
        format!("{:016x}", self.span)
    }

    /// A request of a call that the caller traces.
    pub(super) fn traces<T>(self, message: T) -> tonic::Request<T> {
        self.sends(message, "01")
    }

    /// A request of a call that the caller has decided not to trace.
    pub(super) fn ignores<T>(self, message: T) -> tonic::Request<T> {
        self.sends(message, "00")
    }

    fn sends<T>(self, message: T, flags: &str) -> tonic::Request<T> {
        let mut request = with_deadline(message, PATIENCE);
        let parent = format!("00-{}-{}-{flags}", self.trace_id(), self.span_id());
        request.metadata_mut().insert("traceparent", parent.parse().expect("it is ASCII"));
        request
    }

    /// The caller's trace once the server's span of it has come, which ends last.
    #[track_caller]
    fn trace(self, collector: &Collector) -> Trace {
        let own = |span: &&Span| span.trace_id == self.trace.to_be_bytes();
        let is_whole = |spans: &[Span]| {
            let trace = Trace(spans.iter().filter(own).cloned().collect());
            let server = trace.0.iter().any(|span| span.kind() == SpanKind::Server);
            let parents = trace
                .0
                .iter()
                .all(|span| span.kind() == SpanKind::Server || trace.parent_of(span) != "nobody");
            (server && parents).then_some(trace)
        };
        let trace = collector.spans("the trace is whole", is_whole);
        let server = trace.server();
        assert_eq!(server.parent_span_id, self.span.to_be_bytes(), "{server:?}");
        trace
    }
}

/// The spans of one trace.
#[derive(Debug)]
pub(super) struct Trace(Vec<Span>);

impl Trace {
    /// Each span as its name, its kind, and the name of its parent; in order of their beginning.
    pub(super) fn outline(&self) -> Vec<String> {
        let mut spans: Vec<&Span> = self.0.iter().collect();
        spans.sort_by_key(|span| span.start_time_unix_nano);
        let line = |span: &Span| {
            let kind = span.kind().as_str_name().trim_start_matches("SPAN_KIND_");
            format!("{} {kind} of {}", span.name, self.parent_of(span))
        };
        spans.into_iter().map(line).collect()
    }

    fn parent_of(&self, span: &Span) -> &str {
        if span.kind() == SpanKind::Server {
            return "the caller";
        }
        let parent = self.0.iter().find(|other| other.span_id == span.parent_span_id);
        parent.map_or("nobody", |parent| parent.name.as_str())
    }

    /// The server's span.
    pub(super) fn server(&self) -> &Span {
        self.0.iter().find(|span| span.kind() == SpanKind::Server).expect("it has come")
    }

    /// The spans of a name, in order of their beginning.
    pub(super) fn all(&self, name: &str) -> Vec<&Span> {
        let mut all: Vec<_> = self.0.iter().filter(|span| span.name == name).collect();
        all.sort_by_key(|span| span.start_time_unix_nano);
        all
    }

    /// The first span of a name.
    #[track_caller]
    pub(super) fn one(&self, name: &str) -> &Span {
        self.all(name).first().unwrap_or_else(|| panic!("no {name}: {:?}", self.outline()))
    }
}

/// The attributes of a span, each as `key=value`, sorted.
pub(super) fn attributes(span: &Span) -> Vec<String> {
    let own = span.attributes.iter();
    let mut attributes: Vec<_> = own.map(|own| format!("{}={}", own.key, text(own))).collect();
    attributes.sort();
    attributes
}
