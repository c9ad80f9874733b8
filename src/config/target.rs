//! `databases.NAME.url` and `tls.*`: which database, and what is taken for granted about it.

use std::net::IpAddr;
use std::path::PathBuf;

use super::database::{
    Host, PemFile, PostgresTarget, Server, SqliteTarget, Target, TargetSession, Tls, TlsMode,
};
use super::keys::{self, TLS_CA, TLS_CERT, TLS_KEY, TLS_MODE, TLS_MODES, URL};
use super::libpq::{self, Login};
use super::origin::Origin;
use super::problem::Problem;
use super::reader::{Found, Reader};
use super::secret::Secret;
use super::shape::{OneOf, Pem, Shape as _, Url};
use super::source::Environment;
use super::tree::{Raw, quote};
use super::url::{self, DatabaseUrl, Place, PostgresUrl};

const DEFAULT_PORT: u16 = 5432;
const DEFAULT_APPLICATION: &str = "rowgate";

/// A URL as it was found.
pub(crate) struct Written {
    url: DatabaseUrl,
    /// Masked.
    shown: String,
    origin: Option<String>,
}

impl Written {
    /// What the `PG*` variables say.
    pub(crate) fn by_variables((url, names): (PostgresUrl, String)) -> Self {
        let shown = describe(&url);
        Self { url: DatabaseUrl::Postgres(Box::new(url)), shown, origin: Some(names) }
    }

    /// The embedded database in the working directory.
    pub(crate) fn by_default() -> Self {
        let path = URL.default.trim_start_matches("sqlite:");
        let url = DatabaseUrl::Sqlite(PathBuf::from(path));
        Self { url, shown: URL.default.to_owned(), origin: None }
    }
}

/// The database of the section that is being read; `None` when a problem says why there is none.
pub(crate) fn read(
    reader: &mut Reader<'_>,
    environment: &Environment,
    otherwise: Option<Written>,
) -> Option<Target> {
    let written = match reader.entry(&URL) {
        Some(_) => read_url(reader),
        None => otherwise.or_else(|| {
            let key = reader.full(&URL);
            let problem = Problem::new(key, "this database has no URL")
                .instead("Write postgres://USER:PASSWORD@HOST/DATABASE or sqlite:PATH.");
            reader.problems.push(problem);
            None
        }),
    };
    let tls = TlsKeys::read(reader);
    let written = written?;
    reader.note(reader.full(&URL), quote(&written.shown), written.origin.clone());
    match written.url {
        DatabaseUrl::Sqlite(path) => {
            tls.refuse_all(reader);
            Some(Target::Sqlite(SqliteTarget { path }))
        }
        DatabaseUrl::Postgres(url) => complete(reader, environment, *url, tls),
    }
}

fn read_url(reader: &mut Reader<'_>) -> Option<Written> {
    let entry = reader.entry(&URL).filter(|entry| entry.raw != Raw::Broken)?;
    let text = match Url.parse(&entry.raw) {
        Ok(text) => text,
        Err(refusal) => {
            reader.refuse(&URL, entry, refusal);
            return None;
        }
    };
    match url::parse(&text) {
        Ok(url) => {
            Some(Written { url, shown: url::masked(&text), origin: Some(entry.origin.clone()) })
        }
        Err(refusals) => {
            let key = reader.full(&URL);
            let problem = |refusal: super::problem::Refusal| {
                refusal.of(&key).value(quote(&url::masked(&text))).origin(&entry.origin)
            };
            reader.problems.extend(refusals.into_iter().map(problem));
            None
        }
    }
}

/// The variables as one URL, for display.
fn describe(url: &PostgresUrl) -> String {
    let user = url.user.as_deref().map(|user| match url.password {
        Some(_) => format!("{user}:******@"),
        None => format!("{user}@"),
    });
    let places = url.places().unwrap_or_default();
    let place = |(host, port): &Place<'_>| {
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        match host.unwrap_or_default() {
            address if address.contains(':') => format!("[{address}]{port}"),
            host => format!("{}{port}", host.replace('/', "%2F")),
        }
    };
    let (hosts, socket) = match &places[..] {
        [(Some(socket), port)] if socket.starts_with('/') => {
            (place(&(None, *port)), Some(format!("host={socket}")))
        }
        places => (places.iter().map(place).collect::<Vec<_>>().join(","), None),
    };
    let session = url.session.map(|session| format!("target_session_attrs={}", session.name()));
    let balance = url.balance.filter(|balance| *balance);
    let balance = balance.map(|_random| "load_balance_hosts=random".to_owned());
    let query: Vec<_> = [socket, session, balance].into_iter().flatten().collect();
    let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
    let dbname = url.dbname.as_deref().unwrap_or_default();
    format!("postgres://{}{hosts}/{dbname}{query}", user.unwrap_or_default())
}

