//! The only reader of files and of the environment.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use config::{FileFormat, Format as _};

use super::entries::{self, Leaf};
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

/// One layer: its leaves override those of the layers before it.
pub(crate) type Layer = Vec<Leaf>;

/// Reads the layers above the defaults, the lowest first.
pub(crate) fn layers(inputs: &Inputs) -> Result<[Layer; 4], Problem> {
    let variables = &inputs.environment;
    let file = file_layer(inputs)?;
    Ok([file, log_filter_layer(variables), environment_layer(variables), flag_layer(&inputs.flags)])
}

fn file_layer(inputs: &Inputs) -> Result<Layer, Problem> {
    let (path, name) = match (&inputs.file, &inputs.environment.directory) {
        (Some(path), _) => (path.clone(), path.display().to_string()),
        (None, Some(directory)) => (directory.join(DEFAULT_FILE), DEFAULT_FILE.to_owned()),
        (None, None) => return Ok(Layer::new()),
    };
    if inputs.file.is_none() && !path.exists() {
        return Ok(Layer::new());
    }
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
    Ok(entries::leaves(table, &name))
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

/// `RUST_LOG`, as in every Rust program: above the file, below `ROWGATE__TELEMETRY__LOG_FILTER`.
fn log_filter_layer(environment: &Environment) -> Layer {
    let filter = environment.get("RUST_LOG");
    filter
        .map(|filter| leaf("telemetry.log_filter", ".", filter, "environment RUST_LOG"))
        .into_iter()
        .collect()
}

fn environment_layer(environment: &Environment) -> Layer {
    let named = environment.variables.iter().filter_map(|(name, value)| {
        let key = name.strip_prefix(PREFIX)?.to_ascii_lowercase();
        Some(leaf(&key, "__", value, &format!("environment {name}")))
    });
    named.collect()
}

fn flag_layer(flags: &[Flag]) -> Layer {
    let of = |flag: &Flag| leaf(&flag.key, ".", &flag.value, &format!("flag {}", flag.name));
    flags.iter().map(of).collect()
}

fn leaf(key: &str, separator: &str, value: &str, origin: &str) -> Leaf {
    let path = key.split(separator).map(str::to_owned).collect();
    Leaf::new(path, value.into(), origin.to_owned())
}

/// The number of threads that this machine, or this container, runs in parallel.
pub(crate) fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Returns the content of a file, or the reason why it cannot be read.
pub(crate) fn read_text(path: &Path) -> Result<String, String> {
    let read = || -> io::Result<String> {
        let mut text = String::new();
        // One more than allowed tells whether there is more; a device could be endless.
        File::open(path)?.take(LARGEST_FILE + 1).read_to_string(&mut text)?;
        Ok(text)
    };
    match read() {
        Ok(text) if u64::try_from(text.len()).is_ok_and(|size| size <= LARGEST_FILE) => Ok(text),
        Ok(_) => Err(format!("the file {} is larger than 4 MiB", path.display())),
        Err(error) => {
            Err(format!("the file {} cannot be read: {}", path.display(), reason(&error)))
        }
    }
}

/// Returns the content of a file without its last line break, which editors and `echo` add.
pub(crate) fn read_secret(path: &Path) -> Result<String, String> {
    let mut text = read_text(path)?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

/// Returns true if others than the owner may access a file; libpq then ignores a file of passwords.
pub(crate) fn is_open_to_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
}

fn reason(error: &io::Error) -> String {
    let known = [
        (io::ErrorKind::NotFound, "it does not exist"),
        (io::ErrorKind::PermissionDenied, "permission denied"),
        (io::ErrorKind::IsADirectory, "it is a directory"),
        (io::ErrorKind::InvalidData, "it is not UTF-8 text"),
    ];
    let reason = known.iter().find(|(kind, _)| *kind == error.kind());
    reason.map_or_else(|| error.to_string(), |(_, reason)| (*reason).to_owned())
}
