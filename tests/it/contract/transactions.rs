//! Transact: the stream is the transaction.

use std::time::Duration;

use rowgate::value::proto::transact_request::Command;
use rowgate::value::proto::transact_response::Reply;
use rowgate::value::proto::{
    AccessMode, Begin, Commit, QueryOptions, Release, TransactQuery, TransactionOptions, Value,
};
use tonic::Code;

use super::contract;
use crate::harness::Service;
use crate::harness::client::PATIENCE;
use crate::harness::unit::{Transaction, query};
use crate::harness::wait::{Stopwatch, eventually_async};

contract! {
    what_is_committed_is_there_and_not_before
    what_is_rolled_back_is_not
    commands_may_be_sent_ahead_and_are_answered_in_order
    a_failed_statement_aborts_until_it_is_rolled_back_to_a_savepoint
    a_commit_after_a_failed_statement_is_an_error
    a_constraint_that_fails_at_the_commit_is_an_error
    savepoints_nest_and_have_any_name
    savepoints_nest_to_any_depth
    closing_without_a_commit_rolls_back_and_says_so
    going_away_rolls_back_at_once
    a_silent_caller_loses_its_transaction
    a_transaction_has_a_longest_duration
    a_statement_over_its_timeout_fails_alone
    a_large_result_comes_in_parts_and_the_stream_goes_on
    a_result_over_its_bounds_is_an_error_reply
    a_transaction_that_may_only_read_cannot_write
    what_is_out_of_place_ends_the_stream
    transaction_control_in_sql_is_refused
}

contract! { with "pool.max = 4\npool.transaction_share = 0.5\npool.acquire_timeout = \"200ms\"\n":
    open_transactions_leave_connections_for_others
}

async fn table(service: &Service) {
    service.client.must("create table t (id integer primary key, n integer)", &[]).await;
}

async fn count(service: &Service) -> i64 {
    let result = service.client.must("select count(*) from t", &[]).await;
    match &result.rows[0].values[0].kind {
        Some(rowgate::value::Kind::Int64Value(count)) => *count,
        other => panic!("{other:?}"),
    }
}

async fn what_is_committed_is_there_and_not_before(service: Service) {
    table(&service).await;
    let mut transaction = service.client.begin().await;
    let inserted = transaction.query("insert into t values ($1, 1)", &[Value::int64(7)]).await;
    assert_eq!(inserted.expect("it runs").rows_affected, 1);
    let seen = transaction.query("select id from t", &[]).await.expect("it runs");
    assert_eq!(seen.rows[0].values, [Value::int64(7)]);
    assert_eq!(count(&service).await, 0);
    transaction.commit().await.expect("it commits");
    assert_eq!(count(&service).await, 1);
}

async fn what_is_rolled_back_is_not(service: Service) {
    table(&service).await;
    let mut transaction = service.client.begin().await;
    transaction.query("insert into t values (1, 1)", &[]).await.expect("it runs");
    transaction.rollback().await.expect("it rolls back");
    assert_eq!(count(&service).await, 0);
}

async fn commands_may_be_sent_ahead_and_are_answered_in_order(service: Service) {
    table(&service).await;
    let mut transaction = service.client.transact().await;
    transaction.send(Command::Begin(Begin::default())).await;
    for id in 1..=20 {
        let insert = query("insert into t values ($1, 1) returning id", &[Value::int64(id)]);
        transaction.send(Command::Query(insert)).await;
    }
    transaction.send(Command::Commit(Commit {})).await;
    transaction.half_close();
    assert!(matches!(transaction.reply().await, Ok(Some(Reply::Begun(_)))));
    for id in 1..=20 {
        let result = transaction.result().await.expect("it runs");
        assert_eq!(result.rows[0].values, [Value::int64(id)]);
    }
    assert!(matches!(transaction.reply().await, Ok(Some(Reply::Committed(_)))));
    transaction.end().await.expect("it ends well");
    assert_eq!(count(&service).await, 20);
}

