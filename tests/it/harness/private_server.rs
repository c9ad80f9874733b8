//! The parts that private database servers of every kind share: the account they run under, their directories,
//! their ports, and the shell that outlives no test.

use std::collections::VecDeque;
use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use parking_lot::Mutex;
use rustix::fs::{StatVfs, StatVfsMountFlags, statvfs};

use super::random::unique_number;

/// The free bytes of a file system in memory with which it is used: far more than all tests need at a time.
const ROOM: u64 = 4 << 30;

/// The claims of the ports that were given out last.
static CLAIMS: Mutex<VecDeque<UdpSocket>> = Mutex::new(VecDeque::new());
/// The claims that are held at most: more servers than a test starts.
const CLAIMS_HELD: usize = 64;

/// Runs the server `"$@"` until a signal's name comes from standard input, or its end.
const KEEPER: &str = r#"
last=$1 log=$2 directory=$3; shift 3
"$@" </dev/null >>"$log" 2>&1 &
pid=$!
if read -r signal; then
  kill -"$signal" $pid; wait $pid
else
  kill -"$last" $pid; wait $pid; rm -rf "$directory"
fi
"#;

/// The shell that runs a server. It reads a pipe of the test's: whatever becomes of the test, the pipe closes, and
/// the shell ends the server and removes its directory.
pub(super) struct Keeper(Child);

impl Keeper {
    /// The command of a keeper, to which the server's own command line is added.
    /// `last` is the signal that ends the server at once.
    pub(super) fn command(user: &User, last: &str, log: &Path, directory: &Path) -> Command {
        let mut command = user.command("sh");
        command.args(["-c", KEEPER, "keeper", last]).args([log, directory]);
        command
    }

    /// Starts what [`Keeper::command`] began.
    pub(super) fn start(mut command: Command) -> Self {
        let quiet = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(quiet.process_group(0).spawn().expect("sh runs"))
    }

    /// Sends the server a signal, waits for its end, and keeps its directory.
    pub(super) fn end_with(mut self, signal: &str) {
        let pipe = self.0.stdin.as_mut().expect("the pipe was asked for");
        writeln!(pipe, "{signal}").expect("the keeper reads");
        self.0.wait().expect("the keeper is a child of ours");
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // The pipe closes here: the keeper ends the server and removes the directory.
        drop(self.0.stdin.take());
        self.0.wait().map(drop).unwrap_or_default();
    }
}

/// The account that runs the server: our own, or one without privileges if we are root.
pub(super) struct User {
    switch: Option<(u32, u32)>,
}

impl User {
    /// The account for a server, one of `accounts` if we are root.
    pub(super) fn find(accounts: &[&str]) -> Self {
        if id(&["-u"]) != Some(0) {
            return Self { switch: None };
        }
        let switch = accounts.iter().find_map(|name| {
            let user = id(&["-u", name])?;
            Some((user, id(&["-g", name])?))
        });
        assert!(switch.is_some(), "root needs one of the users {accounts:?} to run servers as");
        Self { switch }
    }

