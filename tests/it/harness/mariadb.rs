//! A private MariaDB, or the MySQL that `ROWGATE_MYSQLD` names: its own directory, a socket there, a free port on
//! loopback.
//!
//! The data directory is made once on a machine and is copied from then on. The server ends with its test. It flushes
//! its log at each commit but never waits for a disk: what it acknowledged is there after SIGKILL, as the operating
//! system goes on. Root starts it as an unprivileged user, which the server insists on.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use super::private_server::{Keeper, User, free_port, tail, version_of};
use super::programs::{mysql_client, mysql_install, mysqld, path_behind};
use super::wait::eventually;

/// The password of [`ROLE`]; the superuser `root` has none and comes over the socket only.
pub(crate) const PASSWORD: &str = "correct horse";

/// The user with all rights on the one database `test`, and none besides.
pub(crate) const ROLE: &str = "rowgate";

const START: Duration = Duration::from_secs(60);

/// Of every server, whichever it is: `loose` names variables that one of them does not have.
const SETTINGS: [&str; 11] = [
    "skip-name-resolve",
    "skip-log-bin",
    "bind-address=127.0.0.1",
    "max-connections=50",
    "innodb-use-native-aio=OFF",
    "innodb-flush-method=nosync",
    "innodb-flush-log-at-trx-commit=1",
    "innodb-buffer-pool-size=32M",
    "loose-innodb-log-file-size=16M",
    "loose-innodb-redo-log-capacity=16M",
    "loose-mysqlx=OFF",
];

/// One statement a line, which is all that a server understands while it is being set up.
const SET_UP: [&str; 4] = [
    "flush privileges",
    "create database test character set utf8mb4",
    "create user rowgate@'%' identified by 'correct horse'",
    "grant all on test.* to rowgate@'%'",
];

/// A running server, or one that can be started again.
pub(crate) struct Mariadb {
    user: User,
    directory: PathBuf,
    port: u16,
    settings: Vec<String>,
    keeper: Option<Keeper>,
}

impl Mariadb {
    /// A server with an empty database `test`.
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// The same, with settings as in `max-connections=20`.
    pub(crate) fn with(settings: &[&str]) -> Self {
        let mut server = Self::stopped(settings);
        server.resume();
        server
    }

    /// The same, not yet started.
    pub(super) fn stopped(settings: &[&str]) -> Self {
        let user = User::find(&["mysql", "postgres", "nobody"]);
        let directory = user.server_directory("my");
        user.copy(&template(&user), &directory.join("data"));
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        Self { user, directory, port: free_port(), settings, keeper: None }
    }

    /// Starts it again after [`Mariadb::stop`] or [`Mariadb::crash`], on the same port.
    pub(crate) fn resume(&mut self) {
        assert!(self.keeper.is_none(), "it runs already");
        // A server that was killed leaves them behind, and MySQL does not start over them.
        for name in ["socket", "socket.lock", "pid"] {
            fs::remove_file(self.directory.join(name)).unwrap_or_default();
        }
        let mut command = Keeper::command(&self.user, "KILL", &self.log_file(), &self.directory);
        command.args(self.words()).env("PATH", path_behind(&self.directory));
        let earlier = self.log().len();
        self.keeper = Some(Keeper::start(command));
        eventually("the server accepts connections", START, || {
            let log = self.log();
            log.get(earlier..).is_some_and(|log| log.contains(": ready for conn")).then_some(())
        });
    }

    /// The server with all that it is told.
    fn words(&self) -> Vec<String> {
        let mut words = base_command(&self.directory.join("data"));
        words.push(format!("--port={}", self.port));
        for (option, name) in [("socket", "socket"), ("pid-file", "pid")] {
            words.push(format!("--{option}={}", self.directory.join(name).display()));
        }
        for option in ["tmpdir", "secure-file-priv"] {
            words.push(format!("--{option}={}", self.directory.display()));
        }
        words.extend(self.settings.iter().map(|setting| format!("--{setting}")));
        words
    }

    /// Runs the program, which ends by itself; returns what it printed.
    pub(super) fn run_to_its_end(&self, setting: &str) -> String {
        assert!(self.keeper.is_none(), "it runs already");
        let mut words = self.words();
        words.push(format!("--{setting}"));
        let output = by_words(&self.user, &words).output().expect("the server's program runs");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// Changes the settings with which it starts the next time.
    pub(super) fn set_settings(&mut self, settings: Vec<String>) {
        self.settings = settings;
    }

    /// Takes the data of another; neither runs.
    pub(super) fn take_data_of(&self, other: &Self) {
        assert!(self.keeper.is_none() && other.keeper.is_none(), "neither runs");
        let data = self.directory.join("data");
        fs::remove_dir_all(&data).expect("it is there");
        self.user.copy(&other.directory.join("data"), &data);
    }

    /// Puts a program into its directory, which is in its path.
    pub(super) fn add_program(&self, name: &str, text: &str) {
        let path = self.directory.join(name);
        fs::write(&path, text).expect("the directory is there");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("the file is ours");
    }

    /// Sends the running server a signal that does not end it, as in `STOP`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.pid()]).status();
        assert!(status.expect("kill runs").success(), "{name}");
    }

