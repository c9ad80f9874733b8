//! Errors of statements, as callers see them.

use rowgate::value::proto::{QueryRequest, Value};
use tonic::Code;

use super::contract;
use crate::harness::Service;
use crate::harness::client::{read_only, request, request_with};

contract! {
    a_syntax_error_has_its_position
    an_unknown_table_is_an_invalid_argument
    an_unknown_column_is_an_invalid_argument
    an_unknown_database_is_not_found
    an_empty_statement_is_refused
    transaction_control_is_refused
    two_statements_in_one_string_are_refused_and_neither_runs
    a_duplicate_already_exists
    a_table_that_exists_already_exists
    a_violated_constraint_is_a_failed_precondition
    errors_hold_no_row_data
    a_read_only_call_reads
    a_read_only_call_cannot_write
    a_failed_call_leaves_the_service_working
}

async fn a_syntax_error_has_its_position(service: Service) {
    let failure = service.client.must_fail("select 1 frmo nowhere at all", &[]).await;
    assert_eq!(failure.what(), (Code::InvalidArgument, "SYNTAX_ERROR"), "{failure:?}");
    // PostgreSQL blames the word after the misspelt alias, SQLite too.
    assert_eq!(failure.report.position, 15, "{failure:?}");
    assert_eq!(failure.report.sqlstate, service.pick("", "42601", "42000"));
    // Counted in characters, not in bytes: `nowhere` is an alias, so `frmo` is an unknown column. MariaDB has no
    // position for that, and blames the word after the alias.
    let unknown = "select 'ü☃', frmo nowhere";
    let (sql, position) =
        service.pick((unknown, 14), (unknown, 14), ("select 'ü☃' frmo nowhere at", 18));
    let failure = service.client.must_fail(sql, &[]).await;
    assert_eq!(failure.code, Code::InvalidArgument);
    assert_eq!(failure.report.position, position, "{failure:?}");
}

async fn an_unknown_table_is_an_invalid_argument(service: Service) {
    let failure = service.client.must_fail("select * from nowhere", &[]).await;
    assert_eq!(failure.what(), (Code::InvalidArgument, "UNDEFINED_TABLE"), "{failure:?}");
    assert!(failure.message.contains("nowhere"), "{}", failure.message);
}

async fn an_unknown_column_is_an_invalid_argument(service: Service) {
    let failure = service.client.must_fail("select nothing_of_the_kind", &[]).await;
    assert_eq!(failure.what(), (Code::InvalidArgument, "UNDEFINED_COLUMN"), "{failure:?}");
}

async fn an_unknown_database_is_not_found(service: Service) {
    let wrong = QueryRequest { database: "mian".to_owned(), ..request("select 1", &[]) };
    let failure = service.client.run(wrong).await.expect_err("there is no such database");
    assert_eq!(failure.what(), (Code::NotFound, "DATABASE_NOT_FOUND"));
    assert!(failure.message.contains("mian"), "{}", failure.message);
    let right = QueryRequest { database: "main".to_owned(), ..request("select 1", &[]) };
    service.client.run(right).await.expect("its name is main");
}

async fn an_empty_statement_is_refused(service: Service) {
    for sql in ["", "  \n"] {
        let failure = service.client.must_fail(sql, &[]).await;
        assert_eq!(failure.code, Code::InvalidArgument, "{sql:?}: {failure:?}");
        assert_eq!(failure.fields(), ["sql"], "{sql:?}: {failure:?}");
    }
    // Text without a statement in it may be refused too, or do nothing.
    for sql in [";", "-- remark", "/* remark */ ;;"] {
        match service.client.query(sql, &[]).await {
            Err(failure) => assert_eq!(failure.code, Code::InvalidArgument, "{sql:?}: {failure:?}"),
            Ok(result) => assert!(!result.has_columns && result.command.is_empty(), "{result:?}"),
        }
    }
}

async fn transaction_control_is_refused(service: Service) {
    for sql in [
        "begin",
        "BEGIN IMMEDIATE",
        "commit",
        service.pick("end", "end", "/*! commit */"),
        "rollback",
        "savepoint a",
        service.pick("release a", "release a", "release savepoint a"),
        "rollback to a",
        service.pick(
            "/* a remark */ begin",
            "/* a /* remark */ */ begin",
            "# a remark\n/* ; */ start transaction",
        ),
        "-- a remark\n  Commit;",
        ";; rollback",
        "begin; select 1",
    ] {
        let failure = service.client.must_fail(sql, &[]).await;
        let wanted = (Code::InvalidArgument, "TRANSACTION_CONTROL");
        assert_eq!(failure.what(), wanted, "{sql}: {failure:?}");
    }
}

