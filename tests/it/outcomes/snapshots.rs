//! The snapshot of a transaction that only reads.

use rowgate::value::proto::{
    AccessMode, ExecuteBatchRequest, IsolationLevel, TransactionOptions, Value,
};

use super::{LEVELS, begin, count, first, reading};
use crate::harness::unit::batch;
use crate::harness::{Backend, Service};

#[tokio::test]
async fn a_read_only_transaction_sees_what_was_committed_before_its_first_statement() {
    let service = Service::start(Backend::Postgres).await;
    let client = &service.client;
    client.must("create table t (id int)", &[]).await;
    for (round, level) in (1..).zip([IsolationLevel::RepeatableRead, IsolationLevel::Serializable])
    {
        let mut transaction = begin(client, reading(level)).await;
        client.must("insert into t values (1)", &[]).await;
        let seen = transaction.query("select count(*) from t", &[]).await.expect("it reads");
        assert_eq!(first(&seen), &Value::int64(round), "{level:?}");
        client.must("update t set id = 2", &[]).await;
        let again = transaction.query("select count(*) from t where id = 2", &[]).await;
        let expected = Value::int64(0);
        assert_eq!(first(&again.expect("it reads")), &expected, "{level:?}: one snapshot");
        transaction.commit().await.expect("it ends");
        client.must("update t set id = 1", &[]).await;
    }
}

#[tokio::test]
async fn what_earlier_callers_drew_from_sequences_costs_a_transaction_neither_its_own_nor_its_snapshot()
 {
    let service = Service::with(Backend::Postgres, "pool.min = 1\npool.max = 1").await;
    let client = &service.client;
    client.must("create table t (id serial)", &[]).await;
    let draw = "insert into t default values";
    client.must(draw, &[]).await;
    let mut transaction = client.begin().await;
    transaction.query(draw, &[]).await.expect("it draws");
    let own = transaction.query("select currval('t_id_seq')", &[]).await.expect("it drew itself");
    assert_eq!(first(&own), &Value::int64(2));
    transaction.commit().await.expect("it ends");
    for level in [IsolationLevel::RepeatableRead, IsolationLevel::Serializable] {
        client.must(draw, &[]).await;
        let options = TransactionOptions { isolation_level: level.into(), ..Default::default() };
        let mut transaction = begin(client, options).await;
        transaction.query("set local work_mem = '5MB'", &[]).await.expect("it runs");
        service.postgres().psql(draw);
        let before = service.postgres().psql("select count(*) from t");
        let seen = transaction.query("select count(*)::text from t", &[]).await.expect("it reads");
        assert_eq!(first(&seen), &Value::text(before.trim()), "{level:?}");
        transaction.rollback().await.expect("it ends");
    }
}

#[tokio::test]
async fn the_mode_of_a_read_only_transaction_is_pinned_before_its_first_statement() {
    let service = Service::start(Backend::Postgres).await;
    let shown = "select current_setting('transaction_isolation')";
    for level in LEVELS {
        for text in [
            "set transaction_read_only = off",
            "set local transaction_read_only = off",
            "do $$ begin execute 'set transaction read write'; end $$",
        ] {
            let mut transaction = begin(&service.client, reading(level)).await;
            transaction.query(text, &[]).await.expect_err(text);
            transaction.rollback().await.expect("it ends");
        }
        let mut transaction = begin(&service.client, reading(level)).await;
        let result = transaction.query(shown, &[]).await.expect("it reads");
        let expected = match level {
            IsolationLevel::RepeatableRead => "repeatable read",
            IsolationLevel::Serializable => "serializable",
            IsolationLevel::ReadCommitted | IsolationLevel::Unspecified => "read committed",
        };
        assert_eq!(first(&result), &Value::text(expected));
    }
}

/// Texts that end the isolation of their transaction, where the server lets them.
const LEAVES: [&str; 5] = [
    "reset transaction_isolation",
    "set transaction_isolation to default",
    "set local transaction_isolation = default",
    "do $$ begin reset transaction_isolation; end $$",
    "select set_config('transaction_isolation', null, true)",
];

#[tokio::test]
async fn nothing_is_committed_that_is_less_isolated_than_it_was_asked_to_be() {
    let service = Service::start(Backend::Postgres).await;
    let client = &service.client;
    client.must("create table t (id int)", &[]).await;
    let insert = "insert into t values (1)";
    for level in [IsolationLevel::RepeatableRead, IsolationLevel::Serializable] {
        let access = [AccessMode::ReadWrite, AccessMode::ReadOnly];
        for (access, text) in access.iter().flat_map(|a| LEAVES.map(|text| (*a, text))) {
            let what = format!("{text} at {level:?}, {access:?}");
            let own =
                if access == AccessMode::ReadOnly { "select count(*) from t" } else { insert };
            let options = TransactionOptions {
                isolation_level: level.into(),
                access_mode: access.into(),
                ..TransactionOptions::default()
            };
            let request = ExecuteBatchRequest {
                transaction: Some(options),
                ..batch(&[own, text, "select 1"])
            };
            let failure = client.batch(request).await.expect_err(&what);
            assert_eq!(failure.outcome, "NOT_APPLIED", "{what}: {failure:?}");
            let mut transaction = begin(client, options).await;
            transaction.query(own, &[]).await.expect("it runs");
            if transaction.query(text, &[]).await.is_err() {
                transaction.rollback().await.expect("it ends");
                continue;
            }
            let failure = transaction.commit().await.expect_err(&what);
            assert_eq!(failure.reason, "ISOLATION_LEFT", "{what}: {failure:?}");
            assert_eq!(failure.outcome, "NOT_APPLIED", "{what}: {failure:?}");
        }
    }
    assert_eq!(count(client, "t").await, Value::int64(0));
}
