//! Log lines of calls: whose they are, and how many of a kind.

use std::time::{Duration, Instant};

use rowgate::value::Value;
use rowgate::value::proto::{QueryOptions, QueryRequest};
use serde_json::Value as Json;

use super::Caller;
use crate::harness::client::{PATIENCE, request, request_with};
use crate::harness::wait::{eventually, idle_for};
use crate::harness::{Backend, Service};

/// The lines with a message, once there are so many.
#[track_caller]
fn lines(service: &Service, message: &str, count: usize) -> Vec<Json> {
    let quoted = format!("\"message\":\"{message}\"");
    eventually(message, PATIENCE, || {
        let log = service.server.log();
        let lines = log.lines().filter(|line| line.contains(&quoted));
        let lines: Vec<Json> =
            lines.map(|line| serde_json::from_str(line).expect("it is JSON")).collect();
        (lines.len() >= count).then_some(lines)
    })
}

#[tokio::test]
async fn the_line_of_a_failed_call_has_the_ids_of_its_callers_trace() {
    // Whether traces are sent or not: here they are not.
    let service = Service::start(Backend::Sqlite).await;
    let callers = [Caller::new(), Caller::new()];
    let wrong = || request("selec 1", &[]);
    let query = async |asked: tonic::Request<QueryRequest>| {
        service.client.raw().query(asked).await.expect_err("it is no SQL");
    };
    query(callers[0].traces(wrong())).await;
    query(callers[1].ignores(wrong())).await;
    query(tonic::Request::new(wrong())).await;
    let lines = lines(&service, "call failed", 3);
    assert_eq!(lines.len(), 3, "{lines:?}");
    for (line, caller) in lines.iter().zip(callers) {
        assert_eq!(line["trace_id"], caller.trace_id(), "{line}");
        assert_eq!(line["span_id"], caller.span_id(), "{line}");
    }
    assert!(lines[2].get("trace_id").is_none() && lines[2].get("span_id").is_none(), "{lines:?}");
}

#[tokio::test]
async fn a_traced_calls_line_names_the_servers_own_span() {
    let super::Watched { service, collector } = super::Watched::start(Backend::Sqlite).await;
    let caller = Caller::new();
    let asked = caller.traces(request("selec 1", &[]));
    service.client.raw().query(asked).await.expect_err("it is no SQL");
    let trace = caller.trace(&collector);
    let line = lines(&service, "call failed", 1).remove(0);
    let own = u64::from_be_bytes(trace.server().span_id.clone().try_into().expect("8 bytes"));
    assert_eq!(line["trace_id"], caller.trace_id(), "{line}");
    assert_eq!(line["span_id"], format!("{own:016x}"), "{line}");
}

#[tokio::test]
async fn what_fails_again_and_again_is_told_now_and_then_and_counted() {
    let service = Service::start(Backend::Sqlite).await;
    let start = Instant::now();
    for _ in 0..60 {
        service.client.must_fail("selec 1", &[]).await;
    }
    // Another reason has lines of its own.
    service.client.must_fail("select * from nowhere", &[]).await;
    idle_for(Duration::from_millis(1100)).await;
    service.client.must_fail("selec 1", &[]).await;
    let of_reason = |line: &Json| line["reason"] == "SYNTAX_ERROR";
    let lines = eventually("the last is told", PATIENCE, || {
        let lines = lines(&service, "call failed", 12);
        let suppressed: u64 = lines.iter().filter_map(|line| line["suppressed"].as_u64()).sum();
        let said = lines.iter().filter(|line| of_reason(line)).count();
        (u64::try_from(said).ok()? + suppressed == 61).then_some(lines)
    });
    let said = lines.iter().filter(|line| of_reason(line)).count();
    let most = 10 * (start.elapsed().as_secs() + 2) + 1;
    assert!(said >= 11 && said as u64 <= most, "ten a second, and the one after: {said} of {most}");
    assert_eq!(lines.len(), said + 1, "{lines:?}");
}

