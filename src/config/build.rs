//! Builds the typed configuration from its sections, and checks keys against each other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::callers_check::WaysIn;
use super::database_target::{SqliteTarget, Target, TargetSource};
use super::database_url::FoundUrl;
use super::entries::Entry;
use super::problem::{Problem, ValueError};
use super::schema::access_keys::{Access, CallerSettings, ClientAuth, GrpcTls, Jwt};
use super::schema::database_keys::Database;
use super::schema::server_keys::{
    DefaultDatabaseKey, Grpc, Health, Idempotency, Ops, Shutdown, Stream, Telemetry,
};
use super::schema::web_keys::GrpcWeb;
use super::section_reader::{SectionReader, Status};
use super::{
    callers_check, claims_check, database_check, libpq, mysql_variables, otel, target_resolution,
};

/// The shortest interval of probes.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// The database that exists without any configuration.
pub(crate) const MAIN: &str = "main";

/// The whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// `grpc.*`
    pub grpc: Grpc,
    /// `grpc.tls.*`
    pub tls: GrpcTls,
    /// `grpc.web.*`
    pub web: GrpcWeb,
    /// `access.*`
    pub access: Access,
    /// `access.jwt.*`
    pub jwt: Jwt,
    /// `callers.NAME.*`; with none callers are not authenticated.
    pub callers: BTreeMap<String, CallerSettings>,
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
    /// `--insecure`: allow a listener beyond loopback without authentication.
    pub insecure: bool,
    /// The files that values are read from: `${file:…}` and `KEY_file`.
    pub secret_files: BTreeSet<PathBuf>,
}

/// The databases that are configured.
pub(crate) struct DatabaseNames {
    pub(crate) names: BTreeSet<String>,
    /// A section with a misspelt name may define more: a missing database is no further problem then.
    pub(crate) is_incomplete: bool,
}

/// Reads every section. The configuration is complete unless the reader has collected a problem.
pub(crate) fn config(
    reader: &mut SectionReader<'_>,
    databases: DatabaseNames,
    callers: BTreeSet<String>,
    insecure: bool,
) -> Config {
    let default_database = default_database(reader, &databases);
    let grpc = Grpc::read(reader);
    let tls = GrpcTls::read(reader);
    check_tls(reader, &tls);
    let web = GrpcWeb::read(reader);
    let access = Access::read(reader);
    let jwt = Jwt::read(reader);
    check_jwt(reader, &jwt);
    let callers = read_callers(reader, callers, &databases);
    let ops = Ops::read(reader);
    check_listeners(
        reader,
        &grpc,
        &ops,
        Protection {
            insecure,
            is_authenticated: !callers.is_empty(),
            is_encrypted: tls.cert.is_some(),
        },
    );
    let shutdown = Shutdown::read(reader);
    check_shutdown(reader, &shutdown);
    let stream = Stream::read(reader);
    let idempotency = Idempotency::read(reader);
    let health = Health::read(reader, &default_database);
    check_health(reader, &health, &databases, [grpc.listen.tcp(), Some(ops.listen)]);
    let otel = otel::read(reader.environment, &mut reader.warnings);
    let telemetry = Telemetry::read(reader, otel);
    let built = read_databases(reader, databases.names, &grpc, &idempotency);
    claims_check::check(reader, &callers, &built);
    let ways_in = WaysIn { grpc: &grpc, tls: &tls, access: &access, jwt: &jwt };
    reader.warnings.extend(callers_check::warnings(ways_in, &callers));
    Config {
        grpc,
        tls,
        web,
        access,
        jwt,
        callers,
        ops,
        shutdown,
        stream,
        health,
        telemetry,
        default_database,
        databases: built,
        insecure,
        secret_files: reader.files(),
    }
}

fn check_shutdown(reader: &mut SectionReader<'_>, shutdown: &Shutdown) {
    let is_part = shutdown.delay <= shutdown.grace;
    reader.require(is_part, "shutdown.delay", "must not exceed", "shutdown.grace");
}

fn read_databases(
    reader: &mut SectionReader<'_>,
    names: BTreeSet<String>,
    grpc: &Grpc,
    idempotency: &Idempotency,
) -> BTreeMap<String, Database> {
    let mut databases = BTreeMap::new();
    for name in names {
        reader.name.clone_from(&name);
        let target = target(reader);
        let is_known = target.is_some();
        let admin = admin_target(reader, target.as_ref());
        // Without a target there is a problem, and the configuration is not used.
        let target =
            target.unwrap_or_else(|| Target::Sqlite(SqliteTarget { path: PathBuf::new() }));
        let max_response_size = grpc.max_response_size;
        let database = Database::read(reader, target, admin, max_response_size, idempotency);
        database_check::check(reader, &database, grpc);
        if is_known {
            database_check::check_kind(reader, &database);
        }
        databases.insert(name, database);
    }
    databases
}

