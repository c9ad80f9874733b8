//! The plan of a run: rows of variants, which are run in turn.

use crate::options::Options;

/// Through what a call goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// pgbench, prepared, directly.
    Pgbench,
    Direct,
    Pooler,
    Pooled,
    Lanes,
    Sqlite,
    /// Rowgate on MariaDB, a driver of Rust's, and the Python that Rowgate replaces there.
    Mariadb,
    MysqlAsync,
    Alchemy,
    /// As Lanes, from callers that prove who they are.
    Token,
    WebToken,
    Encrypted,
}

/// The kind of work, with its size.
#[derive(Clone, Copy)]
pub enum Work {
    /// Point selects. Clients of PostgreSQL's protocol have a connection for each call, gRPC's share theirs.
    Select {
        calls: usize,
        connections: usize,
        slow: usize,
    },
    /// TPC-B transactions of 16 clients, those of Rowgate as batches or as streams.
    Batches,
    Streams,
    /// A million rows.
    Rows {
        arrow: bool,
    },
    Python {
        mode: &'static str,
    },
    /// PyMySQL under SQLAlchemy, in as many threads.
    Alchemy {
        mode: &'static str,
        threads: usize,
    },
    /// Rows written by as many writers.
    Writes {
        calls: usize,
    },
    /// Handshakes of TLS by as many clients.
    Handshakes {
        clients: usize,
    },
    /// Bytes that a connection costs, and those that a million rows do.
    Idle,
    Memory,
    /// The same calls by a foreign load generator.
    Foreign {
        calls: usize,
        connections: usize,
    },
}

pub struct Cell {
    pub label: &'static str,
    pub via: Via,
    pub work: Work,
}

pub struct Row {
    pub id: &'static str,
    pub title: &'static str,
    pub unit: &'static str,
    pub cells: Vec<Cell>,
    /// Says whether --quick measures it too.
    pub quick: bool,
}

pub const PGBENCH: &str = "direct, pgbench";
pub const DIRECT: &str = "direct";
pub const POOLER: &str = "PgBouncer";
pub const POOLED: &str = "Rowgate pooled";
pub const LANES: &str = "Rowgate lanes";
pub const ALCHEMY: &str = "PyMySQL + SQLAlchemy, pre-ping";
pub const MYSQL_ASYNC: &str = "direct, mysql_async";
pub const ON_MARIADB: &str = "Rowgate on MariaDB";
pub const ON_POSTGRES: &str = "Rowgate on PostgreSQL, pooled";
pub const NO_IDENTITY: &str = "no identity";
pub const TOKEN: &str = "a token";
pub const WEB_TOKEN: &str = "a JSON Web Token";
pub const FULL: &str = "full handshakes";

const VIAS: [(&str, Via); 5] = [
    (PGBENCH, Via::Pgbench),
    (DIRECT, Via::Direct),
    (POOLER, Via::Pooler),
    (POOLED, Via::Pooled),
    (LANES, Via::Lanes),
];

fn cell(label: &'static str, via: Via, work: Work) -> Cell {
    Cell { label, via, work }
}

fn selects(id: &'static str, title: &'static str, calls: usize, connections: usize) -> Row {
    let work = Work::Select { calls, connections, slow: 0 };
    let cells = VIAS.into_iter().map(|(label, via)| cell(label, via, work)).collect();
    Row { id, title, unit: "queries/s", cells, quick: calls == 32 && connections == 4 }
}

pub fn rows(options: &Options) -> Vec<Row> {
    let mut rows = vec![
        selects("select-1", "point selects, 1 in flight", 1, 1),
        selects("select-8", "point selects, 8 in flight over 4 connections", 8, 4),
        selects("select-32", "point selects, 32 in flight over 4 connections", 32, 4),
        selects("select-128", "point selects, 128 in flight over 16 connections", 128, 16),
        selects("select-32-each", "point selects, 32 in flight over 32 connections", 32, 32),
        transactions(),
        million_rows(),
        python(),
        slow(),
        memory(),
        sqlite(),
        mariadb(),
        mariadb_rows(),
        identity(),
        handshakes(),
        foreign(),
    ];
    rows.retain(|row| options.wants(row.id) && (row.quick || !options.quick));
    rows
}

fn transactions() -> Row {
    let cells = vec![
        cell(PGBENCH, Via::Pgbench, Work::Batches),
        cell(DIRECT, Via::Direct, Work::Batches),
        cell(POOLER, Via::Pooler, Work::Batches),
        cell("Rowgate batch", Via::Pooled, Work::Batches),
        cell("Rowgate stream", Via::Pooled, Work::Streams),
    ];
    Row { id: "tpcb", title: "TPC-B, 16 clients", unit: "transactions/s", cells, quick: true }
}

fn million_rows() -> Row {
    let cells = vec![
        cell("direct, COPY binary", Via::Direct, Work::Rows { arrow: false }),
        cell("Rowgate ROWS", Via::Pooled, Work::Rows { arrow: false }),
        cell("Rowgate ARROW", Via::Pooled, Work::Rows { arrow: true }),
    ];
    Row {
        id: "rows",
        title: "1 M rows (int8, float8, text, timestamptz), one stream",
        unit: "rows/s",
        cells,
        quick: true,
    }
}

