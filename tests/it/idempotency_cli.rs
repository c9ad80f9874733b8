//! `rowgate idempotency install`, on a private PostgreSQL, on MariaDB and on SQLite.

use std::fs;
use std::process::Output;

use rowgate::value::proto::Value;
use tonic::Code;

use crate::harness::client::{Client, PATIENCE, request_with};
use crate::harness::mariadb::Mariadb;
use crate::harness::postgres::Postgres;
use crate::harness::server::{Server, run};
use crate::harness::unit::{batch, keyed};
use crate::harness::wait::eventually_async;
use crate::harness::{Backend, Service};

/// Two databases on one server, whose table is called as is usual and otherwise.
fn configure(directory: &std::path::Path, url: &str, table: &str) {
    let text = format!(
        "default_database = \"main\"\n[idempotency]\ntable = '{table}'\n\
         [databases.main]\nurl = \"{url}\"\n[databases.local]\nurl = \"sqlite:local.db\"\n"
    );
    fs::write(directory.join("rowgate.toml"), text).expect("it is ours");
}

fn install(directory: &std::path::Path, more: &[&str]) -> (Option<i32>, String, String) {
    let arguments = [&["idempotency", "install"], more].concat();
    let Output { status, stdout, stderr } = run(directory, &arguments, &[]);
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

fn said(text: &str) -> (Option<i32>, String, String) {
    (Some(0), format!("{text}\n"), String::new())
}

#[tokio::test]
async fn the_table_is_made_at_start_where_that_is_allowed() {
    let (postgres, mariadb) = (Postgres::start(), Mariadb::start());
    for url in [postgres.url(), mariadb.url()] {
        let settings =
            format!("[idempotency]\ncreate_table = true\n[databases.main]\nurl = \"{url}\"");
        for replayed in [false, true] {
            let server = Server::start(&settings);
            let client = Client::connect(server.grpc()).await;
            let asking = async || outcome_of_a_keyed_call(&client).await;
            let seen = eventually_async("the table is there", PATIENCE, asking).await;
            assert_eq!(seen, replayed, "{url}: the second server finds the table and its rows");
        }
    }
}

/// Tells whether a keyed call is replayed; `None` while there is no table.
async fn outcome_of_a_keyed_call(client: &Client) -> Option<bool> {
    let query = request_with("select 1", keyed("q"));
    match client.call(query, PATIENCE).await {
        Ok(answer) => Some(answer.replayed),
        Err(failure) => {
            assert_eq!(failure.reason, "IDEMPOTENCY_NOT_INSTALLED", "{failure:?}");
            None
        }
    }
}

#[tokio::test]
async fn a_keyed_call_works_once_the_table_is_installed() {
    for backend in [Backend::Postgres, Backend::Mariadb] {
        works_once_installed(&Service::start(backend).await).await;
    }
}

async fn works_once_installed(service: &Service) {
    service.client.must("create table t (id integer)", &[]).await;
    let mut keyed_batch = batch(&["insert into t values (1)", "select id from t"]);
    keyed_batch.options = Some(keyed("k"));
    let failure = service.client.batch(keyed_batch.clone()).await.expect_err("not installed");
    assert_eq!(failure.what(), (Code::FailedPrecondition, "IDEMPOTENCY_NOT_INSTALLED"));
    assert_eq!(failure.outcome, "NOT_APPLIED");
    assert!(failure.report.hint.contains("rowgate idempotency install"), "{failure:?}");

    let directory = tempfile::tempdir().expect("a directory can be made");
    let url = match service.backend {
        Backend::Mariadb => service.mariadb().url(),
        Backend::Postgres | Backend::Sqlite => service.postgres().url(),
    };
    configure(directory.path(), &url, "rowgate_idempotency");
    let done = install(directory.path(), &[]);
    assert_eq!(done, said("database main: table rowgate_idempotency created"));
    let again = install(directory.path(), &["--database", "main"]);
    assert_eq!(again, said("database main: table rowgate_idempotency exists already"));

    let first = service.client.batch(keyed_batch.clone()).await.expect("it runs");
    let second = service.client.batch(keyed_batch).await.expect("it is replayed");
    assert_eq!((first.replayed, second.replayed), (false, true));
    assert_eq!(first.results, second.results);
    let query = request_with("insert into t values (2)", keyed("q"));
    for replayed in [false, true] {
        let response = service.client.call(query.clone(), PATIENCE).await.expect("it runs");
        assert_eq!(response.replayed, replayed);
    }
    let count = service.client.must("select count(*) from t", &[]).await;
    assert_eq!(count.rows[0].values, [Value::int64(2)]);
}

#[test]
fn the_printed_sql_makes_the_same_table_and_may_run_twice() {
    let postgres = Postgres::start();
    let directory = tempfile::tempdir().expect("a directory can be made");
    let shape = "select string_agg(concat_ws(' ', attname, atttypid::regtype, attnotnull, \
                 pg_get_expr(adbin, adrelid)), ', ' order by attnum) from pg_attribute \
                 left join pg_attrdef on adrelid = attrelid and adnum = attnum \
                 where attrelid = 'infra.\"Odd_keys\"'::regclass and attnum > 0";
    let indexes = "select string_agg(indexdef, '; ' order by indexdef) from pg_indexes \
                   where schemaname = 'infra'";
    postgres.psql("create schema infra");
    configure(directory.path(), &postgres.url(), "infra.Odd_keys");
    let (status, sql, errors) = install(directory.path(), &["--print"]);
    assert_eq!((status, errors.as_str()), (Some(0), ""));
    postgres.psql(&sql);
    postgres.psql(&sql);
    let printed = (postgres.psql(shape), postgres.psql(indexes));
    assert!(install(directory.path(), &[]).1.ends_with("exists already\n"));
    postgres.psql("drop table infra.\"Odd_keys\"");
    assert!(install(directory.path(), &[]).1.ends_with("created\n"));
    assert_eq!((postgres.psql(shape), postgres.psql(indexes)), printed);
    assert!(
        printed.1.contains("(caller, key)") && printed.1.contains("(expires_at)"),
        "{printed:?}"
    );
}

#[test]
fn the_sql_printed_for_mariadb_makes_the_same_table_and_may_run_twice() {
    let mariadb = Mariadb::start();
    let directory = tempfile::tempdir().expect("a directory can be made");
    mariadb.sql("create database infra; grant all on infra.* to rowgate@'%'");
    configure(directory.path(), &mariadb.url(), "infra.Odd_keys");
    let (status, sql, errors) = install(directory.path(), &["--print"]);
    assert_eq!((status, errors.as_str()), (Some(0), ""));
    mariadb.sql(&sql);
    mariadb.sql(&sql);
    let shape = || mariadb.sql("show create table infra.Odd_keys");
    let printed = shape();
    assert!(install(directory.path(), &[]).1.ends_with("exists already\n"));
    mariadb.sql("drop table infra.Odd_keys");
    assert!(install(directory.path(), &[]).1.ends_with("created\n"));
    assert_eq!(shape(), printed);
    for part in ["PRIMARY KEY (`id`)", "(`expires_at`)", "ENGINE=InnoDB"] {
        assert!(printed.contains(part), "{printed}");
    }
}

#[test]
fn what_is_in_the_way_on_mariadb_is_explained() {
    let mariadb = Mariadb::start();
    let directory = tempfile::tempdir().expect("a directory can be made");
    mariadb.sql("create table other (id integer); create user reader@'%' identified by 'r'");
    mariadb.sql("grant select on test.* to reader@'%'");
    for (url, table, reported) in [
        (mariadb.url(), "other", "cannot hold idempotency keys"),
        (mariadb.url(), "infra.keys", "denied"),
        (mariadb.url_as("reader", "r"), "keys", "denied"),
        (mariadb.url_as("reader", "wrong"), "keys", "rejects the login"),
        ("mysql://me@127.0.0.1:1/shop".to_owned(), "keys", "refused"),
    ] {
        configure(directory.path(), &url, table);
        let (status, out, errors) = install(directory.path(), &[]);
        assert_eq!((status, out.as_str()), (Some(1), ""), "{table}: {errors}");
        assert!(errors.starts_with("error: ") && errors.contains(reported), "{table}: {errors}");
    }
}

#[test]
fn what_is_in_the_way_is_explained() {
    let postgres = Postgres::start();
    let directory = tempfile::tempdir().expect("a directory can be made");
    postgres.psql("create table other (id integer); create role reader login password 'r'");
    for (url, table, reported) in [
        (postgres.url(), "other", "cannot hold idempotency keys"),
        (postgres.url(), "infra.keys", "schema \"infra\" does not exist"),
        (postgres.url_as("reader", "r"), "keys", "permission denied for schema public"),
        ("postgres://me@127.0.0.1:1/shop".to_owned(), "keys", "refused"),
    ] {
        configure(directory.path(), &url, table);
        let (status, out, errors) = install(directory.path(), &[]);
        assert_eq!((status, out.as_str()), (Some(1), ""), "{table}: {errors}");
        assert!(errors.starts_with("error: ") && errors.contains(reported), "{errors}");
    }
    let (status, _, errors) = install(directory.path(), &["--database", "mian"]);
    assert!(status == Some(1) && errors.contains("local, main"), "{errors}");
}

#[test]
fn several_may_install_at_once() {
    let (postgres, mariadb) = (Postgres::start(), Mariadb::start());
    for url in [postgres.url(), mariadb.url()] {
        let directory = tempfile::tempdir().expect("a directory can be made");
        configure(directory.path(), &url, "keys");
        std::thread::scope(|scope| {
            let all = (0..4).map(|_| scope.spawn(|| install(directory.path(), &[])));
            for one in all.collect::<Vec<_>>() {
                let (status, _, errors) = one.join().expect("it does not panic");
                assert_eq!((status, errors.as_str()), (Some(0), ""), "{url}");
            }
        });
    }
}

#[test]
fn sqlite_needs_nothing() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    configure(directory.path(), "postgres://me@127.0.0.1:1/shop", "keys");
    let nothing = "nothing to do, SQLite creates its table with the first key";
    let done = install(directory.path(), &["--database", "local"]);
    assert_eq!(done, said(&format!("database local: {nothing}")));
    let printed = install(directory.path(), &["--database", "local", "--print"]);
    assert_eq!(printed, said(&format!("-- database local: {nothing}")), "no empty migration");
    assert!(!directory.path().join("local.db").exists());
}

#[tokio::test]
async fn without_a_configuration_nothing_is_called_done() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let (status, out, errors) = install(directory.path(), &[]);
    assert_eq!((status, out.as_str()), (Some(78), ""), "a server's calls with a key may fail");
    assert!(errors.contains("no database is configured here"), "{errors}");
    assert!(errors.contains("DATABASE_URL"), "{errors}");
    // The SQL is the same for all databases.
    let (status, sql, errors) = install(directory.path(), &["--print"]);
    assert_eq!(status, Some(0), "{errors}");
    assert!(errors.contains("PostgreSQL"), "{errors}");
    let service = Service::start(Backend::Postgres).await;
    service.postgres().psql(&sql);
    let query = request_with("select 1", keyed("q"));
    service.client.call(query, PATIENCE).await.expect("the table is there");
    // The server without a configuration needs nothing, as the message says.
    let server = Server::start("");
    let client = Client::connect(server.grpc()).await;
    let query = request_with("select 1", keyed("q"));
    client.call(query, PATIENCE).await.expect("it makes its table");
    assert_eq!(fs::read_dir(directory.path()).expect("it is there").count(), 0);
}
