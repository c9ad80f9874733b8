//! Databases that do not answer, not even to a cancel: a backend that is stopped, a network that passes
//! nothing. Their callers are told in time, and their connections are given up.

use std::process::Command;
use std::time::{Duration, Instant};

use rowgate::value::proto::pool_service_client::PoolServiceClient;
use rowgate::value::proto::{ListPoolStatsRequest, QueryOptions, QueryRequest};
use tonic::Code;

use crate::harness::Service;
use crate::harness::behind::Behind;
use crate::harness::client::{Client, Failure, PATIENCE, request, request_with};
use crate::harness::postgres::Postgres;
use crate::harness::proxy::Weather;
use crate::harness::wait::{Stutter, eventually, eventually_async};

/// How late a call may end; of three, one must be in time on a busy machine.
const TOLERANCE: Duration = Duration::from_millis(50);

/// Within which a connection that answers nothing must be given up.
const DEAD: Duration = Duration::from_secs(10);

/// A backend that is stopped until this is dropped.
struct Frozen(String);

impl Frozen {
    fn stop(pid: &str) -> Self {
        signal("STOP", pid);
        Self(pid.to_owned())
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        signal("CONT", &self.0);
    }
}

fn signal(name: &str, pid: &str) {
    // The one process that PostgreSQL named.
    let status = Command::new("kill").args([&format!("-{name}"), pid]).status();
    assert!(status.expect("kill runs").success() || name == "CONT", "{pid} has ended");
}

fn within(sql: &str, timeout: Duration) -> QueryRequest {
    let timeout = Some(timeout.try_into().expect("it is short"));
    request_with(sql, QueryOptions { timeout, ..QueryOptions::default() })
}

/// Freezes the backend that runs a statement, and tells how its call ended and how late.
async fn freeze(service: &Service, sql: &str) -> (Failure, Duration, Frozen) {
    let limit = Duration::from_millis(700);
    let client = service.client.clone();
    let call = within(sql, limit);
    let find = "select pid from pg_stat_activity where query like '%/* own */' \
                and pid <> pg_backend_pid() and state = 'active'";
    eventually("the one before it has ended", PATIENCE, || {
        service.postgres().psql(find).is_empty().then_some(())
    });
    let (stutter, start) = (Stutter::watch(), Instant::now());
    let call = tokio::spawn(async move { client.run(call).await });
    let pid = eventually("it runs", PATIENCE, || {
        Some(service.postgres().psql(find)).filter(|pid| !pid.is_empty() && !pid.contains('\n'))
    });
    let frozen = Frozen::stop(&pid);
    let failure = call.await.expect("no panic").expect_err("it is frozen");
    (failure, start.elapsed().saturating_sub(limit + stutter.allowance()), frozen)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_stopped_backend_costs_its_caller_no_time_and_the_pool_no_place() {
    let postgres = Postgres::start();
    postgres.psql("create table t (id int)");
    let settings = "pool.min = 1\npool.max = 1\n[health]\ninterval = \"1h\"\n";
    let service = Service::on(postgres, settings).await;
    for (sql, what, outcome) in [
        ("select pg_sleep(5) /* own */", (Code::DeadlineExceeded, "DEADLINE"), "NOT_APPLIED"),
        (
            "insert into t select 1 from pg_sleep(5) /* own */",
            (Code::Unknown, "OUTCOME_UNKNOWN"),
            "UNKNOWN",
        ),
    ] {
        let mut late = Vec::new();
        for _ in 0..3 {
            let (failure, by, frozen) = freeze(&service, sql).await;
            assert_eq!((failure.what(), failure.outcome.as_str()), (what, outcome), "{failure:?}");
            // The only place of the pool is free, although the backend is still stopped.
            let start = Instant::now();
            service.client.must("select 1", &[]).await;
            eprintln!("the call ended {by:?} late, its place was free {:?} later", start.elapsed());
            assert!(start.elapsed() < DEAD, "it took {:?}", start.elapsed());
            drop(frozen);
            late.push(by);
            if by <= TOLERANCE {
                break;
            }
        }
        assert!(late.iter().any(|by| *by <= TOLERANCE), "it ended late: {late:?}");
    }
}

async fn in_use(client: &Client) -> u32 {
    let mut pools = PoolServiceClient::new(client.channel());
    let answer = pools.list_pool_stats(ListPoolStatsRequest::default()).await;
    answer.expect("it runs").into_inner().pools.remove(0).in_use
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn behind_a_network_that_passes_nothing_calls_end_in_time_and_connections_are_given_up() {
    let postgres = Postgres::start();
    postgres.psql("create table t (id int)");
    let settings = "pool.min = 2\npool.max = 2\n[health]\ninterval = \"1h\"\n";
    let behind = Behind::start(postgres, settings, &[]).await;
    let limit = Duration::from_millis(400);
    behind.client.query("select 1", &[]).await.expect("it runs");
    behind.proxy.set_weather(Weather { black_hole: true, ..Weather::default() });
    let (stutter, start) = (Stutter::watch(), Instant::now());
    let calls = ["select 1", "insert into t values (1)"].map(|sql| {
        let (client, call) = (behind.client.clone(), within(sql, limit));
        tokio::spawn(async move { (client.run(call).await, start.elapsed()) })
    });
    let mut late = Vec::new();
    for call in calls {
        let (answer, took) = call.await.expect("no panic");
        let failure = answer.expect_err("nothing passes");
        let in_time = (Code::DeadlineExceeded, "DEADLINE");
        let told = [in_time, (Code::Unknown, "OUTCOME_UNKNOWN")];
        assert!(told.contains(&failure.what()), "{failure:?}");
        late.push(took.saturating_sub(limit + stutter.allowance()));
    }
    assert!(late.iter().any(|by| *by <= TOLERANCE), "they ended late: {late:?}");
    eventually_async("the connections are given up", DEAD, async || {
        (in_use(&behind.client).await == 0).then_some(())
    })
    .await;
    eprintln!("the connections were given up {:?} after the deadline", start.elapsed() - limit);
    behind.proxy.set_weather(Weather::default());
    let again = Instant::now();
    behind.client.run(request("select 1", &[])).await.expect("it is back");
    assert!(again.elapsed() < Duration::from_secs(1), "it took {:?}", again.elapsed());
}
