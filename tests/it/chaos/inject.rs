//! Injects faults: on the proxy, and on the processes of the test's own PostgreSQL, by their ids.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::plan::InjectedFault;
use crate::harness::postgres::Postgres;
use crate::harness::process::send;
use crate::harness::programs::tool;
use crate::harness::proxy::Proxy;
use crate::harness::wait::eventually;

/// The longest time in which the server must stop or recover.
const LIMIT: Duration = Duration::from_secs(30);

/// The backends of others than who asks, those at work first.
const BACKENDS: &str = "select pid from pg_stat_activity \
    where backend_type = 'client backend' and pid <> pg_backend_pid() \
    order by state is distinct from 'idle' desc, pid";

/// The servers and clients of a run.
pub(super) struct Scene {
    pub(super) postgres: Postgres,
    pub(super) proxy: Proxy,
}

impl Scene {
    /// Injects a fault, and returns when it has happened.
    pub(super) async fn inject(&mut self, fault: InjectedFault) {
        match fault {
            InjectedFault::Terminate { pick } => {
                tokio::task::block_in_place(|| self.signal_backend("TERM", pick));
            }
            InjectedFault::Kill { pick } => {
                tokio::task::block_in_place(|| self.signal_backend("KILL", pick));
            }
            InjectedFault::Restart { postmaster_first } => {
                tokio::task::block_in_place(|| self.restart(postmaster_first));
            }
            InjectedFault::Connection(fault) => {
                let happened = self.proxy.arm(fault);
                let happened = tokio::time::timeout(LIMIT, happened).await;
                happened.expect("a connection has something to say").expect("the proxy runs");
            }
        }
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
        if postmaster_first {
            self.kill_postmaster();
        } else {
            self.postgres.crash();
        }
        self.postgres.resume();
    }

    /// Kills the postmaster alone, and waits for its children to notice.
    fn kill_postmaster(&mut self) {
        let pid = self.postgres.postmaster();
        let children = processes(|parent, _| parent == pid);
        assert!(send("KILL", &pid), "the postmaster runs");
        // Its PostgreSQL is told, too, and finds it gone.
        self.postgres.crash();
        eventually("the children of the postmaster end", LIMIT, || {
            processes(|_, own| children.iter().any(|child| child == own)).is_empty().then_some(())
        });
        // It would be taken for that of a server which runs.
        let file = self.postgres.directory().join("data/postmaster.pid");
        std::fs::remove_file(file).expect("the postmaster could not");
    }

    /// Returns what `psql` prints; `None` while the server does not answer.
    pub(super) fn ask(&self, sql: &str) -> Option<String> {
        let mut command = Command::new(tool("psql"));
        command.args(["-X", "-A", "-t", "-q", "-U", "postgres", "-d", "postgres", "-c", sql]);
        command.arg("-h").arg(self.postgres.directory());
        command.args(["-p", &self.postgres.port().to_string()]).stderr(Stdio::null());
        let output = command.output().expect("psql can be started");
        output.status.success().then(|| String::from_utf8(output.stdout).expect("it is UTF-8"))
    }
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
