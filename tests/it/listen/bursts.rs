//! Many listeners and many notifications, measured.

use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rowgate::value::proto::listen_response::Event;
use rustix::process::setpriority_process;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tonic::Request;

use super::{Listener, kill, listen, service, sessions};
use crate::harness::Service;
use crate::harness::client::Client;
use crate::harness::wait::idle_for;

const LISTENERS: usize = 1000;
const CHANNELS: usize = 100;
const NOTIFICATIONS: usize = 100_000;
/// The notifications of one commit.
const BATCH: usize = 250;
/// The time between two commits.
const PAUSE: Duration = Duration::from_millis(150);
/// The payload behind which nothing comes.
const LAST: &str = "last";

/// The events of one listener.
#[derive(Debug, Default)]
struct Got {
    gaps: usize,
    before: Vec<usize>,
    after: Vec<usize>,
}

/// Listens until the last notification.
async fn follow(mut listener: Listener) -> Got {
    let mut got = Got::default();
    loop {
        match listener.next().await.expect("nobody is ended") {
            Event::Listening(_) => panic!("it is told once"),
            Event::Gap(_) => got.gaps += 1,
            Event::Notification(one) if one.payload == LAST => return got,
            Event::Notification(one) => {
                let number = one.payload.parse().expect("a number");
                if got.gaps == 0 { got.before.push(number) } else { got.after.push(number) }
            }
        }
    }
}

/// The 99th percentile of a modest load's latency, until the work is done.
async fn p99(service: &Service, work: impl Future<Output = ()>) -> Duration {
    let client = Client::connect(service.server.grpc()).await;
    let mut took = Vec::new();
    let measuring = async {
        loop {
            let start = Instant::now();
            client.must("select count(*) from generate_series(1, 5000)", &[]).await;
            took.push(start.elapsed());
            idle_for(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        () = work => {}
        () = measuring => {}
    }
    took.sort();
    took[took.len() * 99 / 100]
}

/// Notifies all channels at a steady pace; the session that listens is killed in the middle.
async fn notify_all(service: &Service) {
    for first in (0..NOTIFICATIONS).step_by(BATCH) {
        let start = Instant::now();
        let last = first + BATCH - 1;
        let sql = format!(
            "select count(pg_notify('c' || i % {CHANNELS}, i::text)) from generate_series({first}, {last}) i"
        );
        service.client.must(&sql, &[]).await;
        if first == NOTIFICATIONS / 2 {
            kill(service.postgres());
        }
        idle_for(PAUSE.saturating_sub(start.elapsed())).await;
    }
    let sql = format!(
        "select count(pg_notify('c' || i, '{LAST}')) from generate_series(0, {}) i",
        CHANNELS - 1
    );
    service.client.must(&sql, &[]).await;
}

/// Checks that what is missing is missing around the gap alone.
fn check(channel: usize, got: &Got) {
    assert_eq!(got.gaps, 1, "every listener is told");
    let all: Vec<_> = (channel..NOTIFICATIONS).step_by(CHANNELS).collect();
    assert!(all.starts_with(&got.before), "c{channel}: {:?}", got.before.len());
    assert!(all.ends_with(&got.after), "c{channel}: {:?}", got.after.len());
    assert!(got.before.len() + got.after.len() <= all.len(), "c{channel}: nothing comes twice");
    assert!(got.after.len() > all.len() / 4, "c{channel}: it listens again: {}", got.after.len());
}

/// Opens all listeners, tells when they listen, and follows them to their ends.
async fn follow_all(address: SocketAddr, listening: oneshot::Sender<()>) -> Vec<(usize, Got)> {
    let mut followed = JoinSet::new();
    let mut clients = Vec::new();
    for number in 0..LISTENERS {
        if number % 100 == 0 {
            clients.push(Client::connect(address).await);
        }
        let channel = number % CHANNELS;
        let request = Request::new(listen("", &[&format!("c{channel}")]));
        let stream = clients[clients.len() - 1].raw().listen(request).await.expect("it is let in");
        let mut listener = Listener(stream.into_inner());
        listener.next().await.expect("it listens");
        followed.spawn(async move { (channel, follow(listener).await) });
    }
    listening.send(()).expect("it is waited for");
    followed.join_all().await
}

/// The same on a thread of its own, which yields to the server and to the load that is measured: those who listen are on
/// other machines than the server.
fn elsewhere(address: SocketAddr, listening: oneshot::Sender<()>) -> JoinHandle<Vec<(usize, Got)>> {
    std::thread::spawn(move || {
        setpriority_process(None, 19).expect("a thread may give way");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("it has threads").block_on(follow_all(address, listening))
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute and a half"]
async fn a_thousand_listeners_miss_nothing_but_around_a_gap_and_disturb_nobody() {
    let service = service("").await;
    let alone = p99(&service, idle_for(Duration::from_secs(20))).await;
    let (listening, all_listen) = oneshot::channel();
    let listeners = elsewhere(service.server.grpc(), listening);
    all_listen.await.expect("they listen");
    assert_eq!(sessions(service.postgres()), 1);
    let start = Instant::now();
    let beside = p99(&service, notify_all(&service)).await;
    let took = start.elapsed();
    let mut delivered = 0;
    let mut missing = 0;
    let followed = tokio::task::spawn_blocking(|| listeners.join()).await.expect("no panic");
    for (channel, got) in followed.expect("no panic") {
        check(channel, &got);
        let came = got.before.len() + got.after.len();
        delivered += came;
        missing += NOTIFICATIONS / CHANNELS - came;
    }
    println!(
        "{delivered} deliveries in {took:?}, {missing} missing in the gap; p99 {alone:?} alone, {beside:?} beside them"
    );
    // Both are percentiles of many calls: no stutter of a moment excuses the second one.
    assert!(beside <= 2 * alone, "{alone:?} alone, {beside:?} beside the notifications");
}
