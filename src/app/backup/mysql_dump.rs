//! The backup of a database of MySQL or MariaDB: the SQL of its dump program, which its client runs.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::client_login::{PrivateDirectory, TlsFiles};
use super::client_program::{ClientProgram, Wanted, numbers, position};
use super::dump_text::{self, DumpFeed, DumpLook};
use super::file_job::{Done, FileJob, refused};
use super::mysql_contents::{self, Contents};
use super::mysql_sequences::{Borrowed, borrowed_sequences};
use super::partial_file::{PartialFile, cannot};
use super::supervision::Control;
use crate::backend::AdminConnection;
use crate::backend::network::{Credentials, Login};
use crate::config::{Database, Host, MysqlTarget, Server, Tls, TlsMode};
use crate::error::{Error, ErrorKind, Result};

const PACKAGES: &str = "the client programs of the server (Debian: mariadb-client or default-mysql-client; Fedora: mariadb or \
    mysql; Alpine: mariadb-client; Homebrew: mariadb or mysql-client)";
const DUMP: Wanted = Wanted { names: &["mariadb-dump", "mysqldump"], packages: PACKAGES };
const CLIENT: Wanted = Wanted { names: &["mariadb", "mysql"], packages: PACKAGES };

/// The last line of a whole dump.
const END: &str = "-- Dump completed";

/// The bytes in which that line is looked for.
const TAIL: u64 = 256;

/// The content of a dump: one moment of tables with transactions, and all that belongs to the schema. Rows are read one by one,
/// and bytes are in hexadecimal digits, which no connection converts. Under a lock on its table a default may not ask a sequence.
const CONTENT: [&str; 8] = [
    "--skip-add-locks",
    "--single-transaction",
    "--quick",
    "--routines",
    "--triggers",
    "--events",
    "--hex-blob",
    "--no-tablespaces",
];

/// Writes a dump.
pub(super) async fn backup(
    database: &Database,
    target: &MysqlTarget,
    job: &FileJob,
    control: &Control,
    server: &mut dyn AdminConnection,
) -> Result<Done> {
    let schema = schema_of(target)?;
    let program = find(&DUMP, job, server).await?;
    let looked = control.or_interrupted(mysql_contents::look_at(server, &program.version));
    let Contents { arguments, warnings } = looked.await?;
    let connection = Connection::new(database, target, job, &program).await?;
    let partial = PartialFile::create(&job.file, job.replaces)?;
    let mut command = connection.command(&program);
    command.args(CONTENT).args(arguments);
    if !is_mariadb(&program.version) {
        command.args(["--set-gtid-purged=OFF", "--loose-column-statistics=0"]);
    }
    command.args(["--", schema]).stdout(partial.for_writer()?);
    let look = || control.reached(partial.size(), 0);
    let mut notes = vec![program.told()];
    let ran = program.run(&mut command, control, look).await;
    notes.extend(ran.map_err(|error| partial.not_made(error))?);
    notes.extend(warnings);
    check_end(partial.file(), partial.path())?;
    Ok(Done { bytes: partial.finish()?, notes })
}

/// Runs a dump.
pub(super) async fn restore(
    database: &Database,
    target: &MysqlTarget,
    job: &FileJob,
    control: &Control,
    server: &mut dyn AdminConnection,
) -> Result<Done> {
    let schema = schema_of(target)?;
    let program = find(&CLIENT, job, server).await?;
    let unread = |error| cannot("read", &job.file, error);
    let file = File::open(&job.file).map_err(|error| cannot("open", &job.file, error))?;
    check_end(&file, &job.file)?;
    let DumpLook { source, elsewhere, first_change } =
        dump_text::look_at(&file, schema).map_err(unread)?;
    if let Some((line, other)) = elsewhere {
        return Err(not_of_one(&job.file, line, &other, schema));
    }
    if !job.replaces {
        control.or_interrupted(check_empty(server, schema)).await?;
    }
    let connection = Connection::new(database, target, job, &program).await?;
    let mut command = connection.command(&program);
    // Without the client's own commands, such as one that runs a program.
    command.args([&*lock_timeouts(database), "--binary-mode", "--", schema]);
    let total = file.metadata().map_or(0, |metadata| metadata.len());
    let look = || control.reached(position(&file), total);
    let source = source.filter(|source| source != schema);
    let mut text = DumpFeed::new(&file, source).map_err(unread)?;
    let mut notes = vec![program.told()];
    let ran = program.run_fed(&mut command, control, look, move |piece| text.read(piece)).await;
    notes.extend(ran.map_err(|error| not_restored(error, first_change))?);
    // Everything is restored by now.
    let borrowed = borrowed_sequences(server).await.unwrap_or_default();
    notes.extend(borrowed.iter().map(asks_elsewhere));
    Ok(Done { bytes: total, notes })
}

async fn find(
    wanted: &Wanted,
    job: &FileJob,
    server: &dyn AdminConnection,
) -> Result<ClientProgram> {
    let server = server.server();
    ClientProgram::find(wanted, &job.environment, |version| rank(version, &server)).await
}

