//! The list of all sections, in the order of the documentation.

use super::super::section_reader::NAME;
use super::database_keys::{
    BreakerSettings, Database, PoolSettings, RetrySettings, TlsKeys, TransactionSettings, UrlKey,
};
use super::grpc_keys::{Grpc, Stream};
use super::key::{Key, Section};
use super::ops_keys::{DefaultDatabaseKey, Health, Idempotency, Ops, Shutdown};
use super::telemetry_keys::Telemetry;

/// The section above the databases.
pub(crate) const DATABASES: &str = "databases";

/// All sections.
pub(crate) const SECTIONS: [&Section; 15] = [
    &DefaultDatabaseKey::SECTION,
    &Grpc::SECTION,
    &Ops::SECTION,
    &Shutdown::SECTION,
    &Stream::SECTION,
    &Idempotency::SECTION,
    &Health::SECTION,
    &Telemetry::SECTION,
    &UrlKey::SECTION,
    &Database::SECTION,
    &TlsKeys::SECTION,
    &PoolSettings::SECTION,
    &RetrySettings::SECTION,
    &BreakerSettings::SECTION,
    &TransactionSettings::SECTION,
];

/// All keys with their whole names, those of a database below `databases.NAME`.
pub(crate) fn all_keys() -> impl Iterator<Item = (String, &'static Key)> {
    SECTIONS
        .into_iter()
        .flat_map(|section| section.keys.iter().map(|key| (section.full_name(key.name), key)))
}

/// The names of all keys, when these are the databases.
pub(crate) fn key_names<'a>(
    databases: impl IntoIterator<Item = &'a str> + Clone,
) -> impl Iterator<Item = String> {
    let prefix = format!("{DATABASES}.{NAME}.");
    all_keys().flat_map(move |(key, _)| {
        let names: Vec<_> = if key.starts_with(&prefix) {
            databases.clone().into_iter().map(|name| key.replace(NAME, name)).collect()
        } else {
            vec![key]
        };
        names
    })
}
