//! `rowgate reset`: everything is gone, and the files ran anew.

use std::io::{Read as _, Write as _};
use std::process::Stdio;

use super::{BACKENDS, Project};
use crate::harness::Backend;
use crate::harness::programs::mysql_client;

/// Further objects of each kind.
fn clutter(backend: Backend) -> &'static str {
    match backend {
        Backend::Postgres => {
            "create schema s; create table s.x (id integer); create table t9 (id integer references t1); \
             create type mood as enum ('a'); create function f() returns integer language sql return 1; \
             create view v as select * from t1; create sequence q; create materialized view m as select 1; \
             create publication every for all tables; create publication one for table t9; select lo_create(0); \
             create cast (int4range as money) with inout; create foreign data wrapper w; \
             create server far foreign data wrapper w; create function e() returns event_trigger language plpgsql as \
             $$ begin end $$; create event trigger et on ddl_command_end when tag in ('CREATE CONVERSION') execute function e()"
        }
        Backend::Mariadb => {
            "create table t9 (id integer, foreign key (id) references t1 (id)); create view v as select * from t1; \
             create view w as select * from v; create procedure p() select 1; \
             create function f() returns integer deterministic return 1; \
             create trigger g before insert on t9 for each row set new.id = 1; \
             create event e on schedule every 1 year do select 1"
        }
        Backend::Sqlite => {
            "create table t9 (id integer references t1 (id)); insert into t1 values (7); insert into t9 values (7); \
             create view v as select * from t1; create index i on t9 (id); \
             create trigger g after insert on t9 begin select 1; end; create virtual table ft using fts5(a); \
             create table \"t\"\"q\" (id integer primary key autoincrement); pragma user_version = 7"
        }
    }
}

#[test]
fn a_reset_leaves_what_the_files_make_and_nothing_else() {
    for backend in BACKENDS {
        let project = Project::start(backend);
        project.file("V1__a.sql", "create table t1 (id integer primary key);\n");
        project.migrate(&["up"]).fine();
        let pg_dump = crate::harness::programs::tool("pg_dump");
        let pg_dump = ["--pg-dump", pg_dump.to_str().expect("a path")];
        let schema = || project.command(&[&["schema", "main"], &pg_dump[..]].concat()).fine();
        let fresh = schema();
        project.file("V2__clutter.sql", clutter(backend));
        project.migrate(&["up"]).fine();
        project.remove("V2__clutter.sql");
        assert_ne!(schema(), fresh, "{backend:?}");

        let other = project.command(&["reset", "main", "--yes-destroy", "mian"]);
        assert_eq!(other.status, Some(2), "{other:?}");
        let missing = project.command(&["reset", "main"]);
        assert_eq!(missing.status, Some(2), "{missing:?}");
        assert_ne!(schema(), fresh, "{backend:?}: nothing was dropped");

        let done = project.command(&["reset", "main", "--yes-destroy", "main"]).fine();
        assert!(done.contains("everything is dropped"), "{done}");
        assert!(done.ends_with("1 file applied, it is at V1\n"), "{done}");
        assert_eq!(schema(), fresh, "{backend:?}");
        assert_eq!(project.values("select count(*) from t1"), "0");
        if backend == Backend::Postgres {
            let acl = "select has_schema_privilege('public', 'public', 'usage')";
            assert_eq!(project.values(acl), "t", "everybody may use it as before");
            let left = "select (select count(*) from pg_publication) + (select count(*) from pg_largeobject_metadata) \
                + (select count(*) from pg_cast where oid >= 16384) + (select count(*) from pg_foreign_server) \
                + (select count(*) from pg_foreign_data_wrapper) + (select count(*) from pg_event_trigger)";
            assert_eq!(project.values(left), "0", "what is in no schema is dropped, too");
        }
    }
}

#[test]
fn the_schema_of_new_tables_is_there_for_the_files() {
    let project = Project::start(Backend::Postgres);
    let postgres = project.postgres.as_ref().expect("it is PostgreSQL");
    postgres.psql(
        "create role reader; create schema app; grant usage on schema app to reader; comment on schema app is 'ours'",
    );
    project.configure("settings.search_path = \"app\"");
    project.file("V1__a.sql", "create table t1 (id integer primary key);\n");
    project.migrate(&["up"]).fine();
    for _ in 0..2 {
        let done = project.command(&["reset", "main", "--yes-destroy", "main"]).fine();
        assert!(done.ends_with("1 file applied, it is at V1\n"), "{done}");
        let kept =
            "select has_schema_privilege('reader', 'app', 'usage')::text || count(*) from app.t1";
        assert_eq!(project.values(kept), "true0");
    }
    let comment = "select obj_description('app'::regnamespace, 'pg_namespace')";
    assert_eq!(project.values(comment), "ours");
}

