//! Connections of HTTP/1.1: kept alive, slow, silent, dropped, drained, encrypted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::harness::certificates::Certificates;
use crate::harness::client::Client;
use crate::harness::server::Server;
use crate::harness::wait::idle_for;
use crate::harness::web::{BOTH, Http1, HttpVersion, QUERY, STREAM_QUERY, WebRequest, frame};
use crate::harness::{Backend, Service};

/// The time for what is to happen at once.
const SOON: Duration = Duration::from_secs(20);

/// A statement that does not end by itself.
const ENDLESS: &str =
    "with recursive c(n) as (select 1 union all select n + 1 from c) select max(n) from c";

/// Large rows without end.
const ENDLESS_ROWS: &str = "with recursive c(n) as (select 1 union all select n + 1 from c) \
    select hex(zeroblob(50000)) from c";

fn query(sql: &str) -> WebRequest {
    WebRequest::json(QUERY, &json!({"sql": sql}))
}

fn stream(sql: &str) -> WebRequest {
    let message = json!({"query": {"sql": sql}}).to_string();
    WebRequest::post(STREAM_QUERY, "application/connect+json", frame(0, message.as_bytes()))
}

/// Returns what is sent until the server closes the connection.
async fn closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    let read = tokio::time::timeout(SOON, stream.read_to_end(&mut said)).await;
    drop(read.expect("the server closes it"));
    said
}

#[tokio::test]
async fn a_connection_serves_many_requests_also_such_as_come_together() {
    let service = Service::start(Backend::Sqlite).await;
    let mut connection = Http1::connect(service.server.grpc()).await;
    for number in 0..20 {
        let answer = connection.exchange(&query(&format!("select {number}"))).await;
        let answer = answer.expect("it stays open");
        let value = answer.json()["result"]["rows"][0]["values"][0]["int64Value"].clone();
        assert_eq!(value, number.to_string());
    }
    let together =
        [query("select 1").encoded(), query("select x").encoded(), query("select 3").encoded()];
    connection.stream.write_all(&together.concat()).await.expect("it is open");
    for expected in [200, 400, 200] {
        assert_eq!(connection.answer().await.expect("it stays open").status, expected);
    }
    let last = query("select 1").with("connection", "close");
    assert_eq!(connection.exchange(&last).await.expect("it is answered").status, 200);
    assert!(closed(&mut connection.stream).await.is_empty());
}

#[tokio::test]
async fn a_body_may_be_chunked_and_announced() {
    let service = Service::start(Backend::Sqlite).await;
    let mut connection = Http1::connect(service.server.grpc()).await;
    let head = format!(
        "POST {QUERY} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\
         expect: 100-continue\r\n\r\n"
    );
    connection.stream.write_all(head.as_bytes()).await.expect("it is open");
    let (status, _) = connection.head().await.expect("it is open");
    assert_eq!(status, 100, "it wants the body");
    let body = b"9\r\n{\"sql\":\"s\r\n9\r\nelect 1\"}\r\n0\r\n\r\n";
    connection.stream.write_all(body).await.expect("it is open");
    assert_eq!(connection.answer().await.expect("it is answered").status, 200);
}

#[tokio::test]
async fn a_slow_or_silent_client_loses_its_connection() {
    let settings = "[grpc]\npreface_timeout = \"500ms\"\n[grpc.web]\nheader_timeout = \"500ms\"\n\
        [databases.main]\ndefault_deadline = \"1s\"\nmax_deadline = \"1s\"";
    let server = Server::start(settings);
    let before = Instant::now();
    let mut idle = Http1::connect(server.grpc()).await;
    assert_eq!(idle.exchange(&query("select 1")).await.expect("it is answered").status, 200);
    assert!(closed(&mut idle.stream).await.is_empty(), "an idle connection is closed");
    for part in ["P", "POST /rowgate", "POST / HTTP/1.1\r\nhost: x\r\nx: "] {
        let mut slow = TcpStream::connect(server.grpc()).await.expect("it accepts");
        slow.write_all(part.as_bytes()).await.expect("it is open");
        closed(&mut slow).await;
    }
    // One that drips its body: its deadline passes.
    let whole = query("select 1").encoded();
    let mut dripping = Http1::connect(server.grpc()).await;
    dripping.stream.write_all(&whole[..whole.len() - 3]).await.expect("it is open");
    let answer = tokio::time::timeout(SOON, dripping.answer()).await.expect("it is in time");
    let answer = answer.expect("it is answered");
    assert_eq!((answer.status, answer.failure().1.as_str()), (504, "DEADLINE"));
    assert!(before.elapsed() < SOON, "{:?}", before.elapsed());
}

