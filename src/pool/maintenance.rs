//! What is done without being asked: idle connections are looked after, `pool.min` is kept open, and
//! leaks are told.
//!
//! One task a shard, on the worker that drives the shard's connections. Only one of them opens a
//! connection at a time: a database that comes back is not stormed.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::Id;

use super::counters::Counters;
use super::shard::{Refusal, Shard, Surplus};
use super::{Inner, Manager};
use crate::clock::now;
use crate::error::ErrorKind;

/// How often a keeper looks by itself: an idle connection that was lost is replaced within a second.
const LOOK: Duration = Duration::from_millis(250);
/// Between two attempts to open one while the database is away, at first and at most.
const SHORTEST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(5);
/// The same when it refuses us: accounts are locked by wrong passwords.
const REFUSED: Duration = Duration::from_secs(30);

/// When a connection may be opened that nobody waits for.
#[derive(Debug, Default)]
pub(crate) struct Refill {
    busy: AtomicBool,
    pause: Mutex<Pause>,
}

#[derive(Debug, Default)]
struct Pause {
    length: Duration,
    until: Option<Instant>,
}

impl Refill {
    /// Says that the database was reached; returns whether that is news.
    pub(crate) fn reached(&self) -> bool {
        std::mem::take(&mut *self.pause.lock()).until.is_some()
    }

    fn failed(&self, refused: bool, now: Instant) {
        let mut pause = self.pause.lock();
        pause.length = match refused {
            true => REFUSED,
            false => (pause.length * 2).clamp(SHORTEST, LONGEST),
        };
        pause.until = Some(now + pause.length);
    }

    /// The right to open one now.
    fn begin(&self, now: Instant) -> Option<Turn<'_>> {
        if self.pause.lock().until.is_some_and(|until| now < until) {
            return None;
        }
        let free = self.busy.compare_exchange(false, true, SeqCst, SeqCst).is_ok();
        free.then_some(Turn(self))
    }
}

struct Turn<'a>(&'a Refill);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.busy.store(false, SeqCst);
    }
}

/// Looks after the shard of one worker until the pool is gone.
pub(crate) async fn keep<M: Manager>(pool: Weak<Inner<M>>, counters: Arc<Counters>, worker: Id) {
    loop {
        let woken = counters.wake.notified();
        drop(tokio::time::timeout(LOOK, woken).await);
        let Some(pool) = pool.upgrade() else { return };
        if counters.closing.load(SeqCst) {
            return;
        }
        let shard = pool.shards.read().iter().find(|shard| shard.runs_on(worker)).cloned();
        let Some(shard) = shard else { return };
        pool.reap(&shard);
        pool.tell_leaks();
        pool.refill(&shard).await;
    }
}

impl<M: Manager> Inner<M> {
    /// Closes what is idle in a shard and should not be open.
    pub(crate) fn reap(&self, shard: &Shard<M>) {
        // Two that look at once would both count what is too many.
        let _looking = self.looking.lock();
        let counters = &self.common.counters;
        let open = counters.open();
        let mut surplus = Surplus {
            over: open.saturating_sub(counters.max()),
            spare: open.saturating_sub(counters.min()),
        };
        shard.reap(now(), &mut surplus);
    }

    fn tell_leaks(&self) {
        let Some(threshold) = self.leak_threshold() else { return };
        let counters = &self.common.counters;
        for leak in self.registry.new_leaks(now(), threshold) {
            counters.leaks.fetch_add(1, SeqCst);
            let pool = &*counters.database;
            let age_ms = u64::try_from(leak.age.as_millis()).unwrap_or(u64::MAX);
            let holder = &leak.holder;
            let (caller, rpc, tag) = (&*holder.caller, holder.rpc, &*holder.tag);
            let statement = &*holder.summary;
            let checkout = leak.id;
            tracing::warn!(
                pool,
                checkout,
                caller,
                rpc,
                tag,
                statement,
                age_ms,
                "connection held for longer than pool.leak_threshold"
            );
        }
    }

    /// Opens what is missing to `min`, one after the other, where the fewest are.
    async fn refill(&self, shard: &Shard<M>) {
        let counters = &self.common.counters;
        while counters.slots() < counters.min() {
            let size = shard.size();
            if self.shards.read().iter().any(|other| other.size() < size) {
                return;
            }
            let Some(_turn) = self.common.refill.begin(now()) else { return };
            // Whoever holds a connection has one open, and whoever waits opens one.
            let Some(_permit) = self.queue.enter_at_once() else { return };
            match shard.open_one().await {
                Ok(()) => {}
                Err(Refusal::Full | Refusal::Closed) => return,
                Err(Refusal::NoRoom(_)) => return self.common.refill.failed(false, now()),
                Err(Refusal::Failed(error)) => {
                    let refused = error.kind() == ErrorKind::BackendMisconfigured;
                    return self.common.refill.failed(refused, now());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_while_the_database_is_away_become_rare_and_one_is_made_at_a_time() {
        let (refill, mut at) = (Refill::default(), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..7 {
            assert!(refill.begin(at).is_some());
            refill.failed(false, at);
            let pause = refill.pause.lock().length;
            assert!(refill.begin(at + pause - Duration::from_millis(1)).is_none());
            at += pause;
            pauses.push(pause.as_millis());
        }
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 5000, 5000]);
        refill.failed(true, at);
        assert!(refill.begin(at + LONGEST).is_none(), "a wrong password is not tried often");
        assert!(refill.reached() && !refill.reached());
        let turn = refill.begin(at).expect("it was reached");
        assert!(refill.begin(at).is_none(), "one is being opened");
        drop(turn);
        assert!(refill.begin(at).is_some());
    }
}
