//! The backup of a PostgreSQL database: an archive of pg_dump's custom format, which pg_restore reads.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::client_login::{PrivateDirectory, TlsFiles};
use super::client_program::{ClientProgram, Wanted, numbers, position};
use super::file_job::{Done, FileJob, refused};
use super::lock_watch::LockWatch;
use super::partial_file::{PartialFile, cannot};
use super::supervision::Control;
use crate::backend::AdminConnection;
use crate::backend::network::{Credentials, Login};
use crate::config::{Database, Host, PostgresTarget, TargetSession, TlsMode};
use crate::error::{Error, ErrorKind, Result};

const PACKAGES: &str = "the client programs of PostgreSQL, of the server's version or newer (Debian: postgresql-client; \
    Fedora: postgresql; Alpine: postgresql-client; Homebrew: libpq)";
const DUMP: Wanted = Wanted { names: &["pg_dump"], packages: PACKAGES };
const RESTORE: Wanted = Wanted { names: &["pg_restore"], packages: PACKAGES };

/// The rank of a program: best is the server's version, then the next newer one. An older pg_dump refuses a server, and a newer
/// pg_restore sends settings that older servers do not know.
fn rank(version: &str, server: &str) -> (bool, i64, Vec<u32>) {
    let numbers = numbers(version);
    let major = |numbers: &[u32]| numbers.first().copied().map_or(0, i64::from);
    let own = major(&numbers);
    let is_new = own >= major(&self::numbers(server));
    (is_new, if is_new { -own } else { own }, numbers)
}

/// Writes an archive.
pub(super) async fn backup(
    database: &Database,
    target: &PostgresTarget,
    job: &FileJob,
    control: &Control,
    server: &mut dyn AdminConnection,
) -> Result<Done> {
    let version = server.server();
    let suits = |own: &str| rank(own, &version);
    let program = ClientProgram::find(&DUMP, &job.environment, suits).await?;
    let own_settings = control.or_interrupted(settings_of_database(server)).await?;
    let connection = Connection::new(database, target, job).await?;
    let partial = PartialFile::create(&job.file, job.replaces)?;
    let mut command = program.command();
    connection.apply(&mut command);
    command.args(["--format=custom", "--no-password"]).stdout(partial.for_writer()?);
    command.arg(format!("--lock-wait-timeout={}", database.lock_timeout.as_millis()));
    let look = || control.reached(partial.size(), 0);
    let mut notes = vec![program.told()];
    let ran = program.run(&mut command, control, look).await;
    notes.extend(ran.map_err(|error| with_advice(partial.not_made(error)))?);
    notes.extend(own_settings);
    if let Some(reader) = program.sibling("pg_restore") {
        list(&reader, partial.path(), control).await?;
    }
    Ok(Done { bytes: partial.finish()?, notes })
}

/// Restores an archive in one transaction.
pub(super) async fn restore(
    database: &Database,
    target: &PostgresTarget,
    job: &FileJob,
    control: &Control,
    server: &mut dyn AdminConnection,
) -> Result<Done> {
    let version = server.server();
    let suits = |own: &str| rank(own, &version);
    let program = ClientProgram::find(&RESTORE, &job.environment, suits).await?;
    let file = open(&job.file)?;
    list(&program, &job.file, control).await?;
    let connection = Connection::new(database, target, job).await?;
    let mut command = program.command();
    connection.apply(&mut command);
    let watch = LockWatch::new(database.lock_timeout);
    command.env("PGAPPNAME", watch.session());
    let total = file.metadata().map_or(0, |metadata| metadata.len());
    let mut archive = file.try_clone().map_err(|error| cannot("open", &job.file, error))?;
    command.args(["--format=custom", "--no-password", "--single-transaction", "--exit-on-error"]);
    command.arg(format!("--dbname={}", quoted(&target.dbname)));
    if job.replaces {
        command.args(["--clean", "--if-exists"]);
    }
    if job.without_owners {
        command.args(["--no-owner", "--no-privileges"]);
    }
    let look = || control.reached(position(&file), total);
    let input = move |piece: &mut Vec<u8>| {
        piece.resize(PIECE, 0);
        let read = archive.read(piece)?;
        piece.truncate(read);
        Ok(read > 0)
    };
    let mut notes = vec![program.told()];
    let ran = tokio::select! {
        biased;
        ran = program.run_fed(&mut command, control, look, input) => ran,
        never = watch.cancel_when_blocked(server) => match never {},
    };
    let ran = ran.map_err(|error| {
        watch.reason_of(&error).unwrap_or_else(|| not_restored(error, job.replaces))
    });
    notes.extend(ran?);
    Ok(Done { bytes: total, notes })
}

/// The error of a backup, with the advice for one that has waited for a lock.
fn with_advice(error: Error) -> Error {
    // The program has a timeout for its LOCK TABLE alone, as one of the statement.
    if !["lock timeout", "statement timeout"].iter().any(|why| error.message().contains(why)) {
        return error;
    }
    let made = error.hint().unwrap_or_default().to_owned();
    error.with_hint(format!(
        "{made} Another session holds the table: end its transaction, or raise databases.NAME.lock_timeout for this command."
    ))
}

