//! The only reader of files and of the environment.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use config::{FileFormat, Format as _};

use super::entries::{self, Entry};
use super::problem::Problem;

/// The file that is read if none is named and it exists.
const DEFAULT_FILE: &str = "rowgate.toml";

/// The prefix of variables that set keys.
pub(crate) const PREFIX: &str = "ROWGATE__";

/// The largest file that is read, in bytes: configuration, secrets and certificates are far smaller.
const LARGEST_FILE: u64 = 4 << 20;

/// The inputs of a configuration.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// `--config`; `None`: `rowgate.toml` in the working directory, if it exists.
    pub file: Option<PathBuf>,
    /// The flags of the command line that set keys.
    pub flags: Vec<Flag>,
    /// `--insecure`
    pub insecure: bool,
    /// The variables, the working directory and the account.
    pub environment: Environment,
}

impl Inputs {
    /// Creates inputs without a named file and without flags.
    #[must_use]
    pub fn new(environment: Environment) -> Self {
        Self { file: None, flags: Vec::new(), insecure: false, environment }
    }
}

/// A flag of the command line that sets a key.
#[derive(Debug, Clone)]
pub struct Flag {
    /// The name: `--listen`.
    pub name: String,
    /// The key: `grpc.listen`.
    pub key: String,
    /// The value.
    pub value: String,
}

impl Flag {
    /// Creates a flag from its name, its key and its value.
    pub fn new(name: impl Into<String>, key: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), key: key.into(), value: value.into() }
    }
}

/// The surroundings of the process, or a test's substitute for them.
#[derive(Clone, Default)]
pub struct Environment {
    pub(crate) variables: BTreeMap<String, String>,
    /// The directory of `rowgate.toml`.
    pub(crate) directory: Option<PathBuf>,
    /// The account's name.
    pub(crate) user: Option<String>,
    /// The directory of PostgreSQL's socket, when no host is named.
    pub(crate) socket_directory: Option<PathBuf>,
}

impl Environment {
    /// Reads the variables, the working directory and the account of this process.
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

    /// Creates an environment of these variables, without a `rowgate.toml`.
    #[must_use]
    pub fn of(variables: &[(&str, &str)]) -> Self {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Self { variables: variables.iter().map(owned).collect(), ..Self::default() }
    }

    /// Sets the directory of `rowgate.toml`.
    #[must_use]
    pub fn in_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// The value of a variable; `None` when it is unset or empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
}

impl std::fmt::Debug for Environment {
    // Variables hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment").field("directory", &self.directory).finish_non_exhaustive()
    }
}

/// Reads the layers above the defaults, the lowest first.
pub(crate) fn layers(inputs: &Inputs) -> Result<[Vec<Entry>; 4], Problem> {
    let Environment { variables, .. } = &inputs.environment;
    // As in every Rust program: above the file, below `ROWGATE__TELEMETRY__LOG_FILTER`.
    let filter = inputs.environment.get("RUST_LOG").map(|filter| {
        Entry::new("telemetry.log_filter", filter, "environment RUST_LOG".to_owned())
    });
    let of_variable = |(name, value): (&String, &String)| {
        let key = name.strip_prefix(PREFIX)?.to_ascii_lowercase().replace("__", ".");
        Some(Entry::new(&key, value.as_str(), format!("environment {name}")))
    };
    let of_flag =
        |flag: &Flag| Entry::new(&flag.key, flag.value.as_str(), format!("flag {}", flag.name));
    Ok([
        file_layer(inputs)?,
        filter.into_iter().collect(),
        variables.iter().filter_map(of_variable).collect(),
        inputs.flags.iter().map(of_flag).collect(),
    ])
}

fn file_layer(inputs: &Inputs) -> Result<Vec<Entry>, Problem> {
    let (path, name) = match (&inputs.file, &inputs.environment.directory) {
        (Some(path), _) => (path.clone(), path.display().to_string()),
        (None, Some(directory)) if directory.join(DEFAULT_FILE).exists() => {
            (directory.join(DEFAULT_FILE), DEFAULT_FILE.to_owned())
        }
        (None, _) => return Ok(Vec::new()),
    };
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let format = match extension.to_ascii_lowercase().as_str() {
        "toml" => FileFormat::Toml,
        "yaml" | "yml" => FileFormat::Yaml,
        "json" => FileFormat::Json,
        _ => {
            return Err(Problem::new(&name, "the format of the file is unknown")
                .instead("End its name in .toml, .yaml, .yml or .json."));
        }
    };
    let text = read_text(&path).map_err(|why| {
        Problem::new(&name, why).instead(
            "Name a file that exists with --config; `rowgate config example` prints one to start from.",
        )
    })?;
    let table = format.parse(Some(&name), &text).map_err(|error| {
        let language = extension.to_ascii_uppercase();
        Problem::new(&name, format!("this is not valid {language}: {}", without_source(&*error)))
            .instead("Correct the file first; the rest of the configuration was not checked.")
    })?;
    Ok(entries::of_file(table, &name))
}

/// The parser's message, without the lines of the file that it quotes: they may contain a secret.
fn without_source(error: &(dyn std::error::Error + Send + Sync + 'static)) -> String {
    // For a file of another structure, the message quotes the value that was found.
    if error.is::<config::ConfigError>() || error.is::<Box<config::ConfigError>>() {
        return "the file does not contain keys and values".to_owned();
    }
    let text = error.to_string();
    let is_quote = |line: &&str| {
        let line = line.trim_start().trim_start_matches(|c: char| c.is_ascii_digit());
        line.trim_start().starts_with('|')
    };
    let words: Vec<_> = text.lines().filter(|line| !is_quote(line)).map(str::trim).collect();
    words.join(": ").replace("TOML parse error at ", "at ")
}

/// The number of threads that this machine, or this container, runs in parallel.
pub(crate) fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Returns the content of a file, or the reason why it cannot be read.
pub(crate) fn read_text(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    // One more than allowed tells whether there is more; a device could be endless.
    let read =
        File::open(path).and_then(|file| file.take(LARGEST_FILE + 1).read_to_string(&mut text));
    let why = match read {
        Ok(size) if u64::try_from(size).is_ok_and(|size| size <= LARGEST_FILE) => return Ok(text),
        Ok(_) => "is larger than 4 MiB".to_owned(),
        Err(error) => {
            let known = [
                (io::ErrorKind::NotFound, "it does not exist"),
                (io::ErrorKind::PermissionDenied, "permission denied"),
                (io::ErrorKind::IsADirectory, "it is a directory"),
                (io::ErrorKind::InvalidData, "it is not UTF-8 text"),
            ];
            let reason = known.into_iter().find(|(kind, _)| *kind == error.kind());
            let other = || error.to_string();
            format!("cannot be read: {}", reason.map_or_else(other, |(_, why)| why.to_owned()))
        }
    };
    Err(format!("the file {} {why}", path.display()))
}

/// Returns the content of a file without its last line break, which editors and `echo` add.
pub(crate) fn read_secret(path: &Path) -> Result<String, String> {
    let text = read_text(path)?;
    let line = text.strip_suffix('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    Ok(line.unwrap_or(&text).to_owned())
}

/// Returns true if others than the owner may access a file; libpq then ignores a file of passwords.
pub(crate) fn is_open_to_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
}
