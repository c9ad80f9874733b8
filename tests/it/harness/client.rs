//! An ordinary gRPC client, and what it reads from a failed call.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use prost::Message as _;
use rowgate::value::proto::database_service_client::DatabaseServiceClient;
use rowgate::value::proto::stream_query_response::Part;
use rowgate::value::proto::{
    AccessMode, DatabaseError, QueryOptions, QueryRequest, QueryResponse, ResultHeader, ResultSet,
    ResultSummary, Row, StreamQueryRequest, StreamQueryResponse, Value,
};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tonic::codegen::http::{HeaderMap, Uri};
use tonic::metadata::MetadataMap;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};
use tonic_types::StatusExt as _;

/// The deadline of a call that sets none of its own: a test must not hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Larger than any result in the tests: the server's caps are what is tested, not the client's.
const LARGEST: usize = 64 << 20;

/// Headers that every call has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Headers(pub(crate) HeaderMap);

impl Interceptor for Headers {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let (mut metadata, extensions, ()) = request.into_parts();
        let mut all = std::mem::take(&mut metadata).into_headers();
        all.extend(self.0.clone());
        Ok(Request::from_parts(MetadataMap::from_headers(all), extensions, ()))
    }
}

/// A connection whose calls have headers.
pub(crate) type Wire = InterceptedService<Channel, Headers>;

/// A client on one connection; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    channel: Channel,
    headers: Headers,
    database: DatabaseServiceClient<Wire>,
}

