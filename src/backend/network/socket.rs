//! A plain socket to one address of a server.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};
use tokio::net::{TcpStream, UnixStream};

use super::server_address::ServerAddress;

/// A socket, not encrypted.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A second handle of a socket, which only tells when the server has closed it.
#[derive(Debug)]
pub(crate) struct SocketWatch(Socket);

impl Socket {
    /// Makes a watch of the socket.
    pub(crate) fn watch(&self) -> io::Result<SocketWatch> {
        Ok(SocketWatch(match self {
            Self::Tcp(stream) => {
                let clone = SockRef::from(stream).try_clone()?;
                Self::Tcp(TcpStream::from_std(clone.into())?)
            }
            Self::Unix(stream) => {
                let clone = SockRef::from(stream).try_clone()?;
                let clone = std::os::fd::OwnedFd::from(clone);
                Self::Unix(UnixStream::from_std(clone.into())?)
            }
        }))
    }

    async fn ready(&self) -> io::Result<Ready> {
        match self {
            Self::Tcp(stream) => stream.ready(Interest::READABLE).await,
            Self::Unix(stream) => stream.ready(Interest::READABLE).await,
        }
    }

    /// Forgets that it is ready, until something more has come.
    fn forget_ready(&self) {
        let nothing = || Err::<(), _>(io::Error::from(io::ErrorKind::WouldBlock));
        let forgotten = match self {
            Self::Tcp(stream) => stream.try_io(Interest::READABLE, nothing),
            Self::Unix(stream) => stream.try_io(Interest::READABLE, nothing),
        };
        drop(forgotten);
    }
}

impl SocketWatch {
    /// Waits until the server has closed the connection; what it sends meanwhile is not looked at.
    pub(crate) async fn closed(self) {
        while let Ok(ready) = self.0.ready().await
            && !ready.is_read_closed()
        {
            self.0.forget_ready();
        }
    }
}

/// Connects to an address.
pub(crate) async fn open(address: &ServerAddress) -> io::Result<Socket> {
    match address {
        ServerAddress::Unix(path) => Ok(Socket::Unix(UnixStream::connect(path).await?)),
        ServerAddress::Tcp(address, _) => {
            let stream = TcpStream::connect(address).await?;
            set_options(&stream)?;
            Ok(Socket::Tcp(stream))
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

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    #[cfg(target_os = "linux")]
    async fn a_dead_server_is_noticed_within_ten_seconds() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let address = ServerAddress::Tcp(address, "localhost".to_owned());
        let Socket::Tcp(stream) = open(&address).await.expect("it listens") else {
            panic!("it is TCP")
        };
        let socket = SockRef::from(&stream);
        // The limits for unacknowledged data, and for an idle connection.
        let unacknowledged = socket.tcp_user_timeout().expect("it is asked").expect("it is set");
        let idle = socket.tcp_keepalive_time().expect("it is asked")
            + socket.tcp_keepalive_interval().expect("it is asked")
                * socket.tcp_keepalive_retries().expect("it is asked");
        assert!(unacknowledged <= Duration::from_secs(10), "{unacknowledged:?}");
        assert!(idle > Duration::ZERO && idle <= Duration::from_secs(11), "{idle:?}");
    }

    #[tokio::test]
    async fn a_unix_socket_carries_bytes_both_ways() {
        let directory = tempfile::tempdir().expect("there is room");
        let path = directory.path().join("server.sock");
        let listener = tokio::net::UnixListener::bind(&path).expect("the path is short");
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a client connects");
            let mut bytes = [0; 4];
            stream.read_exact(&mut bytes).await.expect("they come");
            stream.write_all(&bytes).await.expect("they are sent");
        });
        let mut socket = open(&ServerAddress::Unix(path)).await.expect("it listens");
        socket.write_all(b"ping").await.expect("it is sent");
        let mut echo = [0; 4];
        socket.read_exact(&mut echo).await.expect("it comes back");
        assert_eq!(&echo, b"ping");
        server.await.expect("it does not panic");
    }
}
