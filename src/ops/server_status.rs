//! The state that operators may ask for.

use std::sync::Arc;
use std::time::Instant;

use axum::http::HeaderMap;
use tokio::sync::watch;

use super::history::History;
use crate::access::Authenticator;
use crate::engine::Engine;
use crate::telemetry::Telemetry;

/// The readiness of a server: the reasons why it is not ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Readiness {
    pub(crate) reasons: Vec<String>,
}

impl Readiness {
    /// The readiness before the first probe.
    pub(crate) fn starting() -> Self {
        Self { reasons: vec!["starting".to_owned()] }
    }

    /// The readiness with these required databases `unreachable`.
    pub(crate) fn new(draining: bool, unreachable: Vec<String>) -> Self {
        let databases = unreachable.into_iter();
        let databases = databases.map(|name| format!("database \"{name}\" is unreachable"));
        let draining = draining.then(|| "shutting down".to_owned());
        Self { reasons: databases.chain(draining).collect() }
    }

    /// Returns true if the server is ready.
    pub(crate) fn is_ready(&self) -> bool {
        self.reasons.is_empty()
    }
}

/// A view of a running server; cheap to clone.
#[derive(Clone)]
pub(crate) struct Status {
    pub(crate) engine: Arc<Engine>,
    /// `None` where callers are not authenticated.
    pub(crate) authenticator: Option<Arc<Authenticator>>,
    pub(crate) instance: String,
    pub(crate) readiness: watch::Receiver<Readiness>,
    pub(crate) telemetry: Telemetry,
    pub(crate) started: Instant,
    pub(crate) history: Arc<History>,
    /// The answer to clients of gRPC that look for the services here.
    pub(crate) grpc_answer: Arc<HeaderMap>,
}
