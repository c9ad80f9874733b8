//! Statements of standard input and of files.

use std::fs;
use std::io::Write as _;
use std::process::{Output, Stdio};

use super::{READY, command, prompt};
use crate::harness::mariadb::is_mysql;
use crate::harness::server::run;
use crate::harness::{Backend, Service};

/// The end of a script on standard input.
fn scripted(service: &Service, script: &str) -> (Option<i32>, String, String) {
    let mut command = command(service, &["main"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary was built");
    child.stdin.take().expect("it is piped").write_all(script.as_bytes()).expect("it reads");
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

#[tokio::test]
async fn a_script_runs_in_order_up_to_the_first_error() {
    for backend in [Backend::Sqlite, Backend::Postgres, Backend::Mariadb] {
        let service = Service::start(backend).await;
        let script = "create table t (id int primary key);\nbegin;\ninsert into t\n values (1);\n\
                      commit; select id from t;\n\ninsert into t values (1);\ninsert into t values (2);\n";
        let (code, out, err) = scripted(&service, script);
        assert_eq!(code, Some(1), "{err}");
        assert!(out.starts_with("CREATE TABLE\nBEGIN\nINSERT: 1 row affected\nCOMMIT\n┌"), "{out}");
        assert!(err.contains("outcome: NOT_APPLIED") && err.ends_with("at line 7\n"), "{err}");
        assert_eq!(service.client.must("select id from t", &[]).await.rows.len(), 1);
        // The last statement needs no semicolon.
        let (code, out, err) = scripted(&service, "select 40 + 2 as answer");
        assert_eq!((code, err.as_str()), (Some(0), ""));
        assert!(out.contains("42"), "{out}");
    }
}

#[tokio::test]
async fn bodies_of_routines_hold_semicolons_on_each_database() {
    let service = Service::start(Backend::Mariadb).await;
    let script = "DELIMITER //\ncreate procedure p()\nbegin\n  select 1;\n  select 42 as answer;\nend//\nDELIMITER ;\n\
                  select routine_name from information_schema.routines where routine_name = 'p';\n";
    let (code, out, err) = scripted(&service, script);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("│ p "), "{out}");
    let service = Service::start(Backend::Postgres).await;
    let script = "create function f() returns int language plpgsql as $$\nbegin\n  return 42;\nend $$;\nselect f();";
    assert!(scripted(&service, script).1.contains("42"));
    let service = Service::start(Backend::Sqlite).await;
    let script = "create table t (a);\ncreate trigger r after insert on t begin\n  delete from t where a = 1;\nend;\n\
                  insert into t values (1), (42);\nselect a from t;";
    assert!(scripted(&service, script).1.contains("│ 42 │\n└────┘\n(1 row)"));
}

#[tokio::test]
async fn what_is_not_whole_is_not_run() {
    let service = Service::start(Backend::Sqlite).await;
    service.client.must("create table t (id int primary key)", &[]).await;
    let (code, _, err) = scripted(&service, "begin;\ninsert into t values (1);\n");
    assert_eq!(code, Some(1));
    assert!(err.contains("the open transaction is rolled back"), "{err}");
    let (code, _, err) = scripted(&service, "insert into t values (1), ('a");
    assert_eq!((code, err.as_str()), (Some(1), "error: line 1: a string does not end\n"));
    let (code, _, err) = scripted(&service, "\n\\nope\ninsert into t values (1);");
    assert_eq!(
        (code, err.as_str()),
        (Some(1), "error: line 2: \\nope is no command; \\? lists them\n")
    );
    assert_eq!(service.client.must("select id from t", &[]).await.rows.len(), 0);
}

#[tokio::test]
async fn a_statement_on_the_command_line_is_that_of_query() {
    let service = Service::start(Backend::Sqlite).await;
    for flag in ["-c", "--command"] {
        let output = command(&service, &[flag, "select 1"]).output().expect("it runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains("hint: `rowgate query SQL`"), "{told}");
    }
}

#[tokio::test]
async fn files_are_included_and_results_go_to_files() {
    let service = Service::start(Backend::Sqlite).await;
    let at = |name: &str| service.server.directory().join(name);
    fs::write(at("inner.sql"), "insert into t values (2);\n").expect("it is ours");
    let outer = "create table t (id int);\n\\i inner.sql\nselect nope;\ninsert into t values (3);";
    fs::write(at("outer.sql"), outer).expect("it is ours");
    fs::write(at("circle.sql"), "\\i circle.sql\n").expect("it is ours");
    let mut terminal = prompt(&service, &[]);
    terminal.ask("\\i outer.sql", "at outer.sql, line 3", READY);
    terminal.ask("\\i circle.sql", "files include one another", READY);
    terminal.ask("\\i none.sql", "none.sql cannot be read", READY);
    terminal.ask("\\o | cat", "error: \\o writes to a file, not to a program", READY);
    assert!(!at("| cat").exists());
    terminal.ask("\\d main.t", "table t", READY);
    terminal.ask("\\o result.txt", "", READY);
    terminal.line("select id from t;");
    terminal.expect(READY);
    terminal.ask("\\o", "", READY);
    terminal.ask("select 4711 as number;", "4711", READY);
    let written = fs::read_to_string(at("result.txt")).expect("it was written");
    assert!(written.contains(" 2 │\n") && written.ends_with("(1 row)\n"), "{written}");
}

/// The most memory that a process has had at once, in KiB; `None` where there is no /proc to tell it.
fn peak(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    Some(peak.trim_end_matches("kB").trim().parse().expect("a number"))
}

#[tokio::test]
async fn memory_does_not_grow_with_a_result() {
    let service = Service::start(Backend::Postgres).await;
    let mut terminal = prompt(&service, &[]);
    terminal.ask("\\o /dev/null", "", READY);
    let mut peaks = Vec::new();
    // 20 and 100 MB of text.
    for rows in [40_000, 200_000] {
        let sql = format!("select g, repeat('x', 500) as text from generate_series(1, {rows}) g;");
        terminal.line(&sql);
        terminal.expect("g;\n");
        terminal.expect(READY);
        peaks.extend(peak(terminal.pid()));
    }
    if let [small, large] = peaks[..] {
        assert!(large < small + (16 << 10), "{peaks:?} KiB");
    }
}

#[tokio::test]
async fn executable_comments_of_mysql_run_or_are_refused() {
    let service = Service::start(Backend::Mariadb).await;
    let script = "create table t (id int primary key);\n/*!50003 insert into t values (1) */;\n\
                  insert into t values /*M! (20), */ (2);\nDELIMITER // -- x\n\
                  /*!50003 create procedure p() begin insert into t values (3); insert into t values (4); end */ //\n\
                  DELIMITER ;\ncall p();\n/*!99999 nonsense */;\n";
    let (code, out, err) = scripted(&service, script);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    let (_, out, _) =
        scripted(&service, "select group_concat(id order by id) as ids from t where id < 5;");
    assert!(out.contains("1,2,3,4"), "{out}");
    if !is_mysql() {
        let script = "set statement max_statement_time = 5 for select 40 + 2 as answer;";
        let (code, out, err) = scripted(&service, script);
        assert_eq!((code, err.as_str()), (Some(0), ""));
        assert!(out.contains("│     42 │"), "{out}");
    }
    for (script, expected) in [
        (
            "/*!50003 insert into t values (5); insert into t values (6) */;",
            "more than one statement",
        ),
        ("/*!50003 commit */;", "COMMIT controls"),
        ("insert into t values (5) /*! ;", "a comment does not end"),
    ] {
        let (code, _, err) = scripted(&service, script);
        assert_eq!(code, Some(1), "{script}");
        assert!(err.contains(expected), "{script}: {err}");
    }
}

#[tokio::test]
async fn an_executable_comment_in_a_batch_is_not_left_out() {
    let service = Service::start(Backend::Mariadb).await;
    service.client.must("create table t (id int primary key)", &[]).await;
    // In one transaction, a statement that the server may skip is refused, and nothing is left out.
    let batch = "insert into t values (7);\n/*!50003 insert into t values (8) */;\ninsert into t values (9);";
    fs::write(service.server.directory().join("batch.sql"), batch).expect("it is ours");
    let address = service.server.grpc().to_string();
    let ended = run(
        service.server.directory(),
        &["query", "--address", &address, "--batch", "batch.sql"],
        &[],
    );
    let err = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{err}");
    assert!(err.contains("statement 2, line 2"), "{err}");
    let (_, out, _) = scripted(&service, "select count(*) as n from t where id between 5 and 9;");
    assert!(out.contains("│ 0 │"), "{out}");
}
