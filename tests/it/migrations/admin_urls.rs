//! `admin_url`: the commands connect as the owner, and the server does not.

use super::{Project, run};
use crate::harness::Backend;

#[test]
fn the_owner_migrates_and_the_service_does_not() {
    let project = Project::start(Backend::Postgres);
    let postgres = project.postgres.as_ref().expect("it is PostgreSQL");
    postgres.psql("create role service login password 'pass word'");
    let owner = postgres.url();
    let service = postgres.url_as("service", "pass word");
    let configure = |more: &str| {
        let text = format!("[databases.main]\nurl = \"{service}\"\n{more}\n");
        std::fs::write(project.path().join("rowgate.toml"), text).expect("it is ours");
    };
    project.file("V1__a.sql", "create table t1 (id integer);\n");
    configure("");
    let error = project.migrate(&["up"]).refused();
    assert!(error.contains("permission denied for schema public"), "{error}");

    let password = project.path().join("admin");
    std::fs::write(&password, &owner).expect("it is ours");
    configure(&format!("admin_url_file = \"{}\"", password.display()));
    project.migrate(&["up"]).fine();
    assert_eq!(
        project.values("select tableowner from pg_tables where tablename = 't1'"),
        "postgres"
    );
    let shown = project.command(&["config", "show"]).fine();
    assert!(shown.contains("admin_url"), "{shown}");
    for secret in ["pass word", "pass%20word"] {
        assert!(!shown.contains(secret), "{shown}");
    }

    configure("");
    let environment = [("ROWGATE__DATABASES__MAIN__ADMIN_URL", owner.as_str())];
    let output = run(project.path(), &["migrate", "verify"], &environment);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let environment = [("ROWGATE__DATABASES__MAIN__ADMIN_URL", "mysql://me@127.0.0.1/shop")];
    let output = run(project.path(), &["migrate", "verify"], &environment);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("this is another kind of database than databases.main.url"), "{error}");
}

#[test]
fn the_job_of_kubernetes_needs_its_url_and_its_files_alone() {
    let project = Project::start(Backend::Postgres);
    let directory = tempfile::tempdir().expect("a directory can be made");
    std::fs::write(directory.path().join("url"), project.url()).expect("it is ours");
    let files =
        concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/kubernetes/overlays/production/migrations");
    let url = directory.path().join("url");
    let environment = [("ROWGATE__DATABASES__MAIN__URL_FILE", url.to_str().expect("a path"))];
    let arguments = ["migrate", "up", &format!("--dir={files}")];
    let output = run(directory.path(), &arguments, &environment);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(project.values("select count(*) from orders"), "0");
}

#[test]
fn a_server_that_is_not_there_is_named_without_its_credentials() {
    let project = Project::start(Backend::Sqlite);
    project.file("V1__a.sql", "create table t1 (id integer);\n");
    for scheme in ["postgres", "mysql"] {
        let url = format!("{scheme}://me:secret@127.0.0.1:9/shop");
        for command in [&["migrate", "status"][..], &["schema", "main"], &["maintain", "main"]] {
            let output = run(project.path(), command, &[("ROWGATE__DATABASES__MAIN__URL", &url)]);
            let error = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success() && error.contains("Tried 127.0.0.1:9."), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
