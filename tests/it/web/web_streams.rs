//! Streams of answers: envelopes, their end, and what is no envelope.

use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use rowgate::value::proto::stream_query_response::Part;
use rowgate::value::proto::{StreamQueryRequest, StreamQueryResponse};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::harness::client::request;
use crate::harness::server::Server;
use crate::harness::web::{
    BOTH, Http1, HttpVersion, STREAM_QUERY, WebRequest, failure, frame, framed,
};
use crate::harness::{Backend, Service};

const JSON: &str = "application/connect+json";
const PROTO: &str = "application/connect+proto";
/// The time for what is to happen at once.
const SOON: Duration = Duration::from_secs(20);
/// The flag of the last envelope.
const END: u8 = 2;

fn query(sql: &str) -> StreamQueryRequest {
    StreamQueryRequest { query: Some(request(sql, &[])) }
}

fn json_query(sql: &str) -> Vec<u8> {
    frame(0, json!({"query": {"sql": sql}}).to_string().as_bytes())
}

fn parsed(content: &Bytes) -> Value {
    serde_json::from_slice(content).expect("it is JSON")
}

#[tokio::test]
async fn a_stream_has_an_envelope_for_each_message_and_one_for_its_end() {
    let service = Service::start(Backend::Sqlite).await;
    let address = service.server.grpc();
    // Of several rows the first ones are sent when the next one takes its time.
    let sql = "select 2 as n";
    for version in BOTH {
        let answer =
            WebRequest::post(STREAM_QUERY, JSON, json_query(sql)).send(version, address).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, JSON));
        let frames = answer.frames();
        let flags: Vec<u8> = frames.iter().map(|(flags, _)| *flags).collect();
        assert_eq!(flags, [0, 0, 0, END], "{frames:?}");
        assert_eq!(parsed(&frames[0].1)["header"]["columns"][0]["name"], "n");
        assert_eq!(parsed(&frames[1].1)["rows"]["rows"][0]["values"][0]["int64Value"], "2");
        assert_eq!(parsed(&frames[2].1)["summary"]["rowCount"], "1");
        assert_eq!(parsed(&frames[3].1), json!({}));

        let answer = WebRequest::post(STREAM_QUERY, PROTO, framed(&query(sql)));
        let answer = answer.send(version, address).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, PROTO));
        let frames = answer.frames();
        let summary = StreamQueryResponse::decode(frames[2].1.clone()).expect("it is one");
        assert!(matches!(summary.part, Some(Part::Summary(summary)) if summary.row_count == 1));
        assert_eq!((frames[3].0, parsed(&frames[3].1)), (END, json!({})));
    }
}

#[tokio::test]
async fn an_error_is_in_the_last_envelope_before_and_behind_rows() {
    let service = Service::start(Backend::Sqlite).await;
    let address = service.server.grpc();
    let late = "with recursive c(n) as (select 1 union all select n + 1 from c where n < 50000) \
        select case when n < 50000 then n else json('no') end from c";
    for version in BOTH {
        for (sql, reason, has_rows) in
            [("select x", "UNDEFINED_COLUMN", false), (late, "SQLITE_ERROR", true)]
        {
            let answer = WebRequest::post(STREAM_QUERY, JSON, json_query(sql));
            let answer = answer.send(version, address).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            let frames = answer.frames();
            let (flags, end) = frames.last().expect("there is one");
            assert_eq!((*flags, frames.len() > 1), (END, has_rows), "{sql}");
            let end = parsed(end);
            let (code, told) = failure(&end["error"]);
            assert_eq!((code.as_str(), told.as_str()), ("invalid_argument", reason), "{end}");
            assert_eq!(end["metadata"]["grpc-retry-pushback-ms"], json!(["-1"]));
        }
    }
}

#[tokio::test]
async fn a_large_result_arrives_whole() {
    let service = Service::start(Backend::Sqlite).await;
    let sql = "with recursive c(n) as (select 1 union all select n + 1 from c where n < 200000) \
        select n, 'row ' || n as text from c";
    for version in BOTH {
        let sent = WebRequest::post(STREAM_QUERY, JSON, json_query(sql));
        let answer = sent.send(version, service.server.grpc()).await;
        assert!(answer.is_whole);
        let frames = answer.frames();
        let rows = frames.iter().filter_map(|(_, content)| {
            parsed(content)["rows"]["rows"].as_array().map(|rows| rows.to_vec())
        });
        let rows: Vec<Value> = rows.flatten().collect();
        assert_eq!(rows.len(), 200_000);
        assert_eq!(rows[199_999]["values"][1]["textValue"], "row 200000");
    }
}

