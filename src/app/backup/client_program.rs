//! The programs of PostgreSQL and MySQL: where they are, which version, and one run.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use super::file_job::refused;
use super::supervision::{Control, interrupted};
use crate::config::Environment;
use crate::error::Result;

/// Directories that are searched behind those of PATH; a `*` stands for any name.
const USUAL: [&str; 9] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/local/pgsql/bin",
    "/usr/bin",
    "/usr/local/bin",
    "/usr/local/mysql/bin",
    "/opt/homebrew/bin",
    "/opt/homebrew/opt/libpq/bin",
    "/opt/homebrew/opt/mysql-client/bin",
];

/// The variables that a program inherits: none that leads it to another database, and no secret of this process.
const INHERITED: [&str; 9] = [
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_MESSAGES",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "OPENSSL_CONF",
];

/// The bytes of a program's errors that are kept; those behind them are read and dropped.
const MAX_ERRORS: usize = 16 << 10;

/// The time that a program has to end by itself.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// The time between two looks at the progress.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// The program of one name or of another, and the package that has it.
pub(super) struct Wanted {
    pub(super) names: &'static [&'static str],
    pub(super) packages: &'static str,
}

/// A program that was found.
#[derive(Debug)]
pub(super) struct ClientProgram {
    path: PathBuf,
    /// The line that it prints for `--version`.
    pub(super) version: String,
    inherited: BTreeMap<String, String>,
}

impl ClientProgram {
    /// Finds the one that suits best, by what `rank` makes of its version.
    pub(super) async fn find<R: Ord>(
        wanted: &Wanted,
        environment: &Environment,
        rank: impl Fn(&str) -> R,
    ) -> Result<Self> {
        let inherited = INHERITED
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), environment.get(name)?.to_owned())))
            .collect();
        let mut best: Option<(R, PathBuf, String)> = None;
        for path in candidates(wanted.names, environment) {
            let Some(version) = version_of(&path, &inherited).await else { continue };
            let own = rank(&version);
            if best.as_ref().is_none_or(|(rank, ..)| *rank < own) {
                best = Some((own, path, version));
            }
        }
        let Some((_, path, version)) = best else {
            let names = wanted.names.join(" or ");
            let message =
                format!("{names} is not installed: neither in PATH nor in the usual directories");
            return Err(refused(message).with_hint(format!("Install {}.", wanted.packages)));
        };
        Ok(Self { path, version, inherited })
    }

    /// The same installation's program of another name.
    pub(super) fn sibling(&self, name: &str) -> Option<Self> {
        let path = self.path.with_file_name(name);
        let Self { version, inherited, .. } = self;
        path.is_file().then(|| Self {
            path,
            version: version.clone(),
            inherited: inherited.clone(),
        })
    }

    /// The command, with nothing of this process's environment but what does no harm.
    pub(super) fn command(&self) -> Command {
        command(&self.path, &self.inherited)
    }

    /// The sentence that names the program and its version.
    pub(super) fn told(&self) -> String {
        format!("used {} ({})", self.path.display(), self.version)
    }

    /// Runs it to its end; returns its remarks. `look` is called now and then meanwhile.
    pub(super) async fn run(
        &self,
        command: &mut Command,
        control: &Control,
        look: impl Fn(),
    ) -> Result<Vec<String>> {
        let mut child = self.start(command)?;
        self.end_of(&mut child, control, look).await
    }

    /// The same, with an input that it gets by a pipe: its own end ends the input, and so the program.
    pub(super) async fn run_fed(
        &self,
        command: &mut Command,
        control: &Control,
        look: impl Fn(),
        input: impl FnMut(&mut Vec<u8>) -> io::Result<bool> + Send + 'static,
    ) -> Result<Vec<String>> {
        let mut child = self.start(command.stdin(Stdio::piped()))?;
        let fed = tokio::spawn(feed(child.stdin.take(), input));
        let ran = self.end_of(&mut child, control, look).await?;
        // A program that has ended takes nothing more.
        match fed.await {
            Ok(Ok(())) => Ok(ran),
            Ok(Err(error)) => Err(refused("the file cannot be read to its end").with_cause(error)),
            Err(error) => Err(refused("the file was not read to its end").with_cause(error)),
        }
    }

    fn start(&self, command: &mut Command) -> Result<Child> {
        command.stderr(Stdio::piped()).spawn().map_err(|error| {
            refused(format!("cannot start {}", self.path.display())).with_cause(error)
        })
    }

    async fn end_of(
        &self,
        child: &mut Child,
        control: &Control,
        look: impl Fn(),
    ) -> Result<Vec<String>> {
        let errors = tokio::spawn(read_errors(child.stderr.take()));
        let status = wait(child, control, look).await?;
        let errors = errors.await.unwrap_or_default();
        let lines: Vec<_> = errors.lines().map(str::to_owned).collect();
        if status.success() {
            return Ok(lines);
        }
        let name = self.path.display();
        let message = format!("{name} has failed ({status})\n{}", lines.join("\n"));
        Err(refused(message.trim_end()).with_hint(format!("Its version is {}.", self.version)))
    }
}

