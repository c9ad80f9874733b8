//! Errors of unary calls: the status of HTTP, the code, and details that name reason and outcome.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use prost::Message as _;
use rowgate::value::proto::Value;
use serde_json::{Value as Json, json};
use tokio::io::AsyncWriteExt as _;
use tonic_types::pb::ErrorInfo;

use crate::access::Guarded;
use crate::harness::web::{
    BOTH, Http1, HttpVersion, QUERY, STREAM_QUERY, WebAnswer, WebRequest, failure, frame,
};
use crate::harness::{Backend, Service};

const DESCRIBE: &str = "/rowgate.v1.DatabaseService/DescribeStatement";
const BATCH: &str = "/rowgate.v1.DatabaseService/ExecuteBatch";

/// A statement that does not end by itself.
const ENDLESS: &str =
    "with recursive c(n) as (select 1 union all select n + 1 from c) select max(n) from c";

/// A batch of one statement under a key.
fn keyed(sql: &str) -> Json {
    json!({"statements": [{"sql": sql}], "options": {"idempotencyKey": "k"}})
}

/// A service with a table, a row and a key.
async fn service() -> Service {
    let service = Service::start(Backend::Sqlite).await;
    service.client.must("create table t (a int primary key, b int check (b > 0))", &[]).await;
    service.client.must("insert into t values (1, 1)", &[]).await;
    let sent = WebRequest::json(BATCH, &keyed("insert into t values (2, 2)"));
    assert_eq!(sent.send(HttpVersion::Http1, service.server.grpc()).await.status, 200);
    service
}

#[tokio::test]
async fn each_code_has_its_status_of_http() {
    let service = service().await;
    let address = service.server.grpc();
    for version in BOTH {
        for (path, message, status, code, reason) in [
            (QUERY, json!({"sql": "select x"}), 400, "invalid_argument", "UNDEFINED_COLUMN"),
            (
                QUERY,
                json!({"sql": "select 1", "database": "no"}),
                404,
                "not_found",
                "DATABASE_NOT_FOUND",
            ),
            (
                QUERY,
                json!({"sql": "insert into t values (1, 1)"}),
                409,
                "already_exists",
                "UNIQUE_VIOLATION",
            ),
            (
                QUERY,
                json!({"sql": "insert into t values (9, 0)"}),
                400,
                "failed_precondition",
                "CHECK_VIOLATION",
            ),
            (
                QUERY,
                json!({"sql": "delete from t", "options": {"accessMode": "ACCESS_MODE_READ_ONLY"}}),
                400,
                "failed_precondition",
                "READ_ONLY",
            ),
            (
                QUERY,
                json!({"sql": "select 1 union select 2", "options": {"maxRows": "1"}}),
                429,
                "resource_exhausted",
                "RESULT_TOO_LARGE",
            ),
            (
                QUERY,
                json!({"sql": ENDLESS, "options": {"timeout": "0.05s"}}),
                504,
                "deadline_exceeded",
                "DEADLINE",
            ),
            (BATCH, keyed("select 1"), 400, "failed_precondition", "KEY_REUSED"),
            (DESCRIBE, json!({"sql": ""}), 400, "invalid_argument", "INVALID_SQL"),
        ] {
            let answer = WebRequest::json(path, &message).send(version, address).await;
            assert_eq!(answer.status, status, "{message}: {answer:?}");
            assert_eq!(answer.failure(), (code.into(), reason.into()), "{message}");
        }
    }
}

