//! The move of connections to the worker that needs them.
//!
//! A connection stays with the worker that opened it, and a call on another worker wakes that one twice. Callers that
//! come before all are open may have opened them on one worker. So while the pool can open no more, a caller that
//! returns a connection of another worker, which has more than it needs, opens one on its own worker instead.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::manager::Manager;
use super::pool_state::PoolState;
use super::shard::{PooledObject, Shard};
use crate::clock::now;

/// Returns true if a connection that a caller of `own` returns had better be one of that worker.
pub(super) fn is_due<M: Manager>(
    pool: &PoolState<M>,
    own: &Shard<M>,
    object: &PooledObject<M>,
) -> bool {
    if !M::BOUND_TO_WORKER || object.worker == own.worker || pool.context.counters.may_open() {
        return false;
    }
    let shards = pool.shards.read();
    let lender = shards.iter().find(|shard| shard.worker == object.worker);
    lender.is_some_and(|lender| own.needs_one_of(lender))
        && pool.context.refill.begin(now()).is_some()
        && Handle::try_current().is_ok_and(|current| current.id() == own.worker)
}

/// Starts to replace a connection of another worker, which is closed once the new one is open. The permits are held
/// meanwhile: nobody waits in vain for it.
pub(super) fn start<M: Manager>(
    pool: &Arc<PoolState<M>>,
    own: &Shard<M>,
    object: PooledObject<M>,
    permits: impl Send + 'static,
) {
    let pool = Arc::clone(pool);
    let own = own.clone();
    tokio::spawn(async move {
        let refill = &pool.context.refill;
        let Some(turn) = refill.begin(now()) else {
            // Another connection has begun to be opened meanwhile.
            drop(object);
            return pool.context.returned.notify_waiters();
        };
        if let Err((object, error)) = own.open_instead(object).await {
            refill.failed(error.kind(), now());
            drop(object);
            pool.context.returned.notify_waiters();
        }
        drop(turn);
        drop(permits);
    });
}
