//! The configuration: typed, validated, with a documented default for every key.
//!
//! `source` alone reads files and the environment. Everything else takes its section by value, through
//! a constructor.

mod database;
mod secret;
mod sections;

use std::collections::BTreeMap;

pub use database::{
    Database, ErrorDetails, Host, PemFile, PoolSettings, PostgresTarget, SqliteTarget, Target, Tls,
    TlsMode,
};
pub use secret::Secret;
pub use sections::{Grpc, Health, LogFormat, Ops, Shutdown, Stream, Telemetry};

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
