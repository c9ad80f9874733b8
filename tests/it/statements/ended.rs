//! Units whose connection is ended: what runs again without the caller's leave, and how often.

use std::collections::BTreeSet;
use std::time::Duration;

use rowgate::value::proto::ExecuteBatchRequest;
use tonic::Code;

use crate::harness::client::PATIENCE;
use crate::harness::unit::batch;
use crate::harness::wait::eventually_async;
use crate::harness::{Backend, Service};
use crate::session_effects::pool;

const END_SLEEPERS: &str = "select pid, pg_terminate_backend(pid) from pg_stat_activity \
                            where wait_event = 'PgSleep'";

/// Ends every backend that sleeps, until the call is over; how many it ended.
async fn ending_sleepers<T>(service: &Service, call: impl Future<Output = T>) -> (T, usize) {
    let mut call = std::pin::pin!(call);
    // One that is still about to end is none of the next.
    let mut ended = BTreeSet::new();
    loop {
        match tokio::time::timeout(Duration::from_millis(150), &mut call).await {
            Ok(done) => return (done, ended.len()),
            Err(_elapsed) => {
                let lines = tokio::task::block_in_place(|| service.postgres().psql(END_SLEEPERS));
                ended.extend(lines.lines().map(str::to_owned));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_whose_backend_is_ended_runs_as_often_as_its_caller_allows() {
    let service = Service::start(Backend::Postgres).await;
    service.postgres().psql("create sequence tries; create table t (n int)");
    for (max_attempts, runs) in [(1, 1), (2, 2), (0, 3)] {
        service.postgres().psql("alter sequence tries restart");
        let statements = ["insert into t select nextval('tries')", "select pg_sleep(20)"];
        let request = ExecuteBatchRequest { max_attempts, ..batch(&statements) };
        let (answer, ended) = ending_sleepers(&service, service.client.batch(request)).await;
        let failure = answer.expect_err("each attempt was ended");
        assert_eq!(failure.what(), (Code::Unavailable, "CONNECTION_LOST"), "{failure:?}");
        assert_eq!(failure.outcome, "NOT_APPLIED");
        let ran = service.postgres().psql("select last_value from tries");
        assert_eq!((ran, ended), (runs.to_string(), runs), "max_attempts {max_attempts}");
    }
    assert_eq!(service.postgres().psql("select count(*) from t"), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_that_was_ended_is_told_in_attempts() {
    let service = Service::start(Backend::Postgres).await;
    service.postgres().psql("create sequence tries; create table t (n bigint)");
    // Only the first run sleeps.
    let statements = [
        "insert into t select nextval('tries')",
        "select pg_sleep(20) from t where n = 1 or (n = 2 and false)",
    ];
    let (answer, ended) = ending_sleepers(&service, service.client.batch(batch(&statements))).await;
    assert_eq!((answer.expect("the second runs").attempts, ended), (2, 1));
    assert_eq!(service.postgres().psql("select string_agg(n::text, ',') from t"), "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_that_only_sounds_like_a_lost_statement_is_the_callers() {
    let service = Service::start(Backend::Postgres).await;
    service.postgres().psql("create sequence tries");
    for code in ["26000", "42P05", "57P01", "0A000"] {
        service.postgres().psql("alter sequence tries restart");
        let raise =
            format!("do $$ begin raise exception 'no \"s1\"' using errcode = '{code}'; end $$");
        let request = batch(&["select nextval('tries')", &raise]);
        let failure = service.client.batch(request).await.expect_err("it raises");
        assert_eq!(failure.report.sqlstate, code, "{failure:?}");
        assert_eq!(service.postgres().psql("select last_value from tries"), "1", "{code}");
    }
    assert_eq!(service.server.log().matches("\"reason\":\"dirty\"").count(), 0);
}

#[tokio::test]
async fn a_transaction_goes_on_after_a_name_that_nobody_prepared() {
    let service = Service::start(Backend::Postgres).await;
    let mut transaction = service.client.begin().await;
    transaction.savepoint("s").await.expect("it is set");
    let failure = transaction.query("execute nope", &[]).await.expect_err("there is none");
    assert_eq!(failure.report.sqlstate, "26000", "{failure:?}");
    transaction.rollback_to("s").await.expect("the stream is open");
    transaction.query("select 1", &[]).await.expect("it runs");
    transaction.commit().await.expect("it commits");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_were_ended_while_idle_cost_no_attempt() {
    let settings = "[databases.main.pool]\nmin = 4\nmax = 4";
    let service = Service::with(Backend::Postgres, settings).await;
    service.postgres().psql("create table t (n int)");
    // One that is ended while it logs in is no idle one.
    eventually_async("all are idle", PATIENCE, async || {
        (pool(&service).await.idle == 4).then_some(())
    })
    .await;
    let request = ExecuteBatchRequest { max_attempts: 1, ..batch(&["insert into t values (1)"]) };
    for round in 1..=5 {
        tokio::task::block_in_place(|| service.postgres().terminate_backends());
        let response = service.client.batch(request.clone()).await.expect("others are as good");
        assert_eq!(response.attempts, 1, "{round}");
    }
    assert_eq!(service.postgres().psql("select count(*) from t"), "5");
}
