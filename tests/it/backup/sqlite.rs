//! Backups of SQLite.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rowgate::value::proto::{ExecuteBatchRequest, Value};
use rusqlite::Connection;

use super::{fail, names, run_on, said, started, succeed};
use crate::harness::process::send;
use crate::harness::server::{Server, binary};
use crate::harness::unit::statement;
use crate::harness::wait::{eventually, eventually_async};
use crate::harness::{Backend, Service};

const START: Duration = Duration::from_secs(20);

/// The pairs that a copy holds, or the reason why it is not consistent.
fn pairs(copy: &Path) -> i64 {
    let connection = Connection::open(copy).expect("it is a database");
    let check: String = connection
        .query_row("pragma integrity_check", [], |row| row.get(0))
        .expect("it is checked");
    assert_eq!(check, "ok");
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).expect(sql);
    let debits = count("select count(*) from debits");
    assert_eq!(count("select count(*) from credits"), debits);
    let odd = "select count(*) from debits d full join credits c on d.id = c.id and d.amount = c.amount \
               where d.id is null or c.id is null";
    assert_eq!(count(odd), 0);
    debits
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_backups_under_eight_writers_are_whole_and_consistent() {
    let service = Service::start(Backend::Sqlite).await;
    for table in ["debits", "credits"] {
        let create =
            format!("create table {table} (id integer primary key, amount integer, padding text)");
        service.client.must(&create, &[]).await;
    }
    let ends = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..8_i64)
        .map(|writer| {
            let client = service.client.clone();
            let ends = Arc::clone(&ends);
            tokio::spawn(async move {
                let mut written = 0_i64;
                while !ends.load(Ordering::Relaxed) {
                    let values = [
                        Value::int64(written * 8 + writer),
                        Value::int64(written),
                        Value::text("x".repeat(500)),
                    ];
                    let statements = ["debits", "credits"].map(|table| {
                        statement(&format!("insert into {table} values ($1, $2, $3)"), &values)
                    });
                    let statements = statements.to_vec();
                    let batch =
                        ExecuteBatchRequest { statements, ..ExecuteBatchRequest::default() };
                    client.batch(batch).await.expect("a backup hinders no writer");
                    written += 1;
                }
                written
            })
        })
        .collect();
    let directory = service.server.directory().to_owned();
    let mut copied = 0;
    for index in 0..20 {
        eventually_async("the writers write on", Duration::from_secs(20), async || {
            let more = "select count(*) > $1 from debits";
            let more = service.client.must(more, &[Value::int64(copied)]).await;
            (more.rows[0].values[0] == Value::int64(1)).then_some(())
        })
        .await;
        let name = format!("copy-{index}.db");
        let own = directory.clone();
        let back_up = move || succeed(&own, &["backup", "main", &name], "sqlite:test.db");
        tokio::task::spawn_blocking(back_up).await.expect("it succeeds");
        let copy = directory.join(format!("copy-{index}.db"));
        assert_eq!(fs::metadata(&copy).expect("it is there").permissions().mode() & 0o777, 0o600);
        let now = pairs(&copy);
        assert!(now > copied, "the writers wrote between: {copied}, then {now}");
        copied = now;
    }
    ends.store(true, Ordering::Relaxed);
    for writer in writers {
        assert!(writer.await.expect("it wrote") > 0);
    }
    assert_eq!(names(&directory, "copy-").len(), 20, "{:?}", names(&directory, "copy-"));
}

/// A database of so many mebibytes.
fn large(path: &Path, mebibytes: u32) {
    let connection = Connection::open(path).expect("it is made");
    connection.execute_batch("pragma journal_mode = wal; create table t (b blob)").expect("made");
    for _ in 0..mebibytes {
        connection.execute("insert into t values (zeroblob(1048576))", []).expect("inserted");
    }
}

