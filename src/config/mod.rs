//! The configuration: typed, validated, with a documented default for every key.
//!
//! `source` alone reads files and the environment. Everything else takes its section by value, through
//! a constructor.

mod assemble;
mod database;
mod keys;
mod libpq;
mod load;
mod origin;
mod otel;
mod problem;
mod reader;
mod reference;
pub mod secret;
mod sections;
mod shape;
mod source;
mod table;
mod target;
mod tree;
mod unknown;
mod url;

use std::collections::BTreeMap;

pub use database::{
    BreakerSettings, Database, ErrorDetails, Host, Idempotency, PemFile, PoolSettings,
    PostgresTarget, RetrySettings, Server, SqliteTarget, Target, TargetSession, Tls, TlsMode,
    TransactionSettings,
};
pub use origin::Origin;
pub use otel::{Otel, Protocol, Sampler};
pub use problem::{Problem, Problems};
pub use secret::Secret;
pub use sections::{Grpc, Health, LogFormat, Ops, Shutdown, Stream, Telemetry};
pub use source::{Environment, Flag, Inputs};

/// The whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// `grpc.*`
    pub grpc: Grpc,
    /// `ops.*`
    pub ops: Ops,
    /// `shutdown.*`
    pub shutdown: Shutdown,
    /// `stream.*`
    pub stream: Stream,
    /// `health.*`
    pub health: Health,
    /// `telemetry.*`
    pub telemetry: Telemetry,
    /// `default_database`: the database of a request that names none; always a key of `databases`.
    pub default_database: String,
    /// `databases.NAME.*`, at least one.
    pub databases: BTreeMap<String, Database>,
    /// `--insecure`: whether a listener beyond loopback is allowed without authentication.
    pub insecure: bool,
}

/// A configuration, and how it came about.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Every key with its effective value, in the order of the documentation.
    pub settings: Vec<Setting>,
    /// What is suspicious, though not wrong.
    pub warnings: Vec<String>,
}

/// One key of the effective configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// `databases.main.pool.max`
    pub key: String,
    /// The value in TOML's syntax; secrets are masked.
    pub value: String,
    /// `default`, `rowgate.toml`, `environment ROWGATE__…`, `DATABASE_URL`, `flag --listen`.
    pub origin: String,
}

/// The commented sample: every key with its default.
#[must_use]
pub fn example() -> &'static str {
    include_str!("../../deploy/rowgate.example.toml")
}

/// Loads a configuration.
///
/// # Errors
/// Everything that is wrong with it, at once.
pub fn load(inputs: &Inputs) -> Result<Loaded, Problems> {
    load::load(inputs)
}

/// Loads a configuration from keys and values alone: no file, no environment.
///
/// # Errors
/// As [`load()`].
pub fn load_from(pairs: &[(&str, &str)]) -> Result<Config, Problems> {
    let mut inputs = Inputs::new(Environment::default());
    inputs.flags = pairs.iter().map(|(key, value)| Flag::new("(given)", *key, *value)).collect();
    load(&inputs).map(|loaded| loaded.config)
}

/// The Fernet keys of `ROWGATE_SECRET_KEY` or `ROWGATE_SECRET_KEY_FILE`.
///
/// # Errors
/// When neither is set, or what they hold cannot be used.
pub fn keyring(environment: &Environment) -> Result<secret::Keyring, Problems> {
    reference::keyring(environment).map_err(|refusal| refusal.of("ROWGATE_SECRET_KEY").into())
}
