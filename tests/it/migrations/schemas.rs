//! `rowgate schema`: a text to commit and to compare.

use super::{BACKENDS, Project};
use crate::harness::Backend;
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
    let schema = project.command(&["schema", "main"]).fine();
    std::fs::remove_file(project.path().join("main.db")).expect("it is there");
    project.execute(&schema);
    assert_eq!(project.command(&["schema", "main"]).fine(), schema);
    std::fs::remove_file(project.path().join("main.db")).expect("it is there");
    let error = project.command(&["schema", "main"]).refused();
    assert!(error.contains("there is no file main.db"), "{error}");
}

#[test]
fn a_pg_dump_that_is_not_there_is_told() {
    let project = Project::start(Backend::Postgres);
    let error = project.command(&["schema", "main", "--pg-dump", "/nowhere/pg_dump"]).refused();
    assert!(error.contains("/nowhere/pg_dump cannot be run"), "{error}");
    assert!(error.contains("Install PostgreSQL's client programs"), "{error}");
}
