//! The lifetime of connections, and the checks before an idle one is checked out. Pure.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::snapshot::CloseReason;

/// The lifetime of one connection.
#[derive(Debug)]
pub(crate) struct Lifetime {
    /// The time at which it is closed for its age, if ever.
    pub(crate) expires: Option<Instant>,
    pub(crate) idle_since: Instant,
    /// The pool's generation when its opening began.
    pub(crate) generation: u64,
}

impl Lifetime {
    /// Returns true if the connection is to be closed for its age.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// The events that make a pool distrust its idle connections.
#[derive(Debug, Default)]
pub(crate) struct PoolHealth {
    generation: AtomicU64,
    events: Mutex<HealthEvents>,
}

#[derive(Debug, Default)]
struct HealthEvents {
    /// The reason for which the last generation was invalidated, if one was.
    invalidated_for: Option<CloseReason>,
    /// The last time that a connection was found lost: what was idle then is validated.
    lost: Option<Instant>,
    /// The last time that a connection did not even answer: what was idle then is closed.
    unresponsive: Option<Instant>,
}

/// The result of a check before an idle connection is checked out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdleCheck {
    /// It may be checked out.
    Healthy,
    /// It may be checked out if it answers.
    Validate,
    /// It is closed.
    Evict(CloseReason),
}

impl PoolHealth {
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(SeqCst)
    }

    /// Invalidates all connections that are open.
    pub(crate) fn invalidate_all(&self, reason: CloseReason) {
        self.events.lock().invalidated_for = Some(reason);
        self.generation.fetch_add(1, SeqCst);
    }

    pub(crate) fn connection_lost(&self, now: Instant) {
        self.events.lock().lost = Some(now);
    }

    pub(crate) fn connection_unresponsive(&self, now: Instant) {
        self.events.lock().unresponsive = Some(now);
    }

    /// The reason for which a connection's generation was invalidated, if it was.
    pub(crate) fn invalidated(&self, lifetime: &Lifetime) -> Option<CloseReason> {
        let is_older = lifetime.generation < self.generation();
        if is_older { self.events.lock().invalidated_for } else { None }
    }

    /// Checks an idle connection, which needs no validation unless it was idle for `validate_after`.
    pub(crate) fn check(
        &self,
        lifetime: &Lifetime,
        now: Instant,
        validate_after: Duration,
    ) -> IdleCheck {
        if let Some(reason) = self.invalidated(lifetime) {
            return IdleCheck::Evict(reason);
        }
        let events = self.events.lock();
        let was_idle = |at: Option<Instant>| at.is_some_and(|at| lifetime.idle_since <= at);
        let idle = now.saturating_duration_since(lifetime.idle_since);
        if was_idle(events.unresponsive) {
            IdleCheck::Evict(CloseReason::Broken)
        } else if was_idle(events.lost) || idle >= validate_after {
            IdleCheck::Validate
        } else {
            IdleCheck::Healthy
        }
    }
}

/// The time at which a connection that opens now is to be closed: after `max_lifetime`, or earlier by up to
/// `jitter` of it, so that connections opened together are not closed together. `chance` is from 0 to 1.
pub(crate) fn expiry(
    now: Instant,
    max_lifetime: Duration,
    jitter: f64,
    chance: f64,
) -> Option<Instant> {
    let lifetime = max_lifetime.mul_f64((1.0 - jitter * chance).clamp(0.0, 1.0));
    (!max_lifetime.is_zero()).then(|| now + lifetime)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn lifetime(idle_since: Instant) -> Lifetime {
        Lifetime { expires: None, idle_since, generation: 0 }
    }

    #[test]
    fn only_a_connection_that_was_idle_for_long_is_validated() {
        let health = PoolHealth::default();
        let now = Instant::now();
        let check = |at| health.check(&lifetime(now), at, 5 * SECOND);
        assert_eq!(check(now + SECOND), IdleCheck::Healthy);
        assert_eq!(check(now + 5 * SECOND), IdleCheck::Validate);
    }

    #[test]
    fn connections_that_were_idle_when_another_was_lost_are_validated_and_later_ones_are_not() {
        let health = PoolHealth::default();
        let now = Instant::now();
        health.connection_lost(now + SECOND);
        let check = |since| health.check(&lifetime(since), now + 2 * SECOND, 5 * SECOND);
        assert_eq!(check(now), IdleCheck::Validate);
        assert_eq!(check(now + 2 * SECOND), IdleCheck::Healthy);
        health.connection_unresponsive(now + SECOND);
        assert_eq!(check(now), IdleCheck::Evict(CloseReason::Broken));
        assert_eq!(check(now + 2 * SECOND), IdleCheck::Healthy);
    }

    #[test]
    fn an_earlier_generation_is_closed_for_the_reason_that_invalidated_it() {
        let health = PoolHealth::default();
        let now = Instant::now();
        health.invalidate_all(CloseReason::Failover);
        let old = health.check(&lifetime(now), now, SECOND);
        assert_eq!(old, IdleCheck::Evict(CloseReason::Failover));
        let new = Lifetime { generation: health.generation(), ..lifetime(now) };
        assert_eq!(health.check(&new, now, SECOND), IdleCheck::Healthy);
    }

    #[test]
    fn lifetimes_differ_by_the_jitter_and_are_never_longer() {
        let now = Instant::now();
        let cases = [(0.0, 3600), (1.0, 3240), (0.5, 3420)];
        for (chance, seconds) in cases {
            let expected = Some(now + Duration::from_secs(seconds));
            assert_eq!(expiry(now, 3600 * SECOND, 0.1, chance), expected);
        }
        assert_eq!(expiry(now, Duration::ZERO, 0.1, 0.5), None);
    }
}
