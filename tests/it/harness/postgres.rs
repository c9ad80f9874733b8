//! A private PostgreSQL: its own directory, a socket there, a free port on loopback.
//!
//! `initdb` runs once on a machine and is copied from then on. The server ends with its test. Root starts it as
//! an unprivileged user, which PostgreSQL insists on.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use super::private_server::{Keeper, User, free_port, tail, version_of};
use super::programs::tool;
use super::wait::eventually;

/// The superuser's password over TCP; over the socket none is asked for.
pub(crate) const PASSWORD: &str = "correct horse";

const START: Duration = Duration::from_secs(30);

/// Of every server. One that is stopped waits for who has not logged in yet, whatever the signal.
const SETTINGS: [&str; 4] = [
    "shared_buffers=16MB",
    "max_connections=50",
    "log_checkpoints=off",
    "authentication_timeout=5s",
];

/// Local users are trusted; whoever comes over TCP proves who he is.
pub(super) const HBA: &str = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n";

/// A running server, or one that can be started again.
pub(crate) struct Postgres {
    pub(super) user: User,
    directory: PathBuf,
    port: u16,
    pub(super) settings: Vec<String>,
    pub(super) keeper: Option<Keeper>,
    /// The language of its messages, unless it is English.
    language: Option<&'static str>,
}

impl Postgres {
    /// A server with an empty database `postgres`.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// The same, with settings as in `work_mem=1MB`.
    pub(crate) fn with(settings: &[&str]) -> Self {
        let mut server = Self::bare();
        server.user.copy(&template(&server.user), &server.data());
        server.settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        server.resume();
        server
    }

    /// The same, with messages in a language, as in `de`.
    pub(crate) fn speaking(language: &'static str) -> Self {
        let mut server = Self::with(&["lc_messages=C.UTF-8"]);
        server.end_with("INT");
        server.language = Some(language);
        server.resume();
        server
    }

    /// Without data, and not started.
    pub(super) fn bare() -> Self {
        let user = User::find(&["postgres", "nobody"]);
        let directory = user.server_directory("pg");
        let settings = Vec::new();
        Self { user, directory, port: free_port(), settings, keeper: None, language: None }
    }

