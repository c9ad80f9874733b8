//! The calls: statements, the server's information and health, and those of operators.

use std::time::Duration;

use futures_util::Stream;
use tonic::{Request, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::call_error::{CallError, CallResult};
use super::channel::{CallLimit, Client, MAX_MESSAGE_SIZE, Wire};
use crate::error::Outcome;
use crate::value::proto::copy_out_response::Part as CopyPart;
use crate::value::proto::database_service_client::DatabaseServiceClient;
use crate::value::proto::listen_response::Event;
use crate::value::proto::pool_service_client::PoolServiceClient;
use crate::value::proto::server_service_client::ServerServiceClient;
use crate::value::proto::stream_query_response::Part;
use crate::value::proto::{
    CopyInRequest, CopyInResponse, CopyOutRequest, CopyOutResponse, ExecuteBatchRequest,
    ExecuteBatchResponse, GetServerInfoRequest, GetServerInfoResponse, ListCheckoutsRequest,
    ListCheckoutsResponse, ListPoolStatsRequest, ListPoolStatsResponse, ListenRequest,
    ListenResponse, PausePoolRequest, PausePoolResponse, QueryRequest, QueryResponse,
    ReconnectPoolRequest, ReconnectPoolResponse, ResizePoolRequest, ResizePoolResponse,
    ResumePoolRequest, ResumePoolResponse, StreamQueryRequest, StreamQueryResponse,
    TerminateCheckoutRequest, TerminateCheckoutResponse, WatchPoolStatsRequest,
    WatchPoolStatsResponse,
};

/// The time that a waiting call gets beyond its wait: the server answers before the call's deadline, so that
/// the answer arrives.
const ANSWER_TIME: Duration = Duration::from_secs(1);

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

    /// Starts to listen to channels.
    pub(crate) async fn listen(&self, request: ListenRequest) -> CallResult<EventStream> {
        self.response(self.databases().listen(request)).await.map(EventStream)
    }

    /// Copies rows into a table: the requests end with the end of the data.
    pub(crate) async fn copy_in(
        &self,
        requests: impl Stream<Item = CopyInRequest> + Send + 'static,
    ) -> CallResult<CopyInResponse> {
        self.response(self.databases().copy_in(requests)).await
    }

    /// Starts to copy rows out.
    pub(crate) async fn copy_out(&self, request: CopyOutRequest) -> CallResult<CopyStream> {
        let parts = self.response(self.databases().copy_out(request)).await?;
        Ok(CopyStream { parts, limit: self.limit })
    }

    pub(super) fn databases(&self) -> DatabaseServiceClient<Wire> {
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

    /// Returns the state and counters of a pool; of all when the name is empty.
    pub(crate) async fn list_pool_stats(&self, pool: &str) -> CallResult<ListPoolStatsResponse> {
        let request = ListPoolStatsRequest { pool: pool.to_owned() };
        self.response(self.pools().list_pool_stats(request)).await
    }

    /// Starts to watch a pool; all when the name is empty.
    pub(crate) async fn watch_pool_stats(
        &self,
        pool: &str,
        interval: Duration,
    ) -> CallResult<PoolWatch> {
        // The server rejects an interval that is out of a message's range.
        let longest = prost_types::Duration { seconds: i64::MAX, nanos: 0 };
        let interval = Some(interval.try_into().unwrap_or(longest));
        let request = WatchPoolStatsRequest { pool: pool.to_owned(), interval };
        self.response(self.pools().watch_pool_stats(request)).await.map(PoolWatch)
    }

    /// Returns the checkouts of a pool; of all when the name is empty.
    pub(crate) async fn list_checkouts(&self, pool: &str) -> CallResult<ListCheckoutsResponse> {
        let request = ListCheckoutsRequest { pool: pool.to_owned() };
        self.response(self.pools().list_checkouts(request)).await
    }

    /// Pauses a pool, and waits at most `timeout` for the work in progress.
    pub(crate) async fn pause_pool(
        &self,
        pool: &str,
        timeout: Duration,
    ) -> CallResult<PausePoolResponse> {
        let message = PausePoolRequest { pool: pool.to_owned(), timeout: timeout.try_into().ok() };
        let mut request = Request::new(message);
        // Without a deadline the server would apply its default.
        request.set_timeout(timeout.saturating_add(ANSWER_TIME));
        self.response(self.pools().pause_pool(request)).await
    }

    pub(crate) async fn resume_pool(&self, pool: &str) -> CallResult<ResumePoolResponse> {
        let request = ResumePoolRequest { pool: pool.to_owned() };
        self.response(self.pools().resume_pool(request)).await
    }

    /// Replaces the connections of a pool.
    pub(crate) async fn reconnect_pool(&self, pool: &str) -> CallResult<ReconnectPoolResponse> {
        let request = ReconnectPoolRequest { pool: pool.to_owned() };
        self.response(self.pools().reconnect_pool(request)).await
    }

    /// Sets the bounds of a pool; a bound of `None` is kept.
    pub(crate) async fn resize_pool(
        &self,
        pool: &str,
        min: Option<u32>,
        max: Option<u32>,
    ) -> CallResult<ResizePoolResponse> {
        let request = ResizePoolRequest { pool: pool.to_owned(), min, max };
        self.response(self.pools().resize_pool(request)).await
    }

    /// Ends the work of a checkout.
    pub(crate) async fn terminate_checkout(
        &self,
        pool: &str,
        checkout: u64,
    ) -> CallResult<TerminateCheckoutResponse> {
        let request = TerminateCheckoutRequest { pool: pool.to_owned(), checkout };
        self.response(self.pools().terminate_checkout(request)).await
    }

    fn pools(&self) -> PoolServiceClient<Wire> {
        PoolServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE_SIZE)
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

/// The events of a listener.
#[derive(Debug)]
pub(crate) struct EventStream(Streaming<ListenResponse>);

impl EventStream {
    /// Returns the next event; `None` when the server ended the stream without a reason. Events that this client does not
    /// know are left out.
    pub(crate) async fn next(&mut self) -> CallResult<Option<Event>> {
        loop {
            let next = self.0.message().await.map_err(|status| CallError::from_status(&status))?;
            match next {
                Some(ListenResponse { event: Some(event) }) => return Ok(Some(event)),
                Some(ListenResponse { event: None }) => {}
                None => return Ok(None),
            }
        }
    }
}

/// The rows of a CopyOut.
#[derive(Debug)]
pub(crate) struct CopyStream {
    parts: Streaming<CopyOutResponse>,
    limit: CallLimit,
}

impl CopyStream {
    /// Returns the next part, of which the summary is the last. A stream that ends without one is an error: its data is
    /// incomplete.
    pub(crate) async fn next(&mut self) -> CallResult<CopyPart> {
        let part = self.limit.within(self.parts.message()).await?.and_then(|part| part.part);
        part.ok_or_else(|| {
            CallError::new("UNKNOWN", "the stream ended without a summary", Outcome::Unknown)
        })
    }
}

#[derive(Debug)]
pub(crate) struct PoolWatch(Streaming<WatchPoolStatsResponse>);

impl PoolWatch {
    /// Returns the next message, none of which is lost by a cancellation; `None` when the server ended the watch
    /// without a reason.
    pub(crate) async fn next(&mut self) -> CallResult<Option<WatchPoolStatsResponse>> {
        self.0.message().await.map_err(|status| CallError::from_status(&status))
    }
}
