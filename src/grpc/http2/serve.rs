//! The connections of one worker: HTTP/2 by hyper, one task for each connection.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use futures_util::future::OptionFuture;
use hyper::server::conn::http2::Builder;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::mpsc::Receiver;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use super::dispatch::Dispatch;
use super::frame_guard::FrameGuard;
use super::listener_tls::ListenerTls;
use super::preface::{AcceptedConnection, Http2Connection};
use crate::config::Grpc;
use crate::grpc::grpc_server::GrpcServer;
use crate::grpc::request_context::Peer;

/// The limit on streams that are reset before they are accepted, or for errors of the peer. A worker that was
/// stopped for a while finds all streams that its clients have reset meanwhile; more than this is an attack.
const MAX_RESET_STREAMS: usize = 1024;

/// The random part of a connection's maximum age: connections opened together are not closed together.
const JITTER: f64 = 0.1;

/// The settings that the connections of one worker share.
#[derive(Clone)]
struct ConnectionServer {
    http2: Builder<TokioExecutor>,
    dispatch: Dispatch,
    tls: Option<Arc<ListenerTls>>,
    preface_timeout: Duration,
    max_age: Duration,
    max_control_frames: u32,
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
            http2: http2(&self.settings),
            dispatch,
            tls: self.tls,
            preface_timeout: self.settings.preface_timeout,
            max_age: self.settings.max_connection_age,
            max_control_frames: self.settings.max_control_frames,
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

fn http2(settings: &Grpc) -> Builder<TokioExecutor> {
    let mut http2 = Builder::new(TokioExecutor::new());
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
        let Self { http2, dispatch, tls, preface_timeout, max_age, max_control_frames } = self;
        let AcceptedConnection { stream, count: _count } = accepted;
        // Boxed, as what follows is: a connection that is idle keeps no room for what is over.
        let drain = dispatch.drained();
        let opening = Box::pin(Http2Connection::open(stream, tls, preface_timeout, drain));
        let Some(Http2Connection { stream, peer, certificate }) = opening.await else { return };
        let client = Arc::clone(&peer.name);
        let refused = OptionFuture::from(certificate.map(|it| Box::pin(it.refused())));
        let stream = FrameGuard::new(stream, max_control_frames);
        let drained = dispatch.drained();
        let dispatch = Dispatch { peer, callers: Arc::default(), ..dispatch };
        let mut serving = Box::pin(http2.serve_connection(TokioIo::new(stream), dispatch));
        let served = async {
            tokio::select! {
                served = serving.as_mut() => return served,
                () = drained => {}
                () = tokio::time::sleep(jittered(max_age, fastrand::f64())) => {}
            }
            // GOAWAY, in the two steps of HTTP/2, 6.8: calls on their way are served, later ones go elsewhere, and none
            // fails.
            serving.as_mut().graceful_shutdown();
            serving.await
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
