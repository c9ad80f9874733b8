//! `OTEL_*`: what is sent, how, by whom, and what is not.

use opentelemetry_proto::tonic::trace::v1::Span;

use super::{Caller, Watched};
use crate::harness::Backend;
use crate::harness::client::{Client, PATIENCE, request};
use crate::harness::http::get;

/// A call that is traced, then the end of the server: whatever is to come has come.
async fn call_and_stop(watched: &mut Watched) -> Caller {
    let caller = Caller::new();
    let asked = caller.traces(request("select 1", &[]));
    watched.service.client.raw().query(asked).await.expect("it runs");
    stop(watched).await;
    caller
}

async fn stop(watched: &mut Watched) {
    watched.service.server.signal("TERM");
    watched.service.server.exit(PATIENCE).await;
}

async fn watched(variables: &[(&str, &str)]) -> Watched {
    Watched::with(Backend::Sqlite, "", variables).await
}

#[tokio::test]
async fn both_protocols_are_spoken_each_signal_in_its_own() {
    let both = |way: &str| vec![format!("{way} metrics"), format!("{way} traces")];
    for (variables, expected) in [
        (vec![], both("grpc")),
        (vec![("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")], both("http")),
        (vec![("OTEL_EXPORTER_OTLP_PROTOCOL", "")], both("http")),
        (
            vec![("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf")],
            vec!["grpc metrics".to_owned(), "http traces".to_owned()],
        ),
    ] {
        let mut watched = watched(&variables).await;
        let caller = call_and_stop(&mut watched).await;
        caller.trace(&watched.collector);
        assert_eq!(watched.collector.ways(), expected, "{variables:?}");
    }
}

#[tokio::test]
async fn who_sends_is_told_and_may_be_named() {
    let version = format!("service.version={}", env!("CARGO_PKG_VERSION"));
    let attributes =
        ("OTEL_RESOURCE_ATTRIBUTES", "service.name=named,deployment.environment.name=test");
    for (variables, name) in [
        (vec![], "service.name=rowgate"),
        (vec![attributes], "service.name=named"),
        (vec![attributes, ("OTEL_SERVICE_NAME", "orders")], "service.name=orders"),
    ] {
        let mut watched = watched(&variables).await;
        call_and_stop(&mut watched).await;
        let reported = watched.collector.resources();
        let has = |expected: &str| reported.iter().any(|own| own == expected);
        assert!(has(name) && has(&version), "{reported:?}");
        assert!(has("schema_url=https://opentelemetry.io/schemas/1.42.0"), "{reported:?}");
        assert_eq!(has("deployment.environment.name=test"), !variables.is_empty(), "{reported:?}");
    }
}

#[tokio::test]
async fn what_is_switched_off_is_not_sent() {
    for (variable, value, expected) in [
        ("OTEL_SDK_DISABLED", "true", vec![]),
        ("OTEL_TRACES_EXPORTER", "none", vec!["grpc metrics"]),
        ("OTEL_METRICS_EXPORTER", "none", vec!["grpc traces"]),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "", vec![]),
    ] {
        let mut watched = watched(&[(variable, value)]).await;
        call_and_stop(&mut watched).await;
        assert_eq!(watched.collector.ways(), expected, "{variable}={value}");
        let log = watched.service.server.log();
        assert!(!log.contains("WARN"), "{variable}={value}: {log}");
    }
}

#[tokio::test]
async fn nothing_is_measured_where_all_is_switched_off() {
    let watched = watched(&[("OTEL_SDK_DISABLED", "true")]).await;
    watched.service.client.must("select 1", &[]).await;
    let metrics = get(watched.service.server.ops(), "/metrics").await;
    assert_eq!((metrics.status, metrics.body.as_str()), (200, ""));
}

#[tokio::test]
async fn a_value_that_is_not_known_is_told_once_and_passed_over() {
    let mut watched = watched(&[("OTEL_PROPAGATORS", "tracecontext,b3")]).await;
    let caller = call_and_stop(&mut watched).await;
    caller.trace(&watched.collector);
    let log = watched.service.server.log();
    let reported = log.lines().filter(|line| line.contains("OTEL_PROPAGATORS")).count();
    assert_eq!(reported, 1, "{log}");
}

#[tokio::test]
async fn without_a_propagator_a_callers_trace_is_not_gone_on_with() {
    let sampler = ("OTEL_TRACES_SAMPLER", "parentbased_always_on");
    let mut watched = watched(&[("OTEL_PROPAGATORS", "none"), sampler]).await;
    let caller = call_and_stop(&mut watched).await;
    watched.collector.spans("a trace of its own", |spans: &[Span]| {
        assert!(spans.iter().all(|span| span.trace_id != caller.trace.to_be_bytes()), "{spans:?}");
        spans.iter().find(|span| span.parent_span_id.is_empty()).map(drop)
    });
}

/// Counts the calls without a trace of their own that begin one.
async fn sampled(variables: &[(&str, &str)], calls: usize) -> usize {
    let mut watched = watched(variables).await;
    let address = watched.service.server.grpc();
    let call = async |client: &Client, count: usize| {
        for _ in 0..count {
            client.must("select 1", &[]).await;
        }
    };
    let clients = [Client::connect(address).await, Client::connect(address).await];
    tokio::join!(call(&clients[0], calls / 2), call(&clients[1], calls / 2));
    stop(&mut watched).await;
    let names = watched.collector.names();
    names.iter().filter(|name| name.ends_with("/Query")).count()
}

#[tokio::test]
async fn one_call_of_a_hundred_begins_a_trace_unless_the_variables_say_otherwise() {
    // 1500 draws of one percent: beyond these less than once in a million runs.
    let one_percent = sampled(&[], 1500).await;
    assert!((1..=45).contains(&one_percent), "{one_percent} of 1500");
    let half = [("OTEL_TRACES_SAMPLER_ARG", "0.5")];
    let half = sampled(&half, 200).await;
    assert!((60..=140).contains(&half), "{half} of 200");
    let all = [("OTEL_TRACES_SAMPLER", "always_on")];
    assert_eq!(sampled(&all, 100).await, 100);
    assert_eq!(sampled(&[("OTEL_TRACES_SAMPLER", "always_off")], 100).await, 0);
}
