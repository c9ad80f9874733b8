//! Results as Arrow IPC streams, compared with the same results as rows.

use std::io::Cursor;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow_array::{Array, RecordBatch};
use arrow_ipc::reader::StreamReader;
use arrow_schema::{DataType, Schema};
use rowgate::value::proto::stream_query_response::Part;
use rowgate::value::proto::{
    ArrayValue, ExecuteBatchRequest, QueryOptions, QueryRequest, ResultFormat, Value,
};
use rowgate::value::{Kind, Row};
use tonic::Code;

use crate::harness::client::{Failure, PATIENCE, request, request_with, with_deadline};
use crate::harness::postgres::Postgres;
use crate::harness::server::run;
use crate::harness::{Backend, Service};

pub(crate) const POSTGRES_TABLE: &str = r#"
create type mood as enum ('sad', 'ok');
create type pair as (number int4, name text);
create table t (b bool, i2 int2, i4 int4, i8 int8, o oid, f4 float4, f8 float8, n numeric(12, 2), nn numeric,
    t text, v varchar(9), c char(3), j jsonb, u uuid, m mood, y bytea, d date, ti time, tz timetz, ts timestamp,
    tt timestamptz, iv interval, r int4range, p pair, ip inet, ai int4[], at text[], an numeric[], ad date[]);
insert into t values
    (true, -32768, 2147483647, -9223372036854775808, 4294967295, 0.1, 1e300, -1234567890.12, 12345678901234567890.123,
    'naïve', '', 'x', '{"a": [1]}', '00112233-4455-6677-8899-aabbccddeeff', 'ok', '\x00ff', '2026-01-31',
    '23:59:59.999999', '23:59:59+02', '1969-12-31 23:59:59.999999', '2026-01-31 12:00:00.5+02',
    '1 day 02:00', '[1,5)', (1, 'a b'), '10.0.0.1', '{1,NULL,3}', '{"a b",NULL}', '{1.50}', '{2000-02-29}'),
    (false, 0, 0, 0, 0, 'NaN', '-Infinity', 0, 'NaN', '', 'v', '', 'null', null, 'sad', '', '0001-01-01', '00:00:00',
    '00:00:00+00', '9999-12-31 00:00:00', '0001-01-01 00:00:00+00', '0', 'empty', (null, null), '::1', '{}', '{}', '{}',
    '{}');
insert into t default values;
"#;

pub(crate) const SQLITE_TABLE: [&str; 2] = [
    "create table t (b boolean, i integer, r real, n numeric(5, 2), t text, y blob, d date, ti time, ts timestamp, j json)",
    "insert into t values (1, 9007199254740993, 0.5, 1.25, 'naïve', x'00ff', '2026-01-31', '23:59:59', \
     '2026-01-31 12:00:00.000001', '[1]'), (0, -1, -1e300, 7, '', x'', '0001-01-01', '00:00:00', \
     '1969-12-31 23:59:59', 'null'), (null, null, null, null, null, null, null, null, null, null)",
];

/// A request whose result is to come in Arrow's form.
pub(crate) fn arrow(sql: &str) -> QueryRequest {
    request_with(sql, arrow_options())
}

fn arrow_options() -> QueryOptions {
    QueryOptions { format: ResultFormat::Arrow.into(), ..QueryOptions::default() }
}

/// Reads a whole stream, of which nothing may be left.
fn read(bytes: &[u8]) -> (Schema, Vec<RecordBatch>) {
    let reader = StreamReader::try_new(Cursor::new(bytes), None).expect("it begins with a schema");
    let schema = Schema::clone(&reader.schema());
    let batches = reader.collect::<Result<Vec<_>, _>>().expect("it is whole");
    // A continuation, and no more: the marker of the end.
    assert!(bytes.ends_with(&[255, 255, 255, 255, 0, 0, 0, 0]), "no end");
    (schema, batches)
}

/// The rows of batches in the kinds in which they come as rows.
fn rows(batches: &[RecordBatch]) -> Vec<Row> {
    let row = |batch: &RecordBatch, at| {
        let values = batch.columns().iter().map(|column| value(column, at));
        Row { values: values.collect() }
    };
    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |at| row(batch, at))).collect()
}

