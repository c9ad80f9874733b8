//! The log of refused calls: the reason, a bounded number of lines, and no secret.

use std::time::Duration;

use rowgate::access::{TokenEntry, TokenFile, new_token};
use rowgate::value::proto::{ReconnectPoolRequest, Value};

use super::{Guarded, headers};
use crate::harness::Backend;
use crate::harness::client::{Client, PATIENCE};
use crate::harness::http;
use crate::harness::wait::{eventually, eventually_async};

const CALLERS: &[(&str, &str)] = &[
    ("shop", "databases = ['main']\nread_only = false\nrpcs = ['Query']"),
    ("reader", "databases = ['main']\nrpcs = ['Query']"),
];

fn with(guarded: &Guarded, credentials: &str) -> Client {
    let credentials = headers(&[("authorization", credentials.as_bytes())]);
    guarded.service.client.with_headers(credentials)
}

#[tokio::test]
async fn neither_tokens_nor_parameters_are_logged_however_much_is_asked_for() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let log = "[telemetry]\nlog_format = 'json'\nlog_filter = 'trace'";
        let guarded = Guarded::with(backend, log, CALLERS).await;
        let token = guarded.token("shop").to_owned();
        let secret = token.splitn(3, '_').last().expect("it has one").to_owned();
        let shop = guarded.client("shop");
        shop.must("create table t (name text)", &[]).await;
        let parameter = [Value::text("parameter-7f3a")];
        shop.must("insert into t values ($1)", &parameter).await;
        guarded.client("reader").must_fail("insert into t values ($1)", &parameter).await;
        let forged = [format!("Bearer {token}x"), format!("Basic {secret}"), format!("{token} x")];
        for credentials in &forged {
            with(&guarded, credentials).must_fail("select $1", &parameter).await;
        }
        let log = eventually("the refusals are logged", Duration::from_secs(5), || {
            let log = guarded.service.server.log();
            (log.matches("call failed").count() >= 4).then_some(log)
        });
        for private in [secret.as_str(), "parameter-7f3a"] {
            let line = log.lines().find(|line| line.contains(private));
            assert_eq!(line, None, "{backend:?}");
        }
    }
}

#[tokio::test]
async fn a_refused_call_is_logged_with_its_reason_and_a_flood_is_few_lines() {
    let guarded = Guarded::with(Backend::Sqlite, "[telemetry]\nlog_format = 'json'", CALLERS).await;
    let token = guarded.token("shop").to_owned();
    let file = TokenFile::new(guarded.file());
    let (id, orphan) = new_token().expect("there are random numbers");
    file.add(&TokenEntry::new(&id, &orphan, "gone", None)).expect("it is written");
    eventually("the file is read", Duration::from_secs(5), || {
        let log = guarded.service.server.log();
        log.contains("files read").then_some(())
    });
    let cases = [
        ("Basic x".to_owned(), "the header authorization is no bearer token"),
        ("Bearer x".to_owned(), "the token is malformed"),
        (format!("Bearer {token}x"), "the token is not known"),
        (format!("Bearer {orphan}"), "the caller of the token is not configured"),
    ];
    for (credentials, _) in &cases {
        with(&guarded, credentials).must_fail("select 1", &[]).await;
    }
    guarded.service.client.must_fail("select 1", &[]).await;
    let log = eventually("the refusals are logged", Duration::from_secs(5), || {
        let log = guarded.service.server.log();
        (log.matches("call failed").count() >= 5).then_some(log)
    });
    let reasons = cases.iter().map(|(_, reason)| *reason).chain(["the call has no identity"]);
    for reason in reasons {
        let line = log.lines().find(|line| line.contains(reason)).expect(reason);
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert_eq!((&line["level"], &line["reason"]), (&"WARN".into(), &"UNAUTHENTICATED".into()));
        assert_eq!(line["rpc"], "rowgate.v1.DatabaseService/Query", "{line}");
    }
    for _ in 0..300 {
        guarded.service.client.must_fail("select 1", &[]).await;
    }
    let lines = guarded.service.server.log().matches("call failed").count();
    assert!(lines < 200, "{lines} lines of 305 refusals");
}

#[tokio::test]
async fn refused_calls_are_counted_by_caller_and_pool_commands_name_theirs() {
    const CALLERS: &[(&str, &str)] = &[
        ("shop", "databases = ['main']\nrpcs = METHODS\nmax_rate = 3"),
        ("admin", "databases = ['main']\npool_admin = true\nrpcs = METHODS"),
        ("idle", ""),
    ];
    let log = "[telemetry]\nlog_format = 'json'";
    let guarded = Guarded::with(Backend::Sqlite, log, CALLERS).await;
    let request = || ReconnectPoolRequest { pool: "main".to_owned() };
    guarded.service.client.must_fail("select 1", &[]).await;
    guarded.client("idle").must_fail("select 1", &[]).await;
    let shop = guarded.client("shop");
    shop.pools().reconnect_pool(request()).await.expect_err("it is denied");
    shop.must_fail("select 1", &[]).await;
    eventually_async("the limit is reached", PATIENCE, async || {
        let failure = shop.query("select 1", &[]).await.err();
        failure.filter(|it| it.reason == "CALLER_LIMIT")
    })
    .await;
    guarded.client("admin").pools().reconnect_pool(request()).await.expect("it administers");

    let metrics = http::get(guarded.service.server.ops(), "/metrics").await.body;
    for (caller, reason) in [
        ("", "UNAUTHENTICATED"),
        ("idle", "ACCESS_DENIED"),
        ("shop", "ACCESS_DENIED"),
        ("shop", "CALLER_LIMIT"),
    ] {
        let labels =
            [format!("rowgate_caller=\"{caller}\""), format!("rowgate_reason=\"{reason}\"")];
        let is_it = |line: &&str| {
            line.starts_with("rowgate_access_refused_total{")
                && labels.iter().all(|label| line.contains(label))
        };
        assert!(metrics.lines().any(|line| is_it(&line)), "{caller}, {reason}: {metrics}");
    }
    let lines = eventually("the command is logged", Duration::from_secs(5), || {
        let log = guarded.service.server.log();
        log.contains("pool reconnects").then_some(log)
    });
    let line = |part: &str| -> serde_json::Value {
        let line = lines.lines().find(|line| line.contains(part));
        serde_json::from_str(line.expect(part)).expect("JSON")
    };
    let done = line("pool reconnects");
    assert_eq!((&done["operator"], &done["address"]), (&"admin".into(), &"127.0.0.1".into()));
    assert_eq!((&done["pool"], &done["allowed"]), (&"main".into(), &true.into()));
    let denied = line("PoolService/ReconnectPool");
    assert_eq!((&denied["caller"], &denied["reason"]), (&"shop".into(), &"ACCESS_DENIED".into()));
}
