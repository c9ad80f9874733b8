//! Connections that were accepted elsewhere and are served here.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What a client says first (HTTP/2, 3.4): without it no limit of HTTP/2 applies yet.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long one that has not spoken is still heard once the server drains: what it was about to say is
/// under way.
const LAST_WORD: Duration = Duration::from_millis(250);

/// An accepted connection on its way to a worker.
#[derive(Debug)]
pub struct Accepted {
    /// The socket: non-blocking, without delay.
    pub stream: std::net::TcpStream,
    /// Counts the worker's connections for as long as this one lives.
    pub open: Open,
}

/// One more in a count, until it is dropped.
#[derive(Debug)]
pub struct Open(Arc<AtomicUsize>);

impl Open {
    /// Counts one more.
    #[must_use]
    pub fn count(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Relaxed);
        Self(Arc::clone(counter))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// A connection whose client speaks HTTP/2; counted until it is dropped.
pub(crate) struct Connection {
    stream: TcpStream,
    peer: Option<SocketAddr>,
    /// How much of the preface hyper has been told.
    told: usize,
    _open: Open,
}

impl Connection {
    /// Takes a connection over once its client has said that it speaks HTTP/2; `None` when it says
    /// something else, or nothing in time.
    pub(crate) async fn open(
        accepted: Accepted,
        preface_timeout: Duration,
        drained: impl Future<Output = ()>,
    ) -> Option<Self> {
        let Accepted { stream, open } = accepted;
        let mut stream = TcpStream::from_std(stream).ok()?;
        let peer = stream.peer_addr().ok();
        let last_word = async {
            drained.await;
            tokio::time::sleep(LAST_WORD).await;
        };
        let heard = tokio::select! {
            heard = tokio::time::timeout(preface_timeout, hear_preface(&mut stream)) => heard,
            () = last_word => return None,
        };
        heard.unwrap_or(false).then_some(Self { stream, peer, told: 0, _open: open })
    }

    /// Who is at its other end.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }
}

async fn hear_preface(stream: &mut TcpStream) -> bool {
    let mut said = [0; PREFACE.len()];
    stream.read_exact(&mut said).await.is_ok() && said == *PREFACE
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let untold = PREFACE.get(this.told..).unwrap_or_default();
        if untold.is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, buffer);
        }
        let (now, _later) = untold.split_at(untold.len().min(buffer.remaining()));
        buffer.put_slice(now);
        this.told += now.len();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
