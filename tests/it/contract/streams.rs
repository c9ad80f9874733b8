//! `StreamQuery`: header, rows, summary; and what a failure looks like.

use rowgate::value::proto::stream_query_response::Part;
use rowgate::value::proto::{QueryRequest, Value};
use tonic::Code;

use super::contract;
use super::limits::numbers;
use crate::harness::Service;
use crate::harness::client::request;

contract! {
    a_stream_is_a_header_rows_and_a_summary
    a_stream_of_no_rows_has_header_and_summary
    a_stream_of_a_statement_without_a_result_says_so
    a_streamed_write_is_applied_when_the_summary_comes
    a_large_stream_is_complete_and_in_order
    a_stream_that_cannot_start_fails_without_a_part
    a_stream_that_fails_midway_has_no_summary
    streamed_values_are_those_of_a_query
    a_stream_fails_as_a_query_does
    a_stream_that_is_dropped_frees_its_connection
    streams_run_beside_each_other
}

async fn a_stream_is_a_header_rows_and_a_summary(service: Service) {
    let streamed =
        service.client.stream(request(&numbers(&service, 3), &[])).await.expect("it runs");
    assert!(streamed.header.has_columns);
    assert_eq!(streamed.header.columns[0].name, "n");
    assert_eq!(streamed.rows.len(), 3);
    let summary = streamed.summary.expect("it is complete");
    assert_eq!((summary.row_count, summary.rows_affected), (3, 0));
    assert_eq!(summary.command, "SELECT");
}

async fn a_stream_of_no_rows_has_header_and_summary(service: Service) {
    let sql = "select 1 as one where 1 = 0";
    let streamed = service.client.stream(request(sql, &[])).await.expect("it runs");
    assert!(streamed.header.has_columns);
    assert_eq!(streamed.header.columns[0].name, "one");
    assert_eq!((streamed.batches, streamed.summary.map(|s| s.row_count)), (0, Some(0)));
}

async fn a_stream_of_a_statement_without_a_result_says_so(service: Service) {
    let sql = "create table t (id integer)";
    let streamed = service.client.stream(request(sql, &[])).await.expect("it runs");
    assert!(!streamed.header.has_columns);
    assert_eq!(streamed.summary.map(|s| s.command).as_deref(), Some("CREATE TABLE"));
}

async fn a_streamed_write_is_applied_when_the_summary_comes(service: Service) {
    service.client.must("create table t (id integer)", &[]).await;
    let sql = "insert into t values (1), (2) returning id";
    let streamed = service.client.stream(request(sql, &[])).await.expect("it runs");
    let summary = streamed.summary.expect("it is complete");
    assert_eq!((streamed.rows.len(), summary.row_count, summary.rows_affected), (2, 2, 2));
    assert_eq!(service.client.must("select * from t", &[]).await.rows.len(), 2);
}

async fn a_large_stream_is_complete_and_in_order(service: Service) {
    let streamed =
        service.client.stream(request(&numbers(&service, 200_000), &[])).await.expect("it runs");
    assert!(streamed.batches > 1, "one message for 200,000 rows");
    assert_eq!(streamed.summary.map(|s| s.row_count), Some(200_000));
    let wrong = (1..).zip(&streamed.rows).find(|(n, row)| row.values != [Value::int64(*n)]);
    assert_eq!((streamed.rows.len(), wrong), (200_000, None));
}

async fn a_stream_that_cannot_start_fails_without_a_part(service: Service) {
    for (sql, code) in [
        ("select * from nowhere", Code::InvalidArgument),
        ("begin", Code::InvalidArgument),
        ("", Code::InvalidArgument),
    ] {
        let failure = match service.client.open(request(sql, &[])).await {
            Ok(mut parts) => parts.next().await.expect_err(sql),
            Err(failure) => failure,
        };
        assert_eq!(failure.code, code, "{sql}: {failure:?}");
    }
    let wrong = QueryRequest { database: "mian".to_owned(), ..request("select 1", &[]) };
    let failure = service.client.stream(wrong).await.expect_err("there is no such database");
    assert_eq!(failure.what(), (Code::NotFound, "DATABASE_NOT_FOUND"));
}

