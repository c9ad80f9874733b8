//! Spans of calls that end well: whose they are, and what they say.

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use rowgate::value::Value;
use rowgate::value::proto::{ReconnectPoolRequest, StreamQueryRequest};
use tonic::metadata::MetadataValue;

use super::{Caller, Watched, attributes};
use crate::harness::Backend;
use crate::harness::client::request;
use crate::harness::mariadb;
use crate::harness::unit::batch;

/// Nobody but a call opens a connection.
const COLD: &str = "pool.min = 0\n[health]\ninterval = \"1h\"\n";

const QUERY: &str = "rowgate.v1.DatabaseService/Query";

#[tokio::test]
async fn a_callers_trace_goes_on_through_the_pool_to_the_statement() {
    for backend in [Backend::Sqlite, Backend::Postgres, Backend::Mariadb] {
        let Watched { service, collector } = Watched::with(backend, COLD, &[]).await;
        // A server names its system at the first login: MariaDB, or MySQL.
        service.client.must("select 1", &[]).await;
        let reconnect = ReconnectPoolRequest { pool: "main".to_owned() };
        service.pools().reconnect_pool(reconnect).await.expect("it is there");
        service.until_pool("nothing is open", |pool| pool.open == 0).await;

        let caller = Caller::new();
        let asked = request("select 7, $1", &[Value::text("x")]);
        service.client.raw().query(caller.traces(asked)).await.expect("it runs");
        let trace = caller.trace(&collector);
        assert_eq!(
            trace.outline(),
            [
                "rowgate.v1.DatabaseService/Query SERVER of the caller",
                "acquire INTERNAL of rowgate.v1.DatabaseService/Query",
                "connect CLIENT of acquire",
                "SELECT main CLIENT of rowgate.v1.DatabaseService/Query",
            ]
        );
        let system = service.pick("sqlite", "postgresql", mariadb::system_name());
        let grpc = service.server.grpc();
        let port = format!("server.port={}", grpc.port());
        assert_eq!(
            attributes(trace.server()),
            [
                "client.address=127.0.0.1",
                "rpc.method=rowgate.v1.DatabaseService/Query",
                "rpc.response.status_code=OK",
                "rpc.system.name=grpc",
                "server.address=127.0.0.1",
                &port,
            ]
        );
        let system = format!("db.system.name={system}");
        for name in ["acquire", "connect"] {
            assert_eq!(attributes(trace.one(name)), ["db.namespace=main", &system], "{name}");
        }
        let statement = trace.one("SELECT main");
        assert_eq!(
            attributes(statement),
            [
                "db.namespace=main",
                "db.operation.name=SELECT",
                "db.query.text=select ?, $1",
                &system,
            ]
        );
        for span in &trace.0 {
            assert_eq!(span.status.clone().unwrap_or_default().code(), StatusCode::Unset);
        }
    }
}

#[tokio::test]
async fn a_server_span_lasts_from_the_headers_to_the_end_of_the_answer() {
    let Watched { service, collector } = Watched::start(Backend::Postgres).await;
    let caller = Caller::new();
    let query = Some(request("select n, pg_sleep(0.02) from generate_series(1, 3) as n", &[]));
    let (mut client, asked) = (service.client.raw(), caller.traces(StreamQueryRequest { query }));
    let mut parts = client.stream_query(asked).await.expect("it begins").into_inner();
    while parts.message().await.expect("it goes on").is_some() {}
    let trace = caller.trace(&collector);
    let (server, statement) = (trace.server(), trace.one("SELECT main"));
    assert_eq!(server.name, "rowgate.v1.DatabaseService/StreamQuery");
    assert!(server.start_time_unix_nano <= statement.start_time_unix_nano, "{trace:?}");
    assert!(server.end_time_unix_nano >= statement.end_time_unix_nano, "{trace:?}");
    let took = statement.end_time_unix_nano - statement.start_time_unix_nano;
    assert!(took >= 60_000_000, "the rows took 60 ms to come: {took} ns");
}