#[expect(clippy::wildcard_enum_match_arm, reason = "other types fail the test")]
fn value(array: &dyn Array, at: usize) -> Value {
    if array.is_null(at) {
        return Value::null();
    }
    match array.data_type() {
        DataType::Boolean => Value::bool(array.as_boolean().value(at)),
        DataType::Int16 => Value::int64(array.as_primitive::<Int16Type>().value(at).into()),
        DataType::Int32 => Value::int64(array.as_primitive::<Int32Type>().value(at).into()),
        DataType::Int64 => Value::int64(array.as_primitive::<Int64Type>().value(at)),
        DataType::Float32 => Value::float64(array.as_primitive::<Float32Type>().value(at).into()),
        DataType::Float64 => Value::float64(array.as_primitive::<Float64Type>().value(at)),
        DataType::Utf8 => Value::text(array.as_string::<i32>().value(at)),
        DataType::Binary => Value::bytes(array.as_binary::<i32>().value(at)),
        DataType::Decimal128(..) => {
            Value::text(array.as_primitive::<Decimal128Type>().value_as_string(at))
        }
        DataType::Date32 => {
            let date = array.as_primitive::<Date32Type>().value_as_date(at).expect("a date");
            Value::text(date.to_string())
        }
        DataType::Time64(_) => {
            let times = array.as_primitive::<Time64MicrosecondType>();
            Value::text(times.value_as_time(at).expect("a time").to_string())
        }
        DataType::Timestamp(_, None) => {
            let times = array.as_primitive::<TimestampMicrosecondType>();
            Value::text(times.value_as_datetime(at).expect("a timestamp").to_string())
        }
        DataType::Timestamp(_, Some(zone)) => {
            assert_eq!(&**zone, "UTC");
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(at);
            let nanos = i32::try_from(micros.rem_euclid(1_000_000) * 1_000).expect("a second");
            Value::timestamp(micros.div_euclid(1_000_000), nanos)
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>().value(at);
            let elements = (0..list.len()).map(|at| value(&list, at)).collect();
            Kind::ArrayValue(ArrayValue { elements, ..ArrayValue::default() }).into()
        }
        other => panic!("no column becomes {other}"),
    }
}

fn types(schema: &Schema) -> Vec<String> {
    schema.fields().iter().map(|field| field.data_type().to_string()).collect()
}

/// Compares both calls with what comes as rows, of which records are written as text; returns the types of the columns.
pub(crate) async fn compared(service: &Service, sql: &str) -> Vec<String> {
    let expected = service.client.must(sql, &[]).await;
    let unary = service.client.run(arrow(sql)).await.expect("it runs");
    assert_eq!((unary.rows.len(), &unary.columns), (0, &expected.columns));
    let streamed = service.client.stream(arrow(sql)).await.expect("it runs");
    assert_eq!((streamed.rows.len(), &streamed.header.columns), (0, &expected.columns));
    let summary = streamed.summary.expect("it is complete");
    assert_eq!((summary.row_count, summary.command), (3, "SELECT".to_owned()));
    let mut shape = Vec::new();
    for bytes in [unary.arrow, streamed.arrow] {
        let (schema, batches) = read(&bytes);
        let names = expected.columns.iter().map(|column| &column.name);
        assert!(names.eq(schema.fields().iter().map(|field| field.name())), "{schema}");
        for (row, expected) in rows(&batches).iter().zip(&expected.rows) {
            for (found, expected) in row.values.iter().zip(&expected.values) {
                let is_written = matches!(expected.kind, Some(Kind::RecordValue(_)));
                assert!(
                    is_written || format!("{found:?}") == format!("{expected:?}"),
                    "{found:?} is not {expected:?}"
                );
            }
        }
        assert_eq!(rows(&batches).len(), expected.rows.len());
        shape = types(&schema);
    }
    shape
}

