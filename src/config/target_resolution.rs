//! The target of a database, completed from its URL, `tls.*`, and the defaults of libpq.

use std::net::IpAddr;
use std::path::PathBuf;

use super::database_target::{
    ChannelBinding, Host, PemFile, PostgresTarget, Server, SqliteTarget, Target, TargetSession,
    Tls, TlsMode,
};
use super::entries::{literal, quote};
use super::libpq::{self, Login};
use super::postgres_url::{self, DatabaseUrl, FoundUrl, Place, PostgresUrl};
use super::problem::{Problem, ValueError};
use super::schema::database_keys::{TlsKeys, UrlKey};
use super::section_reader::{SectionReader, Status};
use super::source::Environment;

const DEFAULT_PORT: u16 = 5432;
const DEFAULT_APPLICATION: &str = "rowgate";

pub(crate) const URL: &str = "databases.NAME.url";
const TLS_MODE: &str = "databases.NAME.tls.mode";
const TLS_CA: &str = "databases.NAME.tls.ca";
const TLS_CERT: &str = "databases.NAME.tls.cert";
const TLS_KEY: &str = "databases.NAME.tls.key";

/// Reads the target of the current database. Without a URL of its own it is `fallback`. Returns `None` if
/// a problem was reported.
pub(crate) fn read(
    reader: &mut SectionReader<'_>,
    environment: &Environment,
    fallback: Option<FoundUrl>,
) -> Option<Target> {
    let url = read_url(reader, fallback);
    let tls = TlsKeys::read(reader);
    match url? {
        DatabaseUrl::Sqlite(path) => {
            reject_tls(reader);
            Some(Target::Sqlite(SqliteTarget { path }))
        }
        DatabaseUrl::Postgres(url) => complete(reader, environment, *url, tls),
    }
}

fn read_url(reader: &mut SectionReader<'_>, fallback: Option<FoundUrl>) -> Option<DatabaseUrl> {
    let written = UrlKey::read(reader).url.unwrap_or_default();
    let setting = reader.setting(URL);
    match (setting.status, fallback) {
        (Status::Written, _) => {
            let origin = setting.origin.clone();
            reader.show(URL, quote(&postgres_url::masked(&written)), Some(origin));
            let report = |error| reader.report(URL, error);
            postgres_url::parse(&written).map_err(|errors| errors.into_iter().for_each(report)).ok()
        }
        (Status::Default, Some(found)) => {
            reader.show(URL, quote(&found.url.to_string()), found.origin);
            Some(found.url)
        }
        (Status::Default, None) => {
            let problem = Problem::new(&setting.key, "this database has no URL")
                .instead("Write postgres://USER:PASSWORD@HOST/DATABASE or sqlite:PATH.");
            reader.problems.push(problem);
            None
        }
        (Status::Invalid, _) => None,
    }
}

fn complete(
    reader: &mut SectionReader<'_>,
    environment: &Environment,
    url: PostgresUrl,
    tls: TlsKeys,
) -> Option<Target> {
    let server = |place: Place<'_>| Server {
        host: complete_host(environment, place.host),
        port: place.port.unwrap_or(DEFAULT_PORT),
        password: url.password.clone(),
    };
    let mut servers: Vec<_> = url.places().into_iter().map(server).collect();
    let tls = complete_tls(reader, tls, &url, &servers);
    if url.channel_binding == ChannelBinding::Require && tls.mode == TlsMode::Disable {
        let why = "channel_binding=require needs TLS, and the connection is plain text";
        report(reader, URL, why, "Set tls.mode = \"verify-full\", or remove channel_binding.");
    }
    let user = url.user.or_else(|| environment.get("PGUSER").map(str::to_owned));
    let Some(user) = user.or_else(|| environment.user.clone()) else {
        let problem = Problem::new(reader.full_name(URL), "the URL names no user")
            .instead("Write postgres://USER@HOST/DATABASE, or set PGUSER.");
        reader.problems.push(problem);
        return None;
    };
    let dbname = url.dbname.unwrap_or_else(|| user.clone());
    for server in servers.iter_mut().filter(|server| server.password.is_none()) {
        let host = match &server.host {
            Host::Unix(path) if Some(path) == environment.socket_directory.as_ref() => "localhost",
            Host::Unix(path) => path.to_str().unwrap_or_default(),
            Host::Tcp(host) => host,
        };
        let login = Login { host, port: server.port, dbname: &dbname, user: &user };
        match libpq::password(environment, &login) {
            Ok(password) => server.password = password,
            // Several servers and databases share one file.
            Err(warning) if reader.warnings.contains(&warning) => {}
            Err(warning) => reader.warnings.push(warning),
        }
    }
    // libpq's default is Any for several servers too: a pool that writes needs the primary.
    let session = if servers.len() > 1 { TargetSession::ReadWrite } else { TargetSession::Any };
    Some(Target::Postgres(Box::new(PostgresTarget {
        servers,
        session: url.session.unwrap_or(session),
        balance: url.balance,
        channel_binding: url.channel_binding,
        user,
        dbname,
        application_name: url.application_name.unwrap_or_else(|| DEFAULT_APPLICATION.to_owned()),
        tls,
        source: None,
    })))
}

