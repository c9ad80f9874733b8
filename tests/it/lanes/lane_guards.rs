//! Things that must not reach others on a lane: slow and large statements, callers who do not wait, and changed definitions.

use std::time::Duration;

use futures_util::future::join_all;
use rowgate::value::Value;
use rowgate::value::proto::{QueryOptions, QueryRequest};
use tonic::Code;

use super::{POINT, demoted, on_lane, service};
use crate::harness::Service;
use crate::harness::client::{Client, PATIENCE, request_with};
use crate::harness::wait::{eventually_async, idle_for};

/// A statement that waits for nothing.
const OTHER: &str = "select $1::int4 + 1";

/// Runs the reads of both tables until they have shared a session.
async fn both_on_lane(service: &Service) {
    on_lane(service, POINT, &[Value::int64(1)]).await;
    on_lane(service, OTHER, &[Value::int64(1)]).await;
}

async fn other_works(client: &Client) {
    for number in 0..50 {
        let answer = client.must(OTHER, &[Value::int64(number)]).await;
        assert_eq!(answer.rows[0].values, [Value::int64(number + 1)]);
    }
}

#[tokio::test]
async fn a_read_that_turns_slow_runs_again_alone_and_is_kept_off() {
    let service = service("pool.lane_timeout = \"20ms\"").await;
    let sql = "select count(*) from generate_series(1, $1::int4)";
    on_lane(&service, sql, &[Value::int64(1)]).await;
    let after = eventually_async("it is kept off", PATIENCE, async || {
        let slow = service.client.must(sql, &[Value::int64(3_000_000)]).await;
        assert_eq!(slow.rows[0].values, [Value::int64(3_000_000)]);
        let stats = service.pool().await;
        (demoted(&stats) > 0).then_some(stats)
    })
    .await;
    service.client.must(sql, &[Value::int64(1)]).await;
    assert_eq!(service.pool().await.lane_statements, after.lane_statements);
}

#[tokio::test]
async fn a_read_that_waits_for_a_lock_holds_up_no_other() {
    let service = service("pool.lane_timeout = \"20ms\"").await;
    both_on_lane(&service).await;
    let mut locking = service.client.begin().await;
    locking.query("lock table items in access exclusive mode", &[]).await.expect("it runs");
    let client = service.client.clone();
    let waiting = tokio::spawn(async move { client.must(POINT, &[Value::int64(2)]).await });
    eventually_async("it waits alone", PATIENCE, async || {
        service.client.must(OTHER, &[Value::int64(1)]).await;
        (service.pool().await.in_use >= 2).then_some(())
    })
    .await;
    assert!(!waiting.is_finished());
    locking.commit().await.expect("it commits");
    let answer = waiting.await.expect("it ran");
    assert_eq!(answer.rows[0].values, [Value::text("item 2")]);
}

#[tokio::test]
async fn a_deadline_on_a_lane_ends_one_call_and_hurts_no_other() {
    let service = service("pool.lane_timeout = \"2s\"").await;
    both_on_lane(&service).await;
    let mut locking = service.client.begin().await;
    locking.query("lock table items in access exclusive mode", &[]).await.expect("it runs");
    let timeout = prost_types::Duration { seconds: 0, nanos: 150_000_000 };
    let late = (0..8).map(|id| {
        let client = service.client.clone();
        let options = QueryOptions { timeout: Some(timeout), ..QueryOptions::default() };
        let parameters = vec![Value::int64(id)];
        let request = QueryRequest { parameters, ..request_with(POINT, options) };
        async move { client.run(request).await }
    });
    let (late, ()) = futures_util::future::join(join_all(late), other_works(&service.client)).await;
    for failed in late {
        let failed = failed.expect_err("it waits for the lock");
        assert_eq!(failed.code, Code::DeadlineExceeded, "{failed:?}");
    }
    assert!(demoted(&service.pool().await) > 0, "they are to wait elsewhere");
    locking.commit().await.expect("it commits");
    for id in 1..=50 {
        let answer = service.client.must(POINT, &[Value::int64(id)]).await;
        assert_eq!(answer.rows[0].values, [Value::text(format!("item {id}"))]);
    }
}

