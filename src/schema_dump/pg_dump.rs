//! The schema of a PostgreSQL database, by `pg_dump`.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;

use tokio::process::Command;

use crate::backend::AdminLogin;
use crate::config::{Host, PemFile, PostgresTarget, TlsMode};
use crate::error::{Error, ErrorKind, Result};

/// The variables by which the program would find another database than the configured one.
const MISLEADING: [&str; 4] = ["PGSERVICE", "PGSERVICEFILE", "PGHOSTADDR", "PGOPTIONS"];

/// The first version for which `sslrootcert=system` means the system's authorities.
const FIRST_WITH_SYSTEM: u32 = 16;

/// The program, and its version.
#[derive(Debug)]
pub(crate) struct PgDump {
    program: PathBuf,
    /// As it says: `pg_dump (PostgreSQL) 15.8`.
    pub(crate) version: String,
}

impl PgDump {
    /// Asks the program for its version.
    pub(crate) async fn find(program: PathBuf) -> Result<Self> {
        let output = Command::new(&program).arg("--version").stdin(Stdio::null()).output().await;
        let output = output.map_err(|error| not_found(&program, error))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.lines().next().unwrap_or_default().trim().to_owned();
        if !output.status.success() || !version.starts_with("pg_dump") {
            let message = format!("{} is not pg_dump", program.display());
            return Err(Error::new(ErrorKind::FailedPrecondition, message));
        }
        Ok(Self { program, version })
    }

    /// The number of its version, without the minor one.
    pub(crate) fn major(&self) -> u32 {
        major(&self.version)
    }

    /// Runs it, and returns the schema. The password is in its environment, which no other user can read.
    pub(crate) async fn schema(
        &self,
        target: &PostgresTarget,
        login: &AdminLogin,
    ) -> Result<String> {
        let mut command = Command::new(&self.program);
        command
            .args([
                "--schema-only",
                "--no-owner",
                "--no-privileges",
                "--no-password",
                "--encoding=UTF8",
            ])
            .envs(self.environment(target, login)?)
            .env("PGTZ", "UTC")
            .stdin(Stdio::null())
            // An interrupted command leaves no dump behind.
            .kill_on_drop(true);
        for name in MISLEADING {
            command.env_remove(name);
        }
        let output = command.output().await.map_err(|error| not_found(&self.program, error))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.trim();
            let message = format!("pg_dump failed: {said}");
            return Err(Error::new(ErrorKind::FailedPrecondition, message));
        }
        let dump = String::from_utf8(output.stdout).map_err(|error| {
            Error::new(ErrorKind::Internal, "pg_dump's output is not UTF-8").with_cause(error)
        })?;
        Ok(format!("-- {}\n\n{}", self.version, stable(&dump)))
    }

    /// The connection, as libpq's variables.
    fn environment(
        &self,
        target: &PostgresTarget,
        login: &AdminLogin,
    ) -> Result<Vec<(&'static str, OsString)>> {
        let hosts: Vec<_> = target
            .servers
            .iter()
            .map(|server| match &server.host {
                Host::Tcp(host) => host.clone(),
                Host::Unix(directory) => directory.display().to_string(),
            })
            .collect();
        let ports: Vec<_> = target.servers.iter().map(|server| server.port.to_string()).collect();
        let mut variables = vec![
            ("PGHOST", hosts.join(",").into()),
            ("PGPORT", ports.join(",").into()),
            ("PGDATABASE", target.dbname.clone().into()),
            ("PGUSER", login.user.clone().into()),
            ("PGAPPNAME", target.application_name.clone().into()),
            ("PGTARGETSESSIONATTRS", target.session.to_string().into()),
            ("PGCHANNELBINDING", target.channel_binding.to_string().into()),
            ("PGSSLMODE", mode(target.tls.mode).into()),
        ];
        if let Some(password) = &login.password {
            variables.push(("PGPASSWORD", password.expose().into()));
        }
        let files = [
            ("PGSSLROOTCERT", &target.tls.ca),
            ("PGSSLCERT", &target.tls.cert),
            ("PGSSLKEY", &target.tls.key),
        ];
        for (name, file) in files {
            variables.extend(file.as_ref().map(path).transpose()?.map(|path| (name, path)));
        }
        let is_verified = matches!(target.tls.mode, TlsMode::VerifyCa | TlsMode::VerifyFull);
        if is_verified && target.tls.ca.is_none() {
            if self.major() < FIRST_WITH_SYSTEM {
                let message = format!("{} does not know the system's authorities", self.version);
                return Err(Error::new(ErrorKind::FailedPrecondition, message)
                    .with_hint("Set databases.NAME.tls.ca to the authority of the server, or take pg_dump from 16 on."));
            }
            variables.push(("PGSSLROOTCERT", "system".into()));
        }
        Ok(variables)
    }
}

