//! `rowgate schema`: a text to commit and to compare.

use super::{BACKENDS, Project};
use crate::harness::Backend;
use crate::harness::mariadb::is_mysql;
use crate::harness::programs::tool;

fn definitions(backend: Backend) -> &'static str {
    match backend {
        Backend::Postgres => {
            "create table t_b (id integer primary key, a text not null); create index t_b_a on t_b (a); \
             create table t_a (id bigint); create view v as select a from t_b; create role somebody; \
             alter table t_a owner to somebody; grant select on t_b to somebody"
        }
        Backend::Mariadb => {
            "create table t_b (id integer primary key auto_increment, a text not null); create table t_a (id bigint); \
             create view v as select a from t_b; insert into t_b (a) values ('x'), ('y'); \
             create trigger g before insert on t_b for each row set new.a = 'z'; create procedure p() select 1"
        }
        Backend::Sqlite => {
            "create table t_b (id integer primary key autoincrement, a text not null); create index t_b_a on t_b (a); \
             create table t_a (id bigint); create view v as select a from t_b; create virtual table ft using fts5(a); \
             create trigger g after insert on t_b begin select 1; end"
        }
    }
}

#[test]
fn a_schema_is_the_same_text_each_time_and_changes_with_definitions_alone() {
    for backend in BACKENDS {
        let project = Project::start(backend);
        project.file("V1__all.sql", definitions(backend));
        project.migrate(&["up"]).fine();
        let pg_dump = tool("pg_dump");
        let pg_dump = ["--pg-dump", pg_dump.to_str().expect("a path")];
        let schema = || project.command(&[&["schema", "main"], &pg_dump[..]].concat()).fine();
        let first = schema();
        assert_eq!(schema(), first, "{backend:?}");
        project.execute("insert into t_b (id, a) values (100, 'more')");
        assert_eq!(schema(), first, "{backend:?}: rows do not count");
        let place = |text: &str| first.find(text).unwrap_or_else(|| panic!("no {text} in {first}"));
        assert!(place("t_a") < place("t_b"), "{first}");
        let foreign = ["AUTO_INCREMENT=", "DEFINER=", "somebody", "restrict", "ft_content"];
        for text in foreign {
            assert!(!first.contains(text), "{text} in {first}");
        }
        project.execute("alter table t_a add column further integer");
        let second = schema();
        assert_ne!(second, first);
        let new: Vec<_> = second.lines().filter(|line| line.contains("further")).collect();
        assert_eq!(new.len(), 1, "{second}");
        if backend == Backend::Postgres {
            assert!(first.starts_with("-- pg_dump (PostgreSQL) "), "{first}");
        }
    }
}

#[test]
fn the_schema_of_a_sqlite_file_makes_the_same_again() {
    let project = Project::start(Backend::Sqlite);
    project.execute(definitions(Backend::Sqlite));
    // SQLite keeps what stands before the semicolon, comments and all.
    project.execute("create view vc as select 1 as x -- a note; with 'marks\n;");
    project.execute("create view vd as select '--' as x /* a block that does not end");
    let schema = project.command(&["schema", "main"]).fine();
    std::fs::remove_file(project.path().join("main.db")).expect("it is there");
    project.execute(&schema);
    assert_eq!(project.command(&["schema", "main"]).fine(), schema);
    std::fs::remove_file(project.path().join("main.db")).expect("it is there");
    let error = project.command(&["schema", "main"]).refused();
    assert!(error.contains("there is no file main.db"), "{error}");
}

#[test]
fn the_schema_of_a_mariadb_makes_the_same_again_in_another_database() {
    if is_mysql() {
        return;
    }
    let project = Project::start(Backend::Mariadb);
    let mariadb = project.mariadb.as_ref().expect("it is MariaDB");
    // Only the owner of code sees it.
    let url = format!("mysql://root@localhost/test?socket={}", mariadb.socket().display());
    let text = format!("[databases.main]\nurl = \"{url}\"\n");
    std::fs::write(project.path().join("rowgate.toml"), text).expect("it is ours");
    let made = "create sequence sq; create table t_z (id integer primary key, n integer default nextval(sq)); \
        create table t_a (id integer, self integer, key (id), foreign key (id) references t_z (id), \
            foreign key (self) references t_a (id)); \
        create function f(n integer) returns integer deterministic return n + 1; \
        create view v_b as select id from t_z; create view v_a as select f(id) as n from v_b; \
        create trigger g2 before insert on t_z for each row set new.n = 1; \
        create trigger g1 before insert on t_z for each row set new.n = new.n * 2; \
        create event e on schedule every 1 day do select 1; \
        create event e2 on schedule every 1 day starts '2020-01-01 03:00:00' do select 1; \
        set sql_mode = 'ANSI_QUOTES,NO_ZERO_DATE'; create procedure \"p\"() select 1 as \"a b\"; \
        create definer = \"root\"@\"localhost\" procedure \"q\"() select 1";
    mariadb.sql(made);
    let schema = || project.command(&["schema", "main"]).fine();
    let first = schema();
    assert!(!first.contains("DEFINER=") && !first.contains("`test`"), "{first}");
    assert_eq!(first.matches("STARTS").count(), 1, "{first}");

    // Another database, made of the text.
    mariadb.sql("drop database test; create database test character set utf8mb4");
    mariadb.sql(&first);
    assert_eq!(schema(), first);
    assert_eq!(mariadb.sql("insert into t_z (id) values (1); select n from t_z"), "2");
    assert_eq!(mariadb.sql("call p()"), "1");
    // The other order of triggers is another text.
    mariadb
        .sql("drop trigger g2; create trigger g2 before insert on t_z for each row set new.n = 1");
    assert_ne!(schema(), first);

    mariadb.sql("drop table t_a; drop table t_z");
    let ended = project.command(&["schema", "main"]);
    assert!(ended.err.contains("cannot be made of this text: v_a, v_b"), "{ended:?}");
    assert!(!ended.fine().contains("`test`"));
}

#[test]
fn a_pg_dump_that_is_not_there_is_told() {
    let project = Project::start(Backend::Postgres);
    let error = project.command(&["schema", "main", "--pg-dump", "/nowhere/pg_dump"]).refused();
    assert!(error.contains("/nowhere/pg_dump cannot be run"), "{error}");
    assert!(error.contains("Install PostgreSQL's client programs"), "{error}");
}
