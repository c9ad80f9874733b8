//! The trace of a call: the caller's ids, and, if the call is sampled, its spans.
//!
//! Spans are made with an explicit parent and never entered: a call's futures need not be wrapped, and a call that is
//! not sampled has no span at all.

use http::HeaderMap;
use opentelemetry::propagation::{TextMapCompositePropagator, TextMapPropagator};
use opentelemetry::trace::{SpanContext, Status, TraceContextExt};
use opentelemetry::{Context, Value};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};
use opentelemetry_semantic_conventions::attribute as semconv;
use parking_lot::Mutex;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::sampling::Sampling;
use crate::config::Otel;
use crate::error::Error;

/// The target of the spans that are exported; none of them is in a log line.
pub(crate) const TARGET: &str = "rowgate::trace";

/// The metadata that carries a trace (W3C Trace Context, 3.2).
const TRACEPARENT: &str = "traceparent";

/// Makes a span that is a child of another. Its level is ERROR, which lowers no log filter.
macro_rules! span {
    ($name:literal, $parent:expr, $kind:literal, $title:expr) => {
        tracing::error_span!(
            target: TARGET,
            parent: $parent,
            $name,
            otel.name = $title,
            otel.kind = $kind
        )
    };
}

/// Begins the traces of calls.
#[derive(Debug)]
pub(crate) struct Tracing {
    /// The sampler of calls; `None` if no spans are exported.
    sampling: Option<Sampling>,
    propagator: Option<TextMapCompositePropagator>,
}

impl Tracing {
    pub(crate) fn new(settings: &Otel, exported: bool) -> Self {
        let mut propagators: Vec<Box<dyn TextMapPropagator + Send + Sync>> =
            vec![Box::new(TraceContextPropagator::new())];
        if settings.baggage {
            propagators.push(Box::new(BaggagePropagator::new()));
        }
        let propagator =
            settings.trace_context.then(|| TextMapCompositePropagator::new(propagators));
        let sampling = exported.then_some(Sampling(settings.sampler));
        Self { sampling, propagator }
    }

    /// Begins the trace of a call of `method` with these `headers`.
    pub(crate) fn begin(&self, method: &'static str, headers: &HeaderMap) -> TraceContext {
        let propagator = self.propagator.as_ref().filter(|_| headers.contains_key(TRACEPARENT));
        let context = propagator.map(|propagator| {
            propagator.extract_with_context(&Context::new(), &HeaderExtractor(headers))
        });
        let caller = context.as_ref().map(|context| context.span().span_context().clone());
        let caller = caller.filter(SpanContext::is_valid);
        let samples = |sampling: Sampling| sampling.samples(caller.as_ref(), fastrand::f64());
        if !self.sampling.is_some_and(samples) {
            return TraceContext { caller, spans: None };
        }
        let call = span!("call", None, "server", method);
        if let Some(context) = context {
            // It fails if nothing takes spans, and then nothing is lost.
            call.set_parent(context).unwrap_or_default();
        }
        let parent = Mutex::new(call.clone());
        let spans = Box::new(Spans { call, parent, last: Mutex::default() });
        TraceContext { caller, spans: Some(spans) }
    }
}

#[derive(Debug, Default)]
pub(crate) struct TraceContext {
    /// The caller's span, if it sent one.
    caller: Option<SpanContext>,
    /// The spans of a call that is sampled.
    spans: Option<Box<Spans>>,
}

#[derive(Debug)]
struct Spans {
    /// The server's span.
    call: Span,
    /// The parent of new spans: the call, or its present attempt.
    parent: Mutex<Span>,
    /// The last span of the present attempt.
    last: Mutex<Option<SpanContext>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TraceIds {
    pub(crate) trace_id: String,
    /// 16 hexadecimal digits: the server's span, or the caller's if the server has none.
    pub(crate) span_id: String,
}

impl TraceContext {
    /// The ids for log lines; `None` if neither the caller nor the server has a trace.
    pub(crate) fn ids(&self) -> Option<TraceIds> {
        let own = self.spans.as_ref().map(|spans| context_of(&spans.call));
        let context = own.filter(SpanContext::is_valid).or_else(|| self.caller.clone())?;
        Some(TraceIds {
            trace_id: context.trace_id().to_string(),
            span_id: context.span_id().to_string(),
        })
    }

    pub(crate) fn set(&self, key: &'static str, value: impl Into<Value>) {
        if let Some(spans) = &self.spans {
            spans.call.set_attribute(key, value);
        }
    }

    pub(crate) fn is_sampled(&self) -> bool {
        self.spans.is_some()
    }

    /// Ends the server's span, with a failure if there is one. Work after the call's end is not part of it.
    pub(crate) fn end(&self, failure: Option<&'static str>) {
        let Some(spans) = &self.spans else { return };
        if let Some(failure) = failure {
            spans.call.set_status(Status::error(failure));
        }
        let attempt = std::mem::replace(&mut *spans.parent.lock(), spans.call.clone());
        // A span ends when it was last exited.
        attempt.in_scope(|| {});
        spans.call.in_scope(|| {});
    }

    /// Begins the span of an operation in the database.
    pub(crate) fn operation(&self, name: &str) -> Span {
        self.child(|parent| span!("operation", parent, "client", name))
    }

    /// Begins the span of a wait for a connection.
    pub(crate) fn acquire(&self) -> Span {
        self.child(|parent| span!("acquire", parent, "internal", "acquire"))
    }

    fn child(&self, begin: impl FnOnce(&Span) -> Span) -> Span {
        let Some(spans) = &self.spans else { return Span::none() };
        let span = begin(&spans.parent.lock());
        *spans.last.lock() = Some(context_of(&span));
        span
    }

    /// Begins another attempt: its spans are children of one of its own, which is linked to the last span of the
    /// attempt before.
    pub(crate) fn retry(&self, attempt: u32, reason: &str) {
        let Some(spans) = &self.spans else { return };
        let span = span!("retry", &spans.call, "internal", "retry");
        span.set_attribute("rowgate.attempt", i64::from(attempt));
        span.set_attribute("rowgate.retry.reason", reason.to_owned());
        if let Some(last) = spans.last.lock().take() {
            span.add_link(last);
        }
        *spans.parent.lock() = span;
    }
}

/// Begins the span of a connection that is opened within a call's `acquire`.
pub(crate) fn connecting() -> Span {
    let acquire = Span::current();
    if acquire.metadata().is_some_and(|metadata| metadata.target() == TARGET) {
        return span!("connect", &acquire, "client", "connect");
    }
    Span::none()
}

/// Records a failure in a span: the reason and the SQLSTATE, never a message.
pub(crate) fn record_error(span: &Span, error: &Error) {
    if span.is_none() {
        return;
    }
    if let Some(sqlstate) = sqlstate(error) {
        span.set_attribute(semconv::DB_RESPONSE_STATUS_CODE, sqlstate.to_owned());
    }
    span.set_attribute(semconv::ERROR_TYPE, error.reason().to_owned());
    span.set_status(Status::error(error.reason().to_owned()));
}

/// The SQLSTATE of an error, if the database gave one.
pub(crate) fn sqlstate(error: &Error) -> Option<&str> {
    let sqlstate = error.report()?.sqlstate.as_str();
    Some(sqlstate).filter(|sqlstate| !sqlstate.is_empty())
}

fn context_of(span: &Span) -> SpanContext {
    span.context().span().span_context().clone()
}