/// Reads the target of the current database. `main` is the one of the `PG*` variables, or of `MYSQL_*`, or embedded,
/// when it has no URL.
pub(crate) fn target(reader: &mut SectionReader<'_>) -> Option<Target> {
    let url = reader.full_name(target_resolution::URL);
    let needs_url = reader.name == MAIN && !reader.entries.contains_key(&url);
    let fallback = needs_url.then(|| {
        let variables = libpq::from_variables(reader.environment, &mut reader.problems)
            .or_else(|| mysql_variables::from_variables(reader.environment, &mut reader.problems));
        variables.unwrap_or_else(FoundUrl::embedded)
    });
    let mut target = target_resolution::read(reader, reader.environment, fallback)?;
    let source = Some(Arc::new(TargetSource {
        database: reader.name.clone(),
        entries: Arc::clone(reader.entries),
        environment: Arc::clone(reader.environment),
    }));
    match &mut target {
        Target::Postgres(target) => target.source = source,
        Target::Mysql(target) => target.source = source,
        Target::Sqlite(_) => {}
    }
    Some(target)
}

/// Reads the target of `admin_url` as if it were the `url` of the current database; `None` without one, or if a problem was
/// reported.
fn admin_target(reader: &mut SectionReader<'_>, target: Option<&Target>) -> Option<Target> {
    if reader.setting(target_resolution::ADMIN_URL).status != Status::Written {
        return None;
    }
    let url = reader.full_name(target_resolution::URL);
    let admin_url = reader.full_name(target_resolution::ADMIN_URL);
    let mut entries = (**reader.entries).clone();
    let written = entries.remove(&admin_url)?;
    entries.insert(url.clone(), Entry { key: url.clone(), ..written });
    let entries = Arc::new(entries);
    let mut as_url = SectionReader::new(&entries, reader.environment);
    as_url.name.clone_from(&reader.name);
    let admin = self::target(&mut as_url);
    let renamed = as_url.problems.into_iter().map(|problem| problem.with_key(&url, &admin_url));
    // Those of the values of `tls.*` are reported already.
    add_new(&mut reader.problems, renamed);
    add_new(&mut reader.warnings, as_url.warnings.into_iter());
    let kind = |target: &Target| std::mem::discriminant(target);
    if let (Some(target), Some(admin)) = (target, &admin)
        && kind(target) != kind(admin)
    {
        let why = format!("this is another kind of database than {url}");
        reader.report(
            target_resolution::ADMIN_URL,
            ValueError::new(why).instead("Write a URL of the same database."),
        );
    }
    admin
}

/// Adds what is not yet known.
fn add_new<T: PartialEq>(known: &mut Vec<T>, found: impl Iterator<Item = T>) {
    for new in found {
        if !known.contains(&new) {
            known.push(new);
        }
    }
}

/// The protection of the listener for services.
#[derive(Debug, Clone, Copy)]
struct Protection {
    /// `--insecure`: the network itself restricts access.
    insecure: bool,
    is_authenticated: bool,
    is_encrypted: bool,
}

fn check_listeners(reader: &mut SectionReader<'_>, grpc: &Grpc, ops: &Ops, protection: Protection) {
    let Protection { insecure, is_authenticated, is_encrypted } = protection;
    let missing = match (is_authenticated, is_encrypted) {
        (true, true) => None,
        (false, _) => Some((
            "callers are not authenticated: anyone who reaches this address may query the databases",
            "Listen on 127.0.0.1, or configure callers (docs/SECURITY.md), or allow it with --insecure where the network \
             itself restricts access.",
        )),
        (true, false) => Some((
            "it is not encrypted: tokens and rows can be read on their way",
            "Set grpc.tls.cert and grpc.tls.key, or allow it with --insecure where the network itself is encrypted.",
        )),
    };
    if let Some((why, instead)) = missing.filter(|_| !grpc.listen.is_local() && !insecure) {
        reader.report("grpc.listen", ValueError::new(why).instead(instead));
    }
    if is_encrypted && grpc.listen.tcp().is_none() {
        let error = ValueError::new("grpc.listen is a Unix socket, which is not encrypted");
        reader.report("grpc.tls.cert", error.instead("Remove it, or listen on an address."));
    }
    // Port 0 is another port each time.
    if grpc.listen.tcp() == Some(ops.listen) && ops.listen.port() != 0 {
        let error = ValueError::new("grpc.listen is the same address");
        reader.report("ops.listen", error.instead("Choose another port."));
    }
}

/// Checks which keys of `grpc.tls` need another.
pub(crate) fn check_tls(reader: &mut SectionReader<'_>, tls: &GrpcTls) {
    let cert = tls.cert.is_some();
    let key = tls.key.is_some();
    let needs = |reader: &mut SectionReader<'_>, is_met: bool, key: &str, other: &str| {
        if !is_met && reader.setting(other).status != Status::Invalid {
            let error = ValueError::new(format!("{other} is not set"));
            reader.report(key, error.instead(format!("Set {other} too.")));
        }
    };
    needs(reader, key || !cert, "grpc.tls.cert", "grpc.tls.key");
    needs(reader, cert || !key, "grpc.tls.key", "grpc.tls.cert");
    needs(reader, cert || tls.client_ca.is_none(), "grpc.tls.client_ca", "grpc.tls.cert");
    let is_checked = tls.client_auth == ClientAuth::Off || tls.client_ca.is_some();
    needs(reader, is_checked, "grpc.tls.client_auth", "grpc.tls.client_ca");
    needs(
        reader,
        tls.client_ca.is_some() || tls.crl.is_none(),
        "grpc.tls.crl",
        "grpc.tls.client_ca",
    );
}