#[test]
fn a_backup_that_is_ended_in_the_middle_leaves_no_file_of_the_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    large(&directory.join("large.db"), 150);
    for (signal, left) in [("INT", 0), ("TERM", 0), ("KILL", 1)] {
        // A busy machine may let it come to its end before the signal, but not each time.
        let was_ended = (0..5).any(|_| {
            let mut child = started(directory, "copy", "sqlite:large.db");
            eventually("it has begun", START, || {
                let has_ended = child.try_wait().expect("it is our child").is_some();
                (has_ended || !names(directory, "copy.partial-").is_empty()).then_some(())
            });
            send(signal, &child.id().to_string());
            let is_whole = child.wait().expect("it is our child").success();
            if is_whole {
                fs::remove_file(directory.join("copy")).expect("it was made");
            }
            !is_whole
        });
        assert!(was_ended, "{signal}: it is done each time");
        assert!(!directory.join("copy").exists(), "{signal}");
        let found = names(directory, "copy.partial-");
        assert_eq!(found.len(), left, "{signal}: {found:?}");
    }
    succeed(directory, &["backup", "main", "copy"], "sqlite:large.db");
    assert_eq!(names(directory, "copy"), ["copy"]);
}

#[test]
fn a_full_disk_leaves_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    large(&directory.join("large.db"), 8);
    // By the shell the signal of a file that is too large is an error; without it that is the command's own doing.
    for prepared in ["trap '' XFSZ; ", ""] {
        let script = format!("{prepared}ulimit -f 4096; exec \"$0\" backup main copy");
        let mut command = Command::new("sh");
        command.args(["-c", &script]).arg(binary()).current_dir(directory).stdin(Stdio::null());
        command.env_clear().env("DATABASE_URL", "sqlite:large.db");
        let output = command.output().expect("the shell runs");
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert_eq!(names(directory, "copy"), [""; 0], "{}", said(&output));
    }
}

#[test]
fn an_existing_file_is_replaced_with_force_alone_and_a_missing_database_makes_none() {
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    large(&directory.join("a.db"), 1);
    fs::write(directory.join("copy"), "mine").expect("it is ours");
    let refused = fail(directory, &["backup", "main", "copy"], "sqlite:a.db");
    assert!(refused.contains("copy exists already") && refused.contains("--force"), "{refused}");
    assert_eq!(fs::read(directory.join("copy")).expect("it is there"), b"mine");
    let done = succeed(directory, &["backup", "main", "copy", "--force"], "sqlite:a.db");
    assert!(done.starts_with("database main: copy, 1.0 MiB in "), "{done}");
    let refused = fail(directory, &["backup", "main", "other"], "sqlite:missing.db");
    assert!(refused.contains("there is no file missing.db"), "{refused}");
    assert!(names(directory, "other").is_empty() && names(directory, "missing").is_empty());
    fs::hard_link(directory.join("a.db"), directory.join("link")).expect("it is ours");
    for itself in ["a.db", "link"] {
        let refused = fail(directory, &["backup", "main", itself, "--force"], "sqlite:a.db");
        assert!(refused.contains("is the database itself"), "{refused}");
    }
    let refused = fail(directory, &["backup", "none", "other"], "sqlite:a.db");
    assert!(refused.contains("there is no database \"none\""), "{refused}");
}

#[test]
fn names_that_are_no_place_for_a_backup_are_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    large(&directory.join("a.db"), 1);
    fs::create_dir(directory.join("backups")).expect("it is made");
    let cases = [
        ("-", "is not written to standard output"),
        ("a.db-wal", "is a file that SQLite keeps beside the database a.db"),
        ("./a.db-shm", "is a file that SQLite keeps beside the database a.db"),
        ("a.db-journal", "is a file that SQLite keeps beside the database a.db"),
        ("backups", "backups is a directory"),
    ];
    for (name, why) in cases {
        for force in [&[][..], &["--force"]] {
            let arguments = [&["backup", "main", name], force].concat();
            let refused = fail(directory, &arguments, "sqlite:a.db");
            assert!(refused.contains(why), "{name}: {refused}");
        }
    }
    assert_eq!(names(directory, ""), ["a.db", "backups"]);
}