    /// Starts it again after [`Postgres::stop`] or [`Postgres::crash`], on the same port.
    pub(crate) fn resume(&mut self) {
        assert!(self.keeper.is_none(), "it runs already");
        let data = self.data();
        let mut command = Keeper::command(&self.user, "QUIT", &self.log_file(), &self.directory);
        command.arg(tool("postgres")).arg("-D").arg(&data).arg("-k").arg(&self.directory);
        command.args(["-F", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
        if let Some(language) = self.language {
            // gettext prefers it to the locale, which the machine may not have.
            command.env("LANGUAGE", language);
        }
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        self.keeper = Some(Keeper::start(command));
        eventually("PostgreSQL accepts connections", START, || {
            let state = fs::read_to_string(data.join("postmaster.pid")).ok()?;
            state.lines().nth(7).filter(|line| line.starts_with("ready")).map(drop)
        });
    }

    /// Ends it in order: connections are closed with 57P01.
    pub(crate) fn stop(&mut self) {
        self.end_with("INT");
    }

    /// Ends it as a crash does: connections just break.
    pub(crate) fn crash(&mut self) {
        self.end_with("QUIT");
    }

    fn end_with(&mut self, signal: &str) {
        self.keeper.take().expect("it runs").end_with(signal);
    }

    /// The URL of the superuser over TCP.
    pub(crate) fn url(&self) -> String {
        self.url_as("postgres", PASSWORD)
    }

    /// The URL of the superuser over the socket.
    pub(crate) fn socket_url(&self) -> String {
        format!(
            "postgres://postgres@/postgres?host={}&port={}",
            self.directory.display(),
            self.port
        )
    }

    /// The URL of another role.
    pub(crate) fn url_as(&self, role: &str, password: &str) -> String {
        let password = password.replace(' ', "%20");
        format!("postgres://{role}:{password}@127.0.0.1:{}/postgres", self.port)
    }

    /// The port on loopback, and the number of the socket.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The directory of the socket.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The directory of its data.
    pub(super) fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// The number of its version, as in 15.
    pub(crate) fn major(&self) -> u32 {
        let number: u32 = self.psql("show server_version_num").parse().expect("a number");
        number / 10_000
    }

    /// The id of its first process.
    pub(crate) fn postmaster(&self) -> String {
        let file = self.directory.join("data/postmaster.pid");
        let text = fs::read_to_string(file).expect("it runs");
        text.lines().next().expect("its id comes first").to_owned()
    }

    /// Writes a file into the data directory, readable by the server alone.
    pub(crate) fn put(&self, name: &str, content: &[u8]) {
        let path = self.directory.join("data").join(name);
        fs::write(&path, content).expect("the directory is ours");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("the file is ours");
        self.user.own(&path);
    }

    /// Returns what `psql -At` prints for one statement or several, without the last line's end.
    #[track_caller]
    pub(crate) fn psql(&self, sql: &str) -> String {
        let output = self.run_psql(sql);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "psql: {errors}\nin: {sql}");
        let mut text = String::from_utf8(output.stdout).expect("psql prints UTF-8");
        if text.ends_with('\n') {
            text.pop();
        }
        text
    }

    fn run_psql(&self, sql: &str) -> Output {
        let mut command = Command::new(tool("psql"));
        command.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres"]);
        command.arg("-h").arg(&self.directory).args([
            "-p",
            &self.port.to_string(),
            "-d",
            "postgres",
        ]);
        // The baseline that api.md promises, whatever the server's own defaults are.
        let baseline = "-c datestyle=ISO -c intervalstyle=postgres -c timezone=UTC \
                        -c extra_float_digits=1 -c bytea_output=hex";
        command.env("PGOPTIONS", baseline).env("PGCLIENTENCODING", "UTF8");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("psql can be started");
        let mut input = child.stdin.take().expect("the pipe was asked for");
        // The script is far smaller than what psql prints, so it cannot block on its own output.
        input.write_all(sql.as_bytes()).expect("psql reads");
        drop(input);
        child.wait_with_output().expect("psql is a child of ours")
    }

    /// Terminates every client's connection; returns how many there were.
    pub(crate) fn terminate_backends(&self) -> usize {
        let sql = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                   where backend_type = 'client backend' and pid <> pg_backend_pid()";
        self.psql(sql).parse().expect("a number")
    }

    /// Returns the server's log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.directory.join("log")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("PostgreSQL's log ends:\n{}", tail(&self.log(), 20));
        }
        if self.keeper.take().is_none() {
            fs::remove_dir_all(&self.directory).unwrap_or_default();
        }
    }
}

/// A data directory fresh from `initdb`.
fn template(user: &User) -> PathBuf {
    let version = version_of(&tool("postgres"));
    user.template(&format!("scram-{version}"), |fresh| {
        let password = user.base_directory().join("password");
        fs::write(&password, PASSWORD).expect("the directory is ours");
        let mut command = user.command(tool("initdb"));
        command.arg("-D").arg(fresh).arg(format!("--pwfile={}", password.display()));
        command.args([
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
            "--wal-segsize=1",
            // Passwords are stored for it, which PostgreSQL 13 does not do by itself.
            "--auth-host=scram-sha-256",
        ]);
        let output = command.output().expect("initdb runs");
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        fs::write(fresh.join("pg_hba.conf"), HBA).expect("the directory is ours");
    })
}

#[test]
fn a_server_starts_in_seconds() {
    const MOST: Duration = Duration::from_secs(2);
    // The first makes the template; one of the others is fast, whatever the machine does meanwhile.
    drop(Postgres::start());
    let mut starts = (0..5).map(|_| {
        let start = std::time::Instant::now();
        let server = Postgres::start();
        let took = start.elapsed();
        assert_eq!(server.psql("select 1"), "1");
        took
    });
    assert!(starts.any(|took| took < MOST), "none of five starts took less than {MOST:?}");
}

#[test]
fn a_server_starts_answers_stops_and_leaves_nothing() {
    let mut server = Postgres::start();
    assert_eq!(server.psql("select 1 + 1; select 'two'"), "2\ntwo");
    server.stop();
    server.resume();
    assert_eq!(server.psql("select 3"), "3");
    server.crash();
    server.resume();
    let directory = server.directory.clone();
    assert!(directory.exists());
    drop(server);
    assert!(!directory.exists());
}
