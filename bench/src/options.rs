//! The command line, which bench/run completes with what it has found.

use crate::{Result, fail};
use std::path::PathBuf;
use std::time::Duration;

pub const USAGE: &str =
    "bench/run [--quick] [--rounds N] [--seconds N] [--only ROW]... [--json FILE] [--write-docs]";

pub struct Options {
    pub quick: bool,
    pub rounds: usize,
    pub time: Duration,
    /// Only rows whose name contains one of these.
    pub only: Vec<String>,
    pub json: Option<PathBuf>,
    pub write_docs: bool,
    pub rowgate: PathBuf,
    pub postgres_bin: PathBuf,
    /// The user and group for what refuses to run as root.
    pub unprivileged: Option<(u32, u32)>,
    /// Python with its packages, otherwise the reason for which there is none.
    pub python: std::result::Result<PathBuf, String>,
    pub repository: PathBuf,
    /// The server of MariaDB, where there is one.
    pub mariadbd: Option<PathBuf>,
    /// Directories of programs.
    pub path: Vec<PathBuf>,
    /// The arguments of bench/run, as they were given.
    pub command: String,
}

impl Options {
    pub fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self {
            quick: false,
            rounds: 0,
            time: Duration::ZERO,
            only: Vec::new(),
            json: None,
            write_docs: false,
            rowgate: PathBuf::new(),
            postgres_bin: PathBuf::new(),
            unprivileged: None,
            python: Err("no Python was found".into()),
            repository: PathBuf::from("."),
            mariadbd: None,
            path: Vec::new(),
            command: String::new(),
        };
        while let Some(flag) = arguments.next() {
            match flag.as_str() {
                "--quick" => options.quick = true,
                "--write-docs" => options.write_docs = true,
                _ => {
                    let Some(value) = arguments.next() else {
                        return fail(format!("{flag} needs a value\n{USAGE}"));
                    };
                    options.set(&flag, value)?;
                }
            }
        }
        if options.rounds == 0 {
            options.rounds = if options.quick { 2 } else { 3 };
        }
        if options.time.is_zero() {
            options.time = Duration::from_secs(if options.quick { 3 } else { 8 });
        }
        Ok(options)
    }

    fn set(&mut self, flag: &str, value: String) -> Result<()> {
        match flag {
            "--rounds" => self.rounds = value.parse()?,
            "--seconds" => self.time = Duration::from_secs(value.parse()?),
            "--only" => self.only.push(value),
            "--json" => self.json = Some(value.into()),
            "--rowgate" => self.rowgate = value.into(),
            "--postgres-bin" => self.postgres_bin = value.into(),
            "--unprivileged" => {
                let Some((user, group)) = value.split_once(':') else {
                    return fail("--unprivileged USER:GROUP");
                };
                self.unprivileged = Some((user.parse()?, group.parse()?));
            }
            "--python" => self.python = Ok(value.into()),
            "--no-python" => self.python = Err(value),
            "--repository" => self.repository = value.into(),
            "--mariadbd" => self.mariadbd = Some(value.into()),
            "--path" => self.path = std::env::split_paths(&value).collect(),
            "--command" => self.command = value,
            _ => return fail(format!("unknown option {flag}\n{USAGE}")),
        }
        Ok(())
    }

    pub fn wants(&self, row: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| row.contains(part.as_str()))
    }
}
