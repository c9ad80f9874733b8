//! Statements that are refused, and whether that is the truth.

use rowgate::value::proto::{
    ExecuteBatchRequest, IsolationLevel, QueryOptions, TransactionOptions, Value,
};
use tonic::Code;

use super::{begin, count};
use crate::harness::behind::KEYS;
use crate::harness::client::{request, request_with};
use crate::harness::unit::{batch, keyed};
use crate::harness::{Backend, Service};

const INSERT: &str = "insert into t values (1)";

/// Copies to and from the client, in the forms that PostgreSQL accepts.
const COPIES: &[&str] = &[
    "copy t to stdout",
    "copy t from stdin",
    "COPY t (id) TO STDIN WITH (FORMAT binary)",
    "copy binary t to stdout",
    "/* x */ ; copy public.t to stdout",
    "copy \"to\" to stdout",
    "copy odd.from to stdout",
    "copy (select 1 as \"to\", 'x' as x) to stdout",
    "copy (insert into t values (7) returning id) to stdout",
    "copy (delete from t returning ') to ''file''') to stdout",
    "copy t from stdout with csv",
    "copy t to stdout where true",
];

async fn service() -> Service {
    let service = Service::start(Backend::Postgres).await;
    for sql in [
        KEYS,
        "create table t (id int)",
        "create table \"to\" (id int)",
        "create schema odd",
        "create table odd.\"from\" (id int)",
        "create function copies(copy text) returns void language plpgsql as
            $$ begin insert into t values (1); execute copy; end $$",
    ] {
        service.client.must(sql, &[]).await;
    }
    service
}

fn options(level: IsolationLevel) -> Option<TransactionOptions> {
    Some(TransactionOptions { isolation_level: level.into(), ..TransactionOptions::default() })
}

#[tokio::test]
async fn a_copy_to_or_from_the_client_is_refused_and_nothing_of_its_unit_is_applied() {
    let service = service().await;
    let client = &service.client;
    for copy in COPIES {
        let plain = batch(&[INSERT, copy]);
        let serializable = IsolationLevel::Serializable;
        let units = [
            plain.clone(),
            ExecuteBatchRequest { max_attempts: 1, ..plain.clone() },
            ExecuteBatchRequest { transaction: options(serializable), ..plain.clone() },
            ExecuteBatchRequest { options: Some(keyed(copy)), ..plain },
            batch(&["create table made ()", INSERT, copy, "select 1"]),
        ];
        let mut failures = Vec::new();
        for unit in units {
            failures.push(client.batch(unit).await.expect_err(copy));
        }
        failures.push(client.run(request(copy, &[])).await.expect_err(copy));
        failures.push(client.run(request_with(copy, keyed("one"))).await.expect_err(copy));
        failures.push(client.stream(request(copy, &[])).await.expect_err(copy));
        for failure in failures {
            assert_eq!(failure.code, Code::Unimplemented, "{copy}: {failure:?}");
            assert_eq!(failure.outcome, "NOT_APPLIED", "{copy}: {failure:?}");
            assert_eq!(failure.fields().len(), 1, "{copy}: {failure:?}");
        }
        assert_eq!(count(client, "t").await, Value::int64(0), "after {copy}");
    }
}

#[tokio::test]
async fn a_copy_in_a_function_or_a_block_fails_like_any_statement() {
    let service = service().await;
    for sql in [
        "do $$ begin insert into t values (1); copy t to stdout; end $$",
        "select copies('copy t from stdin')",
        "select copies('copy (select 1) to stdout')",
    ] {
        let failures = [
            service.client.must_fail(sql, &[]).await,
            service.client.batch(batch(&[INSERT, sql])).await.expect_err(sql),
        ];
        for failure in failures {
            assert_eq!(failure.code, Code::Unimplemented, "{sql}: {failure:?}");
            assert_eq!(failure.outcome, "NOT_APPLIED", "{sql}: {failure:?}");
        }
        assert_eq!(count(&service.client, "t").await, Value::int64(0), "after {sql}");
    }
}

#[tokio::test]
async fn a_copy_in_a_transaction_is_an_error_reply_and_the_stream_stays_open() {
    let service = service().await;
    for copy in COPIES {
        let mut transaction = service.client.begin().await;
        transaction.query(INSERT, &[]).await.expect("it runs");
        transaction.savepoint("before").await.expect("it is set");
        let failure = transaction.query(copy, &[]).await.expect_err(copy);
        assert_eq!(failure.code, Code::Unimplemented, "{copy}: {failure:?}");
        transaction.rollback_to("before").await.expect("the stream is open");
        transaction.query(INSERT, &[]).await.expect("the transaction goes on");
        transaction.commit().await.expect("it commits");
    }
    let rows = i64::try_from(2 * COPIES.len()).expect("few");
    assert_eq!(count(&service.client, "t").await, Value::int64(rows));
}

#[tokio::test]
async fn a_write_whose_result_is_too_large_says_that_it_is_applied() {
    let service = service().await;
    let many = "insert into t select g from generate_series(1, 100) g returning id";
    let few = QueryOptions { max_rows: 10, ..QueryOptions::default() };
    let mut expected = 0;
    let request = ExecuteBatchRequest { options: Some(few.clone()), ..batch(&[many]) };
    let failure = service.client.batch(request).await.expect_err("too many rows");
    assert_eq!(
        (failure.reason.as_str(), failure.outcome.as_str()),
        ("RESULT_TOO_LARGE", "APPLIED")
    );
    expected += 100;
    assert_eq!(count(&service.client, "t").await, Value::int64(expected));
    let failure = service.client.run(request_with(many, few)).await.expect_err("too many rows");
    assert_eq!(
        (failure.reason.as_str(), failure.outcome.as_str()),
        ("RESULT_TOO_LARGE", "APPLIED")
    );
    expected += 100;
    assert_eq!(count(&service.client, "t").await, Value::int64(expected));
}

#[tokio::test]
async fn a_refused_set_transaction_leaves_its_transaction_as_it_was() {
    let service = service().await;
    for control in [
        "set transaction isolation level serializable",
        "set transaction read only",
        "set transaction not deferrable",
        "SET LOCAL TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "/* x */ set session characteristics as transaction read only",
    ] {
        let mut transaction = begin(&service.client, TransactionOptions::default()).await;
        transaction.query(INSERT, &[]).await.expect("it runs");
        let failure = transaction.query(control, &[]).await.expect_err(control);
        assert_eq!(failure.reason, "TRANSACTION_CONTROL", "{control}: {failure:?}");
        let result = transaction.query("select count(*) from t", &[]).await;
        result.unwrap_or_else(|failure| panic!("after {control}: {failure:?}"));
        transaction.commit().await.expect("it commits");
        service.client.must("delete from t", &[]).await;
    }
    // Any other changes how the work ends.
    for control in ["rollback", "abort", "commit", "savepoint x", "begin"] {
        let mut transaction = begin(&service.client, TransactionOptions::default()).await;
        transaction.query(INSERT, &[]).await.expect("it runs");
        let failure = transaction.query(control, &[]).await.expect_err(control);
        assert_eq!(failure.reason, "TRANSACTION_CONTROL", "{control}: {failure:?}");
        let failure = transaction.query("select 1", &[]).await.expect_err("it is aborted");
        assert_eq!(failure.reason, "TRANSACTION_ABORTED", "{control}: {failure:?}");
    }
    assert_eq!(count(&service.client, "t").await, Value::int64(0));
}
