//! The maintenance of databases at intervals, of those that need it: SQLite's. Others maintain themselves.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use crate::engine::{Database, Engine};

/// Maintains every database at its interval, until it is dropped.
pub(crate) async fn run(engine: Arc<Engine>) {
    join_all(engine.databases().map(run_database)).await;
}

async fn run_database(database: &Database) {
    let interval = database.settings().sqlite_maintenance_interval;
    if interval.is_zero() || database.backend().maintenance().is_none() {
        return;
    }
    loop {
        tokio::time::sleep(spread(interval)).await;
        // The file of one that was never reached may not exist.
        if !database.is_available() {
            continue;
        }
        let name = database.name();
        match database.backend().maintain().await {
            Ok(()) => tracing::debug!(database = name, "database maintained"),
            Err(error) => {
                let reason = error.reason();
                tracing::warn!(database = name, reason, %error, "database not maintained");
            }
        }
    }
}

/// The time up to the next run. Instances that share a file do not maintain it at the same moments.
fn spread(interval: Duration) -> Duration {
    interval.mul_f64(0.5 + fastrand::f64())
}
