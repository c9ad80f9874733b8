//! The HTTP server for operators.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::middleware::{Next, from_fn, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};

use super::host_check::check_host;
use super::server_status::Status;
use super::token_check::{check_token, required};
use super::{status_json, status_page};
use crate::clock::milliseconds;
use crate::config::Ops;
use crate::resilience::{AcceptBackoff, ConnectionSlots};

/// The calls of one connection over HTTP/2, and the size of their headers.
const MAX_STREAMS: u32 = 8;
const MAX_HEADER_SIZE: u32 = 16 << 10;

/// Serves operators until the sender of `stop` is dropped, and then the requests in progress.
pub(crate) async fn serve(
    listener: std::net::TcpListener,
    status: Status,
    settings: Ops,
    stop: oneshot::Receiver<()>,
) {
    let recorded = status.clone();
    let router = Router::new()
        .route("/", get(status_page::page()))
        .route("/livez", get("ok\n"))
        .route("/readyz", get(readyz))
        .route("/status", get(status_json::status))
        .route("/history", get(history))
        .route("/metrics", get(metrics))
        .layer(from_fn_with_state(required(settings.token.as_ref()), check_token))
        .layer(from_fn_with_state(settings.allowed_hosts.clone().into(), check_host))
        .layer(map_response(status_page::set_headers))
        .layer(from_fn_with_state(Arc::clone(&status.grpc_answer), refuse_grpc))
        .with_state(status);
    let registered = TcpListener::from_std(listener)
        .inspect_err(|error| tracing::error!(%error, "operators' listener cannot be registered"));
    let Ok(listener) = registered else { return };
    let (open, draining) = watch::channel(());
    let mut server = OpsServer::new(router, &settings, draining);
    tokio::select! {
        () = server.accept(&listener) => {}
        () = recorded.history.record(&recorded.engine, &recorded.telemetry, recorded.started) => {}
        _ = stop => {}
    }
    drop((listener, open));
    server.connections.ended().await;
}

/// Serves each connection in a task of its own, which is aborted when the server is dropped.
struct OpsServer {
    router: Router,
    header_timeout: Duration,
    /// Closed when connections are to be drained.
    draining: watch::Receiver<()>,
    connections: ConnectionSlots,
}

impl OpsServer {
    fn new(router: Router, settings: &Ops, draining: watch::Receiver<()>) -> Self {
        let connections = ConnectionSlots::new(settings.max_connections);
        Self { router, header_timeout: settings.header_timeout, draining, connections }
    }

    async fn accept(&mut self, listener: &TcpListener) {
        let mut accept_backoff = AcceptBackoff::default();
        loop {
            let log = |error: &_| {
                tracing::warn!(%error, "accept of operators' connections failed; retrying");
            };
            let stream = accept_backoff.accept(|cx| listener.poll_accept(cx), log).await;
            let header_timeout = self.header_timeout;
            let draining = self.draining.clone();
            let router = self.router.clone();
            self.connections.serve(|activity| {
                let noted = from_fn(move |request: Request, next: Next| {
                    activity.clone().during(next.run(request))
                });
                serve_connection(stream, router.layer(noted), header_timeout, draining)
            });
        }
    }
}

async fn serve_connection(
    stream: TcpStream,
    router: Router,
    header_timeout: Duration,
    mut draining: watch::Receiver<()>,
) {
    let mut server = Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(header_timeout);
    // For clients of gRPC that have the wrong port: they are told so, and hold little meanwhile.
    server
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_SIZE)
        .keep_alive_interval(header_timeout)
        .keep_alive_timeout(header_timeout);
    let serving = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut serving = pin!(serving);
    let served = tokio::select! {
        served = serving.as_mut() => served,
        // The channel carries nothing.
        _ = draining.changed() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(error, "operator's connection failed");
    }
}

/// Answers clients of gRPC, in its own words, that this is another port.
async fn refuse_grpc(
    State(answer): State<Arc<HeaderMap>>,
    request: Request,
    next: Next,
) -> Response {
    let is_grpc = |content: &HeaderValue| content.as_bytes().starts_with(b"application/grpc");
    if !request.headers().get(CONTENT_TYPE).is_some_and(is_grpc) {
        return next.run(request).await;
    }
    HeaderMap::clone(&answer).into_response()
}

async fn readyz(State(status): State<Status>) -> (StatusCode, Json<Value>) {
    let readiness = status.readiness.borrow().clone();
    let code = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(json!({ "ready": readiness.is_ready(), "reasons": readiness.reasons })))
}

/// Renders the history: `?span=5m`, `1h` or `all`, and of it what is later than `after`, in milliseconds since the start.
async fn history(State(status): State<Status>, request: Uri) -> (StatusCode, Json<Value>) {
    let query = request.query().unwrap_or_default();
    let given = |key| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find_map(|(name, value)| (name == key).then_some(value))
    };
    let after = given("after").and_then(|after| after.parse().ok()).unwrap_or_default();
    let span = given("span").unwrap_or("5m");
    let Some(mut history) = status.history.render(span, after) else {
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": "span is 5m, 1h or all" })));
    };
    history["instance"] = json!(status.instance);
    history["uptime_ms"] = json!(milliseconds(status.started.elapsed()));
    (StatusCode::OK, Json(history))
}

/// Renders Prometheus' text format (Exposition formats, 0.0.4).
async fn metrics(State(status): State<Status>) -> impl IntoResponse {
    let text = status.telemetry.metrics();
    text.map(|text| ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text))
        .map_err(|why| (StatusCode::INTERNAL_SERVER_ERROR, why))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn idle_clients_do_not_delay_other_requests() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let router = Router::new().route("/livez", get(|| async { "ok\n" }));
        let settings = Ops {
            listen: address,
            max_connections: 4,
            header_timeout: Duration::from_millis(200),
            history: Duration::from_secs(3600),
            token: None,
            allowed_hosts: Vec::new(),
        };
        let (_open, draining) = watch::channel(());
        let mut server = OpsServer::new(router, &settings, draining);
        let serving = tokio::spawn(async move { server.accept(&listener).await });
        let mut slow = Vec::new();
        for number in 0..4 {
            // Every other one has sent a request before, and keeps the connection alive.
            let before = ["", "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"][number % 2];
            let mut stream = TcpStream::connect(address).await.expect("it accepts");
            stream.write_all(before.as_bytes()).await.expect("it is open");
            stream.write_all(["GET /livez HTT", ""][number % 2].as_bytes()).await.expect("open");
            slow.push(stream);
        }
        let mut stream = TcpStream::connect(address).await.expect("it accepts");
        let request = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.expect("it is open");
        let mut response = String::new();
        let read = stream.read_to_string(&mut response);
        let read = tokio::time::timeout(Duration::from_secs(5), read).await;
        read.expect("it waits for none of them").expect("it is UTF-8");
        assert!(response.starts_with("HTTP/1.1 200"), "{response}");
        serving.abort();
    }
}
