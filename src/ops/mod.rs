//! HTTP for operators: `/livez`, `/readyz`, `/metrics` and `/status`, in plain text and JSON; at `/` a page that shows them.

mod status_json;
mod status_page;

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::config::Ops;
use crate::engine::Engine;
use crate::resilience::AcceptBackoff;
use crate::telemetry::Telemetry;

/// Whether the server takes calls, and if not, why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    reasons: Vec<String>,
}

impl Readiness {
    /// Before the first probe.
    #[must_use]
    pub fn starting() -> Self {
        Self { reasons: vec!["starting".to_owned()] }
    }

    /// After a probe: `missing` are the databases that are required and not reached.
    #[must_use]
    pub fn new(draining: bool, missing: Vec<String>) -> Self {
        let mut reasons: Vec<String> =
            missing.into_iter().map(|name| format!("database \"{name}\" is not reached")).collect();
        if draining {
            reasons.push("shutting down".to_owned());
        }
        Self { reasons }
    }

    /// Whether there is no reason against it.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.reasons.is_empty()
    }
}

/// What operators may ask for.
#[derive(Clone)]
pub struct Status {
    engine: Arc<Engine>,
    instance: String,
    ready: watch::Receiver<Readiness>,
    telemetry: Telemetry,
    started: Instant,
}

impl Status {
    /// A view of a running server.
    #[must_use]
    pub(crate) fn new(
        engine: Arc<Engine>,
        instance: String,
        ready: watch::Receiver<Readiness>,
        telemetry: Telemetry,
    ) -> Self {
        Self { engine, instance, ready, telemetry, started: Instant::now() }
    }

    /// What its metrics are of.
    #[must_use]
    pub fn telemetry(&self) -> Telemetry {
        self.telemetry.clone()
    }

    /// The engine it shows.
    #[must_use]
    pub(crate) fn engine(&self) -> Arc<Engine> {
        Arc::clone(&self.engine)
    }
}

/// Serves operators until `dismissed`, and then those who have asked already.
pub async fn serve(
    listener: std::net::TcpListener,
    status: Status,
    settings: Ops,
    dismissed: impl Future<Output = ()>,
) {
    let page = status_page::Page::new();
    let router = Router::new()
        .route("/", get(|| async move { page.answer() }))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/status", get(status_json::show))
        .route("/metrics", get(metrics))
        .layer(map_response(status_page::guarded))
        .with_state(status);
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "operators cannot be served");
            return;
        }
    };
    let (open, over) = watch::channel(());
    let mut server = Server { router, settings, over, connections: JoinSet::new() };
    tokio::select! {
        () = server.accept(&listener) => {}
        () = dismissed => {}
    }
    drop((listener, open));
    while server.connections.join_next().await.is_some() {}
}

/// Serves connections, each in a task of its own that ends with this.
struct Server {
    router: Router,
    settings: Ops,
    /// Closed when operators shall go.
    over: watch::Receiver<()>,
    connections: JoinSet<()>,
}

impl Server {
    async fn accept(&mut self, listener: &TcpListener) {
        let mut accept_backoff = AcceptBackoff::default();
        loop {
            while self.connections.try_join_next().is_some() {}
            if self.connections.len() >= self.settings.max_connections {
                // One of them ends soon: none may be silent for long.
                drop(self.connections.join_next().await);
                continue;
            }
            match listener.accept().await {
                Ok((stream, _)) => {
                    accept_backoff.accepted();
                    let (router, over) = (self.router.clone(), self.over.clone());
                    let header_timeout = self.settings.header_timeout;
                    self.connections.spawn(converse(stream, router, header_timeout, over));
                }
                Err(error) => {
                    let Some(pause) = accept_backoff.failed(&error, Instant::now()) else {
                        continue;
                    };
                    if pause.should_log {
                        tracing::warn!(%error, "operators' connections cannot be accepted; they wait");
                    }
                    tokio::time::sleep(pause.length).await;
                }
            }
        }
    }
}

async fn converse(
    stream: TcpStream,
    router: Router,
    header_timeout: Duration,
    mut over: watch::Receiver<()>,
) {
    let mut server = Builder::new(TokioExecutor::new()).http1_only();
    server.http1().timer(TokioTimer::new()).header_read_timeout(header_timeout);
    let serving = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut serving = pin!(serving);
    let early = tokio::select! {
        served = serving.as_mut() => Some(served),
        // Nothing is ever sent.
        _ = over.changed() => None,
    };
    let served = match early {
        Some(served) => served,
        None => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(error, "an operator's connection broke off");
    }
}

async fn readyz(State(status): State<Status>) -> (StatusCode, Json<Value>) {
    let readiness = status.ready.borrow().clone();
    let code = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(json!({ "ready": readiness.is_ready(), "reasons": readiness.reasons })))
}

/// Prometheus' text format (Exposition formats, 0.0.4).
async fn metrics(State(status): State<Status>) -> Response {
    match status.telemetry.metrics() {
        Ok(text) => {
            ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
        }
        Err(why) => (StatusCode::INTERNAL_SERVER_ERROR, why.into_owned()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn clients_that_never_ask_do_not_keep_others_from_being_answered() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let router = Router::new().route("/livez", get(|| async { "ok\n" }));
        let settings =
            Ops { listen: address, max_connections: 4, header_timeout: Duration::from_millis(200) };
        let (_open, over) = watch::channel(());
        let mut server = Server { router, settings, over, connections: JoinSet::new() };
        let serving = tokio::spawn(async move { server.accept(&listener).await });
        let mut slow = Vec::new();
        for number in 0..4 {
            // Every other one has asked before, and may do so again.
            let before = ["", "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"][number % 2];
            let mut stream = TcpStream::connect(address).await.expect("it accepts");
            stream.write_all(before.as_bytes()).await.expect("it is open");
            stream.write_all(["GET /livez HTT", ""][number % 2].as_bytes()).await.expect("open");
            slow.push(stream);
        }
        let mut stream = TcpStream::connect(address).await.expect("it accepts");
        let request = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.expect("it is open");
        let mut answer = String::new();
        let answered = stream.read_to_string(&mut answer);
        let answered = tokio::time::timeout(Duration::from_secs(5), answered).await;
        answered.expect("it waits for none of them").expect("it is UTF-8");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        serving.abort();
    }
}
