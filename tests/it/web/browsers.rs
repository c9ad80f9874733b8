//! Browsers: which requests of pages run, and which do not. What a browser sends by itself, without a preflight, runs nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rowgate::value::Value;
use serde_json::json;

use crate::harness::client::request;
use crate::harness::web::{
    BOTH, HttpVersion, QUERY, STREAM_QUERY, WebRequest, failure, frame, framed,
};
use crate::harness::{Backend, Service};

const APP: &str = "https://app.example.com";

async fn service() -> Service {
    let settings = format!("[grpc.web]\nallowed_origins = [\"{APP}\", \"http://localhost:3000\"]");
    let service = Service::with(Backend::Sqlite, &settings).await;
    service.client.must("create table t (a int)", &[]).await;
    service
}

/// Asserts that nothing has written.
async fn assert_untouched(service: &Service) {
    let count = service.client.must("select count(*) from t", &[]).await;
    assert_eq!(count.rows[0].values, [Value::int64(0)]);
}

fn insert() -> WebRequest {
    WebRequest::json(QUERY, &json!({"sql": "insert into t values (1)"}))
}

fn preflight(origin: &str) -> WebRequest {
    let mut request = WebRequest::get(QUERY);
    request.method = "OPTIONS";
    let headers = "content-type,connect-protocol-version";
    request
        .with("origin", origin)
        .with("access-control-request-method", "POST")
        .with("access-control-request-headers", headers)
}

