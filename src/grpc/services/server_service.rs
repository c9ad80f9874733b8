//! rowgate.v1.ServerService.

use std::sync::Arc;

use tonic::{Request, Response};

use super::duration;
use crate::access::Policy;
use crate::backend::MissingAbility;
use crate::config::Grpc;
use crate::engine::{Database, Engine};
use crate::grpc::request_context::caller;
use crate::grpc::respond::Answer;
use crate::telemetry::Tasks;
use crate::value::proto::server_service_server::ServerService;
use crate::value::proto::{self, DatabaseInfo, GetServerInfoRequest, GetServerInfoResponse};
use crate::wire_size::widen;

pub(crate) struct ServerInfoHandler {
    pub(crate) engine: Arc<Engine>,
    pub(crate) instance: String,
    pub(crate) settings: Grpc,
    pub(crate) tasks: Tasks,
}

#[tonic::async_trait]
impl ServerService for ServerInfoHandler {
    async fn get_server_info(
        &self,
        request: Request<GetServerInfoRequest>,
    ) -> Answer<GetServerInfoResponse> {
        let policy = &caller(&request).identity.policy;
        let default_database = policy.default_database(self.engine.default_database());
        Ok(Response::new(GetServerInfoResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            instance: self.instance.clone(),
            default_database: default_database.to_owned(),
            databases: self
                .engine
                .databases_of(policy)
                .map(|database| info(database, policy))
                .collect(),
            max_request_size: widen(self.settings.max_request_size),
            max_response_size: widen(self.settings.max_response_size),
            tasks: widen(self.tasks.alive()),
        }))
    }
}

/// The database with the limits that hold for a caller.
fn info(database: &Database, policy: &Policy) -> DatabaseInfo {
    let settings = database.settings();
    let max_deadline = policy.max_deadline(settings.max_deadline);
    let engine = database.backend().engine();
    let missing = engine.missing.into_iter();
    let missing = missing.map(|MissingAbility { name, effect }| proto::MissingAbility {
        name: name.to_owned(),
        effect: effect.to_owned(),
    });
    DatabaseInfo {
        name: database.name().to_owned(),
        backend: database.backend().name().to_owned(),
        available: database.is_available(),
        default_deadline: duration(settings.default_deadline.min(max_deadline)),
        max_deadline: duration(max_deadline),
        max_rows: policy.max_rows(settings.max_rows),
        max_bytes: settings.max_bytes,
        max_row_size: widen(settings.max_row_size),
        idempotency_retention: duration(settings.idempotency.retention),
        max_batch: widen(policy.max_batch(settings.max_batch)),
        behind_pooler: database.backend().pool().behind_pooler,
        engine: engine.label,
        engine_version: engine.version,
        missing: missing.collect(),
    }
}
