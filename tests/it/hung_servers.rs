//! Database servers that stop answering, as on a machine that is suspended: callers are answered at their deadline.

use std::time::Duration;

use rowgate::value::proto::transact_request::Command;
use rowgate::value::proto::value::Kind;
use rowgate::value::proto::{
    CopyInStart, ExecuteBatchRequest, QueryOptions, ResultReference, TransactQuery, Value,
};

use crate::harness::client::{Client, Failure, request_with};
use crate::harness::copies::csv_into;
use crate::harness::process::Stopped;
use crate::harness::unit::{Transaction, batch, query, statement};
use crate::harness::wait::{Stopwatch, eventually_async};
use crate::harness::{Backend, Service};

const TIMEOUT: Duration = Duration::from_millis(500);
/// Beyond the timeout, for the answer: far less than a rollback is waited for.
const LATE: Duration = Duration::from_secs(1);

/// Stops the processes of the database server.
fn stop(service: &Service, backend: Backend) -> Vec<Stopped> {
    if backend == Backend::Mariadb {
        vec![Stopped::new(&service.mariadb().pid())]
    } else {
        Stopped::family(&service.postgres().postmaster())
    }
}

/// The number that a case counts in. What was sent may be applied when the next case runs.
fn number(service: &Service, backend: Backend, case: &str) -> String {
    let sql = format!("select n from t where id = {}", row(case));
    if backend == Backend::Mariadb {
        service.mariadb().sql(&sql)
    } else {
        service.postgres().psql(&sql)
    }
}

fn row(case: &str) -> u8 {
    match case {
        "write" => 2,
        "batch" => 3,
        _ => 1,
    }
}

fn write(case: &str) -> String {
    format!("update t set n = n + 1 where id = {}", row(case))
}

const ROWS: &str = "insert into t values (1, 0), (2, 0), (3, 0)";

const CASES: [&str; 8] = [
    "read",
    "write",
    "batch",
    "keyed batch",
    "batch of references",
    "dry run",
    "copy",
    "statement of a transaction",
];

