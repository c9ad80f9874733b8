//! The limits of a caller: how much at once, and how often.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::config::CallerSettings;
use crate::error::{Error, ErrorKind, Result};

/// The limits of a caller. The default has none.
#[derive(Debug, Default)]
pub(crate) struct CallerLimits {
    bounds: Option<Bounds>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct Bounds {
    section: String,
    max_calls: usize,
    max_transactions: usize,
    max_connections: usize,
    max_rate: Option<u32>,
}

#[derive(Debug, Default)]
struct State {
    calls: usize,
    transactions: usize,
    connections: usize,
    /// The moment at which all calls of the rate so far are paid for (a leaky bucket as a meter, ITU-T I.371).
    paid_until: Option<Instant>,
}

/// A call of a caller that is within its limits, until it is dropped.
#[derive(Debug)]
pub(crate) struct CallPermit {
    limits: Arc<CallerLimits>,
    is_transaction: bool,
}

impl CallerLimits {
    pub(crate) fn new(section: &str, settings: &CallerSettings) -> Self {
        let bounds = Bounds {
            section: section.to_owned(),
            max_calls: settings.max_calls,
            max_transactions: settings.max_transactions,
            max_connections: settings.max_connections,
            max_rate: settings.max_rate,
        };
        Self { bounds: Some(bounds), state: Mutex::default() }
    }

    /// The calls that run now.
    pub(crate) fn calls(&self) -> usize {
        self.state.lock().calls
    }

    /// The interactive transactions that are open now.
    pub(crate) fn transactions(&self) -> usize {
        self.state.lock().transactions
    }

    /// Admits a call, or returns the error of the limit that it would exceed.
    pub(crate) fn admit(
        self: &Arc<Self>,
        is_transaction: bool,
        now: Instant,
    ) -> Result<Option<CallPermit>> {
        let Some(bounds) = &self.bounds else { return Ok(None) };
        let mut state = self.state.lock();
        if state.calls >= bounds.max_calls {
            return Err(exceeded(bounds, "max_calls", bounds.max_calls, "calls at once"));
        }
        if is_transaction && state.transactions >= bounds.max_transactions {
            let max = bounds.max_transactions;
            return Err(exceeded(bounds, "max_transactions", max, "transactions at once"));
        }
        if let Some(rate) = bounds.max_rate {
            // A second's calls may come at once.
            let paid = state.paid_until.unwrap_or(now).max(now) + Duration::from_secs(1) / rate;
            if paid > now + Duration::from_secs(1) {
                let rate = usize::try_from(rate).unwrap_or(usize::MAX);
                return Err(exceeded(bounds, "max_rate", rate, "calls a second"));
            }
            state.paid_until = Some(paid);
        }
        state.calls += 1;
        state.transactions += usize::from(is_transaction);
        Ok(Some(CallPermit { limits: Arc::clone(self), is_transaction }))
    }
}

/// The callers that have called on a connection, each counted for it until it is dropped.
#[derive(Debug, Default)]
pub(crate) struct ConnectionCallers(Mutex<Vec<Arc<CallerLimits>>>);

impl ConnectionCallers {
    /// Counts the connection for a caller, unless it was already; or returns the error of the limit.
    pub(crate) fn admit(&self, limits: &Arc<CallerLimits>) -> Result<()> {
        let Some(bounds) = &limits.bounds else { return Ok(()) };
        let mut callers = self.0.lock();
        if callers.iter().any(|known| Arc::ptr_eq(known, limits)) {
            return Ok(());
        }
        let mut state = limits.state.lock();
        if state.connections >= bounds.max_connections {
            let max = bounds.max_connections;
            return Err(exceeded(bounds, "max_connections", max, "connections at once"));
        }
        state.connections += 1;
        callers.push(Arc::clone(limits));
        Ok(())
    }
}

impl Drop for ConnectionCallers {
    fn drop(&mut self) {
        for limits in self.0.get_mut() {
            limits.state.lock().connections -= 1;
        }
    }
}

impl Drop for CallPermit {
    fn drop(&mut self) {
        let mut state = self.limits.state.lock();
        state.calls -= 1;
        state.transactions -= usize::from(self.is_transaction);
    }
}

fn exceeded(bounds: &Bounds, key: &str, max: usize, what: &str) -> Error {
    let Bounds { section, .. } = bounds;
    let message = format!("this caller may have {max} {what}");
    Error::new(ErrorKind::CallerLimit, message)
        .with_hint(format!("An operator can raise callers.{section}.{key}."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_from;

    fn limits(pairs: &[(&str, &str)]) -> Arc<CallerLimits> {
        let config = load_from(pairs).expect("it is a configuration");
        Arc::new(CallerLimits::new("shop", &config.callers["shop"]))
    }

    #[test]
    fn calls_and_transactions_at_once_are_counted_until_they_end() {
        let limits =
            limits(&[("callers.shop.max_calls", "2"), ("callers.shop.max_transactions", "1")]);
        let now = Instant::now();
        let transaction = limits.admit(true, now).expect("the first");
        let error = limits.admit(true, now).expect_err("a second transaction");
        assert_eq!(error.kind(), ErrorKind::CallerLimit);
        assert!(error.hint().is_some_and(|hint| hint.contains("callers.shop.max_transactions")));
        let call = limits.admit(false, now).expect("the second call");
        limits.admit(false, now).expect_err("a third call");
        drop(transaction);
        let _second = limits.admit(true, now).expect("there is room again");
        drop(call);
        limits.admit(true, now).expect_err("the transaction is open");
    }

    #[test]
    fn a_connection_counts_once_for_each_caller_until_it_ends() {
        let shop = limits(&[("callers.shop.max_connections", "2")]);
        let other = limits(&[("callers.shop.max_connections", "1")]);
        let connections = [(); 3].map(|()| ConnectionCallers::default());
        let [first, second, third] = &connections;
        for connection in [first, first, second, second] {
            connection.admit(&shop).expect("there is room");
        }
        let error = third.admit(&shop).expect_err("a third connection");
        assert_eq!(error.kind(), ErrorKind::CallerLimit);
        third.admit(&other).expect("another caller has its own limit");
        drop(connections);
        let next = ConnectionCallers::default();
        next.admit(&shop).expect("there is room again");
        next.admit(&other).expect("there is room again");
    }

    #[test]
    fn a_rate_allows_a_seconds_calls_at_once_and_then_one_each_interval() {
        let limits = limits(&[("callers.shop.max_rate", "10")]);
        let start = Instant::now();
        let admitted = |at: Instant| (0..100).filter(|_| limits.admit(false, at).is_ok()).count();
        assert_eq!(admitted(start), 10);
        assert_eq!(admitted(start + Duration::from_millis(99)), 0);
        assert_eq!(admitted(start + Duration::from_millis(300)), 3);
        assert_eq!(admitted(start + Duration::from_secs(3600)), 10);
    }
}
