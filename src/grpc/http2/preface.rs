//! Accepted connections, from the acceptor to the HTTP/2 preface.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::listener_tls::{ListenerTls, certificate_names};
use super::transport::{Http2Stream, Transport};
use crate::grpc::request_context::Peer;

/// The first bytes of every client (HTTP/2, 3.4). Before them no limit of HTTP/2 applies.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The time for a preface that is on its way when the server drains.
const DRAIN_TIMEOUT: Duration = Duration::from_millis(250);

/// An accepted connection on its way to a worker.
#[derive(Debug)]
pub(crate) struct AcceptedConnection {
    /// The socket: non-blocking, without delay.
    pub(crate) stream: std::net::TcpStream,
    pub(crate) count: CountGuard,
}

/// One item in a count, until it is dropped.
#[derive(Debug)]
pub(crate) struct CountGuard(Arc<AtomicUsize>);

impl CountGuard {
    pub(crate) fn new(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Relaxed);
        Self(Arc::clone(counter))
    }
}

impl Drop for CountGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// A connection whose client speaks HTTP/2.
pub(crate) struct Http2Connection {
    pub(crate) stream: Http2Stream,
    pub(crate) peer: Peer,
}

impl Http2Connection {
    /// Makes the handshake of TLS, if there is one, and reads the preface of a connection; `None` when the client sends
    /// anything else, or nothing in time.
    pub(crate) async fn open(
        stream: std::net::TcpStream,
        tls: Option<Arc<ListenerTls>>,
        preface_timeout: Duration,
        drain: impl Future<Output = ()>,
    ) -> Option<Self> {
        let drain_timeout = async {
            drain.await;
            tokio::time::sleep(DRAIN_TIMEOUT).await;
        };
        tokio::select! {
            opened = tokio::time::timeout(preface_timeout, Self::greet(stream, tls)) => opened.ok()?,
            () = drain_timeout => None,
        }
    }

    async fn greet(stream: std::net::TcpStream, tls: Option<Arc<ListenerTls>>) -> Option<Self> {
        let stream = TcpStream::from_std(stream).ok()?;
        let mut peer = Peer::new(stream.peer_addr().ok());
        let mut transport = match tls {
            None => Transport::Tcp(stream),
            Some(tls) => {
                // Boxed: only connections with TLS have room for it.
                let shaken = Box::pin(tls.accept(stream)).await;
                let stream = shaken.inspect_err(|error| {
                    tracing::debug!(client = %peer.name, %error, "TLS handshake failed");
                });
                let stream = stream.ok()?;
                peer.certificate_names = certificate_names(&stream);
                Transport::Tls(Box::new(stream))
            }
        };
        let mut preface = [0; PREFACE.len()];
        transport.read_exact(&mut preface).await.ok()?;
        let stream = Http2Stream { replay: PREFACE, transport };
        (preface == *PREFACE).then_some(Self { stream, peer })
    }
}