#[tokio::test]
async fn details_are_encoded_and_readable() {
    let service = Service::start(Backend::Sqlite).await;
    let message = json!({"sql": "select 1", "parameters": [{"int64Value": 1}]});
    // Protocol Buffers have the same errors.
    let encoded = crate::harness::client::request("select 1", &[rowgate::value::Value::int64(1)]);
    for sent in [
        WebRequest::json(QUERY, &message),
        WebRequest::post(QUERY, "application/proto", encoded.encode_to_vec()),
    ] {
        let answer = sent.send(HttpVersion::Http1, service.server.grpc()).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        assert_eq!(answer.header("trailer-grpc-retry-pushback-ms"), "-1");
        let error = answer.json();
        let info = &error["details"][0];
        let decoded = STANDARD_NO_PAD.decode(info["value"].as_str().expect("it is text"));
        let decoded = ErrorInfo::decode(&*decoded.expect("base64")).expect("it is one");
        assert_eq!(decoded.reason, "INVALID_PARAMETER");
        assert_eq!(info["debug"]["reason"], decoded.reason);
        assert_eq!(info["debug"]["metadata"]["outcome"], "NOT_APPLIED");
        assert_eq!(error["details"][1]["type"], "rowgate.v1.DatabaseError");
        let keys: Vec<_> = answer.text().match_indices("\"code\"").map(|(at, _)| at).collect();
        assert_eq!(keys, [1], "what matters most is first: {}", answer.text());
    }
}

#[tokio::test]
async fn a_timeout_in_a_header_is_the_calls_deadline() {
    let service = Service::start(Backend::Sqlite).await;
    for version in BOTH {
        let sent = WebRequest::json(QUERY, &json!({"sql": ENDLESS}));
        let started = std::time::Instant::now();
        let answer =
            sent.with("connect-timeout-ms", "200").send(version, service.server.grpc()).await;
        assert_eq!((answer.status, answer.failure().1.as_str()), (504, "DEADLINE"));
        assert!(started.elapsed() < std::time::Duration::from_secs(5));
    }
    let idle = "every statement has left the database";
    service.until_pool(idle, |pool| pool.in_use == 0).await;
}

#[tokio::test]
async fn callers_and_their_rights_are_those_of_grpc() {
    let reader = "databases = ['main']\nrpcs = ['Query']\nread_only = true";
    let guarded = Guarded::with(Backend::Sqlite, "", &[("reader", reader)]).await;
    let address = guarded.service.server.grpc();
    let bearer = format!("Bearer {}", guarded.token("reader"));
    for version in BOTH {
        let query = |sql: &str| {
            let options = json!({"accessMode": "ACCESS_MODE_READ_ONLY"});
            WebRequest::json(QUERY, &json!({"sql": sql, "options": options}))
        };
        let answer = query("select 1").send(version, address).await;
        assert_eq!(answer.status, 401, "{answer:?}");
        let answer = query("select 1").with("authorization", &bearer).send(version, address).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let write = WebRequest::json(QUERY, &json!({"sql": "create table t (a int)"}));
        let write = write.with("authorization", &bearer).send(version, address).await;
        assert_eq!((write.status, write.failure().1.as_str()), (403, "ACCESS_DENIED"));
        let denied = WebRequest::json(DESCRIBE, &json!({"sql": "select 1"}));
        let answer = denied.with("authorization", &bearer).send(version, address).await;
        assert_eq!((answer.status, answer.failure().1.as_str()), (403, "ACCESS_DENIED"));
        let health = WebRequest::json("/grpc.health.v1.Health/Check", &json!({}));
        assert_eq!(health.send(version, address).await.status, 200);
    }
}

#[tokio::test]
async fn headers_that_say_two_things_run_nothing() {
    let service = Service::start(Backend::Sqlite).await;
    service.client.must("create table t (a int)", &[]).await;
    let address = service.server.grpc();
    let insert = || WebRequest::json(QUERY, &json!({"sql": "insert into t values (1)"}));
    for version in BOTH {
        for (name, first, second, status) in [
            ("content-encoding", "identity", "gzip", 501),
            ("connect-protocol-version", "1", "2", 400),
            ("connect-timeout-ms", "20000", "1", 400),
            ("content-type", "application/json", "text/plain", 415),
        ] {
            for (first, second) in [(first, second), (second, first)] {
                let twice = insert().with(name, first).with(name, second);
                let answer = twice.send(version, address).await;
                assert_eq!(answer.status, status, "{name}: {first}, {second}: {answer:?}");
            }
        }
    }
    let count = service.client.must("select count(*) from t", &[]).await;
    assert_eq!(count.rows[0].values, [rowgate::value::Value::int64(0)]);
}

