//! COPY on PostgreSQL: its own errors, its locks, its types, and the connection behind it.

use std::time::Duration;

use rowgate::value::proto::copy_in_request::Part;
use rowgate::value::proto::transact_request::Command;
use rowgate::value::proto::{
    CopyFormat, CopyInStart, CopyOutRequest, QueryOptions, Rollback, Row, RowBatch, Setting, Value,
};
use tonic::Code;

use crate::harness::behind::{Behind, KEYS};
use crate::harness::client::{Client, PATIENCE};
use crate::harness::copies::{csv_into, into_as, out_of};
use crate::harness::pgbouncer::PgBouncer;
use crate::harness::postgres::Postgres;
use crate::harness::proxy::{Direction, Fault, Place, Then};
use crate::harness::server::Server;
use crate::harness::wait::{Stopwatch, eventually_async};
use crate::harness::{Backend, Service};

/// One connection: what a copy leaves in it, the next call sees.
const ONE: &str = "[databases.main.pool]\nmin = 1\nmax = 1\n";

async fn one_connection() -> Service {
    let service = Service::with(Backend::Postgres, ONE).await;
    service.client.must("create table t (a int primary key, b int not null)", &[]).await;
    service
}

async fn pid(service: &Service) -> Value {
    let result = service.client.must("select pg_backend_pid()", &[]).await;
    result.rows[0].values[0].clone()
}

#[tokio::test]
async fn an_error_names_line_and_column_and_quotes_no_row() {
    let service = one_connection().await;
    let cases = [
        ("1,2\n3,secret\n", 2, "b", "INVALID_TEXT_REPRESENTATION"),
        ("1,2\n2,3\n3,\n", 3, "b", "NOT_NULL_VIOLATION"),
        ("1,2\n1,3\n", 2, "", "UNIQUE_VIOLATION"),
        ("1,2\n2\n", 2, "", "BAD_COPY_FILE_FORMAT"),
        ("1,99999999999\n", 1, "b", "NUMERIC_VALUE_OUT_OF_RANGE"),
    ];
    for (csv, line, column, reason) in cases {
        let failure = service.client.copy_text(csv_into("t"), csv, 1000).await.expect_err(csv);
        assert_eq!((failure.reason.as_str(), failure.report.line), (reason, line), "{failure:?}");
        assert_eq!(failure.report.column, column, "{failure:?}");
        assert!(failure.message.starts_with(&format!("line {line}")), "{failure:?}");
        assert!(!format!("{failure:?}").contains("secret"), "{failure:?}");
    }
    let left = service.client.must("select * from t", &[]).await;
    assert!(left.rows.is_empty());
}

#[tokio::test]
async fn a_copy_leaves_its_connection_to_the_next_call() {
    let service = one_connection().await;
    let before = pid(&service).await;
    for round in 0..5 {
        // Refused before it starts, failed in its data, failed at its end, and good.
        let start = CopyInStart { columns: vec!["none".to_owned()], ..csv_into("t") };
        service.client.copy_text(start, "1\n", 1).await.expect_err("no column");
        assert_eq!(service.client.must("select 7", &[]).await.rows[0].values, [Value::int64(7)]);
        service.client.copy_text(csv_into("t"), "1,x\n", 1).await.expect_err("no number");
        assert_eq!(service.client.must("select 8", &[]).await.rows[0].values, [Value::int64(8)]);
        let good = format!("{round},1\n");
        service.client.copy_text(csv_into("t"), &good, 1).await.expect("it fits");
        let out = service.client.copy_out(out_of("t", CopyFormat::Csv)).await.expect("it runs");
        assert_eq!(out.row_count, round + 1);
        service.client.copy_out(out_of("none", CopyFormat::Csv)).await.expect_err("no table");
        let sql = "select 1 / (2 - n) from generate_series(1, 3) as n".to_owned();
        let format = CopyFormat::Csv.into();
        let failing = CopyOutRequest { sql, format, ..CopyOutRequest::default() };
        let failure = service.client.copy_out(failing).await.expect_err("it divides by zero");
        assert_eq!(failure.reason, "DIVISION_BY_ZERO", "{failure:?}");
    }
    assert_eq!(pid(&service).await, before, "the connection is the same");
}

