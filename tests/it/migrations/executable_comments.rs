//! `/*! … */` and `/*M! … */` in files: MySQL and MariaDB run what is in them.

use std::process::Command;

use super::Project;
use crate::harness::Backend;
use crate::harness::programs::mysql_dump;

/// The numbers of tables, views, triggers, events and procedures of the database.
const OBJECTS: &str = "select concat( \
    (select count(*) from information_schema.tables where table_schema = 'test' and table_name like 'd%'), ' ', \
    (select count(*) from information_schema.triggers where trigger_schema = 'test'), ' ', \
    (select count(*) from information_schema.events where event_schema = 'test'), ' ', \
    (select count(*) from information_schema.routines where routine_schema = 'test'))";

/// Objects of each kind that a dump writes in executable comments.
const SOURCE: &str = "create table d (id int primary key, n int);\ninsert into d values (1, 2), (3, 4);\n\
    create view dv as select n from d;\ndelimiter //\n\
    create trigger g before insert on d for each row begin set @a = 1; set @b = 2; end//\n\
    create event e on schedule every 1 year do begin select 1; select 2; end//\n\
    create procedure p() begin select 1; select 2; end//\n";

#[test]
fn executable_comments_are_statements_and_shown() {
    let project = Project::start(Backend::Mariadb);
    let text = "create table t1 (id int);\n/*!50003 create table t2 (id int) */;\n/*M! create table t3 (id int) */;\n\
                create table t4 (id /*!40000 int */ /*!99999 not null */);\n/*!99999 nonsense */;\n/* create table t9; */\n";
    project.file("V1__a.sql", text);
    let planned = project.migrate(&["up", "--dry-run"]).fine();
    assert!(planned.contains("/*!50003 create table t2 (id int) */;"), "{planned}");
    assert!(planned.contains("/*M! create table t3 (id int) */;"), "{planned}");
    project.migrate(&["up"]).fine();
    let mariadb = project.mariadb.as_ref().expect("it is MariaDB");
    // MySQL takes the comments of MariaDB for comments.
    assert_eq!(project.tables(), if mariadb.is_mysql() { "t1 t2 t4" } else { "t1 t2 t3 t4" });
    assert_eq!(project.values("select statements_done from rowgate_migrations"), "5");

    let body = "DELIMITER ;;\n/*!50003 create*/ /*!50003 trigger g before insert on t1 for each row\n\
                begin set new.id = 7; set new.id = new.id + 1; end */;;\nDELIMITER ;\n/*!50003 insert into t1 values (1) */;\n";
    project.file("V2__b.sql", body);
    project.migrate(&["up"]).fine();
    assert_eq!(project.values("select id from t1"), "8");
}

#[test]
fn several_statements_in_a_comment_and_one_without_an_end_are_refused() {
    let project = Project::start(Backend::Mariadb);
    for (text, expected) in [
        (
            "create table t1 (id int);\n/*!50003 create table t2 (id int); drop table t2 */;\n",
            "V1__a.sql:2: there are several",
        ),
        (
            "create table t1 (id int);\n/*!50003 create table t2 (id int);\n",
            "V1__a.sql:2: a comment does not end",
        ),
        (
            "create table t1 (id int);\n/*!50003 commit */;\n",
            "V1__a.sql:2: COMMIT controls the transaction",
        ),
        (
            "select 1 /*!99999 ' */; create table t1 (id int); -- ' */;\n",
            "V1__a.sql:1: an executable comment ends elsewhere",
        ),
    ] {
        project.file("V1__a.sql", text);
        let error = project.migrate(&["up"]).refused();
        assert!(error.contains(expected), "{error}");
        assert_eq!(project.tables(), "");
    }
}

#[test]
fn the_dump_of_a_database_makes_all_of_it() {
    let project = Project::start(Backend::Mariadb);
    let mariadb = project.mariadb.as_ref().expect("it is MariaDB");
    // Objects keep the definer that they had.
    project.execute(
        "create user boss@'%' identified by 'a'; grant all on *.* to boss@'%' with grant option",
    );
    let url = mariadb.url_as("boss", "a");
    let text = format!("[databases.main]\nurl = \"{url}\"\n");
    std::fs::write(project.path().join("rowgate.toml"), text).expect("it is ours");
    // With LOCK TABLES, and without; with and without comments.
    let ways: [&[&str]; 2] = [&[], &["--skip-add-locks", "--skip-comments"]];
    for more in ways {
        project.execute(SOURCE);
        let objects = project.values(OBJECTS);
        assert_eq!(objects, "2 1 1 1");
        let mut dump = Command::new(mysql_dump());
        dump.arg("--no-defaults").arg(format!("--socket={}", mariadb.socket().display()));
        dump.args(["--user=root", "--routines", "--events"]).args(more).arg("test");
        let dump = dump.output().expect("it is installed");
        assert!(dump.status.success(), "{dump:?}");
        project.execute("drop database test; create database test character set utf8mb4");
        project.file("V1__import.sql", &String::from_utf8(dump.stdout).expect("text"));
        let done = project.migrate(&["up"]).fine();
        assert!(done.contains("V1__import.sql applied"), "{done}");
        assert_eq!(project.values(OBJECTS), objects, "{more:?}");
        assert_eq!(project.values("select concat(id, n) from d order by id"), "12 34");
        project.execute("drop database test; create database test character set utf8mb4");
    }
}
