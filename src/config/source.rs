//! The only reader of files and of the environment.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use config::{FileFormat, Format as _};

use super::problem::Problem;
use super::tree::{self, Leaf, Raw};

/// The file that is read when none is named and it exists.
const DEFAULT_FILE: &str = "rowgate.toml";

/// What the variables start with that set keys.
pub(crate) const PREFIX: &str = "ROWGATE__";

/// The largest file that is read, in bytes: configuration, secrets and certificates are far smaller.
const LARGEST_FILE: u64 = 4 << 20;

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
    pub(crate) variables: BTreeMap<String, String>,
    /// Where `rowgate.toml` is looked for.
    pub(crate) directory: Option<PathBuf>,
    /// The account's name.
    pub(crate) user: Option<String>,
    /// Where PostgreSQL's socket is when no host is named.
    pub(crate) socket_directory: Option<PathBuf>,
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

/// The layers above the defaults, the lowest first.
pub(crate) fn layers(inputs: &Inputs, problems: &mut Vec<Problem>) -> Vec<Layer> {
    let file = file_layer(inputs).unwrap_or_else(|problem| {
        problems.push(problem);
        Layer::new()
    });
    vec![
        file,
        log_filter_layer(&inputs.environment),
        environment_layer(&inputs.environment),
        flag_layer(&inputs.flags),
    ]
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
            return Err(Problem::new(&name, "the name does not say what the file is written in")
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
            .instead("Mend it there; nothing else of the configuration was looked at.")
    })?;
    Ok(tree::leaves(table, &name))
}

/// The parser's words, without the lines of the file it quotes: they may hold a secret.
fn without_source(error: &(dyn std::error::Error + Send + Sync + 'static)) -> String {
    // What else the parsers return for a file of another structure quotes the value that it found.
    if error.is::<config::ConfigError>() || error.is::<Box<config::ConfigError>>() {
        return "the file does not hold keys and values".to_owned();
    }
    let text = error.to_string();
    let is_quote = |line: &&str| {
        let line = line.trim_start().trim_start_matches(|c: char| c.is_ascii_digit());
        line.trim_start().starts_with('|')
    };
    let words: Vec<_> = text.lines().filter(|line| !is_quote(line)).map(str::trim).collect();
    words.join(": ").replace("TOML parse error at ", "at ")
}

/// `RUST_LOG`, which every Rust program heeds: above the file, below our own variable.
fn log_filter_layer(environment: &Environment) -> Layer {
    let leaf = |filter: &str| Leaf {
        path: vec!["telemetry".to_owned(), "log_filter".to_owned()],
        raw: Raw::Text(filter.to_owned()),
        origin: "environment RUST_LOG".to_owned(),
    };
    environment.get("RUST_LOG").map(leaf).into_iter().collect()
}

fn environment_layer(environment: &Environment) -> Layer {
    let named = environment.variables.iter().filter_map(|(name, value)| {
        let key = name.strip_prefix(PREFIX)?;
        Some(Leaf {
            path: key.to_ascii_lowercase().split("__").map(str::to_owned).collect(),
            raw: Raw::Text(value.clone()),
            origin: format!("environment {name}"),
        })
    });
    named.collect()
}

fn flag_layer(flags: &[Flag]) -> Layer {
    let leaf = |flag: &Flag| Leaf {
        path: flag.key.split('.').map(str::to_owned).collect(),
        raw: Raw::Text(flag.value.clone()),
        origin: format!("flag {}", flag.name),
    };
    flags.iter().map(leaf).collect()
}

/// How many threads this machine, or this container, lets us run at once.
pub(crate) fn cores() -> u64 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    u64::try_from(cores).unwrap_or(1)
}

/// The content of a file, or why it cannot be read.
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
        Err(error) => Err(format!("the file {} cannot be read: {}", path.display(), words(&error))),
    }
}

/// The content of a file less its last line break, which editors and `echo` leave.
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

/// Whether others than the owner may read a file; libpq then ignores a file of passwords.
pub(crate) fn is_open_to_others(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
}

fn words(error: &io::Error) -> String {
    let known = [
        (io::ErrorKind::NotFound, "it does not exist"),
        (io::ErrorKind::PermissionDenied, "permission denied"),
        (io::ErrorKind::IsADirectory, "it is a directory"),
        (io::ErrorKind::InvalidData, "it is not UTF-8 text"),
    ];
    let words = known.iter().find(|(kind, _)| *kind == error.kind());
    words.map_or_else(|| error.to_string(), |(_, words)| (*words).to_owned())
}
