//! Every key there is, with its default and its bounds.
//!
//! A key is added here, with its field, where `assemble` reads it, in deploy/rowgate.example.toml and
//! in docs/CONFIGURATION.md: tests compare them.

use std::time::Duration;

use super::database::{ErrorDetails, TlsMode};
use super::sections::LogFormat;
use super::shape::{Address, Names, OneOf, Pem, Share, Size, Span, Switch, Text, Url, Whole};
use super::table::Table;

/// A key: its name, for a database below `databases.NAME.`; how it is written; its default as it is
/// written, empty when it has none and `auto` when the default depends on other things.
pub(crate) struct Key<S> {
    pub(crate) name: &'static str,
    pub(crate) shape: S,
    pub(crate) default: &'static str,
}

/// What the default is called that depends on other things.
pub(crate) const AUTO: &str = "auto";

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const KIB: u64 = 1 << 10;
const GIB: u64 = 1 << 30;

const fn key<S>(name: &'static str, default: &'static str, shape: S) -> Key<S> {
    Key { name, shape, default }
}

const fn span(min: Duration, max: Duration) -> Span {
    Span { min, max }
}

pub(crate) const GRPC_LISTEN: Key<Address> = key("grpc.listen", "127.0.0.1:50051", Address);
pub(crate) const MAX_REQUEST_SIZE: Key<Size> =
    key("grpc.max_request_size", "4MiB", Size { min: KIB, max: GIB });
// A stream's batches are up to 256 KiB.
pub(crate) const MAX_RESPONSE_SIZE: Key<Size> =
    key("grpc.max_response_size", "4MiB", Size { min: 512 * KIB, max: GIB });
pub(crate) const MAX_CONCURRENT_STREAMS: Key<Whole> =
    key("grpc.max_concurrent_streams", "200", Whole { min: 1, max: 65_535 });
pub(crate) const MAX_CONNECTIONS: Key<Whole> =
    key("grpc.max_connections", "10000", Whole { min: 1, max: 1_000_000 });
pub(crate) const KEEPALIVE_INTERVAL: Key<Span> =
    key("grpc.keepalive_interval", "20s", span(SECOND, HOUR));
pub(crate) const KEEPALIVE_TIMEOUT: Key<Span> =
    key("grpc.keepalive_timeout", "10s", span(SECOND, HOUR));
pub(crate) const PREFACE_TIMEOUT: Key<Span> =
    key("grpc.preface_timeout", "10s", span(Duration::from_millis(100), HOUR));
pub(crate) const MAX_CONNECTION_AGE: Key<Span> =
    key("grpc.max_connection_age", "30m", span(SECOND, DAY));
pub(crate) const MAX_HEADER_SIZE: Key<Size> =
    key("grpc.max_header_size", "16KiB", Size { min: KIB, max: 1024 * KIB });
pub(crate) const REFLECTION: Key<Switch> = key("grpc.reflection", "true", Switch);
pub(crate) const WORKERS: Key<Whole> = key("grpc.workers", AUTO, Whole { min: 1, max: 256 });

pub(crate) const OPS_LISTEN: Key<Address> = key("ops.listen", "127.0.0.1:9464", Address);
pub(crate) const OPS_MAX_CONNECTIONS: Key<Whole> =
    key("ops.max_connections", "128", Whole { min: 1, max: 65_535 });
pub(crate) const OPS_HEADER_TIMEOUT: Key<Span> =
    key("ops.header_timeout", "10s", span(Duration::from_millis(100), HOUR));

pub(crate) const GRACE: Key<Span> = key("shutdown.grace", "25s", span(Duration::ZERO, HOUR));
pub(crate) const DELAY: Key<Span> = key("shutdown.delay", "0s", span(Duration::ZERO, HOUR));

pub(crate) const STALL_TIMEOUT: Key<Span> =
    key("stream.stall_timeout", "10s", span(Duration::from_millis(100), HOUR));

pub(crate) const IDEMPOTENCY_TABLE: Key<Table> =
    key("idempotency.table", "rowgate_idempotency", Table);
pub(crate) const IDEMPOTENCY_RETENTION: Key<Span> = key(
    "idempotency.retention",
    "24h",
    span(Duration::from_secs(60), Duration::from_secs(366 * 24 * 3600)),
);

pub(crate) const IDEMPOTENCY_CREATE_TABLE: Key<Switch> =
    key("idempotency.create_table", "false", Switch);

pub(crate) const HEALTH_INTERVAL: Key<Span> =
    key("health.interval", "5s", span(Duration::from_millis(100), HOUR));
pub(crate) const HEALTH_TIMEOUT: Key<Span> =
    key("health.timeout", "2s", span(Duration::from_millis(10), HOUR));
pub(crate) const HEALTH_REQUIRE: Key<Names> = key("health.require", AUTO, Names);

const LOG_FORMATS: &[(&str, Option<LogFormat>)] =
    &[(AUTO, None), ("text", Some(LogFormat::Text)), ("json", Some(LogFormat::Json))];
