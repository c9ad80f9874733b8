//! Restorations that wait for locks, and those whose process is killed.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use super::{run_with, said, succeed};
use crate::harness::process::send;
use crate::harness::server::rowgate;
use crate::harness::wait::eventually;
use crate::harness::{Backend, Service};

const START: Duration = Duration::from_secs(60);

const LOCK_TIMEOUT: &str = "ROWGATE__DATABASES__MAIN__LOCK_TIMEOUT";

const FORCED: [&str; 4] = ["restore", "main", "copy", "--force"];

/// Tables of which the second is larger than what a pipe and a program hold.
const TABLES: [&str; 3] = [
    "create table a_held (n integer)",
    "create table b_large (t text)",
    "create table c_last (n integer)",
];

/// A service whose tables have rows, a backup of them, and a row more behind it.
async fn backed_up(backend: Backend, directory: &Path) -> (Service, String) {
    let service = Service::start(backend).await;
    for table in TABLES {
        service.client.must(table, &[]).await;
    }
    service.client.must("insert into a_held values (1)", &[]).await;
    let rows = service.pick(
        "",
        "insert into b_large select md5(n::text) || md5((n + 1)::text) from generate_series(1, 60000) n",
        "insert into b_large select concat(md5(seq), md5(seq + 1)) from seq_1_to_60000",
    );
    service.client.must(rows, &[]).await;
    let url = match backend {
        Backend::Mariadb => service.mariadb().url(),
        Backend::Postgres | Backend::Sqlite => service.postgres().url(),
    };
    succeed(directory, &["backup", "main", "copy"], &url);
    service.client.must("insert into c_last values (1)", &[]).await;
    (service, url)
}

fn restoring(directory: &Path, url: &str) -> Child {
    let mut command = rowgate(directory);
    command.args(FORCED).env("DATABASE_URL", url).env(LOCK_TIMEOUT, "10m").env("TMPDIR", directory);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the binary was built")
}

/// Statements of the restoration that wait for a lock.
fn waiting(service: &Service, backend: Backend) -> usize {
    let count = match backend {
        Backend::Mariadb => service.mariadb().sql(
            "select count(*) from information_schema.processlist where state = 'Waiting for table metadata lock'",
        ),
        Backend::Postgres | Backend::Sqlite => service.postgres().psql("select count(*) from pg_stat_activity where wait_event_type = 'Lock'"),
    };
    count.parse().expect("a number")
}

/// A program that was started with the secrets of this directory.
fn is_running(directory: &Path) -> bool {
    let own = directory.to_string_lossy().into_owned();
    let processes = fs::read_dir("/proc").expect("there is /proc").flatten();
    let environments =
        processes.filter_map(|process| fs::read(process.path().join("environ")).ok());
    environments.into_iter().any(|text| String::from_utf8_lossy(&text).contains(&own))
}

async fn a_lock_that_another_holds_ends_the_restoration(backend: Backend) {
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    let (service, url) = backed_up(backend, directory).await;
    let mut holder = service.client.begin().await;
    holder.query("select n from a_held", &[]).await.expect("it is read");
    let output = run_with(directory, &FORCED, &url, &[(LOCK_TIMEOUT, "1s")]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("Nothing was changed") && said.contains("lock_timeout"), "{said}");
    assert!(service.pick(true, said.contains("a_held"), said.contains("1205")), "{said}");
    holder.rollback().await.expect("it was open");
    for (count, rows) in [("a_held", "1"), ("b_large", "60000"), ("c_last", "1")] {
        let count = format!("select count(*) from {count}");
        let found = match backend {
            Backend::Mariadb => service.mariadb().sql(&count),
            Backend::Postgres | Backend::Sqlite => service.postgres().psql(&count),
        };
        assert_eq!(found, rows);
    }
    succeed(directory, &FORCED, &url);
}

#[tokio::test]
async fn a_restoration_into_postgresql_waits_for_a_lock_no_longer_than_it_may() {
    a_lock_that_another_holds_ends_the_restoration(Backend::Postgres).await;
}

#[tokio::test]
async fn a_restoration_into_mariadb_waits_for_a_lock_no_longer_than_it_may() {
    a_lock_that_another_holds_ends_the_restoration(Backend::Mariadb).await;
}

/// The last table keeps the row that the backup does not have: nothing behind the killed process's input was run.
async fn a_killed_restoration_goes_no_further(backend: Backend) {
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    let (service, url) = backed_up(backend, directory).await;
    let mut holder = service.client.begin().await;
    holder.query("select n from a_held", &[]).await.expect("it is read");
    let mut child = restoring(directory, &url);
    eventually("it waits", START, || (waiting(&service, backend) == 1).then_some(()));
    assert!(send("KILL", &child.id().to_string()));
    child.wait().expect("it is our child");
    holder.rollback().await.expect("it was open");
    eventually("the program has ended", START, || (!is_running(directory)).then_some(()));
    let read = "select count(*) from c_last";
    let rows = match backend {
        Backend::Mariadb => service.mariadb().sql(read),
        Backend::Postgres | Backend::Sqlite => service.postgres().psql(read),
    };
    assert_eq!(rows, "1");
}

#[tokio::test]
async fn a_restoration_into_postgresql_ends_with_its_process() {
    a_killed_restoration_goes_no_further(Backend::Postgres).await;
}

#[tokio::test]
async fn a_restoration_into_mariadb_ends_with_its_process() {
    a_killed_restoration_goes_no_further(Backend::Mariadb).await;
}
