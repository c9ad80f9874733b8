//! The calls of callers: statements, the server's information and health.

use tonic::Streaming;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::call_error::{CallError, CallResult};
use super::channel::{CallLimit, Client, MAX_MESSAGE_SIZE};
use crate::error::Outcome;
use crate::value::proto::database_service_client::DatabaseServiceClient;
use crate::value::proto::server_service_client::ServerServiceClient;
use crate::value::proto::stream_query_response::Part;
use crate::value::proto::{
    ExecuteBatchRequest, ExecuteBatchResponse, GetServerInfoRequest, GetServerInfoResponse,
    QueryRequest, QueryResponse, StreamQueryRequest, StreamQueryResponse,
};

/// The health of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    Serving,
    NotServing,
    /// The server does not know its health.
    Unknown,
}

impl Client {
    /// Runs a statement and returns its whole result.
    pub(crate) async fn query(&self, request: QueryRequest) -> CallResult<QueryResponse> {
        self.response(self.databases().query(request)).await
    }

    /// Runs statements in one transaction.
    pub(crate) async fn execute_batch(
        &self,
        request: ExecuteBatchRequest,
    ) -> CallResult<ExecuteBatchResponse> {
        self.response(self.databases().execute_batch(request)).await
    }

    /// Returns the server's version, databases and limits.
    pub(crate) async fn server_info(&self) -> CallResult<GetServerInfoResponse> {
        let mut service = ServerServiceClient::new(self.channel.clone());
        self.response(service.get_server_info(GetServerInfoRequest {})).await
    }

    /// Starts a statement.
    pub(crate) async fn stream_query(&self, query: QueryRequest) -> CallResult<ResultStream> {
        let request = StreamQueryRequest { query: Some(query) };
        let parts = self.response(self.databases().stream_query(request)).await?;
        Ok(ResultStream { parts, is_complete: false, limit: self.limit })
    }

    fn databases(&self) -> DatabaseServiceClient<Channel> {
        DatabaseServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE_SIZE)
    }

    /// Returns the health of a service; `""` is the server as a whole.
    pub(crate) async fn health(&self, service: &str) -> CallResult<Health> {
        let request = HealthCheckRequest { service: service.to_owned() };
        let mut service = HealthClient::new(self.channel.clone());
        Ok(match self.response(service.check(request)).await?.status() {
            ServingStatus::Serving => Health::Serving,
            ServingStatus::NotServing => Health::NotServing,
            ServingStatus::Unknown | ServingStatus::ServiceUnknown => Health::Unknown,
        })
    }
}

#[derive(Debug)]
pub(crate) struct ResultStream {
    parts: Streaming<StreamQueryResponse>,
    is_complete: bool,
    limit: CallLimit,
}

impl ResultStream {
    /// Returns the next part; `None` after the summary. A stream that ends without a summary is an error: its
    /// result is incomplete.
    pub(crate) async fn next(&mut self) -> CallResult<Option<Part>> {
        match self.limit.within(self.parts.message()).await? {
            Some(StreamQueryResponse { part: Some(part) }) => {
                self.is_complete |= matches!(part, Part::Summary(_));
                Ok(Some(part))
            }
            Some(StreamQueryResponse { part: None }) => {
                let message = "the server sent a part of a result that this client does not know";
                Err(CallError::new("INTERNAL", message, Outcome::Unknown)
                    .with_hint("Use the client of the server's own version."))
            }
            None if self.is_complete => Ok(None),
            None => {
                let message = "the stream ended without a summary";
                Err(CallError::new("UNKNOWN", message, Outcome::Unknown))
            }
        }
    }
}