pub(crate) const LOG_FORMAT: Key<OneOf<Option<LogFormat>>> =
    key("telemetry.log_format", AUTO, OneOf(LOG_FORMATS));
pub(crate) const LOG_FILTER: Key<Text> = key("telemetry.log_filter", "info", Text);
pub(crate) const SLOW_QUERY: Key<Span> =
    key("telemetry.slow_query", "1s", span(Duration::ZERO, HOUR));

pub(crate) const DEFAULT_DATABASE: Key<Text> = key("default_database", AUTO, Text);

/// The section above the databases.
pub(crate) const DATABASES: &str = "databases";

pub(crate) const URL: Key<Url> = key("url", "sqlite:rowgate.db", Url);
pub(crate) const TLS_MODES: &[(&str, Option<TlsMode>)] = &[
    (AUTO, None),
    ("disable", Some(TlsMode::Disable)),
    ("require", Some(TlsMode::Require)),
    ("verify-ca", Some(TlsMode::VerifyCa)),
    ("verify-full", Some(TlsMode::VerifyFull)),
];
pub(crate) const TLS_MODE: Key<OneOf<Option<TlsMode>>> = key("tls.mode", AUTO, OneOf(TLS_MODES));
pub(crate) const TLS_CA: Key<Pem> = key("tls.ca", "", Pem);
pub(crate) const TLS_CERT: Key<Pem> = key("tls.cert", "", Pem);
pub(crate) const TLS_KEY: Key<Pem> = key("tls.key", "", Pem);
pub(crate) const DEFAULT_DEADLINE: Key<Span> = key("default_deadline", AUTO, span(MS, DAY));
/// Unless `max_deadline` is shorter.
pub(crate) const DEFAULT_DEADLINE_VALUE: Duration = Duration::from_secs(30);
pub(crate) const MAX_DEADLINE: Key<Span> = key("max_deadline", "5m", span(MS, DAY));
// PostgreSQL keeps both in milliseconds, in 31 bits: 24.8 days.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 24 * 3600);
pub(crate) const STATEMENT_TIMEOUT: Key<Span> =
    key("statement_timeout", AUTO, span(MS, LONGEST_TIMEOUT));
pub(crate) const LOCK_TIMEOUT: Key<Span> = key("lock_timeout", "5s", span(MS, LONGEST_TIMEOUT));
pub(crate) const MAX_ROWS: Key<Whole> =
    key("max_rows", "10000", Whole { min: 1, max: 1_000_000_000 });
pub(crate) const MAX_BYTES: Key<Size> = key("max_bytes", AUTO, Size { min: KIB, max: GIB });
/// Unless it is more than three quarters of `grpc.max_response_size`.
pub(crate) const MAX_BYTES_VALUE: u64 = 3 << 20;
pub(crate) const MAX_ROW_SIZE: Key<Size> =
    key("max_row_size", "16MiB", Size { min: KIB, max: GIB });
pub(crate) const STATEMENT_CACHE: Key<Whole> =
    key("statement_cache", "256", Whole { min: 1, max: 65_536 });
pub(crate) const CATALOG_TTL: Key<Span> = key("catalog_ttl", "10s", span(Duration::ZERO, HOUR));
pub(crate) const ERROR_DETAILS: Key<OneOf<ErrorDetails>> = key(
    "error_details",
    "safe",
    OneOf(&[("safe", ErrorDetails::Safe), ("full", ErrorDetails::Full)]),
);

pub(crate) const POOL_MIN: Key<Whole> = key("pool.min", AUTO, Whole { min: 0, max: 10_000 });
/// Unless `pool.max` is less.
pub(crate) const POOL_MIN_VALUE: u64 = 5;
pub(crate) const POOL_MAX: Key<Whole> = key("pool.max", "20", Whole { min: 1, max: 10_000 });
pub(crate) const ACQUIRE_TIMEOUT: Key<Span> = key("pool.acquire_timeout", "10s", span(MS, HOUR));
pub(crate) const CONNECT_TIMEOUT: Key<Span> =
    key("pool.connect_timeout", "5s", span(Duration::from_millis(10), HOUR));
pub(crate) const MAX_WAITING: Key<Whole> =
    key("pool.max_waiting", "1000", Whole { min: 0, max: 1_000_000 });
pub(crate) const POOL_OVERFLOW: Key<Whole> =
    key("pool.overflow", "0", Whole { min: 0, max: 10_000 });
pub(crate) const POOL_IDLE_TIMEOUT: Key<Span> =
    key("pool.idle_timeout", "1m", span(Duration::ZERO, DAY));
pub(crate) const MAX_LIFETIME: Key<Span> =
    key("pool.max_lifetime", "1h", span(Duration::ZERO, LONGEST_TIMEOUT));
pub(crate) const LIFETIME_JITTER: Key<Share> = key("pool.lifetime_jitter", "0.1", Share);
pub(crate) const VALIDATE_AFTER_IDLE: Key<Span> =
    key("pool.validate_after_idle", "5s", span(Duration::ZERO, DAY));
