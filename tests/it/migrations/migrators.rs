//! Two migrators at once.

use std::fs::File;

use super::{Ended, Project};
use crate::harness::Backend;

/// Runs two migrators at once, so many times, each time on a further file.
fn two_at_once(backend: Backend, times: usize) {
    let project = Project::start(backend);
    project.file("V1__runs.sql", "create table t_runs (version integer);\n");
    project.migrate(&["up"]).fine();
    for version in 2..times + 2 {
        let insert = format!("insert into t_runs values ({version});\n");
        project.file(&format!("V{version}__next.sql"), &insert.repeat(3));
        let migrators = [project.spawn_up(), project.spawn_up()];
        let ended = migrators.map(|it| Ended::of(it.wait_with_output().expect("it is ours")));
        let applied = ended.iter().filter(|it| it.out.contains("1 file applied")).count();
        let idle = ended.iter().filter(|it| it.out.contains("nothing to do")).count();
        assert_eq!((applied, idle), (1, 1), "{ended:?}");
        let waited =
            ended.iter().filter(|it| it.err.contains("another migrator is at work")).count();
        assert!(waited <= 1, "{ended:?}");
        for it in ended {
            it.fine();
        }
    }
    let runs = project.values("select count(*) from t_runs");
    assert_eq!(runs, (3 * times).to_string());
    project.migrate(&["verify"]).fine();
}

#[test]
fn two_migrators_of_postgresql_run_each_file_once() {
    two_at_once(Backend::Postgres, 20);
}

#[test]
fn two_migrators_of_mariadb_run_each_file_once() {
    two_at_once(Backend::Mariadb, 20);
}

#[test]
fn two_migrators_of_sqlite_run_each_file_once() {
    two_at_once(Backend::Sqlite, 20);
}

#[test]
fn a_migrator_waits_for_another_as_long_as_it_may() {
    let project = Project::start(Backend::Sqlite);
    project.file("V1__a.sql", "create table t1 (id integer);\n");
    let directory = File::open(project.path()).expect("it is there");
    directory.lock().expect("nobody has it");
    let ended = project.migrate(&["up", "--wait", "500ms"]);
    assert_eq!(
        ended.err.matches("another migrator is at work, waiting for it").count(),
        1,
        "{ended:?}"
    );
    assert!(ended.refused().contains("another migrator has worked on it for 500ms"));
    // Those who only look do not wait.
    assert_eq!(project.states(), ["1 pending"]);
    directory.unlock().expect("it is ours");
    project.migrate(&["up", "--wait", "0s"]).fine();
}
