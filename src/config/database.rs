//! `databases.NAME.*`: one database, its pool and its limits.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use super::origin::Origin;
use super::secret::Secret;

/// One database.
#[derive(Debug, Clone)]
pub struct Database {
    /// `url`: which backend, and where.
    pub target: Target,
    /// `default_deadline`: of a unary call that sends none.
    pub default_deadline: Duration,
    /// `max_deadline`: of any call.
    pub max_deadline: Duration,
    /// `statement_timeout`: the database's own backstop. Default: `max_deadline` + 5 s.
    pub statement_timeout: Duration,
    /// `lock_timeout`: the same, for waiting on a lock.
    pub lock_timeout: Duration,
    /// `max_rows`: of a unary result.
    pub max_rows: u64,
    /// `max_bytes`: of a unary result, encoded.
    pub max_bytes: u64,
    /// `max_row_size`: the largest row taken from the database, in bytes.
    pub max_row_size: usize,
    /// `statement_cache`: prepared statements kept on each connection.
    pub statement_cache: NonZeroUsize,
    /// `catalog_ttl`: how long it is believed what PostgreSQL's catalogs say of a statement.
    pub catalog_ttl: Duration,
    /// `error_details`: whether callers may see what errors quote from rows.
    pub error_details: ErrorDetails,
    /// `max_batch`: statements of a batch.
    pub max_batch: usize,
    /// `pool.*`
    pub pool: PoolSettings,
    /// `retry.*`
    pub retry: RetrySettings,
    /// `breaker.*`
    pub breaker: BreakerSettings,
    /// `transaction.*`
    pub transaction: TransactionSettings,
    /// `idempotency.*`, the same for all databases.
    pub idempotency: Idempotency,
}

/// `databases.NAME.retry.*`
#[derive(Debug, Clone)]
pub struct RetrySettings {
    /// `max_attempts`: for lost and refused connections, the first included.
    pub max_attempts: u32,
    /// `initial_backoff`: the longest pause before the second attempt; it doubles from there.
    pub initial_backoff: Duration,
    /// `max_backoff`: the longest pause of all.
    pub max_backoff: Duration,
    /// `budget`: retries for each call, on average and at most.
    pub budget: f64,
    /// `conflict_initial_backoff`: as `initial_backoff`, after a serialization failure or a deadlock.
    pub conflict_initial_backoff: Duration,
    /// `conflict_max_backoff`: as `max_backoff`, after these.
    pub conflict_max_backoff: Duration,
}

/// `databases.NAME.breaker.*`
#[derive(Debug, Clone, Copy)]
pub struct BreakerSettings {
    /// `failures`: attempts to connect that fail in a row, after which calls do not try any more.
    pub failures: u32,
    /// `probe_interval`: from one attempt to the next of the one task that tries then.
    pub probe_interval: Duration,
}

/// `databases.NAME.transaction.*`: interactive transactions.
#[derive(Debug, Clone, Copy)]
pub struct TransactionSettings {
    /// `idle_timeout`: the longest wait for the next command.
    pub idle_timeout: Duration,
    /// `max_duration`: of the whole transaction.
    pub max_duration: Duration,
}

/// `idempotency.*`
#[derive(Debug, Clone)]
pub struct Idempotency {
    /// `table`: where keys are kept, in each database that has some.
    pub table: String,
    /// `retention`: how long.
    pub retention: Duration,
    /// `create_table`: make the table when a database is first reached that needs one.
    pub create_table: bool,
}

/// What errors may tell callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorDetails {
    /// No data of rows: no DETAIL, no literals in messages.
    Safe,
    /// Everything the database says.
    Full,
}

/// `databases.NAME.pool.*`
#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// `min`: connections that are kept open.
    pub min: usize,
    /// `max`: connections at most, but for `overflow`.
    pub max: NonZeroUsize,
    /// `overflow`: connections beyond `max`, closed when they come back.
    pub overflow: usize,
    /// `acquire_timeout`: the longest wait for one.
    pub acquire_timeout: Duration,
    /// `connect_timeout`: TCP, TLS, authentication and first checks together.
    pub connect_timeout: Duration,
    /// `max_waiting`: callers that may wait at once.
    pub max_waiting: usize,
    /// `idle_timeout`: after how long without work a connection over `min` is closed; zero: never.
    pub idle_timeout: Duration,
    /// `max_lifetime`: how old a connection gets; zero: as old as it likes.
    pub max_lifetime: Duration,
    /// `lifetime_jitter`: by which share of `max_lifetime` it may end earlier.
    pub lifetime_jitter: f64,
    /// `validate_after_idle`: after how long without work a connection is asked before it is lent.
    pub validate_after_idle: Duration,
    /// `leak_threshold`: after how long a checkout is reported; zero: never.
    pub leak_threshold: Duration,
    /// `warm_up`: open `min` before readiness.
    pub warm_up: bool,
    /// `transaction_share`: of `max`, held by interactive transactions at most; one connection at least.
    pub transaction_share: f64,
}

