//! The real binary, in a directory of its own, on free ports.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use tempfile::TempDir;

pub(crate) use super::private_server::free_port;
use super::private_server::tail;
use super::wait::{eventually, eventually_async};

/// The variable of the listener for services.
pub(crate) const LISTEN: &str = "ROWGATE__GRPC__LISTEN";

const START: Duration = Duration::from_secs(20);

/// A running server.
pub(crate) struct Server {
    child: Child,
    grpc: SocketAddr,
    ops: SocketAddr,
    greeting: Vec<String>,
    directory: TempDir,
}

impl Server {
    /// Starts `rowgate serve` with a configuration file; the listeners are chosen here.
    pub(crate) fn start(configuration: &str) -> Self {
        Self::start_with(configuration, &[])
    }

    /// The same, with environment variables.
    pub(crate) fn start_with(configuration: &str, environment: &[(&str, &str)]) -> Self {
        let directory = configured(configuration);
        let mut command = rowgate(directory.path());
        command.arg("serve").envs(environment.iter().copied());
        Self::spawn(command, directory)
    }

    /// The same, with no more than so many file descriptors.
    pub(crate) fn start_with_descriptors(configuration: &str, descriptors: u32) -> Self {
        let directory = configured(configuration);
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {descriptors}; exec \"$0\" serve")]).arg(binary());
        command.env_clear().env("HOME", directory.path()).current_dir(directory.path());
        Self::spawn(command, directory)
    }

    fn spawn(mut command: Command, directory: TempDir) -> Self {
        // Unless the test has chosen another.
        if !command.get_envs().any(|(name, _)| name == LISTEN) {
            command.env(LISTEN, "127.0.0.1:0");
        }
        command.env("ROWGATE__OPS__LISTEN", "127.0.0.1:0");
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(File::create(directory.path().join("log")).expect("it is ours"));
        let mut child = command.spawn().expect("the binary was built");
        let lines = lines_of(&mut child);
        let mut server =
            Self { child, grpc: unset(), ops: unset(), greeting: Vec::new(), directory };
        server.read_greeting(&lines);
        server
    }

    /// Reads the greeting, which ends with the lines to paste and an empty one.
    fn read_greeting(&mut self, lines: &Receiver<String>) {
        let mut has_line_to_paste = false;
        while !has_line_to_paste || self.greeting.last().is_some_and(|line| !line.is_empty()) {
            let Ok(line) = lines.recv_timeout(START) else {
                panic!("no greeting on standard output, only {:?}", self.greeting);
            };
            match (line.split_whitespace().next(), address_in(&line)) {
                (Some("gRPC"), Some(address)) => self.grpc = address,
                (Some("operators"), Some(address)) => self.ops = address,
                _ => {}
            }
            has_line_to_paste |= line.contains(" query --address ");
            self.greeting.push(line);
        }
        let has_socket = self.greeting.iter().any(|line| line.contains("unix:/"));
        let has_grpc = has_socket || self.grpc != unset();
        assert!(has_grpc && self.ops != unset(), "no address in {:?}", self.greeting);
    }

    /// The lines that it printed when it was ready.
    pub(crate) fn greeting(&self) -> &[String] {
        &self.greeting
    }

    /// The address of gRPC.
    pub(crate) fn grpc(&self) -> SocketAddr {
        self.grpc
    }

    /// The address of the operators' HTTP.
    pub(crate) fn ops(&self) -> SocketAddr {
        self.ops
    }

    /// The directory it runs in.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Returns its log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// The most memory that it has had at once; that of now where there is no /proc.
    pub(crate) fn peak(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes =
            line.and_then(|line| line.trim_end_matches("kB").trim().parse::<u64>().ok());
        kibibytes.map_or_else(|| self.resident(), |kibibytes| kibibytes * 1024)
    }

    /// The memory it keeps resident, in bytes: from /proc where there is one, else from `ps`.
    pub(crate) fn resident(&self) -> u64 {
        let pid = self.child.id().to_string();
        let kibibytes = fs::read_to_string(format!("/proc/{pid}/status")).map_or_else(
            |_no_proc| {
                let output = Command::new("ps").args(["-o", "rss=", "-p", &pid]).output();
                String::from_utf8(output.expect("ps runs").stdout).expect("a number")
            },
            |status| {
                let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
                line.expect("VmRSS").trim_end_matches("kB").to_owned()
            },
        );
        kibibytes.trim().parse::<u64>().expect("a number of KiB") * 1024
    }

    /// The file descriptors it has open; `None` where there is no /proc to tell them.
    pub(crate) fn descriptors(&self) -> Option<usize> {
        self.entries("fd")
    }

    /// Its threads; `None` where there is no /proc to tell them.
    pub(crate) fn threads(&self) -> Option<usize> {
        self.entries("task")
    }

    fn entries(&self, of: &str) -> Option<usize> {
        Some(fs::read_dir(format!("/proc/{}/{of}", self.child.id())).ok()?.count())
    }

    /// The processor time it has used; `None` where there is no /proc to tell it.
    pub(crate) fn processor_time(&self) -> Option<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        // The name, in parentheses, may hold spaces; utime and stime are the 14th and 15th fields.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(status.expect("kill runs").success(), "the server has ended");
    }

    /// Stops it, with all its threads.
    pub(crate) fn stop(&self) {
        self.signal("STOP");
        let tasks = format!("/proc/{}/task", self.child.id());
        let stops = |task: std::io::Result<fs::DirEntry>| {
            let stat = fs::read_to_string(task.ok()?.path().join("stat")).ok()?;
            Some(stat.rsplit_once(')')?.1.trim_start().starts_with('T'))
        };
        eventually("every thread stops", START, || {
            // Without /proc nobody can tell.
            let Ok(mut tasks) = fs::read_dir(&tasks) else { return Some(()) };
            tasks.all(|task| stops(task).unwrap_or(true)).then_some(())
        });
    }

    /// The same for a test whose own clients have to go meanwhile.
    pub(crate) async fn exit(&mut self, within: Duration) -> ExitStatus {
        let ended = async || self.child.try_wait().expect("it is our child");
        eventually_async("the server ends", within, ended).await
    }

    /// Waits for its exit; fails the test if it takes longer than the given time.
    pub(crate) fn wait_for_exit(&mut self, within: Duration) -> ExitStatus {
        eventually("the server ends", within, || self.child.try_wait().expect("it is our child"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the server's log ends:\n{}", tail(&self.log(), 30));
        }
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

/// The output of `rowgate config check` on a configuration, with this exit status.
#[track_caller]
pub(crate) fn checked(configuration: &str, status: i32) -> String {
    let directory = configured(configuration);
    let output = run(directory.path(), &["config", "check"], &[]);
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let told = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(status), "{told}");
    told
}

/// Runs one command to its end, in `directory`.
pub(crate) fn run(directory: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = rowgate(directory);
    command.args(arguments).envs(environment.iter().copied()).stdin(Stdio::null());
    command.output().expect("the binary was built")
}

/// The binary without the environment of whoever runs the tests.
pub(crate) fn rowgate(directory: &Path) -> Command {
    let mut command = Command::new(binary());
    command.env_clear().env("HOME", directory).current_dir(directory);
    command
}

/// The path of the binary.
pub(crate) fn binary() -> PathBuf {
    env!("CARGO_BIN_EXE_rowgate").into()
}

/// Replaces a file that a server may read at any time: it never sees a part of the new one.
pub(crate) fn replace_file(path: impl AsRef<Path>, text: impl AsRef<[u8]>) {
    let path = path.as_ref();
    let new = path.with_extension("new");
    fs::write(&new, text).expect("the directory is ours");
    fs::rename(&new, path).expect("both are ours");
}

/// A directory with a configuration file.
fn configured(configuration: &str) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory can be made");
    fs::write(directory.path().join("rowgate.toml"), configuration).expect("it is ours");
    directory
}

fn unset() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 0))
}

/// Its lines as they come; they are read to the end, so that it never waits for a reader.
fn lines_of(child: &mut Child) -> Receiver<String> {
    let output = child.stdout.take().expect("the pipe was asked for");
    let (sender, receiver) = sync_channel(1000);
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            sender.try_send(line).unwrap_or_default();
        }
    });
    receiver
}

/// The first thing in a line that looks like an address and a port.
pub(crate) fn address_in(line: &str) -> Option<SocketAddr> {
    line.split(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'))
        .map(|word| word.trim_start_matches(':').trim_end_matches(['.', ':']))
        .find_map(|word| word.parse().ok())
}

#[test]
fn an_address_is_found_in_a_sentence() {
    let address = Some(SocketAddr::from(([127, 0, 0, 1], 50051)));
    for line in
        ["gRPC on 127.0.0.1:50051.", "  grpc  127.0.0.1:50051", "http://127.0.0.1:50051/livez"]
    {
        assert_eq!(address_in(line), address, "{line}");
    }
    assert_eq!(address_in("rowgate 0.1.0: ready"), None);
}
