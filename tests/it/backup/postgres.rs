//! Backups of PostgreSQL by its own programs.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use super::{fail, names, run_with, said, started, succeed};
use crate::harness::certificates::Certificates;
use crate::harness::postgres::{PASSWORD, Postgres};
use crate::harness::process::send;
use crate::harness::server::rowgate;
use crate::harness::wait::eventually;
use crate::harness::{Backend, Service};

const START: Duration = Duration::from_secs(20);

const CONTENT: &str = "create table parents (id bigint generated always as identity primary key, name text not null);\
    create table children (parent bigint references parents, born timestamptz, data jsonb);\
    insert into parents (name) values ('Ada'), (E'a\\nb\\\\c');\
    insert into children select id, '2026-01-31 12:00Z', '{\"a\": [1]}' from parents;\
    create function double(n integer) returns integer language sql as 'select 2 * n'";

const READ: &str = "select string_agg(p.name || c.born || c.data || double(4), '|' order by p.id) \
    from parents p join children c on c.parent = p.id";

#[test]
fn a_database_is_backed_up_and_restored() {
    let postgres = Postgres::start();
    postgres.psql(CONTENT);
    let before = postgres.psql(READ);
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    let url = postgres.url();
    let done = succeed(directory, &["backup", "main", "copy"], &url);
    assert!(done.contains("pg_dump (PostgreSQL)"), "its version is told: {done}");
    assert_eq!(names(directory, ""), ["copy"]);

    let refused = fail(directory, &["restore", "main", "copy"], &url);
    assert!(refused.contains("already exists"), "{refused}");
    assert!(refused.contains("Nothing was changed") && refused.contains("--force"), "{refused}");
    postgres.psql("insert into parents (name) values ('later')");
    succeed(directory, &["restore", "main", "copy", "--force"], &url);
    assert_eq!(postgres.psql(READ), before);
    assert_eq!(postgres.psql("select count(*) from parents"), "2");

    postgres.psql("create database other");
    let other = format!("{}/other", url.rsplit_once('/').expect("a path").0);
    succeed(directory, &["restore", "main", "copy", "--no-owner"], &other);
    succeed(directory, &["backup", "main", "again"], &other);

    let whole = fs::read(directory.join("copy")).expect("it is there");
    fs::write(directory.join("half"), &whole[..whole.len() / 8]).expect("it is ours");
    let refused = fail(directory, &["restore", "main", "half", "--force"], &url);
    assert!(refused.contains("half is not a whole archive"), "{refused}");
    assert_eq!(postgres.psql(READ), before);
}

#[tokio::test]
async fn an_interrupted_restoration_tells_what_it_left() {
    let service = Service::start(Backend::Postgres).await;
    let postgres = service.postgres();
    postgres.psql("create table t (n int); insert into t values (1)");
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    let url = postgres.url();
    succeed(directory, &["backup", "main", "copy"], &url);
    // The restoration waits for this lock.
    let mut holder = service.client.begin().await;
    holder.query("lock table t in access exclusive mode", &[]).await.expect("it is locked");
    let mut command = rowgate(directory);
    command.args(["restore", "main", "copy", "--force"]).env("DATABASE_URL", &url);
    command.env("ROWGATE__DATABASES__MAIN__LOCK_TIMEOUT", "10m");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let restoring = command.spawn().expect("the binary was built");
    let waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'";
    eventually("it waits", START, || (postgres.psql(waits) == "1").then_some(()));
    assert!(send("TERM", &restoring.id().to_string()));
    let ended = restoring.wait_with_output().expect("it ends");
    let said = said(&ended);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("interrupted by a signal"), "{said}");
    assert!(said.contains("It ran in one transaction"), "{said}");
    holder.rollback().await.expect("it was open");
    assert_eq!(postgres.psql("select count(*) from t"), "1");
}

#[test]
fn a_login_that_is_refused_makes_no_file_and_its_reason_is_shown() {
    let postgres = Postgres::start();
    let directory = tempfile::tempdir().expect("a directory");
    let url = postgres.url_as("postgres", "wrong");
    let refused = fail(directory.path(), &["backup", "main", "copy"], &url);
    assert!(refused.contains("password authentication failed"), "{refused}");
    assert_eq!(names(directory.path(), ""), [""; 0]);
}

#[test]
fn the_owner_is_who_makes_the_backup() {
    let postgres = Postgres::start();
    postgres.psql("create table t (n int); create role service login password 'pass word'");
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    let service = postgres.url_as("service", "pass word");
    let refused = fail(directory, &["backup", "main", "copy"], &service);
    assert!(refused.contains("permission denied"), "{refused}");
    let text =
        format!("[databases.main]\nurl = \"{service}\"\nadmin_url = \"{}\"\n", postgres.url());
    fs::write(directory.join("rowgate.toml"), text).expect("it is ours");
    succeed(directory, &["backup", "main", "copy", "--config=rowgate.toml"], "");
    assert_eq!(names(directory, "copy"), ["copy"]);
}

