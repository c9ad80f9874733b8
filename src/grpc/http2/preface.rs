//! Accepted connections, from the acceptor to the HTTP/2 preface.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::io::{AsyncReadExt, Chain, Join, join};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

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
    /// The socket, which first repeats the preface for hyper.
    pub(crate) stream: Join<Chain<&'static [u8], OwnedReadHalf>, OwnedWriteHalf>,
    pub(crate) peer: Option<SocketAddr>,
}

impl Http2Connection {
    /// Reads the preface of a connection; `None` when the client sends anything else, or nothing in time.
    pub(crate) async fn open(
        stream: std::net::TcpStream,
        preface_timeout: Duration,
        drain: impl Future<Output = ()>,
    ) -> Option<Self> {
        let mut stream = TcpStream::from_std(stream).ok()?;
        let peer = stream.peer_addr().ok();
        let drain_timeout = async {
            drain.await;
            tokio::time::sleep(DRAIN_TIMEOUT).await;
        };
        let mut preface = [0; PREFACE.len()];
        let read = tokio::select! {
            read = tokio::time::timeout(preface_timeout, stream.read_exact(&mut preface)) => read,
            () = drain_timeout => return None,
        };
        read.ok()?.ok()?;
        let (reader, writer) = stream.into_split();
        let stream = join(PREFACE.chain(reader), writer);
        (preface == *PREFACE).then_some(Self { stream, peer })
    }
}
