//! Dangers of a configuration that works: `rowgate config check` and the start warn of them, and with `access.strict` the
//! server does not start.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::mysql_safety;
use crate::config::{Config, Database, Host, PemFile, Server, Target, Tls, TlsMode};
use crate::value::{Kind, Row, Value};

/// The bits of a file's mode by which others than its owner and group can read it.
const OTHERS_READ: u32 = 0o004;

/// The rights of the role by which its callers get more than its tables: one row, a text for each, NULL without it.
/// The schemas are those of the search path in which it may create something, which then takes the place of what others call.
const ROLE_RIGHTS: &str = "\
select case when r.rolsuper then 'is a superuser' end,
       case when r.rolbypassrls and not r.rolsuper then 'passes over row-level security (BYPASSRLS)' end,
       case when r.rolreplication and not r.rolsuper then 'may read everything by replication (REPLICATION)' end,
       case when not r.rolsuper and exists (
           select from pg_catalog.pg_roles g where g.rolname = 'pg_execute_server_program'
           and pg_catalog.pg_has_role(r.oid, g.oid, 'member')) then 'may run programs on the server (pg_execute_server_program)' end,
       case when not r.rolsuper and exists (
           select from pg_catalog.pg_roles g where g.rolname in ('pg_read_server_files', 'pg_write_server_files')
           and pg_catalog.pg_has_role(r.oid, g.oid, 'member')) then 'may read or write files of the server (pg_read_server_files, pg_write_server_files)' end,
       (select 'may create objects in ' || pg_catalog.string_agg(pg_catalog.quote_ident(s), ', ') || ', which is in the search path'
        from pg_catalog.unnest(pg_catalog.current_schemas(false)) s
        where not r.rolsuper and pg_catalog.has_schema_privilege(r.oid, s::text, 'create'))
from pg_catalog.pg_roles r where r.rolname = current_user";

/// Returns the question for the rights of a database's role or account; `None` for a file.
pub(super) fn rights_question(target: &Target) -> Option<&'static str> {
    match target {
        Target::Postgres(_) => Some(ROLE_RIGHTS),
        Target::Mysql(_) => Some(mysql_safety::RIGHTS),
        Target::Sqlite(_) => None,
    }
}

/// The dangers that the answer to [`rights_question`] tells of.
pub(super) fn of_rights(target: &Target, rows: &[Row]) -> Vec<String> {
    let texts = texts(rows);
    match target {
        Target::Postgres(_) => texts.map(|text| format!("the role {text}")).collect(),
        Target::Mysql(_) | Target::Sqlite(_) => texts.map(ToOwned::to_owned).collect(),
    }
}

/// The texts of the first row, without those that are NULL.
fn texts(rows: &[Row]) -> impl Iterator<Item = &str> {
    let values = rows.first().map(|row| row.values.as_slice()).unwrap_or_default();
    values.iter().filter_map(|value| match value {
        Value { kind: Some(Kind::TextValue(text)) } => Some(text.as_str()),
        _ => None,
    })
}

/// Logs the dangers that can be told without a connection.
pub(super) fn warn(config: &Config) {
    for text in of_server(config) {
        tracing::warn!("unsafe: {text}");
    }
    for (database, settings) in &config.databases {
        for text in of_database(settings) {
            tracing::warn!(database, "unsafe: {text}");
        }
    }
}

/// Returns the dangers of a database as it is configured.
pub(super) fn of_database(database: &Database) -> Vec<String> {
    match &database.target {
        Target::Sqlite(target) => readable_by_others(&target.path).into_iter().collect(),
        Target::Postgres(target) => of_connections(&target.servers, &target.tls),
        Target::Mysql(target) => of_connections(&target.servers, &target.tls),
    }
}

