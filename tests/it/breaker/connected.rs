//! A database that takes no connections any more: those that are open go on to serve.

use std::process::Command;
use std::time::Duration;

use tokio::task::JoinSet;
use tonic::Code;

use super::{RECOVERY, connections, is_ready, status, until_breaker_is, until_closed};
use crate::harness::behind::Behind;
use crate::harness::client::{Client, PATIENCE};
use crate::harness::postgres::Postgres;
use crate::harness::unit::Transaction;
use crate::harness::wait::{Stopwatch, eventually_async};

/// The process that accepts connections; those that it has accepted have processes of their own.
struct Postmaster(String);

impl Postmaster {
    fn of(postgres: &Postgres) -> Self {
        let file = postgres.directory().join("data/postmaster.pid");
        let text = std::fs::read_to_string(file).expect("it runs");
        Self(text.lines().next().expect("it starts with its number").to_owned())
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.0]).status();
        assert!(status.expect("kill runs").success(), "{} has ended", self.0);
    }
}

/// One that is stopped, until this is dropped.
struct Stopped(Postmaster);

impl Stopped {
    fn new(postmaster: Postmaster) -> Self {
        postmaster.signal("STOP");
        Self(postmaster)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.0.signal("CONT");
    }
}

const HUNG: &str = "[databases.main.pool]\nmin = 2\nmax = 8\nconnect_timeout = \"600ms\"\n\
                    validate_after_idle = \"1h\"\n";

/// Uses both of the connections that are open, until the transactions end.
async fn hold_both(service: &Behind) -> [Transaction; 2] {
    let mut holders = [service.client.begin().await, service.client.begin().await];
    for holder in &mut holders {
        holder.query("select 1", &[]).await.expect("its connection is open");
    }
    assert_eq!(status(service).await["pool"]["in_use"], 2);
    holders
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_connected_serves_while_nobody_else_can_connect() {
    let service = Behind::start(Postgres::start(), HUNG, &[]).await;
    eventually_async("two connections are open", Duration::from_secs(10), async || {
        (status(&service).await["pool"]["idle"] == 2).then_some(())
    })
    .await;
    let stopped = Stopped::new(Postmaster::of(&service.postgres));
    let before = connections(&service);
    let holders = hold_both(&service).await;
    // Whoever needs a new connection is told within its budget, and soon at once.
    let mut newcomers = JoinSet::new();
    for _ in 0..5 {
        let client = service.client.clone();
        newcomers.spawn(async move {
            let start = Stopwatch::start();
            let failure = client.must_fail("select 1", &[]).await;
            start.assert_within(Duration::from_millis(1_000), "what it was told");
            failure
        });
    }
    for failure in newcomers.join_all().await {
        assert_eq!(failure.what(), (Code::Unavailable, "DATABASE_UNAVAILABLE"), "{failure:?}");
    }
    until_breaker_is(&service, "open", Duration::from_secs(5)).await;
    let start = Stopwatch::start();
    service.client.must_fail("select 1", &[]).await;
    start.assert_within(Duration::from_millis(100), "what it was told");
    for holder in holders {
        holder.commit().await.expect("it was never disturbed");
    }
    for _ in 0..50 {
        service.client.must("select 1", &[]).await;
    }
    assert_eq!(status(&service).await["breaker"]["state"], "open");
    let attempts = connections(&service) - before;
    assert!(attempts <= 5 + 1 + 10, "{attempts} attempts");
    drop(stopped);
    until_closed(&service).await;
    let closed = Stopwatch::start();
    eventually_async("it is ready", PATIENCE, async || is_ready(&service).await.then_some(()))
        .await;
    closed.assert_within(RECOVERY, "its readiness");
}

/// Connections and workers of which each is used by turns.
const SHARED: &str = "[databases.main.pool]\nmin = 2\nmax = 8\nconnect_timeout = \"5s\"\n\
                      validate_after_idle = \"1h\"\n[health]\ninterval = \"1h\"\n[grpc]\nworkers = 4\n";

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_new_connection_while_one_is_idle_on_another_worker() {
    let service = Behind::start(Postgres::start(), SHARED, &[]).await;
    eventually_async("two connections are open", Duration::from_secs(10), async || {
        (status(&service).await["pool"]["idle"] == 2).then_some(())
    })
    .await;
    let stopped = Stopped::new(Postmaster::of(&service.postgres));
    // Each is served by a worker of its own: two of them have opened no connection.
    for _ in 0..4 {
        let client = Client::connect(service.server.grpc()).await;
        let start = Stopwatch::start();
        client.must("select 1", &[]).await;
        start.assert_within(Duration::from_secs(1), "the call");
    }
    drop(stopped);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_connected_serves_while_the_database_waits_for_its_end() {
    let service = Behind::start(Postgres::start(), "[databases.main.pool]\nmin = 2\n", &[]).await;
    eventually_async("two connections are open", Duration::from_secs(10), async || {
        (status(&service).await["pool"]["idle"] == 2).then_some(())
    })
    .await;
    let before = connections(&service);
    // A smart shutdown: whoever comes is refused with 57P03, and nobody is sent away.
    Postmaster::of(&service.postgres).signal("TERM");
    let holders = hold_both(&service).await;
    eventually_async("the breaker is open", Duration::from_secs(5), async || {
        let failure = service.client.must_fail("select 1", &[]).await;
        assert_eq!(failure.what(), (Code::Unavailable, "DATABASE_UNAVAILABLE"), "{failure:?}");
        (status(&service).await["breaker"]["state"] == "open").then_some(())
    })
    .await;
    for holder in holders {
        holder.commit().await.expect("it was never disturbed");
    }
    service.client.must("select 1", &[]).await;
    assert_eq!(status(&service).await["breaker"]["state"], "open");
    let attempts = connections(&service) - before;
    assert!(attempts <= 3 * 5 + 10, "{attempts} attempts");
}
