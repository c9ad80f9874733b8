//! The keys of the configuration. Each is declared once, in one of the files `…_keys`.

pub(crate) mod access_keys;
pub(crate) mod claims_keys;
pub(crate) mod database_keys;
pub(crate) mod key;
mod list_values;
pub(crate) mod listen_keys;
mod mysql_values;
pub(crate) mod section;
pub(crate) mod server_keys;
pub(crate) mod value_types;
pub(crate) mod web_keys;

use std::collections::BTreeSet;

use self::access_keys::{Access, CallerSettings, GrpcTls, Jwt};
use self::claims_keys::{CallerClaims, ClaimsSettings};
use self::database_keys::{
    BreakerSettings, CredentialsCommandSettings, Database, PoolSettings, RetrySettings, TlsKeys,
    TransactionSettings, UrlKey,
};
use self::key::{Key, Section};
use self::listen_keys::ListenSettings;
use self::server_keys::{
    DefaultDatabaseKey, Grpc, Health, Idempotency, Ops, Shutdown, Stream, Telemetry,
};
use self::value_types::ValueType;
use self::web_keys::GrpcWeb;
use super::section_reader::NAME;

/// The section above the databases.
pub(crate) const DATABASES: &str = "databases";
/// The section above the callers.
pub(crate) const CALLERS: &str = "callers";

/// All sections.
pub(crate) const SECTIONS: [&Section; 24] = [
    &DefaultDatabaseKey::SECTION,
    &Grpc::SECTION,
    &GrpcTls::SECTION,
    &GrpcWeb::SECTION,
    &Access::SECTION,
    &Jwt::SECTION,
    &CallerSettings::SECTION,
    &CallerClaims::SECTION,
    &Ops::SECTION,
    &Shutdown::SECTION,
    &Stream::SECTION,
    &Idempotency::SECTION,
    &Health::SECTION,
    &Telemetry::SECTION,
    &UrlKey::SECTION,
    &Database::SECTION,
    &TlsKeys::SECTION,
    &CredentialsCommandSettings::SECTION,
    &ClaimsSettings::SECTION,
    &PoolSettings::SECTION,
    &RetrySettings::SECTION,
    &BreakerSettings::SECTION,
    &TransactionSettings::SECTION,
    &ListenSettings::SECTION,
];

/// The names that take the place of `NAME` in keys.
#[derive(Debug, Clone, Default)]
pub(crate) struct SectionNames {
    pub(crate) databases: BTreeSet<String>,
    pub(crate) callers: BTreeSet<String>,
}

impl SectionNames {
    /// These databases, and no callers.
    pub(crate) fn of_databases<const N: usize>(databases: [&str; N]) -> Self {
        let databases = databases.map(str::to_owned).into();
        Self { databases, callers: BTreeSet::new() }
    }

    /// The names below a section.
    fn below(&self, path: &str) -> &BTreeSet<String> {
        if path.starts_with(CALLERS) { &self.callers } else { &self.databases }
    }
}

/// All keys with their whole names, those of a database below `databases.NAME`, of a caller below `callers.NAME`.
pub(crate) fn all_keys() -> impl Iterator<Item = (String, &'static Key)> {
    SECTIONS
        .into_iter()
        .flat_map(|section| section.keys.iter().map(|key| (section.full_name(key.name), key)))
}

/// The names of the keys that are tables of settings, when these are the databases.
pub(crate) fn table_names(names: &SectionNames) -> impl Iterator<Item = String> {
    let tables = all_keys().filter(|(_, key)| matches!(key.value_type, ValueType::Settings));
    tables.flat_map(move |(key, _)| {
        let named = names.below(&key).iter().map(move |name| key.replace(NAME, name));
        named.collect::<Vec<_>>()
    })
}

/// The names of all keys, when these are the databases and callers.
pub(crate) fn key_names(names: &SectionNames) -> impl Iterator<Item = String> {
    all_keys().flat_map(move |(key, _)| {
        let named: Vec<_> = if key.contains(NAME) {
            names.below(&key).iter().map(|name| key.replace(NAME, name)).collect()
        } else {
            vec![key]
        };
        named
    })
}
