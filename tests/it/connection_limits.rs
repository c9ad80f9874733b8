//! Checks that precede every call: deadlines, limits on connections, exhausted descriptors.

use std::time::{Duration, Instant};

use rowgate::value::proto::Value;
use rowgate::value::proto::transact_request::Command;
use rowgate::value::proto::{
    BatchStatement, Begin, ExecuteBatchRequest, StreamQueryRequest, TransactQuery, TransactRequest,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Code;
use tonic::metadata::MetadataValue;

use crate::harness::client::{Client, Failure, PATIENCE, request, with_deadline};
use crate::harness::http2::{DATA, GOAWAY, HEADERS, PING, Patient, QUERY, Raw, SETTINGS, prefixed};
use crate::harness::server::Server;
use crate::harness::wait::{Stopwatch, Stutter, eventually_async, idle_for};
use crate::harness::{Backend, Service};

/// The largest distance between a call's end and its deadline.
const TOLERANCE: Duration = Duration::from_millis(50);

/// The ways in which a statement is run.
#[derive(Debug, Clone, Copy)]
enum Way {
    Query,
    Stream,
    Batch,
    Transact,
}

/// Runs what does not end by itself, with a deadline of the caller's, and says how it ended.
async fn endless(client: &Patient, way: Way, deadline: Duration) -> Failure {
    let sql = "select pg_sleep(600)".to_owned();
    let query = request(&sql, &[]);
    let (path, messages) = match way {
        Way::Query => (QUERY, vec![prefixed(&query)]),
        Way::Stream => {
            let query = StreamQueryRequest { query: Some(query) };
            ("/rowgate.v1.DatabaseService/StreamQuery", vec![prefixed(&query)])
        }
        Way::Batch => {
            let statements = vec![BatchStatement { sql, ..BatchStatement::default() }];
            let batch = ExecuteBatchRequest { statements, ..ExecuteBatchRequest::default() };
            ("/rowgate.v1.DatabaseService/ExecuteBatch", vec![prefixed(&batch)])
        }
        Way::Transact => {
            let query = TransactQuery { sql, ..TransactQuery::default() };
            let commands = [Command::Begin(Begin::default()), Command::Query(query)];
            let message = |(sequence, command)| {
                prefixed(&TransactRequest { sequence, command: Some(command) })
            };
            let messages = (1..).zip(commands).map(message).collect();
            ("/rowgate.v1.DatabaseService/Transact", messages)
        }
    };
    // A transaction stays open, as that of a caller who waits for the reply.
    let ends = !matches!(way, Way::Transact);
    client.status(path, deadline, messages, ends).await.into()
}

/// The 99th percentile of the distance from the deadline, by one RPC, this machine's own lateness subtracted.
async fn lateness(client: &Patient, way: Way) -> Duration {
    let deadline = Duration::from_millis(300);
    let (mut late, mut known, stutter) = (Vec::new(), false, Stutter::watch());
    for _ in 0..5 {
        let callers: Vec<_> = (0..10)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move {
                    let start = Instant::now();
                    let failure = endless(&client, way, deadline).await;
                    let by = start.elapsed().abs_diff(deadline);
                    let ended = (failure.what(), failure.outcome.as_str());
                    let is_known = ended == ((Code::DeadlineExceeded, "DEADLINE"), "NOT_APPLIED");
                    // A busy database may not tell in time that it has ended a batch, which may write.
                    let is_batch = matches!(way, Way::Batch) && failure.reason == "OUTCOME_UNKNOWN";
                    assert!(is_known || is_batch, "{way:?}: {failure:?}");
                    (by, is_known)
                })
            })
            .collect();
        for caller in callers {
            let (by, is_known) = caller.await.expect("no panic");
            late.push(by);
            known |= is_known;
        }
    }
    assert!(known, "{way:?}: none is known to have ended");
    late.sort_unstable();
    late[late.len() * 99 / 100 - 1].saturating_sub(stutter.allowance())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_of_every_kind_end_at_the_callers_deadline_with_a_status_of_ours() {
    let settings = "[databases.main.pool]\nmin = 12\nmax = 20";
    let service = Service::with(Backend::Postgres, settings).await;
    let client = Patient::connect(service.server.grpc()).await;
    for way in [Way::Query, Way::Stream, Way::Batch, Way::Transact] {
        let mut all = Vec::new();
        // A busy machine delays calls now and then: one of three rounds must be in time.
        loop {
            let late = lateness(&client, way).await;
            println!("{way:?}: p99 {late:?} from the deadline");
            if late <= TOLERANCE {
                break;
            }
            all.push(late);
            assert!(all.len() < 3, "{way:?}: p99 of |end - deadline|, three times: {all:?}");
        }
    }
}

