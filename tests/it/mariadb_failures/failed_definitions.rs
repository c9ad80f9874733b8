//! Statements that fail to change definitions: by a name or a right before anything has happened, or in the middle.

use super::{Way, service, told, write};
use crate::harness::Service;
use rowgate::value::proto::Value;

async fn change(service: &Service, sql: &str) -> String {
    told(&write(&service.client, Way::Autocommit, sql, &Value::null()).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_that_fails_by_its_name_was_not_changed() {
    let service = service("").await;
    service.mariadb().sql("create table u (id int); create view v as select 1 as a");
    for (sql, expected) in [
        ("create table t (a int)", "AlreadyExists DUPLICATE_TABLE NOT_APPLIED"),
        ("create table w (a int, a int)", "InvalidArgument DUPLICATE_COLUMN NOT_APPLIED"),
        ("drop table missing", "InvalidArgument UNDEFINED_TABLE NOT_APPLIED"),
        ("alter table t add column n int", "InvalidArgument DUPLICATE_COLUMN NOT_APPLIED"),
        ("alter table t drop column missing", "InvalidArgument UNDEFINED_OBJECT NOT_APPLIED"),
        ("create index i on t (missing)", "InvalidArgument UNDEFINED_COLUMN NOT_APPLIED"),
        ("rename table t to u", "AlreadyExists DUPLICATE_TABLE NOT_APPLIED"),
        ("drop procedure missing", "InvalidArgument UNDEFINED_FUNCTION NOT_APPLIED"),
        ("create view v as select 2 as a", "AlreadyExists DUPLICATE_TABLE NOT_APPLIED"),
    ] {
        assert_eq!(change(&service, sql).await, expected, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_of_several_definitions_may_have_changed_some() {
    let service = service("").await;
    let mariadb = service.mariadb();
    let told = change(&service, "drop table t, missing").await;
    assert_eq!(told, "InvalidArgument UNDEFINED_TABLE UNKNOWN");
    assert_eq!(mariadb.sql("show tables like 't'"), "", "the server has kept the first");
    mariadb.sql("create table t (id int)");
    let told = change(&service, "create or replace table t (a int, a int)").await;
    assert_eq!(told, "InvalidArgument DUPLICATE_COLUMN UNKNOWN");
}
