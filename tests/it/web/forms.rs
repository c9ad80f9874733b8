//! gRPC-Web, binary and in base64, and content types.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use prost::Message as _;
use rowgate::value::Value;
use rowgate::value::proto::{QueryResponse, StreamQueryRequest};
use serde_json::json;

use crate::harness::client::request;
use crate::harness::web::{
    BOTH, HttpVersion, QUERY, STREAM_QUERY, WebAnswer, WebRequest, frame, framed, frames,
};
use crate::harness::{Backend, Service};

/// The flag of trailers.
const TRAILERS: u8 = 0x80;

/// The trailers in the last frame.
fn trailers(frames: &[(u8, Bytes)]) -> Vec<(String, String)> {
    let (flags, content) = frames.last().expect("there is one");
    assert_eq!(*flags, TRAILERS);
    let text = std::str::from_utf8(content).expect("it is ASCII");
    let pair = |line: &str| {
        let (name, value) = line.split_once(": ").expect("a name and a value");
        (name.to_owned(), value.to_owned())
    };
    text.split_terminator("\r\n").map(pair).collect()
}

fn trailer(frames: &[(u8, Bytes)], name: &str) -> String {
    let found = trailers(frames).into_iter().find(|(known, _)| known == name);
    found.unwrap_or_else(|| panic!("no {name} in {frames:?}")).1
}

/// The frames of an answer in base64, each of which is padded by itself.
fn decoded(answer: &WebAnswer) -> Vec<(u8, Bytes)> {
    let mut bytes = Vec::new();
    let mut rest = answer.text();
    while !rest.is_empty() {
        let padding = rest.find('=').map(|at| {
            at + rest[at..].len().min(2).min(rest[at..].chars().take_while(|c| *c == '=').count())
        });
        let end = padding.unwrap_or(rest.len());
        bytes.extend(STANDARD.decode(&rest[..end]).expect("it is base64"));
        rest = &rest[end..];
    }
    frames(bytes.into())
}

#[tokio::test]
async fn grpc_web_has_its_trailers_in_the_last_frame() {
    let service = Service::start(Backend::Sqlite).await;
    let address = service.server.grpc();
    let query = framed(&request("select 42", &[]));
    for version in BOTH {
        for content_type in ["application/grpc-web", "application/grpc-web+proto"] {
            let answer = WebRequest::post(QUERY, content_type, query.clone());
            let answer = answer.with("x-grpc-web", "1").send(version, address).await;
            let expected = (200, "application/grpc-web+proto");
            assert_eq!((answer.status, answer.header("content-type")), expected);
            let frames = answer.frames();
            let response = QueryResponse::decode(frames[0].1.clone()).expect("it is one");
            assert_eq!(response.result.expect("one").rows[0].values, [Value::int64(42)]);
            assert_eq!(trailer(&frames, "grpc-status"), "0");
        }
        let answer = WebRequest::post(QUERY, "application/grpc-web-text", STANDARD.encode(&query));
        let answer = answer.send(version, address).await;
        assert_eq!(answer.header("content-type"), "application/grpc-web-text+proto");
        let frames = decoded(&answer);
        assert_eq!((frames.len(), trailer(&frames, "grpc-status").as_str()), (2, "0"));

        let json = frame(0, json!({"sql": "select 42"}).to_string().as_bytes());
        let answer = WebRequest::post(QUERY, "application/grpc-web+json", json);
        let frames = answer.send(version, address).await.frames();
        assert!(std::str::from_utf8(&frames[0].1).expect("JSON").contains("\"42\""));
    }
}

#[tokio::test]
async fn errors_and_streams_of_grpc_web_end_the_same_way() {
    let service = Service::start(Backend::Sqlite).await;
    let address = service.server.grpc();
    for version in BOTH {
        let query = framed(&request("select x", &[]));
        let answer = WebRequest::post(QUERY, "application/grpc-web+proto", query);
        let answer = answer.send(version, address).await;
        assert_eq!(answer.status, 200);
        let frames = answer.frames();
        assert_eq!(trailer(&frames, "grpc-status"), "3", "{frames:?}");
        assert_eq!(trailer(&frames, "grpc-message"), "no%20such%20column:%20x");
        assert!(!trailer(&frames, "grpc-status-details-bin").is_empty());

        let stream = StreamQueryRequest { query: Some(request("select 1", &[])) };
        let body = STANDARD.encode(framed(&stream));
        let answer = WebRequest::post(STREAM_QUERY, "application/grpc-web-text", body);
        let frames = decoded(&answer.send(version, address).await);
        assert_eq!((frames.len(), trailer(&frames, "grpc-status").as_str()), (4, "0"));

        let late = framed(&request("select 1", &[]));
        let answer = WebRequest::post(QUERY, "application/grpc-web+proto", late);
        let answer = answer.with("grpc-timeout", "never").send(version, address).await;
        assert_eq!(trailer(&answer.frames(), "grpc-status"), "3");

        let answer = WebRequest::post(QUERY, "application/grpc-web-text", "!!!!");
        let frames = decoded(&answer.send(version, address).await);
        assert_eq!(trailer(&frames, "grpc-status"), "3");
    }
}

#[tokio::test]
async fn content_types_that_do_not_fit_run_nothing() {
    let service = Service::start(Backend::Sqlite).await;
    service.client.must("create table t (a int)", &[]).await;
    let address = service.server.grpc();
    let insert = json!({"sql": "insert into t values (1)"}).to_string();
    for version in BOTH {
        for (path, content_type) in [
            (QUERY, "text/plain"),
            (QUERY, "text/plain;charset=UTF-8"),
            (QUERY, "text/json"),
            (QUERY, "application/xml"),
            (QUERY, "application/x-www-form-urlencoded"),
            (QUERY, "multipart/form-data; boundary=x"),
            (QUERY, "application/csp-report"),
            (QUERY, "text/ping"),
            (QUERY, "application/json, text/plain"),
            (QUERY, "application/connect+json"),
            (QUERY, "application/grpc+json"),
            (STREAM_QUERY, "application/json"),
            (STREAM_QUERY, "application/proto"),
        ] {
            let answer = WebRequest::post(path, content_type, insert.clone());
            let answer = answer.send(version, address).await;
            assert_eq!(answer.status, 415, "{content_type}: {answer:?}");
            let accepted = answer.header("accept-post");
            let fitting =
                if path == QUERY { "application/json" } else { "application/connect+json" };
            assert!(accepted.contains(fitting), "{accepted}");
            assert!(answer.text().contains("content type"), "{answer:?}");
        }
        let mut untyped = WebRequest::json(QUERY, &json!({}));
        untyped.headers.clear();
        assert_eq!(untyped.send(version, address).await.status, 415);
        let twice = WebRequest::json(QUERY, &json!({})).with("content-type", "application/json");
        assert_eq!(twice.send(version, address).await.status, 415);
    }
    // gRPC itself needs HTTP/2: over HTTP/1.1 it has no trailers.
    let grpc = WebRequest::post(QUERY, "application/grpc", framed(&request("select 1", &[])));
    assert_eq!(grpc.send(HttpVersion::Http1, address).await.status, 415);
    let count = service.client.must("select count(*) from t", &[]).await;
    assert_eq!(count.rows[0].values, [Value::int64(0)]);
}