#[test]
fn a_restoration_looks_at_its_file_first_and_an_empty_one_is_no_backup() {
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    large(&directory.join("a.db"), 1);
    fs::write(directory.join("empty"), "").expect("it is ours");
    let before = fs::read(directory.join("a.db")).expect("it is there");
    for force in [&[][..], &["--force"]] {
        let restore =
            |file| fail(directory, &[&["restore", "main", file], force].concat(), "sqlite:a.db");
        let refused = restore("empty");
        assert!(refused.contains("empty is empty: it is no backup"), "{refused}");
        let refused = restore("missing");
        assert!(refused.contains("there is no file missing"), "{refused}");
        assert!(!refused.contains("--force"), "{refused}");
    }
    let refused = fail(directory, &["restore", "main", "empty"], "sqlite:new.db");
    assert!(refused.contains("it is no backup"), "{refused}");
    assert_eq!(fs::read(directory.join("a.db")).expect("it is there"), before);
    // A database without tables is a valid file, and no backup of one that has some.
    let bare = Connection::open(directory.join("bare")).expect("it opens");
    bare.execute_batch("create table t (n integer); create view v as select 1; drop table t")
        .expect("it is made");
    bare.close().expect("it closes");
    for (file, why) in [
        ("bare", "bare has no table: it is no backup"),
        ("/dev/null", "/dev/null is not a regular file"),
        ("/dev/zero", "/dev/zero is not a regular file"),
    ] {
        let refused = fail(directory, &["restore", "main", file, "--force"], "sqlite:a.db");
        assert!(refused.contains(why) && refused.contains("Nothing was changed"), "{refused}");
    }
    assert_eq!(fs::read(directory.join("a.db")).expect("it is there"), before);
    let refused = fail(directory, &["backup", "main", "copy"], "sqlite:bare");
    assert!(refused.contains("the database bare has no table"), "{refused}");
    assert_eq!(names(directory, ""), ["a.db", "bare", "empty"]);
}

#[test]
fn what_is_no_database_or_damaged_is_not_restored() {
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    fs::write(directory.join("text"), "x".repeat(4096)).expect("it is ours");
    let refused = fail(directory, &["restore", "main", "text"], "sqlite:new.db");
    assert!(refused.contains("is not a SQLite database"), "{refused}");
    let whole = directory.join("whole");
    let connection = Connection::open(&whole).expect("it is made");
    let rows = "create table t (a integer primary key, b text unique);\
                with recursive n(i) as (select 1 union all select i + 1 from n where i < 2000) \
                insert into t select i, 'row ' || i from n";
    connection.execute_batch(rows).expect("it is made");
    connection.close().expect("it closes");
    let mut bytes = fs::read(&whole).expect("it is there");
    let middle = bytes.len() / 2;
    bytes[middle..middle + 4096].fill(0x55);
    fs::write(directory.join("damaged"), bytes).expect("it is ours");
    let refused = fail(directory, &["restore", "main", "damaged"], "sqlite:new.db");
    assert!(refused.contains("damaged"), "{refused}");
    assert_eq!(names(directory, "new.db"), [""; 0]);
}

