//! A client that balances over several servers, as the best of gRPC's own do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::HeaderValue;
use prost::Message;
use rowgate::value::proto::{QueryRequest, QueryResponse};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use super::http2::{Call, QUERY, prefixed};

/// A client that balances over several servers and follows GOAWAY as gRPC's own clients do: what was
/// certainly not looked at is sent again elsewhere, and nothing else is.
pub(crate) struct Balancer {
    places: Mutex<Vec<Place>>,
    turn: AtomicUsize,
}

struct Place {
    address: SocketAddr,
    connection: Option<SendRequest<Bytes>>,
}

impl Balancer {
    /// A client of these servers.
    pub(crate) fn new(addresses: &[SocketAddr]) -> Arc<Self> {
        let place = |address: &SocketAddr| Place { address: *address, connection: None };
        let places = Mutex::new(addresses.iter().map(place).collect());
        Arc::new(Self { places, turn: AtomicUsize::new(0) })
    }

    /// Puts a server in the place of another.
    pub(crate) async fn replace(&self, index: usize, address: SocketAddr) {
        self.places.lock().await[index] = Place { address, connection: None };
    }

    /// Runs a query on the next server; the error says what went wrong with the call.
    pub(crate) async fn query(&self, request: &QueryRequest) -> Result<QueryResponse, String> {
        let patience = tokio::time::Instant::now() + Duration::from_secs(10);
        loop {
            let turn = self.turn.fetch_add(1, Relaxed);
            let Some(connection) = self.connection(turn).await else {
                if tokio::time::Instant::now() > patience {
                    return Err("no server accepts".to_owned());
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
                continue;
            };
            match call(connection, request).await {
                Ok(response) => return Ok(response),
                Err(Failed::Unseen) => self.forget(turn).await,
                Err(Failed::Call(why)) => return Err(why),
            }
        }
    }

    /// The connection whose turn it is. It counts once the server has said its first word, as an accepted
    /// socket may still be one that nobody serves.
    async fn connection(&self, turn: usize) -> Option<SendRequest<Bytes>> {
        let mut places = self.places.lock().await;
        let index = turn % places.len();
        let place = &mut places[index];
        if place.connection.is_none() {
            let stream = TcpStream::connect(place.address).await.ok()?;
            stream.set_nodelay(true).ok()?;
            let (connection, mut driver) = h2::client::handshake(stream).await.ok()?;
            let mut ping = driver.ping_pong().expect("it is asked for once");
            tokio::spawn(driver);
            ping.ping(h2::Ping::opaque()).await.ok()?;
            place.connection = Some(connection);
        }
        place.connection.clone()
    }

    async fn forget(&self, turn: usize) {
        let mut places = self.places.lock().await;
        let index = turn % places.len();
        places[index].connection = None;
    }
}

/// The reason why a call has no response.
enum Failed {
    /// The server has certainly not looked at it.
    Unseen,
    /// It may have, or has and failed.
    Call(String),
}

impl Failed {
    fn of(error: &h2::Error) -> Self {
        let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        // Of a stream above the last that GOAWAY names.
        if refused || (error.is_go_away() && error.is_remote()) {
            return Self::Unseen;
        }
        Self::Call(error.to_string())
    }
}

async fn call(
    connection: SendRequest<Bytes>,
    request: &QueryRequest,
) -> Result<QueryResponse, Failed> {
    // Until here nothing has left this process.
    let connection = connection.ready().await.map_err(|_gone| Failed::Unseen)?;
    let call = Call { path: QUERY, timeout: None, messages: vec![prefixed(request)], ends: true };
    let (received, ends) = call.run(connection).await.map_err(|error| Failed::of(&error))?;
    match ends.get("grpc-status").map(HeaderValue::as_bytes) {
        Some(b"0") => {
            QueryResponse::decode(&received[5..]).map_err(|error| Failed::Call(error.to_string()))
        }
        _ => Err(Failed::Call(format!("{ends:?}"))),
    }
}
