//! ExecuteBatch and idempotency keys on the real server: what is applied together, run again, run once.

use rowgate::value::Value;
use rowgate::value::proto::expectation::Rows;
use rowgate::value::proto::get_transaction_outcome_request::Handle;
use rowgate::value::proto::{
    BatchStatement, ExecuteBatchRequest, ExecuteBatchResponse, Expectation,
    GetTransactionOutcomeRequest, IsolationLevel, QueryOptions, TransactionOptions,
    TransactionState,
};
use tonic::Code;

use crate::harness::client::{Client, Failure, PATIENCE, request_with, with_deadline};
use crate::harness::{Backend, Service};

const KEYS: &str = "create table rowgate_idempotency (caller text not null, key text not null, \
    request_hash bytea not null, response bytea, expires_at timestamptz not null, \
    primary key (caller, key))";

fn batch(statements: &[&str]) -> ExecuteBatchRequest {
    let statement = |sql: &&str| BatchStatement { sql: (*sql).to_owned(), ..Default::default() };
    ExecuteBatchRequest {
        statements: statements.iter().map(statement).collect(),
        ..Default::default()
    }
}

fn keyed(key: &str) -> QueryOptions {
    QueryOptions { idempotency_key: key.to_owned(), ..Default::default() }
}

async fn run(
    client: &Client,
    request: ExecuteBatchRequest,
) -> Result<ExecuteBatchResponse, Failure> {
    let answer = client.raw().execute_batch(with_deadline(request, PATIENCE)).await;
    answer.map(tonic::Response::into_inner).map_err(Failure::from)
}

async fn count(client: &Client) -> Vec<Value> {
    client.must("select count(*) from t", &[]).await.rows.remove(0).values
}

async fn service(table: &str) -> Service {
    let service = Service::start(Backend::Postgres).await;
    for sql in [KEYS, table] {
        service.client.must(sql, &[]).await;
    }
    service
}

#[tokio::test]
async fn statements_are_applied_together_or_not_at_all() {
    let service = service("create table t (id integer primary key)").await;
    let client = &service.client;
    let inserts = ["insert into t values (1)", "insert into t values (2) returning id"];
    let done = run(client, batch(&inserts)).await.expect("it is right");
    assert_eq!((done.attempts, done.replayed, done.results.len()), (1, false, 2));
    assert_eq!(done.results[1].rows[0].values, [Value::int64(2)]);
    let failing = ["insert into t values (3)", "insert into t values (1)"];
    let failure = run(client, batch(&failing)).await.expect_err("1 is there");
    assert_eq!(failure.what(), (Code::AlreadyExists, "UNIQUE_VIOLATION"));
    assert_eq!(
        (failure.outcome.as_str(), failure.report.failed_statement),
        ("NOT_APPLIED", Some(1))
    );
    let mut expecting = batch(&["insert into t values (3)", "delete from t where id = 9"]);
    expecting.statements[1].expect = Some(Expectation { rows: Some(Rows::Exactly(1)) });
    let failure = run(client, expecting).await.expect_err("9 is not there");
    assert_eq!(failure.what(), (Code::FailedPrecondition, "EXPECTATION_FAILED"));
    assert_eq!(failure.report.failed_statement, Some(1));
    let dry = ExecuteBatchRequest { dry_run: true, ..batch(&["insert into t values (3)"]) };
    assert_eq!(run(client, dry).await.expect("it is right").results[0].rows_affected, 1);
    assert_eq!(count(client).await, [Value::int64(2)]);
}

#[tokio::test]
async fn a_parameter_is_named_within_its_statement() {
    let service = service("create table t (id integer primary key)").await;
    let mut request = batch(&["select 1", "select $1::integer"]);
    request.statements[1].parameters = vec![Value::bool(true)];
    let failure = run(&service.client, request).await.expect_err("it is no integer");
    assert_eq!(failure.what(), (Code::InvalidArgument, "INVALID_PARAMETER"), "{failure:?}");
    assert_eq!(failure.fields(), ["statements[1].parameters[0]"]);
    assert_eq!(failure.report.failed_statement, Some(1));
}