impl Client {
    /// Connects.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("it is a URL");
        Self::over(endpoint.connect().await.expect("the server accepts"))
    }

    /// Connects from another address of this machine's: as another caller.
    pub(crate) async fn connect_from(own: Ipv4Addr, address: SocketAddr) -> Self {
        let connector = tower::service_fn(move |_uri: Uri| async move {
            let socket = TcpSocket::new_v4()?;
            socket.bind((own, 0).into())?;
            let stream = socket.connect(address).await?;
            stream.set_nodelay(true)?;
            Ok::<_, std::io::Error>(TokioIo::new(stream))
        });
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("it is a URL");
        Self::over(endpoint.connect_with_connector(connector).await.expect("the server accepts"))
    }

    /// Connects to the socket of a server.
    pub(crate) async fn connect_socket(path: &Path) -> Result<Self, tonic::transport::Error> {
        let endpoint = Endpoint::from_shared(format!("unix:{}", path.display()));
        Ok(Self::over(endpoint.expect("it is a path").connect().await?))
    }

    /// Connects over TLS to a server that is called `localhost`.
    pub(crate) async fn connect_tls(
        address: SocketAddr,
        config: ClientConfig,
    ) -> Result<Self, tonic::transport::Error> {
        let tls = TlsConnector::from(Arc::new(config));
        let connector = tower::service_fn(move |_uri: Uri| {
            let tls = tls.clone();
            async move {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                let name = ServerName::try_from("localhost").expect("it is a name");
                Ok::<_, std::io::Error>(TokioIo::new(tls.connect(name, stream).await?))
            }
        });
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("it is a URL");
        Ok(Self::over(endpoint.connect_with_connector(connector).await?))
    }

    fn over(channel: Channel) -> Self {
        Self::with(channel, Headers::default())
    }

    fn with(channel: Channel, headers: Headers) -> Self {
        let wire = InterceptedService::new(channel.clone(), headers.clone());
        let database = DatabaseServiceClient::new(wire)
            .max_decoding_message_size(LARGEST)
            .max_encoding_message_size(LARGEST);
        Self { channel, headers, database }
    }

    /// A client on the same connection whose calls have these headers too.
    pub(crate) fn with_headers(&self, headers: Headers) -> Self {
        Self::with(self.channel.clone(), headers)
    }

    /// The connection with its headers, for other services' clients.
    pub(crate) fn wire(&self) -> Wire {
        InterceptedService::new(self.channel(), self.headers.clone())
    }

    /// The connection, for other services' clients.
    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// The generated client.
    pub(crate) fn raw(&self) -> DatabaseServiceClient<Wire> {
        self.database.clone()
    }

    /// Runs a statement on the default database.
    pub(crate) async fn query(
        &self,
        sql: &str,
        parameters: &[Value],
    ) -> Result<ResultSet, Failure> {
        self.run(request(sql, parameters)).await
    }

    /// Runs a request.
    pub(crate) async fn run(&self, request: QueryRequest) -> Result<ResultSet, Failure> {
        let response = self.call(request, PATIENCE).await?;
        Ok(response.result.expect("a response has a result"))
    }

    /// Runs a request with a deadline of the client's, sent as `grpc-timeout`.
    pub(crate) async fn call(
        &self,
        request: QueryRequest,
        deadline: Duration,
    ) -> Result<QueryResponse, Failure> {
        let answer = self.raw().query(with_deadline(request, deadline)).await;
        answer.map(tonic::Response::into_inner).map_err(Failure::from)
    }

    /// Runs a statement that must succeed.
    #[track_caller]
    pub(crate) fn must(
        &self,
        sql: &str,
        parameters: &[Value],
    ) -> impl Future<Output = ResultSet> + use<> {
        let (client, request, caller) =
            (self.clone(), request(sql, parameters), std::panic::Location::caller());
        async move {
            let sql = request.sql.clone();
            match client.run(request).await {
                Ok(result) => result,
                Err(failure) => panic!("{caller}: {sql}: {failure:?}"),
            }
        }
    }

    /// Runs a statement that must fail.
    #[track_caller]
    pub(crate) fn must_fail(
        &self,
        sql: &str,
        parameters: &[Value],
    ) -> impl Future<Output = Failure> + use<> {
        let (client, request, caller) =
            (self.clone(), request(sql, parameters), std::panic::Location::caller());
        async move {
            let sql = request.sql.clone();
            match client.run(request).await {
                Ok(result) => panic!("{caller}: {sql} returned {result:?}"),
                Err(failure) => failure,
            }
        }
    }

    /// Starts a stream.
    pub(crate) async fn open(&self, request: QueryRequest) -> Result<Parts, Failure> {
        self.open_within(request, PATIENCE).await
    }

    /// Starts a stream that has this long for all of its parts.
    pub(crate) async fn open_within(
        &self,
        request: QueryRequest,
        deadline: Duration,
    ) -> Result<Parts, Failure> {
        let request = StreamQueryRequest { query: Some(request) };
        let stream = self.raw().stream_query(with_deadline(request, deadline)).await?;
        Ok(Parts(stream.into_inner()))
    }

    /// Reads a stream to its end.
    pub(crate) async fn stream(&self, request: QueryRequest) -> Result<Streamed, Failure> {
        let mut parts = self.open(request).await?;
        let mut streamed = Streamed { header: parts.header().await?, ..Streamed::default() };
        while let Some(part) = parts.next().await? {
            assert!(streamed.summary.is_none(), "a part after the summary: {part:?}");
            match part {
                Part::Header(header) => panic!("a second header: {header:?}"),
                Part::Rows(batch) => {
                    assert!(!batch.rows.is_empty(), "an empty batch");
                    streamed.batches += 1;
                    streamed.rows.extend(batch.rows);
                }
                Part::Arrow(bytes) => streamed.arrow.extend(bytes),
                Part::Json(batch) => streamed.json.extend(batch.rows),
                Part::Summary(summary) => streamed.summary = Some(summary),
            }
        }
        assert!(streamed.summary.is_some(), "a stream that ended well has a summary");
        Ok(streamed)
    }
}

/// The parts of a stream, one by one.
pub(crate) struct Parts(Streaming<StreamQueryResponse>);

impl Parts {
    /// The first part, which is the header.
    pub(crate) async fn header(&mut self) -> Result<ResultHeader, Failure> {
        match self.next().await? {
            Some(Part::Header(header)) => Ok(header),
            other => panic!("the first part is not the header but {other:?}"),
        }
    }

    /// The next part; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Part>, Failure> {
        let message = self.0.message().await?;
        Ok(message.map(|message| message.part.expect("a message has a part")))
    }
}

/// A stream that was read to its end.
#[derive(Debug, Default)]
pub(crate) struct Streamed {
    /// The first part.
    pub(crate) header: ResultHeader,
    /// All rows.
    pub(crate) rows: Vec<Row>,
    /// The rows as JSON, where the caller wanted them.
    pub(crate) json: Vec<prost_types::Value>,
    /// The bytes of the Arrow stream, where the caller wanted one.
    pub(crate) arrow: Vec<u8>,
    /// The number of messages that brought them.
    pub(crate) batches: usize,
    /// The last part.
    pub(crate) summary: Option<ResultSummary>,
}

