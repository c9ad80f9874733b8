//! What operators see of a pool, and do to it.

use super::snapshot::CloseReason;
use super::{CheckoutInfo, Manager, Pool, PoolAdmin, PoolSnapshot};
use crate::clock::now;
use crate::error::{Error, ErrorKind, Result};

/// The most connections a pool can be given at run time: what `pool.max` can be.
const MOST: usize = 10_000;

impl<M: Manager> PoolAdmin for Pool<M> {
    fn snapshot(&self) -> PoolSnapshot {
        Self::snapshot(self)
    }

    fn checkouts(&self) -> Vec<CheckoutInfo> {
        self.0.registry.list(now(), self.0.leak_threshold())
    }

    fn pause(&self) {
        self.0.queue.pause();
    }

    fn resume(&self) {
        self.0.queue.resume();
        self.0.common.counters.wake.notify_waiters();
    }

    fn flush(&self, reason: CloseReason) {
        self.0.common.trust.give_up(reason);
        self.look();
    }

    fn resize(&self, min: Option<usize>, max: Option<usize>) -> Result<()> {
        let counters = &self.0.common.counters;
        // Two at once must not mix their bounds.
        let resizing = self.0.looking.lock();
        let (new_min, new_max) =
            (min.unwrap_or_else(|| counters.min()), max.unwrap_or_else(|| counters.max()));
        check_bounds(min.is_some(), new_min, new_max)?;
        counters.resize(new_min, new_max);
        drop(resizing);
        for shard in self.0.shards.read().iter() {
            shard.grow(counters.limit());
        }
        self.0.queue.resize(counters.limit());
        let share = self.0.common.settings.transaction_share;
        self.0.transactions.resize(super::transactions_of(counters.max(), share));
        self.look();
        Ok(())
    }

    fn terminate(&self, id: u64) -> bool {
        self.0.registry.terminate(id)
    }
}

/// Whether a pool can have these bounds; an error names what was asked for.
///
/// # Errors
/// As [`PoolAdmin::resize`].
pub fn check_bounds(asks_for_min: bool, min: usize, max: usize) -> Result<()> {
    let refuse = |field: &str, description: String| {
        Err(Error::field(ErrorKind::InvalidOption, field, description))
    };
    if !(1..=MOST).contains(&max) {
        return refuse("max", format!("it is from 1 to {MOST}"));
    }
    if min > max {
        let field = if asks_for_min { "min" } else { "max" };
        return refuse(field, format!("min would be {min}, over max, which is {max}"));
    }
    Ok(())
}

impl<M: Manager> Pool<M> {
    /// Closes what is idle and should not be open any more, and opens what is missing.
    fn look(&self) {
        for shard in self.0.shards.read().iter() {
            self.0.reap(shard);
        }
        self.0.common.counters.wake.notify_waiters();
    }
}
