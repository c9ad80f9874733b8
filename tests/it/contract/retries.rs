//! Retries by the server itself, and calls that are sent again under a key.

use rowgate::value::Value;
use rowgate::value::proto::get_transaction_outcome_request::Handle;
use rowgate::value::proto::{
    BatchStatement, ExecuteBatchRequest, ExecuteBatchResponse, GetTransactionOutcomeRequest,
    QueryOptions, TransactionState,
};
use tonic::Code;

use super::contract;
use crate::harness::client::{Client, Failure, PATIENCE, request_with, with_deadline};
use crate::harness::{Backend, Service};

contract! {
    a_key_is_the_same_whatever_the_tag_and_the_attempts
    what_became_of_a_key_is_told
}

/// PostgreSQL's table of keys; SQLite has its own made.
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

/// Makes the tables of a case; `KEY` is a primary key that the database counts itself.
async fn prepare(service: &Service, table: &str) {
    let own = "integer primary key auto_increment";
    let key = service.pick("integer primary key", "serial primary key", own);
    match service.backend {
        Backend::Sqlite => {}
        Backend::Postgres => drop(service.client.must(KEYS, &[]).await),
        Backend::Mariadb => service.install_keys(),
    }
    service.client.must(&table.replace("KEY", key), &[]).await;
}

#[tokio::test]
async fn a_parameter_is_named_within_its_statement() {
    let service = Service::start(Backend::Postgres).await;
    prepare(&service, "create table t (id integer primary key)").await;
    let mut request = batch(&["select 1", "select $1::integer"]);
    request.statements[1].parameters = vec![Value::bool(true)];
    let failure = run(&service.client, request).await.expect_err("it is no integer");
    assert_eq!(failure.what(), (Code::InvalidArgument, "INVALID_PARAMETER"), "{failure:?}");
    assert_eq!(failure.fields(), ["statements[1].parameters[0]"]);
    assert_eq!(failure.report.failed_statement, Some(1));
}

/// Inserts a row of nothing but defaults.
fn insert_of_defaults(service: &Service) -> &'static str {
    let standard = "insert into t default values";
    service.pick(standard, standard, "insert into t values ()")
}

async fn a_key_is_the_same_whatever_the_tag_and_the_attempts(service: Service) {
    prepare(&service, "create table t (id KEY)").await;
    let sql = format!("{} returning id", insert_of_defaults(&service));
    let inserting = || ExecuteBatchRequest { options: Some(keyed("k")), ..batch(&[&sql]) };
    let first = run(&service.client, inserting()).await.expect("it is right");
    let options = QueryOptions { tag: "again".to_owned(), ..keyed("k") };
    let again = ExecuteBatchRequest { options: Some(options), max_attempts: 7, ..inserting() };
    let again = run(&service.client, again).await.expect("it is replayed");
    assert_eq!((first.replayed, again.replayed), (false, true));
    assert_eq!(first.results, again.results);
    let bounded = QueryOptions { max_rows: 5, ..keyed("k") };
    let other = ExecuteBatchRequest { options: Some(bounded), ..inserting() };
    let failure = run(&service.client, other).await.expect_err("it is another request");
    assert_eq!(failure.what(), (Code::FailedPrecondition, "KEY_REUSED"), "{failure:?}");
}

async fn what_became_of_a_key_is_told(service: Service) {
    prepare(&service, "create table t (id KEY)").await;
    let state = async |key: &str| {
        let request = GetTransactionOutcomeRequest {
            handle: Some(Handle::IdempotencyKey(key.to_owned())),
            ..Default::default()
        };
        let answer = service.client.raw().get_transaction_outcome(request).await;
        answer.expect("it is known").into_inner().state()
    };
    assert_eq!(state("k").await, TransactionState::NotApplied);
    let query = request_with(insert_of_defaults(&service), keyed("k"));
    service.client.call(query, PATIENCE).await.expect("it is right");
    assert_eq!(state("k").await, TransactionState::Applied);
}

#[tokio::test]
async fn batches_that_deadlock_both_succeed_on_postgres() {
    batches_that_deadlock_both_succeed(Service::start(Backend::Postgres).await).await;
}

#[tokio::test]
async fn batches_that_deadlock_both_succeed_on_mariadb() {
    batches_that_deadlock_both_succeed(Service::start(Backend::Mariadb).await).await;
}

async fn batches_that_deadlock_both_succeed(service: Service) {
    prepare(&service, "create table t (id integer primary key, n integer)").await;
    service.client.must("insert into t values (1, 0), (2, 0)", &[]).await;
    let add = |first: u32, second: u32| {
        let update = |id| format!("update t set n = n + 1 where id = {id}");
        let (first, second) = (update(first), update(second));
        let sleep = service.pick("select 1", "select pg_sleep(0.3)", "select sleep(0.3)");
        run(&service.client, batch(&[&first, sleep, &second]))
    };
    // A busy machine may let one of them end before the other begins.
    for added in [2, 4, 6, 8, 10] {
        let (one, other) = tokio::join!(add(1, 2), add(2, 1));
        let [one, other] = [one, other].map(|it| it.expect("it is retried").attempts);
        let sum = service.client.must("select max(n), min(n) from t", &[]).await;
        assert_eq!(sum.rows[0].values, [Value::int64(added), Value::int64(added)]);
        if one + other > 2 {
            return;
        }
    }
    panic!("there was no deadlock");
}
