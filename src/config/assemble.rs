//! Builds the typed configuration, and checks what keys say about each other.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::time::Duration;

use super::Config;
use super::database::{
    BreakerSettings, Database, Idempotency, PoolSettings, RetrySettings, TransactionSettings,
};
use super::keys::{self, DATABASES};
use super::otel;
use super::problem::Problem;
use super::reader::{Found, Reader};
use super::sections::{Grpc, Health, Ops, Shutdown, Stream, Telemetry};
use super::source::{self, Environment};
use super::target::{self, Written};
use super::tree::Leaf;

/// The name of the database that is there without a word of configuration.
pub(crate) const MAIN: &str = "main";

/// How much longer the database's own timeout is than the longest deadline, by default.
const BACKSTOP: Duration = Duration::from_secs(5);

/// What databases are named, and what `main` is when its section has no URL.
pub(crate) struct Named {
    pub(crate) databases: BTreeSet<String>,
    pub(crate) main: Option<Written>,
    /// What `DATABASE_URL` says, where it counts.
    pub(crate) url: Option<Leaf>,
    /// There may be others, in a section whose name is misspelt: that some are missed is no news then.
    pub(crate) uncertain: bool,
}

/// Reads every section. The configuration is whole unless the reader has met a problem: `None` when
/// there is no database to serve.
pub(crate) fn config(
    reader: &mut Reader<'_>,
    environment: &Environment,
    named: Named,
    insecure: bool,
) -> Option<Config> {
    let (grpc, response_size) = grpc(reader, insecure);
    let ops = ops(reader, &grpc);
    let shutdown = shutdown(reader);
    let stream = Stream { stall_timeout: reader.read(&keys::STALL_TIMEOUT).value };
    let default_database = default_database(reader, &named);
    let health = health(reader, &named, default_database.as_deref());
    let telemetry = telemetry(reader, environment);
    let idempotency = Idempotency {
        table: reader.read(&keys::IDEMPOTENCY_TABLE).value,
        retention: reader.read(&keys::IDEMPOTENCY_RETENTION).value,
        create_table: reader.read(&keys::IDEMPOTENCY_CREATE_TABLE).value,
    };
    let mut databases = BTreeMap::new();
    let mut main = named.main;
    for name in named.databases {
        reader.enter(format!("{DATABASES}.{name}."));
        let otherwise = if name == MAIN { main.take() } else { None };
        let database = database(reader, environment, otherwise, &response_size, &idempotency);
        if let Some(database) = database {
            databases.insert(name, database);
        }
    }
    let default_database = default_database?;
    Some(Config {
        grpc,
        ops,
        shutdown,
        stream,
        health,
        telemetry,
        default_database,
        databases,
        insecure,
    })
}

fn grpc(reader: &mut Reader<'_>, insecure: bool) -> (Grpc, Found<u64>) {
    let listen = reader.read(&keys::GRPC_LISTEN);
    if !listen.value.ip().is_loopback() && !insecure {
        let problem = listen
            .problem(
                "anyone who reaches this address may query the databases: callers are not \
                      authenticated",
            )
            .instead(
                "Listen on 127.0.0.1, or accept it with --insecure where the network itself \
                      keeps others out.",
            );
        reader.problems.push(problem);
    }
    let request_size = reader.read(&keys::MAX_REQUEST_SIZE).value;
    let response_size = reader.read(&keys::MAX_RESPONSE_SIZE);
    let streams = reader.read(&keys::MAX_CONCURRENT_STREAMS).value;
    let header_size = reader.read(&keys::MAX_HEADER_SIZE).value;
    let grpc = Grpc {
        listen: listen.value,
        max_request_size: to_usize(request_size),
        max_response_size: to_usize(response_size.value),
        max_concurrent_streams: u32::try_from(streams).unwrap_or(u32::MAX),
        max_connections: to_usize(reader.read(&keys::MAX_CONNECTIONS).value),
        keepalive_interval: reader.read(&keys::KEEPALIVE_INTERVAL).value,
        keepalive_timeout: reader.read(&keys::KEEPALIVE_TIMEOUT).value,
        preface_timeout: reader.read(&keys::PREFACE_TIMEOUT).value,
        max_connection_age: reader.read(&keys::MAX_CONNECTION_AGE).value,
        max_header_size: u32::try_from(header_size).unwrap_or(u32::MAX),
        reflection: reader.read(&keys::REFLECTION).value,
        workers: to_nonzero(reader.read_or(&keys::WORKERS, source::cores()).value),
    };
    (grpc, response_size)
}