    /// Ends it in order: connections are closed, and transactions rolled back.
    pub(crate) fn stop(&mut self) {
        self.keeper.take().expect("it runs").end_with("TERM");
    }

    /// Starts it again with further settings.
    pub(crate) fn restart_with(&mut self, settings: &[String]) {
        self.stop();
        self.settings.extend_from_slice(settings);
        self.resume();
    }

    /// Writes a file in its data directory that only the server can read; returns its path.
    pub(crate) fn put(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.directory.join("data").join(name);
        fs::write(&path, content).expect("the directory is ours");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("the file is ours");
        self.user.own(&path);
        path
    }

    /// Ends it as a crash does: connections just break.
    pub(crate) fn crash(&mut self) {
        self.keeper.take().expect("it runs").end_with("KILL");
    }

    /// The URL of [`ROLE`] over TCP.
    pub(crate) fn url(&self) -> String {
        self.url_as(ROLE, PASSWORD)
    }

    /// The URL of [`ROLE`] over the socket.
    pub(crate) fn socket_url(&self) -> String {
        let password = PASSWORD.replace(' ', "%20");
        format!("mysql://{ROLE}:{password}@localhost/test?socket={}", self.socket().display())
    }

    /// The URL of another user.
    pub(crate) fn url_as(&self, user: &str, password: &str) -> String {
        let password = password.replace(' ', "%20");
        format!("mysql://{user}:{password}@127.0.0.1:{}/test", self.port)
    }

    /// Tells MySQL from MariaDB.
    pub(crate) fn is_mysql(&self) -> bool {
        is_mysql()
    }

    /// The port on loopback.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The path of the socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.join("socket")
    }

    /// The id of the server's process.
    pub(crate) fn pid(&self) -> String {
        let text = fs::read_to_string(self.directory.join("pid")).expect("it runs");
        text.trim().to_owned()
    }

    /// Returns what the client of `root` prints in database `test` for one statement or several: tabs between
    /// columns, without the columns' names and without the last line's end.
    #[track_caller]
    pub(crate) fn sql(&self, sql: &str) -> String {
        printed(&self.run_as_root(sql), sql)
    }

    /// The same with bytes in hexadecimal digits, as in `0x00FF`.
    #[track_caller]
    pub(crate) fn sql_in_hex(&self, sql: &str) -> String {
        let socket = self.socket();
        let login = ["-u", "root", "-S", &socket.to_string_lossy(), "--binary-as-hex"];
        printed(&self.run_client(&login, sql), sql)
    }

    fn run_as_root(&self, sql: &str) -> Output {
        self.run_client(&["-u", "root", "-S", &self.socket().to_string_lossy()], sql)
    }

    fn run_client(&self, login: &[&str], sql: &str) -> Output {
        let mut command = Command::new(mysql_client());
        command.arg("--no-defaults").args(login).args(["-N", "-B", "-r"]);
        command.args(["--default-character-set=utf8mb4", "test"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the client can be started");
        let mut input = child.stdin.take().expect("the pipe was asked for");
        // The script is far smaller than what the client prints, so it cannot block on its own output.
        input.write_all(sql.as_bytes()).expect("the client reads");
        drop(input);
        child.wait_with_output().expect("the client is a child of ours")
    }

    /// Kills the connections of [`ROLE`]; returns how many there were.
    pub(crate) fn kill_connections(&self) -> usize {
        let ids = format!("select id from information_schema.processlist where user = '{ROLE}'");
        let ids = self.sql(&ids);
        for id in ids.lines() {
            // One that has ended meanwhile is no error here.
            self.run_as_root(&format!("kill {id}"));
        }
        ids.lines().count()
    }

    /// Returns the server's log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.directory.join("log")
    }
}

impl Drop for Mariadb {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the log of the server ends:\n{}", tail(&self.log(), 20));
        }
        if self.keeper.take().is_none() {
            fs::remove_dir_all(&self.directory).unwrap_or_default();
        }
    }
}

