//! The keys of the server: `default_database`, `grpc.*`, `ops.*`, `shutdown.*`, `stream.*`, `idempotency.*`,
//! `health.*` and `telemetry.*`.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::listen_address::ListenAddress;
use super::super::otel::Otel;
use super::super::secrets::secret::Secret;
use super::super::source;
use super::section::*;

section! {
    /// Keys of no section.
    #[derive(Debug, Clone)]
    pub(crate) struct DefaultDatabaseKey in "" (reader, derived: String) {
        /// The database of a request that names none.
        default_database: String = Text, "`main`, or the only database" => derived;
    }
}

section! {
    /// The listener for services.
    #[derive(Debug, Clone)]
    pub struct Grpc in "grpc" (reader) {
        /// The address where services connect. An address beyond loopback needs callers (`callers.NAME`) and
        /// encryption (`grpc.tls`), or `--insecure`. `unix:/path` is a Unix socket, made with the permissions 0660: whoever
        /// may write to it connects, without encryption, and its user (uid) can be a caller.
        listen: ListenAddress = Listen, "127.0.0.1:50051";
        /// The largest message that is received.
        max_request_size: usize = Size("1KiB", "1GiB"), "4MiB";
        /// The largest message that is sent.
        max_response_size: usize = Size("512KiB", "1GiB"), "4MiB";
        /// The bytes of answers that wait for their readers, of all calls together. Beyond them the answer is
        /// given up from which nothing was taken for the longest time: STREAM_STALLED, with the outcome. Beyond a quarter of
        /// them so is one whose reader took nothing for 250 ms.
        max_unread_bytes: usize = Size("1MiB", "1024GiB"), "256MiB";
        /// Concurrent calls on one connection.
        max_concurrent_streams: u32 = Integer(1, 65_535), "200";
        /// Control frames of HTTP/2 (PING, SETTINGS, WINDOW_UPDATE, PRIORITY, empty DATA and unknown ones) that a client may send
        /// a second beyond those that its calls need, ten times as many at once. A connection with more is closed.
        max_control_frames: u32 = Integer(1, 1_000_000), "100";
        /// Concurrent connections. A further one gets GOAWAY, "too many connections", over HTTP/1.1 status 503, and is closed;
        /// with TLS it is only closed.
        max_connections: usize = Integer(1, 1_000_000), "10000";
        /// The time without data after which a connection is pinged; over HTTP/1.1 by TCP.
        keepalive_interval: Duration = Duration("1s", "1h"), "20s";
        /// The time to wait for the answer to a ping before the connection is closed. Over HTTP/1.1 an answer on its way that
        /// is not acknowledged for both times together closes it, too, though not before `stream.stall_timeout`.
        keepalive_timeout: Duration = Duration("1s", "1h"), "10s";
        /// The time within which a new connection must complete the handshake of TLS and send the preface of HTTP/2.
        preface_timeout: Duration = Duration("100ms", "1h"), "10s";
        /// The age, ± 10 %, at which a connection gets GOAWAY, so that clients spread over new replicas.
        /// Its calls in progress are completed.
        max_connection_age: Duration = Duration("1s", "24h"), "30m";
        /// The size of all headers of one request. A larger request gets HTTP 431.
        max_header_size: u32 = Size("1KiB", "1MiB"), "16KiB";
        /// Server reflection: clients such as grpcurl may list the services.
        reflection: bool = Bool, "true";
        /// Single-threaded runtimes that serve connections.
        workers: NonZeroUsize = Integer(1, 256), "one for each core" => source::cores();
    }
}

section! {
    /// The HTTP listener for operators: `/` (a page), `/livez`, `/readyz`, `/metrics`, `/status`
    /// and `/history`.
    #[derive(Debug, Clone)]
    pub struct Ops in "ops" (reader) {
        /// The address of the listener. It is plain HTTP.
        listen: SocketAddr = Address, "127.0.0.1:9464";
        /// Concurrent connections. A further one takes the place of the oldest that waits for its client.
        max_connections: usize = Integer(1, 65_535), "128";
        /// The time within which the head of a request must arrive, on an idle connection too.
        header_timeout: Duration = Duration("100ms", "1h"), "10s";
        /// The time for which the figures of the page's charts are kept, in points of two minutes; the last hour in
        /// points of ten seconds, and the last five minutes in points of a second. A day takes about 300 KB a database.
        history: Duration = Duration("1h", "7d"), "24h";
        /// A token that every request must present, `Authorization: Bearer TOKEN`, except for `/livez` and `/readyz`. Browsers
        /// cannot present it by themselves: the page is then for a proxy that does.
        token: Option<Secret> = Secret(16), "none" => None;
        /// The names that requests may have for this server in their header Host, without ports. Addresses and `localhost`
        /// are always allowed; a request for any other name is refused, 421: a page of another site may have sent it
        /// (DNS rebinding). Monitoring that comes by a name, as that of a service, needs it here.
        allowed_hosts: Vec<String> = Names, "no names" => Vec::new();
    }
}