#[tokio::test]
async fn a_caller_that_goes_away_is_rolled_back_at_once() {
    let service = one_connection().await;
    let open = service.client.open_copy(csv_into("t"), Some(PATIENCE)).await;
    assert!(open.text("1,1\n").await);
    let running = "select count(*) from pg_stat_activity where query like 'COPY%FROM STDIN%' \
                   and state = 'active' and pid <> pg_backend_pid()";
    let postgres = service.postgres();
    let runs = async |number: &str| (postgres.psql(running).trim() == number).then_some(());
    eventually_async("it copies", PATIENCE, async || runs("1").await).await;
    let dropped = Stopwatch::start();
    drop(open);
    eventually_async("it is over", PATIENCE, async || runs("0").await).await;
    println!("rolled back after {:?}", dropped.elapsed());
    dropped.assert_within(Duration::from_secs(2), "the rollback");
    assert!(service.client.must("select * from t", &[]).await.rows.is_empty());
}

#[tokio::test]
async fn a_reader_that_goes_away_frees_its_connection() {
    let service = one_connection().await;
    let sql = "select repeat('x', 1000) from generate_series(1, 10000000)".to_owned();
    let format = CopyFormat::Csv.into();
    let request = CopyOutRequest { sql, format, ..CopyOutRequest::default() };
    let mut parts = service.client.raw().copy_out(request).await.expect("it starts").into_inner();
    for _ in 0..10 {
        parts.message().await.expect("it runs").expect("there is more");
    }
    drop(parts);
    let dropped = Stopwatch::start();
    let next = async || service.client.query("select 1", &[]).await.ok();
    eventually_async("the connection is free", PATIENCE, next).await;
    dropped.assert_within(Duration::from_secs(3), "the connection");
}

#[tokio::test]
async fn a_copy_that_waits_for_a_lock_ends_at_its_deadline() {
    let service = Service::start(Backend::Postgres).await;
    service.client.must("create table t (a int primary key, b int not null)", &[]).await;
    let mut holder = service.client.begin().await;
    holder.query("insert into t values (1, 1)", &[]).await.expect("it runs");
    let timeout = Some(prost_types::Duration { seconds: 0, nanos: 400_000_000 });
    let options = Some(QueryOptions { timeout, ..QueryOptions::default() });
    let start = CopyInStart { options, ..csv_into("t") };
    // The unique index makes it wait for the other transaction.
    let failure = service.client.copy_text(start, "1,2\n", 1000).await.expect_err("it waits");
    assert_eq!(failure.what(), (Code::DeadlineExceeded, "DEADLINE"), "{failure:?}");
    assert_eq!(failure.outcome, "NOT_APPLIED");
    holder.rollback().await.expect("it was open");
    service.client.copy_text(csv_into("t"), "1,2\n", 1000).await.expect("the lock is gone");
}

#[tokio::test]
async fn a_copy_that_its_data_ends_is_undone_when_its_caller_is_told() {
    let service = Service::start(Backend::Postgres).await;
    let postgres = service.postgres();
    postgres.psql(
        "create table t (a int, b int); create function slow() returns trigger language plpgsql as \
         $$ begin perform pg_sleep(3); return new; end $$; \
         create trigger slow before insert on t for each row execute function slow()",
    );
    let start = CopyInStart { format: CopyFormat::Rows.into(), ..csv_into("t") };
    let mut open = service.client.open_copy(start, Some(PATIENCE)).await;
    // Enough for the server to begin.
    let row = Row { values: vec![Value::int64(1); 2] };
    assert!(open.send(Part::Rows(RowBatch::new(vec![row; 20_000]))).await);
    let sleeps = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'";
    let begins = async || (postgres.psql(sleeps).trim() == "1").then_some(());
    eventually_async("it copies", PATIENCE, begins).await;
    open.text("no rows").await;
    let failure = open.answer().await.expect_err("it is no row");
    assert_eq!(failure.code, Code::InvalidArgument, "{failure:?}");
    assert_eq!(failure.outcome, "NOT_APPLIED");
    postgres.psql("begin; lock table t in access exclusive mode nowait; commit");
}

#[tokio::test]
async fn a_caller_that_sends_nothing_is_stalled() {
    let service = Service::with(Backend::Postgres, "[stream]\nstall_timeout = \"300ms\"\n").await;
    service.client.must("create table t (a int)", &[]).await;
    let mut open = service.client.open_copy(csv_into("t"), None).await;
    assert!(open.text("1\n").await);
    let failure = open.answer().await.expect_err("nothing follows");
    assert_eq!(failure.what(), (Code::Aborted, "STREAM_STALLED"), "{failure:?}");
    assert!(service.client.must("select * from t", &[]).await.rows.is_empty());
}