/// Returns what a client that succeeded printed, without the last line's end.
#[track_caller]
fn printed(output: &Output, sql: &str) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}\nin: {sql}");
    let mut text = String::from_utf8(output.stdout.clone()).expect("the client prints UTF-8");
    if text.ends_with('\n') {
        text.pop();
    }
    text
}

/// Tells MySQL from MariaDB, which is what runs by itself.
pub(crate) fn is_mysql() -> bool {
    !version_of(&mysqld()).contains("MariaDB")
}

/// Its name as OpenTelemetry's `db.system.name`.
pub(crate) fn system_name() -> &'static str {
    if is_mysql() { "mysql" } else { "mariadb" }
}

/// The server, its data, and the settings of every server.
fn base_command(data: &Path) -> Vec<String> {
    let program = mysqld().to_string_lossy().into_owned();
    let mut words =
        vec![program, "--no-defaults".to_owned(), format!("--datadir={}", data.display())];
    words.extend(SETTINGS.iter().map(|setting| format!("--{setting}")));
    words
}

/// A data directory with the database `test` and its user.
fn template(user: &User) -> PathBuf {
    let version = version_of(&mysqld());
    user.template(&format!("mysql-{version}"), |fresh| {
        let script = user.base_directory().join("set_up.sql");
        fs::write(&script, format!("{};\n", SET_UP.join(";\n"))).expect("the directory is ours");
        if !is_mysql() {
            let mut install = user.command(mysql_install());
            install.args(["--no-defaults", "--auth-root-authentication-method=normal"]);
            install.args(["--skip-test-db", &format!("--datadir={}", fresh.display())]);
            install.args(SETTINGS.iter().map(|setting| format!("--{setting}")));
            must_succeed(&mut install);
            let mut set_up = by_words(user, &base_command(fresh));
            let script = File::open(&script).expect("it was just written");
            must_succeed(set_up.arg("--bootstrap").stdin(script));
        } else {
            let mut set_up = by_words(user, &base_command(fresh));
            set_up.args([
                "--initialize-insecure",
                &format!("--init-file={}", script.display()),
                &format!("--secure-file-priv={}", fresh.display()),
            ]);
            must_succeed(&mut set_up);
        }
    })
}

fn by_words(user: &User, words: &[String]) -> Command {
    let [program, arguments @ ..] = words else { unreachable!("the server comes first") };
    let mut command = user.command(program);
    command.args(arguments);
    command
}

fn must_succeed(command: &mut Command) {
    let output = command.output().expect("the server's programs run");
    let told = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{command:?}: {}", tail(&told, 20));
}

#[test]
fn a_server_starts_in_seconds() {
    let most = Duration::from_secs(if is_mysql() { 5 } else { 2 });
    // The first makes the template; one of the others is fast, whatever the machine does meanwhile.
    drop(Mariadb::start());
    let mut starts = (0..5).map(|_| {
        let start = std::time::Instant::now();
        let server = Mariadb::start();
        let took = start.elapsed();
        assert_eq!(server.sql("select 1"), "1");
        took
    });
    assert!(starts.any(|took| took < most), "none of five starts took less than {most:?}");
}

#[test]
fn a_server_keeps_what_it_acknowledged_and_leaves_nothing_behind() {
    let mut server = Mariadb::start();
    server.sql("create table t (id integer primary key, name text); insert into t values (1, 'ü')");
    server.stop();
    server.resume();
    assert_eq!(server.sql("select id, name from t; select 'two'"), "1\tü\ntwo");
    let first = server.pid();
    server.sql("insert into t values (2, null)");
    server.crash();
    server.resume();
    assert_eq!(server.sql("select name from t order by id"), "ü\nNULL");
    assert_ne!(server.pid(), first);
    let directory = server.directory.clone();
    assert!(directory.exists());
    drop(server);
    assert!(!directory.exists());
}

#[test]
fn a_server_has_its_settings_and_kills_the_connections_of_its_user() {
    let server = Mariadb::with(&["max-connections=11"]);
    assert_eq!(server.sql("select @@max_connections, @@innodb_flush_log_at_trx_commit"), "11\t1");
    let port = server.port().to_string();
    let login = ["-u", ROLE, &format!("-p{PASSWORD}"), "-h", "127.0.0.1", "-P", &port];
    let output = server.run_client(&login, "select current_user(), database()");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "rowgate@%\ttest\n", "{output:?}");
    std::thread::scope(|scope| {
        let sleeping = scope.spawn(|| server.run_client(&login, "select sleep(60)"));
        eventually("its connection is killed", START, || {
            (server.kill_connections() == 1).then_some(())
        });
        let output = sleeping.join().expect("no panic");
        assert!(!output.status.success(), "{output:?}");
    });
}
