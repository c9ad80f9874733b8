//! grpc.health.v1, told by whoever knows.

use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};

/// Tells the health service what to answer.
#[derive(Clone, Debug)]
pub struct HealthReporter {
    reporter: tonic_health::server::HealthReporter,
}

impl HealthReporter {
    pub(crate) fn new() -> (Self, HealthServer<impl Health>) {
        let (reporter, service) = tonic_health::server::health_reporter();
        (Self { reporter }, service)
    }

    /// Whether a service is serving; `""` is the whole server.
    pub async fn set(&self, service: &str, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        self.reporter.set_service_status(service, status).await;
    }
}
