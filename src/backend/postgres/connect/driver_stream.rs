//! A stream to one address of a server, encrypted or not, ready for the driver.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::backend::network::{self, ServerAddress, Socket};

/// An SSLRequest (protocol 3.0, "Message Formats").
pub(crate) const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

pub(crate) type DriverStream = Box<dyn TlsStream + Send + Unpin>;

/// Connects to an address; encrypts TCP if `tls` is given.
pub(crate) async fn connect(
    address: &ServerAddress,
    tls: Option<&ClientConfig>,
) -> io::Result<DriverStream> {
    let socket = network::open_socket(address).await?;
    match (address, tls) {
        (ServerAddress::Tcp(_, name), Some(tls)) => encrypt(tls, name, socket).await,
        (ServerAddress::Unix(_), _) | (ServerAddress::Tcp(..), None) => Ok(Box::new(Plain(socket))),
    }
}

async fn encrypt(tls: &ClientConfig, host: &str, mut socket: Socket) -> io::Result<DriverStream> {
    // Checked before anything is sent: a configured name may be malformed.
    ServerName::try_from(host).map_err(io::Error::other)?;
    socket.write_all(&SSL_REQUEST).await?;
    // Exactly one byte is read: bytes that a man in the middle appends reach the handshake, which
    // fails, and never the encrypted stream.
    let mut answer = [0];
    socket.read_exact(&mut answer).await?;
    match answer {
        [b'S'] => {}
        [b'N'] => {
            let message = "the server has no TLS; set tls.mode = \"disable\" to connect without";
            return Err(io::Error::other(message));
        }
        // An error in plain text is not read, as anyone can have sent it.
        _ => return Err(io::Error::other("the server does not answer as PostgreSQL does")),
    }
    // The copy shares the certificates and the sessions that can be resumed.
    let mut tls = MakeRustlsConnect::new(tls.clone());
    let connect = MakeTlsConnect::<Socket>::make_tls_connect(&mut tls, host);
    Ok(Box::new(connect.map_err(io::Error::other)?.connect(socket).await?))
}

/// A TLS connector for the driver that returns the stream, whose handshake is done, as it is.
pub(crate) struct HandshakeDone;

impl<S: TlsStream + Unpin + Send> TlsConnect<S> for HandshakeDone {
    type Stream = S;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<S>>;

    fn connect(self, stream: S) -> Self::Future {
        std::future::ready(Ok(stream))
    }
}

/// A socket without TLS, and so without channel binding.
struct Plain(Socket);

impl TlsStream for Plain {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Plain {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Plain {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}