#[tokio::test]
async fn a_request_that_does_not_come_whole_ends_at_its_deadline() {
    let server = Server::start("");
    let mut raw = Raw::connect(server.grpc()).await;
    for (stream, timeout, least) in [(1, "200m", 150), (3, "50000u", 40)] {
        let start = Stopwatch::start();
        raw.begin(stream, QUERY, &[("grpc-timeout", timeout)]).await;
        let answer = raw.find(HEADERS).await;
        let took = start.elapsed();
        start.assert_within(Duration::from_millis(least) + TOLERANCE * 4, "the answer");
        assert_eq!(answer.stream, stream);
        // Both are sent as they are: HPACK's Huffman code would only make them longer.
        assert!(took > Duration::from_millis(least), "{took:?}");
    }
    // Its time began with its headers, not with its message.
    raw.begin(5, QUERY, &[("grpc-timeout", "400m")]).await;
    idle_for(Duration::from_millis(250)).await;
    let start = Stopwatch::start();
    let endless = "with recursive c(n) as (select 1 union all select n + 1 from c) \
        select count(*) from c";
    raw.message(5, &request(endless, &[])).await;
    raw.find(HEADERS).await;
    start.assert_within(Duration::from_millis(300), "the answer");
}

/// Calls that expire while a server is stopped, 20 that wait for its connection and as many that come
/// then: none may have run when it goes on.
pub(crate) const EXPIRED: usize = 40;

/// A service for [`expire`].
pub(crate) async fn service_of_one() -> Service {
    let service = Service::with(Backend::Postgres, "[databases.main.pool]\nmin = 1\nmax = 1").await;
    service.client.must("create table t (id bigint)", &[]).await;
    service
}

/// A statement that ends when it is released.
const HOLD: &str = "do $$begin while not exists (select from released) loop \
                    perform pg_sleep(0.01); end loop; end$$";

/// Stops a server, lets calls expire, and lets it go on.
pub(crate) async fn expire(service: &Service) {
    let insert = |deadline: u64| {
        let client = service.client.clone();
        tokio::spawn(async move {
            let insert = request("insert into t values (1)", &[]);
            client.raw().query(with_deadline(insert, Duration::from_millis(deadline))).await
        })
    };
    // Some wait for the connection when the server is stopped, and it is free when it goes on.
    service.postgres().psql("create table if not exists released (); truncate released");
    let holder = tokio::spawn({
        let client = service.client.clone();
        async move { client.query(HOLD, &[]).await }
    });
    let sql = format!("select 1 from pg_stat_activity where state = 'active' and query = '{HOLD}'");
    let held_by = async |found: &str| (service.postgres().psql(&sql) == found).then_some(());
    eventually_async("it is held", PATIENCE, async || held_by("1").await).await;
    let mut calls: Vec<_> = (0..EXPIRED / 2).map(|_| insert(2000)).collect();
    let waiting = eventually_async("they wait", PATIENCE, async || {
        let stats = crate::harness::http::get(service.server.ops(), "/status").await.json();
        let waiting = stats["databases"][0]["pool"]["waiting"].as_u64()?;
        (waiting >= 20).then_some(waiting)
    });
    waiting.await;
    service.server.stop();
    calls.extend((0..EXPIRED / 2).map(|_| insert(200)));
    for call in calls {
        call.await.expect("no panic").expect_err("it expires meanwhile");
    }
    service.postgres().psql("insert into released default values");
    eventually_async("it is free", PATIENCE, async || held_by("").await).await;
    service.server.signal("CONT");
    holder.await.expect("no panic").expect("it was never given up");
    let rows = service.client.must("select id, count(*) from t group by id", &[]).await.rows;
    assert!(rows.is_empty(), "they have run: {rows:?}");
}

#[tokio::test]
async fn expired_calls_are_not_run_when_a_stopped_server_goes_on() {
    expire(&service_of_one().await).await;
}

