//! The ledger: one for a database, found wherever it is, and changed by the migrator alone.

use super::{BACKENDS, Project};
use crate::harness::Backend;
use crate::harness::mariadb::is_mysql;

/// The schemas that have a ledger.
const LEDGERS: &str =
    "select schemaname from pg_tables where tablename = 'rowgate_migrations' order by 1";

#[test]
fn a_schema_that_a_file_makes_does_not_hide_the_ledger() {
    let project = Project::start(Backend::Postgres);
    for (setting, schema) in [("settings.search_path = \"app, public\"", "app"), ("", "postgres")] {
        project.configure(setting);
        project.file("V1__schema.sql", &format!("create schema if not exists {schema};\n"));
        project.file(
            "V2__orders.sql",
            "create table if not exists t1 (id int);\ninsert into t1 values (1), (2);\n",
        );
        project.migrate(&["up"]).fine();
        let verified = project.migrate(&["verify"]);
        let note = format!(
            "note: the ledger is \"public\".rowgate_migrations, and stays there; new tables are made in {schema}"
        );
        assert!(verified.err.contains(&note), "{verified:?}");
        verified.fine();
        let again = project.migrate(&["up"]);
        assert!(again.err.contains(&note), "{again:?}");
        assert!(again.fine().contains("nothing to do, it is at V2"));
        assert_eq!(project.values(&format!("select id from {schema}.t1 order by id")), "1 2");
        assert_eq!(project.values(LEDGERS), "public");
        // A reset makes the schema of the ledger anew, and nothing twice.
        let done = project.command(&["reset", "main", "--yes-destroy", "main"]).fine();
        assert!(done.ends_with("2 files applied, it is at V2\n"), "{done}");
        assert_eq!(project.values(LEDGERS), "public");
        project.execute(&format!("drop schema {schema} cascade; drop table rowgate_migrations"));
    }
}

#[test]
fn a_ledger_outside_of_the_search_path_is_told_before_another_is_made() {
    let project = Project::start(Backend::Postgres);
    project.execute("create schema app; create schema tools");
    project.configure("settings.search_path = \"tools, public\"");
    project.file(
        "V1__a.sql",
        "create table if not exists public.t1 (id int);\ninsert into public.t1 values (1);\n",
    );
    project.migrate(&["up"]).fine();
    project.configure("settings.search_path = \"app, public\"");
    for command in [&["up"][..], &["up", "--dry-run"]] {
        let error = project.migrate(command).refused();
        assert!(
            error.contains(
                "there is none in the search path, and elsewhere \"tools\".rowgate_migrations"
            ),
            "{error}"
        );
        assert!(error.contains("--new-ledger"), "{error}");
    }
    let status = project.migrate(&["status"]);
    assert!(status.err.contains("elsewhere \"tools\".rowgate_migrations"), "{status:?}");
    assert_eq!(
        (project.values("select id from t1"), project.values(LEDGERS)),
        ("1".into(), "tools".into())
    );
    project.migrate(&["up", "--new-ledger"]).fine();
    assert_eq!(project.values(LEDGERS), "app tools");
    // Once it is there, it is the one.
    assert!(project.migrate(&["up"]).fine().contains("nothing to do, it is at V1"));
    project.configure("settings.search_path = \"app, tools\"");
    let verified = project.migrate(&["verify"]);
    assert!(
        verified
            .err
            .contains("\"tools\".rowgate_migrations, further on in the search path, is not read"),
        "{verified:?}"
    );
    // The ledger of a reset is where it was, also behind a schema that a file makes.
    project.execute("drop schema app cascade");
    let done = project.command(&["reset", "main", "--yes-destroy", "main"]).fine();
    assert!(done.ends_with("1 file applied, it is at V1\n"), "{done}");
    assert_eq!(project.values(LEDGERS), "tools");
}

#[test]
fn another_database_in_a_file_has_no_ledger() {
    let project = Project::start(Backend::Mariadb);
    project.execute("create database other; grant all on other.* to rowgate@'%'");
    project
        .file("V1__a.sql", "use other;\ncreate table t1 (id int);\ninsert into t1 values (1);\n");
    let project = ran_twice(project);
    assert_eq!(project.values("select count(*) from other.t1"), "1");
    let ledgers = "select table_schema from information_schema.tables where table_name = 'rowgate_migrations'";
    assert_eq!(project.values(ledgers), "test");

    let project = Project::start(Backend::Sqlite);
    let attach = "-- rowgate: no-transaction\nattach 'other.db' as other;\n\
                  create table other.rowgate_migrations (version integer);\ncreate table t1 (id int);\n";
    project.file("V1__a.sql", attach);
    let project = ran_twice(project);
    assert_eq!(project.values("select count(*) from rowgate_migrations"), "1");
}

