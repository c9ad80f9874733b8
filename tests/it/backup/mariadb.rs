//! Backups of MariaDB or MySQL by its own programs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{fail, names, said, succeed};
use crate::harness::certificates::Certificates;
use crate::harness::mariadb::{Mariadb, PASSWORD};
use crate::harness::programs::{mysql_client, mysql_dump, path_behind};
use crate::harness::server::run;

const CONTENT: &str = "create table parents (id bigint auto_increment primary key, name text not null);\
    create table children (parent bigint references parents (id), born datetime(6), data varbinary(9));\
    insert into parents (name) values ('Ada'), ('a\\nb\\\\c ü');\
    insert into children select id, '2026-01-31 12:00:00.5', x'00ff27' from parents;\
    create view names as select name from parents;\
    create trigger trimmed before insert on parents for each row set new.name = trim(new.name)";

const READ: &str = "select p.name, c.born, hex(c.data) from parents p join children c on c.parent = p.id \
    order by p.id; select count(*) from names";

#[test]
fn a_database_is_backed_up_and_restored() {
    let mariadb = Mariadb::start();
    // By its own login: what a view runs with belongs to it.
    mariadb.sql(CONTENT);
    let before = mariadb.sql(READ);
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    for url in [mariadb.url(), mariadb.socket_url()] {
        let done = succeed(directory, &["backup", "main", "copy", "--force"], &url);
        assert!(done.contains("Ver") || done.contains("from"), "its version is told: {done}");
        assert_eq!(names(directory, ""), ["copy"]);
    }
    let url = mariadb.url();
    let refused = fail(directory, &["restore", "main", "copy"], &url);
    assert!(refused.contains("the database test is not empty"), "{refused}");
    assert!(refused.contains("--force"), "{refused}");
    mariadb.sql("insert into parents (name) values (' later ')");
    let root = format!("mysql://root@localhost/test?socket={}", mariadb.socket().display());
    succeed(directory, &["restore", "main", "copy", "--force"], &root);
    assert_eq!(mariadb.sql(READ), before);
    assert_eq!(mariadb.sql("select count(*) from parents"), "2");

    mariadb.sql("create database other");
    let other = root.replace("/test?", "/other?");
    succeed(directory, &["restore", "main", "copy"], &other);
    assert_eq!(mariadb.sql(&format!("use other; {READ}")), before);
    mariadb.sql("insert into other.parents (name) values (' trimmed ')");
    assert_eq!(mariadb.sql("select count(*) from other.parents where name = 'trimmed'"), "1");

    let whole = fs::read(directory.join("copy")).expect("it is there");
    fs::write(directory.join("half"), &whole[..whole.len() / 2]).expect("it is ours");
    let refused = fail(directory, &["restore", "main", "half", "--force"], &url);
    assert!(refused.contains("half is not a whole dump"), "{refused}");
    assert_eq!(mariadb.sql(READ), before);
}

#[test]
fn several_servers_are_refused() {
    let mariadb = Mariadb::start();
    let directory = tempfile::tempdir().expect("a directory");
    let one = format!("127.0.0.1:{}", mariadb.port());
    let url = mariadb.url().replace(&one, &format!("{one},{one}"));
    let refused = fail(directory.path(), &["backup", "main", "copy"], &url);
    assert!(refused.contains("names several servers"), "{refused}");
    assert_eq!(names(directory.path(), ""), [""; 0]);
}

#[test]
fn a_login_that_is_refused_makes_no_file_and_its_reason_is_shown() {
    let mariadb = Mariadb::start();
    let directory = tempfile::tempdir().expect("a directory");
    let url = mariadb.url_as("rowgate", "wrong");
    let refused = fail(directory.path(), &["backup", "main", "copy"], &url);
    assert!(refused.contains("Access denied"), "{refused}");
    assert_eq!(names(directory.path(), ""), [""; 0]);
}

/// A program that writes down what it was started with, and becomes the one that it stands for.
fn witness(directory: &Path, real: &Path) {
    let name = real.file_name().expect("it has a name");
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = --version ] || {{ echo \"$@\"; env; }} >> '{}'\nexec {} \"$@\"\n",
        directory.join("seen").display(),
        real.display()
    );
    let path = directory.join(name);
    fs::write(&path, script).expect("it is ours");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
}

#[test]
fn nobody_sees_the_password() {
    let mariadb = Mariadb::start();
    mariadb.sql("create table t (n integer)");
    let programs = tempfile::tempdir().expect("a directory");
    witness(programs.path(), &mysql_dump());
    witness(programs.path(), &mysql_client());
    let path = path_behind(programs.path()).into_string().expect("text");
    let directory = tempfile::tempdir().expect("a directory");
    let url = mariadb.url();
    let environment = [
        ("DATABASE_URL", url.as_str()),
        ("PATH", &path),
        ("TMPDIR", directory.path().to_str().expect("text")),
        ("MYSQL_PWD", PASSWORD),
    ];
    for arguments in [&["backup", "main", "copy"][..], &["restore", "main", "copy", "--force"]] {
        let output = run(directory.path(), arguments, &environment);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", said(&output));
    }
    let seen = fs::read_to_string(programs.path().join("seen")).expect("they ran");
    assert_eq!(seen.matches("--defaults-file=").count(), 2, "{seen}");
    assert!(!seen.contains("correct") && !seen.contains("PWD=correct"), "{seen}");
    assert_eq!(names(directory.path(), ""), ["copy"]);
}

#[test]
fn the_encryption_of_the_url_is_that_of_the_program() {
    let ours = Certificates::make();
    let others = Certificates::make();
    let mut mariadb = Mariadb::start();
    let mut settings = vec!["require-secure-transport=ON".to_owned()];
    for (option, name) in
        [("ssl-cert", "server.crt"), ("ssl-key", "server.key"), ("ssl-ca", "ca.crt")]
    {
        let content = fs::read(ours.path(name)).expect("it was made");
        settings.push(format!("{option}={}", mariadb.put(name, &content).display()));
    }
    mariadb.restart_with(&settings);
    let directory = tempfile::tempdir().expect("a directory");
    let by_name = mariadb.url().replace("127.0.0.1", "localhost");
    let verified = |authority: &Certificates| {
        format!("{by_name}?ssl-mode=VERIFY_IDENTITY&ssl-ca={}", authority.path("ca.crt"))
    };
    succeed(directory.path(), &["backup", "main", "verified"], &verified(&ours));
    succeed(
        directory.path(),
        &["backup", "main", "required"],
        &format!("{by_name}?ssl-mode=REQUIRED"),
    );
    for url in [verified(&others), format!("{by_name}?ssl-mode=DISABLED")] {
        fail(directory.path(), &["backup", "main", "other"], &url);
    }
    assert_eq!(names(directory.path(), ""), ["required", "verified"]);
}
