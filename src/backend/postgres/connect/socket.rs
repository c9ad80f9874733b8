//! A stream to one address of a server, encrypted or not, ready for the driver.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Protocol 3.0, SSLRequest.
pub(crate) const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// One address, and whose certificate is expected there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Peer {
    /// The path of a unix socket.
    Unix(PathBuf),
    /// An address, and the host's name as it is configured.
    Tcp(SocketAddr, String),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp(address, _) => write!(f, "{address}"),
        }
    }
}

/// A socket, encrypted or not.
pub(crate) struct Socket(Box<dyn Bound>);

impl Socket {
    /// Connects to this very address.
    pub(crate) async fn to(peer: &Peer, tls: Option<&MakeRustlsConnect>) -> io::Result<Self> {
        match peer {
            Peer::Unix(path) => Ok(Self(Box::new(Plain(UnixStream::connect(path).await?)))),
            Peer::Tcp(address, name) => {
                let stream = TcpStream::connect(address).await?;
                tune(&stream)?;
                match tls {
                    None => Ok(Self(Box::new(Plain(stream)))),
                    Some(tls) => encrypt(tls, name, stream).await,
                }
            }
        }
    }
}

/// A dead peer is noticed within 10 s; with the system's defaults it takes hours.
fn tune(stream: &TcpStream) -> io::Result<()> {
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
    // Before anything is sent: TLS wants a name or an address, and a name may be malformed.
    ServerName::try_from(host).map_err(io::Error::other)?;
    stream.write_all(&SSL_REQUEST).await?;
    // Exactly one byte: whatever a man in the middle puts behind it goes into the handshake, which
    // fails, and never into the stream that is taken for encrypted.
    let mut answer = [0];
    stream.read_exact(&mut answer).await?;
    match answer {
        [b'S'] => {}
        [b'N'] => {
            let message = "the server has no TLS; set tls.mode = \"disable\" to go without";
            return Err(io::Error::other(message));
        }
        // An error in plain text, perhaps: not to be read, as anyone can have sent it.
        _ => return Err(io::Error::other("the server does not answer as PostgreSQL does")),
    }
    let connect = MakeTlsConnect::<TcpStream>::make_tls_connect(&mut tls.clone(), host)
        .map_err(io::Error::other)?;
    Ok(Socket(Box::new(Encrypted(connect.connect(stream).await?))))
}

/// Hands the driver a stream that needs no handshake.
pub(crate) struct Ready;

impl<S: TlsStream + Unpin + Send + 'static> TlsConnect<S> for Ready {
    type Stream = S;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<S>>;

    fn connect(self, stream: S) -> Self::Future {
        std::future::ready(Ok(stream))
    }
}

/// Both directions of a stream.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// A stream, and what binds its authentication to it.
trait Bound: Send + Unpin {
    fn stream(&mut self) -> Pin<&mut dyn Duplex>;
    fn binding(&self) -> ChannelBinding;
}

/// A stream without TLS, and so without channel binding.
struct Plain<S>(S);

impl<S: Duplex> Bound for Plain<S> {
    fn stream(&mut self) -> Pin<&mut dyn Duplex> {
        Pin::new(&mut self.0)
    }

    fn binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

struct Encrypted<S>(S);

impl<S: TlsStream + Send + Unpin> Bound for Encrypted<S> {
    fn stream(&mut self) -> Pin<&mut dyn Duplex> {
        Pin::new(&mut self.0)
    }

    fn binding(&self) -> ChannelBinding {
        self.0.channel_binding()
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().0.stream().poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().0.stream().poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().0.stream().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().0.stream().poll_shutdown(cx)
    }
}

impl TlsStream for Socket {
    fn channel_binding(&self) -> ChannelBinding {
        self.0.binding()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn a_peer_that_is_gone_is_noticed_within_ten_seconds() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let stream = TcpStream::connect(address).await.expect("it listens");
        tune(&stream).expect("it is a socket");
        let socket = SockRef::from(&stream);
        // What was sent and is not acknowledged, and a connection on which nothing is sent.
        let unacknowledged = socket.tcp_user_timeout().expect("it is asked").expect("it is set");
        let idle = socket.tcp_keepalive_time().expect("it is asked")
            + socket.tcp_keepalive_interval().expect("it is asked")
                * socket.tcp_keepalive_retries().expect("it is asked");
        assert!(unacknowledged <= Duration::from_secs(10), "{unacknowledged:?}");
        assert!(idle > Duration::ZERO && idle <= Duration::from_secs(11), "{idle:?}");
    }
}
