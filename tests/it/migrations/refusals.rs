//! Files and ledgers that do not agree, and files of other tools: nothing runs.

use super::{Project, run};
use crate::harness::Backend;

/// A project with three files, the first two of which ran.
fn begun() -> Project {
    let project = Project::start(Backend::Sqlite);
    project.file("V1__a.sql", "create table t1 (\n  id integer\n);\n");
    project.file("V2__b.sql", "create table t2 (id integer);\n");
    project.migrate(&["up"]).fine();
    project.file("V3__c.sql", "create table t3 (id integer);\n");
    project
}

#[test]
fn a_file_that_changed_is_refused_by_name_and_line() {
    let project = begun();
    project.file("V1__a.sql", "create table t1 (\r\n  id integer\r\n);\r\n");
    project.migrate(&["up", "--dry-run"]).fine();
    project.file("V1__a.sql", "create table t1 (\n  id bigint\n);\n");
    for command in ["up", "verify"] {
        let error = project.migrate(&[command]).refused();
        let expected =
            "V1__a.sql:2: it was changed after it ran: `  id integer` ran, here is `  id bigint`";
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(project.states(), ["1 changed", "2 applied", "3 pending"]);
    assert_eq!(project.tables(), "t1 t2");
}

#[test]
fn a_missing_file_and_one_out_of_order_are_refused() {
    let project = begun();
    project.remove("V1__a.sql");
    let error = project.migrate(&["up"]).refused();
    assert!(error.contains("V1__a.sql: it ran at 2"), "{error}");
    assert!(error.contains("there is no such file"), "{error}");
    assert_eq!(project.states(), ["1 missing", "2 applied", "3 pending"]);

    let project = begun();
    project.migrate(&["up"]).fine();
    project.file("V5__e.sql", "create table t5 (id integer);\n");
    project.migrate(&["up"]).fine();
    let verified = project.migrate(&["verify"]);
    assert!(
        verified.err.contains("note: V4 is missing between V3__c.sql and V5__e.sql"),
        "{verified:?}"
    );
    verified.fine();
    project.file("V4__d.sql", "create table t4 (id integer);\n");
    let error = project.migrate(&["up"]).refused();
    assert!(error.contains("V4__d.sql: it did not run, and version 5 ran already"), "{error}");
    assert_eq!(project.states()[3], "4 out of order");
    assert_eq!(project.tables(), "t1 t2 t3 t5");
}

#[test]
fn what_must_not_be_in_a_file_is_refused_before_anything_runs() {
    let project = begun();
    project.file("V4__d.sql", "create table t4 (id integer);\nbegin;\n\ncommit;\n");
    project.file("V04__e.sql", "");
    let error = project.migrate(&["up"]).refused();
    assert!(error.contains("V4__d.sql: V04__e.sql has the same version, 4"), "{error}");
    project.remove("V04__e.sql");
    let error = project.migrate(&["up"]).refused();
    assert!(error.contains("V4__d.sql:2: BEGIN controls the transaction"), "{error}");
    assert!(error.contains("V4__d.sql:4: COMMIT controls the transaction"), "{error}");
    assert_eq!(project.tables(), "t1 t2", "V3 did not run either");
}

#[test]
fn a_setting_that_a_transaction_ignores_is_refused() {
    let project = Project::start(Backend::Sqlite);
    let text = "create table t1 (id integer);\npragma foreign_keys = off;\n";
    project.file("V1__a.sql", text);
    let error = project.migrate(&["up"]).refused();
    assert!(error.contains("V1__a.sql:2: SQLite ignores PRAGMA foreign_keys"), "{error}");
    assert_eq!(project.tables(), "");
    project.file("V1__a.sql", &format!("-- rowgate: no-transaction\n{text}"));
    project.migrate(&["up"]).fine();
}

#[test]
fn pragmas_that_a_transaction_keeps_run_in_it() {
    let project = Project::start(Backend::Sqlite);
    let text = "create table t1 (id integer primary key);\n\
                create table t2 (id integer references t1 (id));\npragma defer_foreign_keys = on;\n\
                insert into t2 values (1);\ninsert into t1 values (1);\n\
                create table doc (a text);\ninsert into doc values ('see pragma foreign_keys');\n\
                pragma user_version = 7;\n";
    project.file("V1__a.sql", text);
    project.migrate(&["up"]).fine();
    assert_eq!(project.values("select user_version from pragma_user_version"), "7");
    for pragma in
        ["synchronous = off", "journal_mode = delete", "auto_vacuum = full", "page_size = 8192"]
    {
        project.file("V2__b.sql", &format!("pragma {pragma};\n"));
        let error = project.migrate(&["up"]).refused();
        let name = pragma.split(' ').next().unwrap_or_default();
        assert!(
            error.contains("V2__b.sql:1: ") && error.contains(&format!("PRAGMA {name}")),
            "{error}"
        );
    }
    // As docs/LIFECYCLE.md has it, for incremental_vacuum.
    let vacuum = "-- rowgate: no-transaction\npragma auto_vacuum = incremental;\nvacuum;\n";
    project.file("V2__b.sql", vacuum);
    project.migrate(&["up"]).fine();
    assert_eq!(project.values("select auto_vacuum from pragma_auto_vacuum"), "2");
}

#[test]
fn the_files_of_other_tools_are_told_the_names_to_give_them() {
    for (name, text, expected) in [
        ("000001_init.up.sql", "", "Rename it to V1__init.sql."),
        ("000001_init.down.sql", "", "Migrations only go forward"),
        (
            "20200101120000_x.sql",
            "-- migrate:up\n-- migrate:down\n",
            "Rename it to V20200101120000__x.sql, and remove",
        ),
        ("20200101_x.sql", "", "Rename it to V20200101__x.sql."),
        ("R__views.sql", "", "Rename it to V<next number>__views.sql."),
        ("U1__undo.sql", "", "Migrations only go forward"),
    ] {
        let project = Project::start(Backend::Sqlite);
        project.file("V1__a.sql", "create table t1 (id integer);\n");
        project.file(name, text);
        project.file("README.md", "# begin;");
        let error = project.migrate(&["up"]).refused();
        assert!(error.contains(name) && error.contains(expected), "{error}");
        assert!(!project.path().join("main.db").exists(), "{name}: the database was not asked");
    }
}

#[test]
fn a_directory_that_is_not_there_and_a_missing_configuration_are_told() {
    let project = begun();
    let error = project.migrate(&["up", "--dir", "elsewhere"]).refused();
    assert!(error.contains("cannot read elsewhere, the directory of migrations"), "{error}");
    let directory = tempfile::tempdir().expect("a directory can be made");
    let output = run(directory.path(), &["migrate", "up"], &[]);
    assert_eq!(output.status.code(), Some(78));
    let error = project.migrate(&["up", "--database", "other"]).refused();
    assert!(error.contains("there is no database \"other\""), "{error}");
}
