//! What only the embedded SQLite does: transactions that it ends by itself, and the files it leaves.

use rowgate::value::proto::transact_request::Command;
use rowgate::value::proto::transact_response::Reply;
use rowgate::value::proto::{Commit, QueryOptions, RollbackTo, TransactQuery, Value};
use tonic::Code;

use crate::harness::client::PATIENCE;
use crate::harness::server::run;
use crate::harness::unit::{batch, keyed, query};
use crate::harness::{Backend, Service};

/// Writes that end their transaction, and how they fail.
const ENDING: [(&str, Code, &str); 3] = [
    ("insert or rollback into t values (1)", Code::AlreadyExists, "UNIQUE_VIOLATION"),
    ("insert into strict values (1)", Code::AlreadyExists, "UNIQUE_VIOLATION"),
    ("insert into guarded values (1)", Code::FailedPrecondition, "RAISE_EXCEPTION"),
];

async fn service() -> Service {
    let service = Service::start(Backend::Sqlite).await;
    for sql in [
        "create table t (id integer primary key)",
        "create table strict (id integer primary key on conflict rollback)",
        "create table guarded (id integer)",
        "create trigger guard before insert on guarded begin select raise(rollback, 'not here'); end",
        "insert into t values (1)",
        "insert into strict values (1)",
    ] {
        service.client.must(sql, &[]).await;
    }
    service
}

async fn stored(service: &Service) -> Vec<Value> {
    let result = service.client.must("select id from t order by id", &[]).await;
    result.rows.into_iter().map(|mut row| row.values.remove(0)).collect()
}

#[tokio::test]
async fn a_batch_whose_transaction_sqlite_has_ended_leaves_nothing() {
    let service = service().await;
    for (index, (ends, code, reason)) in ENDING.into_iter().enumerate() {
        let statements = ["insert into t values (2)", ends, "insert into t values (3)", "select 1"];
        let mut request = batch(&statements);
        request.options = Some(keyed(&format!("k{index}")));
        for _again in 0..2 {
            let failure = service.client.batch(request.clone()).await.expect_err(ends);
            assert_eq!(failure.what(), (code, reason), "{ends}: {failure:?}");
            assert_eq!(failure.outcome, "NOT_APPLIED", "{ends}");
            assert_eq!(failure.report.failed_statement, Some(1), "{ends}");
        }
        assert_eq!(stored(&service).await, [Value::int64(1)], "{ends}");
    }
    service.client.must("insert into t values (2)", &[]).await;
}

#[tokio::test]
async fn a_transaction_that_sqlite_has_ended_ends_its_stream() {
    let service = service().await;
    for (ends, code, reason) in ENDING {
        let mut transaction = service.client.begin().await;
        transaction.query("insert into t values (2)", &[]).await.expect("it runs");
        transaction.savepoint("s").await.expect("it is set");
        // All of it is on its way before anybody knows that the first has failed.
        transaction.send_query(ends).await;
        transaction.send(Command::RollbackTo(RollbackTo { name: "s".to_owned() })).await;
        transaction.send_query("insert into t values (3)").await;
        transaction.send(Command::Commit(Commit {})).await;
        let failure = transaction.reply().await.expect_err("the stream ends");
        assert_eq!(failure.what(), (code, reason), "{ends}: {failure:?}");
        assert_eq!(failure.outcome, "NOT_APPLIED", "{ends}");
        assert!(failure.report.hint.contains("Begin again"), "{ends}: {failure:?}");
        assert_eq!(stored(&service).await, [Value::int64(1)], "{ends}");
    }
    service.client.must("insert into t values (2)", &[]).await;
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
    let told = failure.what();
    assert!(
        told == (Code::DeadlineExceeded, "DEADLINE")
            || told == (Code::FailedPrecondition, "TRANSACTION_ABORTED"),
        "{failure:?}"
    );
    assert_eq!(failure.outcome, "NOT_APPLIED");
    assert!(failure.report.hint.contains("Begin again"), "{failure:?}");
    assert_eq!(stored(&service).await, [Value::int64(1)]);
}

/// The files beside the database.
fn beside(service: &Service) -> Vec<String> {
    let files = std::fs::read_dir(service.server.directory()).expect("it is there");
    let names = files.map(|file| file.expect("it is there").file_name().into_string());
    names.map(|name| name.expect("UTF-8")).filter(|name| name.starts_with("test.db-")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_ends_leaves_one_file() {
    for interrupted in [false, true] {
        let mut service = service().await;
        // Several readers, so that the last connection is not always the same.
        let reads = (0..8).map(|_| service.client.must("select count(*) from t", &[]));
        futures_util::future::join_all(reads).await;
        assert!(!beside(&service).is_empty(), "a write-ahead log is in use");
        let mut open = service.client.begin().await;
        open.query("insert into t values (2)", &[]).await.expect("it runs");
        if !interrupted {
            open.rollback().await.expect("it is open");
        }
        service.server.signal("TERM");
        assert!(service.server.wait_for_exit(PATIENCE).success());
        assert_eq!(beside(&service), [""; 0], "{}", service.server.log());
    }
}

#[tokio::test]
async fn a_check_leaves_one_file() {
    let directory = tempfile::tempdir().expect("a directory");
    for _ in 0..5 {
        let checked = run(
            directory.path(),
            &["config", "check"],
            &[("ROWGATE__DATABASES__MAIN__URL", "sqlite:test.db")],
        );
        assert!(checked.status.success(), "{checked:?}");
        let mut files: Vec<_> = std::fs::read_dir(directory.path())
            .expect("it is there")
            .map(|file| file.expect("it is there").file_name())
            .collect();
        files.retain(|name| name.to_string_lossy().starts_with("test.db"));
        assert_eq!(files, ["test.db"]);
    }
}
