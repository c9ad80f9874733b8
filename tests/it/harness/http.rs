//! A GET for the operators' endpoints: one request a connection.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The response.
#[derive(Debug)]
pub(crate) struct Response {
    /// The status code.
    pub(crate) status: u16,
    /// The status line and the headers.
    pub(crate) head: String,
    /// The body.
    pub(crate) body: String,
}

impl Response {
    /// The value of a header, once; its name is as the server writes it.
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut values =
            self.head.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let value = values.next().unwrap_or_else(|| panic!("no {name} in {}", self.head));
        assert_eq!(values.next(), None, "{name} stands there twice");
        value
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("the body is JSON")
    }
}

/// Asks for `path`.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Response {
    get_of(&address.to_string(), address, path).await
}

/// As [`get`], by another name of the host.
pub(crate) async fn get_of(host: &str, address: SocketAddr, path: &str) -> Response {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.expect("the server accepts");
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("the server reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("the server answers in UTF-8");
        answer
    };
    let answer = tokio::time::timeout(Duration::from_secs(10), exchange)
        .await
        .expect("the server answers within 10 s");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status line");
    Response { status, head: head.to_owned(), body: body.to_owned() }
}