/// Which backend, and where.
#[derive(Debug, Clone)]
pub enum Target {
    /// `postgres://…`
    Postgres(Box<PostgresTarget>),
    /// `sqlite:path`
    Sqlite(SqliteTarget),
}

/// PostgreSQL servers, a database on them, and who we are there.
#[derive(Debug, Clone)]
pub struct PostgresTarget {
    /// Where it may be, at least one place: tried in this order.
    pub servers: Vec<Server>,
    /// `target_session_attrs`: which of them will do. Default: read-write when there are several.
    pub session: TargetSession,
    /// `load_balance_hosts`: whether they are tried in random order.
    pub balance: bool,
    /// The role.
    pub user: String,
    /// The database's name on the server.
    pub dbname: String,
    /// `application_name`, as `pg_stat_activity` shows it.
    pub application_name: String,
    /// `tls.*`
    pub tls: Tls,
    /// Reads again what is kept in files.
    pub origin: Origin,
}

/// One of the places where a database may be.
#[derive(Debug, Clone)]
pub struct Server {
    /// The host.
    pub host: Host,
    /// The port; also names the socket in a directory.
    pub port: u16,
    /// The role's password there: the password file may have another for each.
    pub password: Option<Secret>,
}

impl Server {
    /// Whether this is the same place.
    #[must_use]
    pub fn is_at(&self, other: &Self) -> bool {
        (&self.host, self.port) == (&other.host, other.port)
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Tcp(host) if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            Host::Tcp(host) => write!(f, "{host}:{}", self.port),
            Host::Unix(directory) => write!(f, "{}:{}", directory.display(), self.port),
        }
    }
}

/// Which of several servers will do: libpq's `target_session_attrs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetSession {
    /// Any.
    Any,
    /// One whose sessions may write: no standby, and transactions are not read-only by default.
    ReadWrite,
    /// One whose sessions may not.
    ReadOnly,
    /// One that is no standby.
    Primary,
    /// A standby.
    Standby,
    /// A standby, or any when there is none.
    PreferStandby,
}

impl TargetSession {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Any,
        Self::ReadWrite,
        Self::ReadOnly,
        Self::Primary,
        Self::Standby,
        Self::PreferStandby,
    ];

    /// As libpq writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::ReadWrite => "read-write",
            Self::ReadOnly => "read-only",
            Self::Primary => "primary",
            Self::Standby => "standby",
            Self::PreferStandby => "prefer-standby",
        }
    }
}

/// Where a PostgreSQL server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A host name or address.
    Tcp(String),
    /// The directory of a unix socket.
    Unix(PathBuf),
}

/// `databases.NAME.tls.*`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// `tls.mode`
    pub mode: TlsMode,
    /// `tls.ca`: PEM certificates; `None`: the system's.
    pub ca: Option<PemFile>,
    /// `tls.cert`: our own certificate chain, PEM.
    pub cert: Option<PemFile>,
    /// `tls.key`: its private key, PEM.
    pub key: Option<PemFile>,
}

/// A PEM file, read when the configuration was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PemFile {
    /// Where it was read from, for messages.
    pub path: PathBuf,
    /// Its text.
    pub pem: Secret,
}

/// libpq's `sslmode`, less the modes that fall back to plain text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// Plain text.
    Disable,
    /// Encrypted, the server's certificate unchecked.
    Require,
    /// The certificate's chain is checked.
    VerifyCa,
    /// The chain and the host name are checked.
    VerifyFull,
}

/// A SQLite database.
#[derive(Debug, Clone)]
pub struct SqliteTarget {
    /// The file; it is created when it does not exist.
    pub path: PathBuf,
}
