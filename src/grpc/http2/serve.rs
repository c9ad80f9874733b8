//! The connections of one worker: HTTP by hyper, one task for each connection.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use futures_util::future::OptionFuture;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::mpsc::Receiver;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use super::client_presence::{CloseWatch, keep_alive};
use super::connection_settings::ConnectionSettings;
use super::dispatch::Dispatch;
use super::entry::Entry;
use super::frame_guard::FrameGuard;
use super::listener_tls::ListenerTls;
use super::preface::{AcceptedConnection, DRAIN_TIMEOUT, HttpConnection, SpokenVersion};
use super::transport::ClientStream;
use super::write_guard::WriteGuard;
use crate::config::Grpc;
use crate::grpc::grpc_server::GrpcServer;
use crate::grpc::request_context::Peer;

/// The limit on streams that are reset before they are accepted, or for errors of the peer. A worker that was
/// stopped for a while finds all streams that its clients have reset meanwhile; more than this is an attack.
const MAX_RESET_STREAMS: usize = 1024;

/// The random part of a connection's maximum age: connections opened together are not closed together.
const JITTER: f64 = 0.1;

/// The least buffer of a connection of HTTP/1.1, for what is read ahead and for what waits to be written.
const MIN_BUFFER: usize = 64 << 10;

/// The connections of one worker.
#[derive(Clone)]
struct ConnectionServer {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    entry: Entry,
    tls: Option<Arc<ListenerTls>>,
    settings: Arc<ConnectionSettings>,
}

impl GrpcServer {
    /// Serves accepted connections on the calling runtime. Once `draining` is true it asks clients to close
    /// their connections, and returns when all are closed. `calls` counts the calls that end by themselves.
    /// Dropping it closes all connections, which ends their calls.
    pub(crate) async fn serve(
        self,
        mut connections: Receiver<AcceptedConnection>,
        calls: Arc<AtomicUsize>,
        draining: watch::Receiver<bool>,
    ) {
        let dispatch = Dispatch {
            services: self.services,
            calls,
            draining,
            peer: Peer::default(),
            callers: Arc::default(),
        };
        let mut drain = pin!(dispatch.drained());
        let mut is_draining = false;
        let server = ConnectionServer {
            http1: http1(&self.connections),
            http2: http2(&self.connections.grpc),
            entry: Entry { dispatch, edge: self.edge, is_begun: Arc::default() },
            tls: self.tls,
            settings: Arc::new(self.connections),
        };
        let mut open = JoinSet::new();
        loop {
            tokio::select! {
                accepted = connections.recv() => {
                    let Some(accepted) = accepted else { break };
                    open.spawn(server.clone().serve(accepted));
                }
                Some(ended) = open.join_next() => log_panic(ended),
                () = &mut drain, if !is_draining => {
                    is_draining = true;
                    // Connections in the channel are still served: they may bring calls.
                    connections.close();
                }
            }
        }
        while let Some(ended) = open.join_next().await {
            log_panic(ended);
        }
    }
}

fn log_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "connection task panicked");
    }
}

fn http1(settings: &ConnectionSettings) -> http1::Builder {
    let max_header_size = usize::try_from(settings.grpc.max_header_size).unwrap_or(usize::MAX);
    let mut http1 = http1::Builder::new();
    http1
        .timer(TokioTimer::new())
        .header_read_timeout(settings.header_timeout)
        .max_header_size(max_header_size)
        .max_buf_size(max_header_size.max(MIN_BUFFER));
    http1
}

fn http2(settings: &Grpc) -> http2::Builder<TokioExecutor> {
    let mut http2 = http2::Builder::new(TokioExecutor::new());
    http2
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.max_concurrent_streams)
        .max_pending_accept_reset_streams(MAX_RESET_STREAMS)
        .max_local_error_reset_streams(MAX_RESET_STREAMS)
        .max_header_list_size(settings.max_header_size)
        .keep_alive_interval(settings.keepalive_interval)
        .keep_alive_timeout(settings.keepalive_timeout)
        // No gRPC client reads the date.
        .auto_date_header(false);
    http2
}

