//! The transport for services: decode, call, encode. The only place that knows tonic.

pub mod client;
mod database;
mod deadline;
mod failure;
mod foreign;
mod health;
mod incoming;
mod pool;
mod server;
mod status;
mod transact;

use std::sync::Arc;
use std::time::Duration;

use tonic::service::Routes;
use tonic::transport::Server;
use tower::util::MapResponseLayer;

pub use health::HealthReporter;
pub use incoming::{Accepted, Open};

use crate::config::{Config, Grpc};
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::value::FILE_DESCRIPTOR_SET;
use crate::value::proto::database_service_server::DatabaseServiceServer;
use crate::value::proto::pool_service_server::PoolServiceServer;
use crate::value::proto::server_service_server::ServerServiceServer;

/// hyper's own limit, which tonic switches off: streams reset for errors of the peer's.
const MAX_LOCAL_ERROR_RESETS: usize = 1024;

/// All services, ready to be served by any worker.
#[derive(Clone)]
pub struct Service {
    routes: Routes,
    settings: Grpc,
}

impl Service {
    /// The services over an engine. `instance` names this process in their answers.
    ///
    /// # Errors
    /// `Internal` when the descriptors of reflection do not fit together: a defect of the build.
    pub fn new(
        engine: &Arc<Engine>,
        config: &Config,
        instance: &str,
    ) -> Result<(Self, HealthReporter)> {
        let settings = config.grpc.clone();
        let (health, health_service) = HealthReporter::new();
        let database = database::Service::new(Arc::clone(engine), settings.max_request_size);
        let database = DatabaseServiceServer::new(database)
            .max_decoding_message_size(settings.max_request_size)
            .max_encoding_message_size(settings.max_response_size);
        let pool = PoolServiceServer::new(pool::Service::new(Arc::clone(engine), instance))
            .max_decoding_message_size(settings.max_request_size);
        let server = server::Service::new(Arc::clone(engine), &settings, instance);
        let server =
            ServerServiceServer::new(server).max_decoding_message_size(settings.max_request_size);
        let mut routes =
            Routes::new(health_service).add_service(database).add_service(pool).add_service(server);
        if settings.reflection {
            let v1 = reflection().build_v1().map_err(defect)?;
            let v1alpha = reflection().build_v1alpha().map_err(defect)?;
            routes = routes.add_service(v1).add_service(v1alpha);
        }
        Ok((Self { routes: routes.prepare(), settings }, health))
    }

    /// Serves accepted connections on the calling runtime; after `stop` tells clients to go and
    /// returns once their calls have ended.
    ///
    /// # Errors
    /// `Internal` when a connection could not be taken over.
    pub async fn serve(
        self,
        connections: tokio::sync::mpsc::Receiver<Accepted>,
        stop: impl Future<Output = ()>,
    ) -> Result<()> {
        let limit = self.settings.max_request_size;
        // A peer that has not said what it speaks is held to what one must keep that has.
        let incoming = incoming::stream(connections, self.settings.keepalive_timeout);
        Server::builder()
            // Outermost, where statuses of tonic's own pass too: they become ours.
            .layer(MapResponseLayer::new(move |response| foreign::made_ours(response, limit)))
            .max_concurrent_streams(self.settings.max_concurrent_streams)
            .http2_max_local_error_reset_streams(Some(MAX_LOCAL_ERROR_RESETS))
            .http2_keepalive_interval(Some(self.settings.keepalive_interval))
            .http2_keepalive_timeout(Some(self.settings.keepalive_timeout))
            .serve_with_incoming_shutdown(self.routes, incoming, stop)
            .await
            .map_err(|error| Error::new(ErrorKind::Internal, "serving failed").with_cause(error))
    }
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

fn defect(error: tonic_reflection::server::Error) -> Error {
    Error::new(ErrorKind::Internal, "the descriptors do not fit together").with_cause(error)
}

/// A duration as the messages carry it.
fn duration(value: Duration) -> Option<prost_types::Duration> {
    prost_types::Duration::try_from(value).ok()
}
