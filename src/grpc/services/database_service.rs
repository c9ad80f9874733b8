//! rowgate.v1.DatabaseService.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::transact_streams;
use crate::engine::{Caller, Engine, Part};
use crate::error::{Error, ErrorKind};
use crate::grpc::call_of;
use crate::grpc::error::respond::answer;
use crate::grpc::timeout_header::time_left;
use crate::telemetry::RpcCall;
use crate::value::proto::database_service_server::DatabaseService;
use crate::value::proto::stream_query_response::Part as Wire;
use crate::value::proto::{
    DescribeStatementRequest, DescribeStatementResponse, ExecuteBatchRequest, ExecuteBatchResponse,
    GetTransactionOutcomeRequest, GetTransactionOutcomeResponse, QueryRequest, QueryResponse,
    ResultHeader, ResultSummary, RowBatch, StreamQueryRequest, StreamQueryResponse,
    TransactRequest, TransactResponse,
};

pub(crate) struct Service {
    engine: Arc<Engine>,
    max_request_size: usize,
}

impl Service {
    pub(crate) fn new(engine: Arc<Engine>, max_request_size: usize) -> Self {
        Self { engine, max_request_size }
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
        let (call, caller) = caller(&request);
        let request = request.into_inner();
        match self.engine.query(request, caller).await {
            Ok(response) => Ok(Response::new(response)),
            Err(error) => Err(answer(&call, &error)),
        }
    }

    async fn stream_query(
        &self,
        request: Request<StreamQueryRequest>,
    ) -> Result<Response<Self::StreamQueryStream>, Status> {
        let (call, caller) = caller(&request);
        let request = request.into_inner();
        let query = request.query.ok_or_else(|| {
            answer(&call, &Error::field(ErrorKind::InvalidOption, "query", "the query is missing"))
        })?;
        let parts = self.engine.stream(query, caller).map_err(|error| answer(&call, &error))?;
        let responses = parts.map(move |part| match part {
            Ok(part) => Ok(StreamQueryResponse { part: Some(encode(part)) }),
            Err(error) => Err(answer(&call, &error)),
        });
        Ok(Response::new(Box::pin(responses)))
    }

    async fn execute_batch(
        &self,
        request: Request<ExecuteBatchRequest>,
    ) -> Result<Response<ExecuteBatchResponse>, Status> {
        let (call, caller) = caller(&request);
        match self.engine.execute_batch(request.into_inner(), caller).await {
            Ok(response) => Ok(Response::new(response)),
            Err(error) => Err(answer(&call, &error)),
        }
    }

    async fn transact(
        &self,
        request: Request<Streaming<TransactRequest>>,
    ) -> Result<Response<Self::TransactStream>, Status> {
        let (_, caller) = caller(&request);
        let commands = transact_streams::commands(request.into_inner(), self.max_request_size);
        Ok(Response::new(Box::pin(transact_streams::serve(&self.engine, commands, caller))))
    }

    async fn get_transaction_outcome(
        &self,
        request: Request<GetTransactionOutcomeRequest>,
    ) -> Result<Response<GetTransactionOutcomeResponse>, Status> {
        let (call, caller) = caller(&request);
        match self.engine.transaction_outcome(request.into_inner(), caller).await {
            Ok(response) => Ok(Response::new(response)),
            Err(error) => Err(answer(&call, &error)),
        }
    }

    async fn describe_statement(
        &self,
        request: Request<DescribeStatementRequest>,
    ) -> Result<Response<DescribeStatementResponse>, Status> {
        let (call, caller) = caller(&request);
        let request = request.into_inner();
        let DescribeStatementRequest { database, sql, include_plan } = request;
        match self.engine.describe(&database, sql, include_plan, caller).await {
            Ok(found) => Ok(Response::new(DescribeStatementResponse {
                has_columns: found.columns.is_some(),
                columns: found.columns.unwrap_or_default(),
                parameter_types: found.parameters,
                read_only: found.read_only,
                plan: found.plan.unwrap_or_default(),
            })),
            Err(error) => Err(answer(&call, &error)),
        }
    }
}

/// Who calls: the peer, by its address. Many services behind one proxy count as one.
fn caller<T>(request: &Request<T>) -> (Arc<RpcCall>, Caller) {
    let (peer, call) = (request.remote_addr(), call_of(request));
    let caller = Caller {
        name: peer.map_or_else(String::new, |peer| peer.ip().to_canonical().to_string()),
        call: Arc::clone(&call),
        time_left: time_left(request),
    };
    (call, caller)
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
