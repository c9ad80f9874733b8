//! Faults of the server itself: it is ended, killed, stopped, and out of descriptors.

use std::collections::BTreeSet;
use std::time::Duration;

use rowgate::value::proto::QueryRequest;
use tokio::sync::watch;

use super::Held;
use super::worst::Worst;
use crate::connection_limits::{EXPIRED, exhaust, expire, server_of_few, service_of_one};
use crate::failover::load::keyed;
use crate::harness::behind::KEYS;
use crate::harness::client::{Client, PATIENCE, with_deadline};
use crate::harness::postgres::Postgres;
use crate::harness::server::Server;
use crate::harness::wait::{Stutter, eventually};
use crate::shutdown::{hostile, restarts};

/// The default of `shutdown.grace`.
const GRACE: Duration = Duration::from_secs(25);

/// SIGTERM under load, and once under clients who do not go.
pub(super) async fn terminated(faults: usize) -> Held {
    let restarted = restarts(faults - 1).await;
    let stayed = hostile("", GRACE).await;
    let figures = format!(
        "0 of {} unary calls failed; exit {:.2} s at worst, {:.2} s against hostile sockets (limit {} s)",
        restarted.calls,
        restarted.longest.as_secs_f64(),
        stayed.as_secs_f64(),
        GRACE.as_secs()
    );
    Held { faults, figures }
}

/// Callers who write at once.
const CALLERS: i64 = 8;

/// SIGKILL under keyed writes, which are asked for again at the server that comes in its place.
pub(super) async fn killed(faults: usize) -> Held {
    let postgres = Postgres::start();
    postgres.psql(KEYS);
    // No key of its own: what is applied twice shall be seen, and not refused.
    postgres.psql("create table t (id bigint)");
    let configuration = format!("[databases.main]\nurl = \"{}\"\n", postgres.url());
    let mut server = Server::start(&configuration);
    let (place, places) = watch::channel(Client::connect(server.grpc()).await);
    let callers: Vec<_> =
        (0..CALLERS).map(|number| tokio::spawn(write(number, places.clone()))).collect();
    drop(places);
    let count = || postgres.psql("select count(*) from t").parse::<u64>().expect("a number");
    for _ in 0..faults {
        let before = count();
        eventually("writes go on", PATIENCE, || (count() >= before + 50).then_some(()));
        server.signal("KILL");
        server.wait_for_exit(PATIENCE);
        server = Server::start(&configuration);
        place.send(Client::connect(server.grpc()).await).expect("they listen");
    }
    let before = count();
    eventually("writes go on", PATIENCE, || (count() >= before + 50).then_some(()));
    // Nobody tells them where to go on: they end.
    drop(place);
    let (mut written, mut again, mut replayed) = (BTreeSet::new(), 0, 0);
    for caller in callers {
        let seen = caller.await.expect("no caller panics");
        written.extend(seen.written);
        again += seen.again;
        replayed += seen.replayed;
    }
    let rows = postgres.psql("select id from t");
    let rows: Vec<i64> = rows.lines().map(|row| row.parse().expect("a number")).collect();
    let there: BTreeSet<i64> = rows.iter().copied().collect();
    assert_eq!(rows.len(), there.len(), "some are applied twice");
    assert_eq!(there, written, "each that was asked for is applied");
    assert!(again >= faults, "only {again} calls were cut off by {faults} kills");
    let written = written.len();
    let figures = format!(
        "{written} keyed writes, {again} asked for again, {replayed} of them replayed, 0 lost, 0 doubled"
    );
    Held { faults, figures }
}

/// The answers to a caller.
#[derive(Default)]
struct Seen {
    written: BTreeSet<i64>,
    again: usize,
    replayed: usize,
}

/// Writes one number after the other, each until it is answered, wherever the server is.
async fn write(number: i64, mut places: watch::Receiver<Client>) -> Seen {
    let mut seen = Seen::default();
    let mut next = number * 10_000_000;
    while places.has_changed().is_ok() {
        next += 1;
        let mut cut_off = false;
        loop {
            let client = places.borrow_and_update().clone();
            match ask(&client, keyed(next)).await {
                Some(replayed) => {
                    seen.replayed += usize::from(cut_off && replayed);
                    break;
                }
                None => {
                    seen.again += usize::from(!cut_off);
                    cut_off = true;
                    // While the next server is being started.
                    tokio::time::timeout(PATIENCE, places.changed())
                        .await
                        .expect("another comes")
                        .expect("nobody is killed after the last");
                }
            }
        }
        seen.written.insert(next);
    }
    seen
}

/// Tells whether it was applied before; `None`: there is no server, and no answer.
async fn ask(client: &Client, request: QueryRequest) -> Option<bool> {
    match client.raw().query(with_deadline(request, PATIENCE)).await {
        Ok(answer) => Some(answer.into_inner().replayed),
        Err(status) => {
            assert!(status.details().is_empty(), "the server itself says {status:?}");
            None
        }
    }
}

/// SIGSTOP while calls wait and come, SIGCONT when they have expired.
pub(super) async fn stopped(faults: usize) -> Held {
    let service = service_of_one().await;
    for _ in 0..faults {
        expire(&service).await;
    }
    let figures = format!("{} calls expired meanwhile, 0 of them run on waking", faults * EXPIRED);
    Held { faults, figures }
}

/// Descriptors that run out, again and again on the same server.
pub(super) async fn exhausted(faults: usize) -> Held {
    let (server, inside) = server_of_few().await;
    let mut back = Worst::new("a new client served again", Duration::from_secs(5));
    let (mut used, mut measured) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..faults {
        let stutter = Stutter::watch();
        let one = exhaust(&server, &inside, Duration::from_millis(500)).await;
        one.must_be_calm();
        used += one.used.unwrap_or_default();
        measured += one.measured;
        back.take(one.back, &stutter);
    }
    let share = 100.0 * used.as_secs_f64() / measured.as_secs_f64();
    Held { faults: back.count(), figures: format!("{share:.1} % of a processor meanwhile; {back}") }
}
