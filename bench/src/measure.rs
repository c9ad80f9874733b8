//! One round of one variant.

use crate::gateway;
use crate::handshakes::Handshake;
use crate::load::{Caller, Sample, drive};
use crate::mariadb::MARIADB_ACCOUNTS;
use crate::options::Options;
use crate::plan::{Cell, Via, Work};
use crate::stand::{SQLITE_ACCOUNTS, Stand};
use crate::{ARROW, Result, fail, foreign, memory, mysql, sql};
use std::rc::Rc;

/// The clients of TPC-B, and the connections over which those of Rowgate call.
const CLIENTS: usize = 16;
const CLIENT_CONNECTIONS: usize = 4;

/// The reason for which a variant cannot be measured here.
pub fn lack(options: &Options, stand: &Stand, cell: &Cell) -> Option<String> {
    if let Err(reason) = stand.address(cell.via) {
        return Some(reason.into());
    }
    match cell.work {
        Work::Rows { arrow: true } | Work::Python { mode: "arrow" } if ARROW.is_none() => {
            Some("not built".into())
        }
        Work::Python { .. } | Work::Alchemy { .. } => {
            options.python.as_ref().err().map(|reason| format!("SKIPPED: {reason}"))
        }
        Work::Foreign { .. } => {
            foreign::h2load(options).is_none().then(|| "SKIPPED: no h2load".into())
        }
        _ => None,
    }
}

pub async fn measure(options: &Options, stand: &Stand, cell: &Cell) -> Result<Sample> {
    match cell.work {
        Work::Select { calls, .. } if cell.via == Via::Pgbench => {
            foreign::pgbench(options, stand, foreign::Script::Point, calls).await
        }
        Work::Select { calls, connections, slow } => {
            select(options, stand, cell.via, [calls, connections, slow]).await
        }
        Work::Batches | Work::Streams => {
            stand.admin.batch_execute("VACUUM pgbench_branches").await?;
            stand.admin.batch_execute("VACUUM pgbench_tellers").await?;
            transfer(options, stand, cell).await
        }
        Work::Rows { arrow } => rows(options, stand, cell.via, arrow).await,
        Work::Python { mode } => {
            foreign::python(options, stand, stand.address(cell.via)?, mode).await
        }
        Work::Alchemy { mode, threads } => foreign::alchemy(options, stand, mode, threads).await,
        Work::Writes { calls } => writes(options, stand, calls).await,
        Work::Handshakes { clients } => {
            let address = stand.address(cell.via)?;
            let caller = |_| Handshake::new(address, &stand.known.certificate);
            let callers = (0..clients).map(caller).collect::<Result<Vec<_>>>()?;
            load(options, stand, callers).await
        }
        Work::Idle => memory::idle(options, stand).await,
        Work::Memory => memory::rows(options, stand).await,
        Work::Foreign { calls, connections } => {
            foreign::h2load_round(options, stand, calls, connections).await
        }
    }
}

async fn load<C: Caller + 'static>(
    options: &Options,
    stand: &Stand,
    callers: Vec<C>,
) -> Result<Sample> {
    drive(&stand.known(), options.time, callers, Vec::<C>::new()).await
}

async fn select(options: &Options, stand: &Stand, via: Via, numbers: [usize; 3]) -> Result<Sample> {
    let [calls, connections, slow] = numbers;
    if matches!(via, Via::Direct | Via::Pooler) {
        let address = stand.address(via)?;
        let mut callers = Vec::new();
        for _ in 0..calls {
            callers.push(sql::Select::new(address, stand.prepares(via)).await?);
        }
        let mut beside = Vec::new();
        for _ in 0..slow {
            beside.push(sql::Slow::new(address).await?);
        }
        return drive(&stand.known(), options.time, callers, beside).await;
    }
    if via == Via::MysqlAsync {
        let address = stand.address(via)?;
        let mut callers = Vec::new();
        for _ in 0..calls {
            callers.push(mysql::DirectSelect::new(address).await?);
        }
        return load(options, stand, callers).await;
    }
    let keys = match via {
        Via::Sqlite => SQLITE_ACCOUNTS,
        Via::Mariadb => MARIADB_ACCOUNTS,
        _ => sql::ACCOUNTS,
    };
    let shared = stand.connections(via, connections).await?;
    let mut callers = Vec::new();
    for connection in shared.iter().cycle().take(calls) {
        callers.push(gateway::Select::among(connection.clone(), keys)?);
    }
    let mut beside = Vec::new();
    for connection in shared.iter().cycle().take(slow) {
        beside.push(gateway::Repeat::slow(connection.clone())?);
    }
    drive(&stand.known(), options.time, callers, beside).await
}

async fn transfer(options: &Options, stand: &Stand, cell: &Cell) -> Result<Sample> {
    let committed = || Rc::clone(&stand.committed);
    match cell.via {
        Via::Pgbench => foreign::pgbench(options, stand, foreign::Script::Transfer, CLIENTS).await,
        Via::Direct | Via::Pooler => {
            let mut callers = Vec::new();
            for _ in 0..CLIENTS {
                let address = stand.address(cell.via)?;
                callers.push(
                    sql::Transact::new(address, stand.prepares(cell.via), committed()).await?,
                );
            }
            load(options, stand, callers).await
        }
        Via::Pooled | Via::Lanes => {
            let shared = stand.connections(cell.via, CLIENT_CONNECTIONS).await?;
            let each = shared.iter().cycle().take(CLIENTS).cloned();
            if matches!(cell.work, Work::Streams) {
                let callers = each
                    .map(|one| gateway::Stream::new(one, committed()))
                    .collect::<Result<Vec<_>>>()?;
                load(options, stand, callers).await
            } else {
                let callers = each
                    .map(|one| gateway::Batch::new(one, committed()))
                    .collect::<Result<Vec<_>>>()?;
                load(options, stand, callers).await
            }
        }
        Via::Sqlite
        | Via::Mariadb
        | Via::MysqlAsync
        | Via::Alchemy
        | Via::Token
        | Via::WebToken
        | Via::Encrypted => fail("TPC-B is not measured there"),
    }
}

async fn rows(options: &Options, stand: &Stand, via: Via, arrow: bool) -> Result<Sample> {
    if via == Via::Direct {
        return load(options, stand, vec![sql::Copy::new(stand.postgres.address).await?]).await;
    }
    if via == Via::MysqlAsync {
        let caller = mysql::DirectRows::new(stand.address(via)?).await?;
        return load(options, stand, vec![caller]).await;
    }
    let connections = stand.connections(via, 1).await?;
    let format = if arrow { ARROW } else { None };
    let callers: Vec<_> = connections
        .into_iter()
        .map(|one| gateway::Rows::new(one, format))
        .collect::<Result<_>>()?;
    if !arrow {
        for one in &callers {
            one.verify().await?;
        }
    }
    load(options, stand, callers).await
}

async fn writes(options: &Options, stand: &Stand, calls: usize) -> Result<Sample> {
    let shared = stand.connections(Via::Sqlite, CLIENT_CONNECTIONS).await?;
    let each = shared.iter().cycle().take(calls).cloned();
    let insert = "INSERT INTO entries (label) VALUES ('one of many')";
    let callers: Vec<_> = each
        .map(|one| gateway::Repeat::new(one, insert, Rc::clone(&stand.written)))
        .collect::<Result<_>>()?;
    load(options, stand, callers).await
}
