//! A collector that is slow, away, or comes back; and what is sent last.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use super::{Caller, Collector, Watched, sending_to};
use crate::harness::client::{PATIENCE, request};
use crate::harness::server::free_port;
use crate::harness::wait::eventually;
use crate::harness::{Backend, Service};

const CANNOT: &str = "telemetry export failed";

/// Calls that are traced, none of which may fail or take long.
async fn calls(service: &Service, count: usize) {
    for _ in 0..count {
        let asked = Caller::new().traces(request("select 1", &[]));
        service.client.raw().query(asked).await.expect("it is undisturbed");
    }
}

/// Measures how long the server takes to end.
async fn ends(service: &mut Service) -> Duration {
    let start = Instant::now();
    service.server.signal("TERM");
    let status = service.server.exit(PATIENCE).await;
    assert!(status.success(), "{status}");
    start.elapsed()
}

#[tokio::test]
async fn what_was_not_sent_yet_is_sent_at_the_end() {
    for protocol in ["grpc", "http/protobuf"] {
        let late = [
            ("OTEL_BSP_SCHEDULE_DELAY", "3600000"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "3600000"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
        ];
        let watched = Watched::with(Backend::Sqlite, "", &late).await;
        let Watched { mut service, collector } = watched;
        let caller = Caller::new();
        let asked = caller.traces(request("select 1", &[]));
        service.client.raw().query(asked).await.expect("it runs");
        assert_eq!(collector.ways(), [""; 0], "nothing was due");
        ends(&mut service).await;
        assert_eq!(collector.ways().len(), 2, "{:?}", collector.ways());
        caller.trace(&collector);
        collector.metrics("calls are counted", |metrics| {
            metrics.contains_key("rpc.server.call.duration").then_some(())
        });
    }
}

#[tokio::test]
async fn a_collector_that_is_away_costs_a_warning_of_each_signal_and_no_call() {
    for protocol in ["grpc", "http/protobuf"] {
        // Nobody listens there yet.
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let url = format!("http://{address}");
        let mut variables = sending_to(&url);
        variables.push(("OTEL_EXPORTER_OTLP_PROTOCOL", protocol));
        let service = Service::with_environment(Backend::Sqlite, "", &variables).await;
        calls(&service, 300).await;
        let before = service.server.resident();
        calls(&service, 1000).await;
        let grown = service.server.resident().saturating_sub(before);
        assert!(grown < 8 << 20, "{grown} bytes more after 1000 calls");
        let reported = || {
            let log = service.server.log();
            let lines = log.lines().filter(|line| line.contains(CANNOT));
            Some(lines.map(str::to_owned).collect::<Vec<_>>())
        };
        let lines =
            eventually("both are told", PATIENCE, || reported().filter(|all| all.len() >= 2));
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(!service.server.log().contains("ERROR"), "{}", service.server.log());

        // It comes, and is told of what comes from then on.
        let collector = Collector::on(TcpListener::bind(address).expect("it is still free"));
        let caller = Caller::new();
        eventually("it is reached", PATIENCE, || {
            let log = service.server.log();
            (log.matches("telemetry export recovered").count() == 2).then_some(())
        });
        let asked = caller.traces(request("select 1", &[]));
        service.client.raw().query(asked).await.expect("it runs");
        caller.trace(&collector);
        assert_eq!(reported().map(|lines| lines.len()), Some(2));
    }
}

#[tokio::test]
async fn the_end_of_a_server_waits_for_no_collector_that_is_away() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("http://{}", listener.local_addr().expect("it listens"));
    for protocol in ["grpc", "http/protobuf"] {
        // One that takes connections and does not answer, then one that is not there.
        let mut variables = sending_to(&url);
        variables.push(("OTEL_EXPORTER_OTLP_PROTOCOL", protocol));
        let mut service = Service::with_environment(Backend::Sqlite, "", &variables).await;
        calls(&service, 20).await;
        let took = ends(&mut service).await;
        assert!(took < Duration::from_secs(8), "{protocol}: {took:?}");
    }
    drop(listener);
    for protocol in ["grpc", "http/protobuf"] {
        let mut variables = sending_to(&url);
        variables.push(("OTEL_EXPORTER_OTLP_PROTOCOL", protocol));
        let mut service = Service::with_environment(Backend::Sqlite, "", &variables).await;
        calls(&service, 20).await;
        let took = ends(&mut service).await;
        assert!(took < Duration::from_secs(3), "{protocol}: {took:?}");
    }
}