fn python() -> Row {
    let cells = vec![
        cell("asyncpg fetch, direct", Via::Direct, Work::Python { mode: "asyncpg" }),
        cell("grpcio ROWS", Via::Pooled, Work::Python { mode: "rows" }),
        cell("grpcio ARROW", Via::Pooled, Work::Python { mode: "arrow" }),
    ];
    let title =
        "1 M rows into Python: asyncpg ends with a list of Records, grpcio with a pyarrow Table";
    Row { id: "python", title, unit: "rows/s", cells, quick: true }
}

fn slow() -> Row {
    let select = |slow| Work::Select { calls: 32, connections: 4, slow };
    let cells = vec![
        cell("PgBouncer alone", Via::Pooler, select(0)),
        cell("PgBouncer beside 8 slow", Via::Pooler, select(8)),
        cell("Rowgate pooled alone", Via::Pooled, select(0)),
        cell("Rowgate pooled beside 8 slow", Via::Pooled, select(8)),
        cell("Rowgate lanes alone", Via::Lanes, select(0)),
        cell("Rowgate lanes beside 8 slow", Via::Lanes, select(8)),
    ];
    let title = "point selects, 32 in flight, beside eight looping statements of 20 ms (pg_sleep)";
    Row { id: "slow", title, unit: "queries/s", cells, quick: true }
}

fn memory() -> Row {
    let cells = vec![
        cell("idle gRPC connection", Via::Pooled, Work::Idle),
        cell("1 M rows, slow reader too", Via::Pooled, Work::Memory),
    ];
    Row { id: "memory", title: "memory of the gateway", unit: "bytes", cells, quick: true }
}

fn sqlite() -> Row {
    let cells = vec![
        cell("point selects", Via::Sqlite, Work::Select { calls: 32, connections: 4, slow: 0 }),
        cell("commits of 32 writers", Via::Sqlite, Work::Writes { calls: 32 }),
    ];
    Row {
        id: "sqlite",
        title: "SQLite, 32 in flight over 4 connections",
        unit: "calls/s",
        cells,
        quick: true,
    }
}

fn mariadb() -> Row {
    let select = Work::Select { calls: 32, connections: 4, slow: 0 };
    let cells = vec![
        cell(ALCHEMY, Via::Alchemy, Work::Alchemy { mode: "select", threads: 32 }),
        cell(MYSQL_ASYNC, Via::MysqlAsync, select),
        cell(ON_MARIADB, Via::Mariadb, select),
        cell(ON_POSTGRES, Via::Pooled, select),
    ];
    let title =
        "MariaDB: point selects, 32 in flight over 4 connections, or in 32 threads of Python";
    Row { id: "mariadb", title, unit: "queries/s", cells, quick: true }
}

fn mariadb_rows() -> Row {
    let cells = vec![
        cell(ALCHEMY, Via::Alchemy, Work::Alchemy { mode: "rows", threads: 1 }),
        cell(MYSQL_ASYNC, Via::MysqlAsync, Work::Rows { arrow: false }),
        cell("Rowgate ROWS", Via::Mariadb, Work::Rows { arrow: false }),
        cell("Rowgate ARROW", Via::Mariadb, Work::Rows { arrow: true }),
        cell("grpcio ARROW", Via::Mariadb, Work::Python { mode: "arrow" }),
    ];
    let title = "MariaDB: 1 M rows (bigint, double, varchar, timestamp), one stream";
    Row { id: "mariadb-rows", title, unit: "rows/s", cells, quick: true }
}

fn identity() -> Row {
    let select = Work::Select { calls: 32, connections: 4, slow: 0 };
    let cells = vec![
        cell(NO_IDENTITY, Via::Lanes, select),
        cell(TOKEN, Via::Token, select),
        cell(WEB_TOKEN, Via::WebToken, select),
    ];
    let title =
        "point selects by lanes, 32 in flight over 4 connections, by the identity of the caller";
    Row { id: "identity", title, unit: "queries/s", cells, quick: true }
}

fn handshakes() -> Row {
    let cells = vec![cell(FULL, Via::Encrypted, Work::Handshakes { clients: 8 })];
    let title = "handshakes of TLS 1.3, ECDSA P-256, 8 clients";
    Row { id: "handshakes", title, unit: "handshakes/s", cells, quick: true }
}

fn foreign() -> Row {
    let cells = vec![
        cell(
            "this load generator",
            Via::Pooled,
            Work::Select { calls: 32, connections: 4, slow: 0 },
        ),
        cell("h2load", Via::Pooled, Work::Foreign { calls: 32, connections: 4 }),
    ];
    let title = "cross-check: Rowgate pooled, 32 in flight over 4 connections";
    Row { id: "foreign", title, unit: "queries/s", cells, quick: true }
}
