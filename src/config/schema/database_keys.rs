//! `databases.NAME.*`: one database, its connections and its limits.

use std::num::NonZeroUsize;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::database_target::{AuthMethod, PemFile, Target, TlsMode};
use super::super::initial_settings::InitialSettings;
use super::super::source;
use super::claims_keys::ClaimsSettings;
use super::listen_keys::ListenSettings;
use super::section::*;
use super::server_keys::Idempotency;

/// The default of `default_deadline`, unless `max_deadline` is shorter.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(30);

/// The default of `statement_timeout` is longer than `max_deadline` by this.
const BACKSTOP: Duration = Duration::from_secs(5);

/// The default of `failover_wait` where there are several servers.
const FAILOVER_WAIT: Duration = Duration::from_secs(10);

/// The default of `max_bytes`, unless it is more than ¾ of `grpc.max_response_size`.
const MAX_BYTES: usize = 3 << 20;

/// The largest row that a command reads: the content of a file of migrations is one.
const LARGEST_ROW: usize = 1 << 30;

/// PostgreSQL stores both timeouts in milliseconds, in 31 bits.
const LONGEST_TIMEOUT: &str = "24d";

section! {
    /// A database. There may be several; a request chooses one by its name: a letter, then up to 62
    /// lower-case letters, digits, `-` and `_`.
    #[derive(Debug, Clone)]
    pub(crate) struct UrlKey in "databases.NAME" (reader) {
        /// The database: `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=…`, `mysql://USER:PASSWORD@HOST:PORT/DATABASE?ssl-mode=…`
        /// for MySQL and MariaDB, or `sqlite:PATH`. `DATABASE_URL`, or `PGHOST`, `PGUSER` …, or `MYSQL_HOST` …, define
        /// `main` when no database is configured.
        url: Option<String> = Url, "`sqlite:rowgate.db` for `main`, otherwise none" => None, REREAD;
        /// The database as its owner reaches it, for the commands that change or copy it, as `rowgate migrate` and
        /// `rowgate schema`: a URL as `url`, of the same kind of database, past any pooler. `tls.*` is for both. The server
        /// itself never uses it: give it to the commands alone, as by `ROWGATE__DATABASES__MAIN__ADMIN_URL`.
        admin_url: Option<String> = OtherUrl, "`url`" => None;
    }
}