#[tokio::test]
async fn a_lost_connection_is_not_applied() {
    let service = one_connection().await;
    let open = service.client.open_copy(csv_into("t"), Some(PATIENCE)).await;
    assert!(open.text("1,1\n").await);
    let copying =
        "select count(*) from pg_stat_activity where query like 'COPY%' and state = 'active'";
    let copies = async || (service.postgres().psql(copying).trim() != "0").then_some(());
    eventually_async("it copies", PATIENCE, copies).await;
    service.postgres().terminate_backends();
    let failure = open.end().await.expect_err("the connection is lost");
    assert_eq!(failure.what(), (Code::Unavailable, "CONNECTION_LOST"), "{failure:?}");
    assert_eq!(failure.outcome, "NOT_APPLIED");
    assert!(service.client.must("select * from t", &[]).await.rows.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_whose_commit_is_lost_is_told_truthfully() {
    let behind = Behind::start(Postgres::start(), ONE, &[]).await;
    behind.postgres.psql(&format!("create table t (a int, b int); {KEYS}"));
    let lost = |direction| {
        let then = Then::Lose(Duration::from_millis(50));
        Fault { direction, place: Place::Text("COMMIT"), then }
    };
    let count = "select count(*) from t";
    for key in ["", "a key"] {
        let options =
            Some(QueryOptions { idempotency_key: key.to_owned(), ..QueryOptions::default() });
        let start = CopyInStart { options, ..csv_into("t") };
        behind.postgres.psql("truncate t");
        // It never arrives: the rows were sent once, and are not sent again.
        behind.client.must("select 1", &[]).await;
        let happened = behind.proxy.arm(lost(Direction::Up));
        let failure =
            behind.client.copy_text(start.clone(), "1,2\n", 1000).await.expect_err("it is lost");
        happened.await.expect("it was lost");
        assert_eq!(failure.outcome, "NOT_APPLIED", "key {key:?}: {failure:?}");
        assert_eq!(behind.postgres.psql(count), "0");
        // It arrives, and its answer does not.
        behind.client.must("select 1", &[]).await;
        let happened = behind.proxy.arm(lost(Direction::Down));
        let answer = behind.client.copy_text(start, "1,2\n", 1000).await.expect("it is applied");
        happened.await.expect("it was lost");
        assert_eq!(answer.rows_affected, 1, "key {key:?}");
        assert_eq!(behind.postgres.psql(count), "1");
    }
}

#[tokio::test]
async fn every_type_goes_out_and_in_again() {
    let service = Service::start(Backend::Postgres).await;
    let table = |name: &str| {
        format!(
            "create table {name} (a int8, b numeric(20, 4), c text, d bytea, e timestamptz, f jsonb, \
             g int[], h uuid, i bool, j float4, k interval, l int4range)"
        )
    };
    service.client.must(&table("t"), &[]).await;
    service.client.must(&table("u"), &[]).await;
    let fill = "insert into t select n, n / 3.0, case when n % 2 = 0 then E'x\\t\\\\,\"\\n' || n end, \
                decode(lpad(to_hex(n), 8, '0'), 'hex'), timestamptz '2026-01-01Z' + n * interval '1 h', \
                jsonb_build_object('n', n), array[n, null, n], gen_random_uuid(), n % 2 = 0, n / 7.0, \
                n * interval '1 day 1 us', int4range(n, n + 5) from generate_series(1, 500) as n";
    service.client.must(fill, &[]).await;
    let equal = "select count(*) from (table t except all table u) as left_over";
    for format in [CopyFormat::Csv, CopyFormat::Text, CopyFormat::Rows] {
        let out = service.client.copy_out(out_of("t", format)).await.expect("it runs");
        assert_eq!(out.row_count, 500);
        let start = into_as("u", format);
        let copied = if format == CopyFormat::Rows {
            service
                .client
                .copy_rows(start, out.rows.chunks(70).map(<[Row]>::to_vec).collect())
                .await
        } else {
            service.client.copy_text(start, out.text(), 1013).await
        };
        assert_eq!(copied.expect("it fits").rows_affected, 500, "{format:?}");
        let left = service.client.must(equal, &[]).await;
        assert_eq!(left.rows[0].values, [Value::int64(0)], "{format:?}");
        service.client.must("truncate u", &[]).await;
    }
}

#[tokio::test]
async fn settings_and_triggers_are_those_of_the_call() {
    let settings = "settings_allowed = [\"tenant.id\"]\n";
    let service = Service::with(Backend::Postgres, settings).await;
    service.client.must("create table t (a int, tenant text)", &[]).await;
    let trigger = "create function f() returns trigger language plpgsql as $$ begin \
                   if new.a = 3 then raise 'three' using errcode = 'P0003'; end if; \
                   new.tenant = current_setting('tenant.id'); return new; end $$";
    service.client.must(trigger, &[]).await;
    let create = "create trigger g before insert on t for each row execute function f()";
    service.client.must(create, &[]).await;
    let setting = Setting { name: "tenant.id".to_owned(), value: "acme".to_owned() };
    let options = Some(QueryOptions { settings: vec![setting], ..QueryOptions::default() });
    let start =
        || CopyInStart { columns: vec!["a".to_owned()], options: options.clone(), ..csv_into("t") };
    service.client.copy_text(start(), "1\n2\n", 1000).await.expect("it fits");
    let tenants = service.client.must("select distinct tenant from t", &[]).await;
    assert_eq!(tenants.rows[0].values, [Value::text("acme")]);
    let failure = service.client.copy_text(start(), "4\n3\n", 1000).await.expect_err("it raises");
    assert_eq!(failure.report.line, 2, "{failure:?}");
    let request = CopyOutRequest {
        sql: "select current_setting('tenant.id')".to_owned(),
        format: CopyFormat::Csv.into(),
        options,
        ..CopyOutRequest::default()
    };
    assert_eq!(service.client.copy_out(request).await.expect("it runs").text(), "acme\n");
}

#[tokio::test]
async fn a_query_cannot_leave_its_parentheses() {
    let service = Service::start(Backend::Postgres).await;
    for sql in ["select 1) to program 'true' --", "select 1; select 2", "select 1) to stdout --"] {
        let request = CopyOutRequest {
            sql: sql.to_owned(),
            format: CopyFormat::Csv.into(),
            ..CopyOutRequest::default()
        };
        let failure = service.client.copy_out(request).await.expect_err(sql);
        assert_eq!(failure.what(), (Code::InvalidArgument, "INVALID_SQL"), "{failure:?}");
    }
}

#[tokio::test]
async fn in_a_transaction_copy_is_refused_and_the_stream_stays_open() {
    let service = one_connection().await;
    for sql in ["copy t from stdin", "copy t to stdout", "copy (select 1) to stdout (format csv)"] {
        let mut open = service.client.begin().await;
        open.savepoint("s").await.expect("it is open");
        let failure = open.query(sql, &[]).await.expect_err("it is refused");
        assert_eq!(failure.what(), (Code::Unimplemented, "FEATURE_NOT_SUPPORTED"), "{failure:?}");
        assert!(format!("{failure:?}").contains("CopyIn"), "{failure:?}");
        let failure = open.query("select 1", &[]).await.expect_err("it is aborted");
        assert_eq!(failure.reason, "TRANSACTION_ABORTED");
        open.rollback_to("s").await.expect("the stream is open");
        open.query("insert into t values (1, 1)", &[]).await.expect("it goes on");
        open.send(Command::Rollback(Rollback {})).await;
        open.reply().await.expect("it is rolled back");
    }
}

#[tokio::test]
async fn a_copy_passes_a_pooler() {
    let postgres = Postgres::start();
    postgres.psql("create table t (a int primary key, b int not null)");
    let settings = "pool_mode = transaction\ndefault_pool_size = 1";
    let Some(pooler) = PgBouncer::start(&postgres, settings) else { return };
    let url = pooler.url("postgres");
    let server = Server::start(&format!("[databases.main]\nurl = \"{url}\"\n{ONE}"));
    let client = Client::connect(server.grpc()).await;
    for round in 0..3 {
        client.copy_text(csv_into("t"), &format!("{round},1\n"), 1).await.expect("it fits");
        let failure = client.copy_text(csv_into("t"), "9,x\n", 1).await.expect_err("no number");
        assert_eq!(failure.report.line, 1, "{failure:?}");
        client.copy_text(csv_into("none"), "1\n", 1).await.expect_err("no table");
        let out = client.copy_out(out_of("t", CopyFormat::Csv)).await.expect("it runs");
        assert_eq!(out.row_count, round + 1);
    }
}
