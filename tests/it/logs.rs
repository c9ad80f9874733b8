//! The log: lines for machines, and nothing in them that callers own.

use std::time::Duration;

use rowgate::value::proto::Value;
use tonic::Code;

use crate::harness::wait::eventually;
use crate::harness::{Backend, Service};

/// Texts that must never be logged: a parameter, a value of a row, a literal, a password.
const PRIVATE: [&str; 4] = ["parameter-7f3a", "row-7f3a", "literal-7f3a", "correct horse"];

async fn logs_of(backend: Backend, filter: &str) -> String {
    let settings = format!("[telemetry]\nlog_format = \"json\"\nlog_filter = \"{filter}\"");
    let service = Service::with(backend, &settings).await;
    let client = &service.client;
    client.must("create table t (id integer primary key, name varchar(40) unique)", &[]).await;
    let parameters = [Value::int64(1), Value::text("parameter-7f3a")];
    client.must("insert into t values ($1, $2)", &parameters).await;
    client.must_fail("insert into t values ($1, $2)", &parameters).await;
    let joined = "insert into t select 2, 'row-' || '7f3a'";
    let own = "insert into t select 2, concat('row-', '7f3a')";
    client.must(service.pick(joined, joined, own), &[]).await;
    client.must("select name, 'literal-7f3a' from t", &[]).await;
    let wrong = service.pick(
        "select json('literal-7f3a')",
        "select 'literal-7f3a'::int4",
        "insert into t (id) values ('literal-7f3a')",
    );
    client.must_fail(wrong, &[]).await;
    let wrong = service.pick(
        "select json($1)",
        "select $1::date",
        "insert into t (id) values (cast($1 as char))",
    );
    client.must_fail(wrong, &[Value::text("parameter-7f3a")]).await;
    service.server.log()
}

#[tokio::test]
async fn nothing_private_is_logged_however_much_is_asked_for() {
    for backend in [Backend::Sqlite, Backend::Postgres, Backend::Mariadb] {
        for filter in ["info", "debug", "trace", "trace,tokio_postgres=trace,rowgate=trace"] {
            let log = logs_of(backend, filter).await;
            for private in PRIVATE {
                let line = log.lines().find(|line| line.contains(private));
                assert_eq!(line, None, "{backend:?}, {filter}");
            }
        }
    }
}

#[tokio::test]
async fn each_line_is_json_with_a_constant_message() {
    let log = logs_of(Backend::Postgres, "info").await;
    assert!(!log.is_empty(), "it says that it serves");
    for line in log.lines() {
        let json: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(json["level"].is_string() && json["timestamp"].is_string(), "{line}");
        assert!(!log.contains("panicked"), "{line}");
    }
}

#[tokio::test]
async fn one_line_tells_where_it_serves_and_none_tells_of_a_connection() {
    let settings = "[telemetry]\nlog_format = \"json\"\n[databases.main.pool]\nmin = 3";
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let service = Service::with(backend, settings).await;
        service.client.must("select 1", &[]).await;
        let serving = eventually("it is logged", Duration::from_secs(5), || {
            let log = service.server.log();
            assert!(!log.contains("connection opened"), "{log}");
            log.lines().find(|line| line.contains("\"serving on ")).map(str::to_owned)
        });
        let line: serde_json::Value = serde_json::from_str(&serving).expect("it is JSON");
        let grpc = service.server.grpc().to_string();
        assert_eq!((&line["level"], &line["grpc"]), (&"INFO".into(), &grpc.as_str().into()));
        let ops = service.server.ops().to_string();
        assert_eq!((&line["ops"], &line["databases"]), (&ops.as_str().into(), &"main".into()));
        assert_eq!(service.server.log().matches("serving on").count(), 1);
    }
}

#[tokio::test]
async fn each_failed_call_has_one_line_which_warns_where_the_caller_is_not_to_blame() {
    let settings = "error_details = \"full\"\n[telemetry]\nlog_format = \"json\"";
    let service = Service::with(Backend::Postgres, settings).await;
    let client = &service.client;
    client.must_fail("select 'literal-7f3a'::int4", &[]).await;
    client.must_fail("select nothing_of_the_kind", &[]).await;
    let raise = "do $$ begin raise exception 'row-7f3a' using errcode = 'XX000'; end $$";
    let failure = client.must_fail(raise, &[]).await;
    assert_eq!(failure.what(), (Code::Internal, "INTERNAL_ERROR"), "{failure:?}");
    let lines = eventually("the error is logged", Duration::from_secs(5), || {
        let log = service.server.log();
        let lines = log.lines().filter(|line| line.contains("call failed"));
        let lines: Vec<String> = lines.map(str::to_owned).collect();
        (lines.len() >= 3).then_some(lines)
    });
    let expected = [
        ("INFO", "INVALID_TEXT_REPRESENTATION", "22P02"),
        ("INFO", "UNDEFINED_COLUMN", "42703"),
        ("WARN", "INTERNAL_ERROR", "XX000"),
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:?}");
    for (line, (level, reason, sqlstate)) in lines.iter().zip(expected) {
        let line: serde_json::Value = serde_json::from_str(line).expect("it is JSON");
        assert_eq!(line["level"], level, "{line}");
        assert_eq!(line["rpc"], "rowgate.v1.DatabaseService/Query", "{line}");
        assert_eq!((&line["reason"], &line["sqlstate"]), (&reason.into(), &sqlstate.into()));
        assert_eq!(line["outcome"], "NOT_APPLIED", "{line}");
    }
    let log = service.server.log();
    assert!(!PRIVATE.iter().any(|private| log.contains(private)), "{lines:?}");
}
