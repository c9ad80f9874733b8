//! The words of `rowgate config check` and GetServerInfo about MariaDB and MySQL, and files of statements in their dialect.

use std::fs;

use rowgate::value::proto::GetServerInfoRequest;
use rowgate::value::proto::server_service_client::ServerServiceClient;

use crate::harness::mariadb::Mariadb;
use crate::harness::server::{checked, run};
use crate::harness::{Backend, Service};

/// The output of the check of one database.
#[track_caller]
fn check(url: &str, status: i32) -> String {
    checked(&format!("[databases.main]\nurl = \"{url}\"\n"), status)
}

#[test]
fn an_ordinary_account_on_an_ordinary_server_is_safe_and_has_its_connections() {
    let mariadb = Mariadb::start();
    let text = check(&mariadb.url(), 0);
    assert!(text.contains("database main: reachable"), "{text}");
    assert!(text.contains("needs up to 21 connections, 50 are allowed"), "{text}");
    assert!(!text.contains("unsafe") && !text.contains("unclear"), "{text}");
}

#[test]
fn connections_that_the_server_or_the_account_does_not_allow_fail_the_check() {
    let mariadb = Mariadb::start();
    mariadb.sql("create user few@'%' identified by 'p' with max_user_connections 5");
    mariadb.sql("grant all on test.* to few@'%'");
    let text = check(&mariadb.url_as("few", "p"), 1);
    assert!(text.contains("max_user_connections of the account allows 5"), "{text}");
    mariadb.sql("set global max_connections = 15");
    let text = check(&mariadb.url(), 1);
    assert!(text.contains("max_connections of the server allows 15"), "{text}");
}

#[test]
fn rights_beyond_tables_and_commits_that_may_be_lost_are_unsafe() {
    let settings = ["log-bin=binlog", "server-id=1", "sync-binlog=1"];
    let mariadb = Mariadb::with(&settings);
    assert!(!check(&mariadb.url(), 0).contains("unsafe"));
    for (sql, expected) in [
        ("grant file on *.* to rowgate@'%'", "(FILE)"),
        ("grant super on *.* to rowgate@'%'", "(SUPER)"),
        ("grant create user on *.* to rowgate@'%'", "(CREATE USER)"),
        (
            "set global innodb_flush_log_at_trx_commit = 2",
            "innodb_flush_log_at_trx_commit is not 1",
        ),
        ("set global sync_binlog = 0", "sync_binlog is not 1"),
    ] {
        assert!(!check(&mariadb.url(), 0).contains(expected), "{sql}");
        mariadb.sql(sql);
        let text = check(&mariadb.url(), 0);
        let told = text.lines().find(|line| line.contains(expected));
        assert!(told.is_some_and(|line| line.starts_with("unsafe")), "{sql}: {text}");
    }
}

#[tokio::test]
async fn the_engine_is_named_as_its_greeting_names_it() {
    let service = Service::start(Backend::Mariadb).await;
    service.client.must("select 1", &[]).await;
    let mut services = ServerServiceClient::new(service.client.channel());
    let info = services.get_server_info(GetServerInfoRequest {}).await.expect("it answers");
    let main = info.into_inner().databases.remove(0);
    assert_eq!(main.backend, "mysql");
    let version = service.mariadb().sql("select version()");
    assert!(main.engine_version.contains(&version), "{main:?}");
    let name = if service.mariadb().is_mysql() { "MySQL " } else { "MariaDB " };
    let number = main.engine.strip_prefix(name).unwrap_or_else(|| panic!("{main:?}"));
    assert!(version.starts_with(number), "{main:?}");
}

#[tokio::test]
async fn a_file_is_split_by_the_rules_of_mysql() {
    let service = Service::start(Backend::Mariadb).await;
    service.client.must("create table t (v varchar(20))", &[]).await;
    let directory = service.server.directory();
    let file = "insert into t values ('a\\'; b'); # it's a comment; here\n\
                insert into t values (\"c;\") /* ; */;\n-- ; another\n\
                insert into t values ('`;');\nselect v as `;` from t order by v;\n";
    fs::write(directory.join("file.sql"), file).expect("it is ours");
    let address = format!("http://{}", service.server.grpc());
    let arguments = ["query", "--address", &address, "--batch", "file.sql", "--format", "csv"];
    let output = run(directory, &arguments, &[]);
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(out.ends_with(";\na'; b\nc;\n`;\n"), "{out}");
}
