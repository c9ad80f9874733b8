//! A million rows, and how much memory they take.

use std::time::{Duration, Instant};

use rowgate::value::proto::stream_query_response::Part;
use rowgate::value::proto::{QueryOptions, QueryRequest, ResultFormat, Value};
use tonic::Code;

use crate::harness::client::{Failure, PATIENCE, Parts, request, request_with};
use crate::harness::postgres::Postgres;
use crate::harness::wait::{eventually_async, idle_for};
use crate::harness::{Backend, Service};

const ROWS: u64 = 1_000_000;

/// The largest growth of the process while it streams.
const GROWTH: u64 = 16 << 20;

/// The table that `pgbench -i -s 10` makes.
const ACCOUNTS: &str = "create table pgbench_accounts as
    select n as aid, (n - 1) / 100000 + 1 as bid, 0 as abalance, repeat(' ', 84)::char(84) as filler
    from generate_series(1, 1000000) as n";

async fn accounts() -> Service {
    let postgres = Postgres::start();
    postgres.psql(ACCOUNTS);
    let service = Service::on(postgres, "").await;
    // The first statements grow the process once: caches, buffers, stacks.
    for _ in 0..20 {
        service.client.must("select * from pgbench_accounts limit 1000", &[]).await;
    }
    let warm = request("select * from pgbench_accounts limit 20000", &[]);
    service.client.stream(warm).await.expect("it runs");
    service
}

/// Reads to the summary and checks that each row comes once, in order; watches the server's memory.
async fn read(service: &Service, parts: &mut Parts, mut next: i64) -> Result<u64, Failure> {
    let mut peak = 0;
    loop {
        match parts.next().await?.expect("no end without a summary") {
            Part::Header(header) => assert_eq!(header.columns.len(), 4),
            Part::Rows(batch) => {
                for row in batch.rows {
                    assert_eq!(row.values[0], Value::int64(next));
                    next += 1;
                }
                peak = peak.max(service.server.resident());
            }
            Part::Arrow(_) | Part::Json(_) => panic!("rows were wanted"),
            Part::Summary(summary) => {
                assert_eq!((summary.row_count, next), (ROWS, 1_000_001));
                return Ok(peak);
            }
        }
    }
}

#[track_caller]
fn assert_flat(before: u64, peak: u64) {
    let growth = peak.saturating_sub(before);
    eprintln!("{} KiB before, {} KiB of growth", before >> 10, growth >> 10);
    assert!(growth < GROWTH, "it grew by {} KiB", growth >> 10);
}

#[tokio::test]
async fn a_million_rows_are_streamed_in_constant_memory() {
    let service = accounts().await;
    let before = service.server.resident();
    let start = Instant::now();
    let all = request("select * from pgbench_accounts order by aid", &[]);
    let mut parts = service.client.open(all).await.expect("it starts");
    let peak = read(&service, &mut parts, 1).await.expect("it runs to its end");
    eprintln!("a million rows in {:?}", start.elapsed());
    assert_flat(before, peak);
}

#[tokio::test]
async fn a_reader_who_stops_for_five_seconds_costs_no_memory() {
    let service = accounts().await;
    let before = service.server.resident();
    let all = request("select * from pgbench_accounts order by aid", &[]);
    let mut parts = service.client.open(all).await.expect("it starts");
    parts.header().await.expect("it runs");
    let Part::Rows(first) = parts.next().await.expect("it runs").expect("rows") else {
        panic!("no rows after the header");
    };
    let mut peak = 0;
    for _ in 0..50 {
        idle_for(Duration::from_millis(100)).await;
        peak = peak.max(service.server.resident());
    }
    assert_flat(before, peak);
    let next = i64::try_from(first.rows.len()).expect("it is small") + 1;
    peak = peak.max(read(&service, &mut parts, next).await.expect("it runs to its end"));
    assert_flat(before, peak);
}

/// A query for all accounts in a format.
fn all_as(format: ResultFormat) -> QueryRequest {
    let options = QueryOptions { format: format.into(), ..QueryOptions::default() };
    request_with("select * from pgbench_accounts order by aid", options)
}

/// Reads on, to the failure that must come.
async fn failure(mut parts: Parts) -> Failure {
    loop {
        match parts.next().await {
            Ok(Some(part)) => assert!(!matches!(part, Part::Summary(_)), "it is not complete"),
            Ok(None) => panic!("it ended without a status"),
            Err(failure) => return failure,
        }
    }
}

