//! Answers to wrong requests: to a wrong path, a wrong port, a port without these protocols.

use serde_json::json;
use tonic::Code;

use crate::harness::client::{Client, request};
use crate::harness::server::Server;
use crate::harness::web::{BOTH, Http1, HttpVersion, QUERY, WebRequest};

#[tokio::test]
async fn a_path_that_is_none_is_told_what_this_port_is() {
    let server = Server::start("");
    let operators = format!("http://{}/", server.ops());
    for version in BOTH {
        for path in ["/", "/favicon.ico", "/metrics", "/rowgate.v1.DatabaseService"] {
            let answer = WebRequest::get(path).send(version, server.grpc()).await;
            assert_eq!(answer.status, 404, "{path}: {answer:?}");
            assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
            assert!(answer.text().contains("Rowgate's port for services"), "{answer:?}");
            assert!(answer.text().contains(&operators), "{answer:?}");
            assert_eq!(answer.text().matches('\n').count(), 1, "{answer:?}");
        }
        let answer = WebRequest::json("/rowgate.v1.DatabaseService/Nothing", &json!({}));
        let answer = answer.send(version, server.grpc()).await;
        assert_eq!((answer.status, answer.failure().0.as_str()), (404, "unimplemented"));
        let answer = WebRequest::get(QUERY).send(version, server.grpc()).await;
        assert_eq!((answer.status, answer.header("allow")), (405, "POST"));
    }
}

#[tokio::test]
async fn grpc_to_the_operators_port_is_told_where_the_services_are() {
    let server = Server::start("");
    let client = Client::connect(server.ops()).await;
    let status = client.raw().query(request("select 1", &[])).await.expect_err("it is no service");
    assert_eq!(status.code(), Code::Unimplemented);
    assert!(status.message().contains(&server.grpc().to_string()), "{status:?}");
    assert!(status.message().contains("port for operators"), "{status:?}");
}

#[tokio::test]
async fn without_these_protocols_the_port_speaks_grpc_alone() {
    let server = Server::start("[grpc.web]\nenabled = false");
    let client = Client::connect(server.grpc()).await;
    client.must("select 1", &[]).await;
    let message = WebRequest::json(QUERY, &json!({"sql": "select 1"}));
    let answer = message.send(HttpVersion::Http2, server.grpc()).await;
    assert_eq!(answer.status, 404, "{answer:?}");
    let mut connection = Http1::connect(server.grpc()).await;
    assert!(connection.exchange(&message).await.is_none(), "HTTP/1.1 is not spoken");
}

#[tokio::test]
async fn a_method_that_does_not_exist_is_not_found_whatever_else_is_wrong() {
    let server = Server::start("");
    let path = "/rowgate.v1.DatabaseService/Nothing";
    let request = || WebRequest::json(path, &json!({}));
    for version in BOTH {
        for wrong in [
            request().with("origin", "https://evil.example"),
            request().with("content-encoding", "gzip"),
            request().with("connect-timeout-ms", "soon"),
            request().with("connect-protocol-version", "2"),
        ] {
            let answer = wrong.send(version, server.grpc()).await;
            assert_eq!((answer.status, answer.failure().0.as_str()), (404, "unimplemented"));
        }
        let answer = WebRequest::post(path, "text/plain", "").send(version, server.grpc()).await;
        assert_eq!(answer.status, 404, "{answer:?}");
    }
}

#[tokio::test]
async fn the_operators_port_knows_its_name_over_http2_too() {
    let server = Server::start("[ops]\nallowed_hosts = [\"rowgate\"]");
    for version in BOTH {
        for (host, status) in
            [("127.0.0.1:9464", 200), ("localhost", 200), ("rowgate", 200), ("evil.example", 421)]
        {
            let request = WebRequest::get("/livez").with("host", host);
            let answer = request.send(version, server.ops()).await;
            assert_eq!(answer.status, status, "{host} {version:?}");
        }
    }
}
