//! Accepts connections and hands each to the worker with the fewest.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, oneshot};

use super::listener::{Listener, SocketFile};
use super::workers::WorkerHandle;
use crate::config::Config;
use crate::grpc::AcceptedStream;
use crate::resilience::AcceptBackoff;

/// The pauses while no worker takes a connection, because of a burst or because all are stuck.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const MAX_PAUSE: Duration = Duration::from_millis(50);

/// SETTINGS without any, and GOAWAY with ENHANCE_YOUR_CALM and the reason (HTTP/2, 6.5 and 6.8): gRPC clients
/// connect elsewhere, and reconnect after a pause.
const REJECTION: &[u8] = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\
    \x00\x00\x1c\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0btoo many connections";

/// The same for a client that speaks HTTP/1.1, which a browser or `curl` shows.
const HTTP1_REJECTION: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 100\r\nretry-after: 1\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\r\n\
    This server has as many connections as it may have (grpc.max_connections). The request did not run.\n";

/// The first bytes of a client that speaks HTTP/2, and the time for them: one that says nothing is taken for such a client.
const HTTP2_METHOD: &[u8] = b"PRI";
const GREETING_TIMEOUT: Duration = Duration::from_millis(250);

/// The time that a rejected client has to read the reason, and the number of clients that may do so at once: further
/// connections are closed without a reason.
const REJECTION_TIMEOUT: Duration = Duration::from_secs(1);
const MAX_REJECTIONS: usize = 64;

/// The limit on connections, and what a client beyond it is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionLimit {
    max_connections: usize,
    /// `None` where only TLS is spoken: a handshake costs more than a client beyond the limit is worth.
    rejection: Option<Rejection>,
}

/// The answers to a client beyond the limit.
#[derive(Debug, Clone, Copy)]
struct Rejection {
    /// True where HTTP/1.1 is spoken, too.
    has_http1: bool,
}

impl ConnectionLimit {
    pub(crate) fn new(config: &Config) -> Self {
        let is_plain = config.tls.cert.is_none();
        let rejection = is_plain.then_some(Rejection { has_http1: config.web.enabled });
        Self { max_connections: config.grpc.max_connections, rejection }
    }
}

/// Accepts until the sender of `stop` is dropped, then takes the connections in the backlog and closes the listener.
pub(crate) async fn run(
    workers: Vec<WorkerHandle>,
    limit: ConnectionLimit,
    listener: Listener,
    stop: oneshot::Receiver<()>,
) {
    let rejections = Arc::new(Semaphore::new(MAX_REJECTIONS));
    let acceptor = Acceptor { workers, limit, is_full: false, rejections };
    let ended = match listener {
        Listener::Tcp(listener) => acceptor.run_on_tcp(listener, stop).await,
        Listener::Unix(file, listener) => acceptor.run_on_socket(file, listener, stop).await,
    };
    if let Err(error) = ended {
        tracing::error!(%error, "listener cannot be registered");
    }
}

struct Acceptor {
    workers: Vec<WorkerHandle>,
    limit: ConnectionLimit,
    /// Tells whether the last connection was rejected.
    is_full: bool,
    rejections: Arc<Semaphore>,
}

impl Acceptor {
    async fn run_on_tcp(
        mut self,
        listener: std::net::TcpListener,
        stop: oneshot::Receiver<()>,
    ) -> io::Result<()> {
        let listener = TcpListener::from_std(listener)?;
        tokio::select! {
            biased;
            _ = stop => {}
            () = self.accept(|cx| listener.poll_accept(cx), |stream| {
                stream.into_std().map(AcceptedStream::Tcp)
            }) => {}
        }
        // The runtime does not know yet of the latest connections; the system does.
        let listener = listener.into_std()?;
        while let Ok((stream, _)) = listener.accept() {
            self.take(AcceptedStream::Tcp(stream)).await;
        }
        Ok(())
    }

    async fn run_on_socket(
        mut self,
        file: SocketFile,
        listener: std::os::unix::net::UnixListener,
        stop: oneshot::Receiver<()>,
    ) -> io::Result<()> {
        let listener = UnixListener::from_std(listener)?;
        tokio::select! {
            biased;
            _ = stop => {}
            () = self.accept(|cx| listener.poll_accept(cx), |stream| {
                stream.into_std().map(AcceptedStream::Unix)
            }) => {}
        }
        // Without the file nobody comes any more; those who came are taken.
        drop(file);
        let listener = listener.into_std()?;
        while let Ok((stream, _)) = listener.accept() {
            self.take(AcceptedStream::Unix(stream)).await;
        }
        Ok(())
    }