/// The children of a process, by their ids.
fn children(parent: u32) -> Vec<String> {
    let is_child = |id: &str| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let fields = stat.rsplit_once(')').map(|(_, rest)| rest.to_owned()).unwrap_or_default();
        fields.split_whitespace().nth(1) == Some(&parent.to_string())
    };
    let processes = fs::read_dir("/proc").expect("there is /proc").flatten();
    let ids = processes.filter_map(|entry| entry.file_name().into_string().ok());
    ids.filter(|id| id.bytes().all(|byte| byte.is_ascii_digit()) && is_child(id)).collect()
}

fn words(id: &str, of: &str) -> String {
    let bytes = fs::read(Path::new("/proc").join(id).join(of)).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

#[tokio::test]
async fn nobody_sees_the_password_and_an_interrupted_backup_leaves_nothing() {
    let service = Service::start(Backend::Postgres).await;
    service.postgres().psql("create table held (n integer)");
    let mut holder = service.client.begin().await;
    holder.query("lock table held in access exclusive mode", &[]).await.expect("it is locked");
    let url = service.postgres().url();
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    let mut child = started(directory, "copy", &url);
    // It waits for the table.
    let waiting = "select count(*) from pg_locks where not granted";
    eventually("pg_dump waits", START, || (service.postgres().psql(waiting) == "1").then_some(()));
    assert_eq!(names(directory, "copy.partial-").len(), 1);
    let programs = children(child.id());
    assert_eq!(programs.len(), 1, "{programs:?}");
    assert!(words(&programs[0], "cmdline").contains("pg_dump"));
    for id in [programs[0].as_str(), &child.id().to_string()] {
        let shown = words(id, "cmdline");
        assert!(!shown.contains(PASSWORD) && !shown.contains("correct"), "{shown}");
    }
    assert!(!words(&programs[0], "environ").contains(PASSWORD));
    let secrets = names(directory, "rowgate-");
    assert_eq!(secrets.len(), 1, "{secrets:?}");
    assert!(send("INT", &child.id().to_string()));
    let output = eventually("it ends", START, || child.try_wait().expect("it is our child"));
    assert_eq!(output.code(), Some(1));
    assert_eq!(names(directory, ""), [""; 0]);
    eventually("pg_dump is gone", START, || {
        (service.postgres().psql(waiting) == "0").then_some(())
    });
}

#[tokio::test]
async fn a_backup_waits_for_a_lock_no_longer_than_it_may() {
    let service = Service::start(Backend::Postgres).await;
    service.postgres().psql("create table held (n integer)");
    let mut holder = service.client.begin().await;
    holder.query("lock table held in access exclusive mode", &[]).await.expect("it is locked");
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    let bounds = [("ROWGATE__DATABASES__MAIN__LOCK_TIMEOUT", "200ms")];
    let output =
        run_with(directory, &["backup", "main", "copy"], &service.postgres().url(), &bounds);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("held") && said.contains("raise databases.NAME.lock_timeout"), "{said}");
    assert_eq!(names(directory, ""), [""; 0]);
}

#[test]
fn settings_of_the_database_itself_are_named_as_missing() {
    let postgres = Postgres::start();
    postgres.psql(
        "create table t (n int); create role app; create role other; \
         create database beside; alter database beside set work_mem = '1MB'; alter role other set jit = off",
    );
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    let told = succeed(directory, &["backup", "main", "copy"], &postgres.url());
    assert!(!told.contains("warning"), "{told}");
    postgres.psql("do $$ begin execute format('alter database %I set search_path = a, public', current_database()); \
        execute format('alter role app in database %I set statement_timeout = 5', current_database()); end $$");
    let told = succeed(directory, &["backup", "main", "copy", "--force"], &postgres.url());
    assert!(told.contains("SET): search_path, statement_timeout"), "{told}");
    assert!(told.contains("not in the backup"), "{told}");
}

#[test]
fn the_encryption_of_the_url_is_that_of_the_program() {
    let ours = Certificates::make();
    let others = Certificates::make();
    let postgres = Postgres::start();
    for name in ["server.crt", "server.key"] {
        postgres.put(name, &fs::read(ours.path(name)).expect("it was made"));
    }
    postgres
        .put("pg_hba.conf", b"local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n");
    postgres.psql("alter system set ssl = on");
    postgres.psql("select pg_reload_conf()");
    let directory = tempfile::tempdir().expect("a directory");
    let by_name = postgres.url().replace("127.0.0.1", "localhost");
    let verified = |authority: &Certificates| {
        format!("{by_name}?sslmode=verify-full&sslrootcert={}", authority.path("ca.crt"))
    };
    succeed(directory.path(), &["backup", "main", "verified"], &verified(&ours));
    succeed(
        directory.path(),
        &["backup", "main", "required"],
        &format!("{by_name}?sslmode=require"),
    );
    let refused = fail(directory.path(), &["backup", "main", "other"], &verified(&others));
    assert!(refused.contains("certificate"), "{refused}");
    fail(directory.path(), &["backup", "main", "other"], &format!("{by_name}?sslmode=disable"));
    assert_eq!(names(directory.path(), ""), ["required", "verified"]);
}