fn complete(
    reader: &mut Reader<'_>,
    environment: &Environment,
    url: PostgresUrl,
    tls: TlsKeys,
) -> Option<Target> {
    let places = url.places().expect("a URL whose places do not fit each other is refused before");
    let mut servers: Vec<_> = places
        .into_iter()
        .map(|(host, port)| Server {
            host: complete_host(environment, host),
            port: port.unwrap_or(DEFAULT_PORT),
            password: url.password.clone(),
        })
        .collect();
    let tls = tls.complete(reader, &url, &servers);
    // libpq's own default suits who reads: a pool that everyone writes through wants the primary.
    let several = if servers.len() > 1 { TargetSession::ReadWrite } else { TargetSession::Any };
    let user = url.user.or_else(|| environment.get("PGUSER").map(str::to_owned));
    let Some(user) = user.or_else(|| environment.user.clone()) else {
        let problem = Problem::new(reader.full(&URL), "the URL names no user")
            .instead("Write postgres://USER@HOST/DATABASE, or set PGUSER.");
        reader.problems.push(problem);
        return None;
    };
    let dbname = url.dbname.unwrap_or_else(|| user.clone());
    for server in servers.iter_mut().filter(|server| server.password.is_none()) {
        let host = match &server.host {
            Host::Unix(directory) if Some(directory) == environment.socket_directory.as_ref() => {
                "localhost"
            }
            Host::Unix(directory) => directory.to_str().unwrap_or_default(),
            Host::Tcp(host) => host,
        };
        let login = Login { host, port: server.port, dbname: &dbname, user: &user };
        server.password = stored_password(reader, environment, &login);
    }
    Some(Target::Postgres(Box::new(PostgresTarget {
        servers,
        session: url.session.unwrap_or(several),
        balance: url.balance.unwrap_or_default(),
        user,
        dbname,
        application_name: url.application_name.unwrap_or_else(|| DEFAULT_APPLICATION.to_owned()),
        tls,
        origin: Origin::default(),
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
    reader: &mut Reader<'_>,
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

/// `tls.*` as they were written.
struct TlsKeys {
    mode: Option<Found<Option<TlsMode>>>,
    ca: Option<Found<PemFile>>,
    cert: Option<Found<PemFile>>,
    key: Option<Found<PemFile>>,
}

impl TlsKeys {
    fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            mode: reader.optional(&TLS_MODE),
            ca: reader.optional(&TLS_CA),
            cert: reader.optional(&TLS_CERT),
            key: reader.optional(&TLS_KEY),
        }
    }

    /// For a database that is a file.
    fn refuse_all(self, reader: &mut Reader<'_>) {
        let refuse = |found: &dyn Fn(&str) -> Problem| {
            found("SQLite is a file: there is no connection to encrypt")
                .instead("Remove this key, or write a postgres:// URL.")
        };
        let mode = self.mode.map(|found| refuse(&|why| found.problem(why)));
        let files = [self.ca, self.cert, self.key].into_iter().flatten();
        reader.problems.extend(mode);
        reader.problems.extend(files.map(|found| refuse(&|why| found.problem(why))));
    }

    fn complete(self, reader: &mut Reader<'_>, url: &PostgresUrl, servers: &[Server]) -> Tls {
        // libpq's word for the certificates that the system trusts, which are used anyway.
        let rootcert = url.sslrootcert.as_deref().filter(|path| *path != "system");
        let ca = merge_file(reader, self.ca, rootcert, &TLS_CA);
        let cert = merge_file(reader, self.cert, url.sslcert.as_deref(), &TLS_CERT);
        let key = merge_file(reader, self.key, url.sslkey.as_deref(), &TLS_KEY);
        let mode = merge_mode(reader, self.mode, url.sslmode);
        let wanted = ca.is_some() || cert.is_some();
        let is_tcp = |server: &Server| matches!(server.host, Host::Tcp(_));
        let is_tcp = servers.iter().any(is_tcp);
        let (mode, origin) = match mode {
            // As in libpq: nothing leaves the machine.
            _ if !is_tcp => (TlsMode::Disable, None),
            Some((mode, origin)) => (mode, Some(origin)),
            None if servers.iter().all(is_here) && !wanted => (TlsMode::Disable, None),
            None => (TlsMode::VerifyFull, None),
        };
        reader.note(reader.full(&TLS_MODE), OneOf(TLS_MODES).show(&Some(mode)), origin);
        note_file(reader, &TLS_CA, ca.as_ref());
        note_file(reader, &TLS_CERT, cert.as_ref());
        note_file(reader, &TLS_KEY, key.as_ref());
        if is_tcp {
            check_files(reader, mode, [ca.as_ref(), cert.as_ref(), key.as_ref()]);
        }
        let file = |found: Option<Found<PemFile>>| found.map(|found| found.value);
        Tls { mode, ca: file(ca), cert: file(cert), key: file(key) }
    }
}

/// Files that are never used, or not enough of them.
fn check_files(reader: &mut Reader<'_>, mode: TlsMode, files: [Option<&Found<PemFile>>; 3]) {
    let [ca, cert, key] = files;
    let mut problems = Vec::new();
    match (mode, ca) {
        (TlsMode::Disable | TlsMode::Require, Some(ca)) => problems.push(
            ca.problem("this tls.mode checks no certificate, so this is never used")
                .instead("Set tls.mode to verify-full or verify-ca, or remove this."),
        ),
        (TlsMode::VerifyCa | TlsMode::VerifyFull, _) | (_, None) => {}
    }
    match (cert, key) {
        (Some(cert), None) => problems.push(
            cert.problem("a certificate is of no use without its private key")
                .instead("Set tls.key too."),
        ),
        (None, Some(key)) => problems.push(
            key.problem("a private key is of no use without its certificate")
                .instead("Set tls.cert too."),
        ),
        (Some(cert), Some(_)) if mode == TlsMode::Disable => problems.push(
            cert.problem("with tls.mode disable this is never used")
                .instead("Set tls.mode to verify-full, or remove this."),
        ),
        (Some(_), Some(_)) | (None, None) => {}
    }
    // What could not be read is reported already.
    let broken = [&TLS_CA, &TLS_CERT, &TLS_KEY].map(|key| reader.has_problem(key));
    if !broken.contains(&true) {
        reader.problems.extend(problems);
    }
}

/// The mode of the key or of the URL, and where it was found.
fn merge_mode(
    reader: &mut Reader<'_>,
    key: Option<Found<Option<TlsMode>>>,
    url: Option<TlsMode>,
) -> Option<(TlsMode, String)> {
    let url_key = reader.full(&URL);
    match (key.and_then(|found| found.value.map(|mode| (mode, found))), url) {
        (Some((mode, found)), Some(other)) if mode != other => {
            let problem = found.problem(format!("sslmode in {url_key} says otherwise"));
            reader.problems.push(problem.instead("Remove one of them."));
            None
        }
        (Some((mode, found)), _) => Some((mode, found.origin.unwrap_or_default())),
        (None, url) => url.map(|mode| (mode, format!("sslmode in {url_key}"))),
    }
}

/// The file of the key or of the URL.
fn merge_file(
    reader: &mut Reader<'_>,
    key: Option<Found<PemFile>>,
    url: Option<&str>,
    named: &keys::Key<Pem>,
) -> Option<Found<PemFile>> {
    let Some(path) = url else { return key };
    let url_key = reader.full(&URL);
    if let Some(found) = key {
        if found.value.path.as_os_str() != path {
            let problem = found.problem(format!("{url_key} names another file"));
            reader.problems.push(problem.instead("Remove one of them."));
        }
        return Some(found);
    }
    let full = reader.full(named);
    match Pem.parse(&Raw::Text(path.to_owned())) {
        Ok(value) => {
            let shown = Pem.show(&value);
            Some(Found { key: full, value, shown, origin: Some(url_key), broken: false })
        }
        Err(refusal) => {
            reader.problems.push(refusal.of(full).value(quote(path)).origin(url_key));
            None
        }
    }
}

fn note_file(reader: &mut Reader<'_>, key: &keys::Key<Pem>, found: Option<&Found<PemFile>>) {
    let shown = found.map_or_else(|| quote(""), |found| found.shown.clone());
    reader.note(reader.full(key), shown, found.and_then(|found| found.origin.clone()));
}

/// Whether a server is on this machine.
fn is_here(server: &Server) -> bool {
    match &server.host {
        Host::Unix(_) => true,
        Host::Tcp(host) => {
            host.eq_ignore_ascii_case("localhost")
                || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    }
}
