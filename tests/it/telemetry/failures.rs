//! Spans of calls that fail, and of those that are tried again.

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use rowgate::value::proto::{QueryRequest, QueryResponse};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Request};

use super::collector::Collector;
use super::{Caller, Watched, attributes, sending_to};
use crate::harness::client::{Client, Failure, request};
use crate::harness::postgres::Postgres;
use crate::harness::server::Server;
use crate::harness::unit::batch;
use crate::harness::{Backend, Service};

/// Returns what a span reports of a failure: its status, `error.type` and the SQLSTATE.
fn failure(span: &Span) -> (StatusCode, String, String) {
    let own = attributes(span);
    let value = |key: &str| {
        let found: Vec<_> = own.iter().filter_map(|own| own.strip_prefix(key)).collect();
        assert!(found.len() <= 1, "{key} more than once: {own:?}");
        found.first().map(|value| (*value).to_owned()).unwrap_or_default()
    };
    let status = span.status.clone().unwrap_or_default().code();
    (status, value("error.type="), value("db.response.status_code="))
}

async fn fails(service: &Service, request: Request<QueryRequest>) -> Failure {
    service.client.raw().query(request).await.expect_err("it fails").into()
}

#[tokio::test]
async fn a_failed_statement_tells_its_reason_and_sqlstate_in_both_spans() {
    let raise = "do $$ begin raise exception 'no' using errcode = 'XX000'; end $$";
    for (backend, sql, sqlstate, server_is_to_blame) in [
        (Backend::Postgres, "select 1 / (select 0)", "22012", false),
        (Backend::Postgres, raise, "XX000", true),
        (Backend::Sqlite, "select json('no')", "", false),
    ] {
        let Watched { service, collector } = Watched::start(backend).await;
        let caller = Caller::new();
        let reported = fails(&service, caller.traces(request(sql, &[]))).await;
        let trace = caller.trace(&collector);
        let name = if sql == raise { "DO main" } else { "SELECT main" };
        let expected = (StatusCode::Error, reported.reason.clone(), sqlstate.to_owned());
        assert_eq!(failure(trace.one(name)), expected, "{sql}");
        // The server's span is an error only where the server failed (conventions for gRPC).
        let status = if server_is_to_blame { StatusCode::Error } else { StatusCode::Unset };
        assert_eq!(
            failure(trace.server()),
            (status, reported.reason, sqlstate.to_owned()),
            "{sql}"
        );
        let own = attributes(trace.server());
        assert!(own.contains(&"rowgate.outcome=NOT_APPLIED".to_owned()), "{own:?}");
    }
}

#[tokio::test]
async fn an_error_within_a_stream_that_ends_well_is_the_statements_alone() {
    let Watched { service, collector } = Watched::start(Backend::Postgres).await;
    let caller = Caller::new();
    let transaction = service.client.transact_with(|commands| caller.traces(commands)).await;
    let mut transaction = transaction.begun().await;
    for _ in 0..2 {
        transaction.savepoint("here").await.expect("it is set");
        transaction.query("select 1 / (select 0)", &[]).await.expect_err("it fails");
        transaction.rollback_to("here").await.expect("it goes back");
    }
    transaction.commit().await.expect("it commits");
    let trace = caller.trace(&collector);
    let none = (StatusCode::Unset, String::new(), String::new());
    assert_eq!(failure(trace.server()), none);
    let statements = trace.all("SELECT main");
    assert_eq!(statements.len(), 2);
    assert!(statements.iter().all(|span| failure(span).2 == "22012"), "{statements:?}");
}

#[tokio::test]
async fn a_retry_has_a_span_of_its_own_that_is_linked_to_the_attempt_before() {
    let Watched { service, collector } = Watched::start(Backend::Postgres).await;
    // A sequence is not rolled back: it fails twice.
    service.postgres().psql(
        "create sequence tries;
         create function twice() returns int language plpgsql as $$ begin
           if nextval('tries') < 3 then raise exception 'no' using errcode = '40001'; end if;
           return 1;
         end $$",
    );
    let caller = Caller::new();
    let asked = caller.traces(batch(&["select twice()", "select 2"]));
    let done = service.client.raw().execute_batch(asked).await.expect("the third succeeds");
    assert_eq!(done.into_inner().attempts, 3);
    let trace = caller.trace(&collector);
    let of = |span: &str, parent: &str| format!("{span} of {parent}");
    let call = "rowgate.v1.DatabaseService/ExecuteBatch";
    let outline: Vec<_> =
        trace.outline().into_iter().filter(|line| !line.starts_with("connect ")).collect();
    assert_eq!(
        outline,
        [
            of(&format!("{call} SERVER"), "the caller"),
            of("acquire INTERNAL", call),
            of("BATCH main CLIENT", call),
            of("retry INTERNAL", call),
            of("acquire INTERNAL", "retry"),
            of("BATCH main CLIENT", "retry"),
            of("retry INTERNAL", call),
            of("acquire INTERNAL", "retry"),
            of("BATCH main CLIENT", "retry"),
        ]
    );
    let (attempts, retries) = (trace.all("BATCH main"), trace.all("retry"));
    for (number, retry) in retries.iter().enumerate() {
        let before: Vec<_> = retry.links.iter().map(|link| &link.span_id).collect();
        assert_eq!(before, [&attempts[number].span_id], "{trace:?}");
        let expected = [
            format!("rowgate.attempt={}", number + 2),
            "rowgate.retry.reason=SERIALIZATION_FAILURE".to_owned(),
        ];
        assert_eq!(attributes(retry), expected);
        assert!(retry.end_time_unix_nano <= trace.server().end_time_unix_nano, "{trace:?}");
    }
    let expected = (StatusCode::Error, "SERIALIZATION_FAILURE".to_owned(), "40001".to_owned());
    assert_eq!(failure(attempts[0]), expected);
    assert_eq!(failure(attempts[2]).0, StatusCode::Unset);
    assert_eq!(failure(trace.server()), (StatusCode::Unset, String::new(), String::new()));
}

