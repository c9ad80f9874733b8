//! Lanes that are lost while calls share them.

use futures_util::future::join_all;
use rowgate::value::Value;
use tonic::Code;

use super::{POINT, on_lane, service};
use crate::harness::Service;
use crate::harness::process::Stopped;

#[tokio::test]
async fn nobody_notices_when_the_sessions_that_are_shared_end() {
    let service = service("").await;
    on_lane(&service, POINT, &[Value::int64(1)]).await;
    let calls = (0..400).map(|n| {
        let client = service.client.clone();
        let postgres = service.postgres();
        async move {
            if n % 100 == 50 {
                postgres.terminate_backends();
            }
            client.must(POINT, &[Value::int64(n % 1000 + 1)]).await
        }
    });
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.iter().all(|answer| answer.rows.len() == 1));
    on_lane(&service, POINT, &[Value::int64(1)]).await;
}

#[tokio::test]
async fn a_row_that_is_too_large_fails_its_own_call_only() {
    let service = service("max_row_size = \"1MiB\"").await;
    let sql = "select repeat('x', $1::int4)";
    on_lane(&service, sql, &[Value::int64(1)]).await;
    on_lane(&service, POINT, &[Value::int64(1)]).await;
    for _ in 0..3 {
        let points = (1..=50).map(|id| service.client.must(POINT, &[Value::int64(id)]));
        let parameters = [Value::int64(2 << 20)];
        let (answers, failed) = futures_util::future::join(
            join_all(points),
            service.client.must_fail(sql, &parameters),
        )
        .await;
        assert_eq!(failed.code, Code::ResourceExhausted, "{failed:?}");
        for (id, answer) in (1..).zip(answers) {
            assert_eq!(answer.rows[0].values, [Value::text(format!("item {id}"))]);
        }
    }
}

#[tokio::test]
async fn a_lane_that_answers_nothing_is_given_up() {
    let service = service("").await;
    on_lane(&service, POINT, &[Value::int64(1)]).await;
    let stopped = stop_newest(&service);
    let before = service.pool().await;
    let calls = (1..=20).map(|id| service.client.must(POINT, &[Value::int64(id)]));
    for (id, answer) in (1..).zip(join_all(calls).await) {
        assert_eq!(answer.rows[0].values, [Value::text(format!("item {id}"))]);
    }
    let after = service.pool().await;
    assert!(after.lanes < before.lanes, "it was another session: {after:?}");
    drop(stopped);
    on_lane(&service, POINT, &[Value::int64(1)]).await;
}

#[tokio::test]
async fn a_lane_that_was_lost_while_it_was_idle_is_found_before_a_call_waits_on_it() {
    let service = service("pool.validate_after_idle = \"1s\"").await;
    on_lane(&service, POINT, &[Value::int64(1)]).await;
    let before = service.pool().await.lanes;
    let _stopped = stop_newest(&service);
    service.until_pool("it is given up", |pool| pool.lanes < before).await;
    on_lane(&service, POINT, &[Value::int64(1)]).await;
}

/// Stops the session that was opened last: that of the lane.
fn stop_newest(service: &Service) -> Stopped {
    let newest = "select pid from pg_stat_activity where backend_type = 'client backend' \
        and pid <> pg_backend_pid() order by backend_start desc limit 1";
    Stopped::new(service.postgres().psql(newest).trim())
}