fn ops(reader: &mut Reader<'_>, grpc: &Grpc) -> Ops {
    let listen = reader.read(&keys::OPS_LISTEN);
    // Port 0 is another port each time.
    if listen.value == grpc.listen && listen.value.port() != 0 {
        let problem =
            listen.problem("grpc.listen is the same address").instead("Choose another port.");
        reader.problems.push(problem);
    }
    Ops {
        listen: listen.value,
        max_connections: to_usize(reader.read(&keys::OPS_MAX_CONNECTIONS).value),
        header_timeout: reader.read(&keys::OPS_HEADER_TIMEOUT).value,
    }
}

fn shutdown(reader: &mut Reader<'_>) -> Shutdown {
    let grace = reader.read(&keys::GRACE);
    let delay = reader.read(&keys::DELAY);
    check(reader, &delay, &grace, |delay, grace| delay <= grace, "is part of");
    Shutdown { grace: grace.value, delay: delay.value }
}

fn default_database(reader: &mut Reader<'_>, named: &Named) -> Option<String> {
    let databases = &named.databases;
    let derived = match databases.first() {
        Some(only) if databases.len() == 1 => Some(only.clone()),
        Some(_) | None => databases.get(MAIN).cloned(),
    };
    let found = reader.read_or(&keys::DEFAULT_DATABASE, derived.unwrap_or_default());
    if databases.contains(&found.value) || found.broken || named.uncertain {
        return Some(found.value);
    }
    let names = list(databases);
    let problem = match found.origin {
        Some(_) => found.problem("there is no such database"),
        None => Problem::new(&found.key, "of several databases, none is named main"),
    };
    reader.problems.push(problem.instead(format!("Name one of {names}.")));
    None
}

fn health(reader: &mut Reader<'_>, named: &Named, default: Option<&str>) -> Health {
    let interval = reader.read(&keys::HEALTH_INTERVAL).value;
    let timeout = reader.read(&keys::HEALTH_TIMEOUT).value;
    let derived = default.map(str::to_owned).into_iter().collect();
    let require = reader.read_or(&keys::HEALTH_REQUIRE, derived);
    let is_missed = |name: &&String| !named.uncertain && !named.databases.contains(*name);
    // When the default database is wrong, that is reported as such.
    for name in require.value.iter().filter(is_missed).filter(|_| require.origin.is_some()) {
        let problem = require.problem(format!("there is no database named {name}"));
        reader.problems.push(problem.instead(format!("Name some of {}.", list(&named.databases))));
    }
    Health { interval, timeout, require: require.value }
}

fn telemetry(reader: &mut Reader<'_>, environment: &Environment) -> Telemetry {
    let log_format = reader.read_or(&keys::LOG_FORMAT, None).value;
    let log_filter = reader.read(&keys::LOG_FILTER);
    let parsed = tracing_subscriber::EnvFilter::builder().parse(&log_filter.value);
    if let Err(error) = parsed {
        let problem = log_filter.problem(format!("this is not a filter of logs: {error}"));
        reader.problems.push(
            problem.instead("Write a level, or levels by module: \"info,rowgate::pool=debug\"."),
        );
    }
    let slow_query = reader.read(&keys::SLOW_QUERY).value;
    let otel = otel::read(environment, &mut reader.warnings);
    Telemetry { log_format, log_filter: log_filter.value, slow_query, otel }
}

