//! A connection that speaks PostgreSQL's protocol, to the server itself or to PgBouncer, and the callers over it.

use crate::load::Caller;
use crate::{Result, fail};
use futures_util::TryStreamExt;
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, NoTls, Row, Statement};

pub const ACCOUNTS: i32 = 2_000_000;
pub const TELLERS: i32 = 200;
pub const BRANCHES: i32 = 20;
pub const POINT: &str = "SELECT aid, abalance FROM pgbench_accounts WHERE aid = $1";
pub const SLOW: &str = "SELECT pg_sleep(0.02)";
pub const ROWS: &str = "SELECT id, amount, label, at FROM bench_rows";
pub const ROW_COUNT: u64 = 1_000_000;

/// The statements of pgbench's built-in transaction between BEGIN and END.
pub const TRANSFER: [&str; 5] = [
    "UPDATE pgbench_accounts SET abalance = abalance + $1 WHERE aid = $2",
    "SELECT abalance FROM pgbench_accounts WHERE aid = $1",
    "UPDATE pgbench_tellers SET tbalance = tbalance + $1 WHERE tid = $2",
    "UPDATE pgbench_branches SET bbalance = bbalance + $1 WHERE bid = $2",
    "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES ($1, $2, $3, $4, CURRENT_TIMESTAMP)",
];

/// The numbers of one transaction.
#[derive(Clone, Copy)]
pub struct Transfer {
    pub account: i32,
    pub teller: i32,
    pub branch: i32,
    pub delta: i32,
}

impl Transfer {
    pub fn random() -> Self {
        Self {
            account: fastrand::i32(1..=ACCOUNTS),
            teller: fastrand::i32(1..=TELLERS),
            branch: fastrand::i32(1..=BRANCHES),
            delta: fastrand::i32(-5000..=5000),
        }
    }

    /// The parameters of each statement.
    pub fn parameters(&self) -> [Vec<i32>; 5] {
        let Self { account, teller, branch, delta } = *self;
        [
            vec![delta, account],
            vec![account],
            vec![delta, teller],
            vec![delta, branch],
            vec![teller, branch, account, delta],
        ]
    }
}

pub async fn connect(address: SocketAddr) -> Result<Client> {
    let settings = format!("host=127.0.0.1 port={} user=postgres dbname=postgres", address.port());
    let (client, connection) = tokio_postgres::connect(&settings, NoTls).await?;
    tokio::task::spawn_local(connection);
    Ok(client)
}

/// A statement: prepared, or sent each time with the types of its parameters where the pooler keeps none.
enum Call {
    Prepared(Statement),
    Sent(&'static str),
}

impl Call {
    async fn new(client: &Client, sql: &'static str, prepared: bool) -> Result<Self> {
        Ok(if prepared { Self::Prepared(client.prepare(sql).await?) } else { Self::Sent(sql) })
    }

    async fn run(&self, client: &Client, parameters: &[i32]) -> Result<Vec<Row>> {
        Ok(match self {
            Self::Prepared(statement) => {
                let values: Vec<_> =
                    parameters.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
                client.query(statement, &values).await?
            }
            Self::Sent(sql) => {
                let values: Vec<_> = parameters
                    .iter()
                    .map(|value| (value as &(dyn ToSql + Sync), Type::INT4))
                    .collect();
                client.query_typed(sql, &values).await?
            }
        })
    }
}

/// Reads a random account by its key.
pub struct Select {
    client: Client,
    point: Call,
}

impl Select {
    pub async fn new(address: SocketAddr, prepared: bool) -> Result<Self> {
        let client = connect(address).await?;
        let point = Call::new(&client, POINT, prepared).await?;
        Ok(Self { client, point })
    }
}

impl Caller for Select {
    async fn call(&mut self) -> Result<u64> {
        let key = fastrand::i32(1..=ACCOUNTS);
        let rows = self.point.run(&self.client, &[key]).await?;
        match rows.as_slice() {
            [row] if row.try_get::<_, i32>(0)? == key => Ok(1),
            _ => fail(format!("another row than that of key {key}")),
        }
    }
}

/// Runs the statement of 20 ms.
pub struct Slow(Client);

impl Slow {
    pub async fn new(address: SocketAddr) -> Result<Self> {
        Ok(Self(connect(address).await?))
    }
}

impl Caller for Slow {
    async fn call(&mut self) -> Result<u64> {
        match self.0.query_typed(SLOW, &[]).await?.len() {
            1 => Ok(1),
            count => fail(format!("{count} rows of one")),
        }
    }
}

/// Runs TPC-B transactions, one round trip a statement.
pub struct Transact {
    client: Client,
    begin: Call,
    statements: Vec<Call>,
    commit: Call,
    committed: Rc<Cell<u64>>,
}

impl Transact {
    pub async fn new(
        address: SocketAddr,
        prepared: bool,
        committed: Rc<Cell<u64>>,
    ) -> Result<Self> {
        let client = connect(address).await?;
        let mut statements = Vec::new();
        for sql in TRANSFER {
            statements.push(Call::new(&client, sql, prepared).await?);
        }
        let begin = Call::new(&client, "BEGIN", prepared).await?;
        let commit = Call::new(&client, "COMMIT", prepared).await?;
        Ok(Self { client, begin, statements, commit, committed })
    }
}

impl Caller for Transact {
    async fn call(&mut self) -> Result<u64> {
        self.begin.run(&self.client, &[]).await?;
        let mut read = 0;
        for (statement, parameters) in self.statements.iter().zip(Transfer::random().parameters()) {
            read += statement.run(&self.client, &parameters).await?.len();
        }
        self.commit.run(&self.client, &[]).await?;
        self.committed.set(self.committed.get() + 1);
        if read == 1 { Ok(1) } else { fail(format!("{read} accounts were read, not one")) }
    }
}

/// Reads the million rows as binary COPY does, without looking into them.
pub struct Copy(Client);

impl Copy {
    pub async fn new(address: SocketAddr) -> Result<Self> {
        Ok(Self(connect(address).await?))
    }
}

impl Caller for Copy {
    async fn call(&mut self) -> Result<u64> {
        let stream = self.0.copy_out(&format!("COPY ({ROWS}) TO STDOUT (FORMAT binary)")).await?;
        let bytes = stream.try_fold(0, |sum, part| async move { Ok(sum + part.len()) }).await?;
        if bytes > 40 << 20 {
            Ok(ROW_COUNT)
        } else {
            fail(format!("only {bytes} bytes of a million rows"))
        }
    }
}
