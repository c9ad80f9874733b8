//! Statements that nobody would write: the server answers something, and goes on.

use bytes::Bytes;
use rowgate::value::proto::{DescribeStatementRequest, QueryResponse, Value};
use tonic::{Code, Request};

use super::contract;
use crate::harness::Service;
use crate::harness::client::{Failure, PATIENCE, request};
use crate::harness::http2::{Patient, prefixed};

contract! {
    long_and_deep_statements_do_not_end_the_server
    a_nul_in_the_statement_is_refused
    garbage_is_an_invalid_argument
    more_parameters_than_the_protocol_has_are_refused
    five_hundred_calls_at_once_are_all_answered
    names_are_not_taken_for_code
    what_is_no_grpc_runs_nothing
    what_is_no_request_is_refused_in_our_own_words
    a_request_is_one_message_in_any_number_of_frames
}

async fn assert_alive(service: &Service) {
    let result = service.client.must("select 1", &[]).await;
    assert_eq!(result.rows[0].values, [Value::int64(1)]);
}

async fn long_and_deep_statements_do_not_end_the_server(service: Service) {
    let chain = |n: usize| format!("select 1 where 1=1{}", " or 1=1".repeat(n));
    let nested = |n: usize| format!("select {}1{}", "(".repeat(n), ")".repeat(n));
    let negated = |n: usize| format!("select {} true", "not ".repeat(n));
    let cases =
        |n: usize| format!("select {} 1 {}", "case when true then".repeat(n), "end ".repeat(n));
    for sql in [
        chain(2000),
        chain(30_000),
        chain(500_000),
        nested(100),
        nested(5_000),
        nested(200_000),
        negated(3_000),
        negated(300_000),
        cases(600),
        cases(100_000),
        format!("select 1{}", " union all select 1".repeat(20_000)),
        format!("select '{}'", "x".repeat(1 << 20)),
        format!("/*{}*/ select 1", "/* ".repeat(100_000)),
        format!("select 1 as \"{}\"", "n".repeat(100_000)),
    ] {
        // Whatever it says, as long as it is a status of its own.
        drop(service.client.query(&sql, &[]).await);
        assert_alive(&service).await;
    }
}

async fn a_nul_in_the_statement_is_refused(service: Service) {
    for sql in ["select 'a\0b'", "select 1\0", "\0"] {
        let failure = service.client.must_fail(sql, &[]).await;
        assert_eq!(failure.code, Code::InvalidArgument, "{failure:?}");
    }
    assert_alive(&service).await;
}

async fn garbage_is_an_invalid_argument(service: Service) {
    for sql in [
        "selct 1",
        "'",
        "select '",
        "\"",
        service.pick("'", "/* never closed", "/* never closed"),
        "$$",
        "$tag$ never closed",
        "select $",
        "select ::",
        ")",
        "☃",
        "\u{feff}selekt",
        "select e'\\",
        "0x",
        "select from where",
        "\\d",
        "%s",
    ] {
        let failure = service.client.must_fail(sql, &[]).await;
        assert_eq!(failure.code, Code::InvalidArgument, "{sql}: {failure:?}");
    }
    assert_alive(&service).await;
}

async fn more_parameters_than_the_protocol_has_are_refused(service: Service) {
    let parameters = vec![Value::int64(1); 70_000];
    let failure = service.client.must_fail("select $1", &parameters).await;
    assert_eq!(failure.code, Code::InvalidArgument, "{failure:?}");
    // SQLite takes `$70000` for a name like any other.
    let far = service.pick("select ?70000", "select $70000", "select $70000");
    let failure = service.client.must_fail(far, &parameters).await;
    assert_eq!(failure.code, Code::InvalidArgument, "{failure:?}");
    assert_alive(&service).await;
}

async fn five_hundred_calls_at_once_are_all_answered(service: Service) {
    let calls: Vec<_> = (0..500)
        .map(|number| {
            let client = service.client.clone();
            let sql = format!("select {number} as n");
            tokio::spawn(async move { client.run(request(&sql, &[])).await })
        })
        .collect();
    for (number, call) in (0..).zip(calls) {
        let result = call.await.expect("no panic").expect("it waits its turn");
        assert_eq!(result.rows[0].values, [Value::int64(number)]);
    }
}

async fn names_are_not_taken_for_code(service: Service) {
    let result = service.client.must("select 1 as \"begin; commit\", 2 as \"x\"\"y\"", &[]).await;
    assert_eq!(result.columns[0].name, "begin; commit");
    assert_eq!(result.columns[1].name, "x\"y");
    let result = service.client.must("select 'begin', '; commit -- ', ';'", &[]).await;
    let wanted = ["begin", "; commit -- ", ";"].map(Value::text);
    assert_eq!(result.rows[0].values, wanted);
}

