//! The gateway's memory: of a process of its own, so that nothing before has had an effect.

use crate::grpc::Connection;
use crate::load::{Caller, Sample};
use crate::machine::resident;
use crate::options::Options;
use crate::stand::{Stand, url};
use crate::{Result, gateway, servers};
use std::time::Duration;

const CONNECTIONS: u32 = 1000;
/// The pause of the slow reader after each message of about 64 KiB.
const PAUSE: Duration = Duration::from_millis(5);

/// The bytes for each of many connections on which one call was made.
pub async fn idle(options: &Options, stand: &Stand) -> Result<Sample> {
    let server =
        servers::rowgate(options, &stand.scratch, &url(stand.postgres.address), "").await?;
    let warm = Connection::open(server.address).await?;
    gateway::Select::new(warm.clone())?.call().await?;
    let before = resident(server.id())?;
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS {
        let connection = Connection::open(server.address).await?;
        gateway::Select::new(connection.clone())?.call().await?;
        open.push(connection);
    }
    let after = resident(server.id())?;
    let each = after.saturating_sub(before) as f64 / f64::from(CONNECTIONS);
    Ok(Sample::from([("bytes", each)]))
}

/// The most that a fast and a slow reader of a million rows each add.
pub async fn rows(options: &Options, stand: &Stand) -> Result<Sample> {
    let server =
        servers::rowgate(options, &stand.scratch, &url(stand.postgres.address), "").await?;
    let connection = Connection::open(server.address).await?;
    gateway::Select::new(connection.clone())?.call().await?;
    let before = resident(server.id())?;
    let mut most = before;
    let mut fast = gateway::Rows::new(connection.clone(), None)?;
    let mut slow = gateway::Rows::new(connection, None)?.slow(PAUSE);
    let reading = async { tokio::try_join!(fast.call(), slow.call()) };
    tokio::pin!(reading);
    loop {
        tokio::select! {
            done = &mut reading => {
                done?;
                break;
            }
            () = tokio::time::sleep(Duration::from_millis(20)) => most = most.max(resident(server.id())?),
        }
    }
    Ok(Sample::from([("bytes", (most - before) as f64)]))
}