#[tokio::test]
async fn a_key_runs_once_and_its_result_is_replayed() {
    let service = service("create table t (id serial)").await;
    let client = &service.client;
    let request = ExecuteBatchRequest {
        options: Some(keyed("a")),
        ..batch(&["insert into t default values returning id"])
    };
    let first = run(client, request.clone()).await.expect("it is right");
    let options = QueryOptions { tag: "again".to_owned(), ..keyed("a") };
    let again = ExecuteBatchRequest { options: Some(options), max_attempts: 7, ..request.clone() };
    let again = run(client, again).await.expect("it is replayed");
    assert_eq!((first.replayed, again.replayed), (false, true));
    assert_eq!(first.results, again.results);
    let other = ExecuteBatchRequest { dry_run: false, ..batch(&["delete from t"]) };
    let other = ExecuteBatchRequest { options: Some(keyed("a")), ..other };
    let failure = run(client, other).await.expect_err("it is another request");
    assert_eq!(failure.what(), (Code::FailedPrecondition, "KEY_REUSED"), "{failure:?}");
    let query = || request_with("insert into t default values returning id", keyed("b"));
    let first = client.call(query(), PATIENCE).await.expect("it is right");
    let again = client.call(query(), PATIENCE).await.expect("it is replayed");
    assert_eq!((first.replayed, again.replayed), (false, true));
    assert_eq!(first.result, again.result);
    assert_eq!(count(client).await, [Value::int64(2)]);
}

#[tokio::test]
async fn a_key_sent_many_times_at_once_runs_once() {
    let service = service("create table t (id serial)").await;
    let calls = (0..16).map(|_| {
        let query = request_with("insert into t default values returning id", keyed("k"));
        service.client.call(query, PATIENCE)
    });
    let answers = futures_util::future::join_all(calls).await;
    let answers: Vec<_> = answers.into_iter().map(|answer| answer.expect("it is right")).collect();
    assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
    assert!(answers.iter().all(|answer| answer.result == answers[0].result));
    assert_eq!(count(&service.client).await, [Value::int64(1)]);
}

#[tokio::test]
async fn what_became_of_a_key_is_told() {
    let service = service("create table t (id serial)").await;
    let state = async |key: &str| {
        let request = GetTransactionOutcomeRequest {
            handle: Some(Handle::IdempotencyKey(key.to_owned())),
            ..Default::default()
        };
        let answer = service.client.raw().get_transaction_outcome(request).await;
        answer.expect("it is known").into_inner().state()
    };
    assert_eq!(state("k").await, TransactionState::NotApplied);
    let query = request_with("insert into t default values", keyed("k"));
    service.client.call(query, PATIENCE).await.expect("it is right");
    assert_eq!(state("k").await, TransactionState::Applied);
}

#[tokio::test]
async fn batches_that_deadlock_both_succeed() {
    let service = service("create table t (id integer primary key, n integer)").await;
    service.client.must("insert into t values (1, 0), (2, 0)", &[]).await;
    let add = |first: u32, second: u32| {
        let update = |id| format!("update t set n = n + 1 where id = {id}");
        let (first, second) = (update(first), update(second));
        run(&service.client, batch(&[&first, "select pg_sleep(0.3)", &second]))
    };
    let (one, other) = tokio::join!(add(1, 2), add(2, 1));
    let attempts = one.expect("it is retried").attempts + other.expect("it is retried").attempts;
    assert!(attempts > 2, "there was no deadlock");
    let sum = service.client.must("select sum(n)::int from t", &[]).await;
    assert_eq!(sum.rows[0].values, [Value::int64(4)]);
}

#[tokio::test]
async fn no_increment_is_lost_and_no_caller_sees_a_conflict() {
    let service = service("create table t (n integer)").await;
    service.client.must("insert into t values (0)", &[]).await;
    let transaction = TransactionOptions {
        isolation_level: IsolationLevel::Serializable.into(),
        ..Default::default()
    };
    let request = ExecuteBatchRequest {
        transaction: Some(transaction),
        ..batch(&["select n from t", "update t set n = n + 1"])
    };
    let callers = (0..16).map(|_| async {
        let mut attempts = 0;
        for _ in 0..25 {
            attempts +=
                run(&service.client, request.clone()).await.expect("it is retried").attempts;
        }
        attempts
    });
    let attempts: u32 = futures_util::future::join_all(callers).await.into_iter().sum();
    eprintln!("400 increments in {attempts} attempts");
    let total = service.client.must("select n from t", &[]).await;
    assert_eq!(total.rows[0].values, [Value::int64(400)]);
    assert!(attempts > 400, "nothing collided");
}
