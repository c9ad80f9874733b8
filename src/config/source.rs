//! The only reader of files and of the environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::problem::Problem;

/// The file that is read when none is named and it exists.
pub(super) const DEFAULT_FILE: &str = "rowgate.toml";

/// What a configuration is loaded from.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// `--config`; `None`: `rowgate.toml` in the working directory, if it exists.
    pub file: Option<PathBuf>,
    /// The flags of the command line that set keys.
    pub flags: Vec<Flag>,
    /// `--insecure`
    pub insecure: bool,
    /// What surrounds the process.
    pub environment: Environment,
}

impl Inputs {
    /// No file named, no flags, not insecure.
    #[must_use]
    pub fn new(environment: Environment) -> Self {
        Self { file: None, flags: Vec::new(), insecure: false, environment }
    }
}

/// A flag of the command line that sets a key.
#[derive(Debug, Clone)]
pub struct Flag {
    /// As it is written: `--listen`.
    pub name: String,
    /// The key: `grpc.listen`.
    pub key: String,
    /// The value.
    pub value: String,
}

impl Flag {
    /// A flag, the key it sets, and the value given.
    pub fn new(name: impl Into<String>, key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), key: key.into(), value: value.into() }
    }
}

/// What surrounds the process, or what a test puts in its place.
#[derive(Clone, Default)]
pub struct Environment {
    pub(super) variables: BTreeMap<String, String>,
    /// Where `rowgate.toml` is looked for.
    pub(super) directory: Option<PathBuf>,
    /// The account's name.
    pub(super) user: Option<String>,
    /// Where PostgreSQL's socket is when no host is named.
    pub(super) socket_directory: Option<PathBuf>,
}

impl Environment {
    /// The variables, the working directory and the account of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let text = |value: std::ffi::OsString| value.to_string_lossy().into_owned();
        let sockets = Path::new("/var/run/postgresql");
        Self {
            variables: std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect(),
            directory: Some(PathBuf::new()),
            user: whoami::username().ok(),
            socket_directory: sockets.is_dir().then(|| sockets.to_owned()),
        }
    }

    /// These variables, and no `rowgate.toml`.
    #[must_use]
    pub fn of(variables: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self { variables: variables.iter().map(owned).collect(), ..Self::default() }
    }

    /// Looks for `rowgate.toml` there.
    #[must_use]
    pub fn in_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// The value of a variable; `None` when it is unset or empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

impl std::fmt::Debug for Environment {
    // Variables hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment").field("directory", &self.directory).finish_non_exhaustive()
    }
}
