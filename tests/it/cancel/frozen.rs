//! Databases that do not answer, not even to a cancel: a backend that is stopped, a network that passes
//! nothing. Their callers are told in time, and their connections are given up.

use std::time::{Duration, Instant};

use rowgate::value::proto::pool_service_client::PoolServiceClient;
use rowgate::value::proto::{ListPoolStatsRequest, QueryOptions, QueryRequest};
use tonic::Code;

use crate::harness::Service;
use crate::harness::behind::Behind;
use crate::harness::client::{Client, Failure, PATIENCE, request, request_with};
use crate::harness::postgres::Postgres;
use crate::harness::process::Stopped;
use crate::harness::proxy::Weather;
use crate::harness::wait::{Stutter, eventually, eventually_async};

/// The largest lateness of a call; of three, one must be in time on a busy machine.
pub(crate) const TOLERANCE: Duration = Duration::from_millis(50);

/// Within which a connection that answers nothing must be given up.
pub(crate) const DEAD: Duration = Duration::from_secs(10);

fn within(sql: &str, timeout: Duration) -> QueryRequest {
    let timeout = Some(timeout.try_into().expect("it is short"));
    request_with(sql, QueryOptions { timeout, ..QueryOptions::default() })
}

/// The end of a call whose backend is stopped.
pub(crate) struct Frozen {
    /// The failure that ended the call.
    pub(crate) failure: Failure,
    /// The time after its deadline, this machine's own lateness subtracted.
    pub(crate) late: Duration,
    /// The time after that until its place in the pool was free, although the backend was still stopped.
    pub(crate) freed: Duration,
}

/// A service with one connection.
pub(crate) async fn service_of_one() -> Service {
    let postgres = Postgres::start();
    postgres.psql("create table t (id int)");
    Service::on(postgres, "pool.min = 1\npool.max = 1\n[health]\ninterval = \"1h\"\n").await
}

/// Stops the backend that runs a statement, on [`service_of_one`].
pub(crate) async fn freeze(service: &Service, sql: &str) -> Frozen {
    // Time enough to find the backend and to stop it.
    let limit = Duration::from_millis(1500);
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
    let stopped = Stopped::new(&pid);
    let failure = call.await.expect("no panic").expect_err("it is frozen");
    let late = start.elapsed().saturating_sub(limit + stutter.allowance());
    let ended = Instant::now();
    service.client.must("select 1", &[]).await;
    drop(stopped);
    Frozen { failure, late, freed: ended.elapsed() }
}

/// A read and a write whose backend is stopped, and what their callers must be told.
pub(crate) const FROZEN: [(&str, (Code, &str), &str); 2] = [
    ("select pg_sleep(5) /* own */", (Code::DeadlineExceeded, "DEADLINE"), "NOT_APPLIED"),
    (
        "insert into t select 1 from pg_sleep(5) /* own */",
        (Code::Unknown, "OUTCOME_UNKNOWN"),
        "UNKNOWN",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_stopped_backend_costs_its_caller_no_time_and_the_pool_no_place() {
    let service = service_of_one().await;
    for (sql, what, outcome) in FROZEN {
        let mut all = Vec::new();
        for _ in 0..3 {
            let Frozen { failure, late, freed } = freeze(&service, sql).await;
            assert_eq!((failure.what(), failure.outcome.as_str()), (what, outcome), "{failure:?}");
            assert!(freed < DEAD, "it took {freed:?}");
            all.push(late);
            if late <= TOLERANCE {
                break;
            }
        }
        assert!(all.iter().any(|late| *late <= TOLERANCE), "it ended late: {all:?}");
    }
}

async fn in_use(client: &Client) -> u32 {
    let mut pools = PoolServiceClient::new(client.channel());
    let answer = pools.list_pool_stats(ListPoolStatsRequest::default()).await;
    answer.expect("it runs").into_inner().pools.remove(0).in_use
}

/// A service with two connections, through a proxy.
pub(crate) async fn behind() -> Behind {
    let postgres = Postgres::start();
    postgres.psql("create table t (id int)");
    let settings = "pool.min = 2\npool.max = 2\n[health]\ninterval = \"1h\"\n";
    Behind::start(postgres, settings, &[]).await
}

/// The ends of calls whose database has fallen silent.
pub(crate) struct Silent {
    /// The times after their deadline, this machine's own lateness subtracted.
    pub(crate) late: [Duration; 2],
    /// The time after the deadline when their connections had been given up.
    pub(crate) given_up: Duration,
    /// The duration of the first call once something passed again, this machine's own lateness subtracted.
    pub(crate) back: Duration,
}

/// Lets a network fall silent under a read and a write, and then be back.
pub(crate) async fn fall_silent(behind: &Behind) -> Silent {
    let limit = Duration::from_millis(400);
    behind.client.query("select 1", &[]).await.expect("it runs");
    behind.proxy.set_weather(Weather { black_hole: true, ..Weather::default() });
    let (stutter, start) = (Stutter::watch(), Instant::now());
    let calls = ["select 1", "insert into t values (1)"].map(|sql| {
        let (client, call) = (behind.client.clone(), within(sql, limit));
        tokio::spawn(async move { (client.run(call).await, start.elapsed()) })
    });
    let mut late = [Duration::ZERO; 2];
    for (late, call) in late.iter_mut().zip(calls) {
        let (answer, took) = call.await.expect("no panic");
        let failure = answer.expect_err("nothing passes");
        let in_time = (Code::DeadlineExceeded, "DEADLINE");
        let reported = [in_time, (Code::Unknown, "OUTCOME_UNKNOWN")];
        assert!(reported.contains(&failure.what()), "{failure:?}");
        *late = took.saturating_sub(limit + stutter.allowance());
    }
    eventually_async("the connections are given up", DEAD, async || {
        (in_use(&behind.client).await == 0).then_some(())
    })
    .await;
    let given_up = start.elapsed().saturating_sub(limit);
    behind.proxy.set_weather(Weather::default());
    let again = Instant::now();
    behind.client.run(request("select 1", &[])).await.expect("it is back");
    Silent { late, given_up, back: again.elapsed().saturating_sub(stutter.allowance()) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn behind_a_network_that_passes_nothing_calls_end_in_time_and_connections_are_given_up() {
    let Silent { late, given_up, back } = fall_silent(&behind().await).await;
    assert!(late.iter().any(|by| *by <= TOLERANCE), "they ended late: {late:?}");
    eprintln!("the connections were given up {given_up:?} after the deadline");
    assert!(back < Duration::from_secs(1), "it took {back:?}");
}
