//! Rows as JSON: each type, the names, the limits, by Query and by StreamQuery, on each kind of database.

use prost_types::value::Kind as JsonKind;
use rowgate::value::proto::{QueryOptions, ResultFormat, Value};
use serde_json::{Value as Json, json};
use tonic::Code;

use crate::harness::client::request_with;
use crate::harness::web::{HttpVersion, QUERY, STREAM_QUERY, WebRequest, frame};
use crate::harness::{Backend, Service};

fn options(format: ResultFormat) -> QueryOptions {
    QueryOptions { format: format.into(), ..QueryOptions::default() }
}

/// The rows of a query and of a stream, which are the same.
async fn rows(service: &Service, sql: &str, format: &str) -> Json {
    let message = json!({"sql": sql, "options": {"format": format}});
    let address = service.server.grpc();
    let whole = WebRequest::json(QUERY, &message).send(HttpVersion::Http1, address).await;
    assert_eq!(whole.status, 200, "{whole:?}");
    let result = &whole.json()["result"];
    assert_eq!(result["rows"], Json::Null);
    let message = frame(0, json!({"query": message}).to_string().as_bytes());
    let stream = WebRequest::post(STREAM_QUERY, "application/connect+json", message);
    let stream = stream.send(HttpVersion::Http2, address).await;
    let parts = stream.frames().into_iter();
    let parts = parts.map(|(_, part)| serde_json::from_slice::<Json>(&part).expect("it is JSON"));
    let streamed =
        parts.flat_map(|part| part["json"]["rows"].as_array().cloned().unwrap_or_default());
    let streamed: Json = streamed.collect();
    let whole = result.get("jsonRows").cloned().unwrap_or_else(|| json!([]));
    assert_eq!(whole, streamed, "{sql}");
    whole
}

#[tokio::test]
async fn rows_of_sqlite_are_objects_or_lists() {
    let service = Service::start(Backend::Sqlite).await;
    let sql = "select 1 as b, 2 as a, null as n, 1.5 as f, 'x\u{2603}' as t, x'00ff' as bytes, \
        9007199254740992 as exact, 9007199254740993 as large, -9007199254740993 as small, 1e999 as infinite";
    let message = json!({"sql": sql, "options": {"format": "RESULT_FORMAT_JSON"}});
    let sent = WebRequest::json(QUERY, &message);
    let answer = sent.send(HttpVersion::Http1, service.server.grpc()).await;
    // In the order of the columns.
    let row = "{\"b\":1,\"a\":2,\"n\":null,\"f\":1.5,\"t\":\"x\u{2603}\",\"bytes\":\"AP8=\",\"exact\":9007199254740992,\
        \"large\":\"9007199254740993\",\"small\":\"-9007199254740993\",\"infinite\":\"Infinity\"}";
    assert!(answer.text().contains(&format!("\"jsonRows\":[{row}]")), "{}", answer.text());
    let lists = rows(
        &service,
        "select 1 as a, 'x' as a union all select 2, null",
        "RESULT_FORMAT_JSON_ARRAYS",
    );
    assert_eq!(lists.await, json!([[1, "x"], [2, null]]));
    assert_eq!(rows(&service, "select 1 as a where false", "RESULT_FORMAT_JSON").await, json!([]));
    let sql = "with recursive c(n) as (select 1 union all select n + 1 from c where n < 9000) select n from c";
    let many = rows(&service, sql, "RESULT_FORMAT_JSON_ARRAYS").await;
    assert_eq!(many.as_array().map(Vec::len), Some(9_000));
    assert_eq!(many[8_999], json!([9000]));
}

#[tokio::test]
async fn rows_of_postgres_keep_their_meaning() {
    let service = Service::start(Backend::Postgres).await;
    let sql = "select true as bool, 7::int2 as small, 9223372036854775807 as large, 1.10::numeric(9,2) as numeric, \
        0.1::float4 as single, 'NaN'::float8 as nan, date '2026-01-31' as date, \
        timestamptz '2026-01-31 12:00:00.5+00' as at, interval '1 day' as wait, \
        '00000000-0000-0000-0000-000000000001'::uuid as id, \
        '{\"b\": [1, 2.5, 9007199254740993], \"a\": null}'::json as doc, '[true]'::jsonb as list, \
        array[[1,2],[3,4]] as matrix, array['{\"a\":1}'::jsonb, null] as docs, row(1, 'x') as record, \
        array[]::int[] as none, '\\x00ff'::bytea as bytes, 'e'::text as text";
    let expected = json!([{
        "bool": true, "small": 7, "large": "9223372036854775807", "numeric": "1.10", "single": 0.1, "nan": "NaN",
        "date": "2026-01-31", "at": "2026-01-31T12:00:00.500Z", "wait": "1 day",
        "id": "00000000-0000-0000-0000-000000000001",
        "doc": {"b": [1, 2.5, "9007199254740993"], "a": null}, "list": [true],
        "matrix": [[1, 2], [3, 4]], "docs": [{"a": 1}, null], "record": ["1", "x"],
        "none": [], "bytes": "AP8=", "text": "e",
    }]);
    assert_eq!(rows(&service, sql, "RESULT_FORMAT_JSON").await, expected);
    let exact = "select '{\"pi\": 3.141592653589793238, \"z\": 0.5, \"a\": 1e400, \"n\": 123456789012345678901}'::json as doc";
    let exact = rows(&service, exact, "RESULT_FORMAT_JSON").await;
    let digits =
        json!({"pi": "3.141592653589793238", "z": 0.5, "a": "1e400", "n": "123456789012345678901"});
    assert_eq!(exact[0]["doc"], digits, "no digit is lost");
    let deep = format!("select '{}{}'::json as doc", "[".repeat(21), "]".repeat(21));
    let text = rows(&service, &deep, "RESULT_FORMAT_JSON").await;
    assert_eq!(text[0]["doc"].as_str().map(str::len), Some(42), "too deep: its text");
}