#[tokio::test]
async fn a_slow_statement_is_told_with_its_caller_and_its_times() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let service = Service::with(backend, "[telemetry]\nslow_query = \"1ms\"\n").await;
        let slow = "with recursive c(n) as (select 1 union all select n + 1 from c where n < 30000) \
                    select count(*), 'a literal', $1 from c";
        let options = QueryOptions { tag: "nightly".to_owned(), ..QueryOptions::default() };
        let parameters = vec![Value::text("a parameter")];
        let asked = QueryRequest { parameters, ..request_with(slow, options) };
        let caller = Caller::new();
        service.client.raw().query(caller.ignores(asked)).await.expect("it runs");
        let line = lines(&service, "slow statement", 1).remove(0);
        for (field, expected) in [
            ("level", "WARN"),
            ("database", "main"),
            ("rpc", "Query"),
            ("caller", "127.0.0.1"),
            ("tag", "nightly"),
            ("trace_id", &caller.trace_id()),
        ] {
            assert_eq!(line[field], expected, "{line}");
        }
        let statement = line["statement"].as_str().expect("a text");
        assert!(statement.starts_with("with recursive c(n) as (select ? union"), "{line}");
        assert!(line["run_ms"].as_u64() >= Some(1) && line["wait_ms"].is_u64(), "{line}");
        assert!(!line.to_string().contains("a literal"), "{line}");
        assert!(!line.to_string().contains("a parameter"), "{line}");
    }
}

#[tokio::test]
async fn no_statement_is_slow_where_that_is_switched_off() {
    let service = Service::with(Backend::Postgres, "[telemetry]\nslow_query = \"0ms\"\n").await;
    service.client.must("select pg_sleep(0.05)", &[]).await;
    service.client.must_fail("selec 1", &[]).await;
    lines(&service, "call failed", 1);
    assert!(!service.server.log().contains("slow statement"), "{}", service.server.log());
}

#[tokio::test]
async fn a_slow_statement_whose_caller_goes_is_told_too() {
    let service = Service::with(Backend::Postgres, "[telemetry]\nslow_query = \"100ms\"\n").await;
    let call = service.client.query("select pg_sleep(60)", &[]);
    drop(tokio::time::timeout(Duration::from_millis(500), call).await);
    let line = lines(&service, "slow statement", 1).remove(0);
    assert_eq!(line["statement"], "select pg_sleep(?)", "{line}");
    assert_eq!(line["reason"], "CANCELLED", "{line}");
}

#[tokio::test]
async fn a_failed_call_is_told_with_its_database_and_where_its_time_went() {
    let settings = "pool.min = 1\npool.max = 1\n";
    let service = Service::with(Backend::Postgres, settings).await;
    let options = |tag: &str, seconds: i64| QueryOptions {
        tag: tag.to_owned(),
        timeout: Some(prost_types::Duration { seconds, nanos: 0 }),
        ..QueryOptions::default()
    };
    let slow = service.client.run(request_with("select pg_sleep(60)", options("slow", 3)));
    let waits = service.client.run(request_with("select 1 as waits", options("waits", 1)));
    let (slow, waits) = tokio::join!(slow, waits);
    assert_eq!(slow.expect_err("it is late").reason, "DEADLINE");
    assert_eq!(waits.expect_err("none is free").reason, "DEADLINE");
    let lines = lines(&service, "call failed", 2);
    for (line, tag, statement, error) in [
        (&lines[0], "waits", "select ? as waits", "waiting for a connection"),
        (&lines[1], "slow", "select pg_sleep(?)", "the statement was cancelled"),
    ] {
        for (field, expected) in
            [("database", "main"), ("caller", "127.0.0.1"), ("tag", tag), ("statement", statement)]
        {
            assert_eq!(line[field], expected, "{line}");
        }
        assert!(line["error"].as_str().is_some_and(|said| said.contains(error)), "{line}");
    }
}
