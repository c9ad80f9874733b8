//! Texts that are one statement here and several to the database, or the other way round.

use super::Project;
use crate::harness::Backend;

#[test]
fn a_name_that_looks_like_a_body_hides_no_commit() {
    let project = Project::start(Backend::Postgres);
    let function = "create function public.begin() returns int language sql as 'select 1';\n";
    project
        .file("V1__a.sql", &format!("{function}create table t1 (i int);\ncommit;\nselect 1/0;\n"));
    let error = project.migrate(&["up"]).refused();
    assert!(error.contains("V1__a.sql:3: COMMIT controls the transaction"), "{error}");
    assert_eq!(project.tables(), "");
    project.file("V1__a.sql", &format!("{function}create table t1 (i int);\nselect 1/0;\n"));
    let error = project.migrate(&["up"]).refused();
    assert!(error.contains("V1__a.sql:3: division by zero"), "{error}");
    assert!(error.contains("Nothing of V1__a.sql is applied"), "{error}");
    assert_eq!(project.tables(), "");
    let body = "create function f() returns int begin atomic select case when true then 1 end as end; end;\n";
    let body =
        if project.postgres.as_ref().expect("it is PostgreSQL").major() < 14 { "" } else { body };
    project.file("V1__a.sql", &format!("{function}{body}create table t1 (i int);\n"));
    project.migrate(&["up"]).fine();
    assert_eq!(project.tables(), "t1");
}

#[test]
fn what_is_several_statements_to_the_database_does_not_run() {
    let project = Project::start(Backend::Postgres);
    let hidden = "select 'a\\'';create table t2 (i int); commit; --';\n";
    for head in ["", "-- rowgate: no-transaction\n"] {
        let text = format!(
            "{head}create table t1 (i int);\nset standard_conforming_strings = off;\n{hidden}"
        );
        project.file("V1__a.sql", &text);
        let error = project.migrate(&["up"]).refused();
        let line = 3 + usize::from(!head.is_empty());
        assert!(error.contains(&format!("V1__a.sql:{line}: ")), "{error}");
        assert!(error.contains("To the database it is several statements"), "{error}");
        if head.is_empty() {
            assert!(error.contains("Nothing of V1__a.sql is applied"), "{error}");
            assert_eq!(project.tables(), "");
        } else {
            assert!(error.contains("Statement 3 (line 4) failed and did nothing"), "{error}");
            assert_eq!(project.tables(), "t1");
        }
    }

    // The same on MariaDB, whose server takes one statement.
    let project = Project::start(Backend::Mariadb);
    let hidden = "create table t1 (a varchar(99));\nset sql_mode = 'NO_BACKSLASH_ESCAPES';\n\
                  insert into t1 values ('a\\'); create table t2 (i int); -- ');\n";
    project.file("V1__a.sql", hidden);
    let error = project.migrate(&["up"]).refused();
    assert!(error.contains("V1__a.sql:3: ") && error.contains("failed and did nothing"), "{error}");
    assert_eq!(project.tables(), "t1");
    assert_eq!(project.values("select count(*) from t1"), "0");
}

#[test]
fn a_text_that_the_database_cannot_read_leaves_nothing_to_clear_up() {
    for (backend, text) in [
        (Backend::Postgres, "craete index concurrently i on t1 (id)"),
        (Backend::Postgres, "select * from nope"),
        (Backend::Sqlite, "craete table t1 (id int)"),
        (Backend::Sqlite, "insert into nope values (1)"),
    ] {
        let project = Project::start(backend);
        project.file("V1__a.sql", &format!("-- rowgate: no-transaction\n{text};\n"));
        let error = project.migrate(&["up"]).refused();
        assert!(error.contains("Nothing of the file was applied"), "{text}: {error}");
        assert_eq!(project.states(), ["1 pending"], "{text}");
    }
    // What has begun to run may have done something.
    let project = Project::start(Backend::Postgres);
    project.file("V1__a.sql", "create table t1 (id int);\ninsert into t1 values (1), (1);\n");
    project.migrate(&["up"]).fine();
    let index = "-- rowgate: no-transaction\ncreate unique index concurrently i on t1 (id);\n";
    project.file("V2__b.sql", index);
    let error = project.migrate(&["up"]).refused();
    assert!(error.contains("Statement 1 (line 2) may have run"), "{error}");
    assert_eq!(project.states(), ["1 applied", "2 unfinished"]);
}

#[test]
fn every_type_can_be_selected_in_a_file() {
    let project = Project::start(Backend::Postgres);
    let text = "create type mood as enum ('a');\ncreate table t1 as select 'a'::mood as m;\n\
                select m, array[m], row(m, 1) from t1;\nselect relacl, oid::regclass from pg_class;\n\
                select pg_catalog.set_config('search_path', '', false);\n";
    project.file("V1__a.sql", text);
    project.migrate(&["up"]).fine();
    assert_eq!(project.values("select m from t1"), "a");
}
