//! ExecuteBatch: all of it or nothing.

use rowgate::value::proto::expectation::Rows;
use rowgate::value::proto::{
    AccessMode, BatchStatement, ExecuteBatchRequest, Expectation, IsolationLevel, QueryOptions,
    TransactionOptions, Value,
};
use tonic::Code;

use super::contract;
use crate::harness::Service;
use crate::harness::unit::{batch, keyed, statement};

contract! {
    all_statements_are_applied_and_each_has_its_result
    a_statement_that_fails_takes_the_others_with_it_and_is_named
    a_statement_may_need_what_an_earlier_one_makes
    an_unmet_expectation_rolls_everything_back
    a_dry_run_tells_the_results_and_applies_nothing
    a_constraint_that_fails_at_the_commit_leaves_nothing
    a_batch_that_may_only_read_cannot_write
    a_batch_ends_at_its_deadline_and_leaves_nothing
    results_over_the_caps_are_refused_with_what_became_of_them
    bad_requests_name_their_fields
    transaction_control_in_a_batch_is_refused
    conflicting_increments_all_count
}

pub(super) async fn numbers(service: &Service) -> Vec<Value> {
    let result = service.client.must("select id from t order by id", &[]).await;
    result.rows.into_iter().map(|mut row| row.values.remove(0)).collect()
}

pub(super) async fn table(service: &Service) {
    service.client.must("create table t (id integer primary key, n integer)", &[]).await;
}

async fn all_statements_are_applied_and_each_has_its_result(service: Service) {
    table(&service).await;
    let request = ExecuteBatchRequest {
        statements: vec![
            statement("insert into t values ($1, $2)", &[Value::int64(1), Value::null()]),
            statement(
                "insert into t values ($1, $2) returning id",
                &[Value::int64(2), Value::int64(7)],
            ),
            statement("select count(*), sum(n) from t", &[]),
            statement("delete from t where id = 1", &[]),
        ],
        ..ExecuteBatchRequest::default()
    };
    let response = service.client.batch(request).await.expect("it runs");
    assert_eq!((response.attempts, response.replayed), (1, false));
    let results = response.results;
    let summary: Vec<_> = results
        .iter()
        .map(|result| (result.command.as_str(), result.rows_affected, result.rows.len()))
        .collect();
    assert_eq!(summary, [("INSERT", 1, 0), ("INSERT", 1, 1), ("SELECT", 0, 1), ("DELETE", 1, 0)]);
    // A sum of whole numbers is a decimal on MariaDB.
    let sum = service.pick(Value::int64(7), Value::int64(7), Value::text("7"));
    assert_eq!(results[2].rows[0].values, [Value::int64(2), sum]);
    assert!(!results[0].has_columns && results[1].has_columns);
    assert_eq!(numbers(&service).await, [Value::int64(2)]);
}

async fn a_statement_that_fails_takes_the_others_with_it_and_is_named(service: Service) {
    table(&service).await;
    let wrong = [
        (
            ["insert into t values (1, 1)", "insert into t values (1, 1)", "select 1"],
            Code::AlreadyExists,
            1,
        ),
        (["insert into t values (1, 1)", "select 1", "selec"], Code::InvalidArgument, 2),
        (["select * from nowhere", "select 1", "select 2"], Code::InvalidArgument, 0),
    ];
    for (statements, code, index) in wrong {
        let failure = service.client.batch(batch(&statements)).await.expect_err("it fails");
        assert_eq!((failure.code, failure.outcome.as_str()), (code, "NOT_APPLIED"), "{failure:?}");
        assert_eq!(failure.report.failed_statement, Some(index), "{failure:?}");
        assert_eq!(numbers(&service).await, []);
    }
}

async fn a_statement_may_need_what_an_earlier_one_makes(service: Service) {
    // On MariaDB other tables are not made inside a transaction.
    let made = service.pick(
        "create table made (n integer)",
        "create table made (n integer)",
        "create temporary table made (n integer)",
    );
    let statements = [made, "insert into made values (5)", "select n from made"];
    let response = service.client.batch(batch(&statements)).await.expect("it runs");
    assert_eq!(response.results[2].rows[0].values, [Value::int64(5)]);
    let failure = service.client.batch(batch(&[
        &made.replace("made", "other"),
        "insert into other values (1)",
        "insert into made values ('x', 2)",
    ]));
    let failure = failure.await.expect_err("the last one fails");
    assert_eq!(failure.report.failed_statement, Some(2), "{failure:?}");
    service.client.must_fail("select * from other", &[]).await;
}