async fn a_failed_statement_aborts_until_it_is_rolled_back_to_a_savepoint(service: Service) {
    table(&service).await;
    let mut transaction = service.client.begin().await;
    transaction.query("insert into t values (1, 1)", &[]).await.expect("it runs");
    transaction.savepoint("before").await.expect("it is set");
    let failure = transaction.query("insert into t values (1, 1)", &[]).await.expect_err("again");
    assert_eq!(failure.what(), (Code::AlreadyExists, "UNIQUE_VIOLATION"), "{failure:?}");
    let failure = transaction.query("select 1", &[]).await.expect_err("it is aborted");
    let wanted = (Code::FailedPrecondition, "TRANSACTION_ABORTED");
    assert_eq!(failure.what(), wanted, "{failure:?}");
    let failure = transaction.savepoint("after").await.expect_err("it is aborted");
    assert_eq!(failure.what(), wanted, "{failure:?}");
    transaction.rollback_to("before").await.expect("it goes back");
    transaction.query("insert into t values (2, 1)", &[]).await.expect("it goes on");
    transaction.commit().await.expect("it commits");
    assert_eq!(count(&service).await, 2);
}

async fn a_commit_after_a_failed_statement_is_an_error(service: Service) {
    table(&service).await;
    for wrong in ["selec", "select * from nowhere", "insert into t values (1, 1)"] {
        let mut transaction = service.client.begin().await;
        transaction.query("insert into t values (1, 1)", &[]).await.expect("it runs");
        transaction.query(wrong, &[]).await.expect_err(wrong);
        let failure = transaction.commit().await.expect_err("not after a failure");
        let wanted = (Code::FailedPrecondition, "TRANSACTION_ABORTED");
        assert_eq!(failure.what(), wanted, "{failure:?}");
        assert_eq!(failure.outcome, "NOT_APPLIED");
        assert_eq!(count(&service).await, 0);
    }
}

async fn a_constraint_that_fails_at_the_commit_is_an_error(service: Service) {
    table(&service).await;
    let child = "create table child (t integer constraint child_t references t deferrable initially deferred)";
    service.client.must(child, &[]).await;
    let mut transaction = service.client.begin().await;
    transaction.query("insert into child values (9)", &[]).await.expect("it is deferred");
    let failure = transaction.commit().await.expect_err("9 is not there");
    assert_eq!(failure.what(), (Code::FailedPrecondition, "FOREIGN_KEY_VIOLATION"), "{failure:?}");
    assert_eq!(failure.outcome, "NOT_APPLIED");
    assert_eq!(failure.report.constraint, service.pick("", "child_t", "child_t"));
}

async fn savepoints_nest_and_have_any_name(service: Service) {
    table(&service).await;
    let mut transaction = service.client.begin().await;
    let names = ["a", "select \"x\"; --", "a", "ü☃"];
    for (number, name) in names.iter().enumerate() {
        transaction.savepoint(name).await.expect("it is set");
        transaction
            .query(&format!("insert into t values ({number}, 1)"), &[])
            .await
            .expect("it runs");
    }
    transaction.rollback_to("ü☃").await.expect("it is there");
    transaction
        .done(Command::Release(Release { name: "a".to_owned() }))
        .await
        .expect("the inner one");
    transaction.rollback_to("select \"x\"; --").await.expect("it is there");
    let failure = transaction.rollback_to("nobody's").await.expect_err("there is none");
    let wanted = (Code::InvalidArgument, "INVALID_SAVEPOINT_SPECIFICATION");
    assert_eq!(failure.what(), wanted, "{failure:?}");
    transaction.rollback_to("a").await.expect("the outer one");
    transaction.commit().await.expect("it commits");
    assert_eq!(count(&service).await, 0);
}

async fn savepoints_nest_to_any_depth(service: Service) {
    table(&service).await;
    let mut transaction = service.client.begin().await;
    for depth in 0..300 {
        transaction.savepoint(&format!("level {depth}")).await.expect("it is set");
        let depth = [Value::int64(depth)];
        transaction.query("insert into t values ($1, 1)", &depth).await.expect("it runs");
    }
    transaction.query("insert into t values (0, 1)", &[]).await.expect_err("it is there");
    transaction.rollback_to("level 200").await.expect("it is there");
    for depth in (100..200).rev() {
        let name = format!("level {depth}");
        transaction.done(Command::Release(Release { name })).await.expect("it is the innermost");
    }
    transaction.query("insert into t values (1000, 1)", &[]).await.expect("it goes on");
    transaction.rollback_to("level 50").await.expect("it is there");
    transaction.commit().await.expect("it commits");
    assert_eq!(count(&service).await, 50);
}

