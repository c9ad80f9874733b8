//! The state of databases as metrics have it.

use std::sync::Arc;

use crate::engine::{Database, Engine};
use crate::pool::CloseReason;
use crate::telemetry::Telemetry;
use crate::telemetry::metrics::{Breaker, Connections, Reading, Retries};
use crate::wire_size::widen;

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
    let breaker = database.backend().breaker().snapshot();
    let closed = CloseReason::ALL.into_iter();
    Reading {
        database: database.name().to_owned(),
        available: database.is_available(),
        connections: Connections {
            idle: widen(pool.idle),
            used: widen(pool.in_use),
            max: widen(pool.max + pool.overflow),
            idle_max: widen(pool.max),
            min: widen(pool.min),
            pending: widen(pool.waiting),
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
