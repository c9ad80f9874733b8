//! Lines of audit: who called what, and if it was allowed.

use std::time::Duration;

use rowgate::value::proto::{QueryOptions, QueryRequest, Setting, Value};
use serde_json::{Value as Json, json};

use super::Guarded;
use crate::harness::Backend;
use crate::harness::client::{Client, request};
use crate::harness::http;
use crate::harness::wait::{eventually, eventually_async};

const CALLERS: &[(&str, &str)] = &[
    ("shop", "databases = ['main']\nread_only = false\nrpcs = ['Query', 'StreamQuery']"),
    ("reader", "databases = ['main']\nrpcs = ['Query', 'Transact']\nmax_rate = 5"),
];

/// The literals and the parameters of the calls.
const PRIVATE: [&str; 2] = ["literal-7f3a", "parameter-7f3a"];

/// A service with JSON lines, and a value of `access.audit` if there is one.
async fn audited(backend: Backend, audit: &str) -> Guarded {
    let tables = format!("{audit}\n[telemetry]\nlog_format = 'json'");
    Guarded::with(backend, &tables, CALLERS).await
}

/// The lines, once there are so many.
fn lines(guarded: &Guarded, count: usize) -> Vec<Json> {
    eventually("the calls are audited", Duration::from_secs(5), || {
        let log = guarded.service.server.log();
        let lines = log.lines().filter(|line| line.contains("call audited"));
        let lines: Vec<Json> =
            lines.map(|line| serde_json::from_str(line).expect("JSON")).collect();
        (lines.len() >= count).then_some(lines)
    })
}

/// Compares fields of a line.
fn check(line: &Json, fields: &[(&str, &str)]) {
    for (field, expected) in fields {
        assert_eq!(line[*field], *expected, "{field} of {line}");
    }
}

#[tokio::test]
async fn a_refused_call_has_a_line_and_one_that_is_served_has_none() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let guarded = audited(backend, "").await;
        let shop = guarded.client("shop");
        shop.must("create table t (name text)", &[]).await;
        shop.must_fail("select * from missing", &[]).await;
        let write = "insert into t values ('literal-7f3a', $1)";
        guarded.client("reader").must_fail(write, &[Value::text("parameter-7f3a")]).await;
        guarded.service.client.must_fail("select 1", &[]).await;
        let lines = lines(&guarded, 2);
        let [denied, stranger] = &lines[..] else { panic!("{backend:?}: {lines:?}") };
        let common = [
            ("level", "INFO"),
            ("target", "rowgate::audit"),
            ("rpc", "rowgate.v1.DatabaseService/Query"),
            ("peer", "127.0.0.1"),
            ("access", "denied"),
            ("outcome", "NOT_APPLIED"),
        ];
        check(denied, &common);
        check(stranger, &common);
        check(
            denied,
            &[
                ("identity", "reader"),
                ("identity_kind", "token"),
                ("database", "main"),
                ("reason", "ACCESS_DENIED"),
                ("code", "PERMISSION_DENIED"),
            ],
        );
        check(
            stranger,
            &[
                ("identity", ""),
                ("identity_kind", "none"),
                ("reason", "UNAUTHENTICATED"),
                ("code", "UNAUTHENTICATED"),
            ],
        );
        assert!(denied["duration_ms"].is_u64(), "{denied}");
        assert!(denied["statement"].as_str().is_some_and(|it| it.contains("insert")), "{denied}");
        let log = guarded.service.server.log();
        assert!(!PRIVATE.iter().any(|private| log.contains(private)), "{log}");
    }
}

#[tokio::test]
async fn all_calls_have_a_line_where_that_is_configured_and_probes_have_none() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let guarded = audited(backend, "audit = 'all'").await;
        let shop = guarded.client("shop");
        shop.must("select 'literal-7f3a' as name", &[]).await;
        shop.must_fail("select * from missing where name = 'literal-7f3a'", &[]).await;
        let lines = lines(&guarded, 2);
        // The harness has asked for health, too.
        let [served, failed] = &lines[..] else { panic!("{backend:?}: {lines:?}") };
        let common = [("identity", "shop"), ("database", "main"), ("access", "allowed")];
        check(served, &common);
        check(failed, &common);
        check(served, &[("code", "OK")]);
        check(failed, &[("code", "INVALID_ARGUMENT"), ("outcome", "NOT_APPLIED")]);
        assert_eq!(served["reason"], Json::Null, "{served}");
        assert_eq!(failed["reason"], "UNDEFINED_TABLE", "{failed}");
        assert!(served["statement"].as_str().is_some_and(|text| !text.is_empty()), "{served}");
        let log = guarded.service.server.log();
        assert!(!PRIVATE.iter().any(|private| log.contains(private)), "{log}");
    }
}

