//! The values, sequences and histories of MariaDB in a backup: they come back equal, or the command says which do not.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{fail, succeed};
use crate::harness::mariadb::{Mariadb, is_mysql};
use crate::harness::programs::mysql_dump;

/// The URL of a database by the login that may do everything.
fn root(mariadb: &Mariadb, database: &str) -> String {
    format!("mysql://root@localhost/{database}?socket={}", mariadb.socket().display())
}

/// The types with the values to store, and the expression by which a value is compared.
const TYPES: [(&str, &[&str], &str); 33] = [
    ("tinyint", &["-128", "127"], "{}"),
    ("bigint unsigned", &["18446744073709551615"], "{}"),
    ("int(6) zerofill", &["7"], "{}"),
    ("bool", &["true"], "{}"),
    ("bit(9)", &["b'101000111'"], "{} + 0"),
    ("decimal(30,10)", &["12345678901234567890.0123456789"], "{}"),
    ("float", &["1234567.5", "16777216", "0.1", "3.4028234e38"], "{} + 0e0"),
    ("float unsigned", &["0.5"], "{} + 0e0"),
    ("float(12,3)", &["1234567.125", "123456789.125"], "{} + 0e0"),
    ("double", &["1.7976931348623157e308", "0.1 + 0.2", "5e-324"], "{} + 0e0"),
    ("double(20,2)", &["123456789012345.67"], "{} + 0e0"),
    ("year", &["0", "1901", "2155"], "{} + 0"),
    ("date", &["'0000-00-00'", "'2026-00-00'", "'9999-12-31'"], "{}"),
    ("datetime(6)", &["'2026-03-29 02:30:00.123456'", "'0000-00-00'"], "{}"),
    ("timestamp(6) null", &["'2026-03-29 02:30:00.123456'", "'0000-00-00'"], "{}"),
    ("time(6)", &["'-838:59:58.999999'"], "{}"),
    ("char(5)", &["'ab  '", "''"], "hex({})"),
    ("varchar(9)", &["'a\\n\\'\\\\\\0'", "' x '"], "hex({})"),
    ("varchar(9) character set latin1", &["x'e98081ff'"], "hex({})"),
    ("varchar(9) character set utf16", &["x'd83dde00'"], "hex({})"),
    ("varchar(9) character set cp1251", &["x'98c0'"], "hex({})"),
    ("varchar(9) character set cp1250", &["'c'"], "hex({})"),
    ("text", &["'\\r\\n\\t'"], "hex({})"),
    ("binary(4)", &["x'00ff27'"], "hex({})"),
    ("varbinary(9)", &["x'00ff270a0d5c'"], "hex({})"),
    ("blob", &["x'8000'"], "hex({})"),
    ("enum('a','b')", &["'b'", "''"], "{} + 0"),
    ("set('x','y')", &["'x,y'"], "{} + 0"),
    ("json", &["'{\"a\": 1.0}'"], "{}"),
    ("geometry", &["point(1.5, -2)"], "hex({})"),
    ("int invisible", &["5"], "{}"),
    ("int as (1 + 2) stored", &[], "{}"),
    ("float as (1e0 / 3) virtual", &[], "{} + 0e0"),
];

#[test]
fn every_type_comes_back_equal_or_its_column_is_named() {
    let mariadb = Mariadb::start();
    let columns: Vec<_> =
        TYPES.iter().enumerate().map(|(at, it)| format!("c{at} {}", it.0)).collect();
    let mut script = format!(
        "set sql_mode = 'ALLOW_INVALID_DATES'; create table v (id int primary key, {});",
        columns.join(", ")
    );
    for row in 0..4 {
        let given: Vec<_> = TYPES
            .iter()
            .enumerate()
            .filter_map(|(at, it)| Some((format!("c{at}"), *it.1.get(row)?)))
            .collect();
        let names: Vec<_> = given.iter().map(|(name, _)| name.as_str()).collect();
        let values: Vec<_> = given.iter().map(|(_, value)| *value).collect();
        script += &format!(
            "insert into v (id, {}) values ({row}, {});",
            names.join(", "),
            values.join(", ")
        );
    }
    mariadb.sql(&script);
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    let told = succeed(directory, &["backup", "main", "copy"], &root(&mariadb, "test"));
    mariadb.sql("create database other");
    succeed(directory, &["restore", "main", "copy"], &root(&mariadb, "other"));
    for (at, (declared, _, read)) in TYPES.iter().enumerate() {
        let read = read.replace("{}", &format!("c{at}"));
        let values =
            |database: &str| mariadb.sql(&format!("select {read} from {database}.v order by id"));
        let named = format!("warning: v.c{at} ");
        match *declared {
            "float" => assert!(
                told.contains(&format!("{named}is a FLOAT")) && told.contains(": 3 rows have more"),
                "{told}"
            ),
            // It may hold more digits at any time, and so is always named.
            "float unsigned" => assert!(
                told.contains(&format!("{named}is a FLOAT")) && told.contains(": 0 rows"),
                "{told}"
            ),
            "varchar(9) character set cp1251" => {
                assert!(told.contains(&format!("{named}holds bytes in 1 rows")), "{told}")
            }
            _ => {
                assert!(!told.contains(&named), "{declared}: {told}");
                assert_eq!(values("other"), values("test"), "{declared}");
            }
        }
    }
}

