//! Injects faults: on the proxy, on the processes of the test's own PostgreSQL, by their ids, and on its own MariaDB.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::dialect::Dialect;
use super::mariadb_faults::{self, kill, refuse_writes, take_room};
use super::plan::{FaultKind, InjectedFault};
use crate::harness::mariadb::Mariadb;
use crate::harness::postgres::Postgres;
use crate::harness::process::send;
use crate::harness::programs::tool;
use crate::harness::proxy::Proxy;
use crate::harness::wait::eventually;

/// The longest time in which the server must stop or recover.
const LIMIT: Duration = Duration::from_secs(30);

/// Deadlocks are looked for soon: there are many.
const SETTINGS: [&str; 2] = ["deadlock_timeout=50ms", "autovacuum_naptime=5s"];

/// The backends of others than who asks, those at work first.
const BACKENDS: &str = "select pid from pg_stat_activity \
    where backend_type = 'client backend' and pid <> pg_backend_pid() \
    order by state is distinct from 'idle' desc, pid";

/// The database of a run.
pub(super) enum Database {
    Postgres(Postgres),
    Mariadb(Mariadb),
}

impl Database {
    /// One with the tables of the workloads.
    pub(super) fn start(dialect: Dialect) -> Self {
        match dialect {
            Dialect::Postgres => {
                let postgres = Postgres::with(&SETTINGS);
                postgres.psql(&dialect.setup());
                Self::Postgres(postgres)
            }
            Dialect::Mariadb => {
                let mariadb = Mariadb::start();
                mariadb.sql(&dialect.setup());
                mariadb_faults::install(&mariadb);
                Self::Mariadb(mariadb)
            }
        }
    }

    /// Its kind.
    pub(super) fn dialect(&self) -> Dialect {
        match self {
            Self::Postgres(_) => Dialect::Postgres,
            Self::Mariadb(_) => Dialect::Mariadb,
        }
    }

    /// Its URL, and the port that is in it.
    pub(super) fn url(&self) -> (String, u16) {
        match self {
            Self::Postgres(postgres) => (postgres.url(), postgres.port()),
            Self::Mariadb(mariadb) => (mariadb.url(), mariadb.port()),
        }
    }

    fn mariadb(&self) -> &Mariadb {
        match self {
            Self::Mariadb(mariadb) => mariadb,
            Self::Postgres(_) => panic!("a fault of MariaDB"),
        }
    }
}

/// The servers and clients of a run.
pub(super) struct Scene {
    pub(super) database: Database,
    pub(super) proxy: Proxy,
    /// The faults that were seen to take effect as they were injected.
    effects: BTreeMap<FaultKind, usize>,
}

impl Scene {
    /// A database, and the proxy before it.
    pub(super) fn new(database: Database, proxy: Proxy) -> Self {
        Self { database, proxy, effects: BTreeMap::new() }
    }

    /// Injects a fault, and returns when it has happened.
    pub(super) async fn inject(&mut self, fault: InjectedFault) {
        let InjectedFault::Connection(of_proxy) = fault else {
            let took_effect = tokio::task::block_in_place(|| self.inject_database(fault));
            *self.effects.entry(fault.kind()).or_default() += usize::from(took_effect);
            return;
        };
        let happened = self.proxy.arm(of_proxy);
        let happened = tokio::time::timeout(LIMIT, happened).await;
        happened.expect("a connection has something to say").expect("the proxy runs");
    }

