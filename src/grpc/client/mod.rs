//! A client of any Rowgate server, for the command line.
//!
//! It turns tonic's types into plain ones, so that its callers never name them. It knows nothing of
//! how results are printed. TLS is not there yet.

mod address;
mod call_error;
mod pool_calls;

use std::time::Duration;

use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

pub use address::Address;
pub use call_error::CallError;
pub use pool_calls::PoolWatch;

use crate::error::Outcome;
use crate::value::proto::database_service_client::DatabaseServiceClient;
use crate::value::proto::server_service_client::ServerServiceClient;
use crate::value::proto::stream_query_response::Part;
use crate::value::proto::{
    ExecuteBatchRequest, ExecuteBatchResponse, GetServerInfoRequest, GetServerInfoResponse,
    QueryRequest, QueryResponse, StreamQueryRequest, StreamQueryResponse,
};
use call_error::root_cause;

/// TCP and HTTP/2 to a server that is there take milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A server that vanished without a word is noticed after both together.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest message taken. The server's own `grpc.max_response_size` is what bounds them.
const MAX_MESSAGE_SIZE: usize = 1 << 30;

/// Room for a few batches in flight: HTTP/2's default of 64 KiB would stall the server on each.
const WINDOW: u32 = 1 << 20;

/// What a server says of a service's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It takes calls.
    Serving,
    /// It does not.
    NotServing,
    /// It does not know.
    Unknown,
}

/// When a server must have answered, whatever it promised.
#[derive(Debug, Clone, Copy)]
struct Limit {
    after: Duration,
    at: Instant,
}

impl Limit {
    async fn within<T>(
        limit: Option<Self>,
        call: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, CallError> {
        let Some(limit) = limit else {
            return call.await.map_err(|status| CallError::from_status(&status));
        };
        match tokio::time::timeout_at(limit.at, call).await {
            Ok(answer) => answer.map_err(|status| CallError::from_status(&status)),
            Err(_elapsed) => Err(CallError::new(
                "DEADLINE_EXCEEDED",
                format!("the server did not answer within {:?}", limit.after),
                Outcome::Unknown,
            )),
        }
    }
}

/// A connection to a server.
#[derive(Debug, Clone)]
pub struct Client {
    channel: Channel,
    limit: Option<Limit>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When nothing accepts the connection within 5 s.
    pub async fn connect(address: &Address) -> Result<Self, CallError> {
        let endpoint = Endpoint::from(address.uri())
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(2 * WINDOW);
        match endpoint.connect().await {
            Ok(channel) => Ok(Self { channel, limit: None }),
            Err(error) => {
                let cause = root_cause(&error).unwrap_or_else(|| error.to_string());
                let message = format!("cannot connect to {address}: {cause}");
                Err(CallError::new("UNAVAILABLE", message, Outcome::NotApplied)
                    .with_hint("Start a server with `rowgate serve`, or name one with --address."))
            }
        }
    }

    /// Bounds all calls from here on, counted from now: for a server that has stopped answering. One
    /// that works keeps `QueryOptions.timeout` by itself, and tells more when it passes.
    #[must_use]
    pub fn with_limit(mut self, after: Duration) -> Self {
        // A limit beyond the clock's range is none.
        self.limit = Instant::now().checked_add(after).map(|at| Limit { after, at });
        self
    }

    /// Runs a statement and returns its whole result.
    ///
    /// # Errors
    /// Why it failed, and what became of it.
    pub async fn query(&self, request: QueryRequest) -> Result<QueryResponse, CallError> {
        let mut service = self.databases();
        Ok(Limit::within(self.limit, service.query(request)).await?.into_inner())
    }

    /// Runs statements in one transaction.
    ///
    /// # Errors
    /// Why it failed, which statement is to blame, and what became of all.
    pub async fn execute_batch(
        &self,
        request: ExecuteBatchRequest,
    ) -> Result<ExecuteBatchResponse, CallError> {
        let mut service = self.databases();
        Ok(Limit::within(self.limit, service.execute_batch(request)).await?.into_inner())
    }

