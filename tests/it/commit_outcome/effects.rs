//! Effects that come without a transaction's number before it commits.

use std::time::Duration;

use rowgate::value::proto::{ExecuteBatchRequest, QueryOptions};
use tonic::Code;

use crate::harness::behind::Behind;
use crate::harness::postgres::Postgres;
use crate::harness::proxy::{Direction, Fault, Place, Then};
use crate::harness::unit::batch;

/// Loses the answer to a commit.
const LOST_COMMIT: Fault = Fault {
    direction: Direction::Down,
    place: Place::Text("COMMIT\0"),
    then: Then::Lose(Duration::from_millis(50)),
};

async fn behind() -> Behind {
    let settings = "[databases.main.pool]\nmin = 1\nmax = 1\n[health]\ninterval = \"1h\"";
    Behind::start(Postgres::start(), settings, &[]).await
}

const NOTIFY: &str = "select pg_notify('channel', n::text) from generate_series(1, 3) as n";

#[tokio::test]
async fn a_notification_that_was_sent_is_applied() {
    let behind = behind().await;
    let options = Some(QueryOptions { max_rows: 2, ..QueryOptions::default() });
    let large = |sql| ExecuteBatchRequest { options: options.clone(), ..batch(&[sql]) };
    let failure = behind.client.batch(large(NOTIFY)).await.expect_err("three rows");
    assert_eq!(failure.what(), (Code::ResourceExhausted, "RESULT_TOO_LARGE"), "{failure:?}");
    assert_eq!(failure.outcome, "APPLIED", "{failure:?}");
    assert!(!failure.report.hint.contains("elect less"), "a second write: {failure:?}");
    let read = large("select n from generate_series(1, 3) as n");
    let failure = behind.client.batch(read).await.expect_err("three rows");
    assert_eq!(failure.outcome, "NOT_APPLIED", "{failure:?}");
}

#[tokio::test]
async fn a_notification_in_doubt_is_not_repeated() {
    let behind = behind().await;
    for statements in [&[NOTIFY][..], &["notify channel, 'x'", "select 1"]] {
        behind.client.batch(batch(statements)).await.expect("it runs");
        let happened = behind.proxy.arm(LOST_COMMIT);
        let failure = behind.client.batch(batch(statements)).await.expect_err("nobody can know");
        happened.await.expect("it was lost");
        assert_eq!(failure.what(), (Code::Unknown, "OUTCOME_UNKNOWN"), "{failure:?}");
    }
    let mut transaction = behind.client.begin().await;
    transaction.query(NOTIFY, &[]).await.expect("it runs");
    let happened = behind.proxy.arm(LOST_COMMIT);
    let failure = transaction.commit().await.expect_err("nobody can know");
    happened.await.expect("it was lost");
    assert_eq!(failure.what(), (Code::Unknown, "OUTCOME_UNKNOWN"), "{failure:?}");
}

#[tokio::test]
async fn reads_whose_commit_is_lost_are_repeated() {
    let behind = behind().await;
    let reads = || batch(&["select count(*) from pg_class", "select 1"]);
    behind.client.batch(reads()).await.expect("it runs");
    let happened = behind.proxy.arm(LOST_COMMIT);
    let response = behind.client.batch(reads()).await.expect("nothing is lost with the answer");
    happened.await.expect("it was lost");
    assert_eq!(response.attempts, 2);
}