    /// A command that runs as this account.
    pub(super) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        if let Some((user, group)) = self.switch {
            command.uid(user).gid(group);
        }
        command.current_dir("/").env("LC_ALL", "C");
        command
    }

    /// Makes a directory that belongs to this account.
    pub(super) fn own_directory(&self, directory: &Path) {
        fs::create_dir_all(directory).expect("a directory can be made");
        self.own(directory);
    }

    /// Gives a file or a directory to this account.
    pub(super) fn own(&self, path: &Path) {
        if let Some((user, group)) = self.switch {
            std::os::unix::fs::chown(path, Some(user), Some(group)).expect("root may chown");
        }
    }

    /// Returns the directory of all servers' directories and of the templates. Short, for the sake of socket paths.
    pub(super) fn base_directory(&self) -> PathBuf {
        let own = self.switch.map_or_else(|| id(&["-u"]).unwrap_or_default(), |_| 0);
        let base = parent_directory().join(format!("rowgate-tests-{own}"));
        fs::create_dir_all(&base).expect("a directory can be made");
        // As /tmp: whoever owns a directory in it, the keeper for one, may remove it.
        let mode = fs::Permissions::from_mode(0o1777);
        fs::set_permissions(&base, mode).expect("the directory is ours");
        base
    }

    /// Returns a new directory for one server.
    pub(super) fn server_directory(&self, prefix: &str) -> PathBuf {
        // Not by the process's id: those come again, and the keeper of an earlier one may still clear up.
        let directory = self.base_directory().join(format!("{prefix}-{:016x}", unique_number()));
        fs::create_dir(&directory).expect("it is a new directory");
        self.own(&directory);
        directory
    }

    /// Returns a data directory that is made once for a machine, by whoever comes first: `make` fills an empty one.
    pub(super) fn template(&self, name: &str, make: impl FnOnce(&Path)) -> PathBuf {
        let base = self.base_directory();
        let lock = File::create(base.join("lock")).expect("the directory is ours");
        lock.lock().expect("files can be locked");
        let template = base.join(format!("template-{name}"));
        if !template.exists() {
            let fresh = base.join(format!("fresh-{}", std::process::id()));
            self.own_directory(&fresh);
            make(&fresh);
            fs::rename(&fresh, &template).expect("one directory, one file system");
        }
        template
    }

    /// Copies as the owner; where the file system can, blocks are shared.
    pub(super) fn copy(&self, from: &Path, to: &Path) {
        let clone = if cfg!(target_os = "macos") { "-c" } else { "--reflink=auto" };
        let status = self.command("cp").args(["-R", "-p", clone]).arg(from).arg(to).status();
        assert!(status.expect("cp runs").success(), "the template could not be copied");
    }
}

/// The directory that the environment names, else one in memory, where a server is copied and started in a third of the
/// processor time that a disk's file system takes.
fn parent_directory() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let is_usable = |it: StatVfs| {
        let has_room = it.f_bavail.saturating_mul(it.f_frsize) >= ROOM;
        has_room && !it.f_flag.contains(StatVfsMountFlags::NOEXEC)
    };
    let temporary = env::temp_dir();
    let is_chosen = temporary != Path::new("/tmp");
    if !is_chosen && statvfs(memory).is_ok_and(is_usable) { memory.to_owned() } else { temporary }
}

fn id(arguments: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(arguments).stderr(Stdio::null()).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

/// A port that is free, and that no other test is given until it is bound.
/// One that the system gives to nobody by itself (`ip_local_port_range` begins above): until it is bound, and
/// while the server is down, no connection of another test may get it. The claim is the UDP port of the same
/// number: another process, which looks for a port at the same time, cannot have that either.
pub(crate) fn free_port() -> u16 {
    let mut ports = std::iter::repeat_with(|| fastrand::u16(10_000..32_000)).take(100_000);
    let claim = |port: u16| {
        let claim = UdpSocket::bind(("127.0.0.1", port)).ok()?;
        TcpListener::bind(("127.0.0.1", port)).ok()?;
        Some((port, claim))
    };
    let (port, claim) = ports.find_map(claim).expect("loopback has free ports");
    let mut claims = CLAIMS.lock();
    claims.push_back(claim);
    if claims.len() > CLAIMS_HELD {
        claims.pop_front();
    }
    port
}

/// Returns letters and digits of what a program calls its version.
pub(super) fn version_of(program: &Path) -> String {
    let version = Command::new(program).arg("--version").output().expect("the server runs");
    String::from_utf8_lossy(&version.stdout).replace(|c: char| !c.is_alphanumeric(), "")
}

/// The last lines of a log.
pub(crate) fn tail(log: &str, lines: usize) -> String {
    let skipped = log.lines().count().saturating_sub(lines);
    log.lines().skip(skipped).collect::<Vec<_>>().join("\n")
}
