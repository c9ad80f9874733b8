//! The target of a database, completed from its URL, `tls.*`, and the defaults of libpq.

use std::net::IpAddr;
use std::path::PathBuf;

use super::database_target::{
    Host, PemFile, PostgresTarget, Server, SqliteTarget, Target, TargetSession, TargetSource, Tls,
    TlsMode,
};
use super::entries::{literal, quote};
use super::libpq::{self, Login};
use super::postgres_url::{self, DatabaseUrl, Place, PostgresUrl};
use super::problem::Problem;
use super::schema::database_keys::{TlsKeys, UrlKey};
use super::schema::key::EMBEDDED_URL;
use super::secrets::secret::Secret;
use super::section_reader::{SectionReader, Setting, Status};
use super::source::Environment;

const DEFAULT_PORT: u16 = 5432;
const DEFAULT_APPLICATION: &str = "rowgate";

pub(crate) const URL: &str = "databases.NAME.url";
const TLS_MODE: &str = "databases.NAME.tls.mode";
const TLS_CA: &str = "databases.NAME.tls.ca";
const TLS_CERT: &str = "databases.NAME.tls.cert";
const TLS_KEY: &str = "databases.NAME.tls.key";

/// A URL and its origin.
pub(crate) struct FoundUrl {
    url: DatabaseUrl,
    /// The URL, masked.
    shown: String,
    /// `None`: the default.
    origin: Option<String>,
}

impl FoundUrl {
    /// The database of the `PG*` variables.
    pub(crate) fn of_variables(variables: libpq::Variables) -> Self {
        let shown = describe(&variables.url);
        let url = DatabaseUrl::Postgres(Box::new(variables.url));
        Self { url, shown, origin: Some(variables.names) }
    }

    /// The embedded database in the working directory.
    pub(crate) fn embedded() -> Self {
        let path = EMBEDDED_URL.trim_start_matches("sqlite:");
        let url = DatabaseUrl::Sqlite(PathBuf::from(path));
        Self { url, shown: EMBEDDED_URL.to_owned(), origin: None }
    }
}

/// Reads the target of the current database. Without a URL of its own it is `fallback`. Returns `None` if
/// a problem was reported.
pub(crate) fn read(
    reader: &mut SectionReader<'_>,
    environment: &Environment,
    fallback: Option<FoundUrl>,
) -> Option<Target> {
    let written = UrlKey::read(reader).url;
    let found = match reader.setting(URL).status {
        Status::Written => parse_url(reader, &written.unwrap_or_default()),
        Status::Invalid => None,
        Status::Default => {
            if fallback.is_none() {
                let problem = Problem::new(reader.full_name(URL), "this database has no URL")
                    .instead("Write postgres://USER:PASSWORD@HOST/DATABASE or sqlite:PATH.");
                reader.problems.push(problem);
            }
            fallback
        }
    };
    let tls = TlsKeys::read(reader);
    let found = found?;
    reader.show(URL, quote(&found.shown), found.origin);
    match found.url {
        DatabaseUrl::Sqlite(path) => {
            reject_tls(reader);
            Some(Target::Sqlite(SqliteTarget { path }))
        }
        DatabaseUrl::Postgres(url) => complete(reader, environment, *url, tls),
    }
}

fn parse_url(reader: &mut SectionReader<'_>, text: &str) -> Option<FoundUrl> {
    let origin = reader.setting(URL).origin.clone();
    let shown = postgres_url::masked(text);
    match postgres_url::parse(text) {
        Ok(url) => Some(FoundUrl { url, shown, origin: Some(origin) }),
        Err(errors) => {
            let key = reader.full_name(URL);
            let problems = errors.into_iter().map(|error| error.of(&key));
            let problems = problems.map(|problem| problem.value(quote(&shown)).origin(&origin));
            reader.problems.extend(problems);
            None
        }
    }
}

/// The variables as one URL, for display.
fn describe(url: &PostgresUrl) -> String {
    let password = if url.password.is_some() { ":******" } else { "" };
    let user = url.user.as_deref().map(|user| format!("{user}{password}@")).unwrap_or_default();
    let places = url.places().unwrap_or_default();
    let place = |place: &Place<'_>| {
        let port = place.port.map(|port| format!(":{port}")).unwrap_or_default();
        match place.host.unwrap_or_default() {
            address if address.contains(':') => format!("[{address}]{port}"),
            host => format!("{}{port}", host.replace('/', "%2F")),
        }
    };
    let mut query = Vec::new();
    let hosts = match &places[..] {
        [Place { host: Some(socket), port }] if socket.starts_with('/') => {
            query.push(format!("host={socket}"));
            place(&Place { host: None, port: *port })
        }
        places => places.iter().map(place).collect::<Vec<_>>().join(","),
    };
    query.extend(url.session.map(|session| format!("target_session_attrs={}", session.name())));
    if url.balance == Some(true) {
        query.push("load_balance_hosts=random".to_owned());
    }
    let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
    format!("postgres://{user}{hosts}/{}{query}", url.dbname.as_deref().unwrap_or_default())
}

