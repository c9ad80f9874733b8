//! rowgate.v1.ServerService.

use std::sync::Arc;

use tonic::{Request, Response};

use super::proto_convert::duration;
use crate::config::Grpc;
use crate::engine::{Database, Engine};
use crate::grpc::error::respond::Answer;
use crate::telemetry::Tasks;
use crate::value::proto::server_service_server::ServerService;
use crate::value::proto::{DatabaseInfo, GetServerInfoRequest, GetServerInfoResponse};
use crate::wire_size::widen;

pub(crate) struct ServerInfoHandler {
    engine: Arc<Engine>,
    instance: String,
    max_request_size: u64,
    max_response_size: u64,
    tasks: Tasks,
}

impl ServerInfoHandler {
    pub(crate) fn new(engine: Arc<Engine>, settings: &Grpc, instance: &str, tasks: Tasks) -> Self {
        Self {
            engine,
            instance: instance.to_owned(),
            max_request_size: widen(settings.max_request_size),
            max_response_size: widen(settings.max_response_size),
            tasks,
        }
    }
}

#[tonic::async_trait]
impl ServerService for ServerInfoHandler {
    async fn get_server_info(
        &self,
        _request: Request<GetServerInfoRequest>,
    ) -> Answer<GetServerInfoResponse> {
        Ok(Response::new(GetServerInfoResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            instance: self.instance.clone(),
            default_database: self.engine.default_database().to_owned(),
            databases: self.engine.databases().map(info).collect(),
            max_request_size: self.max_request_size,
            max_response_size: self.max_response_size,
            tasks: widen(self.tasks.alive()),
        }))
    }
}

fn info(database: &Database) -> DatabaseInfo {
    DatabaseInfo {
        name: database.name().to_owned(),
        backend: database.backend().name().to_owned(),
        available: database.is_available(),
        default_deadline: duration(database.limits().default),
        max_deadline: duration(database.limits().cap),
        max_rows: database.max_rows(),
        max_bytes: database.max_bytes(),
        max_row_size: widen(database.max_row_size()),
        idempotency_retention: duration(database.key_retention()),
        max_batch: widen(database.max_batch()),
    }
}