section! {
    /// One database.
    #[derive(Debug, Clone)]
    pub struct Database in "databases.NAME" (
        reader, target: Target, admin: Option<Target>, max_response_size: usize, idempotency: &Idempotency
    ) {
        /// The longest deadline of any call.
        max_deadline: Duration = Duration("1ms", "24h"), "5m";
        /// The deadline of a unary call that has none. It must not exceed `max_deadline`.
        default_deadline: Duration = Duration("1ms", "24h"),
            "`30s`, or `max_deadline` when that is shorter" => DEFAULT_DEADLINE.min(max_deadline);
        /// The database's own timeout for a statement, in case everything else fails.
        statement_timeout: Duration = Duration("1ms", LONGEST_TIMEOUT),
            "`max_deadline` + `5s`" => max_deadline.saturating_add(BACKSTOP);
        /// The database's own timeout for waiting for a lock.
        lock_timeout: Duration = Duration("1ms", LONGEST_TIMEOUT), "5s";
        /// The rows of a unary result.
        max_rows: u64 = Integer(1, 1_000_000_000), "10000";
        /// The encoded bytes of a unary result. It must be less than `grpc.max_response_size`.
        max_bytes: u64 = Size("1KiB", "1GiB"),
            "`3MiB`, or ¾ of `grpc.max_response_size` when that is less"
            => u64::try_from(MAX_BYTES.min(max_response_size / 4 * 3)).unwrap_or(u64::MAX);
        /// The largest row that is read from the database, or copied into it as values or Arrow (into SQLite and MySQL
        /// also as text), and the largest record batch of a CopyIn of Arrow.
        max_row_size: usize = Size("1KiB", "1GiB"), "16MiB";
        /// The longest error or notice that is taken from PostgreSQL as it is. Of a longer one each field is cut
        /// to a sixteenth of this.
        max_report_size: usize = Size("16KiB", "1GiB"), "64KiB";
        /// The largest message of PostgreSQL beside rows, errors and notices. A connection that gets a larger
        /// one is closed.
        max_message_size: usize = Size("512KiB", "1GiB"), "1MiB";
        /// The memory that SQLite may use in the whole process, for all its databases: the smallest applies.
        /// A statement that needs more fails with OUT_OF_MEMORY.
        sqlite_heap_limit: u64 = Size("16MiB", "1024GiB"), "256MiB";
        /// The time after the end of its call at which a SQLite connection that does not stop is given up: some
        /// functions cannot be interrupted. Another connection is opened for the next call, and the thread ends
        /// with its function. The connection that writes is never given up.
        sqlite_unresponsive_after: Duration = Duration("10ms", "1h"), "1s";
        /// The SQLite connections that may be given up at a time. Beyond them callers wait.
        sqlite_max_given_up: usize = Integer(0, 10_000), "20";
        /// The writes that may share one commit of SQLite's, and so one sync of the file: those that wait while
        /// another one runs. Each has its own outcome. `1` commits each write by itself.
        sqlite_group_max: usize = Integer(1, 10_000), "64";
        /// The time in which writes join those whose commit they share, and run; what is not done by then runs
        /// by itself. A call with less than ten times as much time left shares none.
        sqlite_group_time: Duration = Duration("1ms", "1s"), "20ms";
        /// The interval at which a server maintains SQLite's file, if anything was written to it: the statistics of the planner
        /// (`PRAGMA optimize`), free pages (`incremental_vacuum`, of a file with `auto_vacuum = INCREMENTAL`), the write-ahead log.
        /// It takes from a half to one and a half of it. `"0s"` means never.
        sqlite_maintenance_interval: Duration = Duration("0s", LONGEST_TIMEOUT), "1h";
        /// The longest time of one such run. It writes in steps of about four milliseconds, for which callers' writes wait; what is
        /// left is for the next run.
        sqlite_maintenance_time: Duration = Duration("10ms", "1h"), "1s";
        /// The size of SQLite's write-ahead log from which maintenance empties it, instead of leaving the file to be used again.
        sqlite_log_limit: u64 = Size("64KiB", "1024GiB"), "16MiB";
        /// The statements of one batch.
        max_batch: usize = Integer(1, 100_000), "1000";
        /// The prepared statements that each connection keeps.
        statement_cache: NonZeroUsize = Integer(1, 65_536), "256";
        /// The memory of the prepared statements that each connection to PostgreSQL, MySQL or MariaDB keeps,
        /// beside their number. A text longer than a 256th of it is prepared for each run.
        statement_cache_size: usize = Size("64KiB", "1GiB"), "4MiB";
        /// The memory of what is known of the texts of PostgreSQL's statements, and as much again of what the
        /// catalogs say of their functions and tables.
        analysis_cache: u64 = Size("64KiB", "1GiB"), "8MiB";
        /// The age at which PostgreSQL's prepared statements, and what is known of the types in them, are made
        /// anew. After a definition was changed by a statement that passed through this process they are made
        /// anew at once; one that was changed past it, or by a function, may keep its old meaning for so long:
        /// which function a call means, the CHECK and the default of a domain, the fields of a type. `"0s"`
        /// prepares each statement anew.
        statement_ttl: Duration = Duration("0s", "24h"), "1m";
        /// The time for which PostgreSQL's catalog entries of the functions, views, triggers and defaults
        /// behind a statement are cached. They decide if its session is reset afterwards: a trigger or
        /// function that begins to change session settings may affect the next caller for so long.
        /// `"0s"` reads them before each statement.
        catalog_ttl: Duration = Duration("0s", "1h"), "10s";
        /// The longest wait of a call for the next primary of PostgreSQL or MySQL, when none of the servers will do although
        /// one did before: nothing of the call was applied, and it waits within its deadline, in the order of
        /// coming and at most `pool.max_waiting` of them, instead of failing. `"0s"` turns it off.
        failover_wait: Duration = Duration("0s", "1h"),
            "`10s` when `url` names several servers, otherwise `0s`" => failover_wait(&target);
        /// PostgreSQL's settings that every session begins with, and is brought back to: `settings.search_path = "app, public"`,
        /// `settings.plan_cache_mode = "force_custom_plan"`. They win over ALTER ROLE and ALTER DATABASE. A custom
        /// setting that callers give a value with SET LOCAL, as row security does, belongs here too, as in
        /// `settings.tenant.id = ""`: otherwise each such call costs a connection. Not behind a pooler.
        settings: InitialSettings = Settings, "{}";
        /// PostgreSQL's settings that calls may set for their own transaction (`options.settings`), by their names, or by
        /// their starts with a star: `["work_mem", "app.*"]`. Where callers are configured, each also needs
        /// `callers.NAME.settings`. A custom setting whose whole name is listed begins empty in every session; one that is
        /// allowed by its start costs a connection for each call that sets it. See docs/SECURITY.md.
        settings_allowed: Vec<String> = SettingNames, "none" => Vec::new();
        /// The settings of one call.
        max_settings: usize = Integer(1, 1000), "16";
        /// The names and values of the settings of one call, together.
        max_settings_size: usize = Size("64B", "1MiB"), "4KiB";
        /// The use of a pooler that is found between Rowgate and PostgreSQL: `allow` does without prepared
        /// statements, transaction tokens and cancels, `refuse` fails. See docs/OPERATIONS.md.
        pooler: PoolerUse = OneOf(&["allow", "refuse"]), "allow";
        /// The ways in which PostgreSQL may ask for the password, as in libpq's `require_auth`: `scram-sha-256`, which does not
        /// reveal it; `md5` and `password`, which do to who reads them; `none`. A server that asks in another way gets
        /// nothing, and the login fails. Tokens of cloud providers are a `password`.
        require_auth: Option<Vec<AuthMethod>> = SomeOf(&["scram-sha-256", "md5", "password", "none"]),
            "all on loopback and Unix sockets, `scram-sha-256,none` elsewhere" => None;
        /// The `sql_mode` of every session of MySQL and MariaDB: names with commas between them. Modes that change how the
        /// text of statements is read (ANSI_QUOTES, NO_BACKSLASH_ESCAPES, PIPES_AS_CONCAT, IGNORE_SPACE and the names of other
        /// databases) are refused: Rowgate would read it otherwise than the server.
        sql_mode: String = SqlMode, "ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION";
        /// The `time_zone` of every session of MySQL and MariaDB, as a distance from UTC. It is what NOW() and the texts
        /// of statements mean; values of TIMESTAMP are the same moments in any.
        time_zone: String = ZoneOffset, "+00:00";
        /// Send several requests to MySQL or MariaDB before the first one's answer, as a batch in one round trip. Turn it off
        /// where a proxy or a server between does not read on, as Aurora with MySQL 5.7.
        pipelining: bool = Bool, "true";
        /// The details of errors that callers get: `safe` leaves out what is quoted from rows, `full` is
        /// all that the database reports.
        error_details: ErrorDetails = OneOf(&["safe", "full"]), "safe";
        /// Statements whose effect is the session's (SET, USE, LISTEN, temporary tables, locks of the session), outside a
        /// Transact, on PostgreSQL, MySQL and MariaDB: `refuse` answers SESSION_STATE, `allow` runs them, and the reset
        /// behind the call removes what they did. It never decides if a session is reset.
        session_statements: SessionStatements = OneOf(&["refuse", "allow"]), "refuse";
        /// The directory of the files of `rowgate migrate`, as `V1__create_orders.sql`.
        migrations: String = Text, "migrations";
    }
    and {
        /// `url` and `tls.*`: which backend, and where.
        target: Target = target;
        /// `admin_url` and `tls.*`: where commands administer it; `None`: at the target.
        admin: Option<Target> = admin;
        /// `pool.*`
        pool: PoolSettings = PoolSettings::read(reader);
        /// `credentials.*`
        credentials: CredentialsCommandSettings = CredentialsCommandSettings::read(reader);
        /// `claims.*`
        claims: ClaimsSettings = ClaimsSettings::read(reader);
        /// `retry.*`
        retry: RetrySettings = RetrySettings::read(reader);
        /// `breaker.*`
        breaker: BreakerSettings = BreakerSettings::read(reader);
        /// `transaction.*`
        transaction: TransactionSettings = TransactionSettings::read(reader);
        /// `listen.*`
        listen: ListenSettings = ListenSettings::read(reader);
        /// `idempotency.*`, the same for all databases.
        idempotency: Idempotency = idempotency.clone();
    }
}