    /// Asks which databases the server has.
    ///
    /// # Errors
    /// Why it did not answer.
    pub async fn server_info(&self) -> Result<GetServerInfoResponse, CallError> {
        let mut service = ServerServiceClient::new(self.channel.clone());
        let call = service.get_server_info(GetServerInfoRequest {});
        Ok(Limit::within(self.limit, call).await?.into_inner())
    }

    /// Starts a statement.
    ///
    /// # Errors
    /// Why the server, or the way to it, refused.
    pub async fn stream_query(&self, query: QueryRequest) -> Result<ResultStream, CallError> {
        let mut service = self.databases();
        let call = service.stream_query(StreamQueryRequest { query: Some(query) });
        let parts = Limit::within(self.limit, call).await?.into_inner();
        Ok(ResultStream { parts, complete: false, limit: self.limit })
    }

    fn databases(&self) -> DatabaseServiceClient<Channel> {
        DatabaseServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE_SIZE)
    }

    /// Asks how a service is; `""` is the server as a whole.
    ///
    /// # Errors
    /// `NOT_FOUND` when the server has no such service; else why it did not answer.
    pub async fn health(&self, service: &str) -> Result<Health, CallError> {
        let request = HealthCheckRequest { service: service.to_owned() };
        let mut service = HealthClient::new(self.channel.clone());
        let response = Limit::within(self.limit, service.check(request)).await?;
        Ok(match response.into_inner().status() {
            ServingStatus::Serving => Health::Serving,
            ServingStatus::NotServing => Health::NotServing,
            ServingStatus::Unknown | ServingStatus::ServiceUnknown => Health::Unknown,
        })
    }
}

/// The parts of a streamed result.
#[derive(Debug)]
pub struct ResultStream {
    parts: Streaming<StreamQueryResponse>,
    complete: bool,
    limit: Option<Limit>,
}

