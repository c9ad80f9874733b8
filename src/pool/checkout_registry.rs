//! The registry of the connections that are checked out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use super::call_context::{CallContext, CheckoutHolder, Termination};

/// The observable activity of a connection.
pub(crate) trait ConnectionActivity: Send + Sync {
    /// Describes it, as in `idle in transaction`; no I/O.
    fn describe(&self) -> &'static str;
}

/// The operators' view of a checkout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CheckoutInfo {
    /// The number that identifies it among those of this pool since the start of the process.
    pub id: u64,
    pub holder: CheckoutHolder,
    pub since: SystemTime,
    pub age: Duration,
    /// It is held for longer than `pool.leak_threshold`.
    pub is_leak: bool,
    /// The activity of the connection, as in `idle in transaction`. Empty if unknown.
    pub state: String,
}

/// The connections that are checked out, the oldest checkout first.
#[derive(Default)]
pub(crate) struct CheckoutRegistry {
    last_id: AtomicU64,
    checkouts: Mutex<BTreeMap<u64, RegisteredCheckout>>,
}

struct RegisteredCheckout {
    context: Arc<CallContext>,
    since: Instant,
    activity: Option<Arc<dyn ConnectionActivity>>,
    reported_as_leak: bool,
}

impl CheckoutRegistry {
    /// Adds a checkout and returns its number.
    pub(crate) fn add(
        &self,
        context: &Arc<CallContext>,
        since: Instant,
        activity: Option<Arc<dyn ConnectionActivity>>,
    ) -> u64 {
        // From 1: no message can tell 0 from an unset field.
        let id = self.last_id.fetch_add(1, Relaxed) + 1;
        let context = Arc::clone(context);
        let checkout = RegisteredCheckout { context, since, activity, reported_as_leak: false };
        self.checkouts.lock().insert(id, checkout);
        id
    }

    pub(crate) fn remove(&self, id: u64) {
        let removed = self.checkouts.lock().remove(&id);
        // Not under the lock.
        drop(removed);
    }

    /// Terminates the call of a checkout; returns false if there is no such checkout.
    pub(crate) fn terminate(&self, id: u64, cause: Termination) -> bool {
        let context = self.checkouts.lock().get(&id).map(|checkout| Arc::clone(&checkout.context));
        context.map(|context| context.terminate(cause)).is_some()
    }

    /// All checkouts; those older than `leak_threshold` are leaks.
    pub(crate) fn list(&self, now: Instant, leak_threshold: Option<Duration>) -> Vec<CheckoutInfo> {
        let checkouts = self.checkouts.lock();
        checkouts.iter().map(|(id, checkout)| checkout.info(*id, now, leak_threshold)).collect()
    }

    /// The leaks that were not returned before.
    pub(crate) fn new_leaks(&self, now: Instant, threshold: Duration) -> Vec<CheckoutInfo> {
        let mut new = Vec::new();
        for (id, checkout) in self.checkouts.lock().iter_mut() {
            if !checkout.reported_as_leak && checkout.age(now) > threshold {
                checkout.reported_as_leak = true;
                new.push(checkout.info(*id, now, Some(threshold)));
            }
        }
        new
    }
}

impl RegisteredCheckout {
    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    fn info(&self, id: u64, now: Instant, leak_threshold: Option<Duration>) -> CheckoutInfo {
        let age = self.age(now);
        CheckoutInfo {
            id,
            holder: self.context.holder(),
            since: SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH),
            age,
            is_leak: leak_threshold.is_some_and(|threshold| age > threshold),
            state: self.activity.as_ref().map_or("", |activity| activity.describe()).to_owned(),
        }
    }
}