fn expecting(sql: &str, rows: Rows) -> BatchStatement {
    BatchStatement { expect: Some(Expectation { rows: Some(rows) }), ..statement(sql, &[]) }
}

async fn an_unmet_expectation_rolls_everything_back(service: Service) {
    table(&service).await;
    service.client.must("insert into t values (1, 1), (2, 1)", &[]).await;
    let update = "update t set n = n + 1";
    let one = "update t set n = n + 1 where id = 1";
    for (rows, met) in [
        (Rows::Exactly(2), true),
        (Rows::Exactly(1), false),
        (Rows::AtLeast(2), true),
        (Rows::AtLeast(3), false),
        (Rows::AtMost(2), true),
        (Rows::AtMost(1), false),
    ] {
        let before = service.client.must("select sum(n) from t", &[]).await.rows;
        let statements = vec![statement(one, &[]), expecting(update, rows)];
        let request = ExecuteBatchRequest { statements, ..ExecuteBatchRequest::default() };
        match service.client.batch(request).await {
            Ok(_) => assert!(met, "{rows:?}"),
            Err(failure) => {
                assert!(!met, "{rows:?}");
                let wanted = (Code::FailedPrecondition, "EXPECTATION_FAILED");
                assert_eq!(failure.what(), wanted, "{failure:?}");
                assert_eq!(failure.report.failed_statement, Some(1));
                assert_eq!(service.client.must("select sum(n) from t", &[]).await.rows, before);
            }
        }
    }
}

async fn a_dry_run_tells_the_results_and_applies_nothing(service: Service) {
    table(&service).await;
    let request = ExecuteBatchRequest {
        dry_run: true,
        ..batch(&["insert into t values (1, 1)", "select count(*) from t"])
    };
    let response = service.client.batch(request).await.expect("it runs");
    assert_eq!(response.results[1].rows[0].values, [Value::int64(1)]);
    assert_eq!(numbers(&service).await, []);
}

async fn a_constraint_that_fails_at_the_commit_leaves_nothing(service: Service) {
    table(&service).await;
    let child = "create table child (t integer constraint child_t references t deferrable initially deferred)";
    service.client.must(child, &[]).await;
    let statements = ["insert into t values (1, 1)", "insert into child values (9)"];
    let failure = service.client.batch(batch(&statements)).await.expect_err("9 is not there");
    assert_eq!(failure.what(), (Code::FailedPrecondition, "FOREIGN_KEY_VIOLATION"), "{failure:?}");
    assert_eq!(failure.outcome, "NOT_APPLIED");
    assert_eq!(failure.report.constraint, service.pick("", "child_t", "child_t"));
    assert_eq!(numbers(&service).await, []);
    let right = ["insert into child values (1)", "insert into t values (1, 1)"];
    service.client.batch(batch(&right)).await.expect("it is there at the end");
}

fn with_mode(request: ExecuteBatchRequest, options: TransactionOptions) -> ExecuteBatchRequest {
    ExecuteBatchRequest { transaction: Some(options), ..request }
}

async fn a_batch_that_may_only_read_cannot_write(service: Service) {
    table(&service).await;
    let reading = TransactionOptions {
        access_mode: AccessMode::ReadOnly.into(),
        isolation_level: IsolationLevel::Serializable.into(),
        deferrable: true,
        ..TransactionOptions::default()
    };
    let response = service.client.batch(with_mode(batch(&["select 1", "select 2"]), reading)).await;
    assert_eq!(response.expect("it reads").results.len(), 2);
    let writing = with_mode(batch(&["select 1", "insert into t values (1, 1)"]), reading);
    let failure = service.client.batch(writing).await.expect_err("it writes");
    assert_eq!(failure.what(), (Code::FailedPrecondition, "READ_ONLY"), "{failure:?}");
    assert_eq!(numbers(&service).await, []);
}

async fn a_batch_ends_at_its_deadline_and_leaves_nothing(service: Service) {
    table(&service).await;
    let long =
        "with recursive c(x) as (select 1 union all select x + 1 from c) select count(*) from c";
    let timeout = Some(prost_types::Duration { seconds: 0, nanos: 200_000_000 });
    let options = Some(QueryOptions { timeout, ..QueryOptions::default() });
    // On a busy machine the database may take too long to answer the cancel: then nobody knows yet.
    let mut known = false;
    for _ in 0..5 {
        let options = options.clone();
        let request =
            ExecuteBatchRequest { options, ..batch(&["insert into t values (1, 1)", long]) };
        let failure = service.client.batch(request).await.expect_err("it takes too long");
        match failure.what() {
            (Code::DeadlineExceeded, "DEADLINE") => {
                assert_eq!(failure.outcome, "NOT_APPLIED");
                known = true;
                break;
            }
            (Code::Unknown, "OUTCOME_UNKNOWN") => {}
            _ => panic!("{failure:?}"),
        }
    }
    assert!(known, "five times in a row nobody knew");
    assert_eq!(numbers(&service).await, []);
}