/// Makes a call that must end within the timeout.
async fn call(client: &Client, transaction: &mut Transaction, case: &str) -> Result<(), Failure> {
    let timeout = Some(prost_types::Duration::try_from(TIMEOUT).expect("it is short"));
    let mut options = QueryOptions { timeout, ..QueryOptions::default() };
    match case {
        "read" => client.run(request_with("select n from t", options)).await.map(drop),
        "write" => client.run(request_with(&write(case), options)).await.map(drop),
        "copy" => {
            let start = CopyInStart { options: Some(options), ..csv_into("t") };
            client.copy_text(start, "4,0\n", 100).await.map(drop)
        }
        "statement of a transaction" => {
            let query = TransactQuery { options: Some(options), ..query(&write(case), &[]) };
            transaction.send(Command::Query(query)).await;
            transaction.result().await.map(drop)
        }
        _ => {
            let mut request = batch(&[&write(case), &write(case)]);
            if case == "keyed batch" {
                case.clone_into(&mut options.idempotency_key);
            }
            if case == "batch of references" {
                let of_first =
                    Kind::ResultReference(ResultReference { statement: 0, column: "n".into() });
                request.statements = vec![
                    statement("select n from t where id = 1", &[]),
                    statement("update t set n = $1 where id = 1", &[of_first.into()]),
                ];
            }
            request.dry_run = case == "dry run";
            client.batch(ExecuteBatchRequest { options: Some(options), ..request }).await.map(drop)
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_of_a_server_that_hangs_are_answered_at_their_deadline() {
    for backend in [Backend::Postgres, Backend::Mariadb] {
        let service = Service::start(backend).await;
        let client = &service.client;
        client.must("create table t (id int primary key, n int not null)", &[]).await;
        client.must(ROWS, &[]).await;
        service.install_keys();
        for case in CASES {
            // Connections, prepared statements, and what is known of the table.
            client.batch(batch(&[&write(case), &write(case)])).await.expect("it runs");
            let mut transaction = client.begin().await;
            transaction.query("select 1", &[]).await.expect("it is open");
            let before = number(&service, backend, case);
            let stopped = stop(&service, backend);
            let clock = Stopwatch::start();
            let Err(cut) = call(client, &mut transaction, case).await else {
                panic!("{backend:?} answers: {case}");
            };
            clock.assert_within(TIMEOUT + LATE, &format!("{backend:?}: {case}"));
            let told = (&*cut.reason, &*cut.outcome);
            // What was prepared on the connection before is sent; on PostgreSQL with the commit of its batch.
            let commits = case == "write" || (case == "batch" && backend == Backend::Postgres);
            let is_sent = commits && told == ("OUTCOME_UNKNOWN", "UNKNOWN");
            let is_told = is_sent || told == ("DEADLINE", "NOT_APPLIED");
            assert!(is_told, "{backend:?}: {case}: {cut:?}");
            drop((stopped, transaction));
            service.until_pool("what was given up has ended", |pool| pool.in_use == 0).await;
            if !is_sent {
                assert_eq!(number(&service, backend, case), before, "{backend:?}: {case}");
            }
        }
    }
}

/// The statements that sleep, as their database lists them.
fn sleeping(service: &Service, backend: Backend) -> String {
    let mariadb = "select count(*) from information_schema.processlist where info like '%sleep(100)%' \
                   and id <> connection_id()";
    let postgres = "select count(*) from pg_stat_activity where query like '%sleep(100)%' \
                    and state = 'active' and pid <> pg_backend_pid()";
    match backend {
        Backend::Mariadb => service.mariadb().sql(mariadb),
        Backend::Postgres | Backend::Sqlite => service.postgres().psql(postgres),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_of_a_server_that_hangs_at_work_are_answered_at_their_deadline() {
    const TIMEOUT: Duration = Duration::from_millis(1500);
    for backend in [Backend::Postgres, Backend::Mariadb] {
        let service = Service::start(backend).await;
        let client = &service.client;
        client.must("create table t (id int primary key, n int not null)", &[]).await;
        client.must("insert into t values (1, 0)", &[]).await;
        let sleep = service.pick("", "select pg_sleep(100)", "select sleep(100)");
        for has_reference in [false, true] {
            let mut request = batch(&["select n from t where id = 1", &write(""), sleep]);
            if has_reference {
                // With it the statements go one by one.
                let of_first = ResultReference { statement: 0, column: "n".into() };
                let of_first = Kind::ResultReference(of_first).into();
                request.statements[1] = statement("update t set n = $1 where id = 1", &[of_first]);
            }
            let timeout = Some(prost_types::Duration::try_from(TIMEOUT).expect("it is short"));
            request.options = Some(QueryOptions { timeout, ..QueryOptions::default() });
            let clock = Stopwatch::start();
            let call = tokio::spawn({
                let client = client.clone();
                async move { client.batch(request).await.map(drop) }
            });
            eventually_async("it sleeps", TIMEOUT, async || {
                (sleeping(&service, backend) == "1").then_some(())
            })
            .await;
            let stopped = stop(&service, backend);
            let cut = call.await.expect("no panic").expect_err("nothing answers");
            clock.assert_within(TIMEOUT + LATE, &format!("{backend:?}, {has_reference}"));
            // On PostgreSQL the commit is in the same flight.
            let is_sent = backend == Backend::Postgres && !has_reference;
            let expected =
                if is_sent { ("OUTCOME_UNKNOWN", "UNKNOWN") } else { ("DEADLINE", "NOT_APPLIED") };
            assert_eq!((&*cut.reason, &*cut.outcome), expected, "{backend:?}: {cut:?}");
            drop(stopped);
            service.until_pool("what was given up has ended", |pool| pool.in_use == 0).await;
            assert_eq!(number(&service, backend, ""), "0", "{backend:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_into_a_server_that_hangs_at_work_are_answered_at_their_deadline() {
    for backend in [Backend::Postgres, Backend::Mariadb] {
        let service = Service::start(backend).await;
        let client = &service.client;
        client.must("create table t (id int primary key, n int not null)", &[]).await;
        client.must("insert into t values (1, 0)", &[]).await;
        let timeout = Some(prost_types::Duration::try_from(TIMEOUT).expect("it is short"));
        let options = Some(QueryOptions { timeout, ..QueryOptions::default() });
        let clock = Stopwatch::start();
        let mut copy = client.open_copy(CopyInStart { options, ..csv_into("t") }, None).await;
        assert!(copy.text("2,0\n").await, "it takes rows");
        service.until_pool("it runs", |pool| pool.in_use == 1).await;
        let stopped = stop(&service, backend);
        assert!(copy.text("3,0\n").await, "it takes rows");
        let cut = copy.answer().await.expect_err("nothing answers");
        clock.assert_within(TIMEOUT + LATE, &format!("{backend:?}"));
        assert_eq!((&*cut.reason, &*cut.outcome), ("DEADLINE", "NOT_APPLIED"), "{cut:?}");
        drop(stopped);
        service.until_pool("what was given up has ended", |pool| pool.in_use == 0).await;
        let left = client.must("select count(*) from t", &[]).await;
        assert_eq!(left.rows[0].values, [Value::int64(1)], "{backend:?}");
    }
}
