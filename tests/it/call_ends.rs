//! The ends of calls: their frames, watches of health, and calls that are refused by their headers.

use std::time::Duration;

use prost::Message;
use rowgate::value::proto::pool_service_client::PoolServiceClient;
use rowgate::value::proto::transact_request::Command;
use rowgate::value::proto::{
    Begin, Commit, QueryRequest, StreamQueryRequest, TransactRequest, WatchPoolStatsRequest,
};
use tonic::metadata::MetadataValue;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::harness::client::{Client, Failure, PATIENCE, request};
use crate::harness::http2::{DATA, HEADERS, PING, QUERY, RST_STREAM, Raw};
use crate::harness::server::Server;
use crate::harness::wait::idle_for;

const STREAM: &str = "/rowgate.v1.DatabaseService/StreamQuery";
const TRANSACT: &str = "/rowgate.v1.DatabaseService/Transact";
const WATCH_POOLS: &str = "/rowgate.v1.PoolService/WatchPoolStats";
const WATCH_HEALTH: &str = "/grpc.health.v1.Health/Watch";
const CHECK_HEALTH: &str = "/grpc.health.v1.Health/Check";

/// The frames of the answer to a call, by their kinds, until one of them ends the stream.
async fn frames(
    raw: &mut Raw,
    stream: u32,
    path: &str,
    headers: &[(&str, &str)],
    message: &impl Message,
) -> Vec<u8> {
    raw.begin(stream, path, headers).await;
    raw.message(stream, message).await;
    let mut kinds = Vec::new();
    loop {
        let frame = raw.next().await.expect("the connection is open");
        if frame.stream == stream && matches!(frame.kind, DATA | HEADERS) {
            kinds.push(frame.kind);
            if frame.ends_stream() {
                return kinds;
            }
        }
    }
}

/// The frames of an error before the first message.
const TRAILERS_ONLY: [u8; 1] = [HEADERS];

#[tokio::test]
async fn an_error_before_the_first_message_is_one_frame_that_ends_the_stream() {
    let server = Server::start("");
    let mut raw = Raw::connect(server.grpc()).await;
    let raw = &mut raw;
    let unknown = WatchPoolStatsRequest { pool: "nope".to_owned(), ..Default::default() };
    assert_eq!(frames(raw, 1, WATCH_POOLS, &[], &unknown).await, TRAILERS_ONLY);
    let interval = Some(prost_types::Duration { seconds: -1, nanos: 0 });
    let wrong = WatchPoolStatsRequest { interval, ..Default::default() };
    assert_eq!(frames(raw, 3, WATCH_POOLS, &[], &wrong).await, TRAILERS_ONLY);
    let unknown = HealthCheckRequest { service: "nope".to_owned() };
    assert_eq!(frames(raw, 5, CHECK_HEALTH, &[], &unknown).await, TRAILERS_ONLY);
    let nothing = StreamQueryRequest { query: None };
    assert_eq!(frames(raw, 7, STREAM, &[], &nothing).await, TRAILERS_ONLY);
    let elsewhere = QueryRequest { database: "nope".to_owned(), ..Default::default() };
    assert_eq!(frames(raw, 9, QUERY, &[], &elsewhere).await, TRAILERS_ONLY);
    assert_eq!(frames(raw, 11, "/rowgate.v1.PoolService/Nope", &[], &nothing).await, TRAILERS_ONLY);
    assert_eq!(frames(raw, 13, "/nope", &[], &nothing).await, TRAILERS_ONLY);
    let late = [("grpc-timeout", "x")];
    for (stream, path) in (15..).step_by(2).zip([QUERY, STREAM, WATCH_POOLS, WATCH_HEALTH]) {
        assert_eq!(frames(raw, stream, path, &late, &nothing).await, TRAILERS_ONLY, "{path}");
    }
}

#[tokio::test]
async fn every_other_answer_ends_with_trailers() {
    let server = Server::start("");
    let mut raw = Raw::connect(server.grpc()).await;
    let raw = &mut raw;
    let query = request("select 1", &[]);
    assert_eq!(frames(raw, 1, QUERY, &[], &query).await, [HEADERS, DATA, HEADERS]);
    let rows = StreamQueryRequest { query: Some(query) };
    let stream = frames(raw, 3, STREAM, &[], &rows).await;
    let [HEADERS, messages @ .., HEADERS] = &stream[..] else { panic!("{stream:?}") };
    assert!(messages.iter().all(|kind| *kind == DATA), "{stream:?}");
    let late = [("grpc-timeout", "150m")];
    let watched = WatchPoolStatsRequest::default();
    let watch = frames(raw, 5, WATCH_POOLS, &late, &watched).await;
    assert_eq!([watch.first(), watch.last()], [Some(&HEADERS); 2], "{watch:?}");
    let fails = StreamQueryRequest { query: Some(request("select * from nope", &[])) };
    let failed = frames(raw, 7, STREAM, &[], &fails).await;
    assert_eq!(failed.last(), Some(&HEADERS), "{failed:?}");
    assert!(!failed.contains(&DATA), "{failed:?}");
}

