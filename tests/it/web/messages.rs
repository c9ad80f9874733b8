//! Unary calls: JSON and Protocol Buffers, and what is no message.

use prost::Message as _;
use rowgate::value::Value;
use rowgate::value::proto::{QueryRequest, QueryResponse};
use serde_json::{Value as Json, json};

use crate::harness::client::request;
use crate::harness::web::{BOTH, HttpVersion, QUERY, WebRequest};
use crate::harness::{Backend, Service};

/// The body of the issue's example.
const EXAMPLE: &str = r#"{"sql":"select 40 + $1 as answer","parameters":[{"int64Value":"2"}]}"#;

#[tokio::test]
async fn a_query_is_answered_in_json_and_in_protocol_buffers() {
    let service = Service::start(Backend::Sqlite).await;
    let address = service.server.grpc();
    for version in BOTH {
        let answer = WebRequest::post(QUERY, "application/json", EXAMPLE);
        let answer = answer.send(version, address).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.header("content-length"), answer.body.len().to_string());
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert!(!answer.headers.contains_key("grpc-status"), "{answer:?}");
        let expected = json!({
            "result": {
                "hasColumns": true,
                "columns": [{"name": "answer", "type": "DATA_TYPE_INT64"}],
                "rows": [{"values": [{"int64Value": "42"}]}],
                "command": "SELECT",
            },
            "attempts": 1,
        });
        assert_eq!(answer.json(), expected, "{version:?}");

        let message = request("select 40 + $1 as answer", &[Value::int64(2)]).encode_to_vec();
        let answer = WebRequest::post(QUERY, "application/proto", message);
        let answer = answer.send(version, address).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, "application/proto"));
        let response = QueryResponse::decode(answer.body).expect("it is one");
        let rows = response.result.expect("there is one").rows;
        assert_eq!(rows[0].values, [Value::int64(42)], "{version:?}");
    }
}

#[tokio::test]
async fn numbers_in_json_are_exactly_those_that_were_written() {
    let service = Service::start(Backend::Sqlite).await;
    let ends = [f64::MAX, f64::MIN_POSITIVE, 5e-324, f64::from(f32::MAX), 0.1 + 0.2];
    let any = (0..2000).map(|seed| f64::from_bits(fastrand::Rng::with_seed(seed).u64(..)));
    let numbers: Vec<f64> = ends.into_iter().chain(any.filter(|any| any.is_finite())).collect();
    for numbers in numbers.chunks(100) {
        let kinds = numbers.iter().map(|number| format!("{{\"float64Value\":{number:e}}}"));
        let places: Vec<_> = (1..=numbers.len()).map(|place| format!("${place}")).collect();
        let parameters = kinds.collect::<Vec<_>>().join(",");
        let body =
            format!("{{\"sql\":\"select {}\",\"parameters\":[{parameters}]}}", places.join(","));
        let answer = WebRequest::post(QUERY, "application/json", body);
        let answer = answer.send(HttpVersion::Http1, service.server.grpc()).await;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        // By the standard library, which reads exactly.
        let read = text.split("\"float64Value\":").skip(1).map(|rest| {
            let end = rest.find('}').expect("a value ends");
            rest[..end].parse::<f64>().expect("it is a number").to_bits()
        });
        let sent: Vec<_> = numbers.iter().map(|number| number.to_bits()).collect();
        assert_eq!(read.collect::<Vec<_>>(), sent, "{text}");
    }
}