#[tokio::test]
async fn a_large_request_that_is_refused_by_its_head_is_answered() {
    let service = Service::start(Backend::Sqlite).await;
    let address = service.server.grpc();
    let large = vec![b' '; 3 << 20];
    for (request, status) in [
        (WebRequest::post(QUERY, "text/plain", large.clone()), 415),
        (WebRequest::post(QUERY, "application/json", large.clone()).with("origin", "null"), 403),
        (WebRequest::post("/none", "application/json", large.clone()), 404),
        (WebRequest::post("/rowgate.v1.DatabaseService/CopyIn", "application/json", large), 501),
    ] {
        for version in BOTH {
            assert_eq!(request.send(version, address).await.status, status, "{version:?}");
        }
    }
}

#[tokio::test]
async fn large_heads_are_refused() {
    let server = Server::start("[grpc]\nmax_header_size = \"2KiB\"");
    let long = query("select 1").with("x-long", "x".repeat(4096));
    assert_eq!(long.send(HttpVersion::Http1, server.grpc()).await.status, 431);
    let mut many = query("select 1");
    many.headers.extend((0..200).map(|_| ("x", "y".to_owned())));
    assert_eq!(many.send(HttpVersion::Http1, server.grpc()).await.status, 431);
    assert_eq!(query("select 1").send(HttpVersion::Http1, server.grpc()).await.status, 200);
}

