//! Maintenance in the background: evicts idle connections, keeps `pool.min` open, and reports leaks.
//!
//! One task a shard, on the worker that drives the shard's connections. Only one of them opens a
//! connection at a time, so that a database that has just restarted is not overloaded.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Id;

use super::counters::Counters;
use super::manager::Manager;
use super::pool_state::PoolState;
use super::shard::Shard;
use super::shard_manager::TakeError;
use crate::clock::{milliseconds, now};

/// The time between two rounds: an idle connection that was lost is replaced within a second.
const INTERVAL: Duration = Duration::from_millis(250);

/// Maintains the shard of one worker until the pool is closed.
pub(crate) async fn run<M: Manager>(pool: Weak<PoolState<M>>, counters: Arc<Counters>, worker: Id) {
    loop {
        let woken = counters.wake.notified();
        drop(tokio::time::timeout(INTERVAL, woken).await);
        let Some(pool) = pool.upgrade() else { return };
        if counters.closing.load(SeqCst) {
            return;
        }
        let shard = pool.shards.read().iter().find(|shard| shard.worker == worker).cloned();
        let Some(shard) = shard else { return };
        pool.reap(&shard);
        log_leaks(&pool);
        refill(&pool, &shard).await;
    }
}

fn log_leaks<M: Manager>(pool: &PoolState<M>) {
    let Some(threshold) = pool.leak_threshold() else { return };
    let counters = &pool.context.counters;
    for leak in pool.registry.new_leaks(now(), threshold) {
        counters.leaks.fetch_add(1, SeqCst);
        tracing::warn!(
            pool = counters.database,
            checkout = leak.id,
            caller = &*leak.holder.caller,
            rpc = leak.holder.rpc,
            tag = &*leak.holder.tag,
            statement = leak.holder.summary,
            age_ms = milliseconds(leak.age),
            "connection held for longer than pool.leak_threshold"
        );
    }
}

/// Opens the connections missing to `min`, one after the other, on the worker that has the fewest.
async fn refill<M: Manager>(pool: &PoolState<M>, shard: &Shard<M>) {
    let counters = &pool.context.counters;
    let refill = &pool.context.refill;
    while counters.permits() < counters.min() {
        let size = shard.size();
        if pool.shards.read().iter().any(|other| other.size() < size) {
            return;
        }
        let Some(_permit) = refill.begin(now()) else { return };
        // Callers with a permit have a connection open or open one themselves.
        let Some(_checkout_permit) = pool.queue.try_enter() else { return };
        match shard.open_one().await {
            Ok(()) => {}
            Err(TakeError::Exhausted | TakeError::Closed) => return,
            Err(TakeError::ServerFull(error) | TakeError::Connect(error)) => {
                return refill.failed(error.kind(), now());
            }
        }
    }
}
