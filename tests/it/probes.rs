//! The listener for probes: health alone, and room under silent clients.

use std::net::SocketAddr;
use std::time::Duration;

use rowgate::value::proto::GetServerInfoRequest;
use rowgate::value::proto::server_service_client::ServerServiceClient;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::harness::client::{Client, PATIENCE, request};
use crate::harness::server::{Server, address_in};
use crate::harness::wait::{Stopwatch, eventually_async};

/// A server with a listener for probes, and its address.
fn start(configuration: &str) -> (Server, SocketAddr) {
    let listen = ("ROWGATE__HEALTH__LISTEN", "127.0.0.1:0");
    let server = Server::start_with(configuration, &[listen]);
    let log = server.log();
    let line = log.lines().find(|line| line.contains("serving probes"));
    let found = line.and_then(|line| address_in(line.split("\"address\"").nth(1)?));
    (server, found.expect("it is logged"))
}

async fn health(client: &Client, service: &str) -> Result<ServingStatus, Status> {
    let request = HealthCheckRequest { service: service.to_owned() };
    Ok(HealthClient::new(client.channel()).check(request).await?.into_inner().status())
}

/// Connections that never say anything.
async fn silent(address: SocketAddr, number: usize) -> Vec<TcpStream> {
    let mut silent = Vec::new();
    for _ in 0..number {
        silent.push(TcpStream::connect(address).await.expect("the system accepts"));
    }
    silent
}

#[tokio::test]
async fn probes_find_health_and_nothing_else() {
    // Callers need an identity; probes have none.
    let caller = "[callers.shop]\nuids = [1]\ndatabases = [\"main\"]\nrpcs = [\"Query\"]\n";
    let (server, address) = start(caller);
    let client = Client::connect(address).await;
    for service in ["", "liveness", "readiness", "database.main"] {
        eventually_async(service, PATIENCE, async || {
            let status = health(&client, service).await.expect("it is known");
            (status == ServingStatus::Serving).then_some(())
        })
        .await;
    }
    let unknown = health(&client, "database.other").await.expect_err("there is none");
    assert_eq!(unknown.code(), Code::NotFound);
    let query = client.raw().query(request("select 1", &[])).await.expect_err("it is not here");
    assert_eq!(query.code(), Code::Unimplemented);
    let info = ServerServiceClient::new(client.channel());
    let info = info.clone().get_server_info(GetServerInfoRequest {}).await;
    assert_eq!(info.expect_err("it is not here").code(), Code::Unimplemented);
    drop(server);
}

#[tokio::test]
async fn silent_clients_keep_no_probe_out_and_are_closed() {
    let (server, address) =
        start("[health]\nmax_connections = 4\n[grpc]\npreface_timeout = \"1s\"");
    let silent = silent(address, 20).await;
    let start = Stopwatch::start();
    let client = Client::connect(address).await;
    assert_eq!(health(&client, "liveness").await.expect("it answers"), ServingStatus::Serving);
    start.assert_within(Duration::from_millis(900), "the probe");
    for mut stream in silent {
        let mut said = Vec::new();
        let closed = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said)).await;
        drop(closed.expect("it is closed"));
    }
    // What speaks another protocol is closed at once.
    let mut other = TcpStream::connect(address).await.expect("it accepts");
    other.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("it is open");
    let mut said = Vec::new();
    let closed = tokio::time::timeout(PATIENCE, other.read_to_end(&mut said)).await;
    drop(closed.expect("it is closed"));
    assert_eq!(said, b"");
    drop(server);
}
