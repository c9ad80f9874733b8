//! grpc.health.v1, told by whoever knows.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};

/// Tells the health service what to answer.
#[derive(Clone, Debug)]
pub struct HealthReporter {
    reporter: tonic_health::server::HealthReporter,
    names: Arc<Mutex<BTreeSet<String>>>,
}

impl HealthReporter {
    pub(super) fn new() -> (Self, HealthServer<impl Health>) {
        let (reporter, service) = tonic_health::server::health_reporter();
        (Self { reporter, names: Arc::default() }, service)
    }

    /// Whether a service is serving; `""` is the whole server.
    pub async fn set(&self, service: &str, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        self.names.lock().insert(service.to_owned());
        self.reporter.set_service_status(service, status).await;
    }

    /// Forgets all services, which ends the streams of those who watch them.
    pub async fn end(mut self) {
        let names = std::mem::take(&mut *self.names.lock());
        for name in names {
            self.reporter.clear_service_status(&name).await;
        }
    }
}