impl ResultStream {
    /// The next part; `None` after the summary.
    ///
    /// # Errors
    /// How the statement failed, also when the stream ends without a summary: what it delivered
    /// before is then incomplete.
    pub async fn next(&mut self) -> Result<Option<Part>, CallError> {
        match Limit::within(self.limit, self.parts.message()).await? {
            Some(StreamQueryResponse { part: Some(part) }) => {
                self.complete |= matches!(part, Part::Summary(_));
                Ok(Some(part))
            }
            Some(StreamQueryResponse { part: None }) => Err(CallError::new(
                "INTERNAL",
                "the server sent a part of a result that this client does not know",
                Outcome::Unknown,
            )
            .with_hint("Use the client of the server's own version.")),
            None if self.complete => Ok(None),
            None => Err(CallError::new(
                "UNKNOWN",
                "the stream ended without a summary",
                Outcome::Unknown,
            )),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::HashMap;

    use prost::Message as _;
    use tokio::net::TcpListener;
    use tokio_stream::Stream;
    use tonic::transport::Server;
    use tonic::transport::server::TcpIncoming;
    use tonic::{Code, Request, Response};
    use tonic_types::pb;

    use super::*;
    use crate::error::{DatabaseReport, FieldViolation};
    use crate::value::proto::database_service_server::{DatabaseService, DatabaseServiceServer};
    use crate::value::proto::{
        DatabaseError, DescribeStatementRequest, DescribeStatementResponse,
        GetTransactionOutcomeRequest, GetTransactionOutcomeResponse, ResultHeader, ResultSummary,
        RowBatch, TransactRequest, TransactResponse,
    };
    use crate::value::{Column, Row, Value};

    /// Plays parts for a statement, by its text.
    struct Scripted;

    type Parts = Vec<Result<StreamQueryResponse, Status>>;

    fn part(part: Part) -> Result<StreamQueryResponse, Status> {
        Ok(StreamQueryResponse { part: Some(part) })
    }

    fn script(sql: &str) -> Result<Parts, Status> {
        let header = part(Part::Header(ResultHeader::default()));
        let summary = part(Part::Summary(ResultSummary::default()));
        match sql {
            "complete" => Ok(vec![header, summary]),
            "rows" => Ok(vec![rows_header(), rows(1), rows(2), summary]),
            "rows, then failure" => Ok(vec![rows_header(), rows(1), Err(rich_status())]),
            "cut" => Ok(vec![header]),
            "late failure" => Ok(vec![header, Err(rich_status())]),
            "unknown part" => Ok(vec![Ok(StreamQueryResponse { part: None })]),
            "foreign" => Err(Status::unavailable("upstream connect error")),
            _ => Err(rich_status()),
        }
    }

    fn rows_header() -> Result<StreamQueryResponse, Status> {
        let column = Column { name: "id".to_owned(), ..Column::default() };
        part(Part::Header(ResultHeader { has_columns: true, columns: vec![column] }))
    }

    fn rows(id: i64) -> Result<StreamQueryResponse, Status> {
        part(Part::Rows(RowBatch { rows: vec![Row { values: vec![Value::int64(id)] }] }))
    }

    fn rich_status() -> Status {
        let any = |name: &str, value: Vec<u8>| prost_types::Any {
            type_url: format!("type.googleapis.com/{name}"),
            value,
        };
        let info = pb::ErrorInfo {
            reason: "UNIQUE_VIOLATION".to_owned(),
            domain: "rowgate".to_owned(),
            metadata: HashMap::from([("outcome".to_owned(), "NOT_APPLIED".to_owned())]),
        };
        let database = DatabaseError {
            sqlstate: "23505".to_owned(),
            constraint: "orders_pkey".to_owned(),
            position: 7,
            hint: "Choose another key.".to_owned(),
            failed_statement: Some(3),
            transaction_token: "pg1-1".to_owned(),
            ..DatabaseError::default()
        };
        let violation = pb::bad_request::FieldViolation {
            field: "parameters[0]".to_owned(),
            description: "taken".to_owned(),
            ..Default::default()
        };
        let delay = prost_types::Duration { seconds: 0, nanos: 250_000_000 };
        let details = vec![
            any("google.rpc.ErrorInfo", info.encode_to_vec()),
            any("rowgate.v1.DatabaseError", database.encode_to_vec()),
            any(
                "google.rpc.BadRequest",
                pb::BadRequest { field_violations: vec![violation] }.encode_to_vec(),
            ),
            any("google.rpc.RetryInfo", pb::RetryInfo { retry_delay: Some(delay) }.encode_to_vec()),
            any("example.Unknown", vec![1, 2, 3]),
        ];
        let status = pb::Status { code: 6, message: "duplicate key".to_owned(), details };
        Status::with_details(Code::AlreadyExists, "duplicate key", status.encode_to_vec().into())
    }

    #[tonic::async_trait]
    impl DatabaseService for Scripted {
        async fn query(
            &self,
            _request: Request<QueryRequest>,
        ) -> Result<Response<QueryResponse>, Status> {
            Err(Status::unimplemented("not scripted"))
        }

        async fn execute_batch(
            &self,
            _request: Request<ExecuteBatchRequest>,
        ) -> Result<Response<ExecuteBatchResponse>, Status> {
            Err(Status::unimplemented("not scripted"))
        }

        type TransactStream =
            std::pin::Pin<Box<dyn Stream<Item = Result<TransactResponse, Status>> + Send>>;

        async fn transact(
            &self,
            _request: Request<tonic::Streaming<TransactRequest>>,
        ) -> Result<Response<Self::TransactStream>, Status> {
            Err(Status::unimplemented("not scripted"))
        }

        async fn get_transaction_outcome(
            &self,
            _request: Request<GetTransactionOutcomeRequest>,
        ) -> Result<Response<GetTransactionOutcomeResponse>, Status> {
            Err(Status::unimplemented("not scripted"))
        }

        type StreamQueryStream =
            std::pin::Pin<Box<dyn Stream<Item = Result<StreamQueryResponse, Status>> + Send>>;

        async fn stream_query(
            &self,
            request: Request<StreamQueryRequest>,
        ) -> Result<Response<Self::StreamQueryStream>, Status> {
            let sql = request.into_inner().query.unwrap_or_default().sql;
            if sql == "silence" {
                std::future::pending::<()>().await;
            }
            Ok(Response::new(Box::pin(tokio_stream::iter(script(&sql)?))))
        }

        async fn describe_statement(
            &self,
            _request: Request<DescribeStatementRequest>,
        ) -> Result<Response<DescribeStatementResponse>, Status> {
            Err(Status::unimplemented("not scripted"))
        }
    }

    /// The scripted server, on a thread of its own: for callers that block.
    pub(crate) fn server_thread() -> Address {
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tell.send(server().await).unwrap();
                std::future::pending::<()>().await;
            });
        });
        told.recv().unwrap()
    }

    async fn server() -> Address {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string().parse().unwrap();
        let (health, service) = tonic_health::server::health_reporter();
        health.set_service_status("database.main", tonic_health::ServingStatus::NotServing).await;
        let server = Server::builder()
            .add_service(service)
            .add_service(DatabaseServiceServer::new(Scripted))
            .serve_with_incoming(TcpIncoming::from(listener));
        drop(tokio::spawn(server));
        address
    }

    fn query(sql: &str) -> QueryRequest {
        QueryRequest { sql: sql.to_owned(), ..QueryRequest::default() }
    }

    async fn parts(sql: &str) -> Result<usize, CallError> {
        let client = Client::connect(&server().await).await?;
        let mut stream = client.stream_query(query(sql)).await?;
        let mut count = 0;
        while stream.next().await?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    #[tokio::test]
    async fn a_stream_is_complete_only_with_its_summary() {
        assert_eq!(parts("complete").await, Ok(2));
        let cut = parts("cut").await.unwrap_err();
        assert_eq!((cut.code, cut.outcome), ("UNKNOWN", Outcome::Unknown));
        assert_eq!(cut.message, "the stream ended without a summary");
        let unknown = parts("unknown part").await.unwrap_err();
        assert!(unknown.message.contains("does not know"), "{unknown}");
    }

    #[tokio::test]
    async fn the_details_of_an_error_become_fields() {
        for sql in ["refused", "late failure"] {
            let error = parts(sql).await.unwrap_err();
            let expected = CallError {
                code: "ALREADY_EXISTS",
                message: "duplicate key".to_owned(),
                reason: Some("UNIQUE_VIOLATION".to_owned()),
                outcome: Outcome::NotApplied,
                hint: "Choose another key.".to_owned(),
                report: DatabaseReport {
                    sqlstate: "23505".to_owned(),
                    constraint: "orders_pkey".to_owned(),
                    position: 7,
                    ..DatabaseReport::default()
                },
                violations: vec![FieldViolation {
                    field: "parameters[0]".to_owned(),
                    description: "taken".to_owned(),
                }],
                retry_after: Some(Duration::from_millis(250)),
                failed_statement: Some(3),
                transaction_token: "pg1-1".to_owned(),
            };
            assert_eq!(error, expected);
        }
    }

    #[tokio::test]
    async fn a_status_of_something_on_the_way_says_nothing_of_the_outcome() {
        let error = parts("foreign").await.unwrap_err();
        assert_eq!((error.code, error.reason), ("UNAVAILABLE", None));
        assert_eq!(error.outcome, Outcome::Unknown);
    }

    #[tokio::test]
    async fn a_silent_server_is_given_up_at_the_limit() {
        let client = Client::connect(&server().await).await.unwrap();
        let client = client.with_limit(Duration::from_millis(50));
        let error = client.stream_query(query("silence")).await.unwrap_err();
        assert_eq!((error.code, error.outcome), ("DEADLINE_EXCEEDED", Outcome::Unknown));
        assert_eq!(error.message, "the server did not answer within 50ms");
    }

    #[tokio::test]
    async fn nobody_there_is_said_with_the_address() {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let error = Client::connect(&free.to_string().parse().unwrap()).await.unwrap_err();
        assert_eq!((error.code, error.outcome), ("UNAVAILABLE", Outcome::NotApplied));
        let start = format!("cannot connect to http://{free}: Connection refused");
        assert!(error.message.starts_with(&start), "{error}");
    }

    #[tokio::test]
    async fn health_is_asked_by_name() {
        let client = Client::connect(&server().await).await.unwrap();
        assert_eq!(client.health("").await, Ok(Health::Serving));
        assert_eq!(client.health("database.main").await, Ok(Health::NotServing));
        assert_eq!(client.health("database.other").await.unwrap_err().code, "NOT_FOUND");
    }
}
