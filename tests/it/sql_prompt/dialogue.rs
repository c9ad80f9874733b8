//! Statements, their results and their errors; history, completion and Ctrl-C.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use super::{READY, command, prompt, wide_prompt};
use crate::harness::client::PATIENCE;
use crate::harness::terminal::{CTRL_C, CTRL_D, ENTER, Terminal, UP};
use crate::harness::wait::{eventually_async, idle_for};
use crate::harness::{Backend, Service};

#[tokio::test]
async fn statements_continue_until_their_semicolon() {
    let service = Service::start(Backend::Sqlite).await;
    let mut terminal = prompt(&service, &["main"]);
    terminal.line("select 40");
    terminal.expect("main-> ");
    terminal.line("+ 2 as answer, '");
    terminal.expect("main'> ");
    terminal.line("; \\q' as text; select 7 * 6");
    terminal.expect("42");
    terminal.expect("main-> ");
    terminal.ask("as other;", "42", READY);
    terminal.line("\\q");
    assert!(terminal.exit().success());
}

#[tokio::test]
async fn null_is_told_apart_from_texts_and_long_rows_are_expanded() {
    let service = Service::start(Backend::Sqlite).await;
    let mut terminal = wide_prompt(&service, &[], 60);
    let row = "│ NULL ┆ 'NULL' ┆   ┆ 1 │";
    terminal.ask("select null as a, 'NULL' as b, '' as c, 1 as d;", row, READY);
    terminal.ask("\\x", "expanded output is on", READY);
    terminal.ask("select 1 as one, '漢字' as two;", "─[ 1 ]─", READY);
    terminal.ask("\\x auto", "where a table would not fit", READY);
    let columns: Vec<_> = (0..9).map(|n| format!("{n} as column_number_{n}")).collect();
    let text = format!("select {};", columns.join(", "));
    terminal.ask(&text, "column_number_8 │ 8\n(1 row)", READY);
    terminal.ask("\\x off", "expanded output is off", READY);
    terminal.line("select '");
    terminal.expect("main'> ");
    let shown = terminal.ask(&format!("{}' as long;", "word ".repeat(40)), "(1 row)", READY);
    let table = shown.lines().filter(|line| line.starts_with('│'));
    assert!(table.clone().count() > 3, "{shown}");
    assert!(table.into_iter().all(|line| line.chars().count() <= 60), "{shown}");
}

#[tokio::test]
async fn errors_have_their_place_their_sqlstate_and_their_outcome() {
    let service = Service::start(Backend::Postgres).await;
    let mut terminal = prompt(&service, &[]);
    terminal.line("select 1,");
    terminal.expect("main-> ");
    terminal.line("  nope;");
    terminal.expect("error: column \"nope\" does not exist\n");
    terminal.expect("  line 2:   nope\n            ^\n");
    terminal.expect("sqlstate: 42703\n");
    terminal.expect("outcome: NOT_APPLIED, nothing was changed\n");
    terminal.expect(READY);
    terminal.ask("\\nope", "error: \\nope is no command; \\? lists them", READY);
    terminal.ask(
        "set work_mem = '1MB';",
        "hint: Start the prompt with --setting NAME=VALUE",
        READY,
    );
    terminal.ask("copy t from stdin;", "hint: Use `rowgate copy TABLE --from FILE`", READY);
    terminal.ask("\\?", "describe a table or view", READY);
    terminal.ask("\\timing", "timing is on", READY);
    terminal.ask("select 5;", "time: ", READY);
    terminal.ask("\\c nope", "error: there is no database \"nope\"", READY);
    terminal.ask("\\l", "│ main     ┆ PostgreSQL", READY);
    // What was pasted behind an error is not run.
    terminal.press("\x1b[200~select 1/0;\ncreate table pasted (a int);\x1b[201~");
    terminal.press(ENTER);
    terminal.expect("division by zero");
    terminal.expect("the lines behind it were not run");
    terminal.expect(READY);
    service.client.must_fail("select * from pasted", &[]).await;
}

