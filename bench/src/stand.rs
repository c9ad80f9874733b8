//! Everything that is started for a run, with its data.

use crate::grpc::Connection;
use crate::identities::Known;
use crate::machine::Role;
use crate::mariadb::Mariadb;
use crate::options::Options;
use crate::plan::Via;
use crate::servers::{self, PoolerProgram, Scratch, Server};
use crate::{Result, fail, gateway, sql};
use std::cell::Cell;
use std::net::SocketAddr;
use std::process::Stdio;
use std::rc::Rc;
use tokio_postgres::Client;

/// The accounts in SQLite.
pub const SQLITE_ACCOUNTS: i32 = 100_000;

const FILL_ROWS: &str = "CREATE TABLE bench_rows (id int8 PRIMARY KEY, amount float8 NOT NULL, label text NOT NULL, \
     at timestamptz NOT NULL); \
     INSERT INTO bench_rows SELECT id, id / 8.0, 'label ' || id, to_timestamp(1700000000 + id) \
     FROM generate_series(1, 1000000) id ORDER BY id; \
     VACUUM ANALYZE bench_rows";

const FILL_SQLITE: [&str; 3] = [
    "CREATE TABLE pgbench_accounts (aid INTEGER PRIMARY KEY, abalance INTEGER NOT NULL)",
    "CREATE TABLE entries (id INTEGER PRIMARY KEY, label TEXT NOT NULL)",
    "WITH RECURSIVE keys(aid) AS (SELECT 1 UNION ALL SELECT aid + 1 FROM keys WHERE aid < 100000) \
     INSERT INTO pgbench_accounts SELECT aid, 0 FROM keys",
];

/// The servers, ended in this order: those in front before the database.
pub struct Stand {
    pub pooled: Server,
    /// Rowgate with lanes, where the binary has them.
    pub lanes: Option<Server>,
    pub sqlite: Server,
    /// The servers that know their callers.
    pub known: Known,
    pub pooler: Option<(Server, PoolerProgram)>,
    pub mariadb: Option<Mariadb>,
    pub postgres: Server,
    pub admin: Client,
    pub versions: Versions,
    /// The transactions of TPC-B that were committed, as their callers know.
    pub committed: Rc<Cell<u64>>,
    /// The rows that callers have written to SQLite.
    pub written: Rc<Cell<u64>>,
    pub scratch: Scratch,
}

pub struct Versions {
    pub rowgate: String,
    pub postgres: String,
    pub pooler: Option<String>,
    pub mariadb: Option<String>,
}

impl Stand {
    pub async fn start(options: &Options) -> Result<Self> {
        let scratch = Scratch::new()?;
        let postgres = servers::postgres(options, &scratch).await?;
        let admin = fill(options, postgres.address).await?;
        let pooler = match PoolerProgram::find(options) {
            Some(program) => Some((
                servers::pooler(options, &scratch, postgres.address, &program).await?,
                program,
            )),
            None => None,
        };
        let url = url(postgres.address);
        let knows_lanes = servers::knows_lanes(options)?;
        let off = if knows_lanes { "pool.lanes = 0" } else { "" };
        let pooled = servers::rowgate(options, &scratch, &url, off).await?;
        let lanes = if knows_lanes {
            Some(servers::rowgate(options, &scratch, &url, "pool.lanes = \"auto\"").await?)
        } else {
            None
        };
        let known = Known::start(options, &scratch, &url).await?;
        let sqlite = servers::rowgate(options, &scratch, "sqlite:bench.db", "").await?;
        let connection = Connection::open(sqlite.address).await?;
        for statement in FILL_SQLITE {
            gateway::run(&connection, statement).await?;
        }
        let mariadb = Mariadb::start(options, &scratch).await?;
        let versions = Versions {
            rowgate: servers::version(&options.rowgate).await?,
            postgres: servers::version(&options.postgres_bin.join("postgres")).await?,
            pooler: pooler.as_ref().map(|(_, program)| program.version.clone()),
            mariadb: mariadb.as_ref().map(|both| both.version.clone()),
        };
        let committed = Rc::default();
        let written = Rc::default();
        Ok(Self {
            pooled,
            lanes,
            sqlite,
            known,
            pooler,
            mariadb,
            postgres,
            admin,
            versions,
            committed,
            written,
            scratch,
        })
    }

