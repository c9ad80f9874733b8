//! grpc.health.v1, by reports of the prober.
//!
//! tonic's own service ends a watch of an unknown name, where the protocol keeps it open, and repeats statuses.

use std::collections::BTreeMap;

use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::error::{Error, ErrorKind};
use crate::grpc::grpc_status::status;

/// The statuses by the names of services; `""` is the whole server.
type Statuses = BTreeMap<String, ServingStatus>;

#[derive(Debug)]
pub(crate) struct HealthReporter(watch::Sender<Statuses>);

impl HealthReporter {
    pub(crate) fn new() -> (Self, HealthServer<impl Health + use<>>) {
        let reporter = Self(watch::Sender::new(Statuses::new()));
        let service = reporter.service();
        (reporter, service)
    }

    /// Makes a service that tells what is reported here.
    pub(crate) fn service(&self) -> HealthServer<impl Health + use<>> {
        HealthServer::new(HealthHandler { statuses: self.0.clone() })
    }

    /// Sets the status of a service.
    pub(crate) fn set(&self, service: &str, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        self.0.send_if_modified(|statuses| {
            statuses.insert(service.to_owned(), status) != Some(status)
        });
    }
}

struct HealthHandler {
    /// A sender, as a watch lasts longer than the reporter: the drain ends it.
    statuses: watch::Sender<Statuses>,
}

/// A watch of one service.
struct Watched {
    service: String,
    statuses: watch::Receiver<Statuses>,
    sent: Option<ServingStatus>,
}

impl Watched {
    /// Waits for a status that differs from the last one sent.
    async fn next(&mut self) -> Option<ServingStatus> {
        let Self { service, statuses, sent } = self;
        let status_in = |statuses: &Statuses| {
            statuses.get(service).copied().unwrap_or(ServingStatus::ServiceUnknown)
        };
        let statuses = statuses.wait_for(|statuses| Some(status_in(statuses)) != *sent).await;
        *sent = Some(status_in(&*statuses.ok()?));
        *sent
    }
}

impl HealthHandler {
    /// The status of a name that is none of the services.
    fn unknown(&self, service: &str) -> Status {
        let error = Error::new(
            ErrorKind::ServiceNotFound,
            format!("there is no service \"{service}\" whose health is known"),
        );
        let names = self.statuses.borrow();
        let names: Vec<_> =
            names.keys().filter(|name| !name.is_empty()).map(String::as_str).collect();
        let names = names.join(", ");
        status(&error.with_hint(format!("Ask for one of {names}; no name asks for the server.")))
    }
}

#[tonic::async_trait]
impl Health for HealthHandler {
    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let status = self.statuses.borrow().get(&request.get_ref().service).copied();
        let status = status.ok_or_else(|| self.unknown(&request.get_ref().service))?;
        Ok(Response::new(HealthCheckResponse { status: status.into() }))
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let service = request.into_inner().service;
        let watched = Watched { service, statuses: self.statuses.subscribe(), sent: None };
        let responses = stream::unfold(watched, async |mut watched| {
            let status = watched.next().await?;
            Some((Ok(HealthCheckResponse { status: status.into() }), watched))
        });
        Ok(Response::new(responses.boxed()))
    }
}