#[tokio::test]
async fn operators_see_the_callers_what_they_do_and_what_they_were_refused() {
    let guarded = audited(Backend::Sqlite, "").await;
    let ops = guarded.service.server.ops();
    guarded.client("reader").must_fail("create table t (n int)", &[]).await;
    guarded.service.client.must_fail("select 1", &[]).await;
    guarded.service.client.must_fail("select 1", &[]).await;
    let body = eventually_async("no call is open", Duration::from_secs(5), async || {
        let body = http::get(ops, "/status").await;
        (body.json()["callers"]["configured"][0]["calls"] == 0).then_some(body)
    })
    .await;
    let callers = &body.json()["callers"];
    assert_eq!(callers["strangers"], json!({ "UNAUTHENTICATED": 2 }));
    let reader = json!({
        "name": "reader", "identities": ["token"], "calls": 0, "transactions": 0, "tokens": 1,
        "token_expires_ms": null, "refused": { "ACCESS_DENIED": 1 },
    });
    assert_eq!(callers["configured"][0], reader);
    assert_eq!(callers["configured"][1]["name"], "shop");
    // A prefix, an identifier, and a secret, which may have underscores of its own.
    let secret = guarded.token("reader").splitn(3, '_').nth(2).expect("it has one");
    assert!(!body.body.contains(secret));
}

/// Calls a method on a database that its caller may not use.
async fn ask_for(client: &Client, database: &str) {
    let named = QueryRequest { database: database.into(), ..request("select 1", &[]) };
    assert_eq!(client.run(named).await.expect_err("it is hidden").reason, "DATABASE_NOT_FOUND");
}

#[tokio::test]
async fn a_database_that_a_caller_may_not_use_is_a_refusal_and_the_line_has_its_name() {
    for (backend, audit) in [(Backend::Sqlite, ""), (Backend::Postgres, "audit = 'all'")] {
        let guarded = audited(backend, audit).await;
        let shop = guarded.client("shop");
        ask_for(&shop, "other").await;
        ask_for(&shop, &format!("absent{}", "x".repeat(1000))).await;
        let lines = lines(&guarded, 2);
        let [other, absent] = &lines[..] else { panic!("{backend:?}: {lines:?}") };
        let common = [
            ("identity", "shop"),
            ("access", "denied"),
            ("reason", "DATABASE_NOT_FOUND"),
            ("code", "NOT_FOUND"),
            ("outcome", "NOT_APPLIED"),
        ];
        check(other, &common);
        check(other, &[("database", "other")]);
        check(absent, &common);
        let name = absent["database"].as_str().expect("it is named");
        assert!(name.starts_with("absentx") && name.len() == 200, "{name}");
        let ops = guarded.service.server.ops();
        let callers = &http::get(ops, "/status").await.json()["callers"]["configured"];
        assert_eq!(callers[1]["refused"], json!({ "DATABASE_NOT_FOUND": 2 }));
    }
}

#[tokio::test]
async fn a_setting_that_no_call_may_have_is_a_refusal() {
    let guarded = audited(Backend::Postgres, "").await;
    let settings = vec![Setting { name: "role".into(), value: "owner".into() }];
    let options = Some(QueryOptions { settings, ..QueryOptions::default() });
    let named = QueryRequest { options, ..request("select 1", &[]) };
    let failure = guarded.client("shop").run(named).await.expect_err("it is never allowed");
    assert_eq!(failure.reason, "INVALID_OPTION");
    let lines = lines(&guarded, 1);
    check(
        &lines[0],
        &[
            ("identity", "shop"),
            ("access", "denied"),
            ("reason", "INVALID_OPTION"),
            ("code", "INVALID_ARGUMENT"),
            ("database", "main"),
        ],
    );
}

#[tokio::test]
async fn without_an_audit_a_refusal_has_no_such_line() {
    let guarded = audited(Backend::Sqlite, "audit = 'off'").await;
    guarded.client("reader").must_fail("create table t (n int)", &[]).await;
    let log = eventually("it is logged", Duration::from_secs(5), || {
        let log = guarded.service.server.log();
        log.contains("call failed").then_some(log)
    });
    assert!(!log.contains("call audited"), "{log}");
}

#[tokio::test]
async fn floods_of_strangers_and_of_callers_over_their_limits_are_few_lines() {
    let guarded = audited(Backend::Sqlite, "").await;
    let reader = guarded.client("reader");
    for _ in 0..300 {
        guarded.service.client.must_fail("select 1", &[]).await;
        drop(reader.query("select 1", &[]).await);
    }
    let lines = lines(&guarded, 20);
    assert!(lines.len() < 250, "{} lines of 600 calls", lines.len());
    for reason in ["UNAUTHENTICATED", "CALLER_LIMIT"] {
        assert!(lines.iter().any(|line| line["reason"] == reason), "{reason}");
    }
}
