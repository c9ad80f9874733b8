//! Operators' actions on a pool, seen in PostgreSQL: its sessions and their statements.

use std::collections::BTreeSet;
use std::time::Duration;

use rowgate::value::proto::{
    ReconnectPoolRequest, ResizePoolRequest, ResizePoolResponse, TerminateCheckoutRequest, Value,
};
use tonic::Code;

use crate::harness::client::{PATIENCE, request_with};
use crate::harness::wait::eventually_async;
use crate::harness::{Backend, Service};

/// The sessions of the server under test.
fn sessions(service: &Service) -> BTreeSet<String> {
    let pids = service.postgres().psql(
        "select pid from pg_stat_activity where backend_type = 'client backend' \
         and pid <> pg_backend_pid()",
    );
    pids.split_whitespace().map(str::to_owned).collect()
}

fn sleepers(service: &Service) -> String {
    let sql = "select count(*) from pg_stat_activity where state = 'active' \
               and query like '%pg_sleep%' and pid <> pg_backend_pid()";
    service.postgres().psql(sql).trim().to_owned()
}

async fn resize(service: &Service, max: u32) -> ResizePoolResponse {
    let request = ResizePoolRequest { pool: "main".to_owned(), min: Some(1), max: Some(max) };
    service.pools().resize_pool(request).await.expect("it fits").into_inner()
}

#[tokio::test]
async fn a_reconnect_replaces_every_session() {
    let service = Service::with(Backend::Postgres, "pool.min = 4\npool.max = 4\n").await;
    let warm = |pool: &rowgate::value::proto::PoolStats| pool.idle == 4;
    service.until_pool("it is warm", warm).await;
    let before = sessions(&service);
    let mut transaction = service.client.begin().await;
    let own = transaction.query("select pg_backend_pid()", &[]).await.expect("it runs");
    assert!(before.len() >= 4, "{before:?}");
    let request = ReconnectPoolRequest { pool: "main".to_owned() };
    let answer = service.pools().reconnect_pool(request).await.expect("it runs").into_inner();
    assert_eq!((answer.closed, answer.closing), (3, 1), "{answer:?}");
    // The transaction keeps its session.
    let still = transaction.query("select pg_backend_pid()", &[]).await.expect("it goes on");
    assert_eq!(own.rows, still.rows);
    drop(transaction);
    // What is left at most is the session that health is asked on, which is none of the pool's.
    eventually_async("the pool's sessions are gone", PATIENCE, async || {
        let left = sessions(&service).intersection(&before).count();
        (before.len() - left >= 4).then_some(())
    })
    .await;
    service.client.must("select 1", &[]).await;
}

#[tokio::test]
async fn more_room_lets_waiters_in_at_once_and_less_closes_what_comes_back() {
    let service = Service::with(Backend::Postgres, "pool.min = 1\npool.max = 2\n").await;
    let mut holders = Vec::new();
    for _ in 0..6 {
        let client = service.client.clone();
        holders.push(tokio::spawn(async move { client.query("select pg_sleep(4)", &[]).await }));
    }
    service.until_pool("four wait", |pool| pool.in_use == 2 && pool.waiting == 4).await;
    let answer = resize(&service, 6).await;
    assert_eq!((answer.previous_max, answer.max, answer.closing), (2, 6, 0), "{answer:?}");
    service.until_pool("all are let in", |pool| pool.in_use == 6 && pool.waiting == 0).await;
    let answer = resize(&service, 2).await;
    assert_eq!((answer.previous_max, answer.max, answer.closing), (6, 2, 4), "{answer:?}");
    assert_eq!(service.pool().await.overflow, 4);
    for holder in holders {
        holder.await.expect("no panic").expect("nobody is cut off");
    }
    let pool = service.until_pool("the rest is closed", |pool| pool.open <= 2).await;
    assert_eq!(pool.overflow, 0, "{pool:?}");
    eventually_async("so do the sessions", PATIENCE, async || {
        (sessions(&service).len() <= 3).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_terminated_statement_is_gone_and_its_caller_told() {
    let service = Service::start(Backend::Postgres).await;
    let client = service.client.clone();
    let options = rowgate::value::proto::QueryOptions {
        tag: "nightly".to_owned(),
        ..rowgate::value::proto::QueryOptions::default()
    };
    let sleep = request_with("select pg_sleep(30), 'a secret'", options);
    let call = tokio::spawn(async move { client.run(sleep).await });
    let checkout = service.checkout(|one| one.tag == "nightly").await;
    eventually_async("it runs in the database", PATIENCE, async || {
        (sleepers(&service) == "1").then_some(())
    })
    .await;
    let checkout = service.checkout(|one| one.id == checkout.id && !one.statement.is_empty()).await;
    assert_eq!((checkout.rpc.as_str(), checkout.caller.as_str()), ("Query", "127.0.0.1"));
    assert!(checkout.statement.contains("pg_sleep"), "{checkout:?}");
    assert!(!checkout.statement.contains("secret"), "no literals: {checkout:?}");
    let request = TerminateCheckoutRequest { pool: "main".to_owned(), checkout: checkout.id };
    service.pools().terminate_checkout(request).await.expect("it is there");
    let reported = tokio::time::timeout(Duration::from_secs(10), call).await.expect("at once");
    let failure = reported.expect("no panic").expect_err("it was ended");
    assert_eq!(failure.what(), (Code::Aborted, "TERMINATED"), "{failure:?}");
    eventually_async("the statement is gone", PATIENCE, async || {
        (sleepers(&service) == "0").then_some(())
    })
    .await;
    let one = service.client.must("select 1::bigint", &[]).await;
    assert_eq!(one.rows[0].values, [Value::int64(1)]);
}

#[tokio::test]
async fn what_is_held_for_too_long_is_marked() {
    let service = Service::with(Backend::Postgres, "pool.leak_threshold = \"100ms\"\n").await;
    let mut transaction = service.client.begin().await;
    transaction.query("select 1", &[]).await.expect("it runs");
    let leak = service.checkout(|one| one.leak).await;
    assert_eq!(leak.rpc, "Transact", "{leak:?}");
    service.until_pool("it is counted", |pool| pool.leaks >= 1).await;
    drop(transaction);
    eventually_async("it is back", PATIENCE, async || {
        service.checkouts().await.is_empty().then_some(())
    })
    .await;
}
