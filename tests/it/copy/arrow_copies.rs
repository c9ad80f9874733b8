//! Arrow streams into tables: what a CopyOut gives goes back without a loss, and what does not fit is named.

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, Int32Array, ListArray, RecordBatch, StringArray};
use arrow_ipc::writer::StreamWriter;
use rowgate::value::proto::{CopyFormat, CopyInStart, CopyOutRequest, Value};
use tonic::Code;

use crate::arrow::{POSTGRES_TABLE, SQLITE_TABLE};
use crate::harness::copies::{into_as, out_of};
use crate::harness::unit::keyed;
use crate::harness::{Backend, Service};

const MARIADB_TABLE: [&str; 2] = [
    "create table t (b bool, i1 tinyint, i2 smallint, i4 int, i8 bigint, u8 bigint unsigned, f4 float, f8 double, \
     n decimal(30, 4), v varchar(20), x text, y blob, z varbinary(9), d date, ti time(6), dt datetime(6), \
     ts timestamp(6) null, j json, e enum('sad', 'ok'), yr year) character set utf8mb4",
    "insert into t values (true, -128, -32768, 2147483647, -9223372036854775808, 9223372036854775807, 0.1, 1e300, \
     -12345678901234567890.1234, 'naïve', '', x'00ff', x'ff', '2026-01-31', '23:59:59.999999', \
     '1999-12-31 23:59:59.999999', '2026-01-31 12:00:00.5', '{\"a\": [1]}', 'ok', 2026), \
     (false, 0, 0, 0, 0, 0, -0.5, 0, 0, '', 'x', '', '', '0001-01-01', '00:00:00', '9999-12-31 00:00:00', \
     '1970-01-02 00:00:00', 'null', 'sad', 1901), \
     (null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null)",
];

fn into(table: &str) -> CopyInStart {
    into_as(table, CopyFormat::Arrow)
}

/// A stream of these batches.
fn stream(batches: &[RecordBatch]) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batches[0].schema()).expect("a schema");
    batches.iter().for_each(|batch| writer.write(batch).expect("it is of the schema"));
    writer.into_inner().expect("it ends")
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).expect("they are of one length")
}

fn numbers(numbers: impl IntoIterator<Item = i32>) -> ArrayRef {
    Arc::new(Int32Array::from_iter_values(numbers))
}

async fn count(service: &Service) -> Value {
    service.client.must("select count(*) from t", &[]).await.rows[0].values[0].clone()
}

/// Copies `t` out, and into `u`, in pieces of several sizes.
async fn goes_out_and_in(service: &Service) {
    let out = service.client.copy_out(out_of("t", CopyFormat::Arrow)).await.expect("it runs");
    assert_eq!(out.row_count, 3);
    let expected = service.client.must("select * from t", &[]).await;
    for piece in [1, 100, 60_000] {
        let copied = service.client.copy_bytes(into("u"), &out.data, piece).await;
        assert_eq!(copied.expect("it fits").rows_affected, 3);
        let found = service.client.must("select * from u", &[]).await;
        for (found, expected) in found.rows.iter().zip(&expected.rows) {
            assert_eq!(format!("{found:?}"), format!("{expected:?}"));
        }
        assert_eq!(found.rows.len(), expected.rows.len());
        let again = service.client.copy_out(out_of("u", CopyFormat::Arrow)).await.expect("it runs");
        assert!(again.data == out.data, "the stream is another");
        service.client.must("delete from u", &[]).await;
    }
}

#[tokio::test]
async fn every_type_of_postgresql_goes_out_and_in_again() {
    let service = Service::start(Backend::Postgres).await;
    service.postgres().psql(POSTGRES_TABLE);
    service.postgres().psql("create table u (like t)");
    goes_out_and_in(&service).await;
}

#[tokio::test]
async fn every_type_of_sqlite_goes_out_and_in_again() {
    let service = Service::start(Backend::Sqlite).await;
    for sql in SQLITE_TABLE {
        service.client.must(sql, &[]).await;
    }
    service.client.must(&SQLITE_TABLE[0].replace("table t", "table u"), &[]).await;
    goes_out_and_in(&service).await;
}

#[tokio::test]
async fn every_type_of_mariadb_goes_out_and_in_again() {
    let service = Service::start(Backend::Mariadb).await;
    for sql in MARIADB_TABLE {
        service.client.must(sql, &[]).await;
    }
    service.client.must("create table u like t", &[]).await;
    goes_out_and_in(&service).await;
}

async fn columns_are_found_by_name_or_are_said(backend: Backend) {
    let service = Service::start(backend).await;
    service.client.must("create table t (a int, b int, c int default 7)", &[]).await;
    let data = stream(&[batch(vec![("b", numbers([2])), ("a", numbers([1]))])]);
    let row = async || service.client.must("select a, b, c from t", &[]).await.rows[0].clone();
    service.client.copy_bytes(into("t"), &data, 50).await.expect("they have names");
    assert_eq!(row().await.values, [1, 2, 7].map(Value::int64));
    service.client.must("delete from t", &[]).await;
    let columns = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let start = |names: &[&str]| CopyInStart { columns: columns(names), ..into("t") };
    service.client.copy_bytes(start(&["c", "a"]), &data, 50).await.expect("two for two");
    assert_eq!(row().await.values, [Value::int64(1), Value::null(), Value::int64(2)]);
    let failure = service.client.copy_bytes(start(&["a"]), &data, 50).await.expect_err("one");
    assert_eq!(failure.what(), (Code::InvalidArgument, "BAD_COPY_FILE_FORMAT"), "{failure:?}");
    assert!(failure.message.contains("has 2 columns, and the copy has 1"), "{failure:?}");
    let other = stream(&[batch(vec![("a", numbers([1])), ("none", numbers([1]))])]);
    let failure = service.client.copy_bytes(into("t"), &other, 50).await.expect_err("no column");
    assert_eq!(failure.code, Code::InvalidArgument, "{failure:?}");
    assert!(failure.message.contains("none"), "{failure:?}");
    assert_eq!(count(&service).await, Value::int64(1));
}