#[test]
fn defaults_that_ask_sequences_are_restored_and_ask_those_of_their_own_database() {
    if is_mysql() {
        return;
    }
    let mariadb = Mariadb::start();
    mariadb.sql(
        "create sequence sq; create database far; create sequence far.theirs; \
         create table us (id int primary key default nextval(sq), f int default nextval(far.theirs), x text); \
         insert into us (x) values ('nextval(`test`.`sq`)'), ('b')",
    );
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    let url = root(&mariadb, "test");
    let told = succeed(directory, &["backup", "main", "copy"], &url);
    let named = "warning: the default of us.f takes its numbers from far.theirs, a sequence of another database";
    assert!(told.contains(named) && !told.contains("us.id"), "{told}");
    let read = "select id, f, x from us order by id";
    let before = mariadb.sql(read);
    let told = succeed(directory, &["restore", "main", "copy", "--force"], &url);
    assert!(told.contains(named), "{told}");
    assert_eq!(mariadb.sql(read), before);

    // Made by the program alone, with locks, under which such a table takes no rows.
    let mut program = Command::new(mysql_dump());
    program.args(["--no-defaults", "-u", "root", "-S"]).arg(mariadb.socket()).arg("test");
    let plain = program.output().expect("it runs").stdout;
    assert!(String::from_utf8_lossy(&plain).contains("LOCK TABLES `us` WRITE"));
    fs::write(directory.join("plain"), plain).expect("it is ours");
    for (file, database) in [("copy", "one"), ("plain", "two")] {
        mariadb.sql(&format!("create database {database}"));
        succeed(directory, &["restore", "main", file], &root(&mariadb, database));
        assert_eq!(mariadb.sql(&format!("use {database}; {read}")), before);
        let taken = "select next_not_cached_value from test.sq";
        let of_the_source = mariadb.sql(taken);
        mariadb.sql(&format!("insert into {database}.us (x) values ('new')"));
        assert_eq!(mariadb.sql(taken), of_the_source, "{file} asks the sequence of its source");
    }
}

#[test]
fn the_history_of_a_table_is_in_the_backup_or_there_is_none() {
    if is_mysql() {
        return;
    }
    let mariadb = Mariadb::start();
    mariadb.sql(
        "create table h (id int primary key, v int) with system versioning; \
         create table n (id int primary key, v float, s timestamp(6) generated always as row start, \
            e timestamp(6) generated always as row end, period for system_time (s, e)) with system versioning; \
         insert into h values (1, 1); update h set v = 2; delete from h; insert into h values (2, 1); \
         insert into n (id, v) values (1, 1234567.5); update n set v = 2",
    );
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    let url = mariadb.url();
    let told = succeed(directory, &["backup", "main", "copy"], &url);
    assert!(told.contains("n.v is a FLOAT") && told.contains(": 1 rows have more"), "{told}");
    let read = "select id, v, row_start, row_end from h for system_time all order by row_start; \
        select id, s, e from n for system_time all order by s";
    let before = mariadb.sql(read);
    assert_eq!(before.lines().count(), 5, "{before}");
    succeed(directory, &["restore", "main", "copy", "--force"], &url);
    assert_eq!(mariadb.sql(read), before);

    mariadb.sql(
        "create table t (id int primary key, s bigint unsigned generated always as row start, \
            e bigint unsigned generated always as row end, period for system_time (s, e)) with system versioning",
    );
    let refused = fail(directory, &["backup", "main", "more"], &url);
    assert!(refused.contains("no program writes the history of transactions of t\n"), "{refused}");
    assert!(!directory.join("more").exists());
}

#[test]
fn a_dump_that_writes_elsewhere_and_a_database_that_is_not_empty_are_refused() {
    let mariadb = Mariadb::start();
    mariadb.sql(
        "create database prod; create table prod.t (n int); insert into prod.t values (1); create database dst",
    );
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    let dump = |databases: &[&str]| {
        let mut program = Command::new(mysql_dump());
        program.args(["--no-defaults", "-u", "root", "-S"]).arg(mariadb.socket());
        let output = program.arg("--databases").args(databases).output().expect("it runs");
        fs::write(directory.join("dump"), output.stdout).expect("it is ours");
    };
    dump(&["prod"]);
    mariadb.sql("insert into prod.t values (2)");
    for force in [&[][..], &["--force"]] {
        let arguments = [&["restore", "main", "dump"], force].concat();
        let refused = fail(directory, &arguments, &root(&mariadb, "dst"));
        assert!(refused.contains("the dump changes to the database prod, not dst"), "{refused}");
        assert!(refused.contains("Nothing was changed"), "{refused}");
    }
    assert_eq!(mariadb.sql("select count(*) from prod.t"), "2");
    succeed(directory, &["restore", "main", "dump", "--force"], &root(&mariadb, "prod"));
    assert_eq!(mariadb.sql("select count(*) from prod.t"), "1");

    for (makes, drops) in [
        ("create procedure dst.p() select 1", "drop procedure dst.p"),
        ("create function dst.f() returns int return 1", "drop function dst.f"),
        ("create event dst.e on schedule every 1 day do select 1", "drop event dst.e"),
        ("create view dst.v as select 1", "drop view dst.v"),
    ] {
        mariadb.sql(makes);
        backed_up(directory, &root(&mariadb, "prod"));
        let refused = fail(directory, &["restore", "main", "copy"], &root(&mariadb, "dst"));
        assert!(refused.contains("the database dst is not empty"), "{makes}: {refused}");
        mariadb.sql(drops);
    }
    succeed(directory, &["restore", "main", "copy"], &root(&mariadb, "dst"));
}

fn backed_up(directory: &Path, url: &str) {
    succeed(directory, &["backup", "main", "copy", "--force"], url);
}
