//! Files that run: once, in order, and whole.

use super::{BACKENDS, Project};
use crate::harness::Backend;

#[test]
fn thirty_files_run_once_and_in_order_on_every_backend() {
    for backend in BACKENDS {
        let project = Project::start(backend);
        for version in 1..=30 {
            let name = if version < 10 { "first" } else { "then" };
            let create = format!("create table t{version:02} (id integer primary key);\n");
            let fill =
                format!("insert into t{version:02} select count(*) from t{:02};\n", version - 1);
            let fill = if version == 1 { String::new() } else { fill };
            project.file(&format!("V{version}__{name}.sql"), &format!("-- a; b\n{create}\n{fill}"));
        }
        let planned = project.migrate(&["up", "--dry-run", "--target", "2"]).fine();
        assert!(planned.contains("create table t02"), "{planned}");
        assert!(!planned.contains("t03"), "{planned}");
        assert_eq!(project.tables(), "", "a dry run changes nothing");
        assert!(project.migrate(&["verify"]).refused().contains("V30__then.sql: it did not run"));

        let first = project.migrate(&["up", "--target", "7"]).fine();
        assert!(first.ends_with("database main: 7 files applied, it is at V7\n"), "{first}");
        let rest = project.migrate(&["up"]).fine();
        assert!(rest.ends_with("database main: 23 files applied, it is at V30\n"), "{rest}");
        assert_eq!(rest.matches(" applied in ").count(), 23, "{rest}");
        let again = project.migrate(&["up"]).fine();
        assert_eq!(again, "database main: nothing to do, it is at V30\n");
        assert_eq!(project.tables().split(' ').count(), 30);
        let states = project.states();
        assert_eq!(states.len(), 30);
        assert!(states.iter().all(|state| state.ends_with(" applied")), "{states:?}");
        let verified = project.migrate(&["verify"]).fine();
        assert_eq!(verified, "database main: 30 files, all applied as they are\n");
        let done = project.values("select sum(statements_done) from rowgate_migrations");
        assert_eq!(done, "59");
    }
}

#[test]
fn a_statement_that_fails_is_told_with_its_file_line_and_text() {
    for backend in BACKENDS {
        let project = Project::start(backend);
        project.file("V1__a.sql", "create table t1 (id integer);\n");
        let text = "-- two\ncreate table t2 (id integer);\n\n-- three\ninsert into t2\n  select nope from t1;\n";
        project.file("V2__b.sql", text);
        let failed = project.migrate(&["up"]);
        assert!(failed.out.contains("V1__a.sql applied"), "{failed:?}");
        let error = failed.refused();
        assert!(error.contains("nope"), "{error}");
        match backend {
            // MySQL tells no position.
            Backend::Mariadb => {
                assert!(error.contains("V2__b.sql:5: "), "{error}");
                assert!(error.contains("1 of its 2 statements are known to be done"), "{error}");
                assert!(error.contains("Statement 2 (line 5) may have run"), "{error}");
                assert_eq!(
                    (project.tables(), project.states()[1].as_str()),
                    ("t1 t2".into(), "2 unfinished")
                );
            }
            Backend::Postgres | Backend::Sqlite => {
                assert!(error.contains("V2__b.sql:6: "), "{error}");
                assert!(error.contains("line 6:   select nope from t1"), "{error}");
                assert!(error.contains("Nothing of V2__b.sql is applied"), "{error}");
                assert_eq!(
                    (project.tables(), project.states()[1].as_str()),
                    ("t1".into(), "2 pending")
                );
                project.file("V2__b.sql", &text.replace("nope", "id"));
                project.migrate(&["up"]).fine();
                assert_eq!(project.tables(), "t1 t2");
            }
        }
    }
}

#[test]
fn a_definition_that_mysql_refuses_leaves_nothing_to_clear_up() {
    let project = Project::start(Backend::Mariadb);
    project.execute("create table t1 (id integer)");
    for (first, then) in [
        ("create table t1 (id integer);\n", "create table t2 (id integer);\n"),
        ("alter table t1 drop column nope;\n", "alter table t1 add column b integer;\n"),
    ] {
        let name = if first.starts_with('c') { "V1__a.sql" } else { "V2__b.sql" };
        project.file(name, first);
        let error = project.migrate(&["up"]).refused();
        assert!(error.contains("Nothing of the file was applied"), "{error}");
        project.file(name, then);
        project.migrate(&["up"]).fine();
    }
    project.file("V3__c.sql", "create table t3 (id integer);\ncreate table t1 (id integer);\n");
    let error = project.migrate(&["up"]).refused();
    assert!(error.contains("1 of its 2 statements are known to be done"), "{error}");
    assert!(error.contains("Statement 2 (line 2) failed and did nothing"), "{error}");
}

#[test]
fn a_text_that_mysql_cannot_read_leaves_nothing_to_clear_up() {
    let project = Project::start(Backend::Mariadb);
    project.file("V1__a.sql", "creat table t1 (id integer);\n");
    let error = project.migrate(&["up"]).refused();
    assert!(error.contains("Nothing of the file was applied"), "{error}");
    assert_eq!(project.states(), ["1 pending"]);
    project.file("V1__a.sql", "create table t1 (id integer);\n");
    project.migrate(&["up"]).fine();
}

