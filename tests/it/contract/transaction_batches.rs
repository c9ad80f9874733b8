//! Batches in an interactive transaction: several statements in one command.

use rowgate::value::proto::transact_request::Command;
use rowgate::value::proto::transact_response::Reply;
use rowgate::value::proto::value::Kind;
use rowgate::value::proto::{
    AccessMode, BatchStatement, Begin, Commit, Expectation, QueryOptions, ResultReference,
    TransactBatch, TransactionOptions, Value, expectation,
};
use tonic::Code;

use super::batches::{numbers as values, table};
use super::contract;
use crate::harness::Service;
use crate::harness::unit::{Transaction, statement};

contract! {
    each_statement_has_its_result_and_the_transaction_goes_on
    a_statement_that_fails_is_named_and_the_others_do_not_count
    an_unexpected_number_of_rows_fails_the_command
    statements_may_need_what_those_before_them_make
    parameters_may_be_values_of_earlier_results
    results_over_their_bounds_fail_the_command
    what_no_batch_may_have_is_refused
    a_batch_over_its_timeout_fails_alone
    a_batch_that_may_only_read_cannot_write
    commands_behind_a_batch_may_be_sent_ahead
}

const INSERT: &str = "insert into t (id) values ($1)";

async fn numbers(service: &Service) -> Vec<i64> {
    let number = |value: Value| match value.kind {
        Some(Kind::Int64Value(number)) => number,
        other => panic!("{other:?}"),
    };
    values(service).await.into_iter().map(number).collect()
}

fn inserts(numbers: impl IntoIterator<Item = i64>) -> Vec<BatchStatement> {
    numbers.into_iter().map(|number| statement(INSERT, &[Value::int64(number)])).collect()
}

/// A transaction with a savepoint in which nothing has happened.
async fn begin(service: &Service) -> Transaction {
    let mut transaction = service.client.begin().await;
    transaction.savepoint("s").await.expect("it is set");
    transaction
}

async fn each_statement_has_its_result_and_the_transaction_goes_on(service: Service) {
    table(&service).await;
    let mut transaction = begin(&service).await;
    let mut statements = inserts(1..=50);
    statements.push(statement("select count(*) as many, $1 as text from t", &[Value::text("x")]));
    statements.push(statement("update t set id = id + 100 where id > 40", &[]));
    let results = transaction.batch(statements).await.expect("it runs");
    assert_eq!(results.len(), 52);
    for result in &results[..50] {
        assert_eq!((result.rows_affected, &*result.command), (1, "INSERT"), "{result:?}");
        assert!(!result.has_columns);
    }
    let names: Vec<_> = results[50].columns.iter().map(|column| &*column.name).collect();
    assert_eq!(names, ["many", "text"]);
    assert_eq!(results[50].rows[0].values, [Value::int64(50), Value::text("x")]);
    assert_eq!((results[51].rows_affected, &*results[51].command), (10, "UPDATE"));
    assert!(numbers(&service).await.is_empty(), "another transaction sees nothing of it yet");
    transaction.query("delete from t where id <> 150", &[]).await.expect("it goes on");
    transaction.commit().await.expect("it commits");
    assert_eq!(numbers(&service).await, [150]);
}

async fn a_statement_that_fails_is_named_and_the_others_do_not_count(service: Service) {
    table(&service).await;
    let mut transaction = service.client.begin().await;
    transaction.batch(inserts([1])).await.expect("it runs");
    transaction.savepoint("s").await.expect("it is set");
    let failure = transaction.batch(inserts([2, 3, 2, 4])).await.expect_err("2 is there twice");
    assert_eq!(failure.what(), (Code::AlreadyExists, "UNIQUE_VIOLATION"), "{failure:?}");
    assert_eq!(failure.report.failed_statement, Some(2), "{failure:?}");
    let behind = transaction.batch(inserts([5])).await.expect_err("the transaction is aborted");
    assert_eq!(behind.reason, "TRANSACTION_ABORTED", "{behind:?}");
    transaction.rollback_to("s").await.expect("it goes back");
    transaction.batch(inserts([6])).await.expect("it runs");
    transaction.commit().await.expect("it commits");
    assert_eq!(numbers(&service).await, [1, 6]);
    // Without a savepoint nothing can be committed.
    let mut transaction = service.client.begin().await;
    transaction.batch(inserts([7, 7])).await.expect_err("7 is there twice");
    let failure = transaction.commit().await.expect_err("a statement had failed");
    assert_eq!(failure.reason, "TRANSACTION_ABORTED", "{failure:?}");
    assert_eq!(numbers(&service).await, [1, 6]);
}

