//! The state of databases, for metrics.

use std::sync::Arc;

use crate::engine::{Database, Engine};
use crate::pool::CloseReason;
use crate::telemetry::Telemetry;
use crate::telemetry::metrics::DatabaseGauges;
use crate::wire_size::widen;

/// Lets telemetry observe the databases of an engine for as long as the engine lives.
pub(crate) fn observe(telemetry: &Telemetry, engine: &Arc<Engine>) {
    let engine = Arc::downgrade(engine);
    telemetry.observe(move || {
        let engine = engine.upgrade();
        engine.iter().flat_map(|engine| engine.databases()).map(gauges).collect()
    });
}

fn gauges(database: &Database) -> DatabaseGauges {
    let pool = database.backend().pool();
    let counts = database.counts();
    let listen = database.backend().listeners();
    let breaker = database.backend().breaker().snapshot();
    let maintenance = database.backend().maintenance().unwrap_or_default();
    let closed = CloseReason::ALL.map(|reason| (reason.as_str(), pool.closed_because(reason)));
    DatabaseGauges {
        database: database.name().to_owned(),
        available: database.is_available(),
        idle: widen(pool.idle),
        used: widen(pool.in_use),
        max: widen(pool.max + pool.overflow),
        idle_max: widen(pool.max),
        min: widen(pool.min),
        pending: widen(pool.waiting),
        timeouts: pool.timeouts,
        rejected: pool.rejected,
        opened: pool.opened,
        connect_failures: pool.connect_failures,
        closed: closed.into(),
        paused: pool.paused,
        breaker_open: breaker.open,
        breaker_opened: breaker.opened,
        retries: counts.retries.made,
        retries_refused: counts.retries.refused,
        statements: pool.statements,
        transactions: counts.transactions,
        resets: pool.resets,
        lanes: widen(pool.lanes.open),
        lane_statements: pool.lanes.statements,
        lane_demotions: pool.lanes.demotions().into(),
        leaks: pool.leaks,
        listeners: widen(listen.listeners),
        notifications: listen.notifications,
        listen_gaps: listen.gaps,
        listeners_too_slow: listen.too_slow,
        maintenance_runs: vec![
            ("done", maintenance.done),
            ("failed", maintenance.failed),
            ("skipped", maintenance.skipped),
        ],
        pages_freed: maintenance.pages_freed,
        tables_analyzed: maintenance.tables_analyzed,
    }
}
