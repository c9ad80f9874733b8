//! `/status`: the state of a server, as JSON.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::caller_status::callers;
use super::server_status::Status;
use crate::backend::ListenCounts;
use crate::backend::{LastMaintenance, MaintenanceState};
use crate::clock::{microseconds, milliseconds};
use crate::engine::Database;
use crate::pool::{CheckoutInfo, CloseReason, PoolSnapshot};
use crate::telemetry::Telemetry;
use crate::telemetry::top_statements::{RecentOperations, WINDOW};

/// The checkouts of one database, and the kinds of errors, that are shown; the others are counted.
const SHOWN: usize = 50;

/// The age from which any checkout is shown.
const LONG: Duration = Duration::from_secs(1);

pub(crate) async fn status(State(status): State<Status>) -> Json<Value> {
    let readiness = status.readiness.borrow().clone();
    let databases = status.engine.databases().map(|each| database(each, &status.telemetry));
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "instance": status.instance,
        "uptime_ms": milliseconds(status.started.elapsed()),
        "ready": readiness.is_ready(),
        "reasons": readiness.reasons,
        "recent_ms": milliseconds(WINDOW),
        "failures": failures(&status.telemetry),
        "callers": callers(&status),
        "databases": databases.collect::<Vec<_>>(),
    }))
}

fn database(database: &Database, telemetry: &Telemetry) -> Value {
    let backend = database.backend();
    let counts = database.counts();
    let breaker = backend.breaker().snapshot();
    json!({
        "name": database.name(),
        "backend": backend.name(),
        "available": database.is_available(),
        "why": backend.breaker().open_reason(),
        "breaker": {
            "state": if breaker.open { "open" } else { "closed" },
            "since_ms": milliseconds(breaker.since),
            "opened": breaker.opened,
        },
        "retries": { "made": counts.retries.made, "refused": counts.retries.refused },
        "transactions": counts.transactions,
        "maintenance": backend.maintenance().as_ref().map(maintenance),
        "pool": pool(&backend.pool()),
        "listen": listen(backend.listeners()),
        "checkouts": checkouts(&backend.control().checkouts()),
        "recent": recent(&telemetry.recent_operations(database.name())),
    })
}

fn maintenance(state: &MaintenanceState) -> Value {
    json!({
        "done": state.done,
        "failed": state.failed,
        "skipped": state.skipped,
        "last": state.last.as_ref().map(last_maintenance),
    })
}

fn last_maintenance(last: &LastMaintenance) -> Value {
    json!({
        "ago_ms": milliseconds(last.began.elapsed()),
        "took_ms": milliseconds(last.took),
        "error": last.error,
        "tables_analyzed": last.work.tables_analyzed,
        "pages_freed": last.work.pages_freed,
        "log_bytes": last.work.log_size,
        "partial": last.work.is_partial,
    })
}

fn pool(pool: &PoolSnapshot) -> Value {
    let closed = CloseReason::ALL.map(|reason| (reason.as_str(), pool.closed_because(reason)));
    json!({
        "max": pool.max,
        "min": pool.min,
        "overflow": pool.overflow,
        "paused": pool.paused,
        "open": pool.open,
        "idle": pool.idle,
        "in_use": pool.in_use,
        "connecting": pool.connecting,
        "waiting": pool.waiting,
        "acquired": pool.acquired,
        "waited": pool.waited,
        "wait_time_ms": milliseconds(pool.wait_time),
        "oldest_wait_ms": pool.oldest_wait.map(milliseconds),
        "timeouts": pool.timeouts,
        "cancelled_waits": pool.cancelled_waits,
        "rejected": pool.rejected,
        "opened": pool.opened,
        "connect_failures": pool.connect_failures,
        "leaks": pool.leaks,
        "closed": Value::from_iter(closed),
        "statements": pool.statements,
        "resets": pool.resets,
        "lanes": pool.lanes.open,
        "lane_statements": pool.lanes.statements,
        "lane_demotions": Value::from_iter(pool.lanes.demotions()),
    })
}

fn listen(counts: ListenCounts) -> Value {
    let ListenCounts { listeners, channels, notifications, gaps, too_slow } = counts;
    json!({
        "listeners": listeners,
        "channels": channels,
        "notifications": notifications,
        "gaps": gaps,
        "too_slow": too_slow,
    })
}

/// Returns open transactions, leaks, and other checkouts that last long; the oldest first.
fn checkouts(all: &[CheckoutInfo]) -> Value {
    let is_transaction = |one: &&CheckoutInfo| one.holder.rpc == "Transact";
    let matters = |one: &&CheckoutInfo| is_transaction(one) || one.is_leak || one.age >= LONG;
    let shown = all.iter().filter(matters).take(SHOWN);
    json!({
        "count": all.len(),
        "transactions": all.iter().filter(is_transaction).count(),
        "held": all.iter().filter(matters).count(),
        "shown": shown.map(checkout).collect::<Vec<_>>(),
    })
}

fn checkout(one: &CheckoutInfo) -> Value {
    json!({
        "id": one.id,
        "caller": *one.holder.caller,
        "rpc": one.holder.rpc,
        "tag": *one.holder.tag,
        "statement": one.holder.summary,
        "state": one.state,
        "age_ms": milliseconds(one.age),
        "leak": one.is_leak,
    })
}

fn recent(operations: &RecentOperations) -> Value {
    let slowest = operations.slowest.iter().map(|(statement, runs)| {
        json!({
            "operation": statement.operation,
            "statement": &*statement.text,
            "runs": runs.count,
            "failed": runs.failed,
            "total_us": microseconds(runs.total),
            "max_us": microseconds(runs.longest),
        })
    });
    json!({
        "runs": operations.all.count,
        "failed": operations.all.failed,
        "total_us": microseconds(operations.all.total),
        "slowest": slowest.collect::<Vec<_>>(),
    })
}

fn failures(telemetry: &Telemetry) -> Value {
    let all = telemetry.failures();
    let shown = all.iter().take(SHOWN).map(|each| {
        json!({
            "database": each.kind.database.as_deref(),
            "method": each.kind.method,
            "reason": each.kind.reason,
            "outcome": each.kind.outcome,
            "count": each.count,
            "last_ms": milliseconds(each.last),
        })
    });
    json!({
        "count": all.iter().map(|each| each.count).sum::<u64>(),
        "shown": shown.collect::<Vec<_>>(),
    })
}
