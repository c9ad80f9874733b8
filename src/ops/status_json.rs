//! `/status`: all that is known of a server at one moment, as JSON.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::Status;
use crate::clock::milliseconds;
use crate::engine::Database;
use crate::pool::{CheckoutInfo, CloseReason, PoolSnapshot};
use crate::telemetry::Telemetry;
use crate::telemetry::top_statements::{RecentOperations, WINDOW};

/// Checkouts that are shown of one database, and kinds of errors; the others are counted.
const SHOWN: usize = 50;

/// A checkout that is held longer is shown whatever it does.
const LONG: Duration = Duration::from_secs(1);

/// What holds a connection while its caller thinks.
const TRANSACT: &str = "Transact";

pub(crate) async fn show(State(status): State<Status>) -> Json<Value> {
    let readiness = status.ready.borrow().clone();
    let databases = status.engine.databases();
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "instance": status.instance,
        "uptime_ms": milliseconds(status.started.elapsed()),
        "ready": readiness.is_ready(),
        "reasons": readiness.reasons,
        "recent_ms": milliseconds(WINDOW),
        "failures": failures(&status.telemetry),
        "databases":
            databases.map(|each| database(each, &status.telemetry)).collect::<Vec<_>>(),
    }))
}

fn database(database: &Database, telemetry: &Telemetry) -> Value {
    let (backend, counts) = (database.backend(), database.counts());
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
        "pool": pool(&backend.pool()),
        "checkouts": checkouts(&backend.control().checkouts()),
        "recent": recent(&telemetry.recent_operations(database.name())),
    })
}

fn pool(pool: &PoolSnapshot) -> Value {
    let closed: serde_json::Map<String, Value> = CloseReason::ALL
        .iter()
        .map(|reason| (reason.as_str().to_owned(), pool.closed_because(*reason).into()))
        .collect();
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
        "closed": closed,
        "statements": pool.statements,
        "resets": pool.resets,
    })
}

/// Open transactions, leaks, and whatever else is held for long; the oldest first.
fn checkouts(all: &[CheckoutInfo]) -> Value {
    let matters =
        |one: &&CheckoutInfo| one.holder.rpc == TRANSACT || one.is_leak || one.age >= LONG;
    let shown = all.iter().filter(matters).take(SHOWN);
    json!({
        "count": all.len(),
        "transactions": all.iter().filter(|one| one.holder.rpc == TRANSACT).count(),
        "held": all.iter().filter(matters).count(),
        "shown": shown.map(checkout).collect::<Vec<_>>(),
    })
}

fn checkout(one: &CheckoutInfo) -> Value {
    json!({
        "id": one.id,
        "caller": one.holder.caller,
        "rpc": one.holder.rpc,
        "tag": one.holder.tag,
        "statement": one.holder.summary,
        "state": one.state,
        "age_ms": milliseconds(one.age),
        "leak": one.is_leak,
    })
}

fn recent(ran: &RecentOperations) -> Value {
    let slowest = ran.slowest.iter().map(|(statement, runs)| {
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
        "runs": ran.all.count,
        "failed": ran.all.failed,
        "total_us": microseconds(ran.all.total),
        "slowest": slowest.collect::<Vec<_>>(),
    })
}

fn failures(telemetry: &Telemetry) -> Value {
    let all = telemetry.failures();
    let shown = all.iter().take(SHOWN).map(|each| {
        json!({
            "method": each.method,
            "reason": each.reason,
            "outcome": each.outcome,
            "count": each.count,
            "last_ms": milliseconds(each.last),
        })
    });
    json!({
        "count": all.iter().map(|each| each.count).sum::<u64>(),
        "shown": shown.collect::<Vec<_>>(),
    })
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