/// The bytes that are read at a time.
const PIECE: usize = 256 << 10;

/// The settings of the database itself, and of roles in it.
const SETTINGS: &str = "SELECT DISTINCT pg_catalog.split_part(setting, '=', 1) \
    FROM pg_catalog.pg_db_role_setting AS s, pg_catalog.unnest(s.setconfig) AS setting \
    WHERE s.setdatabase OPERATOR(pg_catalog.=) \
        (SELECT oid FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) pg_catalog.current_database()) ORDER BY 1";

/// The warning of settings that belong to the database and not to what is in it: an archive does not have them.
async fn settings_of_database(server: &mut dyn AdminConnection) -> Result<Option<String>> {
    let rows = server.run(SETTINGS).await?;
    let names: Vec<_> =
        rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect();
    Ok((!names.is_empty()).then(|| {
        let names = names.join(", ");
        format!(
            "warning: settings of the database itself are not in the backup (ALTER DATABASE … SET, ALTER ROLE … IN DATABASE … \
             SET): {names}"
        )
    }))
}

/// The error of a restoration, with what it has left. Only an error that the server tells is known to be before a COMMIT, or to be
/// its answer.
fn not_restored(error: Error, replaces: bool) -> Error {
    let is_told = error.message().contains("ERROR:");
    if error.kind() == ErrorKind::Cancelled || !is_told {
        let version = error.hint().unwrap_or_default().to_owned();
        return error.with_hint(format!("{INTERRUPTED} {version}").trim_end().to_owned());
    }
    if !replaces && error.message().contains("already exists") {
        return error.with_hint(CLASH);
    }
    let version = error.hint().unwrap_or_default().to_owned();
    error.with_hint(format!("Nothing was changed: it ran in one transaction. {version}"))
}

/// The hint for a restoration that was ended.
const INTERRUPTED: &str = "It ran in one transaction. Unless its COMMIT had just been sent, nothing was changed: look whether the \
    objects of the backup are there.";

/// The hint for a database that is not empty.
const CLASH: &str = "Nothing was changed. Restore into an empty database, or let --force drop and create again the objects that \
    are in the backup.";

/// Reads the archive's table of contents, which fails for other files and for those that were cut off there.
async fn list(program: &ClientProgram, file: &Path, control: &Control) -> Result<()> {
    let mut command = program.command();
    command.arg("--list").stdin(open(file)?).stdout(Stdio::null());
    let listed = program.run(&mut command, control, || {}).await;
    listed.map(drop).map_err(|error| {
        control.check().err().unwrap_or_else(|| {
            let message = format!("{} is not a whole archive of pg_dump: ", file.display());
            let why = error.message().to_owned();
            error.with_message(message + &why)
        })
    })
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|error| cannot("open", path, error))
}

