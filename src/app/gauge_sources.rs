//! The state of databases as metrics have it.

use std::sync::Arc;

use crate::engine::{Database, Engine};
use crate::pool::CloseReason;
use crate::telemetry::Telemetry;
use crate::telemetry::metrics::{Breaker, Connections, Reading, Retries};

/// Has telemetry read an engine for as long as that lives.
pub(crate) fn read(telemetry: &Telemetry, engine: &Arc<Engine>) {
    let engine = Arc::downgrade(engine);
    telemetry.read(move || {
        let engine = engine.upgrade();
        engine.iter().flat_map(|engine| engine.databases()).map(reading).collect()
    });
}

fn reading(database: &Database) -> Reading {
    let (pool, counts) = (database.backend().pool(), database.counts());
    let breaker = database.backend().gate().snapshot();
    let closed = CloseReason::ALL.into_iter();
    Reading {
        database: database.name().to_owned(),
        available: database.is_available(),
        connections: Connections {
            idle: wide(pool.idle),
            used: wide(pool.in_use),
            max: wide(pool.max + pool.overflow),
            idle_max: wide(pool.max),
            min: wide(pool.min),
            pending: wide(pool.waiting),
            timeouts: pool.timeouts,
            rejected: pool.rejected,
            opened: pool.opened,
            failed: pool.connect_failures,
            closed: closed.map(|reason| (reason.as_str(), pool.closed_because(reason))).collect(),
            paused: pool.paused,
        },
        breaker: Breaker { open: breaker.open, opened: breaker.opened },
        retries: Retries { made: counts.retries.made, refused: counts.retries.refused },
        statements: pool.statements,
        transactions: counts.transactions,
        resets: pool.resets,
        leaks: pool.leaks,
    }
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
