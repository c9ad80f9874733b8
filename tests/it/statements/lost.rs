//! Statements that somebody closed: by DEALLOCATE, in a place that the answer tells, or that it does not.

use rowgate::value::proto::{ExecuteBatchRequest, Value};

use super::{exactly, keeping};
use crate::harness::Service;
use crate::harness::unit::{batch, keyed};

/// A type of the database's own: the driver has prepared statements of its own for these.
const TYPE: &str = "create type mood as enum ('sad', 'happy')";
const FUNCTION: &str = "create function forget() returns int language plpgsql as \
    $$ begin execute 'deallocate all'; return 1; end $$";
const KEPT: &str = "select n from t where id = $1";

async fn service() -> Service {
    let service = keeping(256).await;
    for sql in [TYPE, FUNCTION, "insert into t values (1, 10)"] {
        service.postgres().psql(sql);
    }
    service.client.must(KEPT, &[Value::int64(1)]).await;
    service.client.must("select 'sad'::mood", &[]).await;
    service
}

/// The next caller, in each way, has never heard of it.
async fn next_callers_see_nothing(service: &Service, after: &str) {
    let mut transaction = service.client.begin().await;
    for sql in [KEPT, "select n + 0 from t where id = $1"] {
        let result = transaction.query(sql, &[Value::int64(1)]).await;
        let result = result.unwrap_or_else(|failure| panic!("after {after}: {failure:?}"));
        assert_eq!(result.rows[0].values, [Value::int64(10)], "after {after}");
    }
    transaction.commit().await.expect("it commits");
    service.client.must(KEPT, &[Value::int64(1)]).await;
    service.client.must("select 'happy'::mood, 'sad'::mood", &[]).await;
    let response = service.client.batch(batch(&["select n from t", "select n from t"])).await;
    assert_eq!(response.expect("it runs").attempts, 1, "after {after}");
}

#[tokio::test]
async fn a_caller_after_one_who_deallocated_sees_nothing_of_it() {
    let service = service().await;
    for sql in [
        "deallocate all",
        "do $$ begin execute 'deallocate all'; end $$",
        "select forget()",
        "discard all",
    ] {
        service.client.must(sql, &[]).await;
        next_callers_see_nothing(&service, sql).await;
        if sql == "discard all" {
            continue;
        }
        let mut transaction = service.client.begin().await;
        transaction.query(sql, &[]).await.expect("it runs");
        transaction.query("show transaction_isolation", &[]).await.expect("it runs");
        transaction.commit().await.expect("it commits");
        next_callers_see_nothing(&service, &format!("a transaction with {sql}")).await;
        service.client.batch(batch(&[sql, "show transaction_isolation"])).await.expect("it runs");
        next_callers_see_nothing(&service, &format!("a batch with {sql}")).await;
    }
}

#[tokio::test]
async fn a_unit_that_deallocates_goes_on_with_statements_that_it_had() {
    let service = service().await;
    let ways = ["deallocate all", "do $$ begin execute 'deallocate all'; end $$"];
    for (index, sql) in ways.into_iter().enumerate() {
        let mut transaction = service.client.begin().await;
        for text in [KEPT, sql, KEPT] {
            let parameters = if text == KEPT { vec![Value::int64(1)] } else { Vec::new() };
            transaction.query(text, &parameters).await.expect(text);
        }
        transaction.commit().await.expect("it commits");
        for key in [false, true] {
            let options = key.then(|| keyed(&format!("key {index}")));
            let mut request = ExecuteBatchRequest {
                options,
                ..batch(&["select n from t", sql, "select n from t"])
            };
            let response = service.client.batch(request.clone()).await.expect("it runs");
            assert_eq!((response.attempts, response.results.len()), (1, 3), "{sql}");
            request.options = key.then(|| keyed(&format!("alone {index}")));
            request.statements = vec![request.statements[1].clone()];
            assert_eq!(service.client.batch(request).await.expect("it runs").attempts, 1, "{sql}");
        }
    }
}

#[tokio::test]
async fn a_batch_whose_function_deallocates_heals_with_a_second_attempt() {
    let service = service().await;
    let mut request = batch(&["select forget()", "select n from t"]);
    request.statements.push(exactly(1, "update t set n = 11 where id = 1"));
    service.client.batch(batch(&["select n from t"])).await.expect("it is prepared");
    let once = ExecuteBatchRequest { max_attempts: 1, ..request.clone() };
    let failure = service.client.batch(once).await.expect_err("a second is not allowed");
    assert_eq!(
        (failure.reason.as_str(), failure.outcome.as_str()),
        ("PLAN_CHANGED", "NOT_APPLIED")
    );
    let response = service.client.batch(request).await.expect("it heals");
    assert_eq!((response.attempts, response.results[2].rows_affected), (2, 1));
}