fn complete(
    reader: &mut SectionReader<'_>,
    environment: &Environment,
    url: PostgresUrl,
    tls: TlsKeys,
) -> Option<Target> {
    let places = url.places().expect("the number of ports was checked when the URL was read");
    let server = |place: Place<'_>| Server {
        host: complete_host(environment, place.host),
        port: place.port.unwrap_or(DEFAULT_PORT),
        password: url.password.clone(),
    };
    let mut servers: Vec<_> = places.into_iter().map(server).collect();
    let tls = complete_tls(reader, tls, &url, &servers);
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
        server.password = stored_password(reader, environment, &login);
    }
    // libpq's default is Any for several servers too: a pool that writes needs the primary.
    let session = if servers.len() > 1 { TargetSession::ReadWrite } else { TargetSession::Any };
    Some(Target::Postgres(Box::new(PostgresTarget {
        servers,
        session: url.session.unwrap_or(session),
        balance: url.balance.unwrap_or_default(),
        user,
        dbname,
        application_name: url.application_name.unwrap_or_else(|| DEFAULT_APPLICATION.to_owned()),
        tls,
        source: TargetSource::default(),
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

fn stored_password(
    reader: &mut SectionReader<'_>,
    environment: &Environment,
    login: &Login<'_>,
) -> Option<Secret> {
    libpq::password(environment, login).unwrap_or_else(|warning| {
        // Several databases share one file.
        if !reader.warnings.contains(&warning) {
            reader.warnings.push(warning);
        }
        None
    })
}

/// Reports the keys `tls.*` of a database that is a file.
fn reject_tls(reader: &mut SectionReader<'_>) {
    let settings = [TLS_MODE, TLS_CA, TLS_CERT, TLS_KEY].map(|key| reader.setting(key));
    let written = settings.into_iter().filter(|setting| setting.status == Status::Written);
    let problem = |setting: &Setting| {
        setting
            .problem("SQLite is a file: there is no connection to encrypt")
            .instead("Remove this key, or write a postgres:// URL.")
    };
    let problems: Vec<_> = written.map(problem).collect();
    reader.problems.extend(problems);
}

fn complete_tls(
    reader: &mut SectionReader<'_>,
    keys: TlsKeys,
    url: &PostgresUrl,
    servers: &[Server],
) -> Tls {
    let is_file_invalid = [TLS_CA, TLS_CERT, TLS_KEY]
        .map(|key| reader.setting(key).status)
        .contains(&Status::Invalid);
    let known = reader.problems.len();
    // "system" is libpq's word for the default here.
    let rootcert = url.sslrootcert.as_deref().filter(|path| *path != "system");
    let ca = merge_file(reader, TLS_CA, keys.ca, rootcert);
    let cert = merge_file(reader, TLS_CERT, keys.cert, url.sslcert.as_deref());
    let key = merge_file(reader, TLS_KEY, keys.key, url.sslkey.as_deref());
    let is_file_invalid = is_file_invalid || reader.problems.len() > known;
    let written = merge_mode(reader, keys.mode, url.sslmode);
    let is_tcp = servers.iter().any(|server| matches!(server.host, Host::Tcp(_)));
    let is_plain = servers.iter().all(is_local) && ca.is_none() && cert.is_none();
    let mode = match written {
        // As in libpq: a unix socket is never encrypted.
        _ if !is_tcp => TlsMode::Disable,
        Some(mode) => mode,
        None if is_plain => TlsMode::Disable,
        None => TlsMode::VerifyFull,
    };
    let origin = reader.setting(TLS_MODE).origin.clone();
    let origin = Some(origin).filter(|_| is_tcp && written.is_some());
    reader.show(TLS_MODE, literal(&serde_json::json!(mode)), origin);
    let tls = Tls { mode, ca, cert, key };
    if is_tcp && !is_file_invalid {
        check_files(reader, &tls);
    }
    tls
}

/// Reports files that are never used, and a certificate or key without the other.
fn check_files(reader: &mut SectionReader<'_>, tls: &Tls) {
    let mut report = |key: &str, why: &str, instead: &str| {
        let problem = reader.setting(key).problem(why).instead(instead);
        reader.problems.push(problem);
    };
    if tls.ca.is_some() && matches!(tls.mode, TlsMode::Disable | TlsMode::Require) {
        report(
            TLS_CA,
            "this tls.mode checks no certificate, so this is never used",
            "Set tls.mode to verify-full or verify-ca, or remove this.",
        );
    }
    match (tls.cert.is_some(), tls.key.is_some()) {
        (true, false) => {
            report(TLS_CERT, "a certificate needs its private key", "Set tls.key too.");
        }
        (false, true) => {
            report(TLS_KEY, "a private key needs its certificate", "Set tls.cert too.");
        }
        (true, true) if tls.mode == TlsMode::Disable => report(
            TLS_CERT,
            "with tls.mode disable this is never used",
            "Set tls.mode to verify-full, or remove this.",
        ),
        (true, true) | (false, false) => {}
    }
}

/// The mode of the key or of the URL.
fn merge_mode(
    reader: &mut SectionReader<'_>,
    key: Option<TlsMode>,
    url: Option<TlsMode>,
) -> Option<TlsMode> {
    let url_key = reader.full_name(URL);
    match (key, url) {
        (Some(mode), Some(other)) if mode != other => {
            let setting = reader.setting(TLS_MODE);
            let problem = setting.problem(format!("it contradicts sslmode in {url_key}"));
            reader.problems.push(problem.instead("Remove one of them."));
        }
        (None, Some(_)) => {
            reader.show(TLS_MODE, String::new(), Some(format!("sslmode in {url_key}")));
        }
        (_, None) | (Some(_), Some(_)) => {}
    }
    key.or(url)
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
            let problem = reader.setting(name).problem(format!("{url_key} names another file"));
            reader.problems.push(problem.instead("Remove one of them."));
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