fn database(
    reader: &mut Reader<'_>,
    environment: &Environment,
    otherwise: Option<Written>,
    response_size: &Found<u64>,
    idempotency: &Idempotency,
) -> Option<Database> {
    let target = target::read(reader, environment, otherwise);
    let max_deadline = reader.read(&keys::MAX_DEADLINE);
    let default_deadline = keys::DEFAULT_DEADLINE_VALUE.min(max_deadline.value);
    let default_deadline = reader.read_or(&keys::DEFAULT_DEADLINE, default_deadline);
    check(
        reader,
        &default_deadline,
        &max_deadline,
        |default, max| default <= max,
        "must not exceed",
    );
    let statement_timeout = max_deadline.value.saturating_add(BACKSTOP);
    // A unary result and its envelope fit into one response.
    let max_bytes = keys::MAX_BYTES_VALUE.min(response_size.value / 4 * 3);
    let statement_timeout = reader.read_or(&keys::STATEMENT_TIMEOUT, statement_timeout).value;
    let lock_timeout = reader.read(&keys::LOCK_TIMEOUT).value;
    let max_rows = reader.read(&keys::MAX_ROWS).value;
    let max_bytes = reader.read_or(&keys::MAX_BYTES, max_bytes);
    check(
        reader,
        &max_bytes,
        response_size,
        |bytes, response| bytes < response,
        "must be less than",
    );
    Some(Database {
        default_deadline: default_deadline.value,
        max_deadline: max_deadline.value,
        statement_timeout,
        lock_timeout,
        max_rows,
        max_bytes: max_bytes.value,
        max_row_size: to_usize(reader.read(&keys::MAX_ROW_SIZE).value),
        statement_cache: to_nonzero(reader.read(&keys::STATEMENT_CACHE).value),
        catalog_ttl: reader.read(&keys::CATALOG_TTL).value,
        error_details: reader.read(&keys::ERROR_DETAILS).value,
        max_batch: to_usize(reader.read(&keys::MAX_BATCH).value),
        pool: pool(reader),
        retry: retry(reader),
        breaker: breaker(reader),
        transaction: TransactionSettings {
            idle_timeout: reader.read(&keys::IDLE_TIMEOUT).value,
            max_duration: reader.read(&keys::MAX_DURATION).value,
        },
        idempotency: idempotency.clone(),
        target: target?,
    })
}

fn retry(reader: &mut Reader<'_>) -> RetrySettings {
    RetrySettings {
        max_attempts: u32::try_from(reader.read(&keys::MAX_ATTEMPTS).value).unwrap_or(u32::MAX),
        initial_backoff: reader.read(&keys::INITIAL_BACKOFF).value,
        max_backoff: reader.read(&keys::MAX_BACKOFF).value,
        budget: reader.read(&keys::BUDGET).value,
        conflict_initial_backoff: reader.read(&keys::CONFLICT_INITIAL_BACKOFF).value,
        conflict_max_backoff: reader.read(&keys::CONFLICT_MAX_BACKOFF).value,
    }
}

fn breaker(reader: &mut Reader<'_>) -> BreakerSettings {
    let failures = reader.read(&keys::BREAKER_FAILURES).value;
    BreakerSettings {
        failures: u32::try_from(failures).unwrap_or(u32::MAX),
        probe_interval: reader.read(&keys::PROBE_INTERVAL).value,
    }
}

fn pool(reader: &mut Reader<'_>) -> PoolSettings {
    let max = reader.read(&keys::POOL_MAX);
    let min = reader.read_or(&keys::POOL_MIN, keys::POOL_MIN_VALUE.min(max.value));
    check(reader, &min, &max, |min, max| min <= max, "must not exceed");
    PoolSettings {
        min: to_usize(min.value),
        max: to_nonzero(max.value),
        acquire_timeout: reader.read(&keys::ACQUIRE_TIMEOUT).value,
        connect_timeout: reader.read(&keys::CONNECT_TIMEOUT).value,
        max_waiting: to_usize(reader.read(&keys::MAX_WAITING).value),
        overflow: to_usize(reader.read(&keys::POOL_OVERFLOW).value),
        idle_timeout: reader.read(&keys::POOL_IDLE_TIMEOUT).value,
        max_lifetime: reader.read(&keys::MAX_LIFETIME).value,
        lifetime_jitter: reader.read(&keys::LIFETIME_JITTER).value,
        validate_after_idle: reader.read(&keys::VALIDATE_AFTER_IDLE).value,
        leak_threshold: reader.read(&keys::LEAK_THRESHOLD).value,
        warm_up: reader.read(&keys::WARM_UP).value,
        transaction_share: reader.read(&keys::TRANSACTION_SHARE).value,
    }
}

/// Checks a key against another, unless one of them is known to be wrong.
fn check<T>(
    reader: &mut Reader<'_>,
    found: &Found<T>,
    other: &Found<T>,
    holds: impl Fn(&T, &T) -> bool,
    relation: &str,
) {
    if found.broken || other.broken || holds(&found.value, &other.value) {
        return;
    }
    let problem = found.problem(format!("this {relation} {}, which is {}", other.key, other.shown));
    reader.problems.push(problem.instead("Change one of them."));
}

fn list(databases: &BTreeSet<String>) -> String {
    databases.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// For numbers that their key bounds far below.
fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// For numbers whose key starts at 1.
fn to_nonzero(number: u64) -> NonZeroUsize {
    NonZeroUsize::new(to_usize(number)).unwrap_or(NonZeroUsize::MIN)
}