async fn closing_without_a_commit_rolls_back_and_says_so(service: Service) {
    table(&service).await;
    let mut transaction = service.client.begin().await;
    transaction.send_query("insert into t values (1, 1)").await;
    transaction.half_close();
    transaction.result().await.expect("what was sent before is done");
    let failure = transaction.end().await.expect_err("nothing was committed");
    assert_eq!(failure.what(), (Code::FailedPrecondition, "NOT_COMMITTED"), "{failure:?}");
    assert_eq!(count(&service).await, 0);
}

async fn going_away_rolls_back_at_once(service: Service) {
    table(&service).await;
    service.client.must("insert into t values (1, 0)", &[]).await;
    let endless =
        "with recursive c(x) as (select 1 union all select x + 1 from c) select count(*) from c";
    for runs in [None, Some(endless)] {
        let mut transaction = service.client.begin().await;
        transaction.query("update t set n = 1 where id = 1", &[]).await.expect("it runs");
        if let Some(sql) = runs {
            transaction.send_query(sql).await;
        }
        drop(transaction);
        let start = Stopwatch::start();
        service.client.must("update t set n = n + 10 where id = 1", &[]).await;
        start.assert_within(Duration::from_secs(1), "the end of its locks");
    }
    let result = service.client.must("select n from t", &[]).await;
    assert_eq!(result.rows[0].values, [Value::int64(20)]);
}

async fn begun(service: &Service, options: TransactionOptions) -> Transaction {
    let mut transaction = service.client.transact().await;
    let begin = Begin { transaction: Some(options), ..Begin::default() };
    transaction.send(Command::Begin(begin)).await;
    assert!(matches!(transaction.reply().await, Ok(Some(Reply::Begun(_)))));
    transaction
}

/// Time for a statement or two, on a busy machine as well.
const SHORT: Option<prost_types::Duration> = Some(prost_types::Duration { seconds: 1, nanos: 0 });

async fn a_silent_caller_loses_its_transaction(service: Service) {
    table(&service).await;
    let options = TransactionOptions { idle_timeout: SHORT, ..TransactionOptions::default() };
    let mut transaction = begun(&service, options).await;
    transaction.query("insert into t values (1, 1)", &[]).await.expect("it runs");
    let failure = transaction.end().await.expect_err("it is silent");
    assert_eq!(failure.what(), (Code::Aborted, "IDLE_IN_TRANSACTION_TIMEOUT"), "{failure:?}");
    assert_eq!(count(&service).await, 0);
}

async fn a_transaction_has_a_longest_duration(service: Service) {
    table(&service).await;
    let options = TransactionOptions { max_duration: SHORT, ..TransactionOptions::default() };
    let mut transaction = begun(&service, options).await;
    transaction.query("insert into t values (1, 1)", &[]).await.expect("it runs");
    let failure = transaction.end().await.expect_err("it takes too long");
    assert_eq!(failure.what(), (Code::Aborted, "TRANSACTION_TIMEOUT"), "{failure:?}");
    assert_eq!(count(&service).await, 0);
}

async fn a_statement_over_its_timeout_fails_alone(service: Service) {
    table(&service).await;
    let mut transaction = service.client.begin().await;
    transaction.query("insert into t values (1, 1)", &[]).await.expect("it runs");
    transaction.savepoint("s").await.expect("it is set");
    let endless =
        "with recursive c(x) as (select 1 union all select x + 1 from c) select count(*) from c";
    let options = Some(QueryOptions { timeout: SHORT, ..QueryOptions::default() });
    transaction.send(Command::Query(TransactQuery { options, ..query(endless, &[]) })).await;
    let failure = transaction.result().await.expect_err("it never ends by itself");
    assert_eq!(failure.what(), (Code::DeadlineExceeded, "DEADLINE"), "{failure:?}");
    transaction.rollback_to("s").await.expect("it goes back");
    transaction.commit().await.expect("it commits");
    assert_eq!(count(&service).await, 1);
}

async fn a_large_result_comes_in_parts_and_the_stream_goes_on(service: Service) {
    let many = "with recursive c(x) as (select 1 union all select x + 1 from c where x < 50000) \
                select x, 'some text to make it larger' from c";
    let mut transaction = service.client.begin().await;
    let result = transaction.query(many, &[]).await.expect("it runs");
    assert_eq!((result.rows.len(), result.columns.len()), (50_000, 2));
    let result = transaction.query("select 1", &[]).await.expect("the stream goes on");
    assert_eq!(result.rows[0].values, [Value::int64(1)]);
    transaction.commit().await.expect("it commits");
}

