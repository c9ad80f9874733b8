//! A stream to one address of a server, encrypted or not, ready for the driver.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::backend::postgres::protocol::server_address::ServerAddress;

/// An SSLRequest (protocol 3.0, "Message Formats").
pub(crate) const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

pub(crate) type Socket = Box<dyn TlsStream + Send + Unpin>;

/// Connects to an address; encrypts TCP if `tls` is given.
pub(crate) async fn connect(
    address: &ServerAddress,
    tls: Option<&MakeRustlsConnect>,
) -> io::Result<Socket> {
    match address {
        ServerAddress::Unix(path) => Ok(Box::new(Plain(UnixStream::connect(path).await?))),
        ServerAddress::Tcp(address, name) => {
            let stream = TcpStream::connect(address).await?;
            set_options(&stream)?;
            match tls {
                None => Ok(Box::new(Plain(stream))),
                Some(tls) => encrypt(tls, name, stream).await,
            }
        }
    }
}

/// Sets TCP options so that a dead server is noticed within 10 s; by default it takes hours.
fn set_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(5))
        .with_interval(Duration::from_secs(2))
        .with_retries(3);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(Duration::from_secs(10)))?;
    Ok(())
}

async fn encrypt(tls: &MakeRustlsConnect, host: &str, mut stream: TcpStream) -> io::Result<Socket> {
    // Checked before anything is sent: a configured name may be malformed.
    ServerName::try_from(host).map_err(io::Error::other)?;
    stream.write_all(&SSL_REQUEST).await?;
    // Exactly one byte is read: bytes that a man in the middle appends reach the handshake, which
    // fails, and never the encrypted stream.
    let mut answer = [0];
    stream.read_exact(&mut answer).await?;
    match answer {
        [b'S'] => {}
        [b'N'] => {
            let message = "the server has no TLS; set tls.mode = \"disable\" to connect without";
            return Err(io::Error::other(message));
        }
        // An error in plain text is not read, as anyone can have sent it.
        _ => return Err(io::Error::other("the server does not answer as PostgreSQL does")),
    }
    let connect = MakeTlsConnect::<TcpStream>::make_tls_connect(&mut tls.clone(), host)
        .map_err(io::Error::other)?;
    Ok(Box::new(connect.connect(stream).await?))
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

/// A stream without TLS, and so without channel binding.
struct Plain<S>(S);

impl<S: Unpin> TlsStream for Plain<S>
where
    Self: AsyncRead + AsyncWrite,
{
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Plain<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Plain<S> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn a_dead_server_is_noticed_within_ten_seconds() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let stream = TcpStream::connect(address).await.expect("it listens");
        set_options(&stream).expect("it is a socket");
        let socket = SockRef::from(&stream);
        // The limits for unacknowledged data, and for an idle connection.
        let unacknowledged = socket.tcp_user_timeout().expect("it is asked").expect("it is set");
        let idle = socket.tcp_keepalive_time().expect("it is asked")
            + socket.tcp_keepalive_interval().expect("it is asked")
                * socket.tcp_keepalive_retries().expect("it is asked");
        assert!(unacknowledged <= Duration::from_secs(10), "{unacknowledged:?}");
        assert!(idle > Duration::ZERO && idle <= Duration::from_secs(11), "{idle:?}");
    }
}
