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
