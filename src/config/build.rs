//! Builds the typed configuration from its sections, and checks keys against each other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::database_target::{SqliteTarget, Target};
use super::otel;
use super::postgres_url::FoundUrl;
use super::problem::Problem;
use super::schema::database_keys::Database;
use super::schema::grpc_keys::{Grpc, Stream};
use super::schema::ops_keys::{DefaultDatabaseKey, Health, Idempotency, Ops, Shutdown};
use super::schema::telemetry_keys::Telemetry;
use super::section_reader::{SectionReader, Status};
use super::source::Environment;
use super::target_resolution;

/// The database that exists without any configuration.
pub(crate) const MAIN: &str = "main";

/// The whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// `grpc.*`
    pub grpc: Grpc,
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
}

/// The databases that are configured.
pub(crate) struct DatabaseNames {
    pub(crate) names: BTreeSet<String>,
    /// `main`, when its section has no URL.
    pub(crate) main: Option<FoundUrl>,
    /// A section with a misspelt name may define more: a missing database is no further problem then.
    pub(crate) is_incomplete: bool,
}

/// Reads every section. The configuration is complete unless the reader has collected a problem.
pub(crate) fn config(
    reader: &mut SectionReader<'_>,
    environment: &Environment,
    databases: DatabaseNames,
    insecure: bool,
) -> Config {
    let default_database = default_database(reader, &databases);
    let grpc = Grpc::read(reader);
    let ops = Ops::read(reader);
    check_listeners(reader, &grpc, &ops, insecure);
    let shutdown = Shutdown::read(reader);
    let is_part = shutdown.delay <= shutdown.grace;
    reader.require(is_part, "shutdown.delay", "must not exceed", "shutdown.grace");
    let stream = Stream::read(reader);
    let idempotency = Idempotency::read(reader);
    let health = Health::read(reader, &default_database);
    check_required(reader, &health, &databases);
    let otel = otel::read(environment, &mut reader.warnings);
    let telemetry = Telemetry::read(reader, otel);
    let mut built = BTreeMap::new();
    let mut main = databases.main;
    for name in databases.names {
        reader.enter_database(&name);
        let fallback = if name == MAIN { main.take() } else { None };
        let target = target_resolution::read(reader, environment, fallback);
        // Without a target there is a problem, and the configuration is not used.
        let target =
            target.unwrap_or_else(|| Target::Sqlite(SqliteTarget { path: PathBuf::new() }));
        let database = Database::read(reader, target, grpc.max_response_size, &idempotency);
        check_database(reader, &database, &grpc);
        built.insert(name, database);
    }
    Config {
        grpc,
        ops,
        shutdown,
        stream,
        health,
        telemetry,
        default_database,
        databases: built,
        insecure,
    }
}

fn check_listeners(reader: &mut SectionReader<'_>, grpc: &Grpc, ops: &Ops, insecure: bool) {
    if !grpc.listen.ip().is_loopback() && !insecure {
        let problem = reader
            .setting("grpc.listen")
            .problem("callers are not authenticated: anyone who reaches this address may query the databases")
            .instead("Listen on 127.0.0.1, or allow it with --insecure where the network itself restricts access.");
        reader.problems.push(problem);
    }
    // Port 0 is another port each time.
    if ops.listen == grpc.listen && ops.listen.port() != 0 {
        let problem = reader.setting("ops.listen").problem("grpc.listen is the same address");
        reader.problems.push(problem.instead("Choose another port."));
    }
}

fn default_database(reader: &mut SectionReader<'_>, databases: &DatabaseNames) -> String {
    let names = &databases.names;
    let main = names.get(MAIN);
    let derived = if names.len() == 1 { names.first() } else { main };
    let derived = derived.cloned().unwrap_or_default();
    let name = DefaultDatabaseKey::read(reader, derived).default_database;
    let setting = reader.setting("default_database");
    if !names.contains(&name) && !databases.is_incomplete && setting.status != Status::Invalid {
        let problem = match setting.status {
            Status::Default => {
                Problem::new(&setting.key, "of several databases, none is named main")
            }
            Status::Written | Status::Invalid => setting.problem("there is no such database"),
        };
        reader.problems.push(problem.instead(format!("Name one of {}.", list(names))));
    }
    name
}

fn check_required(reader: &mut SectionReader<'_>, health: &Health, databases: &DatabaseNames) {
    let setting = reader.setting("health.require");
    // A wrong default database is reported already.
    if setting.status == Status::Default || databases.is_incomplete {
        return;
    }
    let missing = health.require.iter().filter(|name| !databases.names.contains(*name));
    let instead = format!("Name some of {}.", list(&databases.names));
    let problem = |name| setting.problem(format!("there is no database named {name}"));
    let problems: Vec<_> = missing.map(|name| problem(name).instead(&instead)).collect();
    reader.problems.extend(problems);
}

fn check_database(reader: &mut SectionReader<'_>, database: &Database, grpc: &Grpc) {
    let response_size = u64::try_from(grpc.max_response_size).unwrap_or(u64::MAX);
    let limits = [
        (
            database.default_deadline <= database.max_deadline,
            ["default_deadline", "must not exceed", "databases.NAME.max_deadline"],
        ),
        (
            database.max_bytes < response_size,
            ["max_bytes", "must be less than", "grpc.max_response_size"],
        ),
        (
            database.pool.min <= database.pool.max.get(),
            ["pool.min", "must not exceed", "databases.NAME.pool.max"],
        ),
    ];
    for (holds, [key, relation, other]) in limits {
        reader.require(holds, &format!("databases.NAME.{key}"), relation, other);
    }
}

fn list(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}