#[tokio::test]
async fn callers_who_leave_a_lane_take_no_answer_of_others_with_them() {
    let service = service("pool.lane_timeout = \"1s\"").await;
    both_on_lane(&service).await;
    let half = "select id, name, name::char(40), array[id] from items where id = $1";
    let alone = service.client.must(half, &[Value::int64(9)]).await;
    for round in 0..5_u64 {
        let mut locking = service.client.begin().await;
        locking.query("lock table items in access exclusive mode", &[]).await.expect("it runs");
        let leaving: Vec<_> = (0..8)
            .map(|id| {
                let client = service.client.clone();
                let sql = if id % 2 == 0 { POINT } else { half };
                tokio::spawn(async move { client.query(sql, &[Value::int64(id)]).await })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(round * 5)).await;
        for call in leaving {
            call.abort();
        }
        other_works(&service.client).await;
        locking.commit().await.expect("it commits");
        on_lane(&service, half, &[Value::int64(9)]).await;
        let answer = service.client.must(half, &[Value::int64(9)]).await;
        assert_eq!(answer, alone);
    }
}

#[tokio::test]
async fn a_large_result_runs_again_alone_and_is_whole() {
    let service = service("").await;
    let sql = "select repeat('x', $1::int4) from generate_series(1, 10)";
    let whole = [Value::text("x".repeat(20_000))];
    // On a busy machine the small one may have been kept off already, as it took too long.
    eventually_async("it was tried on a lane", PATIENCE, async || {
        on_lane(&service, sql, &[Value::int64(1)]).await;
        let before = demoted(&service.pool().await);
        let large = service.client.must(sql, &[Value::int64(20_000)]).await;
        assert!(large.rows.len() == 10 && large.rows.iter().all(|row| row.values == whole));
        let stats = service.pool().await;
        assert!(demoted(&stats) <= before + 1, "{stats:?}");
        (demoted(&stats) > before).then_some(())
    })
    .await;
    on_lane(&service, POINT, &[Value::int64(1)]).await;
}

#[tokio::test]
async fn an_error_is_the_statement_s_own() {
    let service = service("pool.lane_timeout = \"20ms\"").await;
    let sql = "select 100 / $1::int4";
    let mut kept_off = Vec::new();
    // On a busy machine it may be kept off as it took too long, but not each time.
    for _ in 0..5 {
        on_lane(&service, sql, &[Value::int64(5)]).await;
        let before = demoted(&service.pool().await);
        let failed = service.client.must_fail(sql, &[Value::int64(0)]).await;
        assert_eq!(failed.what(), (Code::InvalidArgument, "DIVISION_BY_ZERO"), "{failed:?}");
        kept_off.push(demoted(&service.pool().await) - before);
    }
    assert!(kept_off.contains(&0), "wrong values are no fault of the statement's: {kept_off:?}");
    let wrong = service.client.must_fail(POINT, &[Value::text("one"), Value::int64(2)]).await;
    assert_eq!(wrong.code, Code::InvalidArgument, "{wrong:?}");
    // A timeout of the lane's is nobody's: neither 57014 nor 55P03.
    let slow = "select count(*) from generate_series(1, $1::int4)";
    on_lane(&service, slow, &[Value::int64(1)]).await;
    let calls = (0..16).map(|_| service.client.must(slow, &[Value::int64(500_000)]));
    for answer in join_all(calls).await {
        assert_eq!(answer.rows[0].values, [Value::int64(500_000)]);
    }
}

#[tokio::test]
async fn a_changed_definition_is_seen_at_once() {
    let service = service("").await;
    let all = "select * from items where id = 1";
    assert_eq!(on_lane(&service, all, &[]).await.columns.len(), 2);
    for columns in 3..6 {
        let add = format!("alter table items add column c{columns} int default {columns}");
        service.client.must(&add, &[]).await;
        assert_eq!(service.client.must(all, &[]).await.columns.len(), columns);
    }
    for sql in ["drop view seen", "alter table items alter column id type text"] {
        service.client.must(sql, &[]).await;
    }
    let answer = service.client.must(POINT, &[Value::text("1")]).await;
    assert_eq!(answer.rows[0].values, [Value::text("item 1")]);
}

#[tokio::test]
async fn an_operator_of_somebody_s_keeps_off_what_can_reach_it() {
    let service = service("catalog_ttl = \"300ms\"").await;
    let sql = "select name from items where id = 1";
    on_lane(&service, sql, &[]).await;
    // Not through the server: it learns of it at the age of its answers.
    service.postgres().psql(
        "create function loud(int, int) returns bool language plpgsql as
             'begin perform set_config(''my.leak'', ''x'', false); return true; end';
         create function louder(int, money) returns bool language sql as 'select loud($1, 1)';
         create operator public.=== (leftarg = int, rightarg = int, function = loud);",
    );
    for _ in 0..2 {
        idle_for(Duration::from_millis(300)).await;
        on_lane(&service, sql, &[]).await;
    }
    let naming = "select name from items where id === 1";
    let before = service.pool().await.lane_statements;
    for _ in 0..10 {
        service.client.must(naming, &[]).await;
    }
    assert_eq!(service.pool().await.lane_statements, before);
    // One with the name of a built-in operator may hide in any text.
    service
        .postgres()
        .psql("create operator public.= (leftarg = int, rightarg = money, function = louder)");
    eventually_async("nothing shares", PATIENCE, async || {
        let before = service.pool().await.lane_statements;
        for _ in 0..10 {
            service.client.must(sql, &[]).await;
        }
        (service.pool().await.lane_statements == before).then_some(())
    })
    .await;
    service.client.must("drop operator public.= (int, money)", &[]).await;
    on_lane(&service, sql, &[]).await;
}
