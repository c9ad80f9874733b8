//! The keys that sign claims: their rotation while calls run, and keys that the database does not know.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tonic::Code;

use super::{Database, KEY, TENANTS, only};
use crate::harness::wait::eventually_async;

const NEXT: &str = "fedcba9876543210fedcba9876543210";

/// The other key in the configuration of the command.
fn with_other_key(database: &Database, key: Option<&str>) {
    let line = key.map(|key| format!("claims.other_key = '{key}'")).unwrap_or_default();
    let path = database.directory.path().join("rowgate.toml");
    fs::write(path, database.configuration(&line, "app")).expect("it is ours");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_rotated_under_load_without_a_failed_call() {
    let database = Database::new(&[]);
    let running = database.serve("").await;
    let done = Arc::new(AtomicBool::new(false));
    let calls = Arc::new(AtomicUsize::new(0));
    let load = |caller: &'static str| {
        let client = database.client(&running, caller);
        let done = Arc::clone(&done);
        let calls = Arc::clone(&calls);
        tokio::spawn(async move {
            while !done.load(SeqCst) {
                let seen = client.query(TENANTS, &[]).await.expect("no call fails");
                assert_eq!(only(&seen), caller);
                calls.fetch_add(1, SeqCst);
            }
        })
    };
    let tasks: Vec<_> = ["acme", "beta", "acme", "beta"].map(load).into();
    let more = async |count: usize| {
        let target = calls.load(SeqCst) + count;
        let reached = async || (calls.load(SeqCst) >= target).then_some(());
        eventually_async("calls go on", Duration::from_secs(60), reached).await;
    };
    more(50).await;
    // The database takes the next key before anybody signs with it.
    with_other_key(&database, Some(NEXT));
    assert!(database.install().contains("2 keys accepted"));
    more(50).await;
    fs::write(database.directory.path().join("claims.key"), NEXT).expect("it is ours");
    let reloaded = async || running.server.log().contains("key of claims reloaded").then_some(());
    eventually_async("the key is read", Duration::from_secs(30), reloaded).await;
    more(50).await;
    with_other_key(&database, None);
    assert!(database.install().contains("1 key accepted"));
    more(50).await;
    done.store(true, SeqCst);
    for task in tasks {
        task.await.expect("no call fails");
    }
    assert_eq!(database.postgres.psql("select count(*) from rowgate.claim_keys"), "1");
}

#[tokio::test]
async fn a_key_that_the_database_does_not_know_is_named_and_nothing_runs() {
    let database = Database::new(&[]);
    fs::write(database.directory.path().join("claims.key"), NEXT).expect("it is ours");
    let running = database.serve("").await;
    let client = database.client(&running, "acme");
    let sql = "insert into loot values ('x')";
    for way in crate::call_settings::WAYS {
        let failure = way.run(&client, sql, &[]).await.expect_err("it is not signed");
        assert_eq!(failure.what(), (Code::FailedPrecondition, "CLAIMS_REFUSED"), "{way:?}");
        assert_eq!(failure.outcome, "NOT_APPLIED", "{way:?}");
        assert!(failure.report.hint.contains("rowgate claims install"), "{failure:?}");
    }
    assert_eq!(database.postgres.psql("select count(*) from loot"), "0");
    database.install();
    client.must(sql, &[]).await;
    fs::write(database.directory.path().join("claims.key"), "short").expect("it is ours");
    let kept = async || running.server.log().contains("keeping the current one").then_some(());
    let call_and_look = async || {
        client.must(TENANTS, &[]).await;
        kept().await
    };
    eventually_async("the mistake is logged", Duration::from_secs(30), call_and_look).await;
    assert!(!running.server.log().contains(KEY));
}
