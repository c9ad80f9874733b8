//! The log of refused calls: the reason, a bounded number of lines, and no secret.

use std::time::Duration;

use rowgate::value::proto::Value;

use super::{Guarded, headers};
use crate::harness::Backend;
use crate::harness::client::Client;
use crate::harness::wait::eventually;

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
    let cases = [
        ("Basic x".to_owned(), "the header authorization is no bearer token"),
        ("Bearer x".to_owned(), "the token is malformed"),
        (format!("Bearer {token}x"), "the token is not known"),
    ];
    for (credentials, _) in &cases {
        with(&guarded, credentials).must_fail("select 1", &[]).await;
    }
    guarded.service.client.must_fail("select 1", &[]).await;
    let log = eventually("the refusals are logged", Duration::from_secs(5), || {
        let log = guarded.service.server.log();
        (log.matches("call failed").count() >= 4).then_some(log)
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
    assert!(lines < 200, "{lines} lines of 304 refusals");
}
