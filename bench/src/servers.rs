//! The servers that are measured, started by ourselves: PostgreSQL, PgBouncer and Rowgate, on loopback and in a scratch
//! directory.

use crate::options::Options;
use crate::{Result, fail};
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The connections that each pool may have: Rowgate's default, and PgBouncer's.
const POOL: u32 = 20;
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// A directory of ours, deleted with all that is in it.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new() -> Result<Self> {
        let directory = std::env::temp_dir().join(format!("rowgate-bench-{}", std::process::id()));
        fs::create_dir(&directory)?;
        Ok(Self(directory))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{} was not deleted: {error}", self.0.display());
        }
    }
}

/// A server that ends with this guard.
pub struct Server {
    child: Child,
    /// The signal: QUIT is PostgreSQL's immediate shutdown, which ends its children too.
    ended_by: &'static str,
    pub address: SocketAddr,
}

impl Server {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Starts it in a process group of its own, so that Ctrl-C reaches us alone, and awaits its listener.
    pub async fn start(mut command: Command, port: u16, log: &Path) -> Result<Self> {
        let output = File::create(log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).process_group(0);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut server = Self { child: command.spawn()?, ended_by: "KILL", address };
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            let ended = server.child.try_wait()?.is_some();
            if ended || start.elapsed() > START_TIMEOUT {
                let log = fs::read_to_string(log).unwrap_or_default();
                return fail(format!("{:?} did not start: {log}", command.get_program()));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let id = self.id().to_string();
        let sent = Command::new("kill").args(["-s", self.ended_by, &id]).status();
        let ends = sent.is_ok_and(|status| status.success()) || self.child.kill().is_ok();
        if ends && let Err(error) = self.child.wait() {
            eprintln!("process {id} did not end: {error}");
        }
    }
}

pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// The command as the account that databases and PgBouncer may run as: they refuse to run as root.
pub fn unprivileged(options: &Options, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    if let Some((user, group)) = options.unprivileged {
        command.uid(user).gid(group);
    }
    command.current_dir("/");
    command
}

pub fn give_away(options: &Options, path: &Path) -> Result<()> {
    if let Some((user, group)) = options.unprivileged {
        std::os::unix::fs::chown(path, Some(user), Some(group))?;
    }
    Ok(())
}

/// Starts an empty PostgreSQL for the role postgres.
pub async fn postgres(options: &Options, scratch: &Scratch) -> Result<Server> {
    let directory = scratch.0.join("postgres");
    fs::create_dir(&directory)?;
    give_away(options, &directory)?;
    let data = directory.join("data");
    let made = unprivileged(options, options.postgres_bin.join("initdb"))
        .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "-D"])
        .arg(&data)
        .stdout(Stdio::null())
        .status()?;
    if !made.success() {
        return fail("initdb failed");
    }
    let port = free_port()?;
    let mut command = unprivileged(options, options.postgres_bin.join("postgres"));
    command.arg("-D").arg(&data).arg("-k").arg(&directory);
    command.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-F", "-c", "shared_buffers=512MB"]);
    command.args(["-c", "max_connections=300", "-c", "max_wal_size=4GB", "-c", "autovacuum=off"]);
    let mut server = Server::start(command, port, &scratch.0.join("postgres.log")).await?;
    server.ended_by = "QUIT";
    Ok(server)
}

/// PgBouncer's path and version, and whether it keeps prepared statements in transaction mode.
pub struct PoolerProgram {
    path: PathBuf,
    pub version: String,
    pub prepared: bool,
}

impl PoolerProgram {
    /// The newest that is found.
    pub fn find(options: &Options) -> Option<Self> {
        let places = options.path.iter().map(PathBuf::as_path).chain([Path::new("/usr/sbin")]);
        let found = places.map(|place| place.join("pgbouncer")).filter(|path| path.is_file());
        let known = found.filter_map(|path| {
            let output = Command::new(&path).arg("--version").output().ok()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let version = text.lines().next()?.strip_prefix("PgBouncer ")?.trim().to_owned();
            let numbers: Vec<u32> =
                version.split('.').filter_map(|part| part.parse().ok()).collect();
            Some((numbers, path, version))
        });
        let (numbers, path, version) = known.max()?;
        Some(Self { path, version, prepared: numbers[..] >= [1, 21][..] })
    }
}

pub async fn pooler(
    options: &Options,
    scratch: &Scratch,
    postgres: SocketAddr,
    program: &PoolerProgram,
) -> Result<Server> {
    let directory = scratch.0.join("pgbouncer");
    fs::create_dir(&directory)?;
    let port = free_port()?;
    let users = directory.join("users");
    let settings = directory.join("pgbouncer.ini");
    let prepared = if program.prepared { "max_prepared_statements = 200" } else { "" };
    fs::write(&users, "\"postgres\" \"\"\n")?;
    fs::write(
        &settings,
        format!(
            "[databases]\npostgres = host=127.0.0.1 port={} dbname=postgres user=postgres\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {}\n\
             pool_mode = transaction\ndefault_pool_size = {POOL}\nmax_client_conn = 400\n{prepared}\n",
            postgres.port(),
            users.display(),
        ),
    )?;
    for path in [&directory, &users, &settings] {
        give_away(options, path)?;
    }
    let mut command = unprivileged(options, &program.path);
    command.arg(&settings);
    Server::start(command, port, &scratch.0.join("pgbouncer.log")).await
}

/// Starts Rowgate with its defaults, on the database and with the lines of configuration given.
pub async fn rowgate(
    options: &Options,
    scratch: &Scratch,
    url: &str,
    lines: &str,
) -> Result<Server> {
    let port = free_port()?;
    let directory = scratch.0.join(format!("rowgate-{port}"));
    fs::create_dir(&directory)?;
    fs::write(
        directory.join("rowgate.toml"),
        format!(
            "[grpc]\nlisten = \"127.0.0.1:{port}\"\n[ops]\nlisten = \"127.0.0.1:{}\"\n[databases.main]\nurl = \"{url}\"\n{lines}\n",
            free_port()?
        ),
    )?;
    let mut command = Command::new(&options.rowgate);
    command.arg("serve").current_dir(&directory);
    Server::start(command, port, &directory.join("log")).await
}

/// Says whether the binary knows `databases.NAME.pool.lanes`.
pub fn knows_lanes(options: &Options) -> Result<bool> {
    let output = Command::new(&options.rowgate).args(["config", "schema"]).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).contains("\"lanes\""))
}

/// The version that a program tells.
pub async fn version(program: &Path) -> Result<String> {
    let output = tokio::process::Command::new(program).arg("--version").output().await?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    // A program may name itself by its path.
    Ok(text.strip_prefix(&*program.to_string_lossy()).map_or(text.clone(), |rest| {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        format!("{name}{rest}")
    }))
}