async fn results_over_the_caps_are_refused_with_what_became_of_them(service: Service) {
    table(&service).await;
    let many = "with recursive c(x) as (select 1 union all select x + 1 from c where x < 20) select x from c";
    let options = Some(QueryOptions { max_rows: 30, ..QueryOptions::default() });
    let request =
        ExecuteBatchRequest { options, ..batch(&["insert into t values (1, 1)", many, many]) };
    let failure = service.client.batch(request).await.expect_err("40 rows");
    assert_eq!(failure.what(), (Code::ResourceExhausted, "RESULT_TOO_LARGE"), "{failure:?}");
    let applied = !numbers(&service).await.is_empty();
    assert_eq!(failure.outcome, if applied { "APPLIED" } else { "NOT_APPLIED" });
}

async fn bad_requests_name_their_fields(service: Service) {
    let unset =
        BatchStatement { parameters: vec![Value { kind: None }], ..statement("select $1", &[]) };
    let no_expectation =
        BatchStatement { expect: Some(Expectation { rows: None }), ..statement("select 1", &[]) };
    let of = |statements| ExecuteBatchRequest { statements, ..ExecuteBatchRequest::default() };
    let options = |options| ExecuteBatchRequest { options: Some(options), ..batch(&["select 1"]) };
    let cases = [
        (of(vec![]), "statements"),
        (batch(&["select 1", ""]), "statements[1].sql"),
        (of(vec![unset]), "statements[0].parameters[0]"),
        (of(vec![no_expectation]), "statements[0].expect"),
        (
            options(QueryOptions {
                access_mode: AccessMode::ReadOnly.into(),
                ..QueryOptions::default()
            }),
            "options.access_mode",
        ),
        (options(keyed("\u{e9}")), "options.idempotency_key"),
        (ExecuteBatchRequest { dry_run: true, ..options(keyed("k")) }, "options.idempotency_key"),
        (
            with_mode(
                batch(&["select 1"]),
                TransactionOptions { isolation_level: 77, ..TransactionOptions::default() },
            ),
            "transaction.isolation_level",
        ),
        (
            with_mode(
                batch(&["select 1"]),
                TransactionOptions { deferrable: true, ..TransactionOptions::default() },
            ),
            "transaction.deferrable",
        ),
    ];
    for (request, field) in cases {
        let failure = service.client.batch(request).await.expect_err(field);
        assert_eq!(failure.code, Code::InvalidArgument, "{failure:?}");
        assert_eq!(failure.fields(), [field], "{failure:?}");
    }
}

async fn transaction_control_in_a_batch_is_refused(service: Service) {
    table(&service).await;
    let end = service.pick("/* x */ end", "/* x */ end", "/*! commit */");
    for sql in ["commit", end, "rollback", "begin", "savepoint a"] {
        let statements = ["insert into t values (1, 1)", sql];
        let failure = service.client.batch(batch(&statements)).await.expect_err(sql);
        let wanted = (Code::InvalidArgument, "TRANSACTION_CONTROL");
        assert_eq!(failure.what(), wanted, "{sql}: {failure:?}");
        assert_eq!(failure.report.failed_statement, Some(1), "{sql}");
    }
    assert_eq!(numbers(&service).await, []);
}

async fn conflicting_increments_all_count(service: Service) {
    table(&service).await;
    service.client.must("insert into t values (1, 0)", &[]).await;
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let client = service.client.clone();
            tokio::spawn(async move {
                for _ in 0..25 {
                    let serializable = TransactionOptions {
                        isolation_level: IsolationLevel::Serializable.into(),
                        ..TransactionOptions::default()
                    };
                    let increment = batch(&[
                        "select n from t where id = 1",
                        "update t set n = n + 1 where id = 1",
                    ]);
                    client.batch(with_mode(increment, serializable)).await.expect("it is retried");
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.expect("no caller sees an error");
    }
    let result = service.client.must("select n from t", &[]).await;
    assert_eq!(result.rows[0].values, [Value::int64(400)]);
}