    /// The processes whose time is told apart. Gateways other than the one in use are idle.
    pub fn known(&self) -> Vec<(Role, u32)> {
        let Known { plain, encrypted, .. } = &self.known;
        let gateways = [&self.pooled, &self.sqlite, plain, encrypted].map(Some);
        let mut known: Vec<_> = gateways
            .into_iter()
            .chain([self.lanes.as_ref(), self.mariadb.as_ref().map(|both| &both.gateway)])
            .flatten()
            .map(|server| (Role::Gateway, server.id()))
            .collect();
        let databases = [Some(&self.postgres), self.mariadb.as_ref().map(|both| &both.server)];
        known.extend(databases.into_iter().flatten().map(|server| (Role::Database, server.id())));
        known.extend(self.pooler.as_ref().map(|(server, _)| (Role::Pooler, server.id())));
        known
    }

    /// The address at which a variant is reached, or the reason for which it is not there.
    pub fn address(&self, via: Via) -> std::result::Result<SocketAddr, &'static str> {
        match via {
            Via::Pgbench | Via::Direct => Ok(self.postgres.address),
            Via::Pooler => self
                .pooler
                .as_ref()
                .map(|(server, _)| server.address)
                .ok_or("SKIPPED: no PgBouncer"),
            Via::Pooled => Ok(self.pooled.address),
            Via::Lanes => self.lanes.as_ref().map(|server| server.address).ok_or("not built"),
            Via::Sqlite => Ok(self.sqlite.address),
            Via::Mariadb => self.mariadb().map(|both| both.gateway.address),
            Via::MysqlAsync | Via::Alchemy => self.mariadb().map(|both| both.server.address),
            Via::Token | Via::WebToken => Ok(self.known.plain.address),
            Via::Encrypted => Ok(self.known.encrypted.address),
        }
    }

    fn mariadb(&self) -> std::result::Result<&Mariadb, &'static str> {
        self.mariadb.as_ref().ok_or("SKIPPED: no MariaDB")
    }

    /// Says whether statements are prepared by name.
    pub fn prepares(&self, via: Via) -> bool {
        via != Via::Pooler || self.pooler.as_ref().is_some_and(|(_, program)| program.prepared)
    }

    pub async fn connections(&self, via: Via, count: usize) -> Result<Vec<Connection>> {
        let address = self.address(via)?;
        let mut connections = Vec::new();
        for _ in 0..count {
            let connection = Connection::open(address).await?;
            connections.push(match via {
                Via::Token => connection.with_token(&self.known.token)?,
                Via::WebToken => connection.with_token(&self.known.web_token)?,
                _ => connection,
            });
        }
        Ok(connections)
    }

    /// Compares what the databases hold with what callers were told: each transaction once, and whole.
    pub async fn audit(&self) -> Result<()> {
        let sql = "SELECT (SELECT count(*) FROM pgbench_history), (SELECT coalesce(sum(delta), 0)::int8 FROM pgbench_history), \
                   (SELECT sum(abalance)::int8 FROM pgbench_accounts), (SELECT sum(tbalance)::int8 FROM pgbench_tellers), \
                   (SELECT sum(bbalance)::int8 FROM pgbench_branches)";
        let row = self.admin.query_one(sql, &[]).await?;
        let mut sums = Vec::new();
        for index in 0..5 {
            sums.push(row.try_get::<_, i64>(index)?);
        }
        let committed = i64::try_from(self.committed.get())?;
        if sums[0] != committed || sums[2..].iter().any(|sum| *sum != sums[1]) {
            return fail(format!(
                "{committed} transactions were committed, but the database holds {sums:?}"
            ));
        }
        let connection = Connection::open(self.sqlite.address).await?;
        let held =
            gateway::first(&gateway::run(&connection, "SELECT count(*) FROM entries").await?);
        let written = i64::try_from(self.written.get())?;
        if held == Some(written) {
            Ok(())
        } else {
            fail(format!("{written} rows were written, SQLite holds {held:?}"))
        }
    }
}

pub fn url(postgres: SocketAddr) -> String {
    format!("postgres://postgres@{postgres}/postgres")
}

/// Makes pgbench's tables at scale 20 and the table of a million rows.
async fn fill(options: &Options, postgres: SocketAddr) -> Result<Client> {
    let made = tokio::process::Command::new(options.postgres_bin.join("pgbench"))
        .args([
            "-i",
            "-q",
            "-s",
            "20",
            "-h",
            "127.0.0.1",
            "-U",
            "postgres",
            "-p",
            &postgres.port().to_string(),
        ])
        .arg("postgres")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .status()
        .await?;
    if !made.success() {
        return fail("pgbench -i failed");
    }
    let client = sql::connect(postgres).await?;
    for statement in FILL_ROWS.split(';') {
        client.batch_execute(statement).await?;
    }
    Ok(client)
}