/// The client's argument by which a statement waits for locks no longer than those of the server's own sessions: those that wait
/// behind it would wait as long.
fn lock_timeouts(database: &Database) -> String {
    let seconds = database.lock_timeout.as_secs_f64().ceil().max(1.0);
    format!("--init-command=SET lock_wait_timeout={seconds}, innodb_lock_wait_timeout={seconds}")
}

/// The error of a dump that writes to another database than the one to restore.
fn not_of_one(file: &Path, line: u64, other: &str, schema: &str) -> Error {
    let file = file.display();
    let message = format!("{file}:{line}: the dump changes to the database {other}, not {schema}");
    refused(message).with_hint(
        "Nothing was changed. A dump made with --databases names its own: make one without, or name that database.",
    )
}

/// The error of a restoration that has failed, with what it has left: no transaction holds definitions.
fn not_restored(error: Error, first_change: Option<u64>) -> Error {
    let line = error.message().split_once(" at line ").and_then(|(_, behind)| {
        let end = behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len());
        behind[..end].parse::<u64>().ok()
    });
    let is_unchanged = line.zip(first_change).is_some_and(|(line, first)| line <= first);
    let waited = error.message().contains("ERROR 1205 ");
    let left = match (is_unchanged, error.kind()) {
        (true, _) => "Nothing was changed.".to_owned(),
        (false, ErrorKind::Cancelled) => {
            format!("The database may hold a part of the backup. {AGAIN}")
        }
        (false, _) => format!("The database holds a part of the backup. {AGAIN}"),
    };
    let advice = if waited { format!(" {BUSY}") } else { String::new() };
    error.with_hint(format!("{left}{advice}"))
}

/// The hint for a restoration that has left a part.
const AGAIN: &str = "Restore again with --force, which drops and creates each table of the backup.";

/// The hint for a restoration that has waited for a lock.
const BUSY: &str = "Another session holds a table: end its transaction, or raise databases.NAME.lock_timeout for this command.";

fn asks_elsewhere(borrowed: &Borrowed) -> String {
    let Borrowed { table, column, sequence } = borrowed;
    format!(
        "warning: the default of {table}.{column} takes its numbers from {sequence}, a sequence of another database. To give it \
         one of its own: alter table {table} alter {column} set default nextval(NAME)"
    )
}

fn schema_of(target: &MysqlTarget) -> Result<&str> {
    target.dbname.as_deref().ok_or_else(|| {
        refused("the URL names no database").with_hint("Write mysql://USER@HOST/DATABASE.")
    })
}

/// The objects that a dump may replace, or add to.
const OBJECTS: &str = "SELECT (SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE()) \
    + (SELECT COUNT(*) FROM information_schema.routines WHERE routine_schema = DATABASE()) \
    + (SELECT COUNT(*) FROM information_schema.events WHERE event_schema = DATABASE())";

/// Fails if a database has objects.
async fn check_empty(server: &mut dyn AdminConnection, schema: &str) -> Result<()> {
    let rows = server.run(OBJECTS).await?;
    let count = rows.into_iter().next().and_then(|row| row.into_iter().next().flatten());
    if count.as_deref() == Some("0") {
        return Ok(());
    }
    Err(refused(format!("the database {schema} is not empty")).with_hint(
        "Restore into an empty database, or let --force drop and create again the tables, views, routines and events of the backup.",
    ))
}

/// Checks that a dump has its last line.
fn check_end(file: &File, path: &Path) -> Result<()> {
    let mut file = file;
    let mut tail = Vec::new();
    let read = file
        .metadata()
        .and_then(|metadata| file.seek(SeekFrom::Start(metadata.len().saturating_sub(TAIL))))
        .and_then(|_start| file.take(TAIL).read_to_end(&mut tail));
    read.map_err(|error| cannot("read", path, error))?;
    let tail = String::from_utf8_lossy(&tail);
    if tail.lines().last().is_some_and(|line| line.starts_with(END)) {
        return Ok(());
    }
    let message = format!("{} is not a whole dump: its last line is not \"{END}\"", path.display());
    Err(refused(message).with_hint("Make a backup with `rowgate backup`."))
}

/// The rank of a program: best is one of the server's kind, and of those the newest.
fn rank(version: &str, server: &str) -> (bool, Vec<u32>) {
    (is_mariadb(version) == is_mariadb(server), numbers(version))
}

fn is_mariadb(version: &str) -> bool {
    version.contains("MariaDB")
}

/// The connection as MySQL's programs take it: by a file of options.
struct Connection {
    options: PathBuf,
    directory: PrivateDirectory,
}

impl Connection {
    async fn new(
        database: &Database,
        target: &MysqlTarget,
        job: &FileJob,
        program: &ClientProgram,
    ) -> Result<Self> {
        let credentials = Credentials::new(&job.database, target, &database.credentials)?;
        let login = credentials.fresh().await?;
        let directory = PrivateDirectory::create(&job.environment)?;
        let server = the_only(&target.servers)?;
        let mut lines = vec!["[client]".to_owned()];
        lines.extend(address(server));
        lines.push(option("user", login.user()));
        lines.extend(password(&login, 0));
        lines.push("default-character-set=utf8mb4".to_owned());
        lines.push("max-allowed-packet=1073741824".to_owned());
        lines.extend(tls_options(&target.tls, &directory, is_mariadb(&program.version))?);
        let options = directory.write("options.cnf", &(lines.join("\n") + "\n"))?;
        Ok(Self { options, directory })
    }

