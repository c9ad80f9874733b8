//! The keys for operators: `ops.*`, `shutdown.*`, `health.*`, `idempotency.*` and `default_database`.

use std::net::SocketAddr;
use std::time::Duration;

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
    /// The HTTP listener for operators: `/` (a page), `/livez`, `/readyz`, `/metrics` and `/status`.
    #[derive(Debug, Clone)]
    pub struct Ops in "ops" (reader) {
        /// The address of the listener. It is plain HTTP.
        listen: SocketAddr = Address, "127.0.0.1:9464";
        /// Concurrent connections. Further ones wait until one ends.
        max_connections: usize = Integer(1, 65_535), "128";
        /// The time within which the head of a request must arrive, on an idle connection too.
        header_timeout: Duration = Duration("100ms", "1h"), "10s";
    }
}

section! {
    /// The shutdown, from SIGTERM or SIGINT to the exit.
    #[derive(Debug, Clone)]
    pub struct Shutdown in "shutdown" (reader) {
        /// The longest time of a shutdown. Calls that are still running then are aborted.
        grace: Duration = Duration("0s", "1h"), "25s";
        /// The time for which health is NOT_SERVING before the listener closes. It is part of the grace
        /// and must not exceed it.
        delay: Duration = Duration("0s", "1h"), "0s";
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
        /// The time between two probes of a database.
        interval: Duration = Duration("100ms", "1h"), "5s";
        /// The timeout of a probe. While the breaker is open it is `pool.connect_timeout`.
        timeout: Duration = Duration("10ms", "1h"), "2s";
        /// The databases that must be reachable for the server to be ready.
        require: Vec<String> = Names, "the default database" => vec![default_database.to_owned()];
    }
}
