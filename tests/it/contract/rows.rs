//! Rows, columns, and what a statement says of itself.

use rowgate::value::proto::{DataType, ResultSet, Value};

use super::contract;
use crate::harness::Service;
use crate::harness::client::{PATIENCE, request};

contract! {
    rows_come_in_order_with_their_columns
    null_is_null
    empty_text_and_empty_bytes_are_not_null
    column_names_may_repeat
    a_column_says_its_type
    no_rows_still_have_columns
    a_statement_without_a_result_says_so
    returned_rows_come_with_the_count
    rows_affected_counts_changes_and_not_reads
    the_command_is_named
    a_statement_that_succeeds_at_once_took_one_attempt
    a_write_is_seen_by_the_next_call
    a_trailing_semicolon_is_no_second_statement
}

fn names(result: &ResultSet) -> Vec<&str> {
    result.columns.iter().map(|column| column.name.as_str()).collect()
}

fn values(result: &ResultSet) -> Vec<&[Value]> {
    result.rows.iter().map(|row| row.values.as_slice()).collect()
}

async fn rows_come_in_order_with_their_columns(service: Service) {
    let sql = "select 1 as number, 'one' as name union all select 2, 'two' order by 1";
    let result = service.client.must(sql, &[]).await;
    assert!(result.has_columns);
    assert_eq!(names(&result), ["number", "name"]);
    let wanted = [[Value::int64(1), Value::text("one")], [Value::int64(2), Value::text("two")]];
    assert_eq!(values(&result), wanted);
}

async fn null_is_null(service: Service) {
    let result = service.client.must("select null as missing", &[]).await;
    assert_eq!(values(&result), [[Value::null()]]);
}

async fn empty_text_and_empty_bytes_are_not_null(service: Service) {
    let bytes = service.pick("x''", "''::bytea", "x''");
    let result = service.client.must(&format!("select '', {bytes}"), &[]).await;
    assert_eq!(values(&result), [[Value::text(""), Value::bytes([])]]);
}

async fn column_names_may_repeat(service: Service) {
    let result = service.client.must("select 1 as a, 2 as a, 3 as a", &[]).await;
    assert_eq!(names(&result), ["a", "a", "a"]);
    assert_eq!(values(&result), [[Value::int64(1), Value::int64(2), Value::int64(3)]]);
}

async fn a_column_says_its_type(service: Service) {
    let sql = "create table typed (whole bigint, words text, fraction double precision, raw ";
    let raw = service.pick("blob)", "bytea)", "blob)");
    service.client.must(&format!("{sql}{raw}"), &[]).await;
    let result = service.client.must("select * from typed", &[]).await;
    let types: Vec<_> = result.columns.iter().map(rowgate::value::Column::r#type).collect();
    let wanted = [DataType::Int64, DataType::Text, DataType::Float64, DataType::Bytes];
    assert_eq!(types, wanted);
    let type_names: Vec<_> =
        result.columns.iter().map(|column| column.type_name.as_str()).collect();
    let wanted = service.pick(
        ["bigint", "text", "double precision", "blob"],
        ["int8", "text", "float8", "bytea"],
        ["bigint", "text", "double", "blob"],
    );
    assert_eq!(lower(&type_names), wanted);
}

/// Declared types keep the case in which they were written.
fn lower(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| name.to_lowercase()).collect()
}

async fn no_rows_still_have_columns(service: Service) {
    let result = service.client.must("select 1 as one, 'a' as a where 1 = 0", &[]).await;
    assert!(result.has_columns);
    assert_eq!(names(&result), ["one", "a"]);
    assert!(result.rows.is_empty());
}

async fn a_statement_without_a_result_says_so(service: Service) {
    service.client.must("create table t (id integer primary key)", &[]).await;
    let result = service.client.must("insert into t values (1), (2)", &[]).await;
    assert!(!result.has_columns);
    assert!(result.columns.is_empty());
    assert!(result.rows.is_empty());
    assert_eq!(result.rows_affected, 2);
}

async fn returned_rows_come_with_the_count(service: Service) {
    service.client.must("create table t (id integer primary key)", &[]).await;
    let sql = "insert into t values (1), (2), (3) returning id";
    let result = service.client.must(sql, &[]).await;
    assert!(result.has_columns);
    assert_eq!(values(&result), [[Value::int64(1)], [Value::int64(2)], [Value::int64(3)]]);
    assert_eq!((result.rows_affected, result.command.as_str()), (3, "INSERT"));
}

async fn rows_affected_counts_changes_and_not_reads(service: Service) {
    service.client.must("create table t (id integer primary key, n integer)", &[]).await;
    for (sql, wanted) in [
        ("insert into t values (1, 0), (2, 0), (3, 0)", 3),
        ("update t set n = 1 where id < 3", 2),
        ("update t set n = 1 where id > 3", 0),
        ("select * from t", 0),
        ("delete from t where id = 2", 1),
        ("delete from t", 2),
        ("delete from t", 0),
        ("select 1", 0),
    ] {
        assert_eq!(service.client.must(sql, &[]).await.rows_affected, wanted, "{sql}");
    }
}

async fn the_command_is_named(service: Service) {
    let standard = "with a as (select 5 as id) insert into t select id from a";
    let own = "insert into t with a as (select 5 as id) select id from a";
    for (sql, wanted) in [
        ("create table t (id integer primary key)", "CREATE TABLE"),
        ("insert into t values (1)", "INSERT"),
        ("update t set id = 2", "UPDATE"),
        ("select * from t", "SELECT"),
        ("with a as (select 1) select * from a", "SELECT"),
        (service.pick(standard, standard, own), "INSERT"),
        ("delete from t", "DELETE"),
        ("create index t_id on t (id)", "CREATE INDEX"),
        ("drop table t", "DROP TABLE"),
    ] {
        assert_eq!(service.client.must(sql, &[]).await.command, wanted, "{sql}");
    }
}

async fn a_statement_that_succeeds_at_once_took_one_attempt(service: Service) {
    let response = service.client.call(request("select 1", &[]), PATIENCE).await;
    assert_eq!(response.expect("it succeeds").attempts, 1);
}

async fn a_write_is_seen_by_the_next_call(service: Service) {
    service.client.must("create table t (id integer primary key)", &[]).await;
    for id in 1..=20 {
        service.client.must("insert into t values ($1)", &[Value::int64(id)]).await;
        let result = service.client.must("select count(*) from t", &[]).await;
        assert_eq!(values(&result), [[Value::int64(id)]]);
    }
}

async fn a_trailing_semicolon_is_no_second_statement(service: Service) {
    for sql in ["select 1;", "select 1 ; ", "select 1; -- done", "/* first */ select 1;\n"] {
        let result = service.client.must(sql, &[]).await;
        assert_eq!(values(&result), [[Value::int64(1)]], "{sql}");
    }
}