    /// The command with its options. The file is the only one that is read: one of the account's own would win over it.
    fn command(&self, program: &ClientProgram) -> Command {
        let mut command = program.command();
        command.arg(format!("--defaults-file={}", self.options.display()));
        // MySQL's programs read one more, whatever they are told.
        command.env("MYSQL_TEST_LOGIN_FILE", self.directory.nothing());
        command.stdin(Stdio::null());
        command
    }
}

fn password(login: &Login<MysqlTarget>, server: usize) -> Option<String> {
    login.password(server).map(|password| option("password", password.expose()))
}

fn address(server: &Server) -> Vec<String> {
    match &server.host {
        Host::Tcp(host) => vec![
            // The name localhost means the socket otherwise.
            "protocol=tcp".to_owned(),
            option("host", host),
            format!("port={}", server.port),
        ],
        Host::Unix(socket) => {
            vec!["protocol=socket".to_owned(), option("socket", &socket.display().to_string())]
        }
    }
}

/// Refuses several servers: the programs take one, and which of them takes writes is not theirs to find out.
fn the_only(servers: &[Server]) -> Result<&Server> {
    match servers {
        [one] => Ok(one),
        _ => {
            let message = "the URL names several servers, and a backup is made of one";
            Err(Error::new(ErrorKind::FailedPrecondition, message)
                .with_hint("Name the primary alone in databases.NAME.admin_url."))
        }
    }
}

/// The options of TLS. MariaDB's programs have no mode that checks the chain alone: they check the name, too.
fn tls_options(tls: &Tls, directory: &PrivateDirectory, is_mariadb: bool) -> Result<Vec<String>> {
    let files = TlsFiles::write(tls, directory)?;
    let is_verified = matches!(tls.mode, TlsMode::VerifyCa | TlsMode::VerifyFull);
    let mut lines = match (is_mariadb, tls.mode) {
        (true, TlsMode::Disable) => vec!["ssl=0".to_owned()],
        (true, _) => {
            let verify = u8::from(is_verified);
            vec!["ssl=1".to_owned(), format!("ssl-verify-server-cert={verify}")]
        }
        (false, TlsMode::Disable) => vec!["ssl-mode=DISABLED".to_owned()],
        (false, TlsMode::Require) => vec!["ssl-mode=REQUIRED".to_owned()],
        (false, TlsMode::VerifyCa) => vec!["ssl-mode=VERIFY_CA".to_owned()],
        (false, TlsMode::VerifyFull) => vec!["ssl-mode=VERIFY_IDENTITY".to_owned()],
    };
    for (name, path) in [("ssl-ca", files.ca), ("ssl-cert", files.cert), ("ssl-key", files.key)] {
        lines.extend(path.map(|path| option(name, &path.display().to_string())));
    }
    Ok(lines)
}

/// A line of an option file. Within quotes a number sign begins no comment.
fn option(name: &str, value: &str) -> String {
    let mut quoted = String::new();
    for character in value.chars() {
        match character {
            '\\' => quoted.push_str("\\\\"),
            '"' => quoted.push_str("\\\""),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            other => quoted.push(other),
        }
    }
    format!("{name}=\"{quoted}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_quoted_whatever_is_in_it() {
        assert_eq!(option("password", "a#b\"c\\d\n e"), r#"password="a#b\"c\\d\n e""#);
    }

    #[test]
    fn a_dump_without_its_last_line_is_not_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dump.sql");
        for (text, is_whole) in [
            ("create table t;\n-- Dump completed on 2026-01-31\n", true),
            ("create table t;\n-- Dump completed", true),
            ("-- Dump completed\ninsert into t", false),
            ("", false),
        ] {
            std::fs::write(&path, text).unwrap();
            let file = File::open(&path).unwrap();
            assert_eq!(check_end(&file, &path).is_ok(), is_whole, "{text}");
        }
    }

    #[test]
    fn the_programs_of_each_kind_get_the_mode_of_tls_in_their_own_words() {
        let directory = PrivateDirectory::create(&crate::config::Environment::of(&[])).unwrap();
        let tls = |mode| Tls { mode, ca: None, cert: None, key: None };
        for (mode, mariadb, mysql) in [
            (TlsMode::Disable, "ssl=0", "ssl-mode=DISABLED"),
            (TlsMode::Require, "ssl=1 ssl-verify-server-cert=0", "ssl-mode=REQUIRED"),
        ] {
            let lines = |is| tls_options(&tls(mode), &directory, is).unwrap().join(" ");
            assert_eq!((lines(true).as_str(), lines(false).as_str()), (mariadb, mysql));
        }
    }
}