fn complete_host(environment: &Environment, host: Option<&str>) -> Host {
    match (host, &environment.socket_directory) {
        (Some(host), _) if host.starts_with('/') => Host::Unix(PathBuf::from(host)),
        (Some(host), _) => Host::Tcp(host.to_owned()),
        (None, Some(directory)) => Host::Unix(directory.clone()),
        (None, None) => Host::Tcp("localhost".to_owned()),
    }
}

/// Reports the keys `tls.*` of a database that is a file.
fn reject_tls(reader: &mut SectionReader<'_>) {
    for key in [TLS_MODE, TLS_CA, TLS_CERT, TLS_KEY] {
        if reader.setting(key).status == Status::Written {
            let why = "SQLite is a file: there is no connection to encrypt";
            report(reader, key, why, "Remove this key, or write a postgres:// URL.");
        }
    }
}

fn report(reader: &mut SectionReader<'_>, key: &str, why: impl Into<String>, instead: &str) {
    reader.report(key, ValueError::new(why).instead(instead));
}

fn complete_tls(
    reader: &mut SectionReader<'_>,
    keys: TlsKeys,
    url: &PostgresUrl,
    servers: &[Server],
) -> Tls {
    let known = reader.problems.len();
    // "system" is libpq's word for the default here.
    let rootcert = url.sslrootcert.as_deref().filter(|path| *path != "system");
    let ca = merge_file(reader, TLS_CA, keys.ca, rootcert);
    let cert = merge_file(reader, TLS_CERT, keys.cert, url.sslcert.as_deref());
    let key = merge_file(reader, TLS_KEY, keys.key, url.sslkey.as_deref());
    let is_file_invalid = reader.problems.len() > known
        || [TLS_CA, TLS_CERT, TLS_KEY]
            .iter()
            .any(|key| reader.setting(key).status == Status::Invalid);
    let url_key = reader.full_name(URL);
    if keys.mode.is_some_and(|mode| url.sslmode.is_some_and(|other| mode != other)) {
        let why = format!("it contradicts sslmode in {url_key}");
        report(reader, TLS_MODE, why, "Remove one of them.");
    }
    let is_tcp = servers.iter().any(|server| matches!(server.host, Host::Tcp(_)));
    let is_plain = servers.iter().all(is_local) && ca.is_none() && cert.is_none();
    let (mode, origin) = match (keys.mode, url.sslmode) {
        // As in libpq: a unix socket is never encrypted.
        _ if !is_tcp => (TlsMode::Disable, None),
        (Some(mode), _) => (mode, Some(reader.setting(TLS_MODE).origin.clone())),
        (None, Some(mode)) => (mode, Some(format!("sslmode in {url_key}"))),
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
    key: Option<PemFile>,
    url: Option<&str>,
) -> Option<PemFile> {
    let Some(path) = url else { return key };
    let url_key = reader.full_name(URL);
    if let Some(file) = key {
        if file.path.as_os_str() != path {
            report(reader, name, format!("{url_key} names another file"), "Remove one of them.");
        }
        return Some(file);
    }
    reader.show(name, quote(path), Some(url_key));
    PemFile::read(path).map_err(|error| reader.report(name, error)).ok()
}

fn is_local(server: &Server) -> bool {
    match &server.host {
        Host::Unix(_) => true,
        Host::Tcp(host) => {
            host.eq_ignore_ascii_case("localhost")
                || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    }
}