async fn a_stream_that_fails_midway_has_no_summary(service: Service) {
    let sql = service.pick(
        "with recursive c(n) as (select 1 union all select n + 1 from c where n < 90000) \
         select case when n = 60000 then abs(-9223372036854775807 - 1) else n end from c",
        "select 1 / (60000 - n) from generate_series(1, 90000) as n",
        // A division by nothing is null there.
        "with recursive c(n) as (select 1 union all select n + 1 from c where n < 90000) \
         select 9223372036854775807 - 60000 + n from c",
    );
    let mut parts = service.client.open(request(sql, &[])).await.expect("it starts");
    let mut rows = 0;
    let failure = loop {
        match parts.next().await {
            Ok(Some(Part::Rows(batch))) => rows += batch.rows.len(),
            Ok(Some(Part::Header(header))) => assert!(header.has_columns),
            Ok(Some(part)) => panic!("it did not fail: {part:?}"),
            Ok(None) => panic!("it ended without a summary and without a status"),
            Err(failure) => break failure,
        }
    };
    assert!(rows <= 60_000, "{rows} rows came before the row that fails");
    assert_eq!(failure.outcome, "NOT_APPLIED", "{failure:?}");
    let division = (Code::InvalidArgument, "DIVISION_BY_ZERO");
    let range = (Code::OutOfRange, "NUMERIC_VALUE_OUT_OF_RANGE");
    if let Some(wanted) = service.pick(None, Some(division), Some(range)) {
        assert_eq!(failure.what(), wanted, "{failure:?}");
    }
    service.client.must("select 1", &[]).await;
}

async fn streamed_values_are_those_of_a_query(service: Service) {
    let sql = service.pick(
        "select 1, 2.5, 'three', x'04', null, $1, 1e300",
        "select 1, 2.5::float8, 'three', '\\x04'::bytea, null, $1::text, array[1, null], row(1, 'a')",
        "select 1, 2.5, 'three', x'04', null, $1, 1e300, date '2026-11-29', cast(7 as unsigned)",
    );
    let request = request(sql, &[Value::text("naïve")]);
    let whole = service.client.run(request.clone()).await.expect("it runs");
    let streamed = service.client.stream(request).await.expect("it runs");
    assert_eq!((whole.rows, whole.columns), (streamed.rows, streamed.header.columns));
}

async fn a_stream_fails_as_a_query_does(service: Service) {
    service.client.must("create table t (id integer primary key, n integer not null)", &[]).await;
    service.client.must("insert into t values (1, 1)", &[]).await;
    for sql in [
        "insert into t values (1, 1)",
        "insert into t values (2, null)",
        "select * from nowhere",
        "select nothing from t",
        "selct 1",
        "begin",
        "",
        "select 1; select 2",
        "create table t (id integer)",
        "select $1",
    ] {
        let query = service.client.must_fail(sql, &[]).await;
        let stream = service.client.stream(request(sql, &[])).await.expect_err(sql);
        assert_eq!(query.what(), stream.what(), "{sql}");
        assert_eq!((&query.message, &query.outcome), (&stream.message, &stream.outcome), "{sql}");
        assert_eq!(query.report, stream.report, "{sql}");
    }
}

async fn a_stream_that_is_dropped_frees_its_connection(service: Service) {
    for round in 0..30 {
        let mut parts = service
            .client
            .open(request(&numbers(&service, 5_000_000), &[]))
            .await
            .expect("it starts");
        let header = parts.header().await.expect("it runs");
        assert!(header.has_columns, "round {round}");
    }
    service.client.must("create table t (id integer)", &[]).await;
    assert_eq!(service.client.must("select 1", &[]).await.rows.len(), 1);
}

async fn streams_run_beside_each_other(service: Service) {
    let streams = (0..8).map(|_| {
        let client = service.client.clone();
        let sql = numbers(&service, 20_000);
        tokio::spawn(async move { client.stream(request(&sql, &[])).await })
    });
    for stream in streams.collect::<Vec<_>>() {
        let streamed = stream.await.expect("no panic").expect("it runs");
        assert_eq!(streamed.rows.len(), 20_000);
    }
}
