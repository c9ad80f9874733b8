//! SQLite ends transactions by itself: for ON CONFLICT ROLLBACK, for RAISE(ROLLBACK) in a trigger, and when
//! a write is interrupted.
//! What comes after must not be applied on its own.

use rowgate::value::proto::Value;
use rowgate::value::proto::transact_request::Command;
use rowgate::value::proto::transact_response::Reply;
use rowgate::value::proto::{Commit, ExecuteBatchRequest, QueryOptions, RollbackTo, TransactQuery};
use tonic::Code;

use crate::harness::client::Failure;
use crate::harness::unit::{batch, keyed, query};
use crate::harness::{Backend, Service};

/// Ways to end a transaction from within.
const ENDS: [&str; 3] = [
    "insert or rollback into t values (1)",
    "insert into strict values (1)",
    "update t set id = -1 where id = 1",
];

async fn service() -> Service {
    let service = Service::start(Backend::Sqlite).await;
    for sql in [
        "create table t (id integer primary key)",
        "create table strict (id integer unique on conflict rollback)",
        "create trigger no_negative before update on t when new.id < 0 \
         begin select raise(rollback, 'no negative ids'); end",
        "insert into t values (1)",
        "insert into strict values (1)",
    ] {
        service.client.must(sql, &[]).await;
    }
    service
}

async fn is_untouched(service: &Service) -> bool {
    let result = service.client.must("select count(*), max(id) from t", &[]).await;
    result.rows[0].values == [Value::int64(1), Value::int64(1)]
}

fn assert_not_applied(failure: &Failure, what: &str) {
    assert_eq!(failure.outcome, "NOT_APPLIED", "{what}: {failure:?}");
}

#[tokio::test]
async fn nothing_of_a_transaction_is_applied_that_ended_itself() {
    let service = service().await;
    for end in ENDS {
        let mut transaction = service.client.begin().await;
        transaction.query("insert into t values (2)", &[]).await.expect("it runs");
        // All at once, as a client would that sends ahead.
        transaction.send_query(end).await;
        transaction.send_query("insert into t values (3)").await;
        transaction.send(Command::Commit(Commit {})).await;
        let mut failures = Vec::new();
        loop {
            match transaction.reply().await {
                Ok(Some(Reply::Error(error))) => failures.push(Failure::of_reply(&error)),
                Ok(Some(reply)) => panic!("{end}: {reply:?} after its end"),
                Ok(None) => break,
                Err(failure) => {
                    failures.push(failure);
                    break;
                }
            }
        }
        assert!(!failures.is_empty(), "{end} must be told");
        failures.iter().for_each(|failure| assert_not_applied(failure, end));
        assert!(is_untouched(&service).await, "{end}: {failures:?}");
    }
}

#[tokio::test]
async fn nothing_of_a_batch_is_applied_that_ended_itself() {
    let service = service().await;
    for end in ENDS {
        let statements = ["insert into t values (2)", end, "insert into t values (3)"];
        for dry_run in [false, true] {
            let request = ExecuteBatchRequest { dry_run, ..batch(&statements) };
            let failure = service.client.batch(request).await.expect_err(end);
            assert_not_applied(&failure, end);
            assert_eq!(failure.report.failed_statement, Some(1), "{failure:?}");
            assert!(is_untouched(&service).await, "{end}");
        }
    }
}

#[tokio::test]
async fn a_dry_run_checks_what_a_commit_would() {
    let service = service().await;
    let child = "create table child (t integer references t (id) deferrable initially deferred)";
    service.client.must(child, &[]).await;
    let orphan = ExecuteBatchRequest { dry_run: true, ..batch(&["insert into child values (9)"]) };
    let failure = service.client.batch(orphan).await.expect_err("it could not be committed");
    assert_eq!(failure.reason, "FOREIGN_KEY_VIOLATION", "{failure:?}");
    assert_not_applied(&failure, "an orphan");
    let fine = ["insert into child values (9)", "insert into t values (9)"];
    let fine = ExecuteBatchRequest { dry_run: true, ..batch(&fine) };
    service.client.batch(fine).await.expect("it could be");
    assert!(is_untouched(&service).await, "a dry run leaves nothing");
}

#[tokio::test]
async fn no_savepoint_outlives_its_transaction() {
    let service = service().await;
    for end in ENDS {
        let mut transaction = service.client.begin().await;
        transaction.savepoint("s").await.expect("it is set");
        transaction.send_query(end).await;
        transaction.send(Command::RollbackTo(RollbackTo { name: "s".to_owned() })).await;
        transaction.send_query("insert into t values (3)").await;
        transaction.send(Command::Commit(Commit {})).await;
        let failure = transaction.reply().await.expect_err("the stream ends");
        assert_not_applied(&failure, end);
        assert!(failure.report.hint.contains("Begin again"), "{end}: {failure:?}");
        assert!(is_untouched(&service).await, "{end}");
    }
}

#[tokio::test]
async fn a_key_is_free_when_its_unit_ended_itself() {
    let service = service().await;
    for (index, end) in ENDS.into_iter().enumerate() {
        let key = format!("k{index}");
        let options = Some(keyed(&key));
        for _again in 0..2 {
            let request = ExecuteBatchRequest { options: options.clone(), ..batch(&[end]) };
            let failure = service.client.batch(request).await.expect_err(end);
            assert_not_applied(&failure, end);
        }
        let request = ExecuteBatchRequest { options, ..batch(&["select 1"]) };
        let response = service.client.batch(request).await.expect("nothing was kept under the key");
        assert!(!response.replayed, "{end}");
    }
}

#[tokio::test]
async fn a_write_over_its_timeout_ends_its_transaction() {
    let service = service().await;
    let mut transaction = service.client.begin().await;
    transaction.query("insert into t values (2)", &[]).await.expect("it runs");
    transaction.savepoint("s").await.expect("it is set");
    let endless = "with recursive c(x) as (select 3 union all select x + 1 from c) \
                   insert into t select x from c";
    let timeout = Some(prost_types::Duration { seconds: 0, nanos: 200_000_000 });
    let options = Some(QueryOptions { timeout, ..QueryOptions::default() });
    transaction.send(Command::Query(TransactQuery { options, ..query(endless, &[]) })).await;
    transaction.send(Command::RollbackTo(RollbackTo { name: "s".to_owned() })).await;
    transaction.send_query("insert into t values (3)").await;
    transaction.send(Command::Commit(Commit {})).await;
    // On a busy machine the thread may answer too late: the next command then finds out.
    let failure = loop {
        match transaction.reply().await {
            Err(failure) => break failure,
            Ok(Some(Reply::Error(error))) => assert_eq!(error.code, Code::DeadlineExceeded as i32),
            Ok(other) => panic!("the transaction went on: {other:?}"),
        }
    };
    let reported = failure.what();
    assert!(
        reported == (Code::DeadlineExceeded, "DEADLINE")
            || reported == (Code::FailedPrecondition, "TRANSACTION_ABORTED"),
        "{failure:?}"
    );
    assert_not_applied(&failure, "an endless write");
    assert!(failure.report.hint.contains("Begin again"), "{failure:?}");
    assert!(is_untouched(&service).await);
}
