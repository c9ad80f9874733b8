//! The presence of a client over HTTP/1.1, which has no PING and whose connection is not read while a call runs: has it closed
//! its side, or gone without a word?

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
#[cfg(target_os = "linux")]
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

use super::transport::ClientSocket;

/// Finds out that a client is gone without a word. While nothing is under way the system probes it, as PING does over HTTP/2;
/// while it does not acknowledge what it was sent, its connection fails after the same time. That is never less than
/// `stall_timeout`, for which a reader may take nothing.
pub(super) fn keep_alive(
    stream: &TcpStream,
    interval: Duration,
    timeout: Duration,
    stall_timeout: Duration,
) -> io::Result<()> {
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(interval).with_interval(timeout).with_retries(1);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    {
        socket.set_tcp_user_timeout(Some((interval + timeout).max(stall_timeout)))?;
    }
    Ok(())
}

/// A second handle of a client's socket, which sees that the client has closed its side whatever lies unread before that:
/// hyper does not read a connection while it has bytes behind the request that is being served.
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "only Linux tells it"))]
pub(super) enum CloseWatch {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl CloseWatch {
    /// # Errors
    /// There are no file descriptors left.
    pub(super) fn new(socket: &ClientSocket) -> io::Result<Self> {
        match socket {
            ClientSocket::Tcp(stream) => Self::of_tcp(stream),
            ClientSocket::Tls(stream) => Self::of_tcp(stream.get_ref().0),
            ClientSocket::Unix(stream) => {
                let duplicate = OwnedFd::from(SockRef::from(stream).try_clone()?);
                Ok(Self::Unix(UnixStream::from_std(duplicate.into())?))
            }
        }
    }

    fn of_tcp(stream: &TcpStream) -> io::Result<Self> {
        let duplicate = SockRef::from(stream).try_clone()?;
        Ok(Self::Tcp(TcpStream::from_std(duplicate.into())?))
    }

    /// Waits until the client has closed its side, or the connection has failed.
    #[cfg(target_os = "linux")]
    pub(super) async fn closed(self) {
        // Of what it may wait for, this is readiness but for data: nobody sends urgent data, and it is not registered for.
        let closed = match &self {
            Self::Tcp(stream) => stream.ready(Interest::PRIORITY).await,
            Self::Unix(stream) => stream.ready(Interest::PRIORITY).await,
        };
        // It fails with the runtime alone.
        drop(closed);
    }

    /// Waits for ever: hyper notices it, unless there are bytes behind the request.
    #[cfg(not(target_os = "linux"))]
    pub(super) async fn closed(self) {
        std::future::pending().await
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let theirs = TcpStream::connect(address).await.expect("it accepts");
        (listener.accept().await.expect("it has come").0, theirs)
    }

    #[tokio::test]
    async fn a_close_is_seen_behind_bytes_that_nobody_reads() {
        let (tcp, mut their_tcp) = pair().await;
        let (unix, mut their_unix) = UnixStream::pair().expect("it can be made");
        let tcp = ClientSocket::Tcp(tcp);
        let unix = ClientSocket::Unix(unix);
        let mut watches = [&tcp, &unix]
            .map(|socket| Box::pin(CloseWatch::new(socket).expect("it can be watched").closed()));
        their_tcp.write_all(&[7; 100]).await.expect("it is open");
        their_unix.write_all(&[7; 100]).await.expect("it is open");
        for watch in &mut watches {
            let open = timeout(Duration::from_millis(50), watch).await;
            open.expect_err("bytes are no close");
        }
        their_tcp.shutdown().await.expect("it is open");
        drop(their_unix);
        for watch in watches {
            timeout(Duration::from_secs(10), watch).await.expect("it is closed");
        }
    }

    #[tokio::test]
    async fn a_client_that_is_cut_off_is_given_up_when_its_keys_say_so() {
        let (ours, _theirs) = pair().await;
        let seconds = Duration::from_secs;
        for (stall_timeout, expected) in [(seconds(10), seconds(30)), (seconds(60), seconds(60))] {
            keep_alive(&ours, seconds(20), seconds(10), stall_timeout).expect("it can be set");
            let socket = SockRef::from(&ours);
            let unacknowledged = socket.tcp_user_timeout().expect("it is asked");
            assert_eq!(unacknowledged, Some(expected));
            let idle = socket.tcp_keepalive_time().expect("it is asked")
                + socket.tcp_keepalive_interval().expect("it is asked")
                    * socket.tcp_keepalive_retries().expect("it is asked");
            assert_eq!(idle, seconds(30));
        }
    }
}