#[tokio::test]
async fn every_type_of_postgresql_has_the_values_that_come_as_rows() {
    let postgres = Postgres::start();
    postgres.psql(POSTGRES_TABLE);
    let service = Service::on(postgres, "").await;
    let found = compared(&service, "select * from t").await;
    let numbers = ["Boolean", "Int16", "Int32", "Int64", "Int64", "Float32", "Float64"];
    assert_eq!(found[..7], numbers);
    assert_eq!(
        found[7..15],
        ["Decimal128(12, 2)", "Utf8", "Utf8", "Utf8", "Utf8", "Utf8", "Utf8", "Utf8"]
    );
    assert_eq!(found[15..19], ["Binary", "Date32", "Time64(µs)", "Utf8"]);
    assert_eq!(found[19..21], ["Timestamp(µs)", "Timestamp(µs, \"UTC\")"]);
    assert_eq!(found[21..25], ["Utf8"; 4]);
    let lists = ["List(Int32)", "List(Utf8)", "List(Utf8)", "List(Date32)"];
    assert_eq!(found[25..].iter().map(|it| it.replace("nullable ", "")).collect::<Vec<_>>(), lists);
    let records = service.client.run(arrow("select p from t")).await.expect("it runs");
    let records = rows(&read(&records.arrow).1);
    let texts = records.iter().map(|row| row.values[0].clone()).collect::<Vec<_>>();
    assert_eq!(texts, [Value::text("(1,\"a b\")"), Value::text("(,)"), Value::null()]);
}

#[tokio::test]
async fn columns_of_sqlite_follow_their_declared_types() {
    let service = Service::start(Backend::Sqlite).await;
    for sql in SQLITE_TABLE {
        service.client.must(sql, &[]).await;
    }
    let found = compared(&service, "select * from t").await;
    let expected = ["Boolean", "Int64", "Float64", "Utf8", "Utf8", "Binary", "Date32"];
    assert_eq!(found[..7], expected);
    assert_eq!(found[7..], ["Time64(µs)", "Timestamp(µs)", "Utf8"]);
    let undeclared = "select 1, 2.5, 'x', null";
    let result = service.client.run(arrow(undeclared)).await.expect("it runs");
    let (schema, batches) = read(&result.arrow);
    assert_eq!(types(&schema), ["Utf8"; 4]);
    let texts = [Value::text("1"), Value::text("2.5"), Value::text("x"), Value::null()];
    assert_eq!(rows(&batches), [Row { values: texts.to_vec() }]);
    let failure = service.client.run(arrow("select x'ff' as c")).await.expect_err("no text");
    assert_not_in_arrow(&failure, "bytes");
    service.client.must("insert into t (i) values ('no number')", &[]).await;
    let failure = service.client.run(arrow("select i as c from t")).await.expect_err("a text");
    assert_not_in_arrow(&failure, "text_value");
    let cast = service.client.run(arrow("select cast(i as text) from t")).await.expect("it runs");
    assert_eq!(rows(&read(&cast.arrow).1).len(), 4);
}

#[track_caller]
fn assert_not_in_arrow(failure: &Failure, what: &str) {
    assert_eq!(failure.what(), (Code::OutOfRange, "NOT_IN_ARROW"), "{failure:?}");
    let message = &failure.message;
    assert!(message.contains("\"c\"") && message.contains(what), "{message}");
    let hint = &failure.report.hint;
    assert!(hint.contains("Cast the column to text"), "{hint}");
}

