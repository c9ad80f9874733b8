//! Idempotency keys of batches and queries: the work is done once, and its answer is given again.

use rowgate::value::proto::get_transaction_outcome_request::Handle;
use rowgate::value::proto::{
    ExecuteBatchRequest, GetTransactionOutcomeRequest, QueryRequest, TransactionState, Value,
};
use tonic::Code;

use super::batches::{numbers, table};
use super::contract;
use crate::harness::Service;
use crate::harness::client::{PATIENCE, request, request_with};
use crate::harness::unit::{batch, keyed, statement};

contract! {
    a_key_runs_once_and_replays
    a_key_is_for_one_request
    concurrent_calls_under_one_key_run_once
    a_key_whose_unit_failed_is_free
    a_query_may_have_a_key
}

/// A service with keys: PostgreSQL and MariaDB want their table installed.
async fn with_keys(service: &Service) {
    table(service).await;
    if service.pick(false, false, true) {
        service.install_keys();
    }
    let install = "create table rowgate_idempotency (caller text not null, key text not null, \
         request_hash bytea not null, response bytea, created_at timestamptz not null default now(), \
         expires_at timestamptz not null, primary key (caller, key))";
    if service.pick(false, true, false) {
        service.client.must(install, &[]).await;
    }
}

fn increment(service: &Service, key: &str) -> ExecuteBatchRequest {
    let standard =
        "insert into t values (1, 0) on conflict (id) do update set n = t.n + 1 returning n";
    let own = "insert into t values (1, 0) on duplicate key update n = n + 1 returning n";
    let sql = service.pick(standard, standard, own);
    ExecuteBatchRequest { options: Some(keyed(key)), ..batch(&[sql]) }
}

async fn a_key_runs_once_and_replays(service: Service) {
    with_keys(&service).await;
    let first = service.client.batch(increment(&service, "k")).await.expect("it runs");
    let again = service.client.batch(increment(&service, "k")).await.expect("it replays");
    assert_eq!((first.replayed, again.replayed), (false, true));
    assert_eq!(first.results, again.results);
    let other = service.client.batch(increment(&service, "other")).await.expect("another key runs");
    assert_eq!(other.results[0].rows[0].values, [Value::int64(1)]);
    for (key, state) in
        [("k", TransactionState::Applied), ("nobody's", TransactionState::NotApplied)]
    {
        let handle = Some(Handle::IdempotencyKey(key.to_owned()));
        let request = GetTransactionOutcomeRequest { handle, ..Default::default() };
        let answer = service.client.raw().get_transaction_outcome(request).await.expect("it tells");
        assert_eq!(answer.get_ref().state(), state, "{key}");
    }
}

async fn a_key_is_for_one_request(service: Service) {
    with_keys(&service).await;
    service.client.batch(increment(&service, "k")).await.expect("it runs");
    let other = ExecuteBatchRequest { options: Some(keyed("k")), ..batch(&["delete from t"]) };
    let failure = service.client.batch(other).await.expect_err("another request");
    assert_eq!(failure.what(), (Code::FailedPrecondition, "KEY_REUSED"), "{failure:?}");
    let query = request_with("delete from t", keyed("k"));
    let failure = service.client.run(query).await.expect_err("another RPC");
    assert_eq!(failure.what(), (Code::FailedPrecondition, "KEY_REUSED"), "{failure:?}");
    assert_eq!(numbers(&service).await, [Value::int64(1)]);
}

async fn concurrent_calls_under_one_key_run_once(service: Service) {
    with_keys(&service).await;
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let client = service.client.clone();
            let request = increment(&service, "k");
            tokio::spawn(async move { client.batch(request).await })
        })
        .collect();
    let mut first_runs = 0;
    for call in calls {
        let response = call.await.expect("no panic").expect("it runs or replays");
        first_runs += u32::from(!response.replayed);
        assert_eq!(response.results[0].rows[0].values, [Value::int64(0)]);
    }
    assert_eq!(first_runs, 1);
}

async fn a_key_whose_unit_failed_is_free(service: Service) {
    with_keys(&service).await;
    let insert = |id: i64| ExecuteBatchRequest {
        statements: vec![statement("insert into t values ($1, 1)", &[Value::int64(id)])],
        options: Some(keyed("k")),
        ..ExecuteBatchRequest::default()
    };
    service.client.must("insert into t values (1, 1)", &[]).await;
    let failure = service.client.batch(insert(1)).await.expect_err("a duplicate");
    assert_eq!(failure.what(), (Code::AlreadyExists, "UNIQUE_VIOLATION"), "{failure:?}");
    service.client.must("delete from t", &[]).await;
    let response = service.client.batch(insert(1)).await.expect("nothing was kept of it");
    assert!(!response.replayed);
}

async fn a_query_may_have_a_key(service: Service) {
    with_keys(&service).await;
    let insert = || QueryRequest {
        options: Some(keyed("k")),
        ..request("insert into t values ($1, 1) returning id", &[Value::int64(5)])
    };
    let first = service.client.call(insert(), PATIENCE).await.expect("it runs");
    let again = service.client.call(insert(), PATIENCE).await.expect("it replays");
    assert_eq!((first.replayed, again.replayed), (false, true));
    assert_eq!(first.result, again.result);
    assert_eq!(numbers(&service).await, [Value::int64(5)]);
}