/// A request on the default database without options.
pub(crate) fn request(sql: &str, parameters: &[Value]) -> QueryRequest {
    QueryRequest { sql: sql.to_owned(), parameters: parameters.to_vec(), ..QueryRequest::default() }
}

/// A request with options.
pub(crate) fn request_with(sql: &str, options: QueryOptions) -> QueryRequest {
    QueryRequest { options: Some(options), ..request(sql, &[]) }
}

/// The options of a statement that may only read.
pub(crate) fn read_only() -> QueryOptions {
    QueryOptions { access_mode: AccessMode::ReadOnly.into(), ..QueryOptions::default() }
}

/// A message with a deadline that the server learns of.
pub(crate) fn with_deadline<T>(message: T, deadline: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(deadline);
    request
}

/// A failed call. Making one fails the test when the status is not as every status of the server must
/// be: its domain, a reason, an outcome, and a pushback that agrees with RetryInfo.
#[derive(Debug, PartialEq)]
pub(crate) struct Failure {
    /// The canonical code.
    pub(crate) code: Code,
    /// The message.
    pub(crate) message: String,
    /// `ErrorInfo.reason`
    pub(crate) reason: String,
    /// `ErrorInfo.metadata["outcome"]`
    pub(crate) outcome: String,
    /// The database's report.
    pub(crate) report: DatabaseError,
    /// The fields to blame, and why.
    pub(crate) violations: Vec<(String, String)>,
    /// `RetryInfo.retry_delay`
    pub(crate) retry_after: Option<Duration>,
}

impl Failure {
    /// Code and reason, which most tests compare.
    pub(crate) fn what(&self) -> (Code, &str) {
        (self.code, self.reason.as_str())
    }

    /// The fields to blame.
    pub(crate) fn fields(&self) -> Vec<&str> {
        self.violations.iter().map(|(field, _)| field.as_str()).collect()
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let failure = Self::read(&status);
        check_pushback(&status, failure.retry_after);
        failure
    }
}

impl Failure {
    /// Reads a status that is a reply within a stream.
    pub(crate) fn of_reply(reply: &tonic_types::Status) -> Self {
        let details = reply.encode_to_vec().into();
        Self::read(&Status::with_details(Code::from(reply.code), &reply.message, details))
    }

    fn read(status: &Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
        assert_eq!(info.domain, "rowgate", "{status:?}");
        assert!(!info.reason.is_empty(), "{status:?}");
        let outcome = info.metadata.get("outcome").cloned().unwrap_or_default();
        assert!(["NOT_APPLIED", "APPLIED", "UNKNOWN"].contains(&&*outcome), "{status:?}");
        if matches!(status.code(), Code::Unavailable | Code::Aborted) {
            assert_eq!(outcome, "NOT_APPLIED", "these codes are retried blindly: {status:?}");
        }
        assert!(status.message().len() <= 1024, "a message over 1 KiB: {status:?}");
        assert!(status.details().len() <= 4096, "details over 4 KiB: {status:?}");
        let retry_after = details.retry_info().and_then(|info| info.retry_delay);
        Self {
            code: status.code(),
            message: status.message().to_owned(),
            reason: info.reason.clone(),
            outcome,
            report: database_error(status),
            violations: details.bad_request().map_or_else(Vec::new, |bad| {
                let violations = bad.field_violations.iter();
                violations.map(|v| (v.field.clone(), v.description.clone())).collect()
            }),
            retry_after,
        }
    }
}

/// The trailer repeats the delay in milliseconds, and is -1 without one.
fn check_pushback(status: &Status, retry_after: Option<Duration>) {
    let trailer = status.metadata().get("grpc-retry-pushback-ms").and_then(|v| v.to_str().ok());
    let wanted = retry_after.map_or("-1".to_owned(), |delay| delay.as_millis().to_string());
    assert_eq!(trailer, Some(wanted.as_str()), "{status:?}");
}

fn database_error(status: &Status) -> DatabaseError {
    let status =
        tonic_types::Status::decode(status.details()).expect("details are google.rpc.Status");
    let any = status.details.iter().find(|any| any.type_url.ends_with("/rowgate.v1.DatabaseError"));
    let any = any.unwrap_or_else(|| panic!("no DatabaseError: {status:?}"));
    DatabaseError::decode(&*any.value).expect("it is a DatabaseError")
}