async fn an_unexpected_number_of_rows_fails_the_command(service: Service) {
    table(&service).await;
    let mut transaction = begin(&service).await;
    let rows = Some(expectation::Rows::Exactly(1));
    let expecting =
        |sql: &str| BatchStatement { expect: Some(Expectation { rows }), ..statement(sql, &[]) };
    let fitting = vec![expecting("insert into t (id) values (1)"), expecting("delete from t")];
    transaction.batch(fitting).await.expect("one row each");
    let [first, second] =
        ["insert into t (id) values (2)", "delete from t where id = 9"].map(expecting);
    let failure = transaction.batch(vec![first, second]).await.expect_err("there is no 9");
    assert_eq!(failure.reason, "EXPECTATION_FAILED", "{failure:?}");
    assert_eq!(failure.report.failed_statement, Some(1), "{failure:?}");
    let behind = transaction.query("select 1", &[]).await.expect_err("it is aborted");
    assert_eq!(behind.reason, "TRANSACTION_ABORTED", "{behind:?}");
    transaction.rollback_to("s").await.expect("it goes back");
    transaction.commit().await.expect("it commits");
    assert!(numbers(&service).await.is_empty());
}

async fn statements_may_need_what_those_before_them_make(service: Service) {
    if service.pick(false, false, true) {
        // There a CREATE TABLE commits, and is refused in a transaction.
        return;
    }
    let mut transaction = service.client.begin().await;
    let statements = vec![
        statement("create table made (n int)", &[]),
        statement("insert into made values (1)", &[]),
        statement("alter table made add column m int", &[]),
        statement("select * from made", &[]),
    ];
    let results = transaction.batch(statements).await.expect("it runs");
    assert_eq!(results[3].columns.len(), 2);
    let statements = vec![
        statement("select * from made", &[]),
        statement("alter table made drop column m", &[]),
        statement("select * from made", &[]),
    ];
    let results = transaction.batch(statements).await.expect("it runs");
    assert_eq!([results[0].columns.len(), results[2].columns.len()], [2, 1]);
    transaction.commit().await.expect("it commits");
}

async fn parameters_may_be_values_of_earlier_results(service: Service) {
    table(&service).await;
    let mut transaction = begin(&service).await;
    let reference = |statement: u32, column: &str| -> Value {
        Kind::ResultReference(ResultReference { statement, column: column.to_owned() }).into()
    };
    let statements = vec![
        statement("select 41 + 1 as answer", &[]),
        statement(INSERT, &[reference(0, "answer")]),
    ];
    transaction.batch(statements).await.expect("it runs");
    let later = vec![statement(INSERT, &[reference(1, "answer")])];
    let failure = transaction.batch(later).await.expect_err("there is no earlier result");
    assert_eq!(failure.code, Code::InvalidArgument, "{failure:?}");
    transaction.rollback().await.expect("it rolls back");
}

async fn results_over_their_bounds_fail_the_command(service: Service) {
    table(&service).await;
    let many = "with recursive c(x) as (select 1 union all select x + 1 from c where x < 900) select x from c";
    for options in [
        QueryOptions { max_rows: 1000, ..QueryOptions::default() },
        QueryOptions { max_bytes: 4000, ..QueryOptions::default() },
    ] {
        let mut transaction = begin(&service).await;
        let selects = vec![statement(many, &[]); 2];
        let statements = [selects, inserts([1])].concat();
        transaction.send(batch_with(statements, options)).await;
        let failure = transaction.batch_results().await.expect_err("they are larger together");
        assert_eq!(failure.what(), (Code::ResourceExhausted, "RESULT_TOO_LARGE"), "{failure:?}");
        transaction.rollback_to("s").await.expect("it goes back");
        transaction.query("select 1", &[]).await.expect("the stream goes on");
        transaction.commit().await.expect("it commits");
        assert!(numbers(&service).await.is_empty());
    }
}

fn batch_with(statements: Vec<BatchStatement>, options: QueryOptions) -> Command {
    Command::Batch(TransactBatch { statements, options: Some(options) })
}

