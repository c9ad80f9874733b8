//! Every call ends within 50 ms of its deadline, and the work in the database with it.

use std::time::{Duration, Instant};

use rowgate::value::proto::{QueryOptions, QueryRequest};
use tonic::Code;

use super::contract;
use crate::harness::Service;
use crate::harness::client::{Failure, PATIENCE, request, request_with, with_deadline};
use crate::harness::wait::{Stopwatch, Stutter};

contract! {
    a_timeout_ends_the_call_in_time
    the_callers_deadline_ends_the_call_before_the_callers_timer
    a_timeout_ends_a_stream_in_time
    a_write_past_its_deadline_is_not_applied
    the_service_works_after_many_timeouts
    a_caller_who_goes_away_frees_its_connection
}

mod configured {
    use super::*;
    use crate::contract::contract;

    contract! {
        with "default_deadline = \"300ms\"\nmax_deadline = \"600ms\"":
        the_default_deadline_holds
        the_longest_deadline_holds
    }

    async fn the_default_deadline_holds(service: Service) {
        assert_ends_in_time(Duration::from_millis(300), async || {
            let status = service.client.raw().query(request(endless(&service), &[])).await;
            status.expect_err("it is endless").into()
        })
        .await;
    }

    async fn the_longest_deadline_holds(service: Service) {
        assert_ends_in_time(Duration::from_millis(600), async || {
            let answer = service.client.call(request(endless(&service), &[]), PATIENCE).await;
            answer.expect_err("it is endless")
        })
        .await;
    }
}

/// The largest lateness of a call.
const TOLERANCE: Duration = Duration::from_millis(50);

/// A statement that does not end by itself.
fn endless(service: &Service) -> &'static str {
    let counting =
        "with recursive c(n) as (select 1 union all select n + 1 from c) select count(*) from c";
    // MariaDB's `sleep` is no error when it is cancelled.
    service.pick(counting, "select pg_sleep(600)", counting)
}

fn ending_after(sql: &str, timeout: Duration) -> QueryRequest {
    let timeout = prost_types::Duration::try_from(timeout).expect("it is short");
    request_with(sql, QueryOptions { timeout: Some(timeout), ..QueryOptions::default() })
}

/// A busy machine delays a call now and then: one of three must be in time, none may be early.
async fn assert_ends_in_time(deadline: Duration, call: impl AsyncFn() -> Failure) {
    let mut late = Vec::new();
    for _ in 0..3 {
        let (stutter, start) = (Stutter::watch(), Instant::now());
        let failure = call().await;
        let took = start.elapsed();
        assert_eq!(failure.what(), (Code::DeadlineExceeded, "DEADLINE"), "{failure:?}");
        assert_eq!(failure.outcome, "NOT_APPLIED");
        assert!(took >= deadline - TOLERANCE, "it ended early: {took:?} of {deadline:?}");
        if took <= deadline + TOLERANCE + stutter.allowance() {
            return;
        }
        late.push(took);
    }
    panic!("it ended late: {late:?} of {deadline:?}");
}

async fn a_timeout_ends_the_call_in_time(service: Service) {
    service.client.must("select 1", &[]).await;
    for milliseconds in [100, 300] {
        let timeout = Duration::from_millis(milliseconds);
        assert_ends_in_time(timeout, async || {
            let answer = service.client.run(ending_after(endless(&service), timeout)).await;
            answer.expect_err("it is endless")
        })
        .await;
    }
}

async fn the_callers_deadline_ends_the_call_before_the_callers_timer(service: Service) {
    let deadline = Duration::from_secs(1);
    assert_ends_in_time(deadline - deadline / 20, async || {
        // The client's own timer makes a status without details. On a busy machine it may be the first now and
        // then, which counts as late; always, it fails the test.
        for _ in 0..2 {
            let call = with_deadline(request(endless(&service), &[]), deadline);
            let status = service.client.raw().query(call).await.expect_err("it is endless");
            if !status.details().is_empty() {
                return status.into();
            }
        }
        let answer = service.client.call(request(endless(&service), &[]), deadline).await;
        answer.expect_err("it is endless")
    })
    .await;
}

async fn a_timeout_ends_a_stream_in_time(service: Service) {
    let timeout = Duration::from_millis(300);
    assert_ends_in_time(timeout, async || {
        let answer = service.client.stream(ending_after(endless(&service), timeout)).await;
        answer.expect_err("it is endless")
    })
    .await;
}

async fn a_write_past_its_deadline_is_not_applied(service: Service) {
    service.client.must("create table t (id integer)", &[]).await;
    let counting = "insert into t with recursive c(n) as (select 1 union all select n + 1 from c) \
                    select count(*) from c";
    let sql = service.pick(counting, "insert into t select 1 from pg_sleep(600)", counting);
    let timeout = Duration::from_millis(200);
    assert_ends_in_time(timeout, async || {
        // On a busy machine the database may not tell in time that it has ended, which counts as late.
        for _ in 0..2 {
            let answer = service.client.run(ending_after(sql, timeout)).await;
            let failure = answer.expect_err("it is endless");
            if failure.reason != "OUTCOME_UNKNOWN" {
                return failure;
            }
        }
        let answer = service.client.run(ending_after(sql, timeout)).await;
        answer.expect_err("it is endless")
    })
    .await;
    assert!(service.client.must("select * from t", &[]).await.rows.is_empty());
    service.client.must("insert into t values (1)", &[]).await;
}

async fn the_service_works_after_many_timeouts(service: Service) {
    for _ in 0..30 {
        let request = ending_after(endless(&service), Duration::from_millis(10));
        let failure = service.client.run(request).await.expect_err("it is endless");
        assert_eq!(failure.code, Code::DeadlineExceeded, "{failure:?}");
        // The next statement on the connection must not be hit by the late cancel.
        service.client.must("select 1", &[]).await;
    }
}

async fn a_caller_who_goes_away_frees_its_connection(service: Service) {
    // More than a pool holds: were they not freed, the last would wait for ten seconds.
    for _ in 0..25 {
        let call = service.client.run(request(endless(&service), &[]));
        tokio::time::timeout(Duration::from_millis(20), call).await.expect_err("it is endless");
    }
    let start = Stopwatch::start();
    service.client.must("select 1", &[]).await;
    start.assert_within(Duration::from_secs(2), "the next caller's turn");
}