#[tokio::test]
async fn a_value_that_arrow_cannot_hold_is_an_error_and_its_text_is_not() {
    let service = Service::start(Backend::Postgres).await;
    let cases = [
        ("'infinity'::date", "infinite"),
        ("'-infinity'::timestamp", "infinite"),
        ("'infinity'::timestamptz", "infinite"),
        ("'24:00:00'::time", "24:00:00"),
        ("'NaN'::numeric(5, 2)", "NaN"),
        ("'{{1,2},{3,4}}'::int4[]", "several dimensions"),
        ("'[0:1]={1,2}'::int4[]", "lower bound"),
        ("'{2000-01-01,infinity}'::date[]", "infinite"),
    ];
    for (value, what) in cases {
        let sql = format!("select {value} as c");
        let unary = service.client.run(arrow(&sql)).await.expect_err(value);
        assert_not_in_arrow(&unary, what);
        let streamed = service.client.stream(arrow(&sql)).await.expect_err(value);
        assert_not_in_arrow(&streamed, what);
        let text = format!("select ({value})::text as c");
        let text = service.client.run(arrow(&text)).await.expect(value);
        assert_eq!(rows(&read(&text.arrow).1).len(), 1);
    }
    service.client.must("create table w (d date)", &[]).await;
    let write = "insert into w values ('infinity') returning d as c";
    for calls in 1..=2 {
        let failure = if calls == 1 {
            service.client.run(arrow(write)).await.expect_err("infinity")
        } else {
            service.client.stream(arrow(write)).await.expect_err("infinity")
        };
        assert_eq!(
            (failure.reason.as_str(), failure.outcome.as_str()),
            ("NOT_IN_ARROW", "APPLIED")
        );
        let count = service.client.must("select count(*) from w", &[]).await;
        assert_eq!(count.rows[0].values, [Value::int64(calls)]);
    }
}

#[tokio::test]
async fn a_large_result_comes_in_record_batches_of_bounded_size() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let service = Service::start(backend).await;
        let make = service.pick(
            "create table n as with recursive c(n) as (select 1 union all select n + 1 from c where n < 20000) \
             select cast(n as integer) as n, 'label ' || n as label from c",
            "create table n as select n, 'label ' || n as label from generate_series(1, 20000) as n",
            "create table n as select cast(seq as signed) as n, concat('label ', seq) as label from seq_1_to_20000",
        );
        service.client.must(make, &[]).await;
        let sql = "select n, label, null as empty from n order by n";
        let expected = service.client.stream(request(sql, &[])).await.expect("it runs").rows;
        let streamed = service.client.stream(arrow(sql)).await.expect("it runs").arrow;
        let part = format!("{sql} limit 10000");
        let whole = service.client.run(arrow(&part)).await.expect("it runs").arrow;
        for (bytes, count) in [(streamed, 20_000), (whole, 10_000)] {
            let (_, batches) = read(&bytes);
            assert!(batches.len() > count / 8192, "{} batches", batches.len());
            assert!(batches.iter().all(|batch| (1..=8192).contains(&batch.num_rows())));
            assert_eq!(rows(&batches), expected[..count]);
        }
        let repeated = "select repeat('0', 1000000) as c from n limit 8";
        let zeros = "select hex(zeroblob(500000)) as c from n limit 8";
        let long = service.pick(zeros, repeated, repeated);
        let (_, batches) = read(&service.client.stream(arrow(long)).await.expect("it runs").arrow);
        assert!(batches.len() >= 4, "{} batches of 8 MB", batches.len());
        assert_eq!(rows(&batches).len(), 8);
    }
}

#[tokio::test]
async fn an_empty_result_is_a_schema_and_a_statement_without_rows_has_no_bytes() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let service = Service::start(backend).await;
        service.client.must("create table e (id integer)", &[]).await;
        let empty = "select id from e";
        let unary = service.client.run(arrow(empty)).await.expect("it runs");
        let streamed = service.client.stream(arrow(empty)).await.expect("it runs");
        for bytes in [unary.arrow, streamed.arrow] {
            let (schema, batches) = read(&bytes);
            assert_eq!((schema.fields().len(), batches.len()), (1, 0));
        }
        let write = "insert into e values (1)";
        let unary = service.client.run(arrow(write)).await.expect("it runs");
        let streamed = service.client.stream(arrow(write)).await.expect("it runs");
        assert_eq!((unary.has_columns, unary.rows_affected, unary.arrow.len()), (false, 1, 0));
        assert_eq!((streamed.header.has_columns, streamed.arrow.len()), (false, 0));
        assert_eq!(streamed.summary.expect("it is complete").rows_affected, 1);
    }
    let service = Service::start(Backend::Postgres).await;
    let result = service.client.run(arrow("select from generate_series(1, 5)")).await;
    let (schema, batches) = read(&result.expect("it runs").arrow);
    assert_eq!((schema.fields().len(), rows(&batches).len()), (0, 5));
}