#[tokio::test]
async fn each_command_of_a_transaction_has_its_span() {
    for backend in [Backend::Sqlite, Backend::Postgres, Backend::Mariadb] {
        let Watched { service, collector } = Watched::start(backend).await;
        service.client.must("create table t (id integer)", &[]).await;
        let caller = Caller::new();
        let transaction = service.client.transact_with(|commands| caller.traces(commands)).await;
        let mut transaction = transaction.begun().await;
        transaction.query("insert into t values (1)", &[]).await.expect("it runs");
        transaction.savepoint("here").await.expect("it is set");
        transaction.query("select * from t", &[]).await.expect("it runs");
        transaction.commit().await.expect("it commits");
        let of = |name: &str| format!("{name} CLIENT of rowgate.v1.DatabaseService/Transact");
        let mut outline = caller.trace(&collector).outline();
        // It may have been the first on its worker.
        outline.retain(|line| !line.starts_with("connect "));
        let expected =
            ["BEGIN main", "INSERT main", "SAVEPOINT main", "SELECT main", "COMMIT main"];
        assert_eq!(outline[0], "rowgate.v1.DatabaseService/Transact SERVER of the caller");
        assert_eq!(outline[1], "acquire INTERNAL of rowgate.v1.DatabaseService/Transact");
        assert_eq!(outline[2..], expected.map(of), "{backend:?}");
    }
}

#[tokio::test]
async fn a_batch_is_one_span_and_one_statement_is_none() {
    for backend in [Backend::Sqlite, Backend::Postgres, Backend::Mariadb] {
        let Watched { service, collector } = Watched::start(backend).await;
        let (several, one) = (Caller::new(), Caller::new());
        let statements = ["select 'a literal'", "select 2"];
        let asked = several.traces(batch(&statements));
        service.client.raw().execute_batch(asked).await.expect("it runs");
        let asked = one.traces(batch(&statements[..1]));
        service.client.raw().execute_batch(asked).await.expect("it runs");

        let trace = several.trace(&collector);
        let span = trace.one("BATCH main");
        assert_eq!(span.kind(), SpanKind::Client);
        let attributes_of_batch = attributes(span);
        for expected in [
            "db.operation.batch.size=2",
            "db.operation.name=BATCH",
            "db.query.text=select ?; select ?",
        ] {
            assert!(
                attributes_of_batch.iter().any(|own| own == expected),
                "{attributes_of_batch:?}"
            );
        }
        let trace = one.trace(&collector);
        let alone = attributes(trace.one("SELECT main"));
        assert!(!alone.iter().any(|own| own.contains("batch")), "{alone:?}");
    }
}

#[tokio::test]
async fn the_state_of_a_trace_is_kept_and_its_baggage_is_not_told() {
    let Watched { service, collector } = Watched::start(Backend::Sqlite).await;
    let caller = Caller::new();
    let mut asked = caller.traces(request("select 1", &[]));
    let state = MetadataValue::from_static("vendor=t61rcWkgMzE,other=1");
    asked.metadata_mut().insert("tracestate", state);
    asked.metadata_mut().insert("baggage", MetadataValue::from_static("user=of-no-concern"));
    service.client.raw().query(asked).await.expect("it runs");
    let trace = caller.trace(&collector);
    for span in [trace.server(), trace.one("acquire"), trace.one("SELECT main")] {
        assert_eq!(span.trace_state, "vendor=t61rcWkgMzE,other=1", "{span:?}");
    }
    assert!(!collector.text().contains("of-no-concern"), "{}", collector.text());
}

#[tokio::test]
async fn what_a_caller_does_not_trace_has_no_span() {
    // Even where every other call is traced.
    let sampler = [("OTEL_TRACES_SAMPLER", "parentbased_always_on")];
    let Watched { service, collector } = Watched::with(Backend::Sqlite, "", &sampler).await;
    let (ignored, traced) = (Caller::new(), Caller::new());
    let asked = ignored.ignores(request("select 1", &[]));
    service.client.raw().query(asked).await.expect("it runs");
    service.client.raw().query(traced.traces(request("select 2", &[]))).await.expect("it runs");
    service.client.must("select 3", &[]).await;
    traced.trace(&collector);
    // A trace of its own.
    collector.spans("the call without a trace", |spans| {
        let own = spans.iter().find(|span| span.name == QUERY && span.parent_span_id.is_empty())?;
        assert_ne!(own.trace_id, traced.trace.to_be_bytes());
        Some(())
    });
    let of_it = collector.spans("what came before", |spans| {
        Some(spans.iter().filter(|span| span.trace_id == ignored.trace.to_be_bytes()).count())
    });
    assert_eq!(of_it, 0);
}
