//! The files themselves: what is found in the directory, and what their text is.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::process::Command;

use super::{BACKENDS, Project};
use crate::harness::Backend;

#[test]
fn a_migration_that_cannot_be_read_is_not_left_out() {
    let project = Project::start(Backend::Sqlite);
    project.file("V2__b.sql", "create table t2 (id integer);\n");
    let directory = project.path().join("migrations");
    let first = directory.join("V1__a.sql");
    let refused = |expected: &str| {
        for command in ["up", "verify", "status"] {
            let ended = project.migrate(&[command]);
            assert!(ended.err.contains(expected), "{command}: {ended:?}");
            assert_eq!(ended.status, Some(i32::from(command != "status")), "{ended:?}");
        }
        assert!(!project.path().join("main.db").exists(), "{expected}: nothing ran");
    };
    symlink("gone.sql", &first).expect("it is ours");
    refused("V1__a.sql: it is a symbolic link to a file that is not there");
    fs::remove_file(&first).expect("it is there");
    // The memory of a process cannot be read from its beginning.
    symlink("/proc/self/mem", &first).expect("it is ours");
    refused("V1__a.sql: it cannot be read: ");
    fs::remove_file(&first).expect("it is there");
    let made = Command::new("mkfifo").arg(&first).status().expect("it is installed");
    assert!(made.success());
    refused("V1__a.sql: it is no file but a pipe, socket or device");
    fs::remove_file(&first).expect("it is there");
    fs::create_dir(&first).expect("it is ours");
    refused("V1__a.sql: it is no file but a directory");
    fs::remove_dir(&first).expect("it is there");
    let name = std::ffi::OsStr::from_bytes(b"V1__caf\xe9.sql");
    fs::write(directory.join(name), "create table t1 (id integer);\n").expect("it is ours");
    refused("V1__caf\u{fffd}.sql: the name of the file is not UTF-8");
    fs::remove_file(directory.join(name)).expect("it is there");
    // A link to a file is one.
    project.file("first.sql", "create table t1 (id integer);\n");
    symlink("first.sql", &first).expect("it is ours");
    project.migrate(&["up"]).fine();
    assert_eq!(project.tables(), "t1 t2");
}

#[test]
fn line_ends_within_strings_are_kept_and_do_not_count_as_changes() {
    for backend in BACKENDS {
        let project = Project::start(backend);
        let text = "create table t1 (a varchar(99));\r\ninsert into t1 values ('a\r\nb');\r\n";
        project.file("V1__a.sql", text);
        project.migrate(&["up"]).fine();
        assert_eq!(project.values("select length(a) from t1"), "4", "{backend:?}");
        let kept = project.values("select length(content) from rowgate_migrations");
        assert_eq!(kept, text.len().to_string(), "{backend:?}");
        project.file("V1__a.sql", &text.replace("\r\n", "\n"));
        project.migrate(&["verify"]).fine();
        project.file("V1__a.sql", &text.replace("('a", "('c"));
        let error = project.migrate(&["verify"]).refused();
        assert!(error.contains("V1__a.sql:2: it was changed"), "{error}");
    }
}

#[test]
fn a_directive_behind_a_comment_of_several_lines_counts() {
    let project = Project::start(Backend::Postgres);
    project.file("V1__a.sql", "create table t1 (id int);\n");
    project.file(
        "V2__b.sql",
        "/* An index,\n   made beside the writers */\n-- rowgate: no-transaction\ncreate index concurrently i on t1 (id);\n",
    );
    project.migrate(&["up"]).fine();
    project.file("V3__c.sql", "/* a */ /* rowgate: no_transaction */\nselect 1;\n");
    let error = project.migrate(&["up"]).refused();
    assert!(
        error.contains("V3__c.sql:1: there is no directive `rowgate: no_transaction`"),
        "{error}"
    );
}
