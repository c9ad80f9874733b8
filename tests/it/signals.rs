//! Signals to a server: one ends it in order, a second one at once, and what runs is cancelled in the database.

use std::time::Duration;

use tonic::Code;

use crate::harness::behind::through_proxy;
use crate::harness::client::{Client, PATIENCE, request};
use crate::harness::mariadb::Mariadb;
use crate::harness::postgres::Postgres;
use crate::harness::proxy::Weather;
use crate::harness::server::Server;
use crate::harness::unit::batch;
use crate::harness::wait::{Stopwatch, Stutter, eventually, eventually_async};
use crate::harness::{Backend, Service};
use crate::shutdown::ENDLESS;

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let mut server = Server::start("");
    let client = Client::connect(server.grpc()).await;
    let unread = client.open(request(ENDLESS, &[])).await.expect("it starts");
    let start = Stopwatch::start();
    server.signal("TERM");
    eventually_async("it has heard", PATIENCE, async || {
        server.log().contains("shutting down").then_some(())
    })
    .await;
    eventually_async("the pause after the first is over", PATIENCE, async || {
        server.signal("INT");
        server.log().contains("second signal").then_some(())
    })
    .await;
    server.wait_for_exit(PATIENCE);
    assert!(start.elapsed() >= Duration::from_secs(1), "it took {:?}", start.elapsed());
    start.assert_within(Duration::from_secs(3), "the end");
    drop(unread);
}

#[tokio::test]
async fn a_signal_that_is_sent_twice_at_once_is_one() {
    let settings = "[shutdown]\nsecond_signal_after = \"10s\"";
    let service = Service::with(Backend::Postgres, settings).await;
    let running = tokio::spawn({
        let client = service.client.clone();
        async move { client.query("select pg_sleep(1.5)", &[]).await }
    });
    service.checkout(|one| one.rpc == "Query").await;
    service.server.signal("TERM");
    eventually_async("it has heard", PATIENCE, async || {
        service.server.log().contains("shutting down").then_some(())
    })
    .await;
    for name in ["TERM", "INT", "TERM"] {
        service.server.signal(name);
    }
    running.await.expect("no panic").expect("a call in progress is not cut");
    assert!(!service.server.log().contains("second signal"), "{}", service.server.log());
}

#[tokio::test]
async fn without_a_pause_the_next_signal_ends_it() {
    let mut server = Server::start("[shutdown]\nsecond_signal_after = \"0s\"");
    let client = Client::connect(server.grpc()).await;
    let unread = client.open(request(ENDLESS, &[])).await.expect("it starts");
    server.signal("TERM");
    eventually_async("it has heard", PATIENCE, async || {
        server.log().contains("shutting down").then_some(())
    })
    .await;
    let start = Stopwatch::start();
    server.signal("TERM");
    server.wait_for_exit(PATIENCE);
    start.assert_within(Duration::from_secs(2), "the end");
    drop(unread);
}

#[tokio::test]
async fn what_is_cut_off_is_cancelled_in_the_database() {
    let postgres = Postgres::start();
    let url = postgres.url();
    let settings = format!("[shutdown]\ngrace = \"2s\"\n[databases.main]\nurl = \"{url}\"");
    let mut server = Server::start(&settings);
    let client = Client::connect(server.grpc()).await;
    let call = tokio::spawn(async move { client.query("select pg_sleep(100)", &[]).await });
    let sleeping = || {
        postgres.psql("select count(*) from pg_stat_activity where query like '%pg_sleep(100)%' and state = 'active' and pid <> pg_backend_pid()").trim().to_owned()
    };
    eventually_async("it runs", PATIENCE, async || (sleeping() == "1").then_some(())).await;
    server.signal("TERM");
    let exit = tokio::task::spawn_blocking(move || server.wait_for_exit(PATIENCE));
    let cut = call.await.expect("no panic").expect_err("it was cut off");
    assert_eq!(cut.what(), (Code::Unavailable, "SHUTTING_DOWN"), "{cut:?}");
    assert_eq!(cut.outcome, "NOT_APPLIED", "{cut:?}");
    assert!(exit.await.expect("no panic").success());
    eventually_async("it is gone", PATIENCE, async || (sleeping() == "0").then_some(())).await;
}

