//! `rowgate query`: files of statements as one batch, and idempotency keys.

use std::fs;
use std::io::Write as _;
use std::process::{Output, Stdio};

use rowgate::value::proto::Value;

use super::contract;
use crate::harness::server::{rowgate, run};
use crate::harness::{Backend, Service};

contract! {
    a_file_is_one_batch_in_each_format
    a_statement_that_fails_is_named_and_nothing_stays
    what_is_not_to_be_applied_is_not
    under_a_key_a_file_and_a_statement_run_once
    a_file_that_is_none_is_explained
    an_output_that_is_closed_early_is_no_success
    an_output_that_cannot_be_written_does_not_hide_what_was_applied
}

/// The exit status and output of a command.
#[derive(Debug, PartialEq, Eq)]
struct Ended {
    status: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Self { status: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

fn ask(service: &Service, more: &[&str]) -> Ended {
    let address = format!("http://{}", service.server.grpc());
    let arguments = [&["query", "--address", &address], more].concat();
    run(service.server.directory(), &arguments, &[]).into()
}

fn file(service: &Service, text: &str) {
    fs::write(service.server.directory().join("file.sql"), text).expect("it is ours");
}

async fn count(service: &Service) -> Value {
    let result = service.client.must("select count(*) from t", &[]).await;
    result.rows[0].values[0].clone()
}

/// A text that the other dialect's rules, or none, would split in other places.
const POSTGRES: &str = "\
create table t (id integer primary key, note text);
insert into t values (1, E'it\\'s; one'), (2, $$two; $$); /* ; /* ; */ */
create rule r as on update to t do also (delete from t where false; select 1);
select id, note from t order by id;
select 7 as f;
";
const SQLITE: &str = "\
create table t (id integer primary key, note text);
create trigger r after update on t begin delete from t where 0; select 1; end;
insert into t values (1, 'it''s; one'), (2, 'two; '); /* ; /* ; */
select `id`, [note] from t order by id;
select 7 as \";\";
";

/// A transaction makes temporary tables only.
const MARIADB: &str = "\
create temporary table made (id integer);
insert into t values (1, 'it\\'s; one'), (2, \"two; \"); # ; '
/* ; /* ; */ select `id`, note from t order by id; -- ; '
select 7 as `;`;
";

async fn a_file_is_one_batch_in_each_format(service: Service) {
    if service.backend == Backend::Mariadb {
        service.client.must("create table t (id integer primary key, note text)", &[]).await;
    }
    file(&service, service.pick(SQLITE, POSTGRES, MARIADB));
    let ended = ask(&service, &["--batch", "file.sql", "--format", "csv"]);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let name = service.pick(";", "f", ";");
    assert_eq!(ended.out, format!("id,note\n1,it's; one\n2,two; \n\n{name}\n7\n"));
    let reported: Vec<_> = ended.err.lines().collect();
    assert!(
        reported.contains(&"CREATE TABLE") && reported.contains(&"INSERT: 2 rows affected"),
        "{reported:?}"
    );

    file(&service, "select 1 as one; select 2 as two;");
    let ended = ask(&service, &["--batch", "file.sql", "--format", "json"]);
    assert_eq!((ended.out.as_str(), ended.err.as_str()), ("{\"one\":1}\n{\"two\":2}\n", ""));
    file(&service, "insert into t values (3, null); select 1 as one");
    let ended = ask(&service, &["--batch", "file.sql", "--isolation", "serializable"]);
    assert!(ended.out.starts_with("INSERT: 1 row affected\n┌"), "{ended:?}");
    assert!(ended.out.ends_with("\n(1 row)\n(2 statements, committed)\n"), "{ended:?}");
    assert_eq!(count(&service).await, Value::int64(3));
}

async fn a_statement_that_fails_is_named_and_nothing_stays(service: Service) {
    service.client.must("create table t (id integer primary key)", &[]).await;
    file(&service, "insert into t values (1);\n\n-- again\ninsert into t\nvalues (1);\nselect 1\n");
    let ended = ask(&service, &["--batch", "file.sql"]);
    assert_eq!((ended.status, ended.out.as_str()), (Some(1), ""));
    assert!(ended.err.starts_with("error: statement 2, line 4: "), "{ended:?}");
    assert!(ended.err.contains("\n  reason: UNIQUE_VIOLATION (ALREADY_EXISTS)\n"), "{ended:?}");
    assert!(ended.err.contains("\n  outcome: NOT_APPLIED, nothing was changed\n"), "{ended:?}");
    assert_eq!(count(&service).await, Value::int64(0));
    if service.backend == Backend::Postgres {
        file(&service, "select 1;\nselect\n  nope;");
        let ended = ask(&service, &["--batch", "file.sql"]);
        assert!(ended.err.contains("\n  line 3:   nope\n            ^\n"), "{ended:?}");
    }
    file(&service, "insert into t values (1);\ncommit;");
    let ended = ask(&service, &["--batch", "file.sql"]);
    assert!(ended.err.starts_with("error: statement 2, line 2: "), "{ended:?}");
    assert!(ended.err.contains("TRANSACTION_CONTROL"), "{ended:?}");
}

async fn what_is_not_to_be_applied_is_not(service: Service) {
    service.client.must("create table t (id integer primary key)", &[]).await;
    file(&service, "insert into t values (1);");
    let ended = ask(&service, &["--batch", "file.sql", "--dry-run"]);
    assert_eq!(ended.out, "INSERT: 1 row affected\n(1 statement, rolled back)\n", "{ended:?}");
    let ended = ask(&service, &["--batch", "file.sql", "--read-only"]);
    assert!(ended.status == Some(1) && ended.err.contains("READ_ONLY"), "{ended:?}");
    assert_eq!(count(&service).await, Value::int64(0));
}

async fn under_a_key_a_file_and_a_statement_run_once(service: Service) {
    service.client.must("create table t (id integer)", &[]).await;
    service.install_keys();
    file(&service, "insert into t values (1);");
    let once = ["--batch", "file.sql", "--key", "b"];
    let ended = ask(&service, &once);
    assert_eq!(ended.out, "INSERT: 1 row affected\n(1 statement, committed)\n", "{ended:?}");
    let ended = ask(&service, &once);
    assert_eq!(ended.out, "INSERT: 1 row affected\n(1 statement, replayed)\n", "{ended:?}");

    let once = ["insert into t values ($1)", "-p", "2", "--key", "q"];
    assert_eq!(ask(&service, &once).out, "INSERT: 1 row affected\n");
    assert_eq!(ask(&service, &once).out, "INSERT: 1 row affected (replayed)\n");
    let rows = ["insert into t values (3) returning id", "--key", "r"];
    assert!(ask(&service, &rows).out.ends_with("\n(1 row; INSERT: 1 row affected)\n"));
    let again = ask(&service, &rows);
    assert!(again.out.ends_with("\n(1 row; INSERT: 1 row affected; replayed)\n"), "{again:?}");
    let reused = ask(&service, &["select 1", "--key", "r"]);
    assert!(reused.status == Some(1) && reused.err.contains("KEY_REUSED"), "{reused:?}");
    assert_eq!(count(&service).await, Value::int64(3));
}

async fn a_file_that_is_none_is_explained(service: Service) {
    let wrong = |text: &str, reported: &str| {
        file(&service, text);
        let ended = ask(&service, &["--batch", "file.sql"]);
        assert_eq!((ended.status, ended.err.as_str()), (Some(1), reported));
    };
    wrong("-- nothing;\n", "error: file.sql: there is no statement in it\n");
    wrong("select 1;\n select 'x;\n", "error: file.sql: line 2: a string does not end\n");
    if service.backend == Backend::Postgres {
        let copy = "create table c (a text);\ncopy public.c (a) from stdin;\nit's\n\\.\n";
        file(&service, copy);
        let ended = ask(&service, &["--batch", "file.sql"]);
        assert!(ended.err.starts_with("error: file.sql: line 2: COPY … FROM stdin"), "{ended:?}");
        assert!(ended.status == Some(1) && ended.err.contains("pg_dump --inserts"), "{ended:?}");
        let meta = "\\connect is a command of psql, not SQL";
        wrong("select 1;\n\\connect shop\n", &format!("error: file.sql: line 2: {meta}\n"));
        file(
            &service,
            "--\n-- a dump\n--\n\n\\restrict aB3\n\nselect 1 as one;\n\\unrestrict aB3\n",
        );
        let ended = ask(&service, &["--batch", "file.sql", "--format", "csv"]);
        assert_eq!((ended.status, ended.out.as_str()), (Some(0), "one\n1\n"), "{ended:?}");
    }
    let ended = ask(&service, &["--batch", "other.sql"]);
    assert!(ended.err.starts_with("error: other.sql cannot be read: No such file"), "{ended:?}");

    let mut command = rowgate(service.server.directory());
    command.args(["query", "--batch", "-", "--format", "csv", "--address"]);
    command.arg(service.server.grpc().to_string()).stdin(Stdio::piped());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut input = child.stdin.take().expect("the pipe was asked for");
    input.write_all(b"select 1 as one;").expect("it reads");
    drop(input);
    let ended = Ended::from(child.wait_with_output().expect("it ends"));
    assert_eq!((ended.status, ended.out.as_str(), ended.err.as_str()), (Some(0), "one\n1\n", ""));
}

async fn an_output_that_cannot_be_written_does_not_hide_what_was_applied(service: Service) {
    service.client.must("create table t (n int)", &[]).await;
    let address = format!("http://{}", service.server.grpc());
    let insert = "insert into t values (1)";
    for (arguments, outcome) in [
        (&["query", insert][..], "APPLIED"),
        (&["query", "--batch", "-"], "APPLIED"),
        (&["query", "--batch", "-", "--dry-run"], "NOT_APPLIED"),
        (&["sql"], "UNKNOWN"),
    ] {
        let mut command = rowgate(service.server.directory());
        command.args(arguments).args(["--address", &address]).stdin(Stdio::piped());
        let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") else {
            return eprintln!("SKIPPED: this system has no device that is full");
        };
        command.stdout(full).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it runs");
        let mut input = child.stdin.take().expect("the pipe was asked for");
        drop(input.write_all(format!("{insert};\n").as_bytes()));
        drop(input);
        let ended = Ended::from(child.wait_with_output().expect("it ends"));
        let outcome = format!("\n  outcome: {outcome}, ");
        assert_eq!(ended.status, Some(1), "{arguments:?}");
        assert!(ended.err.starts_with("error: output cannot be written: "), "{}", ended.err);
        assert!(ended.err.contains(&outcome), "{arguments:?}: {}", ended.err);
        assert_eq!(ended.err.lines().count(), 2, "{arguments:?}: {}", ended.err);
    }
    assert_eq!(count(&service).await, Value::int64(3), "the dry run alone was rolled back");
}

async fn an_output_that_is_closed_early_is_no_success(service: Service) {
    service.client.must("create table t (n int)", &[]).await;
    let many = "with recursive c(x) as (select 1 union all select x + 1 from c where x < 50000) \
                select x, 'so that no pipe holds all of it' from c";
    let script = format!("{many};\ninsert into t values (1);\n");
    let address = format!("http://{}", service.server.grpc());
    for arguments in [&["query", "--format", "csv", many][..], &["sql"]] {
        let mut command = rowgate(service.server.directory());
        command.args(arguments).args(["--address", &address]).stdin(Stdio::piped());
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        drop(child.stdout.take());
        let mut input = child.stdin.take().expect("the pipe was asked for");
        // What reads no input may have ended by now.
        drop(input.write_all(script.as_bytes()));
        drop(input);
        let ended = Ended::from(child.wait_with_output().expect("it ends"));
        assert_eq!((ended.status, ended.err.as_str()), (Some(141), ""), "{arguments:?}");
    }
    assert_eq!(count(&service).await, Value::int64(0), "the rest of the script did not run");
}
