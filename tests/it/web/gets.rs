//! Calls by GET: off unless configured, reads alone, and none that a page can have sent by itself.

use serde_json::json;

use crate::harness::server::Server;
use crate::harness::web::{BOTH, HttpVersion, QUERY, WebRequest};

const ON: &str = "[grpc.web]\nget = true\nallowed_hosts = [\"rowgate\"]\nallowed_origins = [\"https://app.example.com\"]";

/// A query by GET, of a program.
fn get(path: &str, message: &serde_json::Value) -> WebRequest {
    unproven(path, message).with("connect-protocol-version", "1")
}

/// The same, as a page can make a browser send it.
fn unproven(path: &str, message: &serde_json::Value) -> WebRequest {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

    let text = message.to_string();
    let message = utf8_percent_encode(&text, NON_ALPHANUMERIC);
    WebRequest::get(format!("{path}?connect=v1&encoding=json&message={message}"))
}

#[tokio::test]
async fn a_get_is_off_by_default() {
    let server = Server::start("");
    for version in BOTH {
        let answer = get(QUERY, &json!({"sql": "select 1"})).send(version, server.grpc()).await;
        assert_eq!((answer.status, answer.header("allow")), (405, "POST"), "{answer:?}");
        assert!(answer.text().contains("grpc.web.get"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_query_by_get_only_reads() {
    let server = Server::start(ON);
    let address = server.grpc();
    let create = json!({"sql": "create table t (a int)"});
    let created = WebRequest::json(QUERY, &create).send(HttpVersion::Http1, address).await;
    assert_eq!(created.status, 200, "{created:?}");
    for version in BOTH {
        let answer =
            get(QUERY, &json!({"sql": "select 40 + $1 as n", "parameters": [{"int64Value": 2}]}));
        let answer = answer.send(version, address).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json()["result"]["rows"][0]["values"][0]["int64Value"], "42");
        assert_eq!(answer.header("cache-control"), "no-store");

        let write = get(QUERY, &json!({"sql": "insert into t values (1)"}));
        assert_eq!(write.send(version, address).await.failure_or_ok(), "READ_ONLY");
        let asked = json!({
            "sql": "insert into t values (1)",
            "options": {"accessMode": "ACCESS_MODE_READ_WRITE"},
        });
        let answer = get(QUERY, &asked).send(version, address).await;
        assert_eq!(answer.failure_or_ok(), "INVALID_OPTION");
    }
    let info = get("/rowgate.v1.ServerService/GetServerInfo", &json!({}));
    assert_eq!(info.send(HttpVersion::Http2, address).await.status, 200);
    for path in [
        "/rowgate.v1.DatabaseService/ExecuteBatch",
        "/rowgate.v1.DatabaseService/StreamQuery",
        "/rowgate.v1.PoolService/PausePool",
    ] {
        let answer = get(path, &json!({})).send(HttpVersion::Http1, address).await;
        assert_eq!(answer.status, 405, "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn a_get_that_a_page_may_have_sent_is_refused() {
    let server = Server::start(ON);
    let address = server.grpc();
    let message = json!({"sql": "select 1"});
    for version in BOTH {
        for (what, request, expected) in [
            ("a program", get(QUERY, &message), "ok"),
            ("a token", unproven(QUERY, &message).with("authorization", "Bearer x"), "ok"),
            ("an image, a script, a link", unproven(QUERY, &message), "GET_NOT_ALLOWED"),
            (
                "a password in a URL",
                unproven(QUERY, &message).with("authorization", "Basic eDp4"),
                "GET_NOT_ALLOWED",
            ),
            (
                "a source of events",
                unproven(QUERY, &message).with("accept", "text/event-stream"),
                "GET_NOT_ALLOWED",
            ),
            (
                "a page at another name of this address",
                get(QUERY, &message).with("host", "evil.example:50051"),
                "GET_NOT_ALLOWED",
            ),
            ("an allowed name", get(QUERY, &message).with("host", "rowgate:50051"), "ok"),
            (
                "a page of this address",
                get(QUERY, &message).with("sec-fetch-site", "same-origin"),
                "ORIGIN_NOT_ALLOWED",
            ),
            (
                "another page",
                get(QUERY, &message).with("origin", "https://evil.example"),
                "ORIGIN_NOT_ALLOWED",
            ),
            (
                "an allowed page",
                get(QUERY, &message)
                    .with("origin", "https://app.example.com")
                    .with("host", "db.example.com"),
                "ok",
            ),
        ] {
            let answer = request.send(version, address).await;
            assert_eq!(answer.failure_or_ok(), expected, "{what}, {version:?}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_get_has_no_body_and_each_parameter_once() {
    let server = Server::start(ON);
    let address = server.grpc();
    for version in BOTH {
        let mut announced = get(QUERY, &json!({"sql": "select 1"}));
        announced.body = "{}".into();
        let answer = announced.send(version, address).await;
        assert_eq!((answer.status, answer.failure_or_ok().as_str()), (400, "MALFORMED_REQUEST"));
        assert!(answer.text().contains("a GET has no body"), "{answer:?}");
        for name in ["message=%7B%7D", "encoding=json", "connect=v1", "base64=0", "base64=1"] {
            let mut twice = get(QUERY, &json!({"sql": "select 1"}));
            twice.path.push_str("&base64=0&");
            twice.path.push_str(name);
            let answer = twice.send(version, address).await;
            assert_eq!(answer.failure_or_ok(), "MALFORMED_REQUEST", "{name}");
            assert!(answer.text().contains("more than once"), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn another_method_is_told_what_is_allowed() {
    let batch = "/rowgate.v1.DatabaseService/ExecuteBatch";
    for (settings, path, allowed) in
        [(ON, QUERY, "GET, POST"), (ON, batch, "POST"), ("", QUERY, "POST")]
    {
        let server = Server::start(settings);
        for method in ["PUT", "HEAD", "DELETE"] {
            let request = WebRequest { method, ..WebRequest::json(path, &json!({})) };
            let answer = request.send(HttpVersion::Http2, server.grpc()).await;
            assert_eq!((answer.status, answer.header("allow")), (405, allowed), "{method} {path}");
        }
    }
}
