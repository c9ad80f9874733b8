//! The bytes of a connection: over TCP, plain or encrypted, or over a Unix socket.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

/// The number of bytes that tell the protocol: the length of HTTP/2's preface.
pub(crate) const FIRST_BYTES: usize = 24;

/// The versions of HTTP that a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServedVersions {
    Http2,
    All,
}

/// A socket that was accepted, not yet known to a runtime.
#[derive(Debug)]
pub(crate) enum AcceptedStream {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl AcceptedStream {
    /// Sets what a connection needs.
    pub(crate) fn tune(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => {
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)
            }
            Self::Unix(stream) => stream.set_nonblocking(true),
        }
    }

    /// Registers it with the current runtime.
    pub(crate) fn register(self) -> io::Result<ClientStream> {
        let socket = match self {
            Self::Tcp(stream) => ClientSocket::Tcp(TcpStream::from_std(stream)?),
            Self::Unix(stream) => ClientSocket::Unix(UnixStream::from_std(stream)?),
        };
        Ok(socket.into())
    }
}

/// A connection of a client.
#[derive(Debug)]
pub(crate) struct ClientStream {
    /// Bytes that are read once more, before those of the socket.
    pub(crate) replay: Replay,
    pub(crate) socket: ClientSocket,
}

/// The first bytes of a connection, which tell its protocol.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    bytes: [u8; FIRST_BYTES],
    start: usize,
    end: usize,
}

impl Replay {
    /// Bytes to be read once more, the first `length` of these.
    pub(crate) fn new(bytes: [u8; FIRST_BYTES], length: usize) -> Self {
        Self { bytes, start: 0, end: length }
    }
}

/// The socket of a client.
#[derive(Debug)]
pub(crate) enum ClientSocket {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl ClientSocket {
    /// The connection of TCP, if it is one.
    pub(crate) fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(stream) => Some(stream),
            Self::Unix(_) => None,
            Self::Tls(stream) => Some(stream.get_ref().0),
        }
    }
}

impl From<ClientSocket> for ClientStream {
    fn from(socket: ClientSocket) -> Self {
        Self { replay: Replay::default(), socket }
    }
}

/// Calls a method of the stream within.
macro_rules! within {
    ($stream:expr, $method:ident($($argument:expr),*)) => {
        match &mut $stream.get_mut().socket {
            ClientSocket::Tcp(stream) => Pin::new(stream).$method($($argument),*),
            ClientSocket::Unix(stream) => Pin::new(stream).$method($($argument),*),
            ClientSocket::Tls(stream) => Pin::new(stream.as_mut()).$method($($argument),*),
        }
    };
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Replay { bytes, start, end } = &mut self.replay;
        if start == end {
            return within!(self, poll_read(cx, buffer));
        }
        let now = (*start + buffer.remaining()).min(*end);
        buffer.put_slice(&bytes[*start..now]);
        *start = now;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        within!(self, poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        within!(self, poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.socket {
            ClientSocket::Tcp(stream) => stream.is_write_vectored(),
            ClientSocket::Unix(stream) => stream.is_write_vectored(),
            ClientSocket::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        within!(self, poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        within!(self, poll_shutdown(cx))
    }
}
