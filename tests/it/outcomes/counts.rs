//! The rows that a command counts, and values at the edge of their type.

use rowgate::value::proto::expectation::Rows;
use rowgate::value::proto::{BatchStatement, ExecuteBatchRequest, Expectation, Value};

use crate::harness::client::request;
use crate::harness::unit::{batch, statement};
use crate::harness::{Backend, Service};

#[tokio::test]
async fn rows_affected_is_the_count_of_the_command() {
    let service = Service::start(Backend::Postgres).await;
    let client = &service.client;
    client.must("create table t as select g as id from generate_series(1, 5) g", &[]).await;
    client.must("create table empty ()", &[]).await;
    client.must("insert into empty default values", &[]).await;
    let file = service.postgres().directory().join("t.copy").display().to_string();
    let (to, from) = (format!("copy t to '{file}'"), format!("copy t from '{file}'"));
    let cases = [
        ("create table a as select * from t", "SELECT", 5),
        ("select id into b from t where id < 4", "SELECT", 3),
        ("create table c as values (1), (2)", "SELECT", 2),
        ("create table d as table t with no data", "CREATE TABLE AS", 0),
        ("create materialized view e as select * from t", "SELECT", 5),
        (&to, "COPY", 5),
        ("copy (select 1) to program 'cat >/dev/null'", "COPY", 1),
        (&from, "COPY", 5),
        ("insert into t values (1), (2)", "INSERT", 2),
        ("update t set id = id + 1 where id = 1", "UPDATE", 3),
        ("select id from t", "SELECT", 0),
        ("select from empty", "SELECT", 0),
        ("table t", "SELECT", 0),
        ("values (1), (2)", "SELECT", 0),
        ("with x as (delete from t returning 1) select * from x", "SELECT", 0),
        ("refresh materialized view e", "REFRESH MATERIALIZED VIEW", 0),
        ("truncate t", "TRUNCATE TABLE", 0),
    ];
    for (sql, command, rows) in cases {
        let result = client.must(sql, &[]).await;
        assert_eq!((result.command.as_str(), result.rows_affected), (command, rows), "{sql}");
    }
    client.must("insert into t select generate_series(1, 9)", &[]).await;
    let streamed = client.stream(request("create table f as table t", &[])).await;
    let summary = streamed.expect("it runs").summary.expect("it has one");
    assert_eq!((summary.rows_affected, summary.row_count), (9, 0));
    let cursor = "declare c cursor for select id from t";
    for (sql, rows) in [("move 3 in c", 3), ("fetch 2 from c", 0), ("move all in c", 4)] {
        let mut transaction = client.begin().await;
        transaction.query(cursor, &[]).await.expect("it is declared");
        if rows == 4 {
            transaction.query("move 5 in c", &[]).await.expect("it moves");
        }
        let result = transaction.query(sql, &[]).await.expect("it runs");
        assert_eq!(result.rows_affected, rows, "{sql}");
    }
}

#[tokio::test]
async fn an_expectation_counts_what_the_command_counts() {
    let service = Service::start(Backend::Postgres).await;
    let client = &service.client;
    client.must("create table t as select g as id from generate_series(1, 5) g", &[]).await;
    let expecting = |sql: &str, count| {
        let expect = Some(Expectation { rows: Some(Rows::Exactly(count)) });
        BatchStatement { expect, ..statement(sql, &[]) }
    };
    let unit = |statements: Vec<BatchStatement>| ExecuteBatchRequest { statements, ..batch(&[]) };
    let statements = vec![
        expecting("create table a as select * from t", 5),
        expecting("copy a to '/dev/null'", 5),
        expecting("select * into b from a where id < 3", 2),
        expecting("select id from b", 0),
    ];
    let answer = client.batch(unit(statements)).await.expect("all are met");
    let counts: Vec<u64> = answer.results.iter().map(|result| result.rows_affected).collect();
    assert_eq!(counts, [5, 5, 2, 0]);
    let wrong = unit(vec![expecting("create table c as select * from t", 4)]);
    let failure = client.batch(wrong).await.expect_err("it is missed");
    assert_eq!(failure.reason, "EXPECTATION_FAILED", "{failure:?}");
}

#[tokio::test]
async fn an_interval_at_the_edge_is_what_the_database_prints() {
    let service = Service::start(Backend::Postgres).await;
    // Before PostgreSQL 15 an interval of more hours is neither read nor printed.
    let [least, most] = if service.postgres().major() < 15 {
        [
            "'-2147483648 months -2147483648 days -2000000000 hours'::interval",
            "'2147483647 months 2147483647 days 2000000000 hours'::interval",
        ]
    } else {
        [
            "'-2147483648 months -2147483648 days -9223372036854775808 us'::interval",
            "'2147483647 months 2147483647 days 9223372036854775807 us'::interval",
        ]
    };
    for interval in [least, most, "'1 year -2 days 3 us'::interval"] {
        let sql = format!(
            "select {interval}, {interval}::text, array[{interval}]::text[], array[{interval}]"
        );
        let result = service.client.must(&sql, &[]).await;
        let values = &result.rows[0].values;
        assert_eq!(values[0], values[1], "{interval}");
        assert_eq!(values[3], values[2], "{interval}");
        let domain = format!("select row({interval}), '{{}}'::interval[] || {interval}");
        let result = service.client.must(&domain, &[]).await;
        assert_ne!(result.rows[0].values[1], Value::null(), "{interval}");
    }
}
