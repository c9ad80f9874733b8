//! Transactions over several statements of a prompt.

use std::time::Duration;

use super::{READY, prompt};
use crate::harness::wait::idle_for;
use crate::harness::{Backend, Service};

const OPEN: &str = "main*=> ";
const ABORTED: &str = "main!=> ";

async fn with_table(backend: Backend, settings: &str) -> Service {
    let service = Service::with(backend, settings).await;
    service.client.must("create table t (id int primary key)", &[]).await;
    service
}

async fn count(service: &Service) -> usize {
    service.client.must("select id from t", &[]).await.rows.len()
}

#[tokio::test]
async fn a_transaction_is_committed_or_rolled_back_as_a_whole() {
    for backend in [Backend::Sqlite, Backend::Postgres, Backend::Mariadb] {
        let service = with_table(backend, "").await;
        let mut terminal = prompt(&service, &[]);
        terminal.ask("begin;", "BEGIN", OPEN);
        terminal.ask("insert into t", "", "main*-> ");
        terminal.ask("values (1);", "INSERT: 1 row affected", OPEN);
        assert_eq!(count(&service).await, 0);
        terminal.ask("savepoint a;", "SAVEPOINT", OPEN);
        terminal.ask("insert into t values (1);", "outcome: NOT_APPLIED", ABORTED);
        terminal.ask("select 1;", "hint: Write ROLLBACK, or ROLLBACK TO a savepoint", ABORTED);
        terminal.ask("rollback to a;", "ROLLBACK", OPEN);
        terminal.ask("insert into t values (2); release savepoint a;", "RELEASE", OPEN);
        terminal.ask("commit;", "COMMIT", READY);
        assert_eq!(count(&service).await, 2);
        terminal.ask("begin; insert into t values (3); rollback;", "ROLLBACK", READY);
        assert_eq!(count(&service).await, 2);
        terminal.ask("commit;", "error: no transaction is open", READY);
    }
}

#[tokio::test]
async fn the_options_of_a_transaction_are_those_that_were_typed() {
    let service = with_table(Backend::Postgres, "").await;
    let mut terminal = prompt(&service, &[]);
    terminal.ask("begin isolation level serializable, read only;", "BEGIN", OPEN);
    terminal.ask("show transaction_isolation;", "serializable", OPEN);
    terminal.ask("begin;", "error: a transaction is open already", OPEN);
    terminal.ask("set transaction read write;", "Write them behind BEGIN", OPEN);
    terminal.ask("insert into t values (1);", "sqlstate: 25006", ABORTED);
    terminal.ask("commit;", "ROLLBACK: the transaction was aborted", READY);
    terminal.ask("rollback;", "error: no transaction is open", READY);
    terminal.ask("begin isolation level chaos;", "not understood from \"chaos\" on", ABORTED);
    terminal.ask("begin isolation level repeatable read;", "BEGIN", OPEN);
    terminal.ask("commit and chain;", "COMMIT\nBEGIN", OPEN);
    terminal.ask("show transaction_isolation;", "repeatable read", OPEN);
    let mut reader = prompt(&service, &["--read-only"]);
    reader.ask("begin;", "BEGIN", OPEN);
    reader.ask("insert into t values (1);", "sqlstate: 25006", ABORTED);
}

#[tokio::test]
async fn each_database_takes_the_options_that_are_documented() {
    for backend in [Backend::Sqlite, Backend::Postgres, Backend::Mariadb] {
        let service = with_table(backend, "").await;
        let mut terminal = prompt(&service, &[]);
        for begin in
            ["begin read only;", "start transaction isolation level serializable, read only;"]
        {
            terminal.ask(begin, "BEGIN", OPEN);
            terminal.ask("insert into t values (1);", "outcome: NOT_APPLIED", ABORTED);
            terminal.ask("rollback;", "ROLLBACK", READY);
        }
        terminal.ask("begin isolation level repeatable read, read write;", "BEGIN", OPEN);
        terminal.ask("insert into t values (1);", "INSERT: 1 row affected", OPEN);
        terminal.ask("commit;", "COMMIT", READY);
        assert_eq!(count(&service).await, 1);
    }
}

