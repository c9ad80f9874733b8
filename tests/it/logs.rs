//! The log: lines for machines, and nothing in them that callers own.

use rowgate::value::proto::Value;

use crate::harness::{Backend, Service};

/// What must never be logged: a parameter, a value of a row, a literal, a password.
const PRIVATE: [&str; 4] = ["parameter-7f3a", "row-7f3a", "literal-7f3a", "correct horse"];

async fn logs_of(backend: Backend, filter: &str) -> String {
    let settings = format!("[telemetry]\nlog_format = \"json\"\nlog_filter = \"{filter}\"");
    let service = Service::with(backend, &settings).await;
    let client = &service.client;
    client.must("create table t (id integer primary key, name text unique)", &[]).await;
    let parameters = [Value::int64(1), Value::text("parameter-7f3a")];
    client.must("insert into t values ($1, $2)", &parameters).await;
    client.must_fail("insert into t values ($1, $2)", &parameters).await;
    client.must("insert into t select 2, 'row-' || '7f3a'", &[]).await;
    client.must("select name, 'literal-7f3a' from t", &[]).await;
    let wrong = service.pick("select json('literal-7f3a')", "select 'literal-7f3a'::int4");
    client.must_fail(wrong, &[]).await;
    let wrong = service.pick("select json($1)", "select $1::date");
    client.must_fail(wrong, &[Value::text("parameter-7f3a")]).await;
    service.server.log()
}

#[tokio::test]
async fn nothing_private_is_logged_however_much_is_asked_for() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
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