/// The failure of a stream whose reader takes nothing behind the header, while the only connection is wanted.
async fn failure_unread(settings: &str, format: ResultFormat, deadline: Duration) -> Failure {
    let postgres = Postgres::start();
    postgres.psql(ACCOUNTS);
    let settings = format!("[databases.main.pool]\nmin = 1\nmax = 1\n{settings}");
    let service = Service::on(postgres, &settings).await;
    let all = all_as(format);
    let mut parts = service.client.open_within(all, deadline).await.expect("it starts");
    parts.header().await.expect("it runs");
    // The only connection is free again long before the reader comes back.
    let start = Instant::now();
    service.client.must("select 1", &[]).await;
    let took = start.elapsed();
    assert!(took < Duration::from_secs(5), "the next caller waited {took:?}");
    failure(parts).await
}

#[tokio::test]
async fn a_reader_who_never_reads_again_loses_the_stream_and_frees_the_connection() {
    for format in [ResultFormat::Rows, ResultFormat::Arrow] {
        let settings = "[stream]\nstall_timeout = \"1s\"";
        let failure = failure_unread(settings, format, PATIENCE).await;
        assert_eq!(failure.what(), (Code::Aborted, "STREAM_STALLED"), "{format:?}: {failure:?}");
    }
}

#[tokio::test]
async fn a_reader_whose_deadline_passes_loses_the_stream_and_frees_the_connection() {
    for format in [ResultFormat::Rows, ResultFormat::Arrow] {
        let failure = failure_unread("", format, Duration::from_secs(1)).await;
        let what = (Code::DeadlineExceeded, "DEADLINE");
        assert_eq!(failure.what(), what, "{format:?}: {failure:?}");
        assert_eq!(failure.outcome, "NOT_APPLIED");
    }
}

#[tokio::test]
async fn a_million_rows_are_streamed_to_arrow_in_constant_memory() {
    let service = accounts().await;
    let before = service.server.resident();
    let mut parts = service.client.open(all_as(ResultFormat::Arrow)).await.expect("it starts");
    let mut peak = 0;
    let mut bytes = 0;
    parts.header().await.expect("it runs");
    let summary = loop {
        match parts.next().await.expect("it runs").expect("no end without a summary") {
            Part::Arrow(part) => {
                // A reader who is slower than the database.
                idle_for(Duration::from_millis(5)).await;
                bytes += part.len();
                peak = peak.max(service.server.resident());
            }
            Part::Summary(summary) => break summary,
            other @ (Part::Header(_) | Part::Rows(_) | Part::Json(_)) => panic!("{other:?}"),
        }
    };
    assert_eq!(summary.row_count, ROWS);
    assert!(bytes > 84_000_000, "the fillers alone have 84 bytes a row");
    assert_flat(before, peak);
}

#[tokio::test]
async fn a_stream_whose_reader_vanishes_leaves_no_query_behind() {
    let service = accounts().await;
    let all = request("select a.* from pgbench_accounts a, pgbench_accounts b", &[]);
    let mut parts = service.client.open(all).await.expect("it starts");
    parts.header().await.expect("it runs");
    drop(parts);
    let running = "select count(*) from pg_stat_activity where state = 'active' \
                   and backend_type = 'client backend' and pid <> pg_backend_pid()";
    eventually_async("the query is gone", Duration::from_secs(2), async || {
        (service.postgres().psql(running) == "0").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_row_of_a_gibibyte_is_refused_at_its_header() {
    let service = Service::start(Backend::Postgres).await;
    service.client.must("select repeat('x', 1000)", &[]).await;
    let before = service.server.resident();
    let giant = "select repeat('x', 1000 * 1024 * 1024)";
    let failure = service.client.must_fail(giant, &[]).await;
    assert_eq!(failure.what(), (Code::ResourceExhausted, "ROW_TOO_LARGE"), "{failure:?}");
    let failure = service.client.stream(request(giant, &[])).await.expect_err("it is too large");
    assert_eq!(failure.what(), (Code::ResourceExhausted, "ROW_TOO_LARGE"), "{failure:?}");
    assert_flat(before, service.server.resident());
    service.client.must("select 1", &[]).await;
}

#[tokio::test]
async fn a_row_below_the_bound_but_over_a_message_is_refused_too() {
    let service = Service::start(Backend::Postgres).await;
    let large = request("select repeat('x', 8 * 1024 * 1024)", &[]);
    let failure = service.client.stream(large).await.expect_err("no message can hold it");
    assert_eq!(failure.what(), (Code::ResourceExhausted, "ROW_TOO_LARGE"), "{failure:?}");
    service.client.must("select 1", &[]).await;
}