#[tokio::test]
async fn the_reason_of_a_refused_watch_arrives() {
    let server = Server::start("");
    let client = Client::connect(server.grpc()).await;
    let unknown = WatchPoolStatsRequest { pool: "nope".to_owned(), ..Default::default() };
    let refused = PoolServiceClient::new(client.channel())
        .watch_pool_stats(unknown)
        .await
        .expect_err("it is unknown");
    assert_eq!(Failure::from(refused).what(), (Code::NotFound, "POOL_NOT_FOUND"));
}

#[tokio::test]
async fn a_malformed_timeout_is_refused_by_every_method() {
    let server = Server::start("");
    let client = Client::connect(server.grpc()).await;
    let malformed =
        ["", "m", "5", "123456789m", "-1S", "+1S", "1.5S", "1x", "1 S", "S1", "1s", "0x1S", "1SS"];
    for timeout in malformed {
        let value = MetadataValue::try_from(timeout).expect("it is ASCII");
        let with = |mut request: Request<QueryRequest>| {
            request.metadata_mut().insert("grpc-timeout", value.clone());
            request
        };
        let query = with(Request::new(request("select 1", &[])));
        let refused = client.raw().query(query).await.expect_err(timeout);
        let refused = Failure::from(refused);
        assert_eq!(refused.what(), (Code::InvalidArgument, "INVALID_OPTION"), "`{timeout}`");
        assert_eq!(refused.outcome, "NOT_APPLIED", "`{timeout}`");
        let mut watch = Request::new(WatchPoolStatsRequest::default());
        watch.metadata_mut().insert("grpc-timeout", value.clone());
        let refused = PoolServiceClient::new(client.channel())
            .watch_pool_stats(watch)
            .await
            .expect_err(timeout);
        assert_eq!(refused.code(), Code::InvalidArgument, "`{timeout}`");
        let mut check = Request::new(HealthCheckRequest::default());
        check.metadata_mut().insert("grpc-timeout", value);
        let refused = HealthClient::new(client.channel()).check(check).await.expect_err(timeout);
        assert_eq!(refused.code(), Code::InvalidArgument, "`{timeout}`");
    }
    // Two of them are no timeout either.
    let mut twice = Request::new(request("select 1", &[]));
    for timeout in ["5S", "6S"] {
        twice.metadata_mut().append("grpc-timeout", MetadataValue::from_static(timeout));
    }
    let refused = client.raw().query(twice).await.expect_err("which of them?");
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_watch_of_an_unknown_service_says_so_and_stays_open() {
    let server = Server::start("");
    let client = Client::connect(server.grpc()).await;
    let unknown = HealthCheckRequest { service: "nope".to_owned() };
    let watch = HealthClient::new(client.channel()).watch(unknown).await;
    let mut watch = watch.expect("it may be registered later").into_inner();
    let first = watch.message().await.expect("it is open").expect("a status comes at once");
    assert_eq!(first.status(), ServingStatus::ServiceUnknown);
    let next = tokio::time::timeout(Duration::from_millis(400), watch.message()).await;
    assert!(next.is_err(), "nothing more is to be told: {next:?}");
}

#[tokio::test]
async fn a_watch_of_health_tells_each_status_once() {
    let server = Server::start("[health]\ninterval = \"100ms\"");
    let client = Client::connect(server.grpc()).await;
    let watched = HealthCheckRequest { service: "liveness".to_owned() };
    let watch = HealthClient::new(client.channel()).watch(watched).await;
    let mut watch = watch.expect("it is known").into_inner();
    let first = tokio::time::timeout(PATIENCE, watch.message()).await.expect("it comes at once");
    let first = first.expect("it is open").expect("a status");
    assert_eq!(first.status(), ServingStatus::Serving);
    // Several probes pass, and the liveness remains what it is.
    idle_for(Duration::from_millis(300)).await;
    let next = tokio::time::timeout(Duration::from_millis(100), watch.message()).await;
    assert!(next.is_err(), "it was told twice: {next:?}");
}

/// Commits on a stream without ending the caller's side, and returns once the server's side has ended.
async fn commit(raw: &mut Raw, stream: u32) {
    raw.begin(stream, TRANSACT, &[]).await;
    let commands = [Command::Begin(Begin::default()), Command::Commit(Commit {})];
    for (sequence, command) in (1..).zip(commands) {
        raw.part(stream, &TransactRequest { sequence, command: Some(command) }).await;
    }
    loop {
        let frame = raw.next().await.expect("the connection is open");
        assert_ne!(frame.kind, RST_STREAM, "{frame:?}");
        if frame.stream == stream && frame.ends_stream() {
            return;
        }
    }
}

/// Tells whether a stream is reset before the answer to a PING.
async fn is_reset(raw: &mut Raw) -> bool {
    raw.ping().await;
    loop {
        match raw.next().await.expect("the connection is open").kind {
            PING => return false,
            RST_STREAM => return true,
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_stream_that_the_server_ends_first_is_not_reset_while_its_caller_may_close_it() {
    let server = Server::start("");
    let mut raw = Raw::connect(server.grpc()).await;
    commit(&mut raw, 1).await;
    assert!(!is_reset(&mut raw).await);
    raw.close(1).await;
    assert!(!is_reset(&mut raw).await);
    // A caller that never closes its side does not occupy the stream for ever.
    commit(&mut raw, 3).await;
    assert!(!is_reset(&mut raw).await);
    let reset = raw.find(RST_STREAM).await;
    assert_eq!((reset.stream, reset.code()), (3, 0));
}
