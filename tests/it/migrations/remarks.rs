//! The warnings and notices of the database, which are printed with the statement that they are about.

use super::Project;
use crate::harness::Backend;

#[test]
fn warnings_are_printed_with_file_and_line() {
    let project = Project::start(Backend::Postgres);
    project.execute(
        "create role app login password 'a'; create role app2; create table owned (id int); \
         grant select on owned to app; grant create, usage on schema public to app",
    );
    let url = project.postgres.as_ref().expect("it is PostgreSQL").url_as("app", "a");
    let text = format!("[databases.main]\nurl = \"{url}\"\n");
    std::fs::write(project.path().join("rowgate.toml"), text).expect("it is ours");
    project.file("V1__a.sql", "create table t1 (id int);\n\ngrant select on owned to app2;\n");
    project.file("V2__b.sql", "-- rowgate: no-transaction\nvacuum owned;\n");
    let loud = "do $$ begin for n in 1..150 loop raise notice 'number %', n using hint = 'Count.'; end loop; end $$;\n";
    project.file("V3__c.sql", loud);
    let ended = project.migrate(&["up"]);
    for expected in [
        "V1__a.sql:3: WARNING: no privileges were granted for \"owned\"\n",
        "V2__b.sql:2: WARNING: ",
        "V3__c.sql:1: NOTICE: number 1\n  hint: Count.\n",
        "V3__c.sql:1: NOTICE: number 100\n",
        "V3__c.sql:1: 50 more notices are not shown\n",
    ] {
        assert!(ended.err.contains(expected), "{expected}\n{}", ended.err);
    }
    assert!(!ended.err.contains("number 101"), "{}", ended.err);
    assert!(ended.fine().ends_with("3 files applied, it is at V3\n"));

    let project = Project::start(Backend::Mariadb);
    let text = "set sql_mode = '';\ncreate table t1 (a tinyint);\ninsert into t1 values (1000);\n\
                drop table if exists nope;\n";
    project.file("V1__a.sql", text);
    let ended = project.migrate(&["up"]);
    for expected in
        ["V1__a.sql:3: Warning 1264: Out of range", "V1__a.sql:4: Note 1051: Unknown table"]
    {
        assert!(ended.err.contains(expected), "{expected}\n{}", ended.err);
    }
    ended.fine();
}

#[test]
fn what_the_database_remarks_before_an_error_is_printed_too() {
    let project = Project::start(Backend::Postgres);
    project
        .file("V1__a.sql", "do $$ begin raise notice 'first'; raise exception 'then'; end $$;\n");
    let error = project.migrate(&["up"]).refused();
    let [notice, failure] =
        ["V1__a.sql:1: NOTICE: first", "V1__a.sql:1: then"].map(|part| error.find(part));
    assert!(notice.is_some() && notice < failure, "{error}");
}
