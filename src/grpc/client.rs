//! A client of any Rowgate server, for the command line.
//!
//! It turns tonic's types into plain ones, so that its callers never name them. It knows nothing of
//! how results are printed. TLS is not there yet.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use prost::Message as _;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::pb;

use crate::error::{DatabaseReport, FieldViolation, Outcome};
use crate::value::proto::database_service_client::DatabaseServiceClient;
use crate::value::proto::stream_query_response::Part;
use crate::value::proto::{DatabaseError, QueryRequest, StreamQueryRequest, StreamQueryResponse};

/// TCP and HTTP/2 to a server that is there take milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A server that vanished without a word is noticed after both together.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest message taken. The server's own `grpc.max_response_size` is what bounds them.
const MAX_MESSAGE_SIZE: usize = 1 << 30;

/// Room for a few batches in flight: HTTP/2's default of 64 KiB would stall the server on each.
const WINDOW: u32 = 1 << 20;

/// Where a server is: `http://host:port`; the scheme may be left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(http::Uri);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: http::Uri =
            full.parse().map_err(|error| format!("{error}; write it as http://127.0.0.1:50051"))?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err("this client does not speak TLS yet; use http://".to_owned());
            }
            Some(_) | None => return Err("the scheme must be http://".to_owned()),
        }
        if uri.port().is_none() {
            return Err(format!("it needs a port, as in {full}:50051"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err("it must end after the port".to_owned());
        }
        Ok(Self(uri))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.to_string().trim_end_matches('/'))
    }
}

/// Why a call failed, in plain fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallError {
    /// The gRPC code: `INVALID_ARGUMENT`.
    pub code: &'static str,
    /// The message.
    pub message: String,
    /// The reason Rowgate gives; `None` when something else made the status.
    pub reason: Option<String>,
    /// What became of the work.
    pub outcome: Outcome,
    /// What to do about it; may be empty.
    pub hint: String,
    /// What the database said; its fields are empty where it said nothing.
    pub report: DatabaseReport,
    /// The fields of the request that are to blame.
    pub violations: Vec<FieldViolation>,
    /// When to try again.
    pub retry_after: Option<Duration>,
}

impl CallError {
    /// An error without details.
    #[must_use]
    pub fn new(code: &'static str, message: impl Into<String>, outcome: Outcome) -> Self {
        Self {
            code,
            message: message.into(),
            reason: None,
            outcome,
            hint: String::new(),
            report: DatabaseReport::default(),
            violations: Vec::new(),
            retry_after: None,
        }
    }

    fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }

    /// Reads Rowgate's details. A status without its ErrorInfo was made by something on the way, and
    /// says nothing about what the database did.
    fn from_status(status: &Status) -> Self {
        let mut message = status.message().to_owned();
        if let Some(cause) = root_cause(status).filter(|cause| !message.contains(cause)) {
            message = format!("{message}: {cause}");
        }
        let mut error = Self::new(code_name(status.code()), message, Outcome::Unknown);
        let details = pb::Status::decode(status.details()).unwrap_or_default().details;
        for detail in details {
            error.take_detail(&detail.type_url, &detail.value);
        }
        error
    }

    /// An undecodable or unknown detail adds nothing: the rest of the status is still worth showing.
    fn take_detail(&mut self, type_url: &str, value: &[u8]) {
        match type_url.rsplit('/').next().unwrap_or_default() {
            "google.rpc.ErrorInfo" => {
                let info = pb::ErrorInfo::decode(value).unwrap_or_default();
                if info.domain == "rowgate" {
                    self.outcome = match info.metadata.get("outcome").map(String::as_str) {
                        Some("NOT_APPLIED") => Outcome::NotApplied,
                        Some("APPLIED") => Outcome::Applied,
                        Some(_) | None => Outcome::Unknown,
                    };
                    self.reason = Some(info.reason);
                }
            }
            "google.rpc.BadRequest" => {
                let bad = pb::BadRequest::decode(value).unwrap_or_default();
                self.violations = bad
                    .field_violations
                    .into_iter()
                    .map(|violation| FieldViolation {
                        field: violation.field,
                        description: violation.description,
                    })
                    .collect();
            }
            "google.rpc.RetryInfo" => {
                let retry = pb::RetryInfo::decode(value).unwrap_or_default();
                self.retry_after = retry.retry_delay.and_then(|delay| delay.try_into().ok());
            }
            "rowgate.v1.DatabaseError" => {
                self.take_report(DatabaseError::decode(value).unwrap_or_default());
            }
            _ => {}
        }
    }

    fn take_report(&mut self, error: DatabaseError) {
        self.hint = error.hint;
        self.report = DatabaseReport {
            sqlstate: error.sqlstate,
            severity: error.severity,
            constraint: error.constraint,
            schema: error.schema,
            table: error.table,
            column: error.column,
            data_type: error.data_type,
            position: error.position,
            detail: error.detail,
        };
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CallError {}

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
        let endpoint = Endpoint::from(address.0.clone())
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

    /// Starts a statement.
    ///
    /// # Errors
    /// Why the server, or the way to it, refused.
    pub async fn stream_query(&self, query: QueryRequest) -> Result<ResultStream, CallError> {
        let mut service = DatabaseServiceClient::new(self.channel.clone())
            .max_decoding_message_size(MAX_MESSAGE_SIZE);
        let call = service.stream_query(StreamQueryRequest { query: Some(query) });
        let parts = Limit::within(self.limit, call).await?.into_inner();
        Ok(ResultStream { parts, complete: false, limit: self.limit })
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

/// What stands at the end of a chain of causes: the ones between say "transport error".
fn root_cause(error: &dyn std::error::Error) -> Option<String> {
    let mut cause = error.source()?;
    while let Some(next) = cause.source() {
        cause = next;
    }
    Some(cause.to_string())
}

/// The code's name in the gRPC specification, which is what other clients show.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::HashMap;

    use tokio::net::TcpListener;
    use tokio_stream::Stream;
    use tonic::transport::Server;
    use tonic::transport::server::TcpIncoming;
    use tonic::{Request, Response};

    use super::*;
    use crate::value::proto::database_service_server::{DatabaseService, DatabaseServiceServer};
    use crate::value::proto::{
        DescribeStatementRequest, DescribeStatementResponse, ExecuteBatchRequest,
        ExecuteBatchResponse, GetTransactionOutcomeRequest, GetTransactionOutcomeResponse,
        QueryResponse, ResultHeader, ResultSummary, RowBatch, TransactRequest, TransactResponse,
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

    #[test]
    fn addresses_are_plain_http_with_a_port() {
        let cases = [
            ("127.0.0.1:50051", Ok("http://127.0.0.1:50051")),
            ("http://[::1]:1/", Ok("http://[::1]:1")),
            ("https://db:1", Err("TLS")),
            ("ftp://db:1", Err("http://")),
            ("db", Err("needs a port")),
            ("http://db:1/path", Err("end after the port")),
            ("", Err("")),
        ];
        for (text, expected) in cases {
            match (text.parse::<Address>(), expected) {
                (Ok(address), Ok(shown)) => assert_eq!(address.to_string(), shown),
                (Err(error), Err(part)) => assert!(error.contains(part), "{text}: {error}"),
                (parsed, _) => panic!("{text}: {parsed:?}"),
            }
        }
    }
}
