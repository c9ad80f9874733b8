//! Unary answers that nobody takes: they take little memory, end, and tell the outcome.

use futures_util::future::join_all;
use rowgate::value::proto::{BatchStatement, ExecuteBatchRequest, StreamQueryRequest};
use tokio::time::timeout;
use tonic::Code;

use crate::harness::client::{Failure, PATIENCE, read_only, request, request_with};
use crate::harness::http2::{Patient, QUERY, prefixed, take};
use crate::harness::wait::{eventually, eventually_async};
use crate::harness::{Backend, Service};

const MIB: u64 = 1 << 20;

/// An answer of nearly the largest size.
const LARGE: &str = "select repeat('x', 2900000)";

const STREAM_QUERY: &str = "/rowgate.v1.DatabaseService/StreamQuery";
const BATCH: &str = "/rowgate.v1.DatabaseService/ExecuteBatch";

/// The settings of a server that keeps at most 64 MiB of answers.
fn settings(stall: &str) -> String {
    format!("[grpc]\nmax_unread_bytes = \"64MiB\"\n[stream]\nstall_timeout = \"{stall}\"\n")
}

#[tokio::test]
async fn answers_that_nobody_takes_are_bounded_over_all_calls() {
    let service = Service::with(Backend::Postgres, &settings("1h")).await;
    service.client.must(LARGE, &[]).await;
    let before = service.server.resident();
    let message = prefixed(&request(LARGE, &[]));
    let mut unread = Vec::new();
    let mut highest = 0;
    for _ in 0..5 {
        let connection = Patient::connect(service.server.grpc()).await;
        let calls = (0..160).map(|_| connection.unread(QUERY, message.clone()));
        unread.extend(join_all(calls).await);
        highest = highest.max(service.server.resident());
    }
    let grown = highest.saturating_sub(before);
    println!("{} answers: grown by {} MiB", unread.len(), grown / MIB);
    // Beside the bound: twenty calls at a time, each with its rows, their encoding and what the driver has read.
    assert!(grown < 400 * MIB, "grown by {} MiB", grown / MIB);
    // Another caller is answered all the same.
    service.client.must(LARGE, &[]).await;
    assert!(lines(&service) > 0, "none was given up");
}

#[tokio::test]
async fn an_answer_that_was_given_up_tells_the_outcome_of_its_work() {
    let service = Service::with(Backend::Postgres, &settings("300ms")).await;
    service.client.must("create table t (n int)", &[]).await;
    let write = "insert into t values (1) returning repeat('x', 2900000)";
    let batch = |dry_run| {
        let statement = BatchStatement { sql: write.to_owned(), ..Default::default() };
        let statements = vec![statement];
        prefixed(&ExecuteBatchRequest { statements, dry_run, ..Default::default() })
    };
    let calls = [
        (QUERY, prefixed(&request(write, &[])), "APPLIED"),
        (QUERY, prefixed(&request_with(LARGE, read_only())), "NOT_APPLIED"),
        (BATCH, batch(false), "APPLIED"),
        (BATCH, batch(true), "NOT_APPLIED"),
    ];
    for (path, message, outcome) in calls {
        let connection = Patient::connect(service.server.grpc()).await;
        let before = lines(&service);
        let answer = connection.unread(path, message).await;
        eventually("it is given up", PATIENCE, || (lines(&service) > before).then_some(()));
        let failure = Failure::from(take(answer).await);
        assert_eq!((&*failure.reason, &*failure.outcome), ("STREAM_STALLED", outcome), "{path}");
        let code = if outcome == "APPLIED" { Code::Unknown } else { Code::Aborted };
        assert_eq!(failure.code, code);
    }
    assert_eq!(service.client.must("select 1 from t", &[]).await.rows.len(), 2);
}

#[tokio::test]
async fn a_stream_whose_answer_was_given_up_does_not_run_on_for_nobody() {
    let settings = "[grpc]\nmax_unread_bytes = \"1MiB\"\n[stream]\nstall_timeout = \"1h\"\n";
    let service = Service::with(Backend::Postgres, settings).await;
    // The first rows fill a message, and the last one does not come.
    let sql = "select case when n < 20 then repeat('x', 60000) else pg_sleep(3600)::text end \
               from generate_series(1, 20) n";
    let connection = Patient::connect(service.server.grpc()).await;
    let asked = StreamQueryRequest { query: Some(request(sql, &[])) };
    let mut stream = connection.unread(STREAM_QUERY, prefixed(&asked)).await;
    let mut received = 0;
    while received < 60_000 {
        received += stream.data().await.expect("it goes on").expect("it is received").len();
    }
    // Another answer takes the room.
    let other = Patient::connect(service.server.grpc()).await;
    let unread = other.unread(QUERY, prefixed(&request(LARGE, &[]))).await;
    eventually("it is given up", PATIENCE, || (lines(&service) > 0).then_some(()));
    stream.flow_control().release_capacity(received).expect("it was received");
    let status = timeout(PATIENCE, take(stream)).await.expect("it does not wait for its rows");
    assert_eq!(Failure::from(status).reason, "STREAM_STALLED");
    let running = "select 1 from pg_stat_activity where state = 'active' \
                   and query like 'select case%pg_sleep(3600)%'";
    eventually_async("its statement ends", PATIENCE, async || {
        service.client.must(running, &[]).await.rows.is_empty().then_some(())
    })
    .await;
    drop(unread);
}

fn lines(service: &Service) -> usize {
    service.server.log().matches("STREAM_STALLED").count()
}