#[tokio::test]
async fn a_database_is_replaced_with_force_and_only_while_no_server_has_it_open() {
    let service = Service::start(Backend::Sqlite).await;
    let directory = service.server.directory().to_owned();
    let back_up = &["backup", "main", "copy"];
    service.client.must("create table t (n integer)", &[]).await;
    service.client.must("insert into t values (1)", &[]).await;
    succeed(&directory, back_up, "sqlite:test.db");
    service.client.must("insert into t values (2)", &[]).await;
    let restore = &["restore", "main", "copy"];
    let refused = fail(&directory, restore, "sqlite:test.db");
    assert!(refused.contains("test.db exists already"), "{refused}");
    let forced = &["restore", "main", "copy", "--force"];
    let refused = fail(&directory, forced, "sqlite:test.db");
    assert!(refused.contains("is open in another process"), "{refused}");
    assert!(refused.contains("Stop the server"), "{refused}");
    let both = service.client.must("select count(*) from t", &[]).await;
    assert_eq!(both.rows[0].values, [Value::int64(2)]);
    let live = fail(&directory, &["restore", "main", "test.db"], "sqlite:other.db");
    assert!(live.contains("is a database in use"), "{live}");

    let mut server = service.server;
    // Not in order: its log stays.
    server.signal("KILL");
    server.wait_for_exit(START);
    assert!(directory.join("test.db-wal").exists());
    fs::set_permissions(directory.join("test.db"), fs::Permissions::from_mode(0o640))
        .expect("ours");
    succeed(&directory, forced, "sqlite:test.db");
    assert_eq!(names(&directory, "test.db"), ["test.db"], "nothing of the one before is left");
    let mode = fs::metadata(directory.join("test.db")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    let connection = Connection::open(directory.join("test.db")).expect("it opens");
    let rows: i64 =
        connection.query_row("select count(*) from t", [], |row| row.get(0)).expect("t");
    assert_eq!(rows, 1);
}

/// Restores from a database while another connection writes pairs of rows, one in each table.
fn restored_beside_a_writer(directory: &Path, journal: &str) {
    let source = directory.join("live.db");
    large(&source, 8);
    let writer = Connection::open(&source).expect("it opens");
    let mode: String = writer
        .query_row(&format!("pragma journal_mode = {journal}"), [], |row| row.get(0))
        .expect("it is set");
    assert_eq!(mode, journal);
    writer.busy_timeout(START).expect("it is set");
    // What it writes needs not outlive a power failure.
    let tables = "pragma synchronous = off; create table l (n integer); create table r (n integer)";
    writer.execute_batch(tables).expect("they are made");
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let writing = thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            let pair =
                "begin immediate; insert into l values (1); insert into r values (1); commit";
            writer.execute_batch(pair).expect("it is written");
        }
    });
    for number in 0..8 {
        let url = format!("sqlite:{journal}-{number}.db");
        let output = run_on(directory, &["restore", "main", "live.db"], &url);
        if output.status.code() == Some(1) {
            let refused = said(&output);
            assert!(refused.contains("is a database in use"), "{refused}");
            continue;
        }
        assert!(output.status.success(), "{}", said(&output));
        let copy = Connection::open(directory.join(&url[7..])).expect("it opens");
        let halves: (i64, i64) = copy
            .query_row("select (select count(*) from l), (select count(*) from r)", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .expect("both are there");
        assert_eq!(halves.0, halves.1, "{journal}: a torn copy");
    }
    stop.store(true, Ordering::Relaxed);
    writing.join().expect("it writes");
    fs::remove_file(source).expect("it is ours");
}

#[test]
fn a_database_that_others_write_is_refused_or_restored_from_as_it_is_in_one_moment() {
    let directory = tempfile::tempdir().expect("a directory");
    for journal in ["wal", "delete"] {
        restored_beside_a_writer(directory.path(), journal);
    }
}

#[tokio::test]
async fn a_damaged_database_is_replaced_and_served_again() {
    let directory = tempfile::tempdir().expect("a directory");
    large(&directory.path().join("a.db"), 1);
    succeed(directory.path(), &["backup", "main", "copy"], "sqlite:a.db");
    fs::write(directory.path().join("a.db"), "damaged").expect("it is ours");
    fs::write(directory.path().join("a.db-wal"), "stale").expect("it is ours");
    succeed(directory.path(), &["restore", "main", "copy", "--force"], "sqlite:a.db");
    assert_eq!(names(directory.path(), "a.db"), ["a.db"]);
    let path = directory.path().join("a.db");
    let server = Server::start(&format!("[databases.main]\nurl = \"sqlite:{}\"", path.display()));
    let client = crate::harness::client::Client::connect(server.grpc()).await;
    let rows = client.must("select count(*) from t", &[]).await.rows;
    assert_eq!(rows[0].values, [Value::int64(1)]);
}