#[tokio::test]
async fn behind_a_begin_that_failed_nothing_commits_by_itself() {
    for backend in [Backend::Sqlite, Backend::Postgres] {
        let service = with_table(backend, "").await;
        let mut terminal = prompt(&service, &[]);
        let told = terminal.ask("begin read onyl;", "no transaction was begun", ABORTED);
        assert!(told.contains("hint: Write BEGIN, or behind it "), "{told}");
        for line in ["insert into t values (1);", "savepoint a;"] {
            terminal.ask(line, "hint: Write BEGIN again, or ROLLBACK to go on", ABORTED);
        }
        terminal.ask("commit;", "error: nothing is committed", READY);
        // The server's refusal, too; lines that arrive at once are not undone by the error before them.
        terminal.ask("begin deferrable;", "no transaction was begun", ABORTED);
        terminal.press("insert into t values (2);\ninsert into t values (3);\nrollback;\n");
        terminal.expect("ROLLBACK: no transaction was begun");
        terminal.expect(READY);
        assert_eq!(count(&service).await, 0);
        terminal.ask("begin x;", "no transaction was begun", ABORTED);
        terminal.ask("begin;", "BEGIN", OPEN);
        terminal.ask("insert into t values (4); commit;", "COMMIT", READY);
        assert_eq!(count(&service).await, 1);
    }
}

#[tokio::test]
async fn ctrl_c_ends_the_transaction_with_its_statement() {
    let service = with_table(Backend::Postgres, "").await;
    let mut terminal = prompt(&service, &[]);
    terminal.ask("begin; insert into t values (1);", "INSERT: 1 row affected", OPEN);
    terminal.line("select 'begun', pg_sleep(60);");
    terminal.expect("pg_sleep(60);\n");
    idle_for(Duration::from_millis(300)).await;
    terminal.press("\x03");
    terminal.expect("the statement was cancelled");
    terminal.expect("outcome: NOT_APPLIED, nothing was changed");
    terminal.expect("the transaction has ended, and was not committed");
    terminal.expect(READY);
    assert_eq!(count(&service).await, 0);
    terminal.ask("insert into t values (1);", "INSERT: 1 row affected", READY);
}

#[tokio::test]
async fn an_idle_transaction_is_told_to_have_ended_and_what_was_typed_for_it_is_not_run() {
    let settings = "transaction.idle_timeout = \"2s\"";
    let service = with_table(Backend::Postgres, settings).await;
    let mut terminal = prompt(&service, &[]);
    terminal.ask("begin; insert into t values (1);", "INSERT: 1 row affected", OPEN);
    terminal.press("insert into t ");
    terminal.expect("no command came for 2s");
    terminal.expect("the transaction has ended, and was not committed");
    // The prompt is drawn again without the sign of a transaction.
    terminal.expect("\nmain=>  insert into t ");
    terminal.line("values (2);");
    terminal.expect("this line was not run: the transaction that it was typed for has ended");
    terminal.expect(READY);
    assert_eq!(count(&service).await, 0);
    terminal.ask("insert into t values (3);", "INSERT: 1 row affected", READY);
    assert_eq!(count(&service).await, 1);
}

#[tokio::test]
async fn leaving_rolls_back_and_says_so() {
    let service = with_table(Backend::Postgres, "").await;
    let mut terminal = prompt(&service, &[]);
    terminal.ask("begin; insert into t values (1);", "INSERT: 1 row affected", OPEN);
    terminal.line("\\c main");
    terminal.expect("error: a transaction is open");
    terminal.expect(OPEN);
    terminal.line("\\q");
    terminal.expect("the open transaction is rolled back");
    assert!(terminal.exit().success());
    assert_eq!(count(&service).await, 0);
}