/// Runs all files, and finds nothing to do then.
fn ran_twice(project: Project) -> Project {
    project.migrate(&["up"]).fine();
    assert!(project.migrate(&["up"]).fine().contains("nothing to do, it is at V1"));
    project.migrate(&["verify"]).fine();
    project
}

#[test]
fn a_file_that_changes_the_ledger_is_not_applied() {
    for backend in [Backend::Postgres, Backend::Sqlite] {
        let project = Project::start(backend);
        project.file("V1__a.sql", "create table t1 (id integer);\n");
        project.migrate(&["up"]).fine();
        for change in [
            "delete from rowgate_migrations",
            "delete from rowgate_migrations where version = 1",
            "delete from rowgate_migrations where version = 2",
            "update rowgate_migrations set checksum = 'x' where version = 1",
            "insert into rowgate_migrations select 9, name, checksum, content, started_at, finished_at, 1 from rowgate_migrations where version = 1",
        ] {
            project.file("V2__b.sql", &format!("create table t2 (id integer);\n{change};\n"));
            let error = project.migrate(&["up"]).refused();
            assert!(error.contains("the ledger, which is Rowgate's alone"), "{change}: {error}");
            assert!(error.contains("Nothing of V2__b.sql is applied"), "{change}: {error}");
            assert_eq!(project.states(), ["1 applied", "2 pending"], "{change}");
            assert_eq!(project.tables(), "t1", "{change}");
        }
        project
            .file("V2__b.sql", "create table t2 (id integer);\ndrop table rowgate_migrations;\n");
        let error = project.migrate(&["up"]).refused();
        assert!(error.contains("Nothing of V2__b.sql is applied"), "{error}");
        assert_eq!(project.states(), ["1 applied", "2 pending"]);
    }
}

#[test]
fn rows_that_a_file_without_a_transaction_removes_are_told() {
    for backend in BACKENDS {
        let project = Project::start(backend);
        project.file("V1__a.sql", "create table t1 (id integer);\n");
        project.migrate(&["up"]).fine();
        let text =
            "-- rowgate: no-transaction\ndelete from rowgate_migrations where version = 1;\n";
        project.file("V2__b.sql", text);
        let error = project.migrate(&["up"]).refused();
        assert!(error.contains("removed or changed what the ledger knew of V1__a.sql"), "{error}");
        assert_eq!(project.values("select version from rowgate_migrations"), "2");
    }
}

#[test]
fn what_a_file_does_to_its_session_does_not_reach_the_ledger() {
    let project = Project::start(Backend::Postgres);
    project.execute("create role keeper; grant create on schema public to keeper");
    for (version, set) in [(1, "set role keeper"), (2, "set session authorization keeper")] {
        let rest = format!(
            "{set};\ncreate table t{version} (id int);\ncreate table t{version}b (id int);\n"
        );
        project.file(&format!("V{version}__a.sql"), &format!("-- rowgate: no-transaction\n{rest}"));
        project.file(&format!("V{}__b.sql", version + 2), &rest.replace("table t", "table tt"));
    }
    project.migrate(&["up"]).fine();
    project.migrate(&["verify"]).fine();
    let owners = "select distinct tableowner from pg_tables where tablename like 't%'";
    assert_eq!(project.values(owners), "keeper");

    let project = Project::start(Backend::Mariadb);
    let text = "create table t1 (id int);\nlock tables t1 write;\ninsert into t1 values (1);\ninsert into t1 values (2);\n";
    let text = if is_mysql() {
        text.to_owned()
    } else {
        text.replace("insert", "set statement sort_buffer_size = 100000 for insert")
    };
    let text = text.as_str();
    project.file("V1__a.sql", text);
    project.migrate(&["up"]).fine();
    assert_eq!(project.values("select count(*) from t1"), "2");
    project.file("V2__b.sql", "create table t2 (id int);\nflush tables with read lock;\n");
    let error = project.migrate(&["up"]).refused();
    assert!(
        error.contains("V2__b.sql:2: FLUSH TABLES … WITH READ LOCK keeps the migrator itself"),
        "{error}"
    );
    assert_eq!(project.tables(), "t1");
}

#[test]
fn a_file_that_the_ledger_cannot_take_is_named() {
    let project = Project::start(Backend::Mariadb);
    project.execute("set global max_allowed_packet = 1048576");
    let insert = "insert into t1 values (1);\n".repeat(50_000);
    project.file("V1__a.sql", &format!("create table t1 (id int);\n{insert}"));
    let error = project.migrate(&["up"]).refused();
    assert!(error.contains("V1__a.sql: the ledger does not take it: "), "{error}");
    assert!(error.contains("max_allowed_packet"), "{error}");
    assert!(error.contains("Nothing of V1__a.sql has run"), "{error}");
    assert_eq!((project.tables(), project.states()), (String::new(), vec!["1 pending".to_owned()]));
}