#[tokio::test]
async fn the_limits_of_a_result_hold_and_other_calls_refuse_the_format() {
    let service = Service::start(Backend::Postgres).await;
    let sql = "select n from generate_series(1, 1000) as n";
    let limits = [
        QueryOptions { max_rows: 999, ..arrow_options() },
        QueryOptions { max_bytes: 3_999, ..arrow_options() },
    ];
    for options in limits {
        let unary = service.client.run(request_with(sql, options.clone())).await;
        let streamed = service.client.stream(request_with(sql, options)).await;
        for failure in [unary.expect_err("too large"), streamed.expect_err("too large")] {
            assert_eq!(failure.what(), (Code::ResourceExhausted, "RESULT_TOO_LARGE"));
        }
    }
    let fitting = QueryOptions { max_rows: 1_000, max_bytes: 4_000, ..arrow_options() };
    service.client.run(request_with(sql, fitting)).await.expect("it fits");
    let keyed = QueryOptions { idempotency_key: "k".to_owned(), ..arrow_options() };
    let unknown = QueryOptions { format: 99, ..QueryOptions::default() };
    for options in [keyed, unknown] {
        let failure = service.client.run(request_with(sql, options)).await.expect_err("refused");
        assert_eq!(failure.what(), (Code::InvalidArgument, "INVALID_OPTION"), "{failure:?}");
        assert_eq!(failure.fields(), ["options.format"]);
    }
    let statement =
        rowgate::value::proto::BatchStatement { sql: sql.to_owned(), ..Default::default() };
    let batch = ExecuteBatchRequest {
        statements: vec![statement],
        options: Some(arrow_options()),
        ..ExecuteBatchRequest::default()
    };
    let refused = service.client.raw().execute_batch(with_deadline(batch, PATIENCE)).await;
    let failure = Failure::from(refused.expect_err("refused"));
    assert_eq!(failure.fields(), ["options.format"]);
}

#[tokio::test]
async fn the_command_line_passes_the_stream_on() {
    let service = Service::start(Backend::Postgres).await;
    let address = service.server.grpc().to_string();
    let ask = |arguments: &[&str]| {
        let all = [&["query", "--format", "arrow", "--address", &address], arguments].concat();
        run(service.server.directory(), &all, &[])
    };
    let output = ask(&["select n, 'x' as x from generate_series(1, 10000) as n"]);
    assert!(output.status.success(), "{output:?}");
    let (_, batches) = read(&output.stdout);
    assert_eq!(rows(&batches).len(), 10_000);
    let output = ask(&["create table made (id int)"]);
    assert_eq!((output.stdout.len(), output.stderr.as_slice()), (0, &b"CREATE TABLE\n"[..]));
    let output = ask(&["--batch", "nothing.sql"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[tokio::test]
async fn a_million_rows_take_constant_memory() {
    let service = Service::start(Backend::Postgres).await;
    let sql = |count| {
        format!("select n, n / 8.0::float8, repeat('x', 120) from generate_series(1, {count}) as n")
    };
    service.client.stream(arrow(&sql(100_000))).await.expect("it runs");
    let before = service.server.resident();
    let mut parts = service.client.open(arrow(&sql(1_000_000))).await.expect("it starts");
    let mut peak = 0;
    let rows = loop {
        match parts.next().await.expect("it runs").expect("no end without a summary") {
            Part::Arrow(_) => peak = peak.max(service.server.resident()),
            Part::Summary(summary) => break summary.row_count,
            Part::Header(header) => assert_eq!(header.columns.len(), 3),
            Part::Rows(_) | Part::Json(_) => panic!("Arrow was wanted"),
        }
    };
    assert_eq!(rows, 1_000_000);
    let growth = peak.saturating_sub(before) >> 20;
    eprintln!("{growth} MiB of growth");
    // All rows have 130 MiB. A batch of 1 MiB is in a few buffers at once, and the allocator keeps some.
    assert!(growth < 48, "it grew by {growth} MiB");
}