#[test]
fn schemas_of_other_roles_are_left_and_named_before_anything_runs() {
    let project = Project::start(Backend::Postgres);
    project.execute(
        "create role app login password 'pass word'; create table public.kept (id integer); \
         create publication p for table public.kept; select lo_create(0); create cast (int4range as money) with inout",
    );
    let url = project.postgres.as_ref().expect("it is PostgreSQL").url_as("app", "pass word");
    let text = format!("[databases.main]\nurl = \"{url}\"\n");
    std::fs::write(project.path().join("rowgate.toml"), text).expect("it is ours");
    let ended = project.command(&["reset", "main", "--yes-destroy", "main"]);
    assert!(!ended.out.contains("everything is dropped"), "{ended:?}");
    let left = "they belong to other roles: public, publication p, cast from int4range to money, 1 large objects\n";
    assert!(ended.err.contains(left), "{ended:?}");
    assert_eq!(project.values("select count(*) from kept"), "0");
}

#[test]
fn nothing_is_dropped_for_files_that_cannot_run() {
    for backend in BACKENDS {
        let project = Project::start(backend);
        project.file("V1__a.sql", "create table t1 (id integer primary key);\n");
        project.migrate(&["up"]).fine();
        project.file("V2__b.sql", "create table t2 (id integer);\ncommit;\n");
        let error = project.command(&["reset", "main", "--yes-destroy", "main"]).refused();
        assert!(error.contains("V2__b.sql:2: COMMIT controls the transaction"), "{error}");
        assert_eq!(project.values("select count(*) from t1"), "0", "{backend:?}");
    }
}

#[test]
fn a_reset_that_a_lock_stops_tells_how_far_it_came() {
    let project = Project::start(Backend::Mariadb);
    project.configure("lock_timeout = \"1s\"");
    project.file("V1__a.sql", "create table t1 (id integer);\n");
    project.migrate(&["up"]).fine();
    project.execute(
        "create table aa (id integer); create table mm (id integer); create table zz (id integer)",
    );
    let mariadb = project.mariadb.as_ref().expect("it is MariaDB");
    let mut holder = std::process::Command::new(mysql_client());
    holder.arg("--no-defaults").arg(format!("--socket={}", mariadb.socket().display()));
    holder.args(["--user=root", "--unbuffered", "--skip-column-names", "test"]);
    holder.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut holder = holder.spawn().expect("it is installed");
    let mut input = holder.stdin.take().expect("it is piped");
    input.write_all(b"begin; select count(*) from mm;\n").expect("it reads");
    let mut answer = [0; 1];
    holder.stdout.take().expect("it is piped").read_exact(&mut answer).expect("it answers");
    let error = project.command(&["reset", "main", "--yes-destroy", "main"]).refused();
    drop(input);
    holder.wait().expect("it ends");
    assert!(error.contains("DROP TABLE `mm`, number "), "{error}");
    assert!(error.contains("dropped, ") && error.contains("run `rowgate reset` again"), "{error}");
    let left = "select count(*) from information_schema.tables where table_schema = 'test'";
    let left: usize = project.values(left).parse().expect("a number");
    let told = format!("{} object", 5 - left);
    assert!(left == 5 || error.contains(&told), "{left}: {error}");
    project.command(&["reset", "main", "--yes-destroy", "main"]).fine();
}

#[test]
fn a_database_on_another_machine_is_not_reset() {
    let project = Project::start(Backend::Sqlite);
    for (url, admin) in [
        ("postgres://me@db.example.com/shop", ""),
        ("mysql://me@127.0.0.1,db.example.com/shop", ""),
        ("postgres://me@127.0.0.1/shop", "admin_url = \"postgres://me@192.0.2.1/shop\""),
    ] {
        let text = format!("[databases.main]\nurl = \"{url}\"\n{admin}\n");
        std::fs::write(project.path().join("rowgate.toml"), text).expect("it is ours");
        let error = project.command(&["reset", "main", "--yes-destroy", "main"]).refused();
        assert!(error.contains("which is not this machine"), "{error}");
    }
}