/// Waits for the end of a program, which a signal hastens.
async fn wait(child: &mut Child, control: &Control, look: impl Fn()) -> Result<ExitStatus> {
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    let ended = |error| refused("cannot wait for the program").with_cause(error);
    loop {
        tokio::select! {
            // In this order a program that has done its work is not said to be interrupted.
            biased;
            status = child.wait() => {
                look();
                return status.map_err(ended);
            }
            () = control.stopped() => {
                end(child).await.map_err(ended)?;
                return Err(interrupted());
            }
            _ = looks.tick() => look(),
        }
    }
}

/// Writes the input of a program, until it takes no more. Fails where the input cannot be read.
async fn feed(
    pipe: Option<ChildStdin>,
    mut input: impl FnMut(&mut Vec<u8>) -> io::Result<bool>,
) -> io::Result<()> {
    let Some(mut pipe) = pipe else { return Ok(()) };
    let mut piece = Vec::new();
    while input(&mut piece)? {
        if pipe.write_all(&piece).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Ends a program. At SIGTERM PostgreSQL's cancel what they have sent, which the server would go on with otherwise.
async fn end(child: &mut Child) -> io::Result<()> {
    let id = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    if id.is_some_and(|id| kill_process(id, Signal::TERM).is_ok())
        && let Ok(status) = timeout(END_TIMEOUT, child.wait()).await
    {
        return status.map(drop);
    }
    child.kill().await
}

async fn read_errors(pipe: Option<impl AsyncRead + Unpin>) -> String {
    let mut kept = Vec::new();
    if let Some(mut pipe) = pipe {
        let mut chunk = vec![0; 4096];
        while let Ok(read @ 1..) = pipe.read(&mut chunk).await {
            let room = MAX_ERRORS.saturating_sub(kept.len());
            kept.extend_from_slice(&chunk[..read.min(room)]);
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

fn command(path: &Path, inherited: &BTreeMap<String, String>) -> Command {
    let mut command = Command::new(path);
    command.env_clear().envs(inherited).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// The line of `--version`; `None` if the program does not run.
async fn version_of(path: &Path, inherited: &BTreeMap<String, String>) -> Option<String> {
    let mut asked = command(path, inherited);
    let output = asked.arg("--version").stdout(Stdio::piped()).stderr(Stdio::null()).output();
    let output = output.await.ok().filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().next().map(|line| line.trim().to_owned())
}

/// The version's numbers: `16, 3` of `pg_dump (PostgreSQL) 16.3`. MariaDB's client has one of its own before that of the
/// distribution: `mysqldump  Ver 10.19 Distrib 10.11.6-MariaDB`.
pub(super) fn numbers(version: &str) -> Vec<u32> {
    let version = version.split_once("Distrib ").map_or(version, |(_, behind)| behind);
    let start = version.find(|c: char| c.is_ascii_digit()).unwrap_or(version.len());
    let rest = &version[start..];
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    rest[..end].split('.').filter_map(|number| number.parse().ok()).collect()
}

/// The programs of these names that there are, the likeliest first.
fn candidates(names: &[&str], environment: &Environment) -> Vec<PathBuf> {
    let path = environment.get("PATH").unwrap_or_default();
    let of_path = path.split(':').filter(|part| part.starts_with('/')).map(PathBuf::from);
    let directories: Vec<_> =
        of_path.chain(USUAL.iter().flat_map(|usual| matching(usual))).collect();
    let mut found: Vec<PathBuf> = Vec::new();
    // A directory may be there twice, or be a link to another.
    for directory in directories {
        let programs = names.iter().map(|name| directory.join(name)).filter(|path| path.is_file());
        for program in programs {
            if !found.contains(&program) {
                found.push(program);
            }
        }
    }
    found
}

/// The directories that a pattern with at most one star stands for.
fn matching(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else { return vec![pattern.into()] };
    let (directory, start) = before.rsplit_once('/').unwrap_or(("", before));
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let names = names.filter(|name| name.starts_with(start));
    names.map(|name| PathBuf::from(format!("{directory}/{name}{after}"))).collect()
}

/// The position up to which a program has read a file, or written it: they share it.
pub(super) fn position(file: &File) -> u64 {
    use std::io::Seek as _;
    let mut file = file;
    file.stream_position().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        for (version, expected) in [
            ("pg_dump (PostgreSQL) 16.3 (Debian 16.3-1)", vec![16, 3]),
            ("pg_dump (PostgreSQL) 9.6.24", vec![9, 6, 24]),
            ("mysqldump  Ver 10.19 Distrib 10.11.6-MariaDB, for Linux", vec![10, 11, 6]),
            ("mariadb-dump from 11.4.2-MariaDB, client 10.19", vec![11, 4, 2]),
            ("mysqldump  Ver 8.0.36 for Linux on x86_64", vec![8, 0, 36]),
            ("none", vec![]),
        ] {
            assert_eq!(numbers(version), expected, "{version}");
        }
    }

    fn fake(directory: &Path, name: &str, script: &str) {
        let path = directory.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[tokio::test]
    async fn the_newest_program_of_the_path_is_taken_and_one_that_fails_is_not() {
        let directories = [(); 3].map(|()| tempfile::tempdir().unwrap());
        for (directory, script) in directories.iter().zip(["echo d 9.6", "echo d 400.1", "exit 1"])
        {
            fake(directory.path(), "a_dump", script);
        }
        let paths = directories.each_ref().map(|directory| directory.path().to_str().unwrap());
        let environment = Environment::of(&[("PATH", &paths.join(":"))]);
        let wanted = Wanted { names: &["a_dump"], packages: "a-client" };
        let found = ClientProgram::find(&wanted, &environment, numbers).await.unwrap();
        assert_eq!(found.version, "d 400.1");
        assert_eq!(found.path.parent(), Some(directories[1].path()));
        let wanted = Wanted { names: &["no_dump"], packages: "a-client" };
        let error = ClientProgram::find(&wanted, &environment, numbers).await.unwrap_err();
        assert!(error.message().starts_with("no_dump is not installed"), "{error}");
        assert_eq!(error.hint(), Some("Install a-client."));
    }

    #[tokio::test]
    async fn a_program_that_fails_shows_what_it_printed_and_gets_no_secrets_of_the_environment() {
        let directory = tempfile::tempdir().unwrap();
        let script = "[ \"$1\" = --version ] && echo d 1 && exit; env >&2; exit 3";
        fake(directory.path(), "a_dump", script);
        let path = format!("{}:/usr/bin:/bin", directory.path().display());
        let environment = [("PATH", path.as_str()), ("PGPASSWORD", "s3cret"), ("LANG", "C")];
        let wanted = Wanted { names: &["a_dump"], packages: "" };
        let found =
            ClientProgram::find(&wanted, &Environment::of(&environment), numbers).await.unwrap();
        let control = Control::default();
        let error = found.run(&mut found.command(), &control, || {}).await.unwrap_err();
        let message = error.message();
        assert!(message.contains("exit status: 3") && message.contains("LANG=C"), "{message}");
        assert!(!message.contains("s3cret"), "{message}");
    }
}