fn check_jwt(reader: &mut SectionReader<'_>, jwt: &Jwt) {
    let Some(keys) = &jwt.keys else { return };
    if keys.contains("://") && !is_https(keys) {
        let error = ValueError::new("this is no https URL");
        let instead = "Write https://HOST/PATH without a user, or the path of a file.";
        reader.report("access.jwt.keys", error.instead(instead));
    }
    let is_least = jwt.min_refresh_interval <= jwt.refresh_interval;
    let other = "access.jwt.refresh_interval";
    reader.require(is_least, "access.jwt.min_refresh_interval", "must not exceed", other);
    let missing = [
        ("access.jwt.issuer", jwt.issuer.is_none()),
        ("access.jwt.audiences", jwt.audiences.is_empty()),
    ];
    for (key, _) in missing.into_iter().filter(|(_, is_missing)| *is_missing) {
        let error = ValueError::new(format!("{key} is not set"));
        reader.report(
            "access.jwt.keys",
            error.instead(format!("Set {key} too: a token for somebody else must not get in.")),
        );
    }
}

fn is_https(url: &str) -> bool {
    let Ok(url) = url.parse::<http::Uri>() else { return false };
    let host = url.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    url.scheme_str() == Some("https") && !host.is_empty() && !host.contains('@')
}

fn read_callers(
    reader: &mut SectionReader<'_>,
    names: BTreeSet<String>,
    databases: &DatabaseNames,
) -> BTreeMap<String, CallerSettings> {
    let mut callers = BTreeMap::new();
    for name in names {
        reader.name.clone_from(&name);
        let caller = CallerSettings::read(reader);
        let unknown = caller.databases.iter().find(|name| !databases.names.contains(*name));
        if let Some(unknown) = unknown.filter(|_| !databases.is_incomplete) {
            let error = ValueError::new(format!("there is no database named {unknown}"))
                .instead(format!("Name some of {}.", list(&databases.names)));
            reader.report("callers.NAME.databases", error);
        }
        callers.insert(name, caller);
    }
    callers
}

fn default_database(reader: &mut SectionReader<'_>, databases: &DatabaseNames) -> String {
    let names = &databases.names;
    let derived = if names.len() == 1 { names.first() } else { names.get(MAIN) };
    let derived = derived.cloned().unwrap_or_default();
    let name = DefaultDatabaseKey::read(reader, derived).default_database;
    let setting = reader.setting("default_database");
    let problem = match setting.status {
        _ if names.contains(&name) || databases.is_incomplete => return name,
        Status::Default => Problem::new(&setting.key, "of several databases, none is named main"),
        Status::Written => setting.problem("there is no such database"),
        Status::Invalid => return name,
    };
    reader.problems.push(problem.instead(format!("Name one of {}.", list(names))));
    name
}

fn check_health(
    reader: &mut SectionReader<'_>,
    health: &Health,
    databases: &DatabaseNames,
    other_listeners: [Option<SocketAddr>; 2],
) {
    let is_taken = |own: SocketAddr| own.port() != 0 && other_listeners.contains(&Some(own));
    if health.listen.is_some_and(is_taken) {
        let error = ValueError::new("another listener has the same address");
        reader.report("health.listen", error.instead("Choose another port."));
    }
    if health.probes() && health.interval < SHORTEST_INTERVAL {
        let error = ValueError::new("this is too short");
        reader.report(
            "health.interval",
            error.instead("Write a duration from 100ms to 1h, or \"0s\" to probe no database."),
        );
    }
    // A wrong default database is reported already.
    let is_default = reader.setting("health.require").status == Status::Default;
    let is_missing = |name: &&String| !databases.names.contains(*name);
    for name in health.require.iter().filter(is_missing) {
        if !is_default && !databases.is_incomplete {
            let error = ValueError::new(format!("there is no database named {name}"))
                .instead(format!("Name some of {}.", list(&databases.names)));
            reader.report("health.require", error);
        }
    }
}

fn list(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::load::load_from;

    #[test]
    fn probes_are_at_least_100_ms_apart_or_turned_off() {
        for (interval, is_right) in
            [("0s", true), ("1ms", false), ("99ms", false), ("100ms", true), ("1h", true)]
        {
            let loaded = load_from(&[("health.interval", interval)]);
            assert_eq!(loaded.is_ok(), is_right, "{interval}");
            if let Err(problems) = loaded {
                let text = problems.to_string();
                assert!(text.contains("too short") && text.contains("\"0s\" to probe"), "{text}");
            }
        }
    }
}
