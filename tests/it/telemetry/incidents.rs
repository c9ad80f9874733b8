//! Metrics of what goes wrong, and labels that stay few whatever callers send.

use std::time::Duration;

use rowgate::value::proto::{QueryRequest, QueryResponse, TerminateCheckoutRequest};
use tokio::net::TcpStream;
use tonic::codegen::http::uri::PathAndQuery;

use super::ending_after;
use super::metrics::{OPERATION, RPC, method};
use super::scrape::Scrape;
use crate::harness::client::{PATIENCE, request, with_deadline};
use crate::harness::unit::batch;
use crate::harness::web::QUERY;
use crate::harness::{Backend, Service};

const ENDLESS: &str =
    "with recursive c(n) as (select 1 union all select n + 1 from c) select count(*) from c";

/// Calls `ENDLESS` and waits until it runs; returns the call and its checkout.
async fn endless(service: &Service) -> (tokio::task::JoinHandle<()>, u64) {
    let client = service.client.clone();
    let call = tokio::spawn(async move { drop(client.query(ENDLESS, &[]).await) });
    let checkout = service.checkout(|one| !one.statement.is_empty()).await;
    (call, checkout.id)
}

#[tokio::test]
async fn a_cancellation_is_counted_under_its_cause() {
    for backend in [Backend::Sqlite, Backend::Postgres, Backend::Mariadb] {
        let service = Service::start(backend).await;
        service.client.must("select 1", &[]).await;
        let stopped = async |cause: &str| {
            let labels = [("db_namespace", "main"), ("rowgate_cause", cause)];
            let is_so = |scrape: &Scrape| scrape.sum("rowgate_cancellations_total", &labels) == 1.0;
            Scrape::until(&service, cause, is_so).await
        };
        let late = service.client.run(ending_after(ENDLESS, Duration::from_millis(200))).await;
        late.expect_err("it is endless");
        stopped("deadline").await;
        let late = [("db_operation_name", "WITH"), ("error_type", "DEADLINE")];
        let is_so = |scrape: &Scrape| scrape.sum(OPERATION, &late) == 1.0;
        Scrape::until(&service, "the statement is counted", is_so).await;

        let (call, _) = endless(&service).await;
        call.abort();
        stopped("caller").await;
        service.until_pool("it is free", |pool| pool.in_use == 0).await;

        let (call, checkout) = endless(&service).await;
        let request = TerminateCheckoutRequest { pool: "main".to_owned(), checkout };
        service.pools().terminate_checkout(request).await.expect("it is there");
        call.await.expect("no panic");
        stopped("operator").await;
        let gone =
            [method("rowgate.v1.DatabaseService/Query"), ("rpc_response_status_code", "CANCELLED")];
        // A call is counted as it ends, which is a moment after its answer.
        let is_counted = |scrape: &Scrape| {
            let reported =
                |reason: &str| scrape.sum("rowgate_failures_total", &[("rowgate_reason", reason)]);
            (reported("DEADLINE"), reported("TERMINATED"), scrape.sum(RPC, &gone))
                == (1.0, 1.0, 1.0)
        };
        let scrape = Scrape::until(&service, "the calls are counted", is_counted).await;
        assert_eq!(scrape.sum("rowgate_cancellations_total", &[]), 3.0, "{backend:?}");
    }
}

#[tokio::test]
async fn the_breaker_is_seen_to_open_and_to_close() {
    let settings = "[health]\ninterval = \"100ms\"\n";
    let mut service = Service::with(Backend::Postgres, settings).await;
    let is = |state: &'static str| {
        move |scrape: &Scrape| {
            let labels = [("db_namespace", "main"), ("rowgate_state", state)];
            scrape.sum("rowgate_breaker_state", &labels) == 1.0
        }
    };
    let scrape = Scrape::until(&service, "it is closed", is("closed")).await;
    assert_eq!(scrape.sum("rowgate_breaker_transitions_total", &[]), 0.0);
    service.postgres_mut().stop();
    let client = service.client.clone();
    let calling = tokio::spawn(async move {
        loop {
            drop(client.run(ending_after("select 1", Duration::from_millis(200))).await);
        }
    });
    let scrape = Scrape::until(&service, "it opens", is("open")).await;
    assert_eq!(scrape.sum("rowgate_breaker_state", &[("rowgate_state", "closed")]), 0.0);
    Scrape::until(&service, "it is told", |scrape| {
        scrape.sum("rowgate_database_available", &[]) == 0.0
    })
    .await;
    service.postgres_mut().resume();
    let scrape = Scrape::until(&service, "it closes", is("closed")).await;
    calling.abort();
    for state in ["open", "closed"] {
        let transitions =
            scrape.sum("rowgate_breaker_transitions_total", &[("rowgate_state", state)]);
        assert!(transitions >= 1.0, "{state}: {transitions}");
    }
    Scrape::until(&service, "it is told", |scrape| {
        scrape.sum("rowgate_database_available", &[]) == 1.0
    })
    .await;
}

#[tokio::test]
async fn retries_are_counted() {
    let service = Service::start(Backend::Postgres).await;
    let conflict = "do $$ begin raise exception 'no' using errcode = '40001'; end $$";
    let request =
        rowgate::value::proto::ExecuteBatchRequest { max_attempts: 3, ..batch(&[conflict]) };
    service.client.batch(request).await.expect_err("it fails each time");
    let scrape = Scrape::until(&service, "the call is counted", |scrape| {
        scrape.sum("rowgate_failures_total", &[]) > 0.0
    })
    .await;
    assert_eq!(scrape.sum("rowgate_retries_total", &[("db_namespace", "main")]), 2.0);
    let failed = [("db_operation_name", "DO"), ("error_type", "SERIALIZATION_FAILURE")];
    assert_eq!(scrape.sum(OPERATION, &failed), 3.0, "each attempt is one");
    assert_eq!(scrape.sum("rowgate_failures_total", &[]), 1.0, "the caller is told once");
}

