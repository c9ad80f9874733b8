//! Calls while a database is unreachable, the probes meanwhile, and the recovery after its return.

mod connected;
mod outage;

use std::time::{Duration, Instant};

use serde_json::Value as Json;
use tonic::Code;

use crate::harness::behind::Behind;
use crate::harness::client::{Client, PATIENCE};
use crate::harness::http;
use crate::harness::postgres::{PASSWORD, Postgres};
use crate::harness::server::{Server, free_port, run};
use crate::harness::wait::{Stopwatch, eventually_async, idle_for};

/// From the moment at which the database accepts connections to the first success.
const RECOVERY: Duration = Duration::from_secs(1);

/// From that moment until the pool is as large as it shall be.
const REFILLED: Duration = Duration::from_secs(3);

/// The default of `pool.min`.
const MIN: u64 = 5;

/// Between two calls of one client: faster than RetryInfo asks for.
const PAUSE: Duration = Duration::from_millis(100);

/// Returns what `/status` reports of the database.
async fn status(service: &Behind) -> Json {
    let mut status = http::get(service.server.ops(), "/status").await.json();
    status["databases"][0].take()
}

async fn is_ready(service: &Behind) -> bool {
    http::get(service.server.ops(), "/readyz").await.status == 200
}

async fn until_breaker_is(service: &Behind, state: &str, within: Duration) {
    eventually_async(&format!("the breaker is {state}"), within, async || {
        (status(service).await["breaker"]["state"] == state).then_some(())
    })
    .await;
}

/// Waits until the breaker is closed, for no longer than a recovery takes.
async fn until_closed(service: &Behind) {
    let start = Stopwatch::start();
    until_breaker_is(service, "closed", PATIENCE).await;
    start.assert_within(RECOVERY, "the recovery");
}

async fn until_filled(service: &Behind, within: Duration) {
    eventually_async("the pool is at its min", within, async || {
        (status(service).await["pool"]["open"].as_u64() >= Some(MIN)).then_some(())
    })
    .await;
}

fn connections(service: &Behind) -> u64 {
    service.proxy.counts().connections
}

/// Returns what `rowgate pool stats main --format json` prints.
fn figures(service: &Behind) -> Json {
    let address = format!("http://{}", service.server.grpc());
    let output = run(
        service.server.directory(),
        &["pool", "stats", "main", "--format", "json"],
        &[("ROWGATE_ADDRESS", &address)],
    );
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("one object")
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_the_breaker_since_when_and_how_often_and_what_was_not_retried() {
    let settings = "[databases.main.breaker]\nfailures = 20\n[databases.main.retry]\nbudget = 0\n";
    let mut service = Behind::start(Postgres::start(), settings, &[]).await;
    until_filled(&service, Duration::from_secs(10)).await;
    let now = figures(&service);
    assert_eq!((&now["breaker"], &now["breaker_opened"]), (&"closed".into(), &0.into()), "{now}");
    assert_eq!((&now["retries"], &now["retries_refused"]), (&0.into(), &0.into()), "{now}");

    service.postgres.crash();
    let end = Instant::now();
    eventually_async("the breaker is open", Duration::from_secs(5), async || {
        service.client.query("select 1", &[]).await.expect_err("nothing is there");
        (status(&service).await["breaker"]["state"] == "open").then_some(())
    })
    .await;
    let now = figures(&service);
    assert_eq!((&now["breaker"], &now["breaker_opened"]), (&"open".into(), &1.into()), "{now}");
    assert!(since(&now) <= end.elapsed(), "{now}");
    assert_eq!(now["retries"], 0, "{now}");
    let refused = now["retries_refused"].as_u64().expect("a number");
    assert!((15..=20).contains(&refused), "each call that failed before: {now}");

    service.postgres.resume();
    let back = Instant::now();
    until_closed(&service).await;
    let now = figures(&service);
    assert_eq!((&now["breaker"], &now["breaker_opened"]), (&"closed".into(), &1.into()), "{now}");
    assert!(since(&now) <= back.elapsed() + RECOVERY, "{now}");
}

/// Returns how long the breaker has been in its state.
fn since(figures: &Json) -> Duration {
    Duration::from_millis(figures["breaker_since_ms"].as_u64().expect("a number"))
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_servers_one_that_is_away_opens_nothing_and_all_that_are_away_do() {
    let mut postgres = Postgres::start();
    let there = format!("127.0.0.1:{}", postgres.port());
    let url = postgres.url().replace(&there, &format!("127.0.0.1:{},{there}", free_port()));
    let configuration =
        format!("[databases.main]\nurl = \"{url}\"\n[databases.main.pool]\nmin = 1\n");
    let server = Server::start(&configuration);
    let client = Client::connect(server.grpc()).await;
    let breaker =
        async || http::get(server.ops(), "/status").await.json()["databases"][0]["breaker"].take();
    for _ in 0..10 {
        client.must("select 1", &[]).await;
        postgres.terminate_backends();
    }
    client.must("select 1", &[]).await;
    assert_eq!(breaker().await["opened"], 0, "{}", server.log());
    postgres.crash();
    eventually_async("the breaker is open", Duration::from_secs(5), async || {
        client.query("select 1", &[]).await.expect_err("nothing is there");
        (breaker().await["state"] == "open").then_some(())
    })
    .await;
    postgres.resume();
    let start = Stopwatch::start();
    eventually_async("the breaker is closed", PATIENCE, async || {
        (breaker().await["state"] == "closed").then_some(())
    })
    .await;
    start.assert_within(RECOVERY, "the recovery");
    client.must("select 1", &[]).await;
}

const SLOW_TO_KNOCK: &str = "[databases.main.retry]\nmax_backoff = \"1s\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_refused_is_tried_rarely_and_works_again_when_it_is_mended() {
    let service = Behind::start(Postgres::start(), SLOW_TO_KNOCK, &[]).await;
    until_filled(&service, Duration::from_secs(10)).await;
    service.postgres.psql("alter role postgres password 'another'");
    service.client.must("select 1", &[]).await;
    service.postgres.terminate_backends();
    eventually_async("so many logins are refused", Duration::from_secs(5), async || {
        service.client.query("select 1", &[]).await.expect_err("it is not let in");
        (status(&service).await["breaker"]["state"] == "open").then_some(())
    })
    .await;
    let before = connections(&service);
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1_500) {
        let failure = service.client.must_fail("select 1", &[]).await;
        assert_eq!(failure.what(), (Code::FailedPrecondition, "BACKEND_MISCONFIGURED"));
        idle_for(PAUSE).await;
    }
    let attempts = connections(&service) - before;
    // The first, and one in about a second.
    let most = 1 + start.elapsed().as_millis() / 750;
    assert!(u128::from(attempts) <= most, "{attempts} attempts in {:?}", start.elapsed());
    assert!(!is_ready(&service).await);
    service.postgres.psql(&format!("alter role postgres password '{PASSWORD}'"));
    eventually_async("a call succeeds", Duration::from_secs(2), async || {
        service.client.query("select 1", &[]).await.ok()
    })
    .await;
    until_filled(&service, REFILLED).await;
}
