//! Prepared statements that are kept, while the tables below them change and callers drop them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use rowgate::value::proto::Value;

use crate::harness::client::{PATIENCE, request};
use crate::harness::wait::eventually_async;
use crate::session::service;

/// Those who write while a table changes.
const CALLERS: i64 = 8;

#[tokio::test]
async fn a_changed_table_is_healed_under_cached_plans() {
    let service = service(2).await;
    for round in 0..5 {
        service.client.must("create table changing (a int4, b text)", &[]).await;
        service.client.must("insert into changing values (1, 'x')", &[]).await;
        for _ in 0..4 {
            service.client.must("select * from changing", &[]).await;
        }
        service.postgres().psql("alter table changing alter a type int8, add c bool default true");
        for _ in 0..4 {
            let result = service.client.must("select * from changing", &[]).await;
            assert_eq!(result.columns.len(), 3, "round {round}");
            let wanted = [Value::int64(1), Value::text("x"), Value::bool(true)];
            assert_eq!(result.rows[0].values, wanted, "round {round}");
        }
        service.postgres().psql("drop table changing");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_under_a_table_that_changes_run_once_and_nobody_notices() {
    let changed = change_under_writes(20).await;
    assert!(changed.stale >= changed.changes, "not every change was met: {changed:?}");
}

/// The result of changes to a table under writes.
#[derive(Debug)]
pub(crate) struct Changed {
    /// Changes.
    pub(crate) changes: usize,
    /// Writes.
    pub(crate) written: i64,
    /// Stale plans that the database refused to run.
    pub(crate) stale: usize,
}

/// Changes a table so often while eight callers write to it, of whom none may notice.
pub(crate) async fn change_under_writes(changes: usize) -> Changed {
    let service = service(4).await;
    service.postgres().psql("create table changing (token bigint, n int default 0)");
    let over = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicU64::new(0));
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let client = service.client.clone();
            let over = Arc::clone(&over);
            let answered = Arc::clone(&answered);
            tokio::spawn(async move {
                let mut written = 0;
                // All columns come back: each change makes the plans of all connections stale.
                let insert = "insert into changing (token) values ($1) returning *";
                while !over.load(Relaxed) {
                    let token = Value::int64(caller * 10_000_000 + written);
                    let request = request(insert, std::slice::from_ref(&token));
                    let answer = client.call(request, PATIENCE).await.expect("nobody notices");
                    let result = answer.result.expect("an answer has a result");
                    assert_eq!((result.rows_affected, &result.rows[0].values[0]), (1, &token));
                    written += 1;
                    answered.fetch_add(1, Relaxed);
                }
                written
            })
        })
        .collect();
    for change in 0..changes {
        let sql = format!("alter table changing add c{change} int default {change}");
        service.postgres().psql(&sql);
        // Of so many answers one is that of a call which began after the change, and has met it.
        let enough = answered.load(Relaxed) + CALLERS.unsigned_abs() + 1;
        eventually_async("the change is met", PATIENCE, async || {
            (answered.load(Relaxed) >= enough).then_some(())
        })
        .await;
    }
    over.store(true, Relaxed);
    let mut written = 0;
    for caller in callers {
        written += caller.await.expect("no caller notices");
    }
    let rows = service.postgres().psql("select count(*), count(distinct token) from changing");
    assert_eq!(rows, format!("{written}|{written}"));
    let stale = service.postgres().log().matches("cached plan must not change").count();
    Changed { changes, written, stale }
}

#[tokio::test]
async fn whoever_drops_all_prepared_statements_hurts_nobody() {
    let service = service(1).await;
    for (number, drop) in ["deallocate all", "discard all", "deallocate all"].iter().enumerate() {
        // A type that the connection has not met: the driver asks the catalog, by statements of its own.
        service.postgres().psql(&format!("create type new_{number} as enum ('a')"));
        let sql = format!("select 'a'::new_{number}, array['a']::new_{number}[]");
        for _ in 0..2 {
            service.client.must(&sql, &[]).await;
            service.client.must("select $1::int4", &[Value::int64(1)]).await;
        }
        service.client.must(drop, &[]).await;
    }
}

#[tokio::test]
async fn a_long_statement_is_not_kept_and_its_connection_is() {
    let service = service(1).await;
    let client = &service.client;
    let pid = client.must("select pg_backend_pid()", &[]).await;
    // Each takes the connection at once after the one before it, whose statement is being closed.
    let calls: Vec<_> = (0..100)
        .map(|number| {
            let client = client.clone();
            let sql = format!("select {number} as n /* {} */", "x".repeat(20_000));
            tokio::spawn(async move { (number, client.must(&sql, &[]).await) })
        })
        .collect();
    for call in calls {
        let (number, result) = call.await.expect("no panic");
        assert_eq!(result.rows[0].values, [Value::int64(number)]);
    }
    let now = client.must("select pg_backend_pid()", &[]).await;
    assert_eq!(now.rows, pid.rows, "the connection was closed");
    // The gateway's own question of the catalogs is kept, and long.
    let kept = "select count(*) from pg_prepared_statements \
        where length(statement) > 16384 and statement like 'select % as n %'";
    assert_eq!(client.must(kept, &[]).await.rows[0].values, [Value::int64(0)]);
}