/// A database's name as a connection string, so that one that looks like such a string is none.
fn quoted(dbname: &str) -> String {
    format!("dbname='{}'", dbname.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// The connection as libpq takes it: by its variables. What they do not say, libpq does not look up elsewhere.
struct Connection {
    variables: Vec<(&'static str, String)>,
    /// Holds the files that the variables name.
    _directory: PrivateDirectory,
}

impl Connection {
    async fn new(database: &Database, target: &PostgresTarget, job: &FileJob) -> Result<Self> {
        let credentials = Credentials::new(&job.database, target, &database.credentials)?;
        let login = credentials.fresh().await?;
        let directory = PrivateDirectory::create(&job.environment)?;
        let hosts = target.servers.iter().map(|server| match &server.host {
            Host::Tcp(host) => host.clone(),
            Host::Unix(directory) => directory.display().to_string(),
        });
        let ports = target.servers.iter().map(|server| server.port.to_string());
        let joined = |parts: Vec<String>| parts.join(",");
        let timeout = database.pool.connect_timeout.max(Duration::from_secs(2));
        let mut variables = vec![
            ("PGHOST", joined(hosts.collect())),
            ("PGPORT", joined(ports.collect())),
            ("PGDATABASE", target.dbname.clone()),
            ("PGUSER", login.user().to_owned()),
            ("PGAPPNAME", target.application_name.clone()),
            ("PGCONNECT_TIMEOUT", timeout.as_secs().to_string()),
            ("PGGSSENCMODE", "disable".to_owned()),
            ("PGCHANNELBINDING", target.channel_binding.to_string()),
        ];
        if target.session != TargetSession::Any {
            variables.push(("PGTARGETSESSIONATTRS", target.session.to_string()));
        }
        variables.extend(tls_variables(target, &directory)?);
        let file = directory.write("pgpass", &password_file(&login, target)?)?;
        variables.push(("PGPASSFILE", file.display().to_string()));
        Ok(Self { variables, _directory: directory })
    }

    fn apply(&self, command: &mut Command) {
        command.envs(self.variables.iter().map(|(name, value)| (*name, value.as_str())));
    }
}

fn tls_variables(
    target: &PostgresTarget,
    directory: &PrivateDirectory,
) -> Result<Vec<(&'static str, String)>> {
    let mode = match target.tls.mode {
        TlsMode::Disable => "disable",
        TlsMode::Require => "require",
        TlsMode::VerifyCa => "verify-ca",
        TlsMode::VerifyFull => "verify-full",
    };
    let files = TlsFiles::write(&target.tls, directory)?;
    // Without a path libpq takes those of the home directory.
    let path = |path: Option<std::path::PathBuf>| {
        path.unwrap_or_else(|| directory.nothing()).display().to_string()
    };
    Ok(vec![
        ("PGSSLMODE", mode.to_owned()),
        ("PGSSLROOTCERT", path(files.ca)),
        ("PGSSLCERT", path(files.cert)),
        ("PGSSLKEY", path(files.key)),
    ])
}

/// The lines of a password file. A socket matches by its directory, or as localhost if it is the default one.
fn password_file(login: &Login<PostgresTarget>, target: &PostgresTarget) -> Result<String> {
    let mut tcp = String::new();
    let mut sockets = String::new();
    for (index, server) in target.servers.iter().enumerate() {
        let Some(password) = login.password(index) else { continue };
        let password = password.expose();
        if password.contains(['\n', '\r', '\0']) {
            let message = "a password with a line break cannot be given to PostgreSQL's programs";
            return Err(refused(message).with_hint("Choose another password."));
        }
        let password = escaped(password);
        match &server.host {
            Host::Tcp(host) => {
                tcp += &format!("{}:{}:*:*:{password}\n", escaped(host), server.port);
            }
            Host::Unix(_) => sockets += &format!("*:{}:*:*:{password}\n", server.port),
        }
    }
    Ok(tcp + &sockets)
}

fn escaped(field: &str) -> String {
    field.replace('\\', "\\\\").replace(':', "\\:")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Target, load_from};

    async fn connection(pairs: &[(&str, &str)]) -> (String, Vec<(&'static str, String)>) {
        let config = load_from(pairs).unwrap();
        let database = &config.databases["main"];
        let Target::Postgres(target) = &database.target else { panic!("not PostgreSQL") };
        let job = FileJob {
            database: "main".to_owned(),
            file: "backup".into(),
            replaces: false,
            without_owners: false,
            environment: crate::config::Environment::of(&[]),
        };
        let connection = Connection::new(database, target, &job).await.unwrap();
        let value = |name| connection.variables.iter().find(|(own, _)| *own == name).unwrap();
        let passwords = std::fs::read_to_string(&value("PGPASSFILE").1).unwrap();
        (passwords, connection.variables.clone())
    }

    #[tokio::test]
    async fn the_parts_of_the_url_are_variables_and_the_password_is_in_a_file() {
        let url = "postgres://me:a%3Ab%5C@db1:5433,db2:5434/shop?sslmode=require";
        let (passwords, variables) = connection(&[("databases.main.url", url)]).await;
        assert_eq!(passwords, "db1:5433:*:*:a\\:b\\\\\ndb2:5434:*:*:a\\:b\\\\\n");
        for expected in [
            ("PGHOST", "db1,db2"),
            ("PGPORT", "5433,5434"),
            ("PGDATABASE", "shop"),
            ("PGUSER", "me"),
            ("PGSSLMODE", "require"),
            ("PGTARGETSESSIONATTRS", "read-write"),
        ] {
            let found = variables.iter().any(|(name, value)| (*name, value.as_str()) == expected);
            assert!(found, "{expected:?} in {variables:?}");
        }
        assert!(variables.iter().all(|(_, value)| !value.contains("a:b")), "{variables:?}");
    }

    #[test]
    fn the_program_of_the_servers_version_is_best_and_a_newer_one_next() {
        let mut versions = ["14.1", "16.2", "15.3", "15.8", "17.0", "9.6"]
            .map(|number| format!("pg_dump (PostgreSQL) {number} (Debian)"));
        versions.sort_by_key(|version| rank(version, "PostgreSQL 15.4"));
        let order = versions.each_ref().map(|version| version.split(' ').nth(2).unwrap());
        assert_eq!(order, ["9.6", "14.1", "17.0", "16.2", "15.3", "15.8"]);
    }

    #[test]
    fn a_restoration_that_the_server_refused_has_changed_nothing() {
        let failed = |text: &str| refused(text).with_hint("Its version is 15.");
        let hint = |text: &str, replaces| {
            not_restored(failed(text), replaces).hint().unwrap_or_default().to_owned()
        };
        let told = hint("could not execute query: ERROR:  role \"a\" does not exist", false);
        assert_eq!(told, "Nothing was changed: it ran in one transaction. Its version is 15.");
        assert_eq!(hint("ERROR:  relation \"t\" already exists", false), CLASH);
        assert!(hint("ERROR:  relation \"t\" already exists", true).starts_with("Nothing was"));
        let lost = hint("server closed the connection unexpectedly", false);
        assert_eq!(lost, format!("{INTERRUPTED} Its version is 15."));
    }

    #[test]
    fn a_name_that_looks_like_a_connection_string_is_a_name() {
        assert_eq!(quoted("a b='c\\"), "dbname='a b=\\'c\\\\'");
    }
}