#[tokio::test]
async fn what_is_no_http_is_closed() {
    let server = Server::start("");
    for bytes in [&b"\x16\x03\x01\x02\x00"[..], b"\0\0\0\0", b"\r\n\r\n", b"get / HTTP/1.1\r\n\r\n"]
    {
        let mut stream = TcpStream::connect(server.grpc()).await.expect("it accepts");
        stream.write_all(bytes).await.expect("it is open");
        assert!(closed(&mut stream).await.is_empty(), "{bytes:?}");
    }
    let mut almost = Http1::connect(server.grpc()).await;
    almost.stream.write_all(b"PRI * HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("it is open");
    assert_eq!(almost.answer().await.expect("it is a request").status, 404);
}

#[tokio::test]
async fn a_closed_connection_cancels_its_statement() {
    let service = Service::start(Backend::Sqlite).await;
    let address = service.server.grpc();
    for request in [query(ENDLESS), stream(ENDLESS)] {
        let mut connection = Http1::connect(address).await;
        connection.stream.write_all(&request.encoded()).await.expect("it is open");
        service.until_pool("it runs", |pool| pool.in_use == 1).await;
        drop(connection);
        service.until_pool("it has left the database", |pool| pool.in_use == 0).await;
    }
    // A stream in the middle of its rows.
    let mut connection = Http1::connect(address).await;
    connection.stream.write_all(&stream(ENDLESS_ROWS).encoded()).await.expect("it is open");
    assert_eq!(connection.head().await.expect("it begins").0, 200);
    connection.chunk().await.expect("a part");
    service.until_pool("it runs", |pool| pool.in_use == 1).await;
    drop(connection);
    service.until_pool("it has left the database", |pool| pool.in_use == 0).await;
}

#[tokio::test]
async fn a_reader_that_takes_nothing_holds_nothing() {
    let service = Service::with(Backend::Sqlite, "[stream]\nstall_timeout = \"500ms\"").await;
    let mut connection = Http1::connect(service.server.grpc()).await;
    connection.stream.write_all(&stream(ENDLESS_ROWS).encoded()).await.expect("it is open");
    service.until_pool("it runs", |pool| pool.in_use == 1).await;
    let before = service.server.resident();
    service.until_pool("it has left the database", |pool| pool.in_use == 0).await;
    assert!(service.server.resident() < before + (64 << 20));
    // The rest is what was under way; then the connection ends without the end of the body.
    let read = async {
        connection.head().await.expect("it began");
        while let Some(chunk) = connection.chunk().await {
            assert!(!chunk.is_empty(), "a stream that was given up does not end as a whole one");
        }
    };
    tokio::time::timeout(SOON, read).await.expect("the server closes it");
}

#[tokio::test]
async fn calls_on_their_way_are_answered_at_a_shutdown_and_idle_connections_closed() {
    let slow = "with recursive c(n) as (select 1 union all select n + 1 from c where n < 3000000) \
        select max(n) from c";
    let mut service = Service::start(Backend::Sqlite).await;
    let address = service.server.grpc();
    let mut idle = Http1::connect(address).await;
    assert_eq!(idle.exchange(&query("select 1")).await.expect("it is answered").status, 200);
    let mut busy = Http1::connect(address).await;
    busy.stream.write_all(&query(slow).encoded()).await.expect("it is open");
    service.until_pool("it runs", |pool| pool.in_use == 1).await;
    service.server.signal("TERM");
    assert!(closed(&mut idle.stream).await.is_empty());
    let answer = busy.answer().await.expect("it is answered");
    assert_eq!((answer.status, answer.header("connection")), (200, "close"));
    drop((busy, idle));
    let service = &mut service;
    assert!(service.server.exit(SOON).await.success());
}

#[tokio::test]
async fn an_old_connection_says_that_its_answer_is_the_last() {
    let server = Server::start("[grpc]\nmax_connection_age = \"1s\"");
    let mut connection = Http1::connect(server.grpc()).await;
    assert_eq!(connection.exchange(&query("select 1")).await.expect("open").status, 200);
    idle_for(Duration::from_millis(1500)).await;
    assert!(closed(&mut connection.stream).await.is_empty());
}

#[tokio::test]
async fn both_versions_are_served_over_tls() {
    let certificates = Certificates::make();
    let settings = format!(
        "[grpc.tls]\ncert = '{}'\nkey = '{}'\n",
        certificates.path("server.crt"),
        certificates.path("server.key"),
    );
    let server = Server::start(&settings);
    for (protocols, is_served) in [
        (vec![b"http/1.1".to_vec()], true),
        (vec![b"h2".to_vec(), b"http/1.1".to_vec()], false),
        (Vec::new(), true),
    ] {
        let mut config = certificates.client(None);
        config.alpn_protocols.clone_from(&protocols);
        let connector = TlsConnector::from(Arc::new(config));
        let plain = TcpStream::connect(server.grpc()).await.expect("it accepts");
        let name = ServerName::try_from("localhost").expect("it is a name");
        let encrypted = connector.connect(name, plain).await.expect("it is trusted");
        let agreed = encrypted.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        assert_eq!(agreed, protocols.first().cloned(), "HTTP/2 is preferred");
        let mut connection = Http1::on(encrypted);
        let exchange = tokio::time::timeout(SOON, connection.exchange(&query("select 1"))).await;
        let answer = exchange.expect("in time");
        assert_eq!(answer.is_some_and(|answer| answer.status == 200), is_served, "{protocols:?}");
    }
}

#[tokio::test]
async fn http2_without_grpc_shares_a_connection_with_grpc() {
    let service = Service::start(Backend::Sqlite).await;
    for version in BOTH {
        let answer = query("select 1").send(version, service.server.grpc()).await;
        assert_eq!(answer.status, 200);
    }
    service.client.must("select 1", &[]).await;
}

#[tokio::test]
async fn a_closed_connection_cancels_its_statement_behind_further_bytes_too() {
    let service = Service::start(Backend::Sqlite).await;
    for request in [query(ENDLESS), stream(ENDLESS)] {
        let mut connection = Http1::connect(service.server.grpc()).await;
        let request = request.with("connect-timeout-ms", "300000");
        connection.stream.write_all(&request.encoded()).await.expect("it is open");
        service.until_pool("it runs", |pool| pool.in_use == 1).await;
        // What the server reads ahead, and what it leaves unread.
        for _ in 0..3 {
            connection.stream.write_all(&query("select 1").encoded()).await.expect("it is open");
            idle_for(Duration::from_millis(50)).await;
        }
        drop(connection);
        let left = service.until_pool("it has left the database", |pool| pool.in_use == 0);
        tokio::time::timeout(SOON, left).await.expect("long before its deadline");
    }
}

#[tokio::test]
async fn a_head_that_does_not_end_does_not_delay_a_shutdown() {
    let settings = "[shutdown]\ngrace = \"2m\"\n[grpc.web]\nheader_timeout = \"5m\"";
    let mut server = Server::start(settings);
    let mut stalled = Vec::new();
    for begins_with in ["", "select 1"] {
        let mut connection = Http1::connect(server.grpc()).await;
        if !begins_with.is_empty() {
            let answer = connection.exchange(&query(begins_with)).await;
            assert_eq!(answer.expect("it is answered").status, 200);
        }
        connection.stream.write_all(b"POST / HTTP/1.1\r\nhost: x\r\nx: ").await.expect("open");
        stalled.push(connection);
    }
    // Whatever comes first, the server has it.
    let answer = query("select 1").send(HttpVersion::Http1, server.grpc()).await;
    assert_eq!(answer.status, 200);
    server.signal("TERM");
    assert!(server.exit(SOON).await.success());
    for mut connection in stalled {
        assert!(closed(&mut connection.stream).await.is_empty());
    }
}

#[tokio::test]
async fn a_client_of_http1_that_is_one_too_many_is_told_so() {
    let server = Server::start("[grpc]\nmax_connections = 1");
    let client = Client::connect(server.grpc()).await;
    client.must("select 1", &[]).await;
    for _ in 0..3 {
        let mut second = Http1::connect(server.grpc()).await;
        let request = WebRequest::get(QUERY);
        let answer = second.exchange(&request).await.expect("it is answered");
        assert_eq!((answer.status, answer.header("connection")), (503, "close"));
        assert_eq!(answer.header("retry-after"), "1");
        assert!(answer.text().contains("grpc.max_connections"), "{answer:?}");
        let mut more = Vec::new();
        second.stream.read_to_end(&mut more).await.expect("it is closed");
        assert!(more.is_empty());
    }
    client.must("select 1", &[]).await;
}
