//! The row of a key holds what it must, whatever the unit does to its session.

use rowgate::value::proto::{ExecuteBatchRequest, QueryOptions, Value};
use tonic::Code;

use super::under;
use crate::harness::behind::KEYS;
use crate::harness::client::request_with;
use crate::harness::postgres::Postgres;
use crate::harness::unit::{batch, keyed};
use crate::harness::{Backend, Service};

async fn service() -> Service {
    let postgres = Postgres::start();
    postgres.psql(KEYS);
    postgres.psql("create table t (id bigint)");
    Service::on(postgres, "[databases.main.pool]\nmin = 1\nmax = 2").await
}

async fn count(service: &Service) -> Value {
    let result = service.client.must("select count(*) from t", &[]).await;
    result.rows[0].values[0].clone()
}

#[tokio::test]
async fn what_hinders_the_stored_response_is_told() {
    let postgres = Postgres::start();
    postgres.psql(KEYS);
    postgres.psql(
        "create table t (id bigint); create role app login password 'app'; \
         grant select, insert, delete on rowgate_idempotency to app; grant all on t to app",
    );
    let url = postgres.url_as("app", "app");
    let server =
        crate::harness::server::Server::start(&format!("[databases.main]\nurl = \"{url}\""));
    let client = crate::harness::client::Client::connect(server.grpc()).await;
    let request = under("k", batch(&["insert into t values (1)"]));
    let failure = client.batch(request).await.expect_err("it may not update");
    assert_eq!(failure.what(), (Code::PermissionDenied, "INSUFFICIENT_PRIVILEGE"), "{failure:?}");
    assert_eq!(failure.outcome, "NOT_APPLIED");
    assert_eq!(postgres.psql("select count(*) from t"), "0");
}

#[tokio::test]
async fn the_table_of_keys_is_the_same_whatever_the_search_path() {
    let service = service().await;
    service.postgres().psql(&format!("create schema decoy; set search_path = decoy; {KEYS}"));
    let paths = ["pg_catalog", "decoy, public", "decoy, pg_catalog"];
    for (number, path) in paths.into_iter().enumerate() {
        let set = format!("set local search_path = {path}");
        let statements = [&set, "insert into public.t values (1) returning id"];
        let request = under(&format!("k{number}"), batch(&statements));
        let first = service.client.batch(request.clone()).await.expect(path);
        let again = service.client.batch(request).await.expect(path);
        assert!(again.replayed, "{path}");
        assert_eq!(again.results, first.results, "{path}");
    }
    assert_eq!(count(&service).await, Value::int64(3));
    assert_eq!(service.postgres().psql("select count(*) from decoy.rowgate_idempotency"), "0");
}

#[tokio::test]
async fn a_unit_that_removes_its_own_key_is_not_applied() {
    let service = service().await;
    for (key, insert) in [("k", "insert into t values (1)"), ("l", "insert into n values (1)")] {
        let make = "create temp table n (id bigint) on commit drop";
        let delete = "delete from rowgate_idempotency";
        // The second cannot be prepared before it runs.
        let request = under(key, batch(&[make, insert, delete, "insert into t values (2)"]));
        let failure = service.client.batch(request).await.expect_err("its key is gone");
        assert_eq!(failure.code, Code::FailedPrecondition, "{failure:?}");
        assert_eq!(failure.outcome, "NOT_APPLIED", "{failure:?}");
        assert_eq!(count(&service).await, Value::int64(0));
    }
}

#[tokio::test]
async fn a_keyed_unit_whose_response_is_too_large_is_not_applied() {
    let limit = "max_bytes = 524287\n[grpc]\nmax_response_size = 524288";
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let service = Service::with(backend, limit).await;
        if backend == Backend::Postgres {
            service.client.must(KEYS, &[]).await;
        }
        let columns: Vec<_> = (0..1000).map(|n| format!("{n} as column_number_{n:010}")).collect();
        let wide = format!("select {}", columns.join(", "));
        service.client.must("create table t (id bigint)", &[]).await;
        let mut statements = vec!["insert into t values (1)"];
        statements.extend(std::iter::repeat_n(wide.as_str(), 20));
        let request = under("k", batch(&statements));
        for _ in 0..2 {
            let failure = service.client.batch(request.clone()).await.expect_err("a megabyte");
            assert_eq!(failure.what(), (Code::ResourceExhausted, "RESULT_TOO_LARGE"));
            assert_eq!(failure.outcome, "NOT_APPLIED", "{backend:?} {failure:?}");
            assert_eq!(count(&service).await, Value::int64(0), "{backend:?}");
        }
        // The key is free.
        let less = under("k", batch(&["insert into t values (1)"]));
        service.client.batch(less).await.expect("it runs");
    }
}

#[tokio::test]
async fn one_statement_under_a_key_holds_as_a_batch_does() {
    let service = service().await;
    let delete = request_with("delete from rowgate_idempotency", keyed("k"));
    let failure = service.client.run(delete).await.expect_err("its key is gone");
    assert_eq!((failure.code, failure.outcome.as_str()), (Code::FailedPrecondition, "NOT_APPLIED"));
    let options = QueryOptions { max_rows: 1, ..keyed("l") };
    let large = ExecuteBatchRequest {
        options: Some(options),
        ..batch(&["insert into t values (1), (2) returning id"])
    };
    let failure = service.client.batch(large).await.expect_err("two rows");
    assert_eq!(failure.outcome, "NOT_APPLIED", "{failure:?}");
    assert_eq!(count(&service).await, Value::int64(0));
}