impl Database {
    /// The database as the commands that administer it use it: at `admin_url`, without a timeout of statements, and with
    /// all that errors and rows say.
    #[must_use]
    pub fn administered(&self) -> Self {
        let mut administered = Self {
            statement_timeout: Duration::ZERO,
            error_details: ErrorDetails::Full,
            max_row_size: LARGEST_ROW,
            ..self.clone()
        };
        if let Some(admin) = &self.admin {
            administered.target = admin.clone();
            // They are another login's.
            administered.credentials.command.clear();
        }
        administered
    }
}

/// The default of `failover_wait`: only where there are several servers may another take over, and planned
/// failovers take seconds. A single server that is away is away for nobody knows how long.
fn failover_wait(target: &Target) -> Duration {
    if target.servers().len() > 1 { FAILOVER_WAIT } else { Duration::ZERO }
}

section! {
    /// The encryption of a database's connections, for PostgreSQL, MySQL and MariaDB over TCP only.
    #[derive(Debug, Clone)]
    pub(crate) struct TlsKeys in "databases.NAME.tls" (reader) {
        /// The encryption, and what of the server's certificate is verified: nothing (`require`), its
        /// signature (`verify-ca`), or also the host name (`verify-full`).
        mode: Option<TlsMode> = OneOf(&["disable", "require", "verify-ca", "verify-full"]),
            "`sslmode` or `ssl-mode` of the URL; without it `disable` on loopback, `verify-full` elsewhere" => None;
        /// A PEM file with the trusted certificate authorities.
        ca: Option<PemFile> = PemFile, "the system's" => None, REREAD;
        /// A PEM file with the client's certificate.
        cert: Option<PemFile> = PemFile, "none" => None, REREAD;
        /// A PEM file with the private key of the client's certificate.
        key: Option<PemFile> = PemFile, "none" => None, REREAD;
    }
}

