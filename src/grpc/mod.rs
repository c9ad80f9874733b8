//! The transport for services: decode, call, encode. The only place that knows tonic.

pub mod client;
pub(crate) mod error;
pub(crate) mod http2;
mod method_names;
pub(crate) mod services;
mod timeout_header;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio::sync::mpsc::Receiver;
use tokio::sync::watch;
use tonic::Request;
use tonic::service::Routes;

pub use http2::preface::{Accepted, Open};
pub use services::health_service::HealthReporter;

use crate::config::{Config, Grpc};
use crate::deadline::CallLimits;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::telemetry::{RpcCall, Tasks, Telemetry};
use crate::value::FILE_DESCRIPTOR_SET;
use crate::value::proto::database_service_server::DatabaseServiceServer;
use crate::value::proto::pool_service_server::PoolServiceServer;
use crate::value::proto::server_service_server::ServerServiceServer;
use http2::dispatch::{Dispatch, Services};

/// All services, ready to be served by any worker.
#[derive(Clone)]
pub struct Service {
    services: Arc<Services>,
    settings: Grpc,
}

impl Service {
    /// The services over an engine. `instance` names this process in their answers, `tasks` are its own.
    ///
    /// # Errors
    /// `Internal` when the descriptors of reflection do not fit together: a defect of the build.
    pub fn new(
        engine: &Arc<Engine>,
        config: &Config,
        instance: &str,
        (tasks, telemetry): (&Tasks, &Telemetry),
    ) -> Result<(Self, HealthReporter)> {
        let settings = config.grpc.clone();
        let max_request_size = settings.max_request_size;
        let (health, health_service) = HealthReporter::new();
        let database =
            services::database_service::Service::new(Arc::clone(engine), max_request_size);
        let database = DatabaseServiceServer::new(database)
            .max_decoding_message_size(max_request_size)
            .max_encoding_message_size(settings.max_response_size);
        let pool = PoolServiceServer::new(services::pool_service::Service::new(
            Arc::clone(engine),
            instance,
        ))
        .max_decoding_message_size(max_request_size);
        let server = services::server_service::Service::new(
            Arc::clone(engine),
            &settings,
            instance,
            tasks.clone(),
        );
        let server = ServerServiceServer::new(server).max_decoding_message_size(max_request_size);
        let mut routes = Routes::new(health_service).add_service(pool).add_service(server);
        if settings.reflection {
            let v1 = reflection().build_v1().map_err(defect)?;
            let v1alpha = reflection().build_v1alpha().map_err(defect)?;
            routes = routes.add_service(v1).add_service(v1alpha);
        }
        let (routes, arrival) = (routes.prepare(), arrival(config));
        let telemetry = telemetry.clone();
        let services =
            Arc::new(Services { database, routes, telemetry, arrival, max_request_size });
        Ok((Self { services, settings }, health))
    }

    /// Serves accepted connections on the calling runtime. Once `draining` is true it tells clients to
    /// go, and returns when they have gone. `calls` counts those that run and end by themselves.
    ///
    /// # Cancel safety
    /// Dropped, it closes all connections, which ends their calls.
    pub async fn serve(
        self,
        connections: Receiver<Accepted>,
        calls: Arc<AtomicUsize>,
        draining: watch::Receiver<bool>,
    ) {
        let front = Dispatch::new(self.services, calls, draining);
        http2::serve::serve(front, &self.settings, connections).await;
    }
}

/// Until when a request must have come whole whose database is not known yet.
fn arrival(config: &Config) -> CallLimits {
    let longest = |limit: fn(&crate::config::Database) -> Duration| {
        config.databases.values().map(limit).max().unwrap_or_default()
    };
    CallLimits {
        default: longest(|database| database.default_deadline),
        cap: longest(|database| database.max_deadline),
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

/// The call that a request is of, as telemetry has it.
fn call_of<T>(request: &Request<T>) -> Arc<RpcCall> {
    request.extensions().get::<Arc<RpcCall>>().cloned().unwrap_or_default()
}

/// A count as the messages carry it.
fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// A duration as the messages carry it.
fn duration(value: Duration) -> Option<prost_types::Duration> {
    prost_types::Duration::try_from(value).ok()
}