#[test]
fn what_cannot_run_in_a_transaction_runs_without() {
    let project = Project::start(Backend::Postgres);
    project.file("V1__a.sql", "create table t1 (id integer);\n");
    let index = "create index concurrently t1_id on t1 (id);\n";
    project.file("V2__index.sql", index);
    let error = project.migrate(&["up"]).refused();
    assert!(error.contains("write `-- rowgate: no-transaction` as its first line"), "{error}");
    project.file("V2__index.sql", &format!("-- rowgate: no-transaction\n{index}"));
    project.migrate(&["up"]).fine();
    assert_eq!(project.values("select count(*) from pg_indexes where indexname = 't1_id'"), "1");

    let project = Project::start(Backend::Sqlite);
    project.file("V1__a.sql", "vacuum;\n");
    assert!(project.migrate(&["up"]).refused().contains("no-transaction"));
    project.file("V1__a.sql", "-- rowgate: no-transaction\nvacuum;\n");
    project.migrate(&["up"]).fine();
}

#[test]
fn nothing_that_a_file_sets_reaches_the_next_or_loses_the_ledger() {
    let project = Project::start(Backend::Postgres);
    project.execute("create role keeper; grant create on schema public to keeper");
    // As pg_dump writes it.
    let dump = "select pg_catalog.set_config('search_path', '', false);\nset role keeper;\n\
                create table public.t1 (id integer);\n";
    project.file("V1__dump.sql", dump);
    project.file("V2__next.sql", "create table t2 as select current_user as who;\n");
    project.migrate(&["up"]).fine();
    assert_eq!(project.tables(), "t1 t2");
    assert_eq!(project.values("select who from t2"), "postgres");

    let project = Project::start(Backend::Mariadb);
    let body = "DELIMITER //\ncreate procedure fill() begin insert into t1 values (1); insert into t1 values (2); end//\n\
                DELIMITER ;\nuse information_schema;\nset foreign_key_checks = 0;\n";
    project.file("V1__a.sql", &format!("create table t1 (id integer);\n{body}"));
    project
        .file("V2__b.sql", "call fill();\ncreate table t2 as select @@foreign_key_checks as c;\n");
    project.migrate(&["up"]).fine();
    assert_eq!(project.values("select count(*) from t1"), "2");
    assert_eq!(project.values("select c from t2"), "1");
}

#[test]
fn the_ledger_of_another_schema_belongs_to_others() {
    let project = Project::start(Backend::Postgres);
    project.execute(
        "create schema app; create schema other; \
         create table other.rowgate_migrations (version bigint, name text)",
    );
    project.configure("settings.search_path = \"app, other\"");
    project.file("V1__a.sql", "create table t1 (id integer);\n");
    project.migrate(&["up"]).fine();
    assert_eq!(project.values("select version from app.rowgate_migrations"), "1");
    assert_eq!(project.values("select count(*) from other.rowgate_migrations"), "0");
}

#[test]
fn a_transaction_that_a_routine_leaves_open_is_told() {
    let project = Project::start(Backend::Mariadb);
    let routine = "create table t1 (id integer) engine = innodb;\nDELIMITER //\n\
                   create procedure leave_open() begin start transaction; insert into t1 values (1); end//\n\
                   DELIMITER ;\n";
    project.file("V1__a.sql", &format!("{routine}call leave_open();\n"));
    let error = project.migrate(&["up"]).refused();
    assert!(error.contains("has left a transaction open"), "{error}");
    assert!(error.contains("V1__a.sql:5"), "{error}");
    assert_eq!(project.values("select count(*) from t1"), "0");
    let status = project.migrate(&["status"]);
    assert!(!status.out.contains("applied"), "{status:?}");
}

#[test]
fn a_new_file_has_the_next_number_and_needs_no_database() {
    let project = Project::start(Backend::Sqlite);
    let made = project.migrate(&["new", "Create orders"]).fine();
    assert_eq!(made, "migrations/V1__create_orders.sql\n");
    let made = project.migrate(&["new", "more", "--dir", "migrations"]).fine();
    assert_eq!(made, "migrations/V2__more.sql\n");
    assert_eq!(project.migrate(&["new", "…"]).status, Some(2));
    assert_eq!(project.states(), ["1 pending", "2 pending"]);
    // What is applied empty could not be written any more.
    let error = project.migrate(&["up"]).refused();
    assert!(error.contains("V1__create_orders.sql: it has no statement"), "{error}");
    project.file("V1__create_orders.sql", "create table t1 (id integer);\n");
    project.file("V2__more.sql", "create table t2 (id integer);\n");
    project.migrate(&["up", "--dry-run"]).fine();
    assert!(project.migrate(&["verify"]).refused().contains("it did not run"));
    project.migrate(&["up"]).fine();
    assert_eq!(project.states(), ["1 applied", "2 applied"]);
}
