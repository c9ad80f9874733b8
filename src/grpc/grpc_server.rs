//! All services on the connections of a worker.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tonic::service::Routes;

use super::http2::connection_settings::ConnectionSettings;
use super::http2::dispatch::Services;
use super::http2::gate::Gate;
use super::http2::listener_tls::ListenerTls;
use super::http2::unary::UnaryLimits;
use super::http2::unread::UnreadAnswers;
use super::services::database_service::DatabaseHandler;
use super::services::health_service::HealthReporter;
use super::services::pool_service::pool_handler::PoolHandler;
use super::services::reflection_service::ReflectionServices;
use super::services::server_service::ServerInfoHandler;
use super::web::web_request::WebEdge;
use crate::access::Authenticator;
use crate::config::{Config, Database};
use crate::deadline::CallLimits;
use crate::engine::Engine;
use crate::error::Result;
use crate::telemetry::{Tasks, Telemetry};
use crate::value::proto::database_service_server::DatabaseServiceServer;
use crate::value::proto::pool_service_server::PoolServiceServer;
use crate::value::proto::server_service_server::ServerServiceServer;

/// The parts of the front that are not its own.
pub(crate) struct Front<'a> {
    /// `None` where callers are not authenticated.
    pub(crate) authenticator: Option<Arc<Authenticator>>,
    /// The name of this process in responses.
    pub(crate) instance: &'a str,
    /// The tasks of the process.
    pub(crate) tasks: &'a Tasks,
    pub(crate) telemetry: &'a Telemetry,
    /// The address of the operators' port.
    pub(crate) operators: SocketAddr,
    /// `None` where connections are plain.
    pub(crate) tls: Option<Arc<ListenerTls>>,
}

/// All services, ready to be served by any worker.
#[derive(Clone)]
pub(crate) struct GrpcServer {
    pub(super) services: Arc<Services>,
    pub(super) edge: Arc<WebEdge>,
    pub(super) connections: ConnectionSettings,
    pub(super) tls: Option<Arc<ListenerTls>>,
}

impl GrpcServer {
    /// Makes the services of an engine.
    pub(crate) fn new(
        engine: &Arc<Engine>,
        config: &Config,
        front: Front<'_>,
    ) -> Result<(Self, HealthReporter)> {
        let Front { authenticator, instance, operators, tasks, telemetry, tls } = front;
        let settings = config.grpc.clone();
        let max_request_size = settings.max_request_size;
        let (health, health_service) = HealthReporter::new();
        let handler = Arc::new(DatabaseHandler { engine: Arc::clone(engine), max_request_size });
        let database = DatabaseServiceServer::from_arc(Arc::clone(&handler))
            .max_decoding_message_size(max_request_size)
            .max_encoding_message_size(settings.max_response_size);
        let instance = instance.to_owned();
        let pool = PoolHandler { engine: Arc::clone(engine), instance: instance.clone() };
        let pool = PoolServiceServer::new(pool).max_decoding_message_size(max_request_size);
        let server = ServerInfoHandler {
            engine: Arc::clone(engine),
            instance,
            settings: settings.clone(),
            tasks: tasks.clone(),
        };
        let server = ServerServiceServer::new(server).max_decoding_message_size(max_request_size);
        let routes = Routes::new(health_service).add_service(pool).add_service(server);
        let services = Arc::new(Services {
            handler,
            database,
            routes: routes.prepare(),
            reflection: ReflectionServices::new(config)?,
            telemetry: telemetry.clone(),
            receive_limits: receive_limits(config),
            limits: UnaryLimits { request: max_request_size, response: settings.max_response_size },
            gate: Gate::new(authenticator, config.access.audit),
            unread: UnreadAnswers::new(settings.max_unread_bytes, config.stream.stall_timeout),
        });
        let edge = WebEdge::new(&config.web, max_request_size, operators)?;
        let connections = ConnectionSettings::new(config);
        Ok((Self { services, edge: Arc::new(edge), connections, tls }, health))
    }
}

/// The limits for receiving a whole request: its database is not known yet.
fn receive_limits(config: &Config) -> CallLimits {
    let longest = |limit: fn(&Database) -> Duration| {
        config.databases.values().map(limit).max().unwrap_or_default()
    };
    CallLimits {
        default: longest(|database| database.default_deadline),
        cap: longest(|database| database.max_deadline),
    }
}
