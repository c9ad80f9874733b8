//! Decisions after a failure: retries, pauses and the circuit breaker. Pure; the engine carries them out.
//!
//! Knows no database and no transport: it sees an error's kind and outcome, and the clock that it is given.

mod accept_backoff;
mod backoff;
mod circuit_breaker;
mod connection_slots;
mod retry;

pub(crate) use accept_backoff::AcceptBackoff;
pub(crate) use backoff::Backoff;
pub(crate) use circuit_breaker::{
    BreakerLimits, BreakerTransition, CircuitBreaker, ConnectFailureKind,
};
pub(crate) use connection_slots::ConnectionSlots;
pub(crate) use retry::{Attempts, Retries, RetryCounts, RetryUnit};