#[tokio::test]
async fn json_takes_both_kinds_of_names_and_all_kinds_of_values() {
    let service = Service::start(Backend::Sqlite).await;
    for (message, expected) in [
        (json!({"sql": "select 1"}), json!({"int64Value": "1"})),
        (
            json!({"sql": "select $1", "parameters": [{"int64_value": 7}]}),
            json!({"int64Value": "7"}),
        ),
        (
            json!({"sql": "select $1", "parameters": [{"nullValue": null}]}),
            json!({"nullValue": null}),
        ),
        (
            json!({"sql": "select $1", "parameters": [{"null_value": "NULL_VALUE"}]}),
            json!({"nullValue": null}),
        ),
        (
            json!({"sql": "select $1", "parameters": [{"float64Value": 1.5}]}),
            json!({"float64Value": 1.5}),
        ),
        (
            json!({"sql": "select 1e999", "options": {"accessMode": "ACCESS_MODE_READ_ONLY"}}),
            json!({"float64Value": "Infinity"}),
        ),
        (
            json!({"sql": "select $1", "parameters": [{"bytesValue": "AP8="}], "options": {"timeout": "5s"}}),
            json!({"bytesValue": "AP8="}),
        ),
        (
            json!({"sql": "select $1", "parameters": [{"textValue": "\u{2603} \"\\\n"}], "options": {"max_rows": "10"}}),
            json!({"textValue": "\u{2603} \"\\\n"}),
        ),
        (
            json!({"sql": "select 9223372036854775807", "database": null}),
            json!({"int64Value": "9223372036854775807"}),
        ),
    ] {
        let answer = WebRequest::json(QUERY, &message);
        let answer = answer.send(HttpVersion::Http1, service.server.grpc()).await;
        assert_eq!(answer.status, 200, "{message}: {answer:?}");
        assert_eq!(answer.json()["result"]["rows"][0]["values"][0], expected, "{message}");
    }
}

/// A statement with one parameter, as written.
fn with_number(sql: &str, kind: &str, number: &str) -> String {
    format!("{{\"sql\":\"{sql}\",\"parameters\":[{{\"{kind}\":{number}}}]}}")
}

#[tokio::test]
async fn what_is_no_message_is_refused_by_its_name_and_runs_nothing() {
    let service = Service::start(Backend::Sqlite).await;
    service.client.must("create table t (a int)", &[]).await;
    let address = service.server.grpc();
    let insert = "insert into t values (1)";
    for (body, told) in [
        (json!({"sql": insert, "sqll": 1}).to_string(), "sqll"),
        (json!({"sql": insert, "options": {"acces_mode": 1}}).to_string(), "acces_mode"),
        (json!({"sql": insert, "options": {"accessMode": "READ"}}).to_string(), "READ"),
        (json!({"sql": insert, "parameters": [{"int64Value": "1.5"}]}).to_string(), "line 1"),
        (json!({"sql": insert, "parameters": {}}).to_string(), "a list"),
        (format!("{{\"sql\":\"{insert}\"}} x"), "trailing"),
        (format!("{{\"sql\":\"{insert}\""), "EOF"),
        (format!("[\"{insert}\"]"), "QueryRequest"),
        ("[".repeat(100_000), "QueryRequest"),
        (String::new(), "EOF"),
        (format!("{{\"sql\":\"select 1\",\"sql\":\"{insert}\"}}"), "\"sql\" is there twice"),
        (
            format!("{{\"sql\":\"{insert}\",\"options\":{{\"max_rows\":1,\"maxRows\":\"2\"}}}}"),
            "\"maxRows\" is there twice",
        ),
        (with_number(insert, "int64Value", "9007199254740993.0"), "2^53"),
        (with_number(insert, "int64Value", "123456789012345678e1"), "2^53"),
        (with_number(insert, "int64Value", "-9223372036854775808.0"), "2^53"),
        (with_number(insert, "float64Value", "\"1e400\""), "out of range"),
        (with_number(insert, "float64Value", "1e400"), "out of range"),
    ] {
        let answer = WebRequest::post(QUERY, "application/json", body.clone());
        let answer = answer.send(HttpVersion::Http1, address).await;
        let message = answer.json()["message"].as_str().expect("it has one").to_owned();
        assert_eq!(answer.status, 400, "{message}");
        let failure = answer.failure();
        assert_eq!(failure, ("invalid_argument".into(), "MALFORMED_REQUEST".into()), "{message}");
        assert!(message.contains(told), "{message}");
    }
    let garbage = WebRequest::post(QUERY, "application/proto", vec![0xFF; 9]);
    assert_eq!(garbage.send(HttpVersion::Http2, address).await.failure().1, "MALFORMED_REQUEST");
    let count = service.client.must("select count(*) from t", &[]).await;
    assert_eq!(count.rows[0].values, [Value::int64(0)]);
}