#[tokio::test]
async fn calls_given_up_while_a_server_was_stopped_are_not_run() {
    let service = Service::start(Backend::Postgres).await;
    service.client.must("create table t (id bigint)", &[]).await;
    let insert = "insert into t values ($1::int8)";
    // It is prepared everywhere: nothing would have to be waited for before it runs.
    let known = (0..40).map(|_| service.client.must(insert, &[Value::int64(0)]));
    futures_util::future::join_all(known).await;
    service.client.must("delete from t", &[]).await;
    let mut raw = Raw::connect(service.server.grpc()).await;
    raw.begin(1, QUERY, &[]).await;
    raw.message(1, &request("select 1", &[])).await;
    raw.find(HEADERS).await;
    service.server.stop();
    // When it goes on it finds the calls, their messages and their ends at once, and free connections. As
    // many as a socket takes in: of what is still with the client, nothing can be known.
    for stream in (3..=201).step_by(2) {
        raw.begin(stream, QUERY, &[]).await;
        raw.message(stream, &request(insert, &[Value::int64(stream.into())])).await;
        raw.reset(stream).await;
    }
    // TCP sends the last of them only after the first were acknowledged, which takes a moment.
    idle_for(Duration::from_millis(300)).await;
    service.server.signal("CONT");
    raw.begin(203, QUERY, &[]).await;
    raw.message(203, &request("select 1", &[])).await;
    // The connection is still good.
    while raw.find(HEADERS).await.stream != 203 {}
    let rows = service.client.must("select * from t", &[]).await.rows;
    assert!(rows.is_empty(), "{} of 100 have run: {rows:?}", rows.len());
}

/// Sockets that say nothing, more of them than a server has descriptors for.
async fn silent_sockets(server: &Server) -> Vec<TcpStream> {
    let mut silent = Vec::new();
    for _ in 0..DESCRIPTORS {
        for address in [server.grpc(), server.ops()] {
            silent.push(TcpStream::connect(address).await.expect("the system accepts"));
        }
    }
    silent
}

const DESCRIPTORS: u32 = 64;

/// A server with few descriptors and a table, for [`exhaust`].
pub(crate) async fn server_of_few() -> (Server, Client) {
    let settings = "[grpc]\npreface_timeout = \"5m\"\n[ops]\nheader_timeout = \"5m\"";
    let server = Server::start_with_descriptors(settings, DESCRIPTORS);
    let client = Client::connect(server.grpc()).await;
    client.must("create table t (id int)", &[]).await;
    (server, client)
}

/// The behaviour of a server without free descriptors.
#[derive(Debug)]
pub(crate) struct Exhausted {
    /// The processor time it used, and in what time; where that can be told.
    pub(crate) used: Option<Duration>,
    pub(crate) measured: Duration,
    /// The number of warnings about callers' connections, and about operators', while it lasted.
    pub(crate) reported: [usize; 2],
    /// From the end of it until a new client was served.
    pub(crate) back: Duration,
}

/// Takes all descriptors for a while: who is inside is served, who comes has to wait.
pub(crate) async fn exhaust(server: &Server, inside: &Client, measured: Duration) -> Exhausted {
    let before = reported(server);
    let silent = silent_sockets(server).await;
    eventually_async("nobody is accepted", PATIENCE, async || {
        let mut raw = Raw::connect(server.grpc()).await;
        let greeting = tokio::time::timeout(Duration::from_millis(100), raw.find(SETTINGS)).await;
        greeting.is_err().then_some(())
    })
    .await;
    inside.must("insert into t values (1)", &[]).await;
    let started = server.processor_time();
    idle_for(measured).await;
    let used = started.and_then(|started| Some(server.processor_time()? - started));
    let after = reported(server);
    let reported = [after[0] - before[0], after[1] - before[1]];
    drop(silent);
    let start = Instant::now();
    Client::connect(server.grpc()).await.must("select * from t", &[]).await;
    Exhausted { used, measured, reported, back: start.elapsed() }
}

fn reported(server: &Server) -> [usize; 2] {
    let log = server.log();
    ["\"accept failed; retrying", "accept of operators' connections failed"]
        .map(|message| log.matches(message).count())
}

