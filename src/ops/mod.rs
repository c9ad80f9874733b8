//! HTTP for operators: `/livez`, `/readyz` and `/status`, in plain text and JSON.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::engine::{Database, Engine};

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
}

impl Status {
    /// A view of a running server.
    #[must_use]
    pub fn new(engine: Arc<Engine>, instance: String, ready: watch::Receiver<Readiness>) -> Self {
        Self { engine, instance, ready }
    }

    /// The engine it shows.
    #[must_use]
    pub fn engine(&self) -> Arc<Engine> {
        Arc::clone(&self.engine)
    }
}

/// Serves operators until the task is aborted.
pub async fn serve(listener: std::net::TcpListener, status: Status) {
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/status", get(show))
        .with_state(status);
    let served = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => axum::serve(listener, router).await,
        Err(error) => Err(error),
    };
    if let Err(error) = served {
        tracing::error!(%error, "operators cannot be served");
    }
}

async fn readyz(State(status): State<Status>) -> (StatusCode, Json<Value>) {
    let readiness = status.ready.borrow().clone();
    let code = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(json!({ "ready": readiness.is_ready(), "reasons": readiness.reasons })))
}

async fn show(State(status): State<Status>) -> Json<Value> {
    let ready = status.ready.borrow().is_ready();
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "instance": status.instance,
        "ready": ready,
        "databases": status.engine.databases().map(database).collect::<Vec<_>>(),
    }))
}

fn database(database: &Database) -> Value {
    let pool = database.backend().pool();
    json!({
        "name": database.name(),
        "backend": database.backend().name(),
        "available": database.is_available(),
        "pool": {
            "max": pool.max,
            "min": pool.min,
            "open": pool.open,
            "idle": pool.idle,
            "in_use": pool.in_use,
            "connecting": pool.connecting,
            "waiting": pool.waiting,
            "acquired": pool.acquired,
            "waited": pool.waited,
            "timeouts": pool.timeouts,
            "opened": pool.opened,
            "connect_failures": pool.connect_failures,
            "statements": pool.statements,
            "resets": pool.resets,
        },
    })
}
