//! READ_ONLY: nothing that such a unit does stays.

use rowgate::value::proto::{ExecuteBatchRequest, IsolationLevel, TransactionOptions, Value};

use super::{LEVELS, begin, count, reading};
use crate::harness::Service;
use crate::harness::client::{Client, read_only, request_with};
use crate::harness::postgres::Postgres;
use crate::harness::unit::batch;

const SETUP: &str = "create table t (id int);
    create function leave() returns int language plpgsql as $$ begin
        reset transaction_read_only; insert into t values (1); return 1; end $$;
    create function leave_by_name() returns int language plpgsql as $$ begin
        execute 'set transaction_read_only to default'; insert into t values (2); return 2; end $$;
    create procedure leave_in_procedure() language plpgsql as $$ begin
        reset transaction_read_only; insert into t values (3); end $$;
    do $do$ begin
        create function leave_locally() returns int language plpgsql
            set transaction_read_only to default as $$ begin
            insert into t values (4); return 4; end $$;
    exception when feature_not_supported then
        -- Servers that forbid this may not make it either.
        null;
    end $do$;";

/// Statements that leave READ_ONLY, or write under it, where the server lets them.
const WRITES: &[&str] = &[
    "do $$ begin reset transaction_read_only; insert into t values (5); end $$",
    "do $$ begin set transaction_read_only to default; insert into t values (6); end $$",
    "do $$ begin set local transaction_read_only = default; insert into t values (7); end $$",
    "do $$ begin reset all; insert into t values (8); create table made (); end $$",
    "do $$ begin perform set_config('transaction_read_only', 'off', true); \
        insert into t values (9); end $$",
    "do $$ begin perform set_config('transaction_read_only', null, true); \
        insert into t values (9); end $$",
    "select leave()",
    "select leave_by_name()",
    "select leave_locally()",
    "call leave_in_procedure()",
    "select lo_create(0)",
    "select lo_from_bytea(0, 'x')",
    "select lo_put(4711, 0, 'changed')",
    "select lo_unlink(4711)",
];

/// Texts that would leave READ_ONLY for the statements after them.
const LEAVES: &[&str] = &[
    "reset transaction_read_only",
    "reset all",
    "set transaction_read_only to default",
    "set transaction_read_only = off",
    "set local transaction_read_only to default",
    "select set_config('transaction_read_only', 'off', true)",
    "do $$ begin reset transaction_read_only; end $$",
];

async fn service() -> Service {
    let postgres = Postgres::start();
    postgres.psql(SETUP);
    postgres.psql("select lo_from_bytea(4711, 'as it was')");
    Service::on(postgres, "").await
}

/// Checks that nothing was written since the setup.
async fn check_unchanged(service: &Service, after: &str) {
    let client = &service.client;
    assert_eq!(count(client, "t").await, Value::int64(0), "after {after}");
    assert_eq!(count(client, "pg_largeobject_metadata").await, Value::int64(1), "after {after}");
    let object = "select convert_from(lo_get(4711), 'UTF8'), to_regclass('made') is null";
    let result = client.must(object, &[]).await;
    let expected = [Value::text("as it was"), Value::bool(true)];
    assert_eq!(result.rows[0].values, expected, "after {after}");
}

async fn run_batch(client: &Client, level: IsolationLevel, texts: &[&str]) {
    let transaction = Some(reading(level));
    let request = ExecuteBatchRequest { transaction, ..batch(texts) };
    // Some are refused, and some are not: what counts is what stays.
    drop(client.batch(request).await);
}

async fn run_transaction(client: &Client, level: IsolationLevel, texts: &[&str]) {
    let mut transaction = begin(client, reading(level)).await;
    for text in texts {
        if transaction.query(text, &[]).await.is_err() {
            transaction.rollback().await.expect("it ends");
            return;
        }
    }
    transaction.commit().await.expect("it ends");
}

#[tokio::test]
async fn nothing_stays_that_a_read_only_unit_wrote() {
    let service = service().await;
    let client = &service.client;
    for sql in WRITES {
        drop(client.run(request_with(sql, read_only())).await);
        check_unchanged(&service, &format!("a Query of {sql}")).await;
        drop(client.stream(request_with(sql, read_only())).await);
        check_unchanged(&service, &format!("a StreamQuery of {sql}")).await;
        for level in LEVELS {
            run_batch(client, level, &[sql]).await;
            run_batch(client, level, &["create table if not exists made ()", sql]).await;
            run_batch(client, level, &["select 1", sql, "select 2"]).await;
            run_transaction(client, level, &[sql, "select 1"]).await;
            check_unchanged(&service, &format!("{sql} at {level:?}")).await;
        }
    }
    let insert = "insert into t values (10)";
    for sql in LEAVES {
        for level in LEVELS {
            run_batch(client, level, &[sql, insert]).await;
            run_transaction(client, level, &[sql, insert]).await;
            check_unchanged(&service, &format!("{sql} at {level:?}")).await;
        }
    }
}

#[tokio::test]
async fn a_name_of_a_savepoint_keeps_nothing_that_a_read_only_transaction_wrote() {
    let service = service().await;
    for name in ["rowgate_read_only", "rowgate_guard", "x"] {
        let mut transaction = begin(&service.client, reading(IsolationLevel::Serializable)).await;
        drop(transaction.query("select leave()", &[]).await);
        drop(transaction.savepoint(name).await);
        drop(transaction.commit().await);
        check_unchanged(&service, name).await;
    }
}

#[tokio::test]
async fn a_notification_of_a_read_only_unit_is_not_sent() {
    let service = service().await;
    for sql in ["notify told", "select pg_notify('told', '')"] {
        drop(service.client.run(request_with(sql, read_only())).await);
        let used = service.postgres().psql("select pg_notification_queue_usage()");
        assert_eq!(used, "0", "{sql}");
    }
}

/// The read-only anomaly of serializable snapshot isolation: a report that was delivered must forbid what
/// would contradict it. A report that is rolled back would forbid nothing.
#[tokio::test]
async fn a_serializable_report_that_was_delivered_holds() {
    let service = service().await;
    let client = &service.client;
    for sql in [
        "create table control (batch int)",
        "insert into control values (1)",
        "create table receipts (batch int)",
    ] {
        client.must(sql, &[]).await;
    }
    let level = IsolationLevel::Serializable.into();
    let serializable = TransactionOptions { isolation_level: level, ..Default::default() };
    let mut receipt = begin(client, serializable).await;
    receipt.query("select batch from control", &[]).await.expect("it reads");
    let mut closing = begin(client, serializable).await;
    closing.query("update control set batch = 2", &[]).await.expect("it closes the batch");
    closing.commit().await.expect("it commits");
    let mut report = begin(client, reading(IsolationLevel::Serializable)).await;
    report.query("select batch from control", &[]).await.expect("it reads");
    report.query("select count(*) from receipts", &[]).await.expect("it reads");
    report.commit().await.expect("the report is valid");
    let inserted = receipt.query("insert into receipts values (1)", &[]).await;
    let ended = match inserted {
        Ok(_) => receipt.commit().await,
        Err(failure) => Err(failure),
    };
    let failure = ended.expect_err("the report had no such receipt");
    assert_eq!(failure.reason, "SERIALIZATION_FAILURE", "{failure:?}");
}
