//! The memory of a server: bounded by size where a database sends much, or callers send many texts.

use std::time::Duration;

use rowgate::value::proto::QueryOptions;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tonic::Code;

use crate::harness::client::{Client, request_with};
use crate::harness::postgres::Postgres;
use crate::harness::server::Server;
use crate::harness::wait::Stopwatch;
use crate::harness::{Backend, Service};

const MIB: u64 = 1 << 20;

/// Raises an error, or a notice, of three texts of 30 MB.
fn raise(level: &str) -> String {
    format!(
        "do $$begin raise {level} '%', repeat('x', 30000000) using detail = repeat('y', 30000000), \
         hint = repeat('z', 30000000), errcode = '23505'; end$$"
    )
}

#[tokio::test]
async fn a_huge_error_is_told_and_takes_no_memory() {
    let service = Service::with(Backend::Postgres, "pool.min = 1\npool.max = 1\n").await;
    service.client.must("select 1", &[]).await;
    let before = service.server.resident();
    for _ in 0..3 {
        let failure = service.client.query(&raise("exception"), &[]).await.expect_err("it raises");
        assert_eq!(failure.what(), (Code::AlreadyExists, "UNIQUE_VIOLATION"), "{failure:?}");
        assert_eq!(failure.outcome, "NOT_APPLIED");
        assert!(failure.message.len() <= 1024 && failure.message.starts_with("xxx"), "{failure:?}");
        service.client.must(&raise("notice"), &[]).await;
    }
    let grown = service.server.resident().saturating_sub(before);
    println!("grown by {} KiB", grown / 1024);
    assert!(grown < 24 * MIB, "grown by {} MiB", grown / MIB);
}

#[tokio::test]
async fn wide_statements_are_kept_prepared_within_a_bound() {
    let postgres = Postgres::start();
    let columns: Vec<_> =
        (0..1500).map(|n| format!("a_rather_long_name_of_column_{n} int")).collect();
    postgres.psql(&format!("create table wide ({})", columns.join(", ")));
    let service = Service::on(postgres, "pool.min = 1\npool.max = 1\n").await;
    service.client.must("select * from wide", &[]).await;
    let before = service.server.resident();
    for number in 0..200 {
        service.client.must(&format!("select * from wide where {number} = {number}"), &[]).await;
    }
    let grown = service.server.resident().saturating_sub(before);
    println!("grown by {} KiB", grown / 1024);
    assert!(grown < 32 * MIB, "grown by {} MiB", grown / MIB);
    let names = "select count(*) from pg_prepared_statements";
    let kept = service.client.must(names, &[]).await;
    println!("{:?}", kept.rows);
}

#[tokio::test]
async fn what_is_known_of_texts_and_their_functions_is_bounded() {
    let settings = "pool.min = 1\npool.max = 1\nanalysis_cache = \"1MiB\"\n";
    let service = Service::with(Backend::Postgres, settings).await;
    let text = |number: usize| {
        let calls: Vec<_> = (0..1100).map(|call| format!("f{number}_{call}()")).collect();
        format!("select {}", calls.join(","))
    };
    service.client.query(&text(0), &[]).await.expect_err("there is no such function");
    let before = service.server.resident();
    for number in 1..500 {
        service.client.query(&text(number), &[]).await.expect_err("there is no such function");
    }
    let grown = service.server.resident().saturating_sub(before);
    println!("grown by {} KiB", grown / 1024);
    assert!(grown < 16 * MIB, "grown by {} MiB", grown / MIB);
}

/// The size of an error of [`send_error`].
const ERROR: usize = 300_000_000;

/// Sends an error of 300 MB, or less of it if the client closes.
async fn send_error(to: &mut OwnedWriteHalf) -> std::io::Result<()> {
    let begin = b"SFATAL\0C53300\0M";
    let mut head = vec![b'E'];
    head.extend(u32::try_from(ERROR + begin.len() + 6).expect("it fits").to_be_bytes());
    head.extend(begin);
    to.write_all(&head).await?;
    let text = vec![b'x'; 100_000];
    for _ in 0..ERROR / text.len() {
        to.write_all(&text).await?;
    }
    Ok(())
}

/// A server that answers each login with an error of 300 MB; its port.
async fn refuses_logins() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.into_split();
                let length = from.read_u32().await?;
                let mut startup = vec![0; usize::try_from(length).expect("short") - 4];
                from.read_exact(&mut startup).await?;
                send_error(&mut to).await?;
                to.write_all(&[0, 0]).await
            });
        }
    });
    port
}

#[tokio::test]
async fn a_huge_error_at_login_takes_no_memory() {
    let port = refuses_logins().await;
    let url = format!("postgres://app:secret@127.0.0.1:{port}/app?sslmode=disable");
    let settings =
        format!("[databases.main]\nurl = \"{url}\"\npool.min = 0\npool.warm_up = false\n");
    let server = Server::start(&settings);
    let client = Client::connect(server.grpc()).await;
    let before = server.resident();
    for _ in 0..3 {
        let failure = client.query("select 1", &[]).await.expect_err("nobody logs in");
        assert_eq!(failure.code, Code::Unavailable, "{failure:?}");
        assert_eq!(failure.outcome, "NOT_APPLIED");
    }
    let grown = server.peak().saturating_sub(before);
    println!("grown by {} KiB", grown / 1024);
    assert!(grown < 24 * MIB, "grown by {} MiB", grown / MIB);
}

/// A way to a database that answers a statement with `marker` in its text by an error that never ends; its port.
async fn answers_by_error(database: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", database)).await.expect("it accepts");
            let (from_client, mut to_client) = client.into_split();
            let (mut from_server, to_server) = server.into_split();
            tokio::spawn(async move {
                tokio::select! {
                    copied = tokio::io::copy(&mut from_server, &mut to_client) => {
                        copied.unwrap_or_default();
                        return;
                    }
                    () = marker(from_client, to_server) => {}
                }
                send_error(&mut to_client).await.unwrap_or_default();
                // The last bytes never come.
                std::future::pending::<()>().await;
            });
        }
    });
    port
}

/// Passes on what a client sends, until it sends the marker.
async fn marker(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = from.read(&mut buffer).await.unwrap_or_default();
        if length == 0 {
            std::future::pending::<()>().await;
        }
        if buffer[..length].windows(6).any(|text| text == b"marker") {
            return;
        }
        to.write_all(&buffer[..length]).await.unwrap_or_default();
    }
}

#[tokio::test]
async fn a_huge_error_in_mid_statement_meets_the_deadline_and_takes_no_memory() {
    let postgres = Postgres::start();
    let port = answers_by_error(postgres.port()).await;
    let url = postgres.url().replace(&format!(":{}", postgres.port()), &format!(":{port}"));
    let server = Server::start(&format!("[databases.main]\nurl = \"{url}\"\n"));
    let client = Client::connect(server.grpc()).await;
    client.must("select 1", &[]).await;
    let before = server.resident();
    for sql in ["select 'marker'", "create table t as select 'marker' as a"] {
        let began = Stopwatch::start();
        let deadline = Duration::from_secs(1);
        let options = QueryOptions { timeout: deadline.try_into().ok(), ..QueryOptions::default() };
        let failure = client.run(request_with(sql, options)).await.expect_err("it never ends");
        began.assert_within(2 * deadline, &format!("{failure:?}"));
        assert_ne!(failure.outcome, "APPLIED", "{failure:?}");
    }
    client.must("select 1", &[]).await;
    let grown = server.peak().saturating_sub(before);
    println!("grown by {} KiB", grown / 1024);
    assert!(grown < 24 * MIB, "grown by {} MiB", grown / MIB);
}