async fn two_statements_in_one_string_are_refused_and_neither_runs(service: Service) {
    service.client.must("create table t (id integer primary key)", &[]).await;
    for sql in ["insert into t values (1); insert into t values (2)", "select 1; select 2"] {
        let failure = service.client.must_fail(sql, &[]).await;
        let wanted = (Code::InvalidArgument, "MULTIPLE_STATEMENTS");
        assert_eq!(failure.what(), wanted, "{sql}: {failure:?}");
    }
    assert!(service.client.must("select * from t", &[]).await.rows.is_empty());
}

async fn a_duplicate_already_exists(service: Service) {
    service.client.must("create table t (id integer primary key)", &[]).await;
    service.client.must("insert into t values (1)", &[]).await;
    let failure = service.client.must_fail("insert into t values (2), (1)", &[]).await;
    assert_eq!(failure.what(), (Code::AlreadyExists, "UNIQUE_VIOLATION"), "{failure:?}");
    assert_eq!(failure.outcome, "NOT_APPLIED");
    // MariaDB does not name the table.
    let nameless = service.pick(false, false, true) && !service.mariadb().is_mysql();
    assert_eq!(failure.report.table, if nameless { "" } else { "t" });
    assert_eq!(failure.report.constraint, service.pick("", "t_pkey", "PRIMARY"));
    let result = service.client.must("select count(*) from t", &[]).await;
    assert_eq!(result.rows[0].values, [Value::int64(1)]);
}

async fn a_table_that_exists_already_exists(service: Service) {
    service.client.must("create table t (id integer)", &[]).await;
    let failure = service.client.must_fail("create table t (id integer)", &[]).await;
    let reason = service.pick("DUPLICATE_OBJECT", "DUPLICATE_TABLE", "DUPLICATE_TABLE");
    assert_eq!(failure.what(), (Code::AlreadyExists, reason), "{failure:?}");
}

async fn a_violated_constraint_is_a_failed_precondition(service: Service) {
    service.client.must("create table p (id integer primary key)", &[]).await;
    let sql = "create table t (id integer primary key, n integer not null, \
               c integer check (c > 0), p integer, foreign key (p) references p (id))";
    service.client.must(sql, &[]).await;
    for (sql, reason) in [
        ("insert into t values (1, null, 1, null)", "NOT_NULL_VIOLATION"),
        ("insert into t values (1, 1, -1, null)", "CHECK_VIOLATION"),
        ("insert into t values (1, 1, 1, 99)", "FOREIGN_KEY_VIOLATION"),
    ] {
        let failure = service.client.must_fail(sql, &[]).await;
        assert_eq!(failure.what(), (Code::FailedPrecondition, reason), "{sql}: {failure:?}");
    }
}

async fn errors_hold_no_row_data(service: Service) {
    service.client.must("create table t (secret varchar(40) primary key)", &[]).await;
    let secret = [Value::text("hunter2")];
    service.client.must("insert into t values ($1)", &secret).await;
    let failure = service.client.must_fail("insert into t values ($1)", &secret).await;
    assert!(!format!("{failure:?}").contains("hunter2"), "{failure:?}");
    service.client.must("create table whole (n integer)", &[]).await;
    let cast = service.pick(
        "select json($1)",
        "select $1::text::int4",
        "insert into whole values (cast($1 as char))",
    );
    let failure = service.client.must_fail(cast, &secret).await;
    assert!(!format!("{failure:?}").contains("hunter2"), "{failure:?}");
    assert!(!service.server.log().contains("hunter2"), "{}", service.server.log());
}

async fn a_read_only_call_reads(service: Service) {
    let result = service.client.run(request_with("select 1", read_only())).await;
    assert_eq!(result.expect("it reads").rows.len(), 1);
}

async fn a_read_only_call_cannot_write(service: Service) {
    service.client.must("create table t (id integer primary key)", &[]).await;
    for sql in ["insert into t values (1)", "create table u (id integer)", "drop table t"] {
        let failure = service.client.run(request_with(sql, read_only())).await;
        let failure = failure.expect_err("the database refuses");
        assert_eq!(failure.what(), (Code::FailedPrecondition, "READ_ONLY"), "{sql}: {failure:?}");
        assert_eq!(failure.outcome, "NOT_APPLIED");
    }
    assert!(service.client.must("select * from t", &[]).await.rows.is_empty());
    service.client.must("insert into t values (1)", &[]).await;
}

async fn a_failed_call_leaves_the_service_working(service: Service) {
    for round in 0..50 {
        service.client.must_fail("select * from nowhere", &[]).await;
        let result = service.client.must("select 1", &[]).await;
        assert_eq!(result.rows[0].values, [Value::int64(1)], "round {round}");
    }
}
