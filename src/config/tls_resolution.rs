//! The encryption of a database's connections, completed from `tls.*` and the URL.

use super::database_target::{Host, PemFile, Server, Tls, TlsMode};
use super::entries::{literal, quote};
use super::problem::ValueError;
use super::schema::database_keys::TlsKeys;
use super::section_reader::{SectionReader, Status};

const TLS_MODE: &str = "databases.NAME.tls.mode";
const TLS_CA: &str = "databases.NAME.tls.ca";
const TLS_CERT: &str = "databases.NAME.tls.cert";
const TLS_KEY: &str = "databases.NAME.tls.key";

/// The parameters of a URL that say how its connections are encrypted.
pub(crate) struct UrlTls<'a> {
    /// The key of the URL.
    pub(crate) url_key: String,
    /// The name of the parameter with the mode.
    pub(crate) parameter: &'static str,
    pub(crate) mode: Option<TlsMode>,
    pub(crate) ca: Option<&'a str>,
    pub(crate) cert: Option<&'a str>,
    pub(crate) key: Option<&'a str>,
}

/// Reports the keys `tls.*` of a database that is a file.
pub(crate) fn reject_tls(reader: &mut SectionReader<'_>) {
    for key in [TLS_MODE, TLS_CA, TLS_CERT, TLS_KEY] {
        if reader.setting(key).status == Status::Written {
            let why = "SQLite is a file: there is no connection to encrypt";
            report(reader, key, why, "Remove this key, or write the URL of a server.");
        }
    }
}

pub(crate) fn report(
    reader: &mut SectionReader<'_>,
    key: &str,
    why: impl Into<String>,
    instead: &str,
) {
    reader.report(key, ValueError::new(why).instead(instead));
}

/// Completes the encryption of connections to these servers.
pub(crate) fn complete_tls(
    reader: &mut SectionReader<'_>,
    keys: TlsKeys,
    url: &UrlTls<'_>,
    servers: &[Server],
) -> Tls {
    let known = reader.problems.len();
    let url_key = url.url_key.as_str();
    let ca = merge_file(reader, TLS_CA, (keys.ca, url.ca), url_key);
    let cert = merge_file(reader, TLS_CERT, (keys.cert, url.cert), url_key);
    let key = merge_file(reader, TLS_KEY, (keys.key, url.key), url_key);
    let is_file_invalid = reader.problems.len() > known
        || [TLS_CA, TLS_CERT, TLS_KEY]
            .iter()
            .any(|key| reader.setting(key).status == Status::Invalid);
    let parameter = url.parameter;
    if keys.mode.is_some_and(|mode| url.mode.is_some_and(|other| mode != other)) {
        let why = format!("it contradicts {parameter} in {url_key}");
        report(reader, TLS_MODE, why, "Remove one of them.");
    }
    let is_tcp = servers.iter().any(|server| matches!(server.host, Host::Tcp(_)));
    let is_plain = servers.iter().all(Server::is_local) && ca.is_none() && cert.is_none();
    let (mode, origin) = match (keys.mode, url.mode) {
        // As in libpq: a unix socket is never encrypted.
        _ if !is_tcp => (TlsMode::Disable, None),
        (Some(mode), _) => (mode, Some(reader.setting(TLS_MODE).origin.clone())),
        (None, Some(mode)) => (mode, Some(format!("{parameter} in {url_key}"))),
        (None, None) if is_plain => (TlsMode::Disable, None),
        (None, None) => (TlsMode::VerifyFull, None),
    };
    reader.show(TLS_MODE, literal(&serde_json::json!(mode)), origin);
    let tls = Tls { mode, ca, cert, key };
    if is_tcp && !is_file_invalid {
        check_files(reader, &tls);
    }
    tls
}

/// Reports files that are never used, and a certificate or key without the other.
fn check_files(reader: &mut SectionReader<'_>, tls: &Tls) {
    if tls.ca.is_some() && matches!(tls.mode, TlsMode::Disable | TlsMode::Require) {
        let why = "this tls.mode checks no certificate, so this is never used";
        let instead = "Set tls.mode to verify-full or verify-ca, or remove this.";
        report(reader, TLS_CA, why, instead);
    }
    match (&tls.cert, &tls.key) {
        (Some(_), None) => {
            report(reader, TLS_CERT, "a certificate needs its private key", "Set tls.key too.");
        }
        (None, Some(_)) => {
            report(reader, TLS_KEY, "a private key needs its certificate", "Set tls.cert too.");
        }
        (Some(_), Some(_)) if tls.mode == TlsMode::Disable => {
            let why = "with tls.mode disable this is never used";
            report(reader, TLS_CERT, why, "Set tls.mode to verify-full, or remove this.");
        }
        (Some(_), Some(_)) | (None, None) => {}
    }
}

/// The file of the key or of the URL.
fn merge_file(
    reader: &mut SectionReader<'_>,
    name: &str,
    (key, url): (Option<PemFile>, Option<&str>),
    url_key: &str,
) -> Option<PemFile> {
    let Some(path) = url else { return key };
    if let Some(file) = key {
        if file.path.as_os_str() != path {
            report(reader, name, format!("{url_key} names another file"), "Remove one of them.");
        }
        return Some(file);
    }
    reader.show(name, quote(path), Some(url_key.to_owned()));
    PemFile::read(path).map_err(|error| reader.report(name, error)).ok()
}