async fn a_bad_row_is_named_and_nothing_stays(backend: Backend) {
    let service = Service::start(backend).await;
    service.client.must("create table t (a integer primary key, b varchar(9))", &[]).await;
    let texts = |rows: usize| Arc::new(StringArray::from(vec!["x"; rows])) as ArrayRef;
    let good = batch(vec![("a", numbers(0..2_000)), ("b", texts(2_000))]);
    let twice = batch(vec![("a", numbers([5_000, 7])), ("b", texts(2))]);
    let data = stream(&[good.clone(), twice]);
    let failure = service.client.copy_bytes(into("t"), &data, 1_000).await.expect_err("twice");
    assert_eq!(failure.code, Code::AlreadyExists, "{failure:?}");
    assert_eq!((failure.outcome.as_str(), failure.report.line), ("NOT_APPLIED", 2_002));
    let whole = stream(&[good]);
    let cut = &whole[..whole.len() - 4];
    let failure = service.client.copy_bytes(into("t"), cut, 1_000).await.expect_err("cut");
    assert_eq!(failure.what(), (Code::InvalidArgument, "BAD_COPY_FILE_FORMAT"), "{failure:?}");
    let failure = service.client.copy_text(into("t"), "a,b\n1,x\n2,y\n", 9).await;
    let failure = failure.expect_err("it is CSV");
    assert_eq!(failure.what(), (Code::InvalidArgument, "BAD_COPY_FILE_FORMAT"), "{failure:?}");
    assert_eq!(count(&service).await, Value::int64(0));
    service.install_keys();
    let start = || CopyInStart { options: Some(keyed("k")), ..into("t") };
    for (piece, replayed) in [(1_000, false), (77, true)] {
        let copied = service.client.copy_bytes(start(), &whole, piece).await.expect("it fits");
        assert_eq!((copied.rows_affected, copied.replayed), (2_000, replayed));
    }
    assert_eq!(count(&service).await, Value::int64(2_000));
}

#[tokio::test]
async fn columns_are_found_by_name_or_are_said_on_each_database() {
    for backend in [Backend::Sqlite, Backend::Postgres, Backend::Mariadb] {
        columns_are_found_by_name_or_are_said(backend).await;
    }
}

#[tokio::test]
async fn a_bad_row_is_named_and_nothing_stays_on_each_database() {
    for backend in [Backend::Sqlite, Backend::Postgres, Backend::Mariadb] {
        a_bad_row_is_named_and_nothing_stays(backend).await;
    }
}

#[tokio::test]
async fn lists_are_for_databases_with_arrays() {
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1), None])]);
    let data = stream(&[batch(vec![("a", Arc::new(lists))])]);
    for backend in [Backend::Sqlite, Backend::Mariadb] {
        let service = Service::start(backend).await;
        service.client.must("create table t (a text)", &[]).await;
        let failure = service.client.copy_bytes(into("t"), &data, 99).await.expect_err("a list");
        assert_eq!((failure.code, failure.report.line), (Code::InvalidArgument, 1), "{failure:?}");
    }
    let service = Service::start(Backend::Postgres).await;
    service.client.must("create table t (a bigint[])", &[]).await;
    service.client.copy_bytes(into("t"), &data, 99).await.expect("it has arrays");
    let sql = "select a::text from t".to_owned();
    let request =
        CopyOutRequest { sql, format: CopyFormat::Csv.into(), ..CopyOutRequest::default() };
    let out = service.client.copy_out(request).await.expect("it runs");
    assert_eq!(out.text(), "\"{1,NULL}\"\n");
}

#[tokio::test]
async fn a_record_batch_is_bounded() {
    let service = Service::with(Backend::Postgres, "max_row_size = \"64KiB\"\n").await;
    service.client.must("create table t (a int)", &[]).await;
    let small: Vec<_> = (0..20).map(|_| batch(vec![("a", numbers(0..10_000))])).collect();
    let copied = service.client.copy_bytes(into("t"), &stream(&small), 60_000).await;
    assert_eq!(copied.expect("each batch fits").rows_affected, 200_000);
    let large = stream(&[batch(vec![("a", numbers(0..20_000))])]);
    let failure = service.client.copy_bytes(into("t"), &large, 60_000).await.expect_err("80 KB");
    assert_eq!(failure.what(), (Code::ResourceExhausted, "ROW_TOO_LARGE"), "{failure:?}");
    assert_eq!(failure.outcome, "NOT_APPLIED");
    assert_eq!(count(&service).await, Value::int64(200_000));
}