#[tokio::test]
async fn malformed_envelopes_are_refused_and_run_nothing() {
    let service = Service::start(Backend::Sqlite).await;
    service.client.must("create table t (a int)", &[]).await;
    let address = service.server.grpc();
    let insert = "insert into t values (1)";
    let whole = json_query(insert);
    let two = [whole.clone(), whole.clone()].concat();
    let ended = [whole.clone(), frame(END, b"{}")].concat();
    for (body, code, reason) in [
        (Vec::new(), "unimplemented", "MALFORMED_REQUEST"),
        (two, "unimplemented", "MALFORMED_REQUEST"),
        (ended, "unimplemented", "MALFORMED_REQUEST"),
        (whole[..3].to_vec(), "invalid_argument", "MALFORMED_REQUEST"),
        (whole[..whole.len() - 1].to_vec(), "invalid_argument", "MALFORMED_REQUEST"),
        (frame(1, &whole[5..]), "invalid_argument", "MALFORMED_REQUEST"),
        (frame(0x80, &whole[5..]), "invalid_argument", "MALFORMED_REQUEST"),
        (frame(0, b"{]"), "invalid_argument", "MALFORMED_REQUEST"),
        (vec![0, 0x7F, 0xFF, 0xFF, 0xFF], "resource_exhausted", "REQUEST_TOO_LARGE"),
    ] {
        for version in BOTH {
            let answer = WebRequest::post(STREAM_QUERY, JSON, body.clone());
            let answer = answer.send(version, address).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            let frames = answer.frames();
            let what = failure(&parsed(&frames[0].1)["error"]);
            assert_eq!(what, (code.to_owned(), reason.to_owned()), "{body:?}");
            assert_eq!(frames.len(), 1);
        }
    }
    let compressed = WebRequest::post(STREAM_QUERY, JSON, whole);
    let compressed = compressed.with("connect-content-encoding", "gzip");
    let answer = compressed.send(HttpVersion::Http2, address).await;
    let what = failure(&parsed(&answer.frames()[0].1)["error"]);
    assert_eq!(what.1, "FEATURE_NOT_SUPPORTED");
    let count = service.client.must("select count(*) from t", &[]).await;
    assert_eq!(count.rows[0].values, [rowgate::value::Value::int64(0)]);
}

#[tokio::test]
async fn methods_with_streams_of_requests_say_what_to_use() {
    let service = Service::start(Backend::Sqlite).await;
    let address = service.server.grpc();
    for version in BOTH {
        for (method, hint) in [("Transact", "ExecuteBatch"), ("CopyIn", "rowgate copy")] {
            let path = format!("/rowgate.v1.DatabaseService/{method}");
            let answer = WebRequest::json(&path, &json!({})).send(version, address).await;
            assert_eq!(answer.status, 501, "{answer:?}");
            assert_eq!(answer.failure().1, "FEATURE_NOT_SUPPORTED");
            assert!(answer.text().contains(hint), "{}", answer.text());
            let answer =
                WebRequest::post(&path, JSON, frame(0, b"{}")).send(version, address).await;
            let end = parsed(&answer.frames()[0].1);
            assert_eq!(failure(&end["error"]).0, "unimplemented", "{end}");
        }
    }
}

#[tokio::test]
async fn requests_of_watches_are_bounded_in_size_and_in_time() {
    let settings = "[databases.main]\ndefault_deadline = \"1s\"\nmax_deadline = \"1s\"";
    let server = Server::start(settings);
    for path in [
        "/rowgate.v1.DatabaseService/Listen",
        "/rowgate.v1.PoolService/WatchPoolStats",
        "/grpc.health.v1.Health/Watch",
    ] {
        let address = server.grpc();
        let large = WebRequest::post(path, JSON, vec![0, 0x7F, 0xFF, 0xFF, 0xFF]);
        for version in BOTH {
            let answer = large.send(version, address).await;
            let error = parsed(&answer.frames()[0].1)["error"].clone();
            assert_eq!(failure(&error).1, "REQUEST_TOO_LARGE", "{path}");
        }
        // Its deadline is not that of the answers, which have none.
        let dripping = WebRequest::post(path, JSON, frame(0, b"{}")).encoded();
        let mut connection = Http1::connect(address).await;
        let part = &dripping[..dripping.len() - 1];
        connection.stream.write_all(part).await.expect("it is open");
        let answer = tokio::time::timeout(SOON, connection.answer()).await.expect("in time");
        let error = parsed(&answer.expect("it is answered").frames()[0].1)["error"].clone();
        assert_eq!(failure(&error).1, "DEADLINE", "{path}");
    }
}

#[tokio::test]
async fn watches_end_at_the_timeout_that_their_caller_names() {
    let server = Server::start("");
    for path in ["/rowgate.v1.PoolService/WatchPoolStats", "/grpc.health.v1.Health/Watch"] {
        let watch = WebRequest::post(path, JSON, frame(0, b"{}")).with("connect-timeout-ms", "300");
        for version in BOTH {
            let answer = watch.send(version, server.grpc()).await;
            let frames = answer.frames();
            assert!(frames.len() >= 2, "a status, and the end: {answer:?}");
            let end = parsed(&frames[frames.len() - 1].1);
            let told = failure(&end["error"]);
            assert_eq!(told, ("deadline_exceeded".to_owned(), "DEADLINE".to_owned()), "{path}");
        }
    }
}
