//! The client against a scripted server.

use std::collections::HashMap;
use std::time::Duration;

use prost::Message as _;
use tokio::net::TcpListener;
use tokio_stream::Stream;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Response, Status};
use tonic_types::pb;

use super::{Address, CallError, Client, Health, Security};
use crate::error::{DatabaseReport, FieldViolation, Outcome};
use crate::value::proto::database_service_server::{DatabaseService, DatabaseServiceServer};
use crate::value::proto::stream_query_response::Part;
use crate::value::proto::{
    CopyInRequest, CopyInResponse, CopyOutRequest, CopyOutResponse, DatabaseError,
    DescribeStatementRequest, DescribeStatementResponse, ExecuteBatchRequest, ExecuteBatchResponse,
    GetTransactionOutcomeRequest, GetTransactionOutcomeResponse, ListenRequest, ListenResponse,
    QueryRequest, QueryResponse, ResultHeader, ResultSummary, RowBatch, StreamQueryRequest,
    StreamQueryResponse, TransactRequest, TransactResponse,
};
use crate::value::{Column, Row, Value};

/// A server whose streams are scripted by the text of the statement.
struct ScriptedServer;

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
        "proxy" => Err(Status::unavailable("upstream connect error")),
        _ => Err(rich_status()),
    }
}

fn rows_header() -> Result<StreamQueryResponse, Status> {
    let column = Column { name: "id".to_owned(), ..Column::default() };
    part(Part::Header(ResultHeader { has_columns: true, columns: vec![column] }))
}

fn rows(id: i64) -> Result<StreamQueryResponse, Status> {
    part(Part::Rows(RowBatch::new(vec![Row { values: vec![Value::int64(id)] }])))
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
impl DatabaseService for ScriptedServer {
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

    type ListenStream =
        std::pin::Pin<Box<dyn Stream<Item = Result<ListenResponse, Status>> + Send>>;

    async fn listen(
        &self,
        _request: Request<ListenRequest>,
    ) -> Result<Response<Self::ListenStream>, Status> {
        Err(Status::unimplemented("not scripted"))
    }

    async fn copy_in(
        &self,
        _request: Request<tonic::Streaming<CopyInRequest>>,
    ) -> Result<Response<CopyInResponse>, Status> {
        Err(Status::unimplemented("not scripted"))
    }

    type CopyOutStream =
        std::pin::Pin<Box<dyn Stream<Item = Result<CopyOutResponse, Status>> + Send>>;

    async fn copy_out(
        &self,
        _request: Request<CopyOutRequest>,
    ) -> Result<Response<Self::CopyOutStream>, Status> {
        Err(Status::unimplemented("not scripted"))
    }

    async fn describe_statement(
        &self,
        _request: Request<DescribeStatementRequest>,
    ) -> Result<Response<DescribeStatementResponse>, Status> {
        Err(Status::unimplemented("not scripted"))
    }
}

/// Starts the scripted server on a thread of its own, for callers that block.
pub(crate) fn server_thread() -> Address {
    let (sender, address) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            sender.send(server().await).unwrap();
            std::future::pending::<()>().await;
        });
    });
    address.recv().unwrap()
}

async fn server() -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string().parse().unwrap();
    let (health, service) = tonic_health::server::health_reporter();
    health.set_service_status("database.main", tonic_health::ServingStatus::NotServing).await;
    let server = Server::builder()
        .add_service(service)
        .add_service(DatabaseServiceServer::new(ScriptedServer))
        .serve_with_incoming(TcpIncoming::from(listener));
    drop(tokio::spawn(server));
    address
}

fn query(sql: &str) -> QueryRequest {
    QueryRequest { sql: sql.to_owned(), ..QueryRequest::default() }
}

async fn parts(sql: &str) -> Result<usize, CallError> {
    let client = Client::connect(&server().await, &Security::default()).await?;
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
            report: DatabaseReport {
                sqlstate: "23505".to_owned(),
                constraint: "orders_pkey".to_owned(),
                position: 7,
                hint: "Choose another key.".to_owned(),
                failed_statement: Some(3),
                transaction_token: "pg1-1".to_owned(),
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
async fn a_status_that_a_proxy_made_has_an_unknown_outcome() {
    let error = parts("proxy").await.unwrap_err();
    assert_eq!((error.code, error.reason), ("UNAVAILABLE", None));
    assert_eq!(error.outcome, Outcome::Unknown);
}

#[tokio::test]
async fn a_call_to_a_silent_server_ends_at_the_limit() {
    let client = Client::connect(&server().await, &Security::default()).await.unwrap();
    let client = client.with_limit(Duration::from_millis(50));
    let error = client.stream_query(query("silence")).await.unwrap_err();
    assert_eq!((error.code, error.outcome), ("DEADLINE_EXCEEDED", Outcome::Unknown));
    assert_eq!(error.message, "the server did not answer within 50ms");
}

#[tokio::test]
async fn an_unreachable_server_is_named_by_its_address() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = Client::connect(&free.to_string().parse().unwrap(), &Security::default())
        .await
        .unwrap_err();
    assert_eq!((error.code, error.outcome), ("UNAVAILABLE", Outcome::NotApplied));
    let start = format!("cannot connect to http://{free}: Connection refused");
    assert!(error.message.starts_with(&start), "{error}");
}

#[tokio::test]
async fn health_is_read_by_the_name_of_a_service() {
    let client = Client::connect(&server().await, &Security::default()).await.unwrap();
    assert_eq!(client.health("").await, Ok(Health::Serving));
    assert_eq!(client.health("database.main").await, Ok(Health::NotServing));
    assert_eq!(client.health("database.other").await.unwrap_err().code, "NOT_FOUND");
}
