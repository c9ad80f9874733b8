//! Tables without transactions: their rows stay whatever is rolled back, so that what wrote them is never told as
//! NOT_APPLIED, and never run again.

use std::time::Duration;

use rowgate::value::proto::transact_request::Command;
use rowgate::value::proto::{ExecuteBatchRequest, QueryOptions, TransactQuery};

use super::{running, service, told};
use crate::harness::Service;
use crate::harness::unit::{Transaction, query, statement};
use crate::harness::wait::eventually;

/// The service has a table `m` without transactions, and a holder of row 2 that a deadlock does not choose: it has written
/// more, also to such a table.
async fn with_holder() -> (Service, Transaction) {
    let service = service("").await;
    service.mariadb().sql("create table m (id int) engine = myisam; create table h like m");
    let mut holder = service.client.begin().await;
    holder.query("insert into h values (1)", &[]).await.expect("it takes rows");
    let rows = "insert into t select seq, 0 from seq_100_to_400";
    holder.query(rows, &[]).await.expect("they are new");
    holder.query("update t set n = 5 where id = 2", &[]).await.expect("it is free");
    (service, holder)
}

/// Waits until somebody waits for row 2, and closes the circle.
async fn close_circle(service: &Service, holder: &mut Transaction) {
    let wait = Duration::from_secs(10);
    eventually("it waits for row 2", wait, || {
        let waiting = running(service.mariadb(), "update t set n = 7 where id = 2");
        (!waiting.is_empty()).then_some(())
    });
    holder.query("update t set n = 6 where id = 1", &[]).await.expect("it is not chosen");
}

const UNIT: [&str; 3] = [
    "insert into m values (1)",
    "update t set n = 7 where id = 1",
    "update t set n = 7 where id = 2",
];