    /// # Cancel safety
    /// A connection that was accepted is handed over, unless all workers are stuck.
    async fn accept<T, A>(
        &mut self,
        poll_accept: impl Fn(&mut Context<'_>) -> Poll<io::Result<(T, A)>>,
        take_out: impl Fn(T) -> io::Result<AcceptedStream>,
    ) {
        let mut accept_backoff = AcceptBackoff::default();
        loop {
            let log = |error: &_| tracing::warn!(%error, "accept failed; retrying");
            // It fails if the client has reset the connection.
            if let Ok(stream) = take_out(accept_backoff.accept(&poll_accept, log).await) {
                self.take(stream).await;
            }
        }
    }

    async fn take(&mut self, stream: AcceptedStream) {
        if stream.tune().is_err() {
            return;
        }
        let max_connections = self.limit.max_connections;
        let connections: usize = self.workers.iter().map(WorkerHandle::connections).sum();
        let was_full = std::mem::replace(&mut self.is_full, connections >= max_connections);
        if !self.is_full {
            return hand_over(stream, &self.workers).await;
        }
        if !was_full {
            tracing::warn!(max_connections, "connection limit reached; rejecting connections");
        }
        self.reject(stream);
    }

    /// Sends the reason, and waits until it is read: closing a socket with unread bytes resets it, maybe too early.
    fn reject(&self, stream: AcceptedStream) {
        let Some(rejection) = self.limit.rejection else { return };
        let Ok(permit) = Arc::clone(&self.rejections).try_acquire_owned() else { return };
        let Ok(mut stream) = stream.register() else { return };
        let rejection = async move {
            let answer = rejection.answer(&mut stream).await;
            stream.write_all(answer).await?;
            stream.shutdown().await?;
            let mut unread = [0; 1024];
            while stream.read(&mut unread).await? > 0 {}
            Ok::<_, std::io::Error>(())
        };
        tokio::spawn(async move {
            drop(tokio::time::timeout(REJECTION_TIMEOUT, rejection).await);
            drop(permit);
        });
    }
}

impl Rejection {
    /// The answer in the client's version of HTTP, by its first bytes; empty for what is none that is served.
    async fn answer(self, stream: &mut (impl AsyncRead + Unpin)) -> &'static [u8] {
        let mut first = [0; HTTP2_METHOD.len()];
        let mut length = 0;
        let greeting = async {
            while length < first.len() && HTTP2_METHOD.starts_with(&first[..length]) {
                match stream.read(&mut first[length..]).await {
                    Ok(0) | Err(_) => break,
                    Ok(read) => length += read,
                }
            }
        };
        // Without a whole greeting, by what has come of it.
        tokio::time::timeout(GREETING_TIMEOUT, greeting).await.unwrap_or_default();
        if HTTP2_METHOD.starts_with(&first[..length]) {
            return REJECTION;
        }
        if self.has_http1 && first[0].is_ascii_uppercase() { HTTP1_REJECTION } else { &[] }
    }
}

/// Hands a connection to the worker with the fewest that takes it: one that is stuck or has ended takes none. While
/// none does, later connections wait in the listener's backlog.
async fn hand_over(mut stream: AcceptedStream, workers: &[WorkerHandle]) {
    let mut workers: Vec<&WorkerHandle> = workers.iter().collect();
    let mut pause = FIRST_PAUSE;
    loop {
        workers.sort_by_key(|worker| worker.connections());
        for worker in &workers {
            match worker.send(stream) {
                Ok(()) => return,
                Err(same) => stream = same,
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> AcceptedStream {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        AcceptedStream::Tcp(std::net::TcpStream::connect(address).expect("it accepts"))
    }

    #[tokio::test(start_paused = true)]
    async fn a_rejection_is_in_the_version_of_its_client() {
        let both = Rejection { has_http1: true };
        let http2 = Rejection { has_http1: false };
        for (greeting, with_both, with_http2) in [
            (&b"PRI * HTTP/2.0"[..], REJECTION, REJECTION),
            (b"", REJECTION, REJECTION),
            (b"P", REJECTION, REJECTION),
            (b"POST / HTTP/1.1", HTTP1_REJECTION, b""),
            (b"GET / HTTP/1.1", HTTP1_REJECTION, b""),
            (b"\x16\x03\x01", b"", b""),
        ] {
            for (rejection, expected) in [(both, with_both), (http2, with_http2)] {
                let mut unread = greeting;
                assert_eq!(rejection.answer(&mut unread).await, expected, "{greeting:?}");
            }
        }
        let (mut ours, silent) = tokio::io::duplex(8);
        assert_eq!(both.answer(&mut ours).await, REJECTION, "it is not waited for");
        drop(silent);
        let text = std::str::from_utf8(HTTP1_REJECTION).expect("it is ASCII");
        let (head, body) = text.split_once("\r\n\r\n").expect("it has a body");
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
    }

    #[tokio::test]
    async fn a_worker_that_takes_no_connection_is_skipped() {
        let (ended, receiver) = WorkerHandle::new();
        drop(receiver);
        let (stuck, _unread) = WorkerHandle::new();
        while stuck.send(connection()).is_ok() {}
        let (working, mut connections) = WorkerHandle::new();
        let busy: Vec<_> = (0..100).map(|_| working.count()).collect();
        let workers = [ended.clone(), stuck.clone(), working.clone()];
        let handed = hand_over(connection(), &workers);
        tokio::time::timeout(Duration::from_secs(5), handed).await.expect("it waits for no other");
        connections.try_recv().expect("the one that works has it");
        assert_eq!(
            (ended.connections(), working.connections()),
            (0, busy.len()),
            "only what is open counts"
        );
    }
}
