//! The trace of a call: the caller's ids, and, where the call is sampled, its spans.
//!
//! Spans are made by name, never entered: a call's futures need not be wrapped, and one that is not sampled
//! costs no more than finding that out.

use http::HeaderMap;
use opentelemetry::propagation::{TextMapCompositePropagator, TextMapPropagator};
use opentelemetry::trace::{SpanContext, Status, TraceContextExt};
use opentelemetry::{Context, Key, Value};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};
use opentelemetry_semantic_conventions::attribute as semconv;
use parking_lot::Mutex;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::sampling::Sampling;
use crate::config::Otel;
use crate::error::Error;

/// The target of our spans; nothing else becomes one of OpenTelemetry's, and none stands in a log line.
pub(crate) const TARGET: &str = "rowgate::trace";

/// What carries a trace in the metadata of a call (W3C Trace Context, 3.2).
const TRACEPARENT: &str = "traceparent";

/// Makes a span that is a child of another. An error's level, so that no filter of logs is lowered by it.
macro_rules! span {
    ($name:literal, $parent:expr, $kind:literal, $called:expr) => {
        tracing::error_span!(
            target: TARGET,
            parent: $parent,
            $name,
            otel.name = $called,
            otel.kind = $kind
        )
    };
}

/// Begins the traces of calls.
#[derive(Debug)]
pub(crate) struct Tracing {
    sampling: Option<Sampling>,
    propagator: Option<TextMapCompositePropagator>,
}

impl Tracing {
    /// `exported`: whether anything takes spans.
    pub(crate) fn new(settings: &Otel, exported: bool) -> Self {
        let mut propagators: Vec<Box<dyn TextMapPropagator + Send + Sync>> = Vec::new();
        if settings.trace_context {
            propagators.push(Box::new(TraceContextPropagator::new()));
            if settings.baggage {
                propagators.push(Box::new(BaggagePropagator::new()));
            }
        }
        Self {
            sampling: exported.then(|| Sampling::new(settings.sampler)),
            propagator: settings
                .trace_context
                .then(|| TextMapCompositePropagator::new(propagators)),
        }
    }

    /// The trace of a call of `method`, which a caller sent with `headers`.
    pub(crate) fn begin(&self, method: &'static str, headers: &HeaderMap) -> TraceContext {
        let context = self.propagator.as_ref().filter(|_| headers.contains_key(TRACEPARENT)).map(
            |propagator| {
                propagator.extract_with_context(&Context::new(), &HeaderExtractor(headers))
            },
        );
        let caller = context.as_ref().map(|context| context.span().span_context().clone());
        let caller = caller.filter(SpanContext::is_valid);
        let sampled = self
            .sampling
            .is_some_and(|sampling| sampling.samples(caller.as_ref(), fastrand::f64()));
        if !sampled {
            return TraceContext { caller, ..TraceContext::default() };
        }
        let span = span!("call", None, "server", method);
        if let Some(context) = context {
            // It fails where nothing takes spans, and then nothing is lost.
            span.set_parent(context).unwrap_or_default();
        }
        let spans = Spans { within: Mutex::new(span.clone()), last: Mutex::default(), call: span };
        TraceContext { caller, spans: Some(Box::new(spans)) }
    }
}

/// The trace of one call.
#[derive(Debug, Default)]
pub struct TraceContext {
    /// The caller's own span, where it sent one.
    caller: Option<SpanContext>,
    /// Where the call is sampled.
    spans: Option<Box<Spans>>,
}

#[derive(Debug)]
struct Spans {
    /// The server's span.
    call: Span,
    /// What new spans are children of: the call, or the attempt of it that is being made.
    within: Mutex<Span>,
    /// The last thing that was done for the attempt: in the database, or else to get there.
    last: Mutex<Option<SpanContext>>,
}

/// The ids of a trace and of a span in it, as they are written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TraceIds {
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// 16 hexadecimal digits: the server's span, or the caller's where the server has none.
    pub span_id: String,
}

impl TraceContext {
    /// What log lines say of it; `None`: the caller has no trace, and the call is none.
    #[must_use]
    pub fn ids(&self) -> Option<TraceIds> {
        let own = self.spans.as_ref().map(|spans| context_of(&spans.call));
        let context = own.filter(SpanContext::is_valid).or_else(|| self.caller.clone())?;
        Some(TraceIds {
            trace_id: context.trace_id().to_string(),
            span_id: context.span_id().to_string(),
        })
    }

    /// Sets an attribute of the server's span.
    pub(crate) fn set(&self, key: &'static str, value: impl Into<Value>) {
        if let Some(spans) = &self.spans {
            spans.call.set_attribute(Key::from_static_str(key), value);
        }
    }

    /// Whether the call is sampled.
    pub(crate) fn is_sampled(&self) -> bool {
        self.spans.is_some()
    }

    /// Ends the server's span, as failed when `failure` says so. What is still cleaned up after the call is not
    /// part of it.
    pub(crate) fn end(&self, failure: Option<&'static str>) {
        let Some(spans) = &self.spans else { return };
        if let Some(failure) = failure {
            spans.call.set_status(Status::error(failure));
        }
        let attempt = std::mem::replace(&mut *spans.within.lock(), spans.call.clone());
        // That they were left is when they ended.
        attempt.in_scope(|| {});
        spans.call.in_scope(|| {});
    }

    /// What runs in the database.
    pub(crate) fn operation(&self, name: &str) -> Span {
        let Some(spans) = &self.spans else { return Span::none() };
        let span = span!("operation", &*spans.within.lock(), "client", name);
        *spans.last.lock() = Some(context_of(&span));
        span
    }

    /// Getting a connection.
    pub(crate) fn acquire(&self) -> Span {
        let Some(spans) = &self.spans else { return Span::none() };
        let span = span!("acquire", &*spans.within.lock(), "internal", "acquire");
        *spans.last.lock() = Some(context_of(&span));
        span
    }

    /// What follows is another attempt: its spans are children of one of its own, which is linked to what the
    /// attempt before it did.
    pub fn retry(&self, attempt: u32, reason: &str) {
        let Some(spans) = &self.spans else { return };
        let span = span!("retry", &spans.call, "internal", "retry");
        span.set_attribute("rowgate.attempt", i64::from(attempt));
        span.set_attribute("rowgate.retry.reason", reason.to_owned());
        if let Some(last) = spans.last.lock().take() {
            span.add_link(last);
        }
        *spans.within.lock() = span;
    }
}

/// Opening a connection, for whoever waits for it: the call within whose `acquire` it happens.
pub(crate) fn connecting() -> Span {
    let acquire = Span::current();
    if acquire.metadata().is_some_and(|metadata| metadata.target() == TARGET) {
        return span!("connect", &acquire, "client", "connect");
    }
    Span::none()
}

/// Says in a span that what it stands for failed: the reason, SQLSTATE, never a message.
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

/// The SQLSTATE of an error, where the database gave one.
pub(crate) fn sqlstate(error: &Error) -> Option<&str> {
    let sqlstate = error.report()?.sqlstate.as_str();
    Some(sqlstate).filter(|sqlstate| !sqlstate.is_empty())
}

/// Sets an attribute.
pub(crate) fn set(span: &Span, key: &'static str, value: Value) {
    span.set_attribute(Key::from_static_str(key), value);
}

fn context_of(span: &Span) -> SpanContext {
    span.context().span().span_context().clone()
}