#[tokio::test]
async fn a_page_of_an_allowed_origin_is_answered() {
    let service = service().await;
    let address = service.server.grpc();
    for version in BOTH {
        let answer = preflight(APP).send(version, address).await;
        assert_eq!(answer.status, 204, "{answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), APP);
        assert!(answer.header("access-control-allow-methods").contains("POST"));
        for name in ["content-type", "authorization", "connect-protocol-version", "x-grpc-web"] {
            assert!(answer.header("access-control-allow-headers").contains(name), "{name}");
        }
        for sql in ["select 1", "select x"] {
            let page = WebRequest::json(QUERY, &json!({"sql": sql})).with("origin", APP);
            let answer = page.with("sec-fetch-site", "cross-site").send(version, address).await;
            assert_eq!(answer.status == 200, sql == "select 1", "{answer:?}");
            assert_eq!(answer.header("access-control-allow-origin"), APP, "errors too: {answer:?}");
            assert_eq!(answer.header("vary"), "origin");
            assert!(!answer.headers.contains_key("access-control-allow-credentials"));
        }
    }
}

#[tokio::test]
async fn a_page_of_another_origin_runs_nothing_and_reads_nothing() {
    let service = service().await;
    let address = service.server.grpc();
    let own = format!("http://{address}");
    for version in BOTH {
        for origin in [
            "null",
            "https://evil.example",
            "https://app.example.com.evil.example",
            "https://app.example.com:8443",
            "http://app.example.com",
            "HTTPS://APP.EXAMPLE.COM",
            // This server's own: a page may have its address (DNS rebinding).
            own.as_str(),
            "http://localhost:50051",
        ] {
            let answer = preflight(origin).send(version, address).await;
            assert_eq!(answer.status, 403, "{origin}: {answer:?}");
            assert!(!answer.headers.contains_key("access-control-allow-origin"), "{origin}");
            let answer = insert().with("origin", origin).send(version, address).await;
            let expected = ("permission_denied".to_owned(), "ORIGIN_NOT_ALLOWED".to_owned());
            assert_eq!((answer.status, answer.failure()), (403, expected), "{origin}");
            assert!(!answer.headers.contains_key("access-control-allow-origin"), "{origin}");
            let stream = frame(
                0,
                json!({"query": {"sql": "insert into t values (1)"}}).to_string().as_bytes(),
            );
            let stream = WebRequest::post(STREAM_QUERY, "application/connect+json", stream);
            let answer = stream.with("origin", origin).send(version, address).await;
            let end = serde_json::from_slice::<serde_json::Value>(&answer.frames()[0].1);
            assert_eq!(failure(&end.expect("it is JSON")["error"]).1, "ORIGIN_NOT_ALLOWED");
        }
        let twice = insert().with("origin", APP).with("origin", "https://evil.example");
        assert_eq!(twice.send(version, address).await.status, 403);
        // A browser has sent it, and does not say for whom.
        let hidden = insert().with("sec-fetch-site", "cross-site");
        assert_eq!(hidden.send(version, address).await.status, 403);
    }
    assert_untouched(&service).await;
    let log = service.server.log();
    assert!(log.contains("ORIGIN_NOT_ALLOWED"), "operators see it: {log}");
}

#[tokio::test]
async fn without_an_allowed_origin_no_page_is_answered() {
    let service = Service::start(Backend::Sqlite).await;
    let address = service.server.grpc();
    for version in BOTH {
        assert_eq!(preflight(APP).send(version, address).await.status, 403);
        let answer = insert().with("origin", APP).send(version, address).await;
        assert_eq!(answer.failure_or_ok(), "ORIGIN_NOT_ALLOWED");
    }
}

#[tokio::test]
async fn what_a_browser_sends_without_asking_runs_nothing() {
    let service = service().await;
    let address = service.server.grpc();
    let body = json!({"sql": "insert into t values (1)"}).to_string();
    let form = format!("{{\"sql\":\"insert into t values (1)\",\"database\":\"{}\"}}", "=");
    let post =
        |content_type: &str, body: &str| WebRequest::post(QUERY, content_type, body.to_owned());
    let mut untyped = post("text/plain", &body);
    untyped.headers.clear();
    for (what, request) in [
        ("a form of text, without an origin", post("text/plain", &form)),
        ("a form of text, of an allowed page", post("text/plain", &form).with("origin", APP)),
        ("a form", post("application/x-www-form-urlencoded", &body)),
        ("a form with files", post("multipart/form-data; boundary=x", &body)),
        ("a beacon of text", post("text/plain;charset=UTF-8", &body).with("origin", APP)),
        ("a beacon of a blob without a type", untyped),
        ("an audited link", post("text/ping", "PING").with("ping-to", "https://evil.example")),
        ("a report of a policy", post("application/csp-report", &body)),
        ("reports", post("application/reports+json", &body)),
        ("a navigation", WebRequest::get(QUERY).with("sec-fetch-mode", "navigate")),
        ("a source of events", WebRequest::get(QUERY).with("accept", "text/event-stream")),
        ("a prefetch", WebRequest::get(QUERY).with("sec-purpose", "prefetch")),
        (
            "a beacon of JSON, of another page",
            post("application/json", &body).with("origin", "https://evil.example"),
        ),
        (
            "a redirect of an allowed page's request",
            post("application/json", &body).with("origin", "null"),
        ),
    ] {
        for version in BOTH {
            let answer = request.send(version, address).await;
            assert!([403, 405, 415].contains(&answer.status), "{what}: {answer:?}");
            assert!(!answer.headers.contains_key("access-control-allow-credentials"), "{what}");
        }
    }
    for name in ["PUT", "DELETE", "PATCH", "OPTIONS"] {
        let mut request = insert();
        request.method = name;
        for version in BOTH {
            assert_eq!(request.send(version, address).await.status, 405, "{name}");
        }
    }
    let socket = WebRequest::get(QUERY)
        .with("connection", "Upgrade")
        .with("upgrade", "websocket")
        .with("sec-websocket-version", "13")
        .with("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .with("origin", "https://evil.example");
    assert_eq!(socket.send(HttpVersion::Http1, address).await.status, 405);
    let upgrade = insert().with("connection", "Upgrade, HTTP2-Settings").with("upgrade", "h2c");
    let upgrade = upgrade.with("http2-settings", "AAMAAABkAAQAAP__").with("origin", "null");
    assert_eq!(upgrade.send(HttpVersion::Http1, address).await.status, 403);
    assert_untouched(&service).await;
}

#[tokio::test]
async fn calls_of_grpc_are_asked_for_their_origin_as_all_others_are() {
    let service = service().await;
    let address = service.server.grpc();
    let own = format!("http://{address}");
    let insert = framed(&request("insert into t values (1)", &[]));
    for content_type in ["application/grpc", "application/grpc+proto"] {
        let call = WebRequest::post(QUERY, content_type, insert.clone()).with("te", "trailers");
        for refused in [
            call.clone().with("origin", "https://evil.example"),
            // A page at a name of its own for this address.
            call.clone().with("origin", own.as_str()).with("sec-fetch-site", "same-origin"),
            call.clone().with("origin", "null"),
            call.clone().with("origin", APP).with("origin", "https://evil.example"),
            call.clone().with("sec-fetch-site", "same-origin"),
        ] {
            let answer = refused.send(HttpVersion::Http2, address).await;
            assert_eq!(answer.header("grpc-status"), "7", "{answer:?}");
            let details = answer.header("grpc-status-details-bin").trim_end_matches('=');
            let details = STANDARD_NO_PAD.decode(details).expect("it is base64");
            let details = String::from_utf8_lossy(&details);
            assert!(details.contains("ORIGIN_NOT_ALLOWED"), "{details}");
        }
    }
    assert_untouched(&service).await;
    let call = WebRequest::post(QUERY, "application/grpc", insert).with("te", "trailers");
    let allowed = call.with("origin", APP).with("sec-fetch-site", "cross-site");
    let answer = allowed.send(HttpVersion::Http2, address).await;
    assert!(!answer.headers.contains_key("grpc-status"), "{answer:?}");
    let count = service.client.must("select count(*) from t", &[]).await;
    assert_eq!(count.rows[0].values, [Value::int64(1)]);
}