pub(crate) const LEAK_THRESHOLD: Key<Span> =
    key("pool.leak_threshold", "1m", span(Duration::ZERO, DAY));
pub(crate) const WARM_UP: Key<Switch> = key("pool.warm_up", "true", Switch);
pub(crate) const TRANSACTION_SHARE: Key<Share> = key("pool.transaction_share", "0.8", Share);

pub(crate) const MAX_ATTEMPTS: Key<Whole> =
    key("retry.max_attempts", "3", Whole { min: 1, max: 100 });
pub(crate) const INITIAL_BACKOFF: Key<Span> = key("retry.initial_backoff", "100ms", span(MS, HOUR));
pub(crate) const MAX_BACKOFF: Key<Span> = key("retry.max_backoff", "30s", span(MS, HOUR));
pub(crate) const BUDGET: Key<Share> = key("retry.budget", "0.1", Share);
pub(crate) const CONFLICT_INITIAL_BACKOFF: Key<Span> =
    key("retry.conflict_initial_backoff", "2ms", span(MS, HOUR));
pub(crate) const CONFLICT_MAX_BACKOFF: Key<Span> =
    key("retry.conflict_max_backoff", "100ms", span(MS, HOUR));

pub(crate) const BREAKER_FAILURES: Key<Whole> =
    key("breaker.failures", "5", Whole { min: 1, max: 1_000 });
pub(crate) const PROBE_INTERVAL: Key<Span> =
    key("breaker.probe_interval", "250ms", span(Duration::from_millis(10), HOUR));

pub(crate) const MAX_BATCH: Key<Whole> = key("max_batch", "1000", Whole { min: 1, max: 100_000 });
pub(crate) const IDLE_TIMEOUT: Key<Span> = key("transaction.idle_timeout", "30s", span(MS, HOUR));
pub(crate) const MAX_DURATION: Key<Span> = key("transaction.max_duration", "5m", span(MS, DAY));

/// The keys outside `databases`, in the order of the documentation.
pub(crate) const GLOBAL: &[&str] = &[
    GRPC_LISTEN.name,
    MAX_REQUEST_SIZE.name,
    MAX_RESPONSE_SIZE.name,
    MAX_CONCURRENT_STREAMS.name,
    MAX_CONNECTIONS.name,
    KEEPALIVE_INTERVAL.name,
    KEEPALIVE_TIMEOUT.name,
    PREFACE_TIMEOUT.name,
    MAX_CONNECTION_AGE.name,
    MAX_HEADER_SIZE.name,
    REFLECTION.name,
    WORKERS.name,
    OPS_LISTEN.name,
    OPS_MAX_CONNECTIONS.name,
    OPS_HEADER_TIMEOUT.name,
    GRACE.name,
    DELAY.name,
    STALL_TIMEOUT.name,
    IDEMPOTENCY_TABLE.name,
    IDEMPOTENCY_RETENTION.name,
    IDEMPOTENCY_CREATE_TABLE.name,
    HEALTH_INTERVAL.name,
    HEALTH_TIMEOUT.name,
    HEALTH_REQUIRE.name,
    LOG_FORMAT.name,
    LOG_FILTER.name,
    SLOW_QUERY.name,
    DEFAULT_DATABASE.name,
];

/// The keys of a database, below `databases.NAME.`.
pub(crate) const DATABASE: &[&str] = &[
    URL.name,
    TLS_MODE.name,
    TLS_CA.name,
    TLS_CERT.name,
    TLS_KEY.name,
    DEFAULT_DEADLINE.name,
    MAX_DEADLINE.name,
    STATEMENT_TIMEOUT.name,
    LOCK_TIMEOUT.name,
    MAX_ROWS.name,
    MAX_BYTES.name,
    MAX_ROW_SIZE.name,
    MAX_BATCH.name,
    STATEMENT_CACHE.name,
    CATALOG_TTL.name,
    ERROR_DETAILS.name,
    POOL_MIN.name,
    POOL_MAX.name,
    ACQUIRE_TIMEOUT.name,
    CONNECT_TIMEOUT.name,
    MAX_WAITING.name,
    POOL_OVERFLOW.name,
    POOL_IDLE_TIMEOUT.name,
    MAX_LIFETIME.name,
    LIFETIME_JITTER.name,
    VALIDATE_AFTER_IDLE.name,
    LEAK_THRESHOLD.name,
    WARM_UP.name,
    TRANSACTION_SHARE.name,
    MAX_ATTEMPTS.name,
    INITIAL_BACKOFF.name,
    MAX_BACKOFF.name,
    BUDGET.name,
    CONFLICT_INITIAL_BACKOFF.name,
    CONFLICT_MAX_BACKOFF.name,
    BREAKER_FAILURES.name,
    PROBE_INTERVAL.name,
    IDLE_TIMEOUT.name,
    MAX_DURATION.name,
];
