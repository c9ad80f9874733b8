//! The configuration: typed, validated, with a documented default for every key.
//!
//! `schema/` declares the keys, `load` goes from files, variables and flags to typed values, `export`
//! writes the keys as an example, as documentation and as a JSON Schema. Only `source` reads files and the
//! environment. Other modules get their section by value, through a constructor.

mod build;
mod callers_check;
mod claims_check;
mod database_check;
mod database_target;
mod database_url;
mod entries;
mod export;
mod initial_settings;
mod libpq;
mod listen_address;
mod load;
mod mysql_url;
mod mysql_variables;
mod otel;
mod postgres_url;
mod problem;
mod schema;
mod secrets;
mod section_reader;
pub(crate) mod setting_names;
mod source;
mod target_resolution;
mod tls_resolution;
mod unknown_keys;
mod unknown_parameters;
mod url_parts;
mod written;

pub use build::Config;
pub(crate) use claims_check::{OWN_CLAIM, fixed_claim};
pub use database_target::{
    AuthMethod, ChannelBinding, Host, MysqlTarget, PemFile, PostgresTarget, Server, SqliteTarget,
    Target, TargetSession, TargetSource, Tls, TlsMode,
};
pub use export::{example, json_schema, key_tables};
pub use initial_settings::InitialSettings;
pub use listen_address::ListenAddress;
pub use load::{Loaded, keyring, load, load_from};
pub use otel::{Otel, Protocol, Sampler};
pub use problem::{Problem, Problems};
pub use schema::access_keys::{Access, Audit, CallerSettings, ClientAuth, GrpcTls, Jwt};
pub use schema::claims_keys::{CallerClaims, ClaimsSettings};
pub use schema::database_keys::{
    BreakerSettings, CredentialsCommandSettings, Database, ErrorDetails, PoolSettings, PoolerUse,
    RetrySettings, SessionStatements, TransactionSettings,
};
pub use schema::listen_keys::ListenSettings;
pub use schema::server_keys::{
    Grpc, Health, Idempotency, LogFormat, Ops, Shutdown, Stream, Telemetry,
};
#[cfg(test)]
pub(crate) use schema::value_types::RPCS;
pub use schema::web_keys::GrpcWeb;
pub use secrets::secret;
pub use secrets::secret::Secret;
pub use section_reader::Setting;
pub use source::{Environment, Flag, Inputs};
pub(crate) use unknown_keys::most_similar;
