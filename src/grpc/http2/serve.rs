//! Serves connections: HTTP/2 by hyper, one task a connection, on the worker that took it.

use std::pin::pin;
use std::time::Duration;

use hyper::server::conn::http2::Builder;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::mpsc::Receiver;
use tokio::task::{JoinError, JoinSet};

use super::dispatch::Dispatch;
use super::preface::{Accepted, Connection};
use crate::config::Grpc;

/// Streams that may be reset before they are looked at, and for errors of the peer's. A worker that was
/// stopped for a while finds all that its clients have given up meanwhile; more than this is an attack.
const MAX_RESET_STREAMS: usize = 1024;

/// The part of a connection's age that is left to chance, lest those that came together leave together.
const JITTER: f64 = 0.1;

/// What the connections of one worker have in common.
#[derive(Clone)]
struct Server {
    http2: Builder<TokioExecutor>,
    front: Dispatch,
    preface_timeout: Duration,
    max_age: Duration,
}

/// Serves what comes; once the server drains, tells clients to go, and returns when they have gone.
pub(crate) async fn serve(front: Dispatch, settings: &Grpc, mut connections: Receiver<Accepted>) {
    let mut drain = pin!(front.drained());
    let mut draining = false;
    let (preface_timeout, max_age) = (settings.preface_timeout, settings.max_connection_age);
    let server = Server { http2: http2(settings), front, preface_timeout, max_age };
    let mut open = JoinSet::new();
    loop {
        tokio::select! {
            accepted = connections.recv() => {
                let Some(accepted) = accepted else { break };
                open.spawn(server.clone().converse(accepted));
            }
            Some(ended) = open.join_next() => tell(ended),
            () = &mut drain, if !draining => {
                draining = true;
                // What has been handed over is still taken: it may bring calls.
                connections.close();
            }
        }
    }
    while let Some(ended) = open.join_next().await {
        tell(ended);
    }
}

fn tell(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task broke off");
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
        // No client of gRPC asks what day it is.
        .auto_date_header(false);
    http2
}

impl Server {
    /// Serves one connection until its client goes, or has been told to and its calls have ended.
    async fn converse(self, accepted: Accepted) {
        let drained = self.front.drained();
        let opened = Connection::open(accepted, self.preface_timeout, self.front.drained()).await;
        let Some(connection) = opened else { return };
        let front = self.front.of(connection.peer());
        let mut serving = pin!(self.http2.serve_connection(TokioIo::new(connection), front));
        let farewell = async {
            tokio::select! {
                () = drained => {}
                () = tokio::time::sleep(jittered(self.max_age, fastrand::f64())) => {}
            }
        };
        let early = tokio::select! {
            served = serving.as_mut() => Some(served),
            () = farewell => None,
        };
        let served = match early {
            Some(served) => served,
            None => {
                // GOAWAY, in the two steps of HTTP/2, 6.8: calls that are under way to us are served,
                // later ones go elsewhere, and nothing is cut.
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        };
        if let Err(error) = served {
            tracing::debug!(%error, "a connection broke off");
        }
    }
}

/// An age within [`JITTER`] of `age`, as `random`, from 0 up to 1, says.
fn jittered(age: Duration, random: f64) -> Duration {
    age.mul_f64(1.0 - JITTER + 2.0 * JITTER * random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_within_a_tenth_of_their_age() {
        let age = Duration::from_secs(100);
        for (random, expected) in [(0.0, 90), (0.5, 100), (1.0, 110)] {
            assert_eq!(jittered(age, random).as_secs_f64().round(), f64::from(expected));
        }
    }
}