/// Calls a method with a message of another's.
async fn misuse(
    service: &Service,
    method: &'static str,
    request: Request<DescribeStatementRequest>,
) -> Failure {
    let mut grpc = tonic::client::Grpc::new(service.client.channel());
    grpc.ready().await.expect("it is connected");
    let codec = tonic_prost::ProstCodec::<_, QueryResponse>::default();
    let path = http::uri::PathAndQuery::from_static(method);
    grpc.unary(request, path, codec).await.expect_err("it is no request of this method's").into()
}

async fn a_request_is_one_message_in_any_number_of_frames(service: Service) {
    const QUERY: &str = "/rowgate.v1.DatabaseService/Query";
    let caller = Patient::connect(service.server.grpc()).await;
    let whole = prefixed(&request("select 1", &[]));
    let called = async |frames: Vec<Bytes>| caller.status(QUERY, PATIENCE, frames, true).await;
    let pieces = whole.iter().map(|byte| Bytes::copy_from_slice(&[*byte])).collect();
    assert_eq!(called(pieces).await.code(), Code::Ok);
    let compressed = [&[1], &whole[1..]].concat().into();
    for frames in [
        vec![Bytes::new()],
        vec![whole.slice(..3)],
        vec![whole.slice(..whole.len() - 1)],
        vec![whole.clone(), whole.clone()],
        vec![[&whole[..], &whole[..]].concat().into()],
        vec![compressed],
    ] {
        let failure = Failure::from(called(frames.clone()).await);
        let what = (Code::InvalidArgument, "MALFORMED_REQUEST");
        assert_eq!(failure.what(), what, "{frames:?}: {failure:?}");
    }
    let announced = Bytes::from_static(&[0, 0x7F, 0xFF, 0xFF, 0xFF]);
    let failure = Failure::from(called(vec![announced]).await);
    assert_eq!(failure.what(), (Code::ResourceExhausted, "REQUEST_TOO_LARGE"), "{failure:?}");
    assert_alive(&service).await;
}

async fn what_is_no_grpc_runs_nothing(service: Service) {
    service.client.must("create table t (a int)", &[]).await;
    let caller = Patient::connect(service.server.grpc()).await;
    let message = prefixed(&request("insert into t values (1)", &[]));
    let proto = "application/grpc+proto";
    for (method, content_type, expected) in [
        ("GET", Some("application/grpc"), 405),
        ("PUT", Some("application/grpc"), 405),
        ("OPTIONS", None, 405),
        ("POST", None, 415),
        ("POST", Some("text/plain"), 415),
        // Messages of other protocols: this is none of theirs.
        ("POST", Some("application/json"), 400),
        ("POST", Some("application/grpcx"), 415),
        ("POST", Some("application/grpc+json"), 415),
        ("POST", Some(proto), 200),
        ("POST", Some("Application/gRPC; charset=x"), 200),
    ] {
        let status = caller.http_status(method, content_type, message.clone()).await;
        assert_eq!(status, expected, "{method} {content_type:?}");
    }
    let count = service.client.must("select count(*) from t", &[]).await;
    assert_eq!(count.rows[0].values, [Value::int64(2)], "by the two that are gRPC");
}

async fn what_is_no_request_is_refused_in_our_own_words(service: Service) {
    const QUERY: &str = "/rowgate.v1.DatabaseService/Query";
    // A query's third field is a parameter, this one's a flag.
    let message = DescribeStatementRequest { include_plan: true, ..Default::default() };
    let failure = misuse(&service, QUERY, Request::new(message)).await;
    assert_eq!(failure.what(), (Code::InvalidArgument, "MALFORMED_REQUEST"), "{failure:?}");
    assert_eq!(failure.outcome, "NOT_APPLIED", "{failure:?}");

    let mut compressed = Request::new(DescribeStatementRequest::default());
    compressed.metadata_mut().insert("grpc-encoding", "gzip".parse().expect("it is ASCII"));
    let failure = misuse(&service, QUERY, compressed).await;
    assert_eq!(failure.code, Code::Unimplemented, "{failure:?}");
    assert!(failure.message.contains("gzip"), "{failure:?}");

    for unknown in ["/rowgate.v1.DatabaseService/Nothing", "/no.such.Service/Query"] {
        let request = Request::new(DescribeStatementRequest::default());
        let failure = misuse(&service, unknown, request).await;
        assert_eq!(failure.what(), (Code::Unimplemented, "FEATURE_NOT_SUPPORTED"), "{failure:?}");
    }
    assert_alive(&service).await;
}
