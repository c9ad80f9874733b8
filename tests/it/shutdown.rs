//! The end of a server: calls that must not fail, and clients who do not go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rowgate::value::proto::transact_request::Command;
use rowgate::value::proto::{Begin, QueryOptions, TransactRequest};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::harness::balancer::Balancer;
use crate::harness::client::{Client, Failure, PATIENCE, request, request_with};
use crate::harness::http2::{GOAWAY, HEADERS, PING, RST_STREAM, Raw};
use crate::harness::server::Server;
use crate::harness::wait::{Stopwatch, eventually_async};
use crate::harness::{Backend, Service, http};

/// Large rows: what is between the database and a reader who does not read is soon full.
pub(crate) const ENDLESS: &str = "with recursive c(n) as (select 1 union all select n + 1 from c) \
    select hex(zeroblob(50000)) from c";

/// Rows of work for a few milliseconds.
const SOME: &str = "with recursive c(n) as (select 1 union all select n + 1 from c where n < 3000) \
    select count(*) from c";

/// The result of restarts.
pub(crate) struct Restarted {
    /// Calls, of which none failed.
    pub(crate) calls: usize,
    /// The longest end of a server.
    pub(crate) longest: Duration,
}

/// Restarts servers under load: a client that leaves when it is told to sees no failed call.
pub(crate) async fn restarts(rounds: usize) -> Restarted {
    let mut servers = vec![Server::start(""), Server::start("")];
    let addresses: Vec<_> = servers.iter().map(Server::grpc).collect();
    let balancer = Balancer::new(&addresses);
    let (over, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let callers: Vec<_> = (0..16)
        .map(|number| {
            let (balancer, over, calls) = (balancer.clone(), over.clone(), calls.clone());
            tokio::spawn(async move {
                let request = request(if number % 4 == 0 { SOME } else { "select 1" }, &[]);
                let mut failures = Vec::new();
                while !over.load(Relaxed) {
                    match balancer.query(&request).await {
                        Ok(_) => calls.fetch_add(1, Relaxed),
                        Err(why) => {
                            failures.push(why);
                            0
                        }
                    };
                }
                failures
            })
        })
        .collect();
    let mut longest = Duration::ZERO;
    for round in 0..rounds {
        let before = calls.load(Relaxed);
        eventually_async("there is load", PATIENCE, async || {
            (calls.load(Relaxed) > before + 100).then_some(())
        })
        .await;
        let mut ending = servers.remove(round % 2);
        let start = Instant::now();
        ending.signal("TERM");
        let exit = tokio::task::spawn_blocking(move || ending.wait_for_exit(PATIENCE));
        assert!(exit.await.expect("no panic").success());
        longest = longest.max(start.elapsed());
        let fresh = tokio::task::spawn_blocking(|| Server::start("")).await.expect("it starts");
        balancer.replace(round % 2, fresh.grpc()).await;
        servers.insert(round % 2, fresh);
    }
    over.store(true, Relaxed);
    let mut failures = Vec::new();
    for caller in callers {
        failures.extend(caller.await.expect("no panic"));
    }
    let calls = calls.load(Relaxed);
    println!("{rounds} rounds, {calls} calls, {} failed, exit within {longest:?}", failures.len());
    assert!(failures.is_empty(), "of {calls} calls: {failures:#?}");
    // Nobody was there who would not go: nothing was waited for.
    assert!(longest < Duration::from_secs(5), "it took {longest:?}");
    Restarted { calls, longest }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_while_servers_are_restarted_under_load() {
    restarts(3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: scripts/restarts starts it"]
async fn no_call_fails_while_servers_are_restarted_fifty_times() {
    restarts(50).await;
}

/// 200 sockets that never speak, 50 who watch health, 8 who do not read their streams, and one with an
/// open transaction, who shall be told; how long the end took.
pub(crate) async fn hostile(configuration: &str, grace: Duration) -> Duration {
    let mut server = Server::start(configuration);
    let mut silent = Vec::new();
    for number in 0..200 {
        let mut socket = TcpStream::connect(server.grpc()).await.expect("it accepts");
        socket.write_all(["", "PRI * HT"][number % 2].as_bytes()).await.expect("it is open");
        silent.push(socket);
    }
    let client = Client::connect(server.grpc()).await;
    let mut watching = Vec::new();
    for _ in 0..50 {
        let watched = HealthCheckRequest { service: "readiness".to_owned() };
        let watch = HealthClient::new(client.channel()).watch(watched).await.expect("it is known");
        watching.push(watch.into_inner());
    }
    let mut unread = Vec::new();
    for _ in 0..8 {
        let client = Client::connect(server.grpc()).await;
        unread.push(client.open(request(ENDLESS, &[])).await.expect("it starts"));
    }
    let mut open = Open::begin(&client).await;
    let start = Stopwatch::start();
    server.signal("TERM");
    let exit = tokio::task::spawn_blocking(move || server.wait_for_exit(PATIENCE));
    let reported = open.end().await;
    assert_eq!(reported.what(), (Code::Unavailable, "SHUTTING_DOWN"), "{reported:?}");
    assert_eq!(reported.outcome, "NOT_APPLIED");
    assert!(exit.await.expect("no panic").success());
    let took = start.elapsed();
    println!("it took {took:?} of {grace:?}");
    start.assert_within(grace + Duration::from_millis(250), "the end");
    drop((silent, watching, unread));
    took
}

#[tokio::test]
async fn clients_who_do_not_go_do_not_keep_it_from_ending_within_the_grace() {
    let settings = "[shutdown]\ngrace = \"3s\"\n[databases.main]\nurl = \"sqlite:test.db\"\n\
        [databases.main.pool]\nmax = 20";
    hostile(settings, Duration::from_secs(3)).await;
}

#[tokio::test]
#[ignore = "half a minute: scripts/restarts starts it"]
async fn clients_who_do_not_go_do_not_keep_it_from_ending_within_the_default_grace() {
    hostile("", Duration::from_secs(25)).await;
}

#[tokio::test]
async fn silent_sockets_and_watchers_alone_are_not_waited_for() {
    let mut server = Server::start("");
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(server.grpc()).await.expect("it accepts"));
    }
    let client = Client::connect(server.grpc()).await;
    let watched = HealthCheckRequest { service: "readiness".to_owned() };
    let watch = HealthClient::new(client.channel()).watch(watched).await.expect("it is known");
    let mut watch = watch.into_inner();
    let first = watch.message().await.expect("it says at once").expect("something");
    let start = Stopwatch::start();
    server.signal("TERM");
    let mut last = first;
    let end: Failure = loop {
        match watch.message().await {
            Ok(message) => last = message.expect("it does not end without a word"),
            Err(status) => break status.into(),
        }
    };
    assert_eq!(last.status(), ServingStatus::NotServing, "that is told first");
    assert_eq!(end.what(), (Code::Unavailable, "SHUTTING_DOWN"), "{end:?}");
    // On another thread: the client must go on answering HTTP/2's pings.
    let exit = tokio::task::spawn_blocking(move || server.wait_for_exit(PATIENCE));
    assert!(exit.await.expect("no panic").success());
    start.assert_within(Duration::from_secs(4), "the end");
    drop(silent);
}

#[tokio::test]
async fn calls_on_an_old_connection_are_served_and_transactions_refused_safely() {
    let service = Service::start(Backend::Postgres).await;
    // It keeps the server from ending, and is not cut.
    let running = tokio::spawn({
        let client = service.client.clone();
        async move { client.query("select pg_sleep(3)", &[]).await }
    });
    let mut old = Raw::connect(service.server.grpc()).await;
    let query = async |old: &mut Raw, stream| {
        old.begin(stream, "/rowgate.v1.DatabaseService/Query", &[]).await;
        old.message(stream, &request("select 1", &[])).await;
    };
    query(&mut old, 1).await;
    let frame = old.find(HEADERS).await;
    assert_eq!(frame.stream, 1);
    service.server.signal("TERM");
    old.find(GOAWAY).await;
    let ping = old.find(PING).await;
    // It has been told, but not yet said that it has heard: what comes now was under way.
    query(&mut old, 3).await;
    let frame = old.find(HEADERS).await;
    assert_eq!(frame.stream, 3, "{frame:?}");
    old.begin(5, "/rowgate.v1.DatabaseService/Transact", &[]).await;
    let frame = old.find(RST_STREAM).await;
    assert_eq!((frame.stream, frame.code()), (5, 7), "REFUSED_STREAM: {frame:?}");
    old.pong(&ping).await;
    let last = old.find(GOAWAY).await;
    assert!(last.code() >= 3, "what was served is among what it names: {last:?}");
    running.await.expect("no panic").expect("a call in progress is not cut");
}

#[tokio::test]
async fn health_says_so_for_the_delay_before_the_listener_closes() {
    let mut server = Server::start("[shutdown]\ndelay = \"3s\"");
    let client = Client::connect(server.grpc()).await;
    client.must("select 1", &[]).await;
    server.signal("TERM");
    eventually_async("it is not ready", PATIENCE, async || {
        (http::get(server.ops(), "/readyz").await.status == 503).then_some(())
    })
    .await;
    // A load balancer that has not heard of it yet still sends its calls here.
    Client::connect(server.grpc()).await.must("select 1", &[]).await;
    client.must("select 1", &[]).await;
    let exit = tokio::task::spawn_blocking(move || server.wait_for_exit(PATIENCE));
    assert!(exit.await.expect("no panic").success());
}

/// An open transaction.
struct Open {
    _commands: tokio::sync::mpsc::Sender<TransactRequest>,
    replies: tonic::Streaming<rowgate::value::proto::TransactResponse>,
}

impl Open {
    async fn begin(client: &Client) -> Self {
        let (commands, receiver) = tokio::sync::mpsc::channel(4);
        let command = Command::Begin(Begin::default());
        let begin = TransactRequest { sequence: 1, command: Some(command) };
        commands.send(begin).await.expect("it is open");
        let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let mut replies = client.raw().transact(stream).await.expect("it opens").into_inner();
        replies.message().await.expect("it begins").expect("a reply");
        Self { _commands: commands, replies }
    }

    /// Waits for the server to end the call.
    async fn end(&mut self) -> Failure {
        self.replies.message().await.expect_err("the server ends it").into()
    }
}

/// The files beside the database.
fn beside(service: &Service) -> Vec<String> {
    let files = std::fs::read_dir(service.server.directory()).expect("it is there");
    let names = files.map(|file| file.expect("it is there").file_name().into_string());
    names.map(|name| name.expect("UTF-8")).filter(|name| name.starts_with("test.db-")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_ends_leaves_one_file() {
    for interrupted in [false, true] {
        let mut service = Service::start(Backend::Sqlite).await;
        service.client.must("create table t (id integer primary key)", &[]).await;
        // Several readers, so that the last connection is not always the same.
        let reads = (0..8).map(|_| service.client.must("select count(*) from t", &[]));
        futures_util::future::join_all(reads).await;
        assert!(!beside(&service).is_empty(), "a write-ahead log is in use");
        let mut open = service.client.begin().await;
        open.query("insert into t values (2)", &[]).await.expect("it runs");
        if !interrupted {
            open.rollback().await.expect("it is open");
        }
        service.server.signal("TERM");
        assert!(service.server.wait_for_exit(PATIENCE).success());
        assert_eq!(beside(&service), [""; 0], "{}", service.server.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_that_do_not_end_are_not_waited_for() {
    let mut service = Service::start(Backend::Sqlite).await;
    // It reads, and takes minutes.
    let sql = "select printf('%.*c', 15000000, 'a') like '%' || printf('%.*c', 49000, 'a') || 'b%'";
    let timeout = Duration::from_millis(300).try_into().ok();
    let options = QueryOptions { timeout, ..QueryOptions::default() };
    let failure = service.client.run(request_with(sql, options)).await;
    assert_eq!(failure.expect_err("it takes minutes").code, Code::DeadlineExceeded);
    let start = Stopwatch::start();
    service.server.signal("TERM");
    assert!(service.server.wait_for_exit(PATIENCE).success());
    start.assert_within(Duration::from_secs(6), "the end");
}