#[tokio::test]
async fn leaks_slow_statements_and_waits_that_end_are_counted() {
    for backend in [Backend::Sqlite, Backend::Postgres, Backend::Mariadb] {
        let settings = "pool.max = 1\npool.acquire_timeout = \"500ms\"\n\
                        pool.leak_threshold = \"100ms\"\n[telemetry]\nslow_query = \"1ms\"\n";
        let service = Service::with(backend, settings).await;
        let held = service.client.begin().await;
        service.client.must_fail("create table t (id integer)", &[]).await;
        let counted = |scrape: &Scrape| {
            let pool = [("db_client_connection_pool_name", "main")];
            scrape.sum("rowgate_pool_leaks_total", &pool) == 1.0
                && scrape.sum("db_client_connection_timeouts_total", &pool) == 1.0
        };
        Scrape::until(&service, "both are told", counted).await;
        held.rollback().await.expect("it rolls back");
        let slow = "with recursive c(n) as (select 1 union all select n + 1 from c where n < 30000) \
                    select count(*) from c";
        service.client.must(slow, &[]).await;
        let scrape = Scrape::of(&service).await;
        let slow = scrape.sum("rowgate_slow_statements_total", &[("db_namespace", "main")]);
        assert!(slow >= 1.0, "{backend:?}: {slow}");
    }
}

#[tokio::test]
async fn no_caller_makes_a_new_label() {
    let service = Service::start(Backend::Postgres).await;
    for sqlstate in ["ZZ123", "XQ001"] {
        let raise =
            format!("do $$ begin raise exception 'no' using errcode = '{sqlstate}'; end $$");
        let failure = service.client.must_fail(&raise, &[]).await;
        assert_eq!(failure.report.sqlstate, sqlstate);
    }
    service.client.must_fail("frobnicate 'this'", &[]).await;
    service.client.must("/* of a caller */ values (1)", &[]).await;
    let unknown = QueryRequest { database: "nowhere".to_owned(), ..request("select 1", &[]) };
    service.client.call(unknown, PATIENCE).await.expect_err("there is none");
    for path in ["/rowgate.v1.DatabaseService/Frobnicate", "/of.a.Caller/Method"] {
        let mut grpc = tonic::client::Grpc::new(service.client.channel());
        grpc.ready().await.expect("it is connected");
        let codec = tonic_prost::ProstCodec::<QueryRequest, QueryResponse>::default();
        let asked = with_deadline(QueryRequest::default(), PATIENCE);
        let answer = grpc.unary(asked, PathAndQuery::from_static(path), codec).await;
        answer.expect_err("it is not served");
    }
    let others = [method("_OTHER"), ("rpc_response_status_code", "UNIMPLEMENTED")];
    let scrape =
        Scrape::until(&service, "the last is counted", |scrape| scrape.sum(RPC, &others) == 2.0)
            .await;
    let values = scrape.label_values();
    for chosen in ["ZZ123", "XQ001", "robnicate", "ROBNICATE", "Caller", "caller", "nowhere"] {
        let found: Vec<_> = values.iter().filter(|value| value.contains(chosen)).collect();
        assert!(found.is_empty(), "{found:?}");
    }
    assert_eq!(scrape.sum(OPERATION, &[("db_operation_name", "OTHER")]), 1.0);
    assert_eq!(scrape.sum(OPERATION, &[("db_operation_name", "VALUES")]), 1.0);
}

/// Calls by Connect over a connection of its own with an answer of 2 MB, and returns that as far as its head.
async fn unread_answer(service: &Service) -> h2::RecvStream {
    let stream = TcpStream::connect(service.server.grpc()).await.expect("it accepts");
    let (calls, driver) = h2::client::handshake(stream).await.expect("it speaks HTTP/2");
    tokio::spawn(driver);
    let mut calls = calls.ready().await.expect("it is open");
    let head = http::Request::post(format!("http://127.0.0.1{QUERY}"));
    let head = head.header("content-type", "application/json").body(()).expect("well formed");
    let (answer, mut body) = calls.send_request(head, false).expect("it is open");
    let message = serde_json::json!({"sql": "select hex(zeroblob(1000000))"}).to_string();
    body.send_data(message.into(), true).expect("it is open");
    let answer = answer.await.expect("it answers");
    assert_eq!(answer.status(), 200);
    answer.into_body()
}

#[tokio::test]
async fn a_call_of_connect_ends_with_its_answer() {
    let service = Service::start(Backend::Sqlite).await;
    let ended = |scrape: &Scrape, code: &'static str| {
        let labels =
            [method("rowgate.v1.DatabaseService/Query"), ("rpc_response_status_code", code)];
        scrape.sum(RPC, &labels)
    };
    let mut taken = unread_answer(&service).await;
    let given_up = unread_answer(&service).await;
    let scrape = Scrape::of(&service).await;
    assert_eq!((ended(&scrape, "OK"), ended(&scrape, "CANCELLED")), (0.0, 0.0), "nobody took any");
    let mut size = 0;
    while let Some(data) = taken.data().await {
        let length = data.expect("it is whole").len();
        size += length;
        taken.flow_control().release_capacity(length).expect("it was received");
    }
    assert!(size > 2_000_000, "{size}");
    Scrape::until(&service, "it was taken", |scrape| ended(scrape, "OK") == 1.0).await;
    drop(given_up);
    let scrape =
        Scrape::until(&service, "it is given up", |scrape| ended(scrape, "CANCELLED") == 1.0).await;
    assert_eq!(ended(&scrape, "OK"), 1.0);
}
