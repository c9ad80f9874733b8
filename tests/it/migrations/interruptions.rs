//! Migrators that their operator interrupts: the statement ends in the database, too.

use super::crashes::endless;
use super::{BACKENDS, Ended, Project};
use crate::harness::Backend;
use crate::harness::process::send;

#[test]
fn an_interrupted_migrator_cancels_its_statement() {
    for (backend, signal) in BACKENDS.into_iter().zip(["INT", "TERM", "INT"]) {
        let project = Project::start(backend);
        project.migrate(&["up"]).fine();
        let head = "-- rowgate: no-transaction\ncreate table t1 (id integer);\n";
        project.file("V1__a.sql", &format!("{head}{};\n", endless(backend)));
        let migrator = project.spawn_up();
        project.wait_for_endless(1, 1, true);
        assert!(send(signal, &migrator.id().to_string()), "it runs");
        let error = Ended::of(migrator.wait_with_output().expect("it is ours")).refused();
        assert!(error.contains("V1__a.sql:3: interrupted"), "{error}");
        let running = match backend {
            Backend::Postgres => {
                "select count(*) from pg_stat_activity where query like '%select pg_sleep(600)' and state = 'active'"
            }
            Backend::Mariadb => {
                "select count(*) from information_schema.processlist where info like '%select sleep(600)'"
            }
            Backend::Sqlite => {
                "select count(*) from rowgate_migrations where finished_at is not null"
            }
        };
        assert_eq!(project.values(running), "0", "{backend:?}");
        assert_eq!(project.states(), ["1 unfinished"]);
    }
}