/// Lines that arrive at once, as a terminal sends a paste that it does not mark as one.
#[tokio::test]
async fn lines_that_arrive_at_once_run_in_order_and_none_is_lost() {
    let service = Service::start(Backend::Sqlite).await;
    service.client.must("create table t (id int primary key)", &[]).await;
    service.client.must("insert into t values (1), (2), (3)", &[]).await;
    let mut terminal = prompt(&service, &[]);
    terminal.press("delete from t\nwhere id = 1;\n");
    terminal.expect("DELETE: 1 row affected");
    terminal.expect(READY);
    terminal.press("select 11 as a;\nselect 22 as b;\nselect 'größer' as c;\n");
    for shown in ["│ 11 │", "│ 22 │", "│ größer │"] {
        terminal.expect(shown);
    }
    terminal.expect(READY);
    terminal.press("begin;\ninsert into t values (4);\ninsert into t\n values (5);\ncommit;\n");
    for told in ["BEGIN\n", "INSERT: 1 row affected", "INSERT: 1 row affected", "COMMIT\n", READY] {
        terminal.expect(told);
    }
    // More than the editor reads at once.
    let many: Vec<_> = (10..70).map(|id| format!("insert into t values ({id});\n")).collect();
    terminal.press(&many.concat());
    for _ in &many {
        terminal.expect("INSERT: 1 row affected");
    }
    terminal.press("sel");
    terminal.ask("ect count(*), min(id) from t;", "│       64 ┆       2 │", READY);
}

#[tokio::test]
async fn names_are_completed_on_each_database() {
    for backend in [Backend::Sqlite, Backend::Postgres, Backend::Mariadb] {
        let service = Service::start(backend).await;
        let table = "create table order_items (id int primary key, stock_number int)";
        service.client.must(table, &[]).await;
        service.client.must("insert into order_items values (1, 4711)", &[]).await;
        let mut terminal = prompt(&service, &[]);
        terminal.press("sel");
        terminal.complete("select");
        terminal.press(" sto");
        terminal.complete("stock_number");
        terminal.press(" from ord");
        terminal.complete("order_items");
        terminal.ask(";", "4711", READY);
        terminal.press("\\d ord");
        terminal.complete("order_items");
        terminal.ask("", "│ stock_number ┆", READY);
        terminal.press("\\ti");
        terminal.complete("timing");
        terminal.ask("", "timing is on", READY);
    }
}

#[tokio::test]
async fn ctrl_c_cancels_the_statement_that_runs_and_clears_the_line() {
    let service = Service::start(Backend::Postgres).await;
    let sleeping = "select count(*)::int from pg_stat_activity where state = 'active' and query like 'select pg_sleep%'";
    let sleeps = async |count: &str| {
        eventually_async("the statement's state", PATIENCE, async || {
            let found = service.postgres().psql(sleeping);
            (found.trim() == count).then_some(())
        })
        .await;
    };
    let mut terminal = prompt(&service, &[]);
    terminal.line("select pg_sleep(60);");
    sleeps("1").await;
    terminal.press(CTRL_C);
    terminal.expect("error: the statement was cancelled");
    terminal.expect("outcome: UNKNOWN, a change may have been applied or not");
    terminal.expect(READY);
    sleeps("0").await;
    terminal.line("select 1");
    terminal.expect("main-> ");
    terminal.press("+ 1");
    terminal.press(CTRL_C);
    terminal.expect(READY);
    terminal.ask("select 21 * 2;", "42", READY);
    terminal.ask("\\watch 60", "42", "(1 row)");
    terminal.press(CTRL_C);
    terminal.expect(READY);
    terminal.press(CTRL_D);
    assert!(terminal.exit().success());
}

#[tokio::test]
async fn a_cancelled_query_of_sqlite_has_certainly_changed_nothing() {
    let service = Service::start(Backend::Sqlite).await;
    let mut terminal = prompt(&service, &[]);
    let endless =
        "with recursive r(n) as (select 1 union all select n + 1 from r) select count(*) from r;";
    terminal.line(endless);
    terminal.expect("from r;\n");
    idle_for(Duration::from_millis(300)).await;
    terminal.press(CTRL_C);
    terminal.expect("error: the statement was cancelled");
    terminal.expect("outcome: NOT_APPLIED, nothing was changed");
    terminal.expect(READY);
}

