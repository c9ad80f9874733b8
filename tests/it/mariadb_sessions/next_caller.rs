//! Each statement by itself, and what is a caller's own to see.

use rowgate::value::proto::Value;

use super::{leaks, see, service};
use crate::harness::Service;
use crate::harness::client::PATIENCE;
use crate::harness::unit::batch;
use crate::harness::wait::eventually_async;

/// Runs each statement and its probe behind it, on one connection; returns what was seen where it is not what a probe
/// sees behind a harmless statement.
async fn seen(service: &Service, renews: bool) -> Vec<String> {
    let client = &service.client;
    let mut wrong = Vec::new();
    for leak in leaks() {
        if renews {
            service.mariadb().kill_connections();
            eventually_async("there is another connection", PATIENCE, async || {
                client.query("select 1", &[]).await.ok()
            })
            .await;
        }
        client.must("select 1", &[]).await;
        // Two texts: a statement that was prepared before a USE keeps the schema of then.
        let clean = see(client, &format!("{} /* clean */", leak.probe)).await;
        client.must("select 1", &[]).await;
        client.must(leak.dirty, &[]).await;
        let seen = see(client, leak.probe).await;
        if seen != clean {
            wrong.push(format!("after {}: {} is {seen:?}, not {clean:?}", leak.dirty, leak.probe));
        }
    }
    wrong
}

async fn connection(service: &Service) -> Value {
    let answer = service.client.must("select connection_id()", &[]).await;
    answer.rows[0].values[0].clone()
}

#[tokio::test]
async fn each_statement_works_and_the_next_caller_sees_nothing_of_it() {
    let service = service(1, &[]).await;
    let first = connection(&service).await;
    let wrong = seen(&service, false).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // No reset brings a role back: its connection is closed. All others were cleaned.
    assert_ne!(connection(&service).await, first);
    let pool = service.pool().await;
    let leaks = u64::try_from(leaks().len()).expect("it is small");
    assert!(pool.resets > leaks, "{pool:?}");
}

/// A checker that finds nothing where something is wrong is none: each statement leaves what its probe notices.
#[tokio::test]
#[cfg(debug_assertions)]
async fn on_sessions_that_are_not_cleaned_each_statement_is_noticed() {
    let service = service(1, &[("ROWGATE_PLANTED_BUG", "kept-session")]).await;
    let found = seen(&service, true).await;
    let is_found = |dirty: &str, probe: &str| {
        found.iter().any(|one| one.starts_with(&format!("after {dirty}: {probe} is ")))
    };
    let unnoticed: Vec<_> =
        leaks().into_iter().filter(|leak| !is_found(leak.dirty, leak.probe)).collect();
    assert!(unnoticed.is_empty(), "{unnoticed:#?}");
}

#[tokio::test]
async fn what_a_callers_own_statements_leave_is_the_callers_until_the_end_of_the_unit() {
    let service = service(1, &[]).await;
    let client = &service.client;
    client.must("insert into t (n) values (1)", &[]).await;
    let own = [
        "insert into t (n) values (2)",
        "insert into guarded values (last_insert_id())",
        "select id = (select max(id) from t) from guarded where id = last_insert_id()",
    ];
    let answer = client.batch(batch(&own)).await.expect("it runs");
    assert_eq!(answer.results[2].rows[0].values, [Value::int64(1)]);

    let mut unit = client.begin().await;
    let first = unit.query("select count(*) from seven", &[]).await.expect("it runs");
    assert_eq!(first.rows[0].values, [Value::int64(7)]);
    let earlier = unit.query("select last_insert_id()", &[]).await.expect("it runs");
    assert_eq!(earlier.rows[0].values, [Value::int64(0)], "it is another caller's");
    unit.query("insert into t (n) values (3)", &[]).await.expect("it runs");
    let sql = "select last_insert_id() = (select max(id) from t), @leak";
    let own = unit.query(sql, &[]).await.expect("it runs");
    assert_eq!(own.rows[0].values, [Value::int64(1), Value::null()]);
    unit.query("set @leak = 1", &[]).await.expect("it runs");
    let own = unit.query("select @leak", &[]).await.expect("it runs");
    assert_eq!(own.rows[0].values, [Value::int64(1)]);
    unit.commit().await.expect("it commits");
    assert_eq!(see(client, "select @leak").await, Ok(vec![vec![Value::null()]]));
}