/// The path of a PEM file; text that came otherwise has none.
fn path(file: &PemFile) -> Result<OsString> {
    if file.path.as_os_str().is_empty() {
        let message = "pg_dump needs the certificates of databases.NAME.tls as files";
        return Err(Error::new(ErrorKind::FailedPrecondition, message)
            .with_hint("Give their paths instead of their text."));
    }
    Ok(file.path.clone().into_os_string())
}

fn mode(mode: TlsMode) -> &'static str {
    match mode {
        TlsMode::Disable => "disable",
        TlsMode::Require => "require",
        TlsMode::VerifyCa => "verify-ca",
        TlsMode::VerifyFull => "verify-full",
    }
}

fn not_found(program: &std::path::Path, error: io::Error) -> Error {
    let message = format!("{} cannot be run", program.display());
    Error::new(ErrorKind::FailedPrecondition, message).with_cause(error).with_hint(
        "Install PostgreSQL's client programs, or name it with --pg-dump, as /usr/lib/postgresql/17/bin/pg_dump.",
    )
}

/// The number of the major version in a text such as `pg_dump (PostgreSQL) 15.8` or `PostgreSQL 15.8`; 0 if there is none.
pub(crate) fn major(text: &str) -> u32 {
    let number = text.split(|c: char| !c.is_ascii_digit()).find(|part| !part.is_empty());
    number.and_then(|number| number.parse().ok()).unwrap_or_default()
}

/// Removes what is another text each time, and the version of the server, of which definitions do not depend.
fn stable(dump: &str) -> String {
    const VOLATILE: [&str; 4] = [
        "\\restrict ",
        "\\unrestrict ",
        "-- Dumped from database version",
        "-- Dumped by pg_dump version",
    ];
    let is_stable = |line: &&str| !VOLATILE.iter().any(|start| line.starts_with(start));
    let lines: Vec<_> = dump.lines().filter(is_stable).collect();
    lines.join("\n").trim_end().to_owned() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_is_the_same_each_time() {
        let dump = |token: &str, version: &str| {
            format!(
                "--\n-- PostgreSQL database dump\n--\n\n\\restrict {token}\n\n-- Dumped from database version {version}\n\
                 -- Dumped by pg_dump version {version}\n\nSET row_security = off;\n\n\n\\unrestrict {token}\n\n"
            )
        };
        let one = stable(&dump("abc", "15.8"));
        assert_eq!(one, stable(&dump("xyz", "15.9")));
        assert_eq!(one, "--\n-- PostgreSQL database dump\n--\n\n\n\nSET row_security = off;\n");
    }

    #[test]
    fn versions_are_compared_by_their_first_number() {
        for (text, expected) in [
            ("pg_dump (PostgreSQL) 15.8 (Debian 15.8-0+deb12u1)", 15),
            ("PostgreSQL 9.6", 9),
            ("", 0),
        ] {
            assert_eq!(major(text), expected, "{text}");
        }
    }
}