async fn what_no_batch_may_have_is_refused(service: Service) {
    table(&service).await;
    let unset = Value { kind: None };
    let keyed = QueryOptions { idempotency_key: "k".to_owned(), ..QueryOptions::default() };
    let plain = QueryOptions::default;
    for (statements, options, code, field) in [
        (vec![], plain(), Code::InvalidArgument, "statements"),
        (inserts(0..1001), plain(), Code::InvalidArgument, "statements"),
        (vec![statement(" ", &[])], plain(), Code::InvalidArgument, "statements[0].sql"),
        (
            [inserts([1]), vec![statement("commit", &[])]].concat(),
            plain(),
            Code::InvalidArgument,
            "statements[1].sql",
        ),
        (
            vec![statement(INSERT, &[unset])],
            plain(),
            Code::InvalidArgument,
            "statements[0].parameters[0]",
        ),
        (inserts([1]), keyed, Code::InvalidArgument, "options.idempotency_key"),
    ] {
        let mut transaction = begin(&service).await;
        transaction.send(batch_with(statements, options)).await;
        let failure = transaction.batch_results().await.expect_err("it is refused");
        assert_eq!(failure.code, code, "{failure:?}");
        assert_eq!(failure.fields(), [field], "{failure:?}");
        transaction.rollback_to("s").await.expect("the stream goes on");
        transaction.commit().await.expect("it commits");
    }
    assert!(numbers(&service).await.is_empty(), "nothing of a refused batch runs");
}

async fn a_batch_over_its_timeout_fails_alone(service: Service) {
    table(&service).await;
    let mut transaction = service.client.begin().await;
    transaction.batch(inserts([1])).await.expect("it runs");
    transaction.savepoint("s").await.expect("it is set");
    let endless =
        "with recursive c(x) as (select 1 union all select x + 1 from c) select count(*) from c";
    let statements = [inserts([2]), vec![statement(endless, &[])], inserts([3])].concat();
    let timeout = Some(prost_types::Duration { seconds: 0, nanos: 200_000_000 });
    let options = QueryOptions { timeout, ..QueryOptions::default() };
    transaction.send(batch_with(statements, options)).await;
    let failure = transaction.batch_results().await.expect_err("it never ends by itself");
    assert_eq!(failure.what(), (Code::DeadlineExceeded, "DEADLINE"), "{failure:?}");
    transaction.rollback_to("s").await.expect("it goes back");
    transaction.batch(inserts([4])).await.expect("the connection is free again");
    transaction.commit().await.expect("it commits");
    assert_eq!(numbers(&service).await, [1, 4]);
}

async fn a_batch_that_may_only_read_cannot_write(service: Service) {
    table(&service).await;
    let mut transaction = service.client.transact().await;
    let options = TransactionOptions {
        access_mode: AccessMode::ReadOnly.into(),
        ..TransactionOptions::default()
    };
    let begin = Begin { transaction: Some(options), ..Begin::default() };
    transaction.send(Command::Begin(begin)).await;
    assert!(matches!(transaction.reply().await, Ok(Some(Reply::Begun(_)))));
    let reads = vec![statement("select count(*) from t", &[]); 2];
    assert_eq!(transaction.batch(reads).await.expect("it reads").len(), 2);
    transaction.batch(inserts([1])).await.expect_err("it writes");
    transaction.rollback().await.expect("it rolls back");
    assert!(numbers(&service).await.is_empty());
}

async fn commands_behind_a_batch_may_be_sent_ahead(service: Service) {
    table(&service).await;
    let mut transaction = service.client.begin().await;
    for start in [0, 100, 200] {
        let statements = inserts(start..start + 100);
        transaction.send(batch_with(statements, QueryOptions::default())).await;
    }
    transaction.send_query("select count(*) from t").await;
    transaction.send(Command::Commit(Commit {})).await;
    transaction.half_close();
    for _ in 0..3 {
        assert_eq!(transaction.batch_results().await.expect("it runs").len(), 100);
    }
    let count = transaction.result().await.expect("it runs");
    assert_eq!(count.rows[0].values, [Value::int64(300)]);
    assert!(matches!(transaction.reply().await, Ok(Some(Reply::Committed(_)))));
    transaction.end().await.expect("it ends well");
    assert_eq!(numbers(&service).await.len(), 300);
}
