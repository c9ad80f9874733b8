//! A private PgBouncer in front of a private PostgreSQL, as the same unprivileged user.
//!
//! It runs under a shell that reads a pipe of the test's, and ends with it.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::postgres::Postgres;
use super::private_server::free_port;
use super::wait::eventually;

const START: Duration = Duration::from_secs(10);

/// Runs the pooler `"$@"` until standard input ends.
const KEEPER: &str = r#"
log=$1; shift
"$@" </dev/null >>"$log" 2>&1 &
pid=$!
read -r signal
kill -INT $pid; wait $pid
"#;

/// A running pooler.
pub(crate) struct PgBouncer {
    port: u16,
    keeper: Child,
}

impl PgBouncer {
    /// Starts a pooler with further lines of its section `[pgbouncer]`; `None`, with a word about it, where
    /// there is none on this machine.
    pub(crate) fn start(postgres: &Postgres, settings: &str) -> Option<Self> {
        let Some(program) = program() else {
            eprintln!("SKIPPED: pgbouncer is not installed");
            return None;
        };
        let port = free_port();
        let directory = postgres.directory();
        let ini = directory.join(format!("pgbouncer-{port}.ini"));
        let users = directory.join("pgbouncer-users");
        std::fs::write(&users, "\"postgres\" \"\"\n").expect("the directory is ours");
        let text = format!(
            "[databases]\npostgres = host={} port={} dbname=postgres user=postgres\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = trust\nauth_file = {}\n\
             unix_socket_dir =\n{settings}\n",
            directory.display(),
            postgres.port(),
            users.display()
        );
        std::fs::write(&ini, text).expect("the directory is ours");
        let mut command = postgres.user.command("sh");
        command.args(["-c", KEEPER, "keeper"]).arg(directory.join("pgbouncer.log"));
        command.arg(program).arg(&ini).stdin(Stdio::piped());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let keeper = command.spawn().expect("sh can be started");
        eventually("PgBouncer accepts connections", START, || {
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        Some(Self { port, keeper })
    }

    /// The URL of a database behind it.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        self.keeper.wait().map(drop).unwrap_or_default();
    }
}

fn program() -> Option<PathBuf> {
    let find = "PATH=$PATH:/usr/sbin command -v pgbouncer";
    let output = Command::new("sh").args(["-c", find]).output().ok()?;
    let path = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    Some(path).filter(|path| !path.is_empty()).map(PathBuf::from)
}
