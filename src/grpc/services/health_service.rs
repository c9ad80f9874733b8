//! grpc.health.v1, by reports of the prober.

use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};

#[derive(Clone, Debug)]
pub(crate) struct HealthReporter(tonic_health::server::HealthReporter);

impl HealthReporter {
    pub(crate) fn new() -> (Self, HealthServer<impl Health>) {
        let (reporter, service) = tonic_health::server::health_reporter();
        (Self(reporter), service)
    }

    /// Sets the status of a service; `""` is the whole server.
    pub(crate) async fn set(&self, service: &str, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        self.0.set_service_status(service, status).await;
    }
}
