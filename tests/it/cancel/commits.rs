//! A commit is never cancelled knowingly; where a cancel races with one and hits the wait for a standby,
//! which the database calls a success, nobody is told that it is one.

use std::time::{Duration, Instant};

use rowgate::value::proto::{ExecuteBatchRequest, QueryOptions, Value};
use tonic::Code;

use crate::harness::Service;
use crate::harness::client::{Failure, PATIENCE, request_with};
use crate::harness::postgres::Postgres;
use crate::harness::unit::{Transaction, batch};
use crate::harness::wait::{Stutter, eventually_async, idle_for};

/// The largest lateness of a call.
const TOLERANCE: Duration = Duration::from_millis(50);

/// A database whose commits wait for a standby that does not come.
async fn service() -> Service {
    let postgres = Postgres::with(&["synchronous_standby_names=nobody"]);
    postgres.psql("set synchronous_commit = local; create table t (id bigint primary key)");
    let settings = "[databases.main.pool]\nmin = 40\nmax = 40\n[health]\ninterval = \"1h\"";
    let service = Service::on(postgres, settings).await;
    // No deadline shall be spent on connecting.
    service.until_pool("all are connected", |pool| pool.open == 40).await;
    service
}

fn within(milliseconds: u64) -> QueryOptions {
    let timeout = Duration::from_millis(milliseconds).try_into().expect("it is short");
    QueryOptions { timeout: Some(timeout), ..QueryOptions::default() }
}

fn limited(statements: &[&str], milliseconds: u64) -> ExecuteBatchRequest {
    ExecuteBatchRequest { options: Some(within(milliseconds)), ..batch(statements) }
}

fn is_there(service: &Service, id: u64) -> bool {
    service.postgres().psql(&format!("select count(*) from t where id = {id}")) == "1"
}

/// Counts the server's reports of cancels that hit the wait of a commit.
fn cut_waits(service: &Service) -> usize {
    service.postgres().log().matches("canceling wait for synchronous replication").count()
}

fn assert_unknown(failure: &Failure) {
    assert_eq!(failure.what(), (Code::Unknown, "OUTCOME_UNKNOWN"), "{failure:?}");
    assert_eq!(failure.outcome, "UNKNOWN", "{failure:?}");
}

/// Of three calls, one must end in time: a busy machine delays one now and then.
async fn ends_in_time(milliseconds: u64, call: impl AsyncFn(u64) -> Failure) {
    let mut late = Vec::new();
    for id in 1..=3 {
        let (stutter, start) = (Stutter::watch(), Instant::now());
        assert_unknown(&call(id).await);
        let took = start.elapsed();
        if took <= Duration::from_millis(milliseconds) + TOLERANCE + stutter.allowance() {
            return;
        }
        late.push(took);
    }
    panic!("it ended late: {late:?} of {milliseconds} ms");
}

#[tokio::test]
async fn a_commit_that_is_under_way_at_the_deadline_is_left_alone() {
    let service = service().await;
    ends_in_time(800, async |id| {
        let insert = format!("insert into t values ({id})");
        service.client.batch(limited(&[&insert], 800)).await.expect_err("no standby confirms it")
    })
    .await;
    assert_eq!(cut_waits(&service), 0, "a commit was cancelled");
}

#[tokio::test]
async fn a_commit_of_a_transaction_is_left_alone_by_a_caller_who_goes() {
    let service = service().await;
    let mut transaction: Transaction = service.client.begin().await;
    transaction.query("insert into t values (1)", &[]).await.expect("it runs");
    let commit = tokio::spawn(transaction.commit());
    let waiting = "select count(*) from pg_stat_activity where wait_event = 'SyncRep'";
    let waits = async || (service.postgres().psql(waiting) == "1").then_some(());
    eventually_async("no standby confirms it", PATIENCE, waits).await;
    commit.abort();
    commit.await.expect_err("it has not ended");
    // Time for the server to hear of it, and to do what it must not.
    idle_for(Duration::from_millis(200)).await;
    assert_eq!(service.postgres().psql(waiting), "1", "it waits on");
    assert_eq!(cut_waits(&service), 0, "a commit was cancelled");
}

#[tokio::test]
async fn a_write_whose_commit_a_cancel_hit_is_no_success() {
    let service = service().await;
    for (id, sql) in ["insert into t values ($1)", "insert into t values ($1) returning id"]
        .into_iter()
        .enumerate()
    {
        let id = u64::try_from(id).expect("it is small");
        let number = Value::int64(id.cast_signed());
        let mut write = request_with(sql, within(800));
        write.parameters = vec![number.clone()];
        let failure = service.client.run(write.clone()).await.expect_err("nobody confirms it");
        assert_unknown(&failure);
        assert!(is_there(&service, id), "it is there, and may not survive a failover");
        write.parameters = vec![Value::int64(id.cast_signed() + 10)];
        assert_unknown(&service.client.stream(write).await.expect_err("nobody confirms it"));
    }
    assert_eq!(cut_waits(&service), 4, "the test hit no commit");
}

#[tokio::test]
async fn what_ends_as_it_is_cancelled_is_never_told_to_be_committed() {
    let service = service().await;
    let calls: Vec<_> = (0..32_u32)
        .map(|id| {
            let client = service.client.clone();
            // From well before the deadline to well behind it.
            let sleep = format!("select pg_sleep({})", f64::from(id) * 0.09 + 0.1);
            let insert = format!("insert into t values ({id})");
            tokio::spawn(async move {
                let answer = client.batch(limited(&[&insert, &sleep], 2800)).await;
                (u64::from(id), answer.expect_err("nobody confirms it"))
            })
        })
        .collect();
    let (mut unknown, mut not_applied) = (0, 0);
    for call in calls {
        let (id, failure) = call.await.expect("no panic");
        match failure.outcome.as_str() {
            "NOT_APPLIED" => {
                assert_eq!(failure.what(), (Code::DeadlineExceeded, "DEADLINE"), "{failure:?}");
                assert!(!is_there(&service, id), "{id} is there: {failure:?}");
                not_applied += 1;
            }
            _ => {
                assert_unknown(&failure);
                unknown += 1;
            }
        }
    }
    eprintln!("{unknown} unknown, {not_applied} not applied, {} cut", cut_waits(&service));
    // On a busy machine the server may be late with all of its answers: that is unknown, too.
    assert!(unknown > 0, "no commit was reached");
}