fn of_connections(servers: &[Server], tls: &Tls) -> Vec<String> {
    let mut found = Vec::new();
    let is_remote = |host: &Host| match host {
        Host::Tcp(name) => {
            let address = name.parse::<IpAddr>();
            name != "localhost" && !address.is_ok_and(|address| address.is_loopback())
        }
        Host::Unix(_) => false,
    };
    let remote = servers.iter().find(|server| is_remote(&server.host));
    let unsafe_mode = match tls.mode {
        TlsMode::Disable => Some("in plain text"),
        TlsMode::Require => Some("over TLS without verifying who it is"),
        TlsMode::VerifyCa | TlsMode::VerifyFull => None,
    };
    if let (Some(server), Some(how)) = (remote, unsafe_mode) {
        found.push(format!("{server} is spoken to {how} (Set tls.mode = \"verify-full\".)"));
    }
    found.extend(tls.key.as_ref().and_then(key_readable_by_others));
    found
}

/// Returns the dangers of the server itself.
pub(super) fn of_server(config: &Config) -> Vec<String> {
    let key = config.tls.key.as_ref().and_then(key_readable_by_others);
    let tokens = config.access.tokens.as_deref().map(Path::new).and_then(readable_by_others);
    let secrets = config.secret_files.iter().filter_map(|file| readable_by_others(file));
    let is_unbound = config.callers.len() > 1 && config.access.transaction_token_key.is_none();
    let unbound = is_unbound.then(|| {
        "transaction tokens are not bound to their callers (Set access.transaction_token_key.)"
            .to_owned()
    });
    key.into_iter().chain(tokens).chain(secrets).chain(unbound).collect()
}

fn key_readable_by_others(key: &PemFile) -> Option<String> {
    readable_by_others(&key.path)
}

fn readable_by_others(path: &Path) -> Option<String> {
    let mode = fs::metadata(path).ok()?.permissions().mode();
    let path = path.display();
    (mode & OTHERS_READ != 0)
        .then(|| format!("{path} can be read by every user of this machine (chmod o= {path})"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_from;

    #[test]
    fn a_remote_server_is_unsafe_unless_it_is_verified() {
        for (url, mode, is_unsafe) in [
            ("postgres://me@db.example/shop", "disable", true),
            ("postgres://me@10.0.0.7/shop", "require", true),
            ("postgres://me@db.example/shop", "verify-full", false),
            ("postgres://me@localhost/shop", "disable", false),
            ("postgres://me@127.0.0.1/shop", "disable", false),
            ("postgres://me@%2Ftmp/shop", "disable", false),
            ("mysql://me@db.example/shop", "disable", true),
            ("mysql://me@a.example,b.example/shop", "require", true),
            ("mysql://me@db.example/shop", "verify-full", false),
            ("mysql://me@127.0.0.1/shop", "disable", false),
            ("mysql://me@/shop?socket=%2Ftmp%2Fx.sock", "disable", false),
        ] {
            let pairs = [("databases.main.url", url), ("databases.main.tls.mode", mode)];
            let pairs = if url.contains("%2F") { &pairs[..1] } else { &pairs[..] };
            let config = load_from(pairs).expect("it is a configuration");
            let found = of_database(&config.databases["main"]);
            assert_eq!(!found.is_empty(), is_unsafe, "{url} {mode}: {found:?}");
        }
    }

    #[test]
    fn a_file_with_secrets_that_others_can_read_is_unsafe() {
        let directory = tempfile::tempdir().expect("there is room");
        let path = directory.path().join("shop.db");
        let url = format!("sqlite:{}", path.display());
        let tokens = path.display().to_string();
        let config = load_from(&[("databases.main.url", &*url), ("access.tokens", &*tokens)]);
        let config = config.expect("it is a configuration");
        assert!(of_server(&config).is_empty(), "it is not there");
        fs::write(&path, "").expect("there is room");
        for (mode, is_unsafe) in [(0o600, false), (0o640, false), (0o644, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
            assert_eq!(!of_database(&config.databases["main"]).is_empty(), is_unsafe, "{mode:o}");
            assert_eq!(!of_server(&config).is_empty(), is_unsafe, "{mode:o}");
        }
    }
}
