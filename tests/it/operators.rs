//! The operators' port: silent clients, and its token.

use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use crate::harness::http::get;
use crate::harness::server::Server;

#[tokio::test]
async fn two_hundred_silent_clients_do_not_delay_livez() {
    let server = Server::start("");
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(server.ops()).await.expect("the system accepts"));
    }
    let start = Instant::now();
    for path in ["/livez", "/status", "/metrics"] {
        assert_eq!(get(server.ops(), path).await.status, 200, "{path}");
    }
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}