section! {
    /// Credentials that a command prints: short-lived tokens of cloud providers and of Vault.
    #[derive(Debug, Clone)]
    pub struct CredentialsCommandSettings in "databases.NAME.credentials" (reader) {
        /// The program and its arguments, without a shell. It prints
        /// `{"user": "app", "password": "…", "expires": "2026-01-31T12:00:00Z"}`; `user` and `expires` may be missing. It is run again a
        /// minute before the end, and after a refused login; while it fails, the credentials before serve to their end.
        command: Vec<String> = Names, "none" => Vec::new();
        /// The longest time that it may take.
        timeout: Duration = Duration("100ms", "5m"), "10s";
    }
}

section! {
    /// The pool of a database's connections.
    #[derive(Debug, Clone)]
    pub struct PoolSettings in "databases.NAME.pool" (reader) {
        /// The most connections, without `overflow`. For SQLite: connections that read; one more writes.
        max: NonZeroUsize = Integer(1, 10_000), "20", RESIZE;
        /// The connections that are kept open. It must not exceed `pool.max`.
        min: usize = Integer(0, 10_000),
            "`5`, or `pool.max` when that is less" => max.get().min(5), RESIZE;
        /// The connections beyond `pool.max`. Each is closed when it is returned and nobody waits for it.
        overflow: usize = Integer(0, 10_000), "0";
        /// The longest wait for a free connection.
        acquire_timeout: Duration = Duration("1ms", "1h"), "10s";
        /// The timeout for TCP, TLS, authentication and first checks together.
        connect_timeout: Duration = Duration("10ms", "1h"), "5s";
        /// The callers that may wait for a connection at the same time.
        max_waiting: usize = Integer(0, 1_000_000), "1000";
        /// The idle time after which a connection above `pool.min` is closed. `"0s"` means never.
        idle_timeout: Duration = Duration("0s", "24h"), "1m";
        /// The age at which a connection is closed. `"0s"` means never.
        max_lifetime: Duration = Duration("0s", LONGEST_TIMEOUT), "1h";
        /// The share of `pool.max_lifetime` by which a connection may be closed earlier, at random, so that
        /// connections opened together are not closed together.
        lifetime_jitter: f64 = Ratio, "0.1";
        /// The idle time after which a connection is validated before it is checked out: one round trip, for
        /// at most a second. Connections that were idle when another was found lost are validated too.
        validate_after_idle: Duration = Duration("0s", "24h"), "5s";
        /// The time after which a checkout is reported as a leak: logged once with its caller, counted, and
        /// marked in lists. `"0s"` means never.
        leak_threshold: Duration = Duration("0s", "24h"), "1m";
        /// Open `pool.min` connections before the server is ready.
        warm_up: bool = Bool, "true";
        /// The most lanes, at most two for each worker: PostgreSQL connections beside the pool's that short reads
        /// share, up to 32 at a time on each. A statement runs on one if nothing but built-in code can be reached
        /// by it and it was measured to be fast. 0 turns them off.
        lanes: usize = Integer(0, 10_000), "two for each core" => default_lanes();
        /// The timeout of a statement on a lane; one that reaches it runs again on a connection of its own.
        lane_timeout: Duration = Duration("1ms", "10s"), "50ms";
        /// The share of `pool.max`, as it was last resized, that interactive transactions may use at the same
        /// time, but at least one connection. Callers queue for it as for the pool.
        transaction_share: f64 = Ratio, "0.8";
    }
}

