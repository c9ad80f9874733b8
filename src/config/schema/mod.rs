//! The keys of the configuration. Each is declared once, in one of the files `…_keys`.

pub(crate) mod database_keys;
pub(crate) mod key;
pub(crate) mod section;
pub(crate) mod server_keys;
pub(crate) mod value_types;

use self::database_keys::{
    BreakerSettings, Database, PoolSettings, RetrySettings, TlsKeys, TransactionSettings, UrlKey,
};
use self::key::{Key, Section};
use self::server_keys::{
    DefaultDatabaseKey, Grpc, Health, Idempotency, Ops, Shutdown, Stream, Telemetry,
};
use super::section_reader::NAME;

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
    all_keys().flat_map(move |(key, _)| {
        let names: Vec<_> = if key.contains(NAME) {
            databases.clone().into_iter().map(|name| key.replace(NAME, name)).collect()
        } else {
            vec![key]
        };
        names
    })
}