fn batch(statements: &[&str]) -> ExecuteBatchRequest {
    let statements = statements.iter().map(|sql| statement(sql, &[])).collect();
    ExecuteBatchRequest { statements, ..ExecuteBatchRequest::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_a_deadlock_has_rolled_back_is_not_run_again_over_such_a_table() {
    let (service, mut holder) = with_holder().await;
    let client = service.client.clone();
    let unit = tokio::spawn(async move { client.batch(batch(&UNIT)).await });
    close_circle(&service, &mut holder).await;
    let answer = unit.await.expect("no panic").map(|answer| answer.attempts);
    assert_eq!(told(&answer), "Unknown DEADLOCK_DETECTED UNKNOWN");
    assert_eq!(service.mariadb().sql("select count(*) from m"), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_a_deadlock_has_rolled_back_may_have_left_such_rows() {
    let (service, mut holder) = with_holder().await;
    let mut unit = service.client.begin().await;
    for sql in &UNIT[..2] {
        unit.query(sql, &[]).await.expect("it is free");
    }
    unit.send_query(UNIT[2]).await;
    close_circle(&service, &mut holder).await;
    let failed = unit.result().await.expect_err("it is chosen");
    assert_eq!((&*failed.reason, &*failed.outcome), ("DEADLOCK_DETECTED", "UNKNOWN"));
    assert_eq!(failed.retry_after, None, "it is not to be run again");
    let ended = unit.commit().await.expect_err("nothing is left of it");
    assert_eq!(ended.outcome, "UNKNOWN", "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_nobody_commits_may_have_left_such_rows() {
    let service = service("").await;
    service.mariadb().sql("create table m (id int) engine = myisam");
    for (sql, outcome) in [
        ("insert into m values (1)", "UNKNOWN"),
        ("update t set n = 7 where id = 1", "NOT_APPLIED"),
        ("update t set n = (@a := 7) where id = 1", "NOT_APPLIED"),
    ] {
        let mut unit = service.client.begin().await;
        unit.query(sql, &[]).await.expect("it is free");
        unit.half_close();
        let ended = unit.reply().await.expect_err("nobody has committed");
        assert_eq!((ended.reason.as_str(), ended.outcome.as_str()), ("NOT_COMMITTED", outcome));
    }
}

/// Tables with and without transactions, of which some have triggers, and procedures that fail behind a write.
const FAILING: &str = "
create table m (id int) engine = myisam;
create table um (id int primary key) engine = myisam;
insert into um values (5);
create table log (id int) engine = innodb;
create table logged like t;
create table noted like t;
insert into logged values (1, 0);
insert into noted values (1, 0);
create trigger logs before insert on logged for each row insert into log values (1);
create trigger notes before insert on noted for each row insert into m values (1);
delimiter //
create procedure logs() begin insert into log values (1); insert into t values (1, 1); end//
create procedure notes() begin insert into m values (1); insert into t values (1, 1); end//
create procedure escapes() begin insert into log values (1); commit; insert into t values (1, 1); end//
delimiter ;";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_in_a_transaction_tells_what_its_rollback_leaves() {
    let service = service("").await;
    service.mariadb().sql(FAILING);
    let duplicate = "insert into t values (1, 1)";
    let cases: [(&[&str], &str); 9] = [
        (&[duplicate], "NOT_APPLIED"),
        (&["update t set n = 7 where id = 1", duplicate], "NOT_APPLIED"),
        (&["insert into m values (1)", duplicate], "UNKNOWN"),
        (&["insert into um values (1), (2), (5)"], "UNKNOWN"),
        (&["insert into logged values (1, 1)"], "NOT_APPLIED"),
        (&["insert into noted values (1, 1)"], "UNKNOWN"),
        (&["call logs()"], "NOT_APPLIED"),
        (&["call notes()"], "UNKNOWN"),
        (&["call escapes()"], "UNKNOWN"),
    ];
    for (statements, outcome) in cases {
        let mut unit = service.client.begin().await;
        let [before @ .., last] = statements else { unreachable!("there is one") };
        for sql in before {
            unit.query(sql, &[]).await.expect("it runs");
        }
        let failed = unit.query(last, &[]).await.expect_err("it fails");
        assert_eq!((&*failed.reason, &*failed.outcome), ("UNIQUE_VIOLATION", outcome), "{last}");
        let next = unit.query("select 1", &[]).await.expect_err("only a rollback is possible");
        assert_eq!((&*next.reason, &*next.outcome), ("TRANSACTION_ABORTED", outcome), "{last}");
        let ended = unit.commit().await.expect_err("it was rolled back");
        assert_eq!((&*ended.reason, &*ended.outcome), ("TRANSACTION_ABORTED", outcome), "{last}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_of_a_transaction_whose_time_is_over_may_have_left_such_rows() {
    let service = service("").await;
    service.mariadb().sql("create table m (id int primary key, n int) engine = myisam");
    for (table, outcome) in [("m", "UNKNOWN"), ("t", "NOT_APPLIED")] {
        let mut unit = service.client.begin().await;
        // The first row is written.
        let rows = "select if(seq = 1001, seq + sleep(100), seq), 0 from seq_1000_to_1001";
        let sql = format!("insert into {table} {rows}");
        let timeout = Some(prost_types::Duration { seconds: 0, nanos: 200_000_000 });
        let options = Some(QueryOptions { timeout, ..QueryOptions::default() });
        unit.send(Command::Query(TransactQuery { options, ..query(&sql, &[]) })).await;
        let failed = unit.result().await.expect_err("it sleeps");
        assert_eq!((&*failed.reason, &*failed.outcome), ("DEADLINE", outcome), "{table}");
        unit.rollback().await.expect("it ends");
    }
    assert_eq!(service.mariadb().sql("select count(*) from m"), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_fails_behind_such_a_row_leaves_its_batch_unknown() {
    let service = service("").await;
    service.mariadb().sql("create table m (id int) engine = myisam");
    for second in ["insert into t values (1, 1)", "insert into t values (1, (@a := 1))"] {
        let failed = service.client.batch(batch(&["insert into m values (1)", second])).await;
        let failed = failed.map(|answer| answer.attempts);
        assert_eq!(told(&failed), "AlreadyExists UNIQUE_VIOLATION UNKNOWN", "{second}");
    }
    assert_eq!(service.mariadb().sql("select count(*) from m"), "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_that_leaves_rows_is_no_success() {
    let service = service("").await;
    service.mariadb().sql("create table m (id int) engine = myisam");
    let request = ExecuteBatchRequest { dry_run: true, ..batch(&["insert into m values (1)"]) };
    let answer = service.client.batch(request).await.map(|answer| answer.attempts);
    assert_eq!(told(&answer), "Unknown OUTCOME_UNKNOWN UNKNOWN");
    assert_eq!(service.mariadb().sql("select count(*) from m"), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_runs_at_once_whatever_the_connection_keeps_of_its_statements() {
    let service = service("statement_cache = 1").await;
    let add = |id: u32| format!("insert into t values ({id}, 1)");
    let twice = "update t set n = n + 1 where id = 1".to_owned();
    for round in 0..3 {
        let texts = [twice.clone(), add(10 + round), twice.clone(), add(20 + round), twice.clone()];
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let answer = service.client.batch(batch(&texts)).await.map(|answer| answer.attempts);
        assert_eq!(told(&answer), "applied");
    }
    assert_eq!(service.mariadb().sql("select n from t where id = 1"), "9");
    // Each text of a flight is prepared once, and runs on what was prepared.
    assert_eq!(service.pool().await.resets, 0);
    let unknown = service.mariadb().sql("show global status like 'Com_stmt_reprepare'");
    assert_eq!(unknown, "Com_stmt_reprepare\t0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_temporary_table_does_not_hide_the_table_of_keys() {
    let service = service("").await;
    let hide = "create temporary table `ROWGATE_idempotency` (id int)";
    let answer = service.client.batch(batch(&[hide])).await.map(|answer| answer.attempts);
    assert!(told(&answer).ends_with("NOT_APPLIED"), "{answer:?}");
    let mut unit = service.client.begin().await;
    let failed = unit.query(hide, &[]).await.expect_err("it would hide the table");
    assert!(failed.message.contains("idempotency keys"), "{failed:?}");
}