impl Exhausted {
    /// Fails the test where it span, or did not go on.
    pub(crate) fn must_be_calm(&self) {
        let used = self.used.unwrap_or_default();
        assert!(used < self.measured / 10, "it spins: {self:?}");
        assert!(self.reported.iter().all(|reported| *reported <= 1), "it repeats itself: {self:?}");
        assert!(self.back < Duration::from_secs(5), "{self:?}");
    }
}

#[tokio::test]
async fn without_descriptors_it_waits_and_then_goes_on() {
    let (server, inside) = server_of_few().await;
    let exhausted = exhaust(&server, &inside, Duration::from_millis(1500)).await;
    exhausted.must_be_calm();
    assert_eq!(exhausted.reported, [1, 1], "it is told");
    assert_eq!(crate::harness::http::get(server.ops(), "/livez").await.status, 200);
}

#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    let server = Server::start("[grpc]\nmax_connections = 2");
    let client = Client::connect(server.grpc()).await;
    client.must("select 1", &[]).await;
    let second = Client::connect(server.grpc()).await;
    second.must("select 1", &[]).await;
    for _ in 0..3 {
        let mut third = Raw::connect(server.grpc()).await;
        let goaway = third.find(GOAWAY).await;
        let why = String::from_utf8_lossy(&goaway.payload[8..]).into_owned();
        assert_eq!(why, "too many connections");
        assert!(third.next().await.is_none(), "and it is closed");
    }
    client.must("select 1", &[]).await;
    assert_eq!(server.log().matches("connection limit reached").count(), 1, "{}", server.log());
    drop(second);
    eventually_async("there is room again", PATIENCE, async || {
        let mut third = Raw::connect(server.grpc()).await;
        third.begin(1, QUERY, &[]).await;
        third.message(1, &request("select 1", &[])).await;
        while let Some(frame) = third.next().await {
            if frame.kind == HEADERS {
                return Some(());
            }
        }
        None
    })
    .await;
}

#[tokio::test]
async fn an_old_connection_is_told_to_go_and_nothing_of_it_is_cut() {
    let postgres = crate::harness::postgres::Postgres::start();
    let settings = format!(
        "[grpc]\nmax_connection_age = \"1s\"\n[databases.main]\nurl = \"{}\"",
        postgres.url()
    );
    let server = Server::start(&settings);
    let start = Stopwatch::start();
    let mut raw = Raw::connect(server.grpc()).await;
    raw.begin(1, QUERY, &[]).await;
    raw.message(1, &request("select pg_sleep(2)", &[])).await;
    raw.find(GOAWAY).await;
    let age = start.elapsed();
    assert!(age > Duration::from_millis(850), "its age was {age:?}");
    let ping = raw.find(PING).await;
    raw.pong(&ping).await;
    raw.find(GOAWAY).await;
    start.assert_within(Duration::from_millis(1900), "the second GOAWAY");
    let answer = raw.find(DATA).await;
    assert_eq!(answer.stream, 1);
    while raw.next().await.is_some() {}
}

#[tokio::test]
async fn more_headers_than_are_allowed_end_their_call_alone() {
    let server = Server::start("[grpc]\nmax_header_size = \"2KiB\"");
    let client = Client::connect(server.grpc()).await;
    let mut call = with_deadline(request("select 1", &[]), PATIENCE);
    let long = MetadataValue::try_from("x".repeat(4096)).expect("it is ASCII");
    call.metadata_mut().insert("x-long", long);
    client.raw().query(call).await.expect_err("they are too many");
    client.must("select 1", &[]).await;
}

#[tokio::test]
async fn sockets_that_never_speak_do_not_keep_others_out() {
    let server = Server::start(
        "[grpc]\nmax_connections = 3\npreface_timeout = \"1s\"\n\
        [grpc.web]\nheader_timeout = \"1s\"",
    );
    let mut silent = Vec::new();
    for hello in ["", "PRI * HTTP/2.0", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let mut socket = TcpStream::connect(server.grpc()).await.expect("it accepts");
        socket.write_all(hello.as_bytes()).await.expect("it is open");
        silent.push(socket);
    }
    for mut socket in silent {
        let mut said = Vec::new();
        let closed = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut said)).await;
        drop(closed.expect("it is closed"));
    }
    let client = Client::connect(server.grpc()).await;
    client.must("select 1", &[]).await;
    // One that speaks may be silent afterwards.
    idle_for(Duration::from_millis(1500)).await;
    client.must("select 1", &[]).await;
}