async fn a_result_over_its_bounds_is_an_error_reply(service: Service) {
    let mut transaction = service.client.begin().await;
    transaction.savepoint("s").await.expect("it is set");
    let many = "with recursive c(x) as (select 1 union all select x + 1 from c where x < 500000) select x from c";
    let options = Some(QueryOptions { max_rows: 10, ..QueryOptions::default() });
    transaction.send(Command::Query(TransactQuery { options, ..query(many, &[]) })).await;
    let failure = transaction.result().await.expect_err("more than ten");
    assert_eq!(failure.what(), (Code::ResourceExhausted, "RESULT_TOO_LARGE"), "{failure:?}");
    transaction.rollback_to("s").await.expect("it goes back");
    transaction.query("select 1", &[]).await.expect("the stream goes on");
    transaction.commit().await.expect("it commits");
}

async fn a_transaction_that_may_only_read_cannot_write(service: Service) {
    table(&service).await;
    let access_mode = AccessMode::ReadOnly.into();
    let options = TransactionOptions { access_mode, ..TransactionOptions::default() };
    let mut transaction = begun(&service, options).await;
    transaction.query("select * from t", &[]).await.expect("it reads");
    let failure = transaction.query("insert into t values (1, 1)", &[]).await.expect_err("a write");
    assert_eq!(failure.what(), (Code::FailedPrecondition, "READ_ONLY"), "{failure:?}");
}

async fn what_is_out_of_place_ends_the_stream(service: Service) {
    let mut first = service.client.transact().await;
    first.send_query("select 1").await;
    let failure = first.reply().await.expect_err("begin comes first");
    assert_eq!(failure.what(), (Code::InvalidArgument, "INVALID_COMMAND"), "{failure:?}");
    let mut twice = service.client.begin().await;
    twice.send(Command::Begin(Begin::default())).await;
    let failure = twice.reply().await.expect_err("it is open");
    assert_eq!(failure.what(), (Code::InvalidArgument, "INVALID_COMMAND"), "{failure:?}");
    let mut same = service.client.begin().await;
    same.sequence -= 1;
    same.send_query("select 1").await;
    let failure = same.reply().await.expect_err("the sequence does not increase");
    assert_eq!(failure.fields(), ["sequence"], "{failure:?}");
}

async fn transaction_control_in_sql_is_refused(service: Service) {
    table(&service).await;
    let mut transaction = service.client.begin().await;
    transaction.query("insert into t values (1, 1)", &[]).await.expect("it runs");
    transaction.savepoint("s").await.expect("it is set");
    let end = service.pick("/*x*/ end", "/*x*/ end", "/*!99999 x */ commit");
    let release = service.pick("release s", "release s", "release savepoint s");
    for sql in ["commit", "rollback and chain", end, "begin", release] {
        let failure = transaction.query(sql, &[]).await.expect_err(sql);
        assert_eq!(failure.what(), (Code::InvalidArgument, "TRANSACTION_CONTROL"), "{failure:?}");
        transaction.rollback_to("s").await.expect("it goes back");
    }
    transaction.rollback().await.expect("it is still open");
    assert_eq!(count(&service).await, 0);
}

async fn open_transactions_leave_connections_for_others(service: Service) {
    table(&service).await;
    let readers = TransactionOptions {
        access_mode: AccessMode::ReadOnly.into(),
        ..TransactionOptions::default()
    };
    let held = [begun(&service, readers).await, begun(&service, readers).await];
    let mut third = service.client.transact().await;
    let begin = Begin { transaction: Some(readers), ..Begin::default() };
    let start = Stopwatch::start();
    third.send(Command::Begin(begin)).await;
    let failure = third.reply().await.expect_err("their share is taken");
    let waited = start.elapsed();
    assert_eq!(failure.what(), (Code::ResourceExhausted, "POOL_EXHAUSTED"), "{failure:?}");
    assert!(waited >= Duration::from_millis(190), "it waited {waited:?}");
    start.assert_within(Duration::from_secs(1), "the refusal");
    service.client.must("select 1", &[]).await;
    drop(held);
    eventually_async("the share is free", PATIENCE, async || {
        let mut again = service.client.transact().await;
        let begin = Begin { transaction: Some(readers), ..Begin::default() };
        again.send(Command::Begin(begin)).await;
        again.reply().await.is_ok().then_some(())
    })
    .await;
}
