//! The operators' port: silent clients, and its token.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::http::get;
use crate::harness::server::{Server, run};
use crate::harness::wait::Stopwatch;

#[tokio::test]
async fn two_hundred_silent_clients_do_not_delay_livez() {
    let server = Server::start("");
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(server.ops()).await.expect("the system accepts"));
    }
    let start = Stopwatch::start();
    for path in ["/livez", "/status", "/metrics"] {
        assert_eq!(get(server.ops(), path).await.status, 200, "{path}");
    }
    let mut nothing = [0];
    let closed = silent[0].read(&mut nothing).await;
    assert!(closed.is_err() || closed.is_ok_and(|bytes| bytes == 0), "the oldest made room");
    start.assert_within(Duration::from_secs(1), "the answers");
}

/// The status line of the answer to a request with this header.
async fn status(server: &Server, path: &str, header: &str) -> String {
    let mut stream = TcpStream::connect(server.ops()).await.expect("it accepts");
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{header}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it is open");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it is UTF-8");
    answer.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn everything_but_probes_needs_the_token_where_there_is_one() {
    let token = "correct-horse-battery";
    let file = tempfile::NamedTempFile::new().expect("a file can be made");
    std::fs::write(file.path(), format!("{token}\n")).expect("it is ours");
    let path = file.path().display().to_string();
    let server = Server::start_with("", &[("ROWGATE__OPS__TOKEN_FILE", &path)]);
    let right = format!("Authorization: Bearer {token}\r\n");
    let wrong = "Authorization: Bearer correct-horse-battery-staple\r\n";
    for path in ["/", "/status", "/history", "/metrics", "/other"] {
        for refused in ["", wrong] {
            let status = status(&server, path, refused).await;
            assert_eq!(status, "HTTP/1.1 401 Unauthorized", "{path} {refused}");
        }
        let status = status(&server, path, &right).await;
        assert!(!status.contains("401"), "{path}: {status}");
    }
    assert_eq!(status(&server, "/status", &right).await, "HTTP/1.1 200 OK");
    assert_eq!(status(&server, "/livez", "").await, "HTTP/1.1 200 OK");
    assert!(!status(&server, "/readyz", "").await.contains("401"));
    let shown = run(server.directory(), &["config", "show"], &[("ROWGATE__OPS__TOKEN", token)]);
    let text = String::from_utf8_lossy(&shown.stdout);
    assert!(text.contains("ops.token = \"******\"") && !text.contains(token), "{text}");
    let short =
        run(server.directory(), &["config", "check"], &[("ROWGATE__OPS__TOKEN", "hunter2")]);
    let text = String::from_utf8_lossy(&short.stderr);
    assert!(text.contains("too short for a secret") && !text.contains("hunter2"), "{text}");
}
