//! Who holds a connection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use super::CallContext;
use super::admin::CheckoutInfo;

/// What a connection says of itself.
pub trait ConnectionActivity: Send + Sync {
    /// What it does, as in `idle in transaction`; no I/O.
    fn describe(&self) -> &'static str;
}

/// The connections on checkout, the oldest checkout first.
#[derive(Default)]
pub(crate) struct CheckoutRegistry {
    next: AtomicU64,
    checkouts: Mutex<BTreeMap<u64, RegisteredCheckout>>,
}

struct RegisteredCheckout {
    context: Arc<CallContext>,
    since: Instant,
    condition: Option<Arc<dyn ConnectionActivity>>,
    told: bool,
}

impl CheckoutRegistry {
    /// Notes a checkout; returns what names it.
    pub(crate) fn enter(
        &self,
        context: &Arc<CallContext>,
        since: Instant,
        condition: Option<Arc<dyn ConnectionActivity>>,
    ) -> u64 {
        // From 1: no message can tell 0 from nothing.
        let id = self.next.fetch_add(1, Relaxed) + 1;
        let checkout =
            RegisteredCheckout { context: Arc::clone(context), since, condition, told: false };
        self.checkouts.lock().insert(id, checkout);
        id
    }

    pub(crate) fn remove(&self, id: u64) {
        let checkout = self.checkouts.lock().remove(&id);
        drop(checkout);
    }

    /// Tells a context to stop; `false`: there is no such checkout.
    pub(crate) fn terminate(&self, id: u64) -> bool {
        let context = self.checkouts.lock().get(&id).map(|checkout| Arc::clone(&checkout.context));
        context.map(|context| context.terminate()).is_some()
    }

    /// All checkouts; those older than `leak` are leaks.
    pub(crate) fn list(&self, now: Instant, leak: Option<Duration>) -> Vec<CheckoutInfo> {
        let checkouts = self.checkouts.lock();
        checkouts.iter().map(|(id, checkout)| checkout.show(*id, now, leak)).collect()
    }

    /// The leaks that were not told before.
    pub(crate) fn new_leaks(&self, now: Instant, leak: Duration) -> Vec<CheckoutInfo> {
        let mut checkouts = self.checkouts.lock();
        let new =
            checkouts.iter_mut().filter(|(_, checkout)| !checkout.told && checkout.age(now) > leak);
        new.map(|(id, checkout)| {
            checkout.told = true;
            checkout.show(*id, now, Some(leak))
        })
        .collect()
    }
}

impl RegisteredCheckout {
    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    fn show(&self, id: u64, now: Instant, leak: Option<Duration>) -> CheckoutInfo {
        let age = self.age(now);
        let state = self.condition.as_ref().map(|condition| condition.describe());
        CheckoutInfo {
            id,
            holder: self.context.holder(),
            since: SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH),
            age,
            is_leak: leak.is_some_and(|leak| age > leak),
            state: state.unwrap_or_default().to_owned(),
        }
    }
}