section! {
    /// The shutdown, from SIGTERM, SIGINT or SIGHUP to the exit.
    #[derive(Debug, Clone)]
    pub struct Shutdown in "shutdown" (reader) {
        /// The longest time of a shutdown. Calls that are still running then are aborted.
        grace: Duration = Duration("0s", "1h"), "25s";
        /// The time for which health is NOT_SERVING before the listener closes. It is part of the grace
        /// and must not exceed it.
        delay: Duration = Duration("0s", "1h"), "0s";
        /// The time after the first signal from which another one counts, and aborts the calls that are still
        /// running. Shells and `timeout` send one signal twice.
        second_signal_after: Duration = Duration("0s", "1m"), "1s";
    }
}

section! {
    /// Readers of results.
    #[derive(Debug, Clone)]
    pub struct Stream in "stream" (reader) {
        /// The time after which a stream is ended, or an answer given up, whose reader takes nothing; also a CopyIn whose
        /// caller sends nothing.
        stall_timeout: Duration = Duration("100ms", "1h"), "10s";
    }
}

section! {
    /// Idempotency keys.
    #[derive(Debug, Clone)]
    pub struct Idempotency in "idempotency" (reader) {
        /// The table of the keys in each database that has some: `table` or `schema.table`, of letters,
        /// digits and underscores.
        table: String = TableName, "rowgate_idempotency";
        /// The time for which a key is kept. A repeated call with the key is not executed for so long.
        retention: Duration = Duration("1m", "366d"), "24h";
        /// Create the table in each PostgreSQL database that lacks it, when the database is first reached.
        /// The role must be allowed to. Otherwise use `rowgate idempotency install`.
        create_table: bool = Bool, "false";
    }
}

section! {
    /// Probes of the databases, which decide about readiness.
    #[derive(Debug, Clone)]
    pub struct Health in "health" (reader, default_database: &str) {
        /// An address for probes that speak neither TLS nor tokens, such as Kubernetes' own: plain HTTP/2, where the standard
        /// health service is all there is, for anybody who reaches it.
        listen: Option<SocketAddr> = Address, "none" => None;
        /// Concurrent connections to `health.listen`. A further one takes the place of the oldest.
        max_connections: usize = Integer(1, 65_535), "64";
        /// The time between two probes of a database; 100 ms or more. `"0s"` probes none, and an idle database is left alone: what
        /// is known of it is then what its last call has shown. See docs/OPERATIONS.md.
        interval: Duration = Duration("0s", "1h"), "5s";
        /// The timeout of a probe. While the breaker is open it is `pool.connect_timeout`.
        timeout: Duration = Duration("10ms", "1h"), "2s";
        /// The databases that must be reachable for the server to be ready.
        require: Vec<String> = Names, "the default database" => vec![default_database.to_owned()];
    }
}

impl Health {
    /// Returns true if databases are probed.
    pub(crate) fn probes(&self) -> bool {
        !self.interval.is_zero()
    }
}

section! {
    /// Logs. Traces and metrics are configured by the variables of OpenTelemetry, `OTEL_*`.
    #[derive(Debug, Clone)]
    pub struct Telemetry in "telemetry" (reader, otel: Otel) {
        /// The format of log lines.
        log_format: Option<LogFormat> = OneOf(&["text", "json"]),
            "`text` on a terminal, otherwise `json`" => None;
        /// The log lines to write: a level, or levels by module, as in `"info,rowgate::pool=debug"`.
        /// `RUST_LOG` overrides it.
        log_filter: String = LogFilter, "info";
        /// The run time from which a statement is logged, with its caller, tag and waiting time, without
        /// its literals. `"0s"` turns this off.
        slow_query: Duration = Duration("0s", "1h"), "1s";
    }
    and {
        /// `OTEL_*`
        otel: Otel = otel;
    }
}

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
