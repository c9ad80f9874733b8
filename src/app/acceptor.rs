//! Accepts connections and hands each to the worker with the fewest.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
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

/// The time that a rejected client has to read the reason, and the number of clients that may do so at once: further
/// connections are closed without a reason.
const REJECTION_TIMEOUT: Duration = Duration::from_secs(1);
const MAX_REJECTIONS: usize = 64;

/// The limit on connections, and what a client beyond it is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionLimit {
    max_connections: usize,
    /// Empty where only TLS is spoken: a handshake costs more than a client beyond the limit is worth.
    rejection: &'static [u8],
}

impl ConnectionLimit {
    pub(crate) fn new(config: &Config) -> Self {
        let rejection = if config.tls.cert.is_some() { &[] } else { REJECTION };
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
        let rejection = self.limit.rejection;
        if rejection.is_empty() {
            return;
        }
        let Ok(permit) = Arc::clone(&self.rejections).try_acquire_owned() else { return };
        let Ok(mut stream) = stream.register() else { return };
        let rejection = async move {
            stream.write_all(rejection).await?;
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