#[tokio::test]
async fn a_cancelled_query_of_postgres_is_unknown_unless_the_catalogs_say_that_it_reads() {
    let service = Service::start(Backend::Postgres).await;
    for sql in [
        "create table t (a int)",
        "insert into t select generate_series(1, 100000)",
        "create view v as select a from t",
    ] {
        service.client.must(sql, &[]).await;
    }
    let mut terminal = prompt(&service, &[]);
    let mut cancelled = async |from: &str, outcome: &str| {
        let sql = format!("select count(*) from {from} x, t y, t z where x.a + y.a + z.a < 0;");
        terminal.line(&sql);
        terminal.expect("< 0;\n");
        idle_for(Duration::from_millis(300)).await;
        terminal.press(CTRL_C);
        terminal.expect("error: the statement was cancelled");
        terminal.expect(outcome);
        terminal.expect(READY);
    };
    cancelled("t", "outcome: NOT_APPLIED, nothing was changed").await;
    cancelled("v", "outcome: UNKNOWN").await;
    let policies = |word: &str| format!("alter table t {word} row level security");
    service.client.must(&policies("enable"), &[]).await;
    cancelled("t", "outcome: UNKNOWN").await;
    service.client.must(&policies("disable"), &[]).await;
    cancelled("t", "outcome: NOT_APPLIED").await;
    // `x.a` may call it.
    service.client.must("create function a(int) returns int language sql as 'select 1'", &[]).await;
    cancelled("t", "outcome: UNKNOWN").await;
}

#[tokio::test]
async fn statements_are_kept_for_the_next_prompt_unless_they_are_secret() {
    let service = Service::start(Backend::Sqlite).await;
    let mut terminal = prompt(&service, &[]);
    terminal.line("select 4711");
    terminal.expect("main-> ");
    terminal.ask("as number;", "4711 ", READY);
    terminal.ask(" select 'blank';", "│ blank ", READY);
    terminal.ask("select 'x' as password;", "│ x ", READY);
    terminal.line("\\q");
    assert!(terminal.exit().success());
    let file = service.server.directory().join(".local/state/rowgate/history");
    let kept = std::fs::read_to_string(&file).expect("it was written");
    assert_eq!(kept, "#V2\nselect 4711\\nas number;\n\\\\q\n");
    let mode = std::fs::metadata(&file).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut terminal = prompt(&service, &[]);
    terminal.press(UP);
    terminal.press(UP);
    terminal.ask("", "4711 ", READY);
    let mut secret = command(&service, &[]);
    secret.env("ROWGATE_HISTORY", "");
    let mut terminal = Terminal::start(&secret, 80);
    terminal.expect(READY);
    terminal.ask("select 'unseen' as a;", "│ unseen │", READY);
    let kept = std::fs::read_to_string(&file).expect("it is there");
    assert!(!kept.contains("unseen"), "{kept}");
}

#[tokio::test]
async fn a_server_that_ends_meanwhile_is_told_and_the_prompt_goes_on() {
    let mut service = Service::start(Backend::Sqlite).await;
    let mut terminal = prompt(&service, &[]);
    service.server.signal("TERM");
    service.server.wait_for_exit(Duration::from_secs(30));
    // The first may find the connection closed only now; none of those behind it is sent.
    terminal.ask("select 1;", "error: ", READY);
    let address = service.server.grpc();
    for line in ["select 1;", "insert into t values (1);", "begin;"] {
        let told = terminal.ask(line, "outcome: NOT_APPLIED, nothing was changed", "=> ");
        let why = format!("error: cannot connect to http://{address}: ");
        assert!(told.contains(&why) && told.contains("nothing listens there"), "{told}");
    }
    terminal.line("\\q");
    assert!(terminal.exit().success());
}