/// The default of `pool.lanes`.
pub(crate) fn default_lanes() -> usize {
    source::cores().get() * 2
}

section! {
    /// Retries of calls that certainly changed nothing.
    #[derive(Debug, Clone)]
    pub struct RetrySettings in "databases.NAME.retry" (reader) {
        /// The attempts of a call, the first included, while connections are lost or refused. For a single
        /// statement after conflicts too.
        max_attempts: u32 = Integer(1, 100), "3";
        /// The longest pause before the second attempt; it doubles with each further one. A pause is a random
        /// part of the longest.
        initial_backoff: Duration = Duration("1ms", "1h"), "100ms";
        /// The longest pause of all, also between two refused logins while the breaker is open.
        max_backoff: Duration = Duration("1ms", "1h"), "30s";
        /// The retries for each call, on average and at most, after lost and refused connections. 0 turns
        /// them off.
        budget: f64 = Ratio, "0.1";
        /// As `retry.initial_backoff`, after a serialization failure or a deadlock. Batches are then retried
        /// until their deadline, and the budget is not charged.
        conflict_initial_backoff: Duration = Duration("1ms", "1h"), "2ms";
        /// As `retry.max_backoff`, after a serialization failure or a deadlock.
        conflict_max_backoff: Duration = Duration("1ms", "1h"), "100ms";
    }
}

section! {
    /// The circuit breaker: while a database is unreachable, calls that need a new connection fail at once.
    #[derive(Debug, Clone, Copy)]
    pub struct BreakerSettings in "databases.NAME.breaker" (reader) {
        /// The consecutive failures to connect that open the breaker.
        failures: u32 = Integer(1, 1_000), "5";
        /// The time between two attempts of the single task that tries to connect while the breaker is open.
        /// After a refused login it is `retry.max_backoff`, when that is longer.
        probe_interval: Duration = Duration("10ms", "1h"), "250ms";
    }
}

section! {
    /// Interactive transactions.
    #[derive(Debug, Clone, Copy)]
    pub struct TransactionSettings in "databases.NAME.transaction" (reader) {
        /// The time without a command after which an interactive transaction is rolled back.
        idle_timeout: Duration = Duration("1ms", "1h"), "30s";
        /// The longest interactive transaction.
        max_duration: Duration = Duration("1ms", "24h"), "5m";
    }
}

/// The use of a pooler between Rowgate and PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PoolerUse {
    /// It is used, with what it permits.
    Allow,
    /// It is a misconfiguration.
    Refuse,
}

/// The details of errors that callers get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ErrorDetails {
    /// No data of rows: no DETAIL, no literals in messages.
    Safe,
    /// Everything that the database reports.
    Full,
}

/// The answer to statements outside an interactive transaction whose effect is the session's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionStatements {
    /// They are refused, as what they promise cannot be kept.
    Refuse,
    /// They run, and the session is reset behind them.
    Allow,
}
