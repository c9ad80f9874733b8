//! `rowgate maintain`.

use std::fs;
use std::path::Path;
use std::process::Output;

use rusqlite::Connection;

use crate::harness::mariadb::{Mariadb, is_mysql};
use crate::harness::postgres::Postgres;
use crate::harness::server::run;
use crate::harness::{Backend, Service};

/// Runs the command on the database of a URL; returns its status, and what it printed.
fn maintain(directory: &Path, flags: &[&str], url: &str) -> (Option<i32>, String) {
    let arguments = [&["maintain", "main"], flags].concat();
    let Output { status, stdout, stderr } = run(directory, &arguments, &[("DATABASE_URL", url)]);
    (status.code(), String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned())
}

/// The statements of a run that succeeded, each with its time before and its result behind.
#[track_caller]
fn statements((status, printed): (Option<i32>, String)) -> Vec<String> {
    assert_eq!(status, Some(0), "{printed}");
    let statement = |line: &str| {
        let (time, rest) = line.trim_start().split_once(" s  ").expect(line);
        let _seconds: f64 = time.parse().expect(line);
        rest.strip_suffix("  ok").expect(line).to_owned()
    };
    printed.lines().map(statement).collect()
}

#[test]
fn a_file_of_sqlite_becomes_small_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("a.db");
    let connection = Connection::open(&path).expect("it is made");
    connection
        .execute_batch(
            "create table t (b blob, n integer); create index by_n on t (n);\
             insert into t values (zeroblob(4000000), 1), ('', 2); delete from t where n = 1",
        )
        .expect("it is made");
    connection.close().expect("it closes");
    let size = || fs::metadata(&path).expect("it is there").len();
    let before = size();
    let run = |flags: &[&str]| statements(maintain(directory.path(), flags, "sqlite:a.db"));
    assert_eq!(run(&[]), ["ANALYZE"]);
    assert_eq!(size(), before);
    let all = run(&["--vacuum", "--analyze", "--reindex"]);
    assert_eq!(all, ["REINDEX", "VACUUM", "ANALYZE", "PRAGMA wal_checkpoint(TRUNCATE)"]);
    assert!(size() < before / 10, "{before} bytes became {}", size());
    let connection = Connection::open(&path).expect("it opens");
    let analyzed: i64 = connection
        .query_row("select count(*) from sqlite_stat1", [], |row| row.get(0))
        .expect("it has statistics");
    assert_eq!(analyzed, 1);
}

#[test]
fn a_file_that_is_missing_is_not_created() {
    let directory = tempfile::tempdir().expect("a directory");
    let (status, printed) = maintain(directory.path(), &[], "sqlite:typo.db");
    assert_eq!(status, Some(1), "{printed}");
    assert!(printed.contains("there is no file") && printed.contains("typo.db"), "{printed}");
    assert!(!directory.path().join("typo.db").exists());
}

#[test]
fn a_log_that_a_reader_needs_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("a.db");
    let reader = Connection::open(&path).expect("it is made");
    reader
        .execute_batch(
            "pragma journal_mode = wal; create table t (n integer); begin; select * from t",
        )
        .expect("it reads");
    let text = "[databases.main]\nurl = \"sqlite:a.db\"\nlock_timeout = \"100ms\"\n";
    fs::write(directory.path().join("rowgate.toml"), text).expect("it is ours");
    let Output { status, stdout, stderr } =
        run(directory.path(), &["maintain", "main", "--vacuum"], &[]);
    let printed = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    assert_eq!(status.code(), Some(1), "{printed}");
    assert!(printed.contains("VACUUM  ok"), "{printed}");
    assert!(printed.contains("the log could not be emptied"), "{printed}");
}

#[test]
fn the_tables_of_postgres_are_maintained_one_by_one() {
    let postgres = Postgres::start();
    postgres.psql(
        "create table \"a B\" (n integer primary key); insert into \"a B\" select generate_series(1, 1000);\
         create table parts (n integer) partition by range (n);\
         create table low partition of parts for values from (0) to (9);\
         create role owner login password 'x'; create schema own authorization owner;\
         create table own.theirs (n integer); create table own.mine (n integer); alter table own.mine owner to owner;\
         grant all on all tables in schema public to owner",
    );
    let directory = tempfile::tempdir().expect("a directory");
    let run = |flags: &[&str], url: &str| maintain(directory.path(), flags, url);
    let all = statements(run(&["--vacuum", "--analyze", "--reindex"], &postgres.url()));
    for expected in [
        "REINDEX TABLE CONCURRENTLY public.\"a B\"",
        "VACUUM (ANALYZE) public.\"a B\"",
        "ANALYZE public.parts",
        "VACUUM (ANALYZE) public.low",
    ] {
        assert!(all.iter().any(|sql| sql == expected), "{expected} in {all:?}");
    }
    let analyzed = "select count(*) from pg_stats where tablename = 'a B'";
    assert_eq!(postgres.psql(analyzed), "1");
    let (status, printed) = run(&[], &postgres.url_as("owner", "x"));
    assert_eq!(status, Some(0), "{printed}");
    assert!(printed.contains("ANALYZE own.mine  ok"), "{printed}");
    assert!(printed.contains("belong to others: own.theirs"), "{printed}");
    let (status, printed) = run(&[], &postgres.url_as("owner", "wrong"));
    assert_eq!(status, Some(1), "{printed}");
}

#[tokio::test]
async fn a_table_that_is_locked_fails_and_the_others_are_maintained() {
    let service = Service::start(Backend::Postgres).await;
    let postgres = service.postgres();
    postgres.psql("create table a (n integer); create table b (n integer)");
    let mut holder = service.client.begin().await;
    holder.query("lock table a in access exclusive mode", &[]).await.expect("it is locked");
    let directory = tempfile::tempdir().expect("a directory");
    let url = postgres.url();
    let text = format!("[databases.main]\nurl = \"{url}\"\nlock_timeout = \"100ms\"\n");
    fs::write(directory.path().join("rowgate.toml"), text).expect("it is ours");
    let Output { status, stdout, stderr } = run(directory.path(), &["maintain", "main"], &[]);
    let printed = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    assert_eq!(status.code(), Some(1), "{printed}");
    assert!(printed.contains("ANALYZE public.a  failed: "), "{printed}");
    assert!(printed.contains("ANALYZE public.b  ok"), "{printed}");
    assert!(printed.contains("1 of the statements failed"), "{printed}");
}

#[test]
fn the_tables_of_mariadb_are_maintained_one_by_one() {
    let mariadb = Mariadb::start();
    mariadb.sql("create table `a``b` (n integer primary key); create view v as select 1");
    let directory = tempfile::tempdir().expect("a directory");
    let run = |flags: &[&str]| statements(maintain(directory.path(), flags, &mariadb.url()));
    assert_eq!(run(&["--analyze"]), ["ANALYZE TABLE `a``b`"]);
    assert_eq!(run(&["--vacuum"]), ["OPTIMIZE TABLE `a``b`"]);
    if is_mysql() {
        return;
    }
    mariadb.sql(
        "create table c (n integer not null) engine = csv; create table m (n integer) engine = memory; \
         create table h (n integer) with system versioning",
    );
    let (status, printed) = maintain(directory.path(), &["--vacuum"], &mariadb.url());
    assert_eq!(status, Some(0), "{printed}");
    for table in ["c", "m"] {
        let line = format!("OPTIMIZE TABLE `{table}`  nothing done: The storage engine");
        assert!(printed.contains(&line), "{printed}");
    }
    assert!(printed.contains("OPTIMIZE TABLE `h`  ok\n"), "{printed}");
}
