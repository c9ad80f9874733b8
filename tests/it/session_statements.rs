//! Statements whose effect is the session's: what works in which call is what docs/TRANSACTIONS.md says.

use rowgate::value::proto::Value;
use tonic::Code;

use crate::harness::client::{Failure, read_only, request, request_with};
use crate::harness::unit::{batch, keyed};
use crate::harness::{Backend, Service};

const PAGE: &str = include_str!("../../docs/TRANSACTIONS.md");

/// A row of the page's table: a statement, and the cells of Query, ExecuteBatch and Transact.
struct Documented {
    sql: &'static str,
    cells: [&'static str; 3],
}

/// The rows of PostgreSQL, and those of MySQL and MariaDB.
fn documented() -> [Vec<Documented>; 2] {
    let (_, section) = PAGE.split_once("## Statements of the session").expect("it has the section");
    let section = section.split("\n## ").next().expect("it has text");
    let (postgres, mysql) = section.split_once("\n### MySQL").expect("it has both tables");
    [postgres, mysql].map(rows)
}

fn rows(section: &'static str) -> Vec<Documented> {
    let rows = section.lines().filter_map(|line| {
        let (sql, cells) = line.strip_prefix("| `")?.split_once("` | ")?;
        let cells: Vec<_> = cells.trim_end_matches(" |").split(" | ").collect();
        Some(Documented { sql, cells: cells.try_into().expect("three calls") })
    });
    rows.collect()
}

/// The cell that a result belongs into.
fn cell<T>(result: Result<T, Failure>) -> &'static str {
    let Err(failure) = result else { return "works" };
    assert_eq!(failure.what(), (Code::InvalidArgument, "SESSION_STATE"), "{failure:?}");
    assert_eq!(failure.outcome, "NOT_APPLIED");
    assert!(failure.fields()[0].ends_with("sql"), "{failure:?}");
    "refused"
}

#[tokio::test]
async fn each_call_takes_and_refuses_what_the_page_says() {
    let service = Service::start(Backend::Postgres).await;
    let client = &service.client;
    let [rows, _] = documented();
    assert!(rows.len() > 20, "the table is found");
    let mut transaction = client.begin().await;
    for Documented { sql, cells } in rows {
        let one = cell(client.query(sql, &[]).await);
        assert_eq!(cell(client.stream(request(sql, &[])).await), one, "{sql}");
        assert_eq!(cell(client.run(request_with(sql, read_only())).await), one, "{sql}");
        let many = cell(client.batch(batch(&["select 1", sql])).await);
        let inside = cell(transaction.query(sql, &[]).await);
        assert_eq!([one, many, inside], cells, "{sql}");
    }
    transaction.commit().await.expect("nothing has failed");
    let left = "select (select count(*) from pg_locks where locktype = 'advisory') \
        + (select count(*) from pg_prepared_statements where from_sql) \
        + (select count(*) from pg_cursors where is_holdable)";
    for _ in 0..20 {
        assert_eq!(client.must(left, &[]).await.rows[0].values, [Value::int64(0)]);
    }
}

#[tokio::test]
async fn a_refusal_says_what_works_and_comes_before_anything_runs() {
    let service = Service::start(Backend::Postgres).await;
    let client = &service.client;
    client.must("create table t (id integer)", &[]).await;
    let sql = "insert into t select 1 where pg_try_advisory_lock(42)";
    let failure = client.must_fail(sql, &[]).await;
    assert_eq!(failure.what(), (Code::InvalidArgument, "SESSION_STATE"), "{failure:?}");
    let keyed = client.run(request_with(sql, keyed("k"))).await.expect_err("it is refused");
    assert_eq!((keyed.reason.as_str(), keyed.fields()), ("SESSION_STATE", vec!["sql"]));
    let both = ["insert into t values (1)", "set search_path = x"];
    let failure = client.batch(batch(&both)).await.expect_err("it is refused");
    assert_eq!(failure.reason, "SESSION_STATE", "{failure:?}");
    assert_eq!(
        (failure.fields(), failure.report.failed_statement),
        (vec!["statements[1].sql"], Some(1))
    );
    assert_eq!(client.must("select count(*) from t", &[]).await.rows[0].values, [Value::int64(0)]);
}

#[tokio::test]
async fn where_they_are_allowed_they_run_and_the_next_caller_sees_nothing_of_them() {
    let settings = "session_statements = \"allow\"\n[databases.main.pool]\nmin = 1\nmax = 1";
    let service = Service::with(Backend::Postgres, settings).await;
    let client = &service.client;
    client.must("set work_mem = '1MB'", &[]).await;
    let results = client.batch(batch(&["create temp table n (id integer)", "select id from n"]));
    results.await.expect("it runs");
    let left = client.must("select to_regclass('n')::text, current_setting('work_mem')", &[]).await;
    assert_eq!(left.rows[0].values, [Value::null(), Value::text("4MB")]);
}

#[tokio::test]
async fn each_call_takes_and_refuses_on_mariadb_what_the_page_says() {
    /// As [`cell`], of a call that may have other reasons to refuse.
    fn any<T>(result: Result<T, Failure>) -> &'static str {
        match result {
            Err(failure) if failure.reason == "TRANSACTION_CONTROL" => "refused",
            other => cell(other),
        }
    }

    let service = Service::start(Backend::Mariadb).await;
    let client = &service.client;
    client.must("create table t (id int)", &[]).await;
    let [_, rows] = documented();
    assert!(rows.len() > 10, "the table is found");
    for Documented { sql, cells } in rows {
        let one = cell(client.query(sql, &[]).await);
        assert_eq!(cell(client.stream(request(sql, &[])).await), one, "{sql}");
        let many = any(client.batch(batch(&["select 1", sql])).await);
        let mut transaction = client.begin().await;
        let inside = any(transaction.query(sql, &[]).await);
        transaction.rollback().await.expect("it goes on, or was never sent");
        assert_eq!([one, many, inside], cells, "{sql}");
    }
    let left = "select @a, is_free_lock('a'), database()";
    for _ in 0..20 {
        let left = client.must(left, &[]).await;
        let expected = [Value::null(), Value::int64(1), Value::text("test")];
        assert_eq!(left.rows[0].values, expected);
    }
}