#[tokio::test]
async fn a_second_signal_cancels_what_runs_and_its_callers_are_told() {
    for backend in [Backend::Postgres, Backend::Mariadb] {
        let settings = "[shutdown]\nsecond_signal_after = \"0s\"";
        let mut service = Service::with(backend, settings).await;
        service.client.must("create table t (n int)", &[]).await;
        let insert = service.pick(
            "",
            "insert into t select 1 from pg_sleep(100)",
            "insert into t select sleep(100)",
        );
        let (alone, together) = (service.client.clone(), service.client.clone());
        let alone = tokio::spawn(async move { alone.query(insert, &[]).await.map(drop) });
        let both = batch(&["insert into t values (7)", insert]);
        let together = tokio::spawn(async move { together.batch(both).await.map(drop) });
        service.until_pool("both run", |pool| pool.in_use == 2).await;
        service.server.signal("TERM");
        eventually_async("it has heard", PATIENCE, async || {
            service.server.log().contains("shutting down").then_some(())
        })
        .await;
        service.server.signal("TERM");
        for call in [alone, together] {
            let cut = call.await.expect("no panic").expect_err("it was cut off");
            // A database that does not confirm the end of the statement in time leaves its outcome unknown.
            let expected = match cut.outcome.as_str() {
                "UNKNOWN" => (Code::Unknown, "OUTCOME_UNKNOWN"),
                _ => (Code::Unavailable, "SHUTTING_DOWN"),
            };
            assert_eq!(cut.what(), expected, "{backend:?}: {cut:?}");
            assert!(["NOT_APPLIED", "UNKNOWN"].contains(&&*cut.outcome), "{backend:?}: {cut:?}");
        }
        assert!(service.server.wait_for_exit(PATIENCE).success());
        eventually("nothing of it runs any more", PATIENCE, || {
            let active = match backend {
                Backend::Mariadb => service.mariadb().sql(
                    "select count(*) from information_schema.processlist where info like 'insert%'",
                ),
                Backend::Postgres | Backend::Sqlite => service.postgres().psql(
                    "select count(*) from pg_stat_activity \
                     where query like 'insert%' and state = 'active'",
                ),
            };
            (active == "0").then_some(())
        });
        let rows = match backend {
            Backend::Mariadb => service.mariadb().sql("select count(*) from t"),
            Backend::Postgres | Backend::Sqlite => {
                service.postgres().psql("select count(*) from t")
            }
        };
        assert_eq!(rows, "0", "{backend:?}");
    }
}

#[tokio::test]
async fn a_terminal_that_closes_ends_it_behind_the_calls_in_progress() {
    let mut service = Service::start(Backend::Postgres).await;
    let client = service.client.clone();
    let running = tokio::spawn(async move { client.query("select pg_sleep(1)", &[]).await });
    service.until_pool("it runs", |pool| pool.in_use == 1).await;
    service.server.signal("HUP");
    running.await.expect("no panic").expect("a call in progress is not cut");
    assert!(service.server.wait_for_exit(PATIENCE).success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_waits_for_the_answer_of_a_slow_network() {
    // Two ways take longer than a caller whose deadline has passed would wait.
    const LATENCY: Duration = Duration::from_millis(30);
    let postgres = Postgres::start();
    let mariadb = Mariadb::start();
    for backend in [Backend::Postgres, Backend::Mariadb] {
        let (url, port, insert) = if backend == Backend::Mariadb {
            (mariadb.url(), mariadb.port(), "insert into t select sleep(100)")
        } else {
            (postgres.url(), postgres.port(), "insert into t select 1 from pg_sleep(100)")
        };
        let settings = "[shutdown]\nsecond_signal_after = \"0s\"";
        let (proxy, mut server, client) = through_proxy((&url, port), settings, &[]).await;
        client.must("create table t (n int)", &[]).await;
        proxy.set_weather(Weather { latency: LATENCY, ..Weather::default() });
        let call = tokio::spawn(async move { client.query(insert, &[]).await.map(drop) });
        eventually_async("it runs", PATIENCE, async || {
            let running = if backend == Backend::Mariadb {
                mariadb.sql(
                    "select count(*) from information_schema.processlist where info like 'insert%'",
                )
            } else {
                postgres.psql("select count(*) from pg_stat_activity where query like 'insert%' and state = 'active'")
            };
            (running == "1").then_some(())
        })
        .await;
        server.signal("TERM");
        eventually_async("it has heard", PATIENCE, async || {
            server.log().contains("shutting down").then_some(())
        })
        .await;
        let stutter = Stutter::watch();
        server.signal("TERM");
        let cut = call.await.expect("no panic").expect_err("it was cut off");
        if stutter.allowance() < LATENCY * 4 {
            assert_eq!(cut.what(), (Code::Unavailable, "SHUTTING_DOWN"), "{backend:?}: {cut:?}");
            assert_eq!(cut.outcome, "NOT_APPLIED", "{backend:?}: {cut:?}");
        }
        assert!(server.wait_for_exit(PATIENCE).success());
    }
}