    /// Injects a fault of the database; false when nothing came of it.
    fn inject_database(&mut self, fault: InjectedFault) -> bool {
        match (fault, &mut self.database) {
            (InjectedFault::Terminate { pick }, Database::Postgres(_)) => {
                self.signal_backend("TERM", pick);
            }
            (InjectedFault::Kill { pick }, _) => self.signal_backend("KILL", pick),
            (InjectedFault::Restart { postmaster_first }, Database::Postgres(_)) => {
                self.restart(postmaster_first);
            }
            (InjectedFault::Restart { .. }, Database::Mariadb(mariadb)) => {
                mariadb.crash();
                mariadb.resume();
            }
            (InjectedFault::Stop, Database::Mariadb(mariadb)) => {
                mariadb.stop();
                mariadb.resume();
            }
            (InjectedFault::Stop, Database::Postgres(_)) => panic!("a fault of MariaDB"),
            (InjectedFault::Terminate { pick }, Database::Mariadb(mariadb)) => {
                kill(mariadb, true, pick);
            }
            (InjectedFault::KillQuery { pick }, _) => kill(self.database.mariadb(), false, pick),
            (InjectedFault::RefuseWrites { lasts }, _) => {
                return refuse_writes(self.database.mariadb(), lasts);
            }
            (InjectedFault::TakeRoom { lasts }, _) => {
                return take_room(self.database.mariadb(), lasts);
            }
            (InjectedFault::Connection(_), _) => panic!("a fault of the proxy"),
        }
        true
    }

    /// The faults that the database or whoever injected them saw take effect.
    pub(super) fn effects(&self) -> BTreeMap<FaultKind, usize> {
        let Database::Postgres(postgres) = &self.database else { return self.effects.clone() };
        let log = postgres.log();
        let count = |what: &str| log.matches(what).count();
        let told = "terminating connection due to administrator command";
        BTreeMap::from([
            (FaultKind::Terminated, count(told)),
            (FaultKind::Killed, count("was terminated by signal 9")),
        ])
    }

    /// Sends a signal to a backend.
    fn signal_backend(&self, signal: &str, pick: usize) {
        eventually("a backend gets its signal", LIMIT, || {
            let backends = self.ask(BACKENDS)?;
            let backends: Vec<&str> = backends.lines().collect();
            let backend = backends.get(pick % backends.len().max(1))?;
            send(signal, backend).then_some(())
        });
    }

    fn restart(&mut self, postmaster_first: bool) {
        let Database::Postgres(postgres) = &mut self.database else {
            panic!("a fault of PostgreSQL")
        };
        if postmaster_first {
            kill_postmaster(postgres);
        } else {
            postgres.crash();
        }
        postgres.resume();
    }

    /// Returns what the database's own client prints, with `|` between columns; `None` while the server does not
    /// answer.
    pub(super) fn ask(&self, sql: &str) -> Option<String> {
        let postgres = match &self.database {
            Database::Postgres(postgres) => postgres,
            Database::Mariadb(mariadb) => return Some(mariadb.sql(sql).replace('\t', "|")),
        };
        let mut command = Command::new(tool("psql"));
        command.args(["-X", "-A", "-t", "-q", "-U", "postgres", "-d", "postgres", "-c", sql]);
        command.arg("-h").arg(postgres.directory());
        command.args(["-p", &postgres.port().to_string()]).stderr(Stdio::null());
        let output = command.output().expect("psql can be started");
        output.status.success().then(|| String::from_utf8(output.stdout).expect("it is UTF-8"))
    }
}

/// Kills the postmaster alone, and waits for its children to notice.
fn kill_postmaster(postgres: &mut Postgres) {
    let pid = postgres.postmaster();
    let children = processes(|parent, _| parent == pid);
    assert!(send("KILL", &pid), "the postmaster runs");
    // Its PostgreSQL is told, too, and finds it gone.
    postgres.crash();
    eventually("the children of the postmaster end", LIMIT, || {
        processes(|_, own| children.iter().any(|child| child == own)).is_empty().then_some(())
    });
    // It would be taken for that of a server which runs.
    let file = postgres.directory().join("data/postmaster.pid");
    std::fs::remove_file(file).expect("the postmaster could not");
}

/// The ids of the processes alive that are wanted by their parent's id and their own.
fn processes(wanted: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let output = Command::new("ps").args(["-A", "-o", "pid=,ppid=,stat="]).output();
    let output = String::from_utf8(output.expect("ps runs").stdout).expect("numbers and letters");
    let of_line = |line: &str| {
        let mut words = line.split_whitespace();
        let (own, parent, state) = (words.next()?, words.next()?, words.next()?);
        (!state.starts_with('Z') && wanted(parent, own)).then(|| own.to_owned())
    };
    output.lines().filter_map(of_line).collect()
}