impl ConnectionServer {
    /// Serves one connection until its client closes it. Once it is too old or the server drains, the client is
    /// asked to close it, and its calls may end.
    async fn serve(self, accepted: AcceptedConnection) {
        let Self { http1, http2, entry, tls, settings } = self;
        let AcceptedConnection { stream, count: _count } = accepted;
        // Boxed, as what follows is: a connection that is idle keeps no room for what is over.
        let drain = entry.dispatch.drained();
        let timeout = settings.grpc.preface_timeout;
        let opening =
            Box::pin(HttpConnection::open(stream, tls, settings.versions, timeout, drain));
        let Some(HttpConnection { stream, version, peer, certificate }) = opening.await else {
            return;
        };
        let client = Arc::clone(&peer.name);
        let refused = OptionFuture::from(certificate.map(|it| Box::pin(it.refused())));
        let is_begun = Arc::default();
        let end = ConnectionEnd {
            drained: entry.dispatch.drained(),
            max_age: jittered(settings.grpc.max_connection_age, fastrand::f64()),
            is_begun: Arc::clone(&is_begun),
        };
        let dispatch = Dispatch { peer, callers: Arc::default(), ..entry.dispatch };
        let entry = Entry { dispatch, edge: entry.edge, is_begun };
        let served = async {
            match version {
                SpokenVersion::Http2 => {
                    let stream = FrameGuard::new(stream, settings.grpc.max_control_frames);
                    let serving = http2.serve_connection(TokioIo::new(stream), entry);
                    end.await_close(Box::pin(serving)).await
                }
                SpokenVersion::Http1 => {
                    let gone = gone(&stream, &settings);
                    let stream = WriteGuard::new(stream, settings.stall_timeout);
                    let serving = http1.serve_connection(TokioIo::new(stream), entry);
                    tokio::select! {
                        served = end.await_close(Box::pin(serving)) => served,
                        // Its calls end with it.
                        () = gone => Ok(()),
                    }
                }
            }
        };
        let served = tokio::select! {
            served = served => served,
            // Its calls end as if the client had gone.
            Some(error) = refused => {
                return tracing::info!(%client, %error, "client certificate no longer accepted; closing its connection");
            }
        };
        if let Err(error) = served {
            tracing::debug!(%error, "connection failed");
        }
    }
}

/// Returns once a client over HTTP/1.1 has closed its side, and makes the system find out if it goes without a word.
fn gone(
    stream: &ClientStream,
    settings: &ConnectionSettings,
) -> impl Future<Output = ()> + Send + use<> {
    let Grpc { keepalive_interval, keepalive_timeout, .. } = settings.grpc;
    if let Some(socket) = stream.socket.tcp()
        && let Err(error) =
            keep_alive(socket, keepalive_interval, keepalive_timeout, settings.stall_timeout)
    {
        tracing::debug!(%error, "keepalive cannot be set");
    }
    // Without a descriptor for it, hyper notices all but what is hidden behind further bytes.
    let watch = CloseWatch::new(&stream.socket)
        .inspect_err(|error| tracing::debug!(%error, "connection cannot be watched"));
    async move {
        match watch {
            Ok(watch) => watch.closed().await,
            Err(_unwatched) => std::future::pending().await,
        }
    }
}

/// A connection of either version.
trait Closable: Future<Output = hyper::Result<()>> {
    /// Asks the client to close it. Calls on their way are served, later ones go elsewhere, and none fails.
    fn close(self: Pin<&mut Self>);

    /// True if a connection without a request is held until it has one.
    const AWAITS_FIRST: bool;
}

impl Closable for http1::Connection<TokioIo<WriteGuard<ClientStream>>, Entry> {
    const AWAITS_FIRST: bool = true;

    // The answer on its way says that it is the last one.
    fn close(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl Closable for http2::Connection<TokioIo<FrameGuard<ClientStream>>, Entry, TokioExecutor> {
    const AWAITS_FIRST: bool = false;

    // GOAWAY, in the two steps of HTTP/2, 6.8.
    fn close(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// The end of a connection that its client does not close.
struct ConnectionEnd<D> {
    drained: D,
    max_age: Duration,
    /// True once the connection has had a request.
    is_begun: Arc<AtomicBool>,
}

impl<D: Future<Output = ()>> ConnectionEnd<D> {
    async fn await_close<C: Closable>(self, mut serving: Pin<Box<C>>) -> hyper::Result<()> {
        let Self { drained, max_age, is_begun } = self;
        tokio::select! {
            // In this order: a request that has come already is read before the connection is closed.
            biased;
            served = serving.as_mut() => return served,
            () = drained => {}
            () = tokio::time::sleep(max_age) => {}
        }
        serving.as_mut().close();
        if C::AWAITS_FIRST && !is_begun.load(Relaxed) {
            // hyper waits for the rest of a first head; what is later than this may come as late as it likes.
            let first = tokio::time::timeout(DRAIN_TIMEOUT, serving.as_mut()).await;
            match first {
                Ok(served) => return served,
                Err(_late) if !is_begun.load(Relaxed) => return Ok(()),
                Err(_late) => {}
            }
        }
        serving.await
    }
}

/// Returns an age within [`JITTER`] of `age`; `random` is from 0 up to 1.
fn jittered(age: Duration, random: f64) -> Duration {
    age.mul_f64(1.0 - JITTER + 2.0 * JITTER * random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_closed_within_a_tenth_of_their_maximum_age() {
        let age = Duration::from_secs(100);
        for (random, expected) in [(0.0, 90), (0.5, 100), (1.0, 110)] {
            assert_eq!(jittered(age, random).as_secs_f64().round(), f64::from(expected));
        }
    }
}