#[tokio::test]
async fn a_body_that_http_does_not_have_is_malformed_and_runs_nothing() {
    let service = service().await;
    let address = service.server.grpc();
    let insert = b"{\"sql\":\"insert into t values (3, 3)\"}";
    let cases = |message: &[u8]| {
        let size = format!("{:x}\r\n", message.len());
        [
            ("transfer-encoding: chunked", [b"zz\r\n", message, b"\r\n0\r\n\r\n"].concat()),
            ("transfer-encoding: chunked", [size.as_bytes(), message, b"\r\nzz\r\n"].concat()),
            ("content-length: 9\r\ntransfer-encoding: chunked", message.to_vec()),
        ]
    };
    for (path, content_type) in [
        (QUERY, "application/json"),
        (QUERY, "application/grpc-web+json"),
        (BATCH, "application/json"),
        (DESCRIBE, "application/json"),
        (STREAM_QUERY, "application/connect+json"),
    ] {
        let is_unary = content_type == "application/json";
        let message = if is_unary { insert.to_vec() } else { frame(0, insert) };
        for (framing, body) in cases(&message) {
            let mut connection = Http1::connect(address).await;
            let head = format!(
                "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: {content_type}\r\n{framing}\r\n\r\n"
            );
            let request = [head.as_bytes(), &body].concat();
            connection.stream.write_all(&request).await.expect("it is open");
            let answer = connection.answer().await.expect("it is answered");
            let told = match content_type {
                "application/json" => answer.json(),
                "application/connect+json" => end_of(&answer),
                _ => {
                    let trailers = String::from_utf8_lossy(&answer.body).into_owned();
                    assert!(trailers.contains("grpc-status: 3\r\n"), "{answer:?}");
                    assert!(trailers.contains("grpc-status-details-bin: "), "{answer:?}");
                    continue;
                }
            };
            assert_eq!(failure(&told).1, "MALFORMED_REQUEST", "{path} {framing:?}");
            assert!(told.to_string().contains("NOT_APPLIED"), "{told}");
            assert_eq!(answer.status, if is_unary { 400 } else { 200 }, "{answer:?}");
        }
    }
    let count = service.client.must("select count(*) from t", &[]).await;
    assert_eq!(count.rows[0].values[0], Value::int64(2));
}

#[tokio::test]
async fn a_body_that_ends_before_its_length_is_refused_and_runs_nothing() {
    let service = Service::start(Backend::Sqlite).await;
    service.client.must("create table t (a int)", &[]).await;
    let insert = b"{\"sql\":\"insert into t values (1)\"}";
    for framing in ["content-length: 99", "transfer-encoding: chunked"] {
        let mut connection = Http1::connect(service.server.grpc()).await;
        let head = format!(
            "POST {QUERY} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n{framing}\r\n\r\n"
        );
        let chunk = if framing.contains("chunked") { &b"63\r\n"[..] } else { b"" };
        let request = [head.as_bytes(), chunk, insert].concat();
        connection.stream.write_all(&request).await.expect("it is open");
        connection.stream.shutdown().await.expect("it is open");
        // One who has closed its side may have gone altogether: then there is no answer.
        if let Some(answer) = connection.answer().await {
            assert_eq!(failure(&answer.json()).1, "MALFORMED_REQUEST", "{framing}: {answer:?}");
            assert_eq!(answer.status, 400, "{answer:?}");
        }
    }
    let count = service.client.must("select count(*) from t", &[]).await;
    assert_eq!(count.rows[0].values[0], Value::int64(0));
}

/// The error in the last frame of a stream.
fn end_of(answer: &WebAnswer) -> Json {
    let (_, end) = answer.frames().pop().expect("it has an end");
    serde_json::from_slice::<Json>(&end).expect("it is JSON")["error"].clone()
}

#[tokio::test]
async fn the_health_of_a_service_that_there_is_not_has_its_reason() {
    let service = service().await;
    let check = WebRequest::json("/grpc.health.v1.Health/Check", &json!({"service": "nope"}));
    for version in BOTH {
        let answer = check.send(version, service.server.grpc()).await;
        assert_eq!(answer.status, 404, "{answer:?}");
        assert_eq!(answer.failure(), ("not_found".to_owned(), "SERVICE_NOT_FOUND".to_owned()));
        assert!(answer.text().contains("database.main"), "{answer:?}");
    }
}