#[tokio::test]
async fn a_wait_for_a_connection_that_fails_is_the_error_of_its_span() {
    let settings = "pool.max = 1\npool.acquire_timeout = \"50ms\"\n";
    let Watched { service, collector } = Watched::with(Backend::Postgres, settings, &[]).await;
    let _held = service.client.begin().await;
    let caller = Caller::new();
    let reported = fails(&service, caller.traces(request("select 1", &[]))).await;
    let trace = caller.trace(&collector);
    let expected = (StatusCode::Error, "POOL_EXHAUSTED".to_owned(), String::new());
    assert_eq!(failure(trace.one("acquire")), expected, "{reported:?}");
    assert!(trace.all("SELECT main").is_empty(), "nothing ran: {trace:?}");
    assert_eq!(failure(trace.server()).1, "POOL_EXHAUSTED");
}

#[tokio::test]
async fn a_connection_that_cannot_be_opened_is_the_error_of_its_span() {
    let postgres = Postgres::start();
    postgres.psql("create role guest login password 'guest'");
    let cold = format!(
        "[databases.main]\nurl = \"{}\"\npool.min = 0\n[health]\ninterval = \"1h\"\n",
        postgres.url_as("guest", "guest")
    );
    let collector = Collector::start();
    let url = collector.url();
    let server = Server::start_with(&cold, &sending_to(&url));
    let client = Client::connect(server.grpc()).await;
    // What is open is held, and no other can be opened.
    let _held = client.begin().await;
    postgres.psql("alter role guest nologin");
    let caller = Caller::new();
    let asked = caller.traces(request("select 1", &[]));
    let reported: Failure = client.raw().query(asked).await.expect_err("it fails").into();
    let trace = caller.trace(&collector);
    let connect = trace.all("connect").pop().expect("it was tried");
    let expected = (StatusCode::Error, reported.reason.clone(), reported.report.sqlstate.clone());
    assert_eq!(failure(connect), expected, "{reported:?}");
    assert_eq!(failure(trace.all("acquire").pop().expect("it waited")).0, StatusCode::Error);
}

#[tokio::test]
async fn a_call_that_its_caller_leaves_is_cancelled_and_not_the_servers_error() {
    for backend in [Backend::Sqlite, Backend::Postgres, Backend::Mariadb] {
        let Watched { service, collector } = Watched::start(backend).await;
        let caller = Caller::new();
        let endless = "with recursive c(n) as (select 1 union all select n + 1 from c) \
                       select count(*) from c";
        let asked = caller.traces(request(endless, &[]));
        let client = service.client.clone();
        let call = tokio::spawn(async move { drop(client.raw().query(asked).await) });
        service.checkout(|one| !one.statement.is_empty()).await;
        call.abort();
        service.until_pool("its connection is free", |pool| pool.in_use == 0).await;
        let trace = caller.trace(&collector);
        let own = attributes(trace.server());
        assert!(own.contains(&"rpc.response.status_code=CANCELLED".to_owned()), "{own:?}");
        assert_eq!(failure(trace.server()).0, StatusCode::Unset);
        let (status, reason, _) = failure(trace.one("WITH main"));
        assert_eq!((status, reason.as_str()), (StatusCode::Error, "CANCELLED"), "{backend:?}");
    }
}

#[tokio::test]
async fn a_method_that_is_not_served_is_named_in_its_span_only() {
    let Watched { service, collector } = Watched::start(Backend::Sqlite).await;
    let caller = Caller::new();
    let mut grpc = tonic::client::Grpc::new(service.client.channel());
    grpc.ready().await.expect("it is connected");
    let path = PathAndQuery::from_static("/rowgate.v1.DatabaseService/Frobnicate");
    let codec = tonic_prost::ProstCodec::<QueryRequest, QueryResponse>::default();
    let answer = grpc.unary(caller.traces(QueryRequest::default()), path, codec).await;
    assert_eq!(answer.expect_err("it is not served").code(), Code::Unimplemented);
    let trace = caller.trace(&collector);
    assert_eq!(trace.server().name, "_OTHER");
    let own = attributes(trace.server());
    for expected in [
        "error.type=FEATURE_NOT_SUPPORTED",
        "rpc.method=_OTHER",
        "rpc.method_original=rowgate.v1.DatabaseService/Frobnicate",
        "rpc.response.status_code=UNIMPLEMENTED",
    ] {
        assert!(own.iter().any(|own| own == expected), "{expected}: {own:?}");
    }
    assert_eq!(failure(trace.server()).0, StatusCode::Error);
}
