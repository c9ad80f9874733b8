//! Statements that commit along the way, and what may be said of them when they fail.

use rowgate::value::proto::{QueryOptions, Value};

use crate::harness::client::request_with;
use crate::harness::{Backend, Service};

#[tokio::test]
async fn what_commits_along_the_way_is_never_said_not_to_be_applied() {
    let service = Service::start(Backend::Postgres).await;
    service.client.must("create table t (id int)", &[]).await;
    for (number, ending) in [
        "perform 1 / 0",
        "raise exception using errcode = '40001'",
        "perform pg_terminate_backend(pg_backend_pid())",
        "perform pg_sleep(20)",
    ]
    .iter()
    .enumerate()
    {
        let sql = format!("do $$ begin insert into t values ({number}); commit; {ending}; end $$");
        // Only the last comes to it.
        let timeout = Some(prost_types::Duration { seconds: 2, nanos: 0 });
        let options = QueryOptions { timeout, ..QueryOptions::default() };
        let failure = service.client.run(request_with(&sql, options)).await.expect_err(ending);
        assert_eq!(failure.outcome, "UNKNOWN", "{ending}: {failure:?}");
        assert_eq!(failure.retry_after, None, "{ending}: {failure:?}");
    }
    let result = service.client.must("select count(*) from t", &[]).await;
    assert_eq!(result.rows[0].values, [Value::int64(4)], "each ran once");
    let failure = service.client.must_fail("do $$ begin select; end", &[]).await;
    assert_eq!(failure.outcome, "NOT_APPLIED", "it was never started: {failure:?}");
}
