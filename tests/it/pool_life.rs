//! Maintenance of a pool, seen from outside: connections that are replaced, leaks that are reported, and
//! callers that do not suffer from each other.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rowgate::value::proto::QueryOptions;
use tokio::task::JoinSet;

use crate::harness::client::{Client, PATIENCE, request_with};
use crate::harness::wait::{Stutter, eventually_async, idle_for};
use crate::harness::{Backend, Service};

#[tokio::test]
async fn idle_sessions_that_are_terminated_are_replaced_within_a_second() {
    let service = Service::with(Backend::Postgres, "pool.min = 4\n").await;
    let warm = service.until_pool("it is warm", |pool| pool.idle == 4).await;
    let stutter = Stutter::watch();
    service.postgres().terminate_backends();
    let start = Instant::now();
    let all_new =
        |pool: &rowgate::value::proto::PoolStats| pool.idle == 4 && pool.opened >= warm.opened + 4;
    service.until_pool("it is warm again", all_new).await;
    let took = start.elapsed();
    assert!(took < Duration::from_secs(1) + stutter.allowance(), "{took:?}");
    service.client.must("select 1", &[]).await;
}

#[tokio::test]
async fn a_leak_is_logged_once_with_its_holder_and_without_literals() {
    let settings = "pool.leak_threshold = \"200ms\"\n[telemetry]\nlog_format = \"json\"\n";
    let service = Service::with(Backend::Postgres, settings).await;
    let (client, server) = (service.client.clone(), &service.server);
    let options = QueryOptions { tag: "nightly".to_owned(), ..QueryOptions::default() };
    let sql = "select pg_sleep(1.5), 'literal-7f3a' as secret";
    let sleeping = tokio::spawn(async move { client.run(request_with(sql, options)).await });
    let leaks = || -> Vec<serde_json::Value> {
        let log = server.log();
        let lines = log.lines().filter(|line| line.contains("pool.leak_threshold"));
        lines.map(|line| serde_json::from_str(line).expect("it is JSON")).collect()
    };
    eventually_async("it is told", PATIENCE, async || leaks().pop()).await;
    sleeping.await.expect("no panic").expect("it runs to its end");
    // A keeper looks four times a second.
    idle_for(Duration::from_millis(600)).await;
    let reported = leaks();
    assert_eq!(reported.len(), 1, "{reported:?}");
    let line = reported[0].to_string();
    for expected in ["\"127.0.0.1\"", "\"Query\"", "\"nightly\"", "select pg_sleep(?), ? as secret"]
    {
        assert!(line.contains(expected), "{expected}: {line}");
    }
    assert!(!line.contains("literal-7f3a"), "{line}");
    assert_eq!(service.pool().await.leaks, 1);
}

/// Measures calls one after the other; returns their durations, the shortest first.
async fn latencies(client: &Client, calls: usize) -> Vec<Duration> {
    let mut took = Vec::new();
    for _ in 0..calls {
        let start = Instant::now();
        client.must("select pg_sleep(0.02)", &[]).await;
        took.push(start.elapsed());
    }
    took.sort();
    took
}

/// One caller with 40 calls at once, ten times what the pool can take, until it is dropped.
async fn flood(service: &Service) -> JoinSet<()> {
    let mut flood = JoinSet::new();
    for _ in 0..40 {
        let client = service.client.clone();
        flood.spawn(async move {
            loop {
                client.must("select pg_sleep(0.02)", &[]).await;
            }
        });
    }
    service.until_pool("it is flooded", |pool| pool.waiting >= 30).await;
    flood
}

#[tokio::test]
async fn a_caller_that_floods_the_pool_does_not_slow_another() {
    let service = Service::with(Backend::Postgres, "pool.min = 4\npool.max = 4\n").await;
    let modest = Client::connect_from(Ipv4Addr::new(127, 0, 0, 2), service.server.grpc()).await;
    let alone = latencies(&modest, 30).await;
    let flood = flood(&service).await;
    let flooded = latencies(&modest, 30).await;
    drop(flood);
    // In one queue for all it would be ten times as much: 40 before it, 4 at a time. The median, as a busy machine
    // holds up some of them.
    let (alone, flooded) = (alone[alone.len() / 2], flooded[flooded.len() / 2]);
    assert!(flooded < 3 * alone, "{alone:?} alone, {flooded:?} beside a flood");
}

/// Returns the 99th percentile of four callers that call now and then, each from an address of its own.
async fn modest(service: &Service, during: Duration) -> Duration {
    let callers = (2..6).map(async |host| {
        let own = Ipv4Addr::new(127, 0, 0, host);
        let client = Client::connect_from(own, service.server.grpc()).await;
        let (start, mut took) = (Instant::now(), Vec::new());
        while start.elapsed() < during {
            took.extend(latencies(&client, 1).await);
            idle_for(Duration::from_millis(60 + u64::from(host) * 7)).await;
        }
        took
    });
    let mut took = join_all(callers).await.concat();
    took.sort();
    took[took.len() * 99 / 100]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures, in a release: scripts/measure runs it"]
async fn others_take_at_most_twice_as_long_beside_a_caller_with_ten_times_their_load() {
    let service = Service::with(Backend::Postgres, "pool.min = 4\npool.max = 4\n").await;
    let during = Duration::from_secs(20);
    let undisturbed = modest(&service, during).await;
    let flood = flood(&service).await;
    let beside = modest(&service, during).await;
    drop(flood);
    println!("p99 {undisturbed:?} undisturbed, {beside:?} beside a caller with ten times the load");
    assert!(beside <= 2 * undisturbed, "{undisturbed:?} undisturbed, {beside:?} beside a flood");
}

#[tokio::test]
async fn an_overflow_takes_a_burst_and_is_gone_after_it() {
    let settings = "pool.min = 1\npool.max = 2\npool.overflow = 3\n";
    let service = Service::with(Backend::Postgres, settings).await;
    let burst = (0..5).map(|_| service.client.must("select pg_sleep(2)", &[]));
    let (_, most) = tokio::join!(
        join_all(burst),
        service.until_pool("all are at work", |pool| pool.in_use == 5)
    );
    assert_eq!((most.open, most.overflow), (5, 3), "{most:?}");
    eventually_async("the overflow is closed", PATIENCE, async || {
        (service.pool().await.open <= 2).then_some(())
    })
    .await;
}
