//! The listener for probes: the standard health service alone, in plain text and for anybody.
//!
//! Kubernetes' probes have no TLS and no token. Nothing else can be reached here: every other method is UNIMPLEMENTED.

use std::future::pending;
use std::net::TcpListener as StdTcpListener;
use std::time::Duration;

use hyper::server::conn::http2::Builder;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tonic::service::Routes;

use super::http2::preface::HttpConnection;
use super::http2::transport::{AcceptedStream, ServedVersions};
use super::services::health_service::HealthReporter;
use crate::config::Config;
use crate::resilience::{AcceptBackoff, ConnectionSlots};

/// The largest request: the name of a service.
const MAX_REQUEST_SIZE: usize = 4096;
/// The calls of one connection: a probe makes one.
const MAX_CALLS: u32 = 8;
/// The size of a request's headers.
const MAX_HEADER_SIZE: u32 = 8192;

/// The server for probes.
#[derive(Clone)]
pub(crate) struct ProbeServer {
    routes: Routes,
    http2: Builder<TokioExecutor>,
    preface_timeout: Duration,
    max_connections: usize,
}

impl ProbeServer {
    pub(crate) fn new(health: &HealthReporter, config: &Config) -> Self {
        let service = health.service().max_decoding_message_size(MAX_REQUEST_SIZE);
        let mut http2 = Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_CALLS)
            .max_header_list_size(MAX_HEADER_SIZE)
            .keep_alive_interval(config.grpc.keepalive_interval)
            .keep_alive_timeout(config.grpc.keepalive_timeout)
            .auto_date_header(false);
        Self {
            routes: Routes::new(service).prepare(),
            http2,
            preface_timeout: config.grpc.preface_timeout,
            max_connections: config.health.max_connections,
        }
    }

    /// Serves until it is dropped, which closes all connections.
    pub(crate) async fn run(self, listener: StdTcpListener) {
        let registered = TcpListener::from_std(listener)
            .inspect_err(|error| tracing::error!(%error, "probes' listener cannot be registered"));
        let Ok(listener) = registered else { return };
        let mut connections = ConnectionSlots::new(self.max_connections);
        let mut accept_backoff = AcceptBackoff::default();
        loop {
            let log = |error: &_| tracing::warn!(%error, "accept of probes failed; retrying");
            let stream = accept_backoff.accept(|cx| listener.poll_accept(cx), log).await;
            if let Ok(stream) = stream.into_std() {
                connections.serve(|_| self.clone().serve(AcceptedStream::Tcp(stream)));
            }
        }
    }

    async fn serve(self, stream: AcceptedStream) {
        if stream.tune().is_err() {
            return;
        }
        let versions = ServedVersions::Http2;
        let opening = HttpConnection::open(stream, None, versions, self.preface_timeout, pending());
        let Some(HttpConnection { stream, .. }) = Box::pin(opening).await else { return };
        let service = TowerToHyperService::new(self.routes);
        if let Err(error) = self.http2.serve_connection(TokioIo::new(stream), service).await {
            tracing::debug!(%error, "probe's connection failed");
        }
    }
}
