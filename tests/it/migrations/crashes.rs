//! Migrators that are killed in the middle of a file: the ledger tells what is there.

use super::{PATIENCE, Project};
use crate::harness::Backend;
use crate::harness::wait::eventually;

/// A statement that does not end by itself.
pub(super) fn endless(backend: Backend) -> &'static str {
    match backend {
        Backend::Postgres => "select pg_sleep(600)",
        Backend::Mariadb => "select sleep(600)",
        Backend::Sqlite => {
            "with recursive c(n) as (select 1 union all select n + 1 from c) select count(*) from c"
        }
    }
}

impl Project {
    /// Waits until a migrator runs the endless statement, or is in the transaction with it.
    pub(super) fn wait_for_endless(&self, version: usize, done: usize, is_alone: bool) {
        let running = match self.backend {
            Backend::Postgres => {
                "select count(*) from pg_stat_activity where query like '%select pg_sleep(600)' and state = 'active'".to_owned()
            }
            Backend::Mariadb => {
                "select count(*) from information_schema.processlist where info like '%select sleep(600)'".to_owned()
            }
            Backend::Sqlite if is_alone => format!(
                "select count(*) from rowgate_migrations where version = {version} and statements_done = {done}"
            ),
            Backend::Sqlite => return self.wait_for_writer(),
        };
        eventually("the statement runs", PATIENCE, || (self.values(&running) == "1").then_some(()));
    }

    /// Waits until another process has SQLite's lock for writing.
    fn wait_for_writer(&self) {
        let connection = self.sqlite();
        connection.busy_timeout(std::time::Duration::ZERO).expect("it is a number");
        eventually("a transaction is open", PATIENCE, || {
            let begun = connection.execute_batch("begin immediate");
            if begun.is_ok() {
                connection.execute_batch("rollback").expect("it is open");
            }
            begun.is_err().then_some(())
        });
    }

    /// Ends the statement whose migrator is gone: the server goes on with it.
    fn end_orphans(&self) {
        match (&self.postgres, &self.mariadb) {
            (Some(postgres), _) => {
                postgres.terminate_backends();
                eventually("it is rolled back", PATIENCE, || {
                    let others = "select count(*) from pg_stat_activity where backend_type = 'client backend' \
                                  and pid <> pg_backend_pid()";
                    (postgres.psql(others) == "0").then_some(())
                });
            }
            (None, Some(mariadb)) => {
                eventually("they are killed", PATIENCE, || {
                    (mariadb.kill_connections() == 0).then_some(())
                });
            }
            (None, None) => {}
        }
    }
}

/// Kills a migrator in the middle of a file, so many times: at each place in it, and in both ways to run.
fn killed(backend: Backend, times: usize) {
    let project = Project::start(backend);
    project.file("V1__a.sql", "create table first (id integer);\n");
    project.migrate(&["up"]).fine();
    for version in 2..times + 2 {
        let is_alone = backend == Backend::Mariadb || version % 2 == 1;
        let before = version % 4;
        killed_once(&project, version, before, is_alone);
    }
    project.migrate(&["verify"]).fine();
}

fn killed_once(project: &Project, version: usize, before: usize, is_alone: bool) {
    let name = format!("V{version}__next.sql");
    let create = |index: usize| format!("create table t{version}_{index} (id integer);\n");
    let head = if is_alone { "-- rowgate: no-transaction\n" } else { "" };
    let mut text: String = (0..before).map(create).collect();
    let finished = format!("{head}{text}{}", create(before));
    text = format!("{head}{text}{};\n{}", endless(project.backend), create(before));
    project.file(&name, &text);

    let mut migrator = project.spawn_up();
    project.wait_for_endless(version, before, is_alone);
    migrator.kill().expect("it runs");
    migrator.wait().expect("it is ours");
    project.end_orphans();

    let own = |project: &Project| {
        let start = format!("t{version}_");
        let tables = project.tables();
        tables.split(' ').filter(|name| name.starts_with(&start)).count()
    };
    let states = project.states();
    let state = states.last().expect("it is there");
    if is_alone {
        assert_eq!(state, &format!("{version} unfinished"));
        assert_eq!(own(project), before);
        let error = project.migrate(&["up"]).refused();
        let line = before + 1 + usize::from(!head.is_empty());
        let expected = format!("Statement {} (line {line}) may have run", before + 1);
        assert!(error.contains(&expected), "{error}");
        assert!(error.contains(&format!("{before} of its {} statements", before + 2)), "{error}");
        // Do as it says.
        (0..before).for_each(|index| project.execute(&format!("drop table t{version}_{index}")));
        let told = error.lines().find(|line| line.trim().starts_with("DELETE FROM "));
        project.execute(told.expect("it says what to run").trim());
    } else {
        assert_eq!(state, &format!("{version} pending"));
        assert_eq!(own(project), 0);
    }
    project.file(&name, &finished);
    project.migrate(&["up"]).fine();
    assert_eq!(own(project), before + 1);
}

#[test]
fn the_ledger_of_postgresql_never_lies() {
    killed(Backend::Postgres, 20);
}

#[test]
fn the_ledger_of_mariadb_never_lies() {
    killed(Backend::Mariadb, 20);
}

#[test]
fn the_ledger_of_sqlite_never_lies() {
    killed(Backend::Sqlite, 20);
}

#[test]
fn a_file_that_was_finished_by_hand_is_noted_by_hand() {
    for backend in super::BACKENDS {
        let project = Project::start(backend);
        let text = "-- rowgate: no-transaction\ncreate table t1 (id integer);\ninsert into nope values (1);\n";
        project.file("V1__a.sql", text);
        project.migrate(&["up"]).refused();
        let error = project.migrate(&["up"]).refused();
        let told = error.lines().find(|line| line.trim().starts_with("UPDATE "));
        project.execute(told.expect("it says what to run").trim());
        project.migrate(&["verify"]).fine();
        // A fresh database takes the file as it is mended, and this one has it already.
        project.file("V1__a.sql", "create table t1 (id integer);\ninsert into t1 values (1);\n");
        let verified = project.migrate(&["verify"]);
        assert!(verified.err.contains("V1__a.sql was finished by hand"), "{verified:?}");
        verified.fine();
    }
}

#[test]
fn a_file_that_runs_is_told_from_one_that_did_not_end() {
    for backend in [Backend::Postgres, Backend::Mariadb] {
        let project = Project::start(backend);
        let sleep = if backend == Backend::Postgres { "pg_sleep" } else { "sleep" };
        let text = format!(
            "-- rowgate: no-transaction\ncreate table t1 (id integer);\nselect {sleep}(4);\ninsert into t1 values (1);\n"
        );
        project.file("V1__a.sql", &text);
        let migrator = project.spawn_up();
        let running = || {
            let status = project.migrate(&["status"]);
            status.out.contains("running").then_some(status)
        };
        let status = eventually("it runs", PATIENCE, running);
        assert!(status.err.contains("a migrator is at work on it"), "{status:?}");
        assert!(!status.err.contains("DELETE"), "{status:?}");
        // Whoever deletes its row all the same is not believed: the file has run.
        project.execute("delete from rowgate_migrations");
        let ended = super::Ended::of(migrator.wait_with_output().expect("it ends"));
        ended.fine();
        project.migrate(&["verify"]).fine();
        assert_eq!(project.values("select count(*) from t1"), "1", "{backend:?}");
    }
}
