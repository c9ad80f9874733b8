//! rowgate.v1.DatabaseService.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use prost::Message;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::deadline::grpc_timeout;
use super::status::status;
use crate::engine::{Engine, Part};
use crate::error::{Error, ErrorKind};
use crate::value::proto::database_service_server::DatabaseService;
use crate::value::proto::stream_query_response::Part as Wire;
use crate::value::proto::{
    DescribeStatementRequest, DescribeStatementResponse, ExecuteBatchRequest, ExecuteBatchResponse,
    GetTransactionOutcomeRequest, GetTransactionOutcomeResponse, QueryRequest, QueryResponse,
    ResultHeader, ResultSummary, RowBatch, StreamQueryRequest, StreamQueryResponse,
    TransactRequest, TransactResponse,
};

pub(super) struct Service {
    engine: Arc<Engine>,
    max_request_size: usize,
}

impl Service {
    pub(super) fn new(engine: Arc<Engine>, max_request_size: usize) -> Self {
        Self { engine, max_request_size }
    }

    /// tonic's own refusal has no ErrorInfo, so it allows a little more than we do.
    fn check_size(&self, message: &impl Message) -> Result<(), Status> {
        let size = message.encoded_len();
        if size <= self.max_request_size {
            return Ok(());
        }
        let limit = self.max_request_size;
        let message = format!("the request has {size} bytes; at most {limit} are taken");
        let error = Error::new(ErrorKind::ResourceExhausted, message)
            .with_condition("REQUEST_TOO_LARGE")
            .with_hint("Send less at once, or raise grpc.max_request_size.");
        Err(status(&error))
    }
}

#[tonic::async_trait]
impl DatabaseService for Service {
    type StreamQueryStream =
        Pin<Box<dyn Stream<Item = Result<StreamQueryResponse, Status>> + Send>>;
    type TransactStream = Pin<Box<dyn Stream<Item = Result<TransactResponse, Status>> + Send>>;

    async fn query(
        &self,
        request: Request<QueryRequest>,
    ) -> Result<Response<QueryResponse>, Status> {
        let timeout = grpc_timeout(request.metadata());
        let request = request.into_inner();
        self.check_size(&request)?;
        match self.engine.query(request, timeout).await {
            Ok(response) => Ok(Response::new(response)),
            Err(error) => Err(status(&error)),
        }
    }

    async fn stream_query(
        &self,
        request: Request<StreamQueryRequest>,
    ) -> Result<Response<Self::StreamQueryStream>, Status> {
        let timeout = grpc_timeout(request.metadata());
        let request = request.into_inner();
        self.check_size(&request)?;
        let query = request.query.ok_or_else(|| {
            status(&Error::field(ErrorKind::InvalidOption, "query", "the query is missing"))
        })?;
        let parts = self.engine.stream(query, timeout).map_err(|error| status(&error))?;
        let responses = ReceiverStream::new(parts).map(|part| match part {
            Ok(part) => Ok(StreamQueryResponse { part: Some(encode(part)) }),
            Err(error) => Err(status(&error)),
        });
        Ok(Response::new(Box::pin(responses)))
    }

    async fn execute_batch(
        &self,
        request: Request<ExecuteBatchRequest>,
    ) -> Result<Response<ExecuteBatchResponse>, Status> {
        let timeout = grpc_timeout(request.metadata());
        let request = request.into_inner();
        self.check_size(&request)?;
        match self.engine.execute_batch(request, timeout).await {
            Ok(response) => Ok(Response::new(response)),
            Err(error) => Err(status(&error)),
        }
    }

    async fn transact(
        &self,
        _request: Request<Streaming<TransactRequest>>,
    ) -> Result<Response<Self::TransactStream>, Status> {
        let error = Error::new(ErrorKind::Unsupported, "not built yet");
        Err(status(&error))
    }

    async fn get_transaction_outcome(
        &self,
        request: Request<GetTransactionOutcomeRequest>,
    ) -> Result<Response<GetTransactionOutcomeResponse>, Status> {
        let timeout = grpc_timeout(request.metadata());
        match self.engine.transaction_outcome(request.into_inner(), timeout).await {
            Ok(response) => Ok(Response::new(response)),
            Err(error) => Err(status(&error)),
        }
    }

    async fn describe_statement(
        &self,
        request: Request<DescribeStatementRequest>,
    ) -> Result<Response<DescribeStatementResponse>, Status> {
        let timeout = grpc_timeout(request.metadata());
        let request = request.into_inner();
        self.check_size(&request)?;
        let DescribeStatementRequest { database, sql, include_plan } = request;
        match self.engine.describe(&database, sql, include_plan, timeout).await {
            Ok(found) => Ok(Response::new(DescribeStatementResponse {
                has_columns: found.columns.is_some(),
                columns: found.columns.unwrap_or_default(),
                parameter_types: found.parameters,
                read_only: found.read_only,
                plan: found.plan.unwrap_or_default(),
            })),
            Err(error) => Err(status(&error)),
        }
    }
}

fn encode(part: Part) -> Wire {
    match part {
        Part::Header(columns) => Wire::Header(ResultHeader {
            has_columns: columns.is_some(),
            columns: columns.unwrap_or_default(),
        }),
        Part::Rows(rows) => Wire::Rows(RowBatch { rows }),
        Part::Summary(end) => Wire::Summary(ResultSummary {
            rows_affected: end.rows_affected,
            command: end.command,
            row_count: end.row_count,
        }),
    }
}
