//! Who holds a connection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use super::Borrower;
use super::admin::CheckedOut;

/// What a connection says of itself.
pub trait Condition: Send + Sync {
    /// What it does, as in `idle in transaction`; no I/O.
    fn describe(&self) -> &'static str;
}

/// The connections on loan, the oldest loan first.
#[derive(Default)]
pub(crate) struct Register {
    next: AtomicU64,
    loans: Mutex<BTreeMap<u64, Loan>>,
}

struct Loan {
    borrower: Arc<Borrower>,
    since: Instant,
    condition: Option<Arc<dyn Condition>>,
    told: bool,
}

impl Register {
    /// Notes a loan; returns what names it.
    pub(crate) fn enter(
        &self,
        borrower: &Arc<Borrower>,
        since: Instant,
        condition: Option<Arc<dyn Condition>>,
    ) -> u64 {
        // From 1: no message can tell 0 from nothing.
        let id = self.next.fetch_add(1, Relaxed) + 1;
        let loan = Loan { borrower: Arc::clone(borrower), since, condition, told: false };
        self.loans.lock().insert(id, loan);
        id
    }

    pub(crate) fn remove(&self, id: u64) {
        let loan = self.loans.lock().remove(&id);
        drop(loan);
    }

    /// Tells a borrower to stop; `false`: there is no such loan.
    pub(crate) fn terminate(&self, id: u64) -> bool {
        let borrower = self.loans.lock().get(&id).map(|loan| Arc::clone(&loan.borrower));
        borrower.map(|borrower| borrower.terminate()).is_some()
    }

    /// All loans; those older than `leak` are leaks.
    pub(crate) fn list(&self, now: Instant, leak: Option<Duration>) -> Vec<CheckedOut> {
        let loans = self.loans.lock();
        loans.iter().map(|(id, loan)| loan.show(*id, now, leak)).collect()
    }

    /// The leaks that were not told before.
    pub(crate) fn new_leaks(&self, now: Instant, leak: Duration) -> Vec<CheckedOut> {
        let mut loans = self.loans.lock();
        let new = loans.iter_mut().filter(|(_, loan)| !loan.told && loan.age(now) > leak);
        new.map(|(id, loan)| {
            loan.told = true;
            loan.show(*id, now, Some(leak))
        })
        .collect()
    }
}

impl Loan {
    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    fn show(&self, id: u64, now: Instant, leak: Option<Duration>) -> CheckedOut {
        let age = self.age(now);
        let state = self.condition.as_ref().map(|condition| condition.describe());
        CheckedOut {
            id,
            holder: self.borrower.holder(),
            since: SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH),
            age,
            is_leak: leak.is_some_and(|leak| age > leak),
            state: state.unwrap_or_default().to_owned(),
        }
    }
}
