//! rowgate.v1.DatabaseService.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use super::copy_streams;
use super::transact_streams::{self, CommandReader};
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Outcome};
use crate::grpc::request_context::{caller, rpc_call};
use crate::grpc::respond::{Answer, answer, respond_with};
use crate::value::proto;
use crate::value::proto::database_service_server::DatabaseService;

pub(crate) struct DatabaseHandler {
    pub(crate) engine: Arc<Engine>,
    pub(crate) max_request_size: usize,
}

// Beside the trait, whose methods allocate their futures.
impl DatabaseHandler {
    pub(crate) async fn query(
        &self,
        request: Request<proto::QueryRequest>,
    ) -> Answer<proto::QueryResponse> {
        let call = rpc_call(&request);
        let caller = caller(&request);
        let request = request.into_inner();
        let outcome = done(request.options.as_ref().map(|options| options.access_mode()));
        respond_with(&call, outcome, self.engine.query(request, caller).await)
    }

    pub(crate) async fn execute_batch(
        &self,
        request: Request<proto::ExecuteBatchRequest>,
    ) -> Answer<proto::ExecuteBatchResponse> {
        let call = rpc_call(&request);
        let caller = caller(&request);
        let request = request.into_inner();
        let mode = request.transaction.map(|transaction| transaction.access_mode());
        let outcome = if request.dry_run { Outcome::NotApplied } else { done(mode) };
        respond_with(&call, outcome, self.engine.execute_batch(request, caller).await)
    }
}

#[tonic::async_trait]
impl DatabaseService for DatabaseHandler {
    type StreamQueryStream = BoxStream<'static, Result<proto::StreamQueryResponse, Status>>;
    type CopyOutStream = BoxStream<'static, Result<proto::CopyOutResponse, Status>>;
    type TransactStream = BoxStream<'static, Result<proto::TransactResponse, Status>>;
    type ListenStream = BoxStream<'static, Result<proto::ListenResponse, Status>>;

    async fn query(&self, request: Request<proto::QueryRequest>) -> Answer<proto::QueryResponse> {
        self.query(request).await
    }

    async fn stream_query(
        &self,
        request: Request<proto::StreamQueryRequest>,
    ) -> Answer<Self::StreamQueryStream> {
        let call = rpc_call(&request);
        let caller = caller(&request);
        let missing = || Error::field(ErrorKind::InvalidOption, "query", "the query is missing");
        let query = request.into_inner().query.ok_or_else(missing);
        let parts = query.and_then(|query| self.engine.stream_query(query, caller));
        let parts = parts.map_err(|error| answer(&call, &error))?;
        let responses = parts.map(move |part| match part {
            Ok(part) => Ok(proto::StreamQueryResponse { part: Some(part) }),
            Err(error) => Err(answer(&call, &error)),
        });
        Ok(Response::new(responses.boxed()))
    }

    async fn execute_batch(
        &self,
        request: Request<proto::ExecuteBatchRequest>,
    ) -> Answer<proto::ExecuteBatchResponse> {
        self.execute_batch(request).await
    }

    async fn transact(
        &self,
        request: Request<Streaming<proto::TransactRequest>>,
    ) -> Answer<Self::TransactStream> {
        let caller = caller(&request);
        let commands = CommandReader::new(request.into_inner(), self.max_request_size);
        let replies = transact_streams::responses(&self.engine, commands, caller);
        Ok(Response::new(replies.boxed()))
    }

    async fn copy_in(
        &self,
        request: Request<Streaming<proto::CopyInRequest>>,
    ) -> Answer<proto::CopyInResponse> {
        let call = rpc_call(&request);
        let caller = caller(&request);
        let parts = copy_streams::parts(request.into_inner(), self.max_request_size);
        respond_with(&call, Outcome::Applied, self.engine.copy_in(parts, caller).await)
    }

    async fn copy_out(
        &self,
        request: Request<proto::CopyOutRequest>,
    ) -> Answer<Self::CopyOutStream> {
        let call = rpc_call(&request);
        let caller = caller(&request);
        let parts = self.engine.copy_out(request.into_inner(), caller);
        let parts = parts.map_err(|error| answer(&call, &error))?;
        let responses = parts.map(move |part| match part {
            Ok(part) => Ok(copy_streams::response(part)),
            Err(error) => Err(answer(&call, &error)),
        });
        Ok(Response::new(responses.boxed()))
    }

    async fn get_transaction_outcome(
        &self,
        request: Request<proto::GetTransactionOutcomeRequest>,
    ) -> Answer<proto::GetTransactionOutcomeResponse> {
        let call = rpc_call(&request);
        let caller = caller(&request);
        let outcome = Outcome::NotApplied;
        respond_with(
            &call,
            outcome,
            self.engine.get_transaction_outcome(request.into_inner(), caller).await,
        )
    }

    async fn describe_statement(
        &self,
        request: Request<proto::DescribeStatementRequest>,
    ) -> Answer<proto::DescribeStatementResponse> {
        let call = rpc_call(&request);
        let caller = caller(&request);
        let outcome = Outcome::NotApplied;
        respond_with(
            &call,
            outcome,
            self.engine.describe_statement(request.into_inner(), caller).await,
        )
    }

    async fn listen(&self, request: Request<proto::ListenRequest>) -> Answer<Self::ListenStream> {
        let call = rpc_call(&request);
        let caller = caller(&request);
        let events = self.engine.listen(request.into_inner(), &caller);
        let events = events.map_err(|error| answer(&call, &error))?;
        let responses = events.map(move |event| match event {
            Ok(event) => Ok(proto::ListenResponse { event: Some(event) }),
            Err(error) => Err(answer(&call, &error)),
        });
        Ok(Response::new(responses.boxed()))
    }
}

/// The outcome of a call that succeeded.
fn done(mode: Option<proto::AccessMode>) -> Outcome {
    if mode == Some(proto::AccessMode::ReadOnly) { Outcome::NotApplied } else { Outcome::Applied }
}