#[tokio::test]
async fn large_requests_and_answers_are_bounded_as_grpcs_are() {
    let settings = "[grpc]\nmax_request_size = \"64KiB\"\nmax_response_size = \"512KiB\"";
    let service = Service::with(Backend::Sqlite, settings).await;
    let address = service.server.grpc();
    for version in BOTH {
        for (content_type, fill) in [("application/json", b' '), ("application/proto", 0)] {
            for size in [64 << 10, (64 << 10) + 1, 5 << 20] {
                let mut body = match fill {
                    0 => QueryRequest::default().encode_to_vec(),
                    _ => b"{\"sql\":\"select 1\"}".to_vec(),
                };
                body.resize(size, fill);
                let answer = WebRequest::post(QUERY, content_type, body);
                let answer = answer.send(version, address).await;
                let what = answer.failure_or_ok();
                let fits = size == 64 << 10;
                assert_eq!(what == "REQUEST_TOO_LARGE", !fits, "{content_type} {size}: {what}");
                assert_eq!(answer.status == 429, !fits, "{answer:?}");
            }
        }
        let large = json!({"sql": "select hex(zeroblob(300000))"});
        let answer = WebRequest::json(QUERY, &large).send(version, address).await;
        assert_eq!(answer.failure(), ("resource_exhausted".into(), "RESULT_TOO_LARGE".into()));
        let fitting = json!({"sql": "select hex(zeroblob(150000))"});
        let answer = WebRequest::json(QUERY, &fitting).send(version, address).await;
        let text = answer.json()["result"]["rows"][0]["values"][0]["textValue"].clone();
        assert_eq!(text.as_str().map(str::len), Some(300_000));
    }
}

#[tokio::test]
async fn compression_and_other_versions_are_refused() {
    let service = Service::start(Backend::Sqlite).await;
    let address = service.server.grpc();
    for (name, value, expected) in [
        ("content-encoding", "identity", (200, "ok")),
        ("content-encoding", "gzip", (501, "FEATURE_NOT_SUPPORTED")),
        ("accept-encoding", "gzip", (200, "ok")),
        ("connect-protocol-version", "1", (200, "ok")),
        ("connect-protocol-version", "2", (400, "INVALID_OPTION")),
        ("connect-timeout-ms", "5000", (200, "ok")),
        ("connect-timeout-ms", "soon", (400, "INVALID_OPTION")),
    ] {
        let sent = WebRequest::post(QUERY, "application/json", EXAMPLE).with(name, value);
        let answer = sent.send(HttpVersion::Http1, address).await;
        let what = answer.failure_or_ok();
        assert_eq!((answer.status, what.as_str()), expected, "{name}: {value}");
        assert!(!answer.headers.contains_key("content-encoding"), "{answer:?}");
    }
}

#[tokio::test]
async fn other_services_are_served_too() {
    let service = Service::start(Backend::Sqlite).await;
    let address = service.server.grpc();
    for version in BOTH {
        for (path, message, field) in [
            ("/rowgate.v1.ServerService/GetServerInfo", json!({}), "version"),
            ("/rowgate.v1.PoolService/ListPoolStats", json!({}), "pools"),
            ("/grpc.health.v1.Health/Check", json!({"service": "readiness"}), "status"),
            (
                "/rowgate.v1.DatabaseService/DescribeStatement",
                json!({"sql": "select 1"}),
                "columns",
            ),
            (
                "/rowgate.v1.DatabaseService/ExecuteBatch",
                json!({"statements": [{"sql": "select 1"}, {"sql": "select 2"}]}),
                "results",
            ),
        ] {
            let answer = WebRequest::json(path, &message).send(version, address).await;
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
            assert_ne!(answer.json()[field], Json::Null, "{path}: {answer:?}");
        }
    }
}