#[tokio::test]
async fn rows_of_mariadb_keep_their_meaning() {
    let service = Service::start(Backend::Mariadb).await;
    let sql = "select 1 as a, cast(1.50 as decimal(9,2)) as price, cast('2026-01-31' as date) as day, null as n, \
        18446744073709551615 as large, x'00ff' as bytes";
    let expected = json!([{
        "a": 1, "price": "1.50", "day": "2026-01-31", "n": null, "large": "18446744073709551615", "bytes": "AP8=",
    }]);
    assert_eq!(rows(&service, sql, "RESULT_FORMAT_JSON").await, expected);
}

#[tokio::test]
async fn two_columns_of_one_name_are_refused_before_they_are_written() {
    for backend in [Backend::Sqlite, Backend::Postgres, Backend::Mariadb] {
        let service = Service::start(backend).await;
        service.client.must("create table t (a int)", &[]).await;
        // MariaDB tells the columns of RETURNING with the rows alone.
        let of_insert = if backend == Backend::Mariadb { "APPLIED" } else { "NOT_APPLIED" };
        for (sql, outcome) in [
            ("select 1 as a, 2 as a", "NOT_APPLIED"),
            ("insert into t values (1) returning a, a", of_insert),
        ] {
            let query = request_with(sql, options(ResultFormat::Json));
            let whole = service.client.run(query.clone()).await.expect_err("an object has one");
            let streamed = service.client.stream(query).await.expect_err("in a stream neither");
            for failure in [whole, streamed] {
                assert_eq!(failure.what(), (Code::InvalidArgument, "INVALID_OPTION"));
                assert_eq!(failure.outcome, outcome, "{backend:?}: {failure:?}");
                let hint = &failure.report.hint;
                assert!(hint.contains("RESULT_FORMAT_JSON_ARRAYS"), "{failure:?}");
                let says_it = hint.starts_with("It is applied: do not send it again.");
                assert_eq!(says_it, outcome == "APPLIED", "{failure:?}");
            }
        }
        let count = service.client.must("select count(*) from t", &[]).await;
        let expected = if of_insert == "APPLIED" { 2 } else { 0 };
        assert_eq!(count.rows[0].values[0], Value::int64(expected), "{backend:?}");
        let insert = "insert into t values (1) returning a";
        let inserted = service.client.run(request_with(insert, options(ResultFormat::Json))).await;
        assert_eq!(inserted.expect("it has one name").json_rows.len(), 1, "{backend:?}");
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_made_says_first_that_its_work_is_applied() {
    let service = Service::start(Backend::Sqlite).await;
    service.client.must("create table t (a text)", &[]).await;
    let limited = QueryOptions { max_rows: 1, ..options(ResultFormat::Json) };
    let sql = "insert into t values ('a'), ('b') returning a";
    let failure = service.client.run(request_with(sql, limited)).await.expect_err("they are two");
    assert_eq!(
        (failure.reason.as_str(), failure.outcome.as_str()),
        ("RESULT_TOO_LARGE", "APPLIED")
    );
    assert!(failure.report.hint.starts_with("It is applied: do not send it again."), "{failure:?}");
}

#[tokio::test]
async fn the_limits_count_what_is_sent() {
    let service = Service::start(Backend::Sqlite).await;
    let long = "a_name_of_which_each_row_of_the_result_has_a_copy";
    let sql = format!(
        "with recursive c(n) as (select 1 union all select n + 1 from c where n < 1000) select n as {long} from c"
    );
    let limited = |format| QueryOptions { max_bytes: 50_000, ..options(format) };
    let whole = service.client.run(request_with(&sql, limited(ResultFormat::Rows))).await;
    assert_eq!(whole.expect("rows have no names").rows.len(), 1000);
    let failure = service.client.run(request_with(&sql, limited(ResultFormat::Json))).await;
    assert_eq!(failure.expect_err("names count").reason, "RESULT_TOO_LARGE");
    let query = request_with(&sql, options(ResultFormat::Json));
    let rows = service.client.run(query).await.expect("it fits").json_rows;
    let Some(JsonKind::StructValue(last)) = &rows[999].kind else { panic!("an object is wanted") };
    assert_eq!(last.fields[long].kind, Some(JsonKind::NumberValue(1000.0)));
    let keyed = QueryOptions { idempotency_key: "k".to_owned(), ..options(ResultFormat::Json) };
    let failure = service.client.run(request_with("select 1", keyed)).await;
    assert_eq!(failure.expect_err("it is not stored").reason, "INVALID_OPTION");
}
