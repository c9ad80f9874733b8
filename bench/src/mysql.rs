//! Direct connections to MariaDB with the driver that services in Rust use, and the callers over them.

use crate::load::Caller;
use crate::mariadb::MARIADB_ACCOUNTS;
use crate::sql::{POINT, ROW_COUNT, ROWS};
use crate::{Result, fail};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, Statement};
use std::net::SocketAddr;

async fn connect(address: SocketAddr) -> Result<Conn> {
    let options = OptsBuilder::default()
        .ip_or_hostname(address.ip().to_string())
        .tcp_port(address.port())
        .prefer_socket(false)
        .user(Some("bench"))
        .pass(Some("bench"))
        .db_name(Some("bench"));
    Ok(Conn::new(options).await?)
}

/// Reads a random account by its key.
pub struct DirectSelect {
    connection: Conn,
    point: Statement,
}

impl DirectSelect {
    pub async fn new(address: SocketAddr) -> Result<Self> {
        let mut connection = connect(address).await?;
        let point = connection.prep(POINT.replace("$1", "?")).await?;
        Ok(Self { connection, point })
    }
}

impl Caller for DirectSelect {
    async fn call(&mut self) -> Result<u64> {
        let key = fastrand::i32(1..=MARIADB_ACCOUNTS);
        let row: Option<(i32, i32)> = self.connection.exec_first(&self.point, (key,)).await?;
        match row {
            Some((found, _)) if found == key => Ok(1),
            _ => fail(format!("another row than that of key {key}")),
        }
    }
}

/// Reads the million rows one after the other, and looks into the first column.
pub struct DirectRows(Conn);

impl DirectRows {
    pub async fn new(address: SocketAddr) -> Result<Self> {
        Ok(Self(connect(address).await?))
    }
}

impl Caller for DirectRows {
    async fn call(&mut self) -> Result<u64> {
        let mut rows = self.0.exec_iter(ROWS, ()).await?;
        let mut seen = 0;
        let mut sum = 0;
        while let Some(row) = rows.next().await? {
            seen += 1;
            sum += row.get::<u64, _>(0).unwrap_or_default();
        }
        if seen == ROW_COUNT && sum == ROW_COUNT * (ROW_COUNT + 1) / 2 {
            Ok(seen)
        } else {
            fail(format!("{seen} rows with a sum of ids of {sum}"))
        }
    }
}
