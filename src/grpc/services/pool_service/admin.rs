//! What operators do to a pool. Each deed is logged with who asked for it: it changes what callers get.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{duration, named, small};
use crate::deadline::Deadline;
use crate::engine::Database;
use crate::error::{Error, ErrorKind, Result};
use crate::pool::CloseReason;
use crate::value::proto::{
    PausePoolResponse, ReconnectPoolResponse, ResizePoolRequest, ResizePoolResponse,
    ResumePoolResponse,
};

/// Between two looks at whether a pool is at rest.
const LOOK: Duration = Duration::from_millis(5);

/// Pauses a pool and waits for what is under way.
///
/// # Cancel safety
/// Dropped, it waits no longer; the pool stays paused.
pub(crate) async fn pause(
    database: &Database,
    timeout: Option<prost_types::Duration>,
    grpc_timeout: Option<Duration>,
    operator: Option<SocketAddr>,
) -> Result<PausePoolResponse> {
    let start = Instant::now();
    let timeout = timeout.map(Duration::try_from).transpose().map_err(|_negative| {
        Error::field(ErrorKind::InvalidOption, "timeout", "a timeout must not be negative")
    })?;
    let deadline = Deadline::of_call(start, grpc_timeout, timeout, database.limits());
    let control = database.backend().control();
    control.pause();
    tracing::info!(pool = database.name(), operator = named(operator), "pool paused");
    loop {
        let snapshot = control.snapshot();
        let left = deadline.left(Instant::now());
        if snapshot.in_use == 0 || !snapshot.paused || left.is_zero() {
            return Ok(PausePoolResponse {
                instance: String::new(),
                waited: duration(start.elapsed()),
                still_open: small(snapshot.in_use),
                paused: snapshot.paused,
            });
        }
        tokio::time::sleep(LOOK.min(left)).await;
    }
}

pub(crate) fn resume(database: &Database, operator: Option<SocketAddr>) -> ResumePoolResponse {
    let control = database.backend().control();
    let before = control.snapshot();
    control.resume();
    tracing::info!(pool = database.name(), operator = named(operator), "pool resumed");
    let waiting = if before.paused { small(before.waiting) } else { 0 };
    ResumePoolResponse { instance: String::new(), waiting, was_paused: before.paused }
}

pub(crate) fn reconnect(
    database: &Database,
    operator: Option<SocketAddr>,
) -> ReconnectPoolResponse {
    let control = database.backend().control();
    let before = control.snapshot();
    control.flush(CloseReason::Admin);
    tracing::info!(pool = database.name(), operator = named(operator), "pool reconnects");
    ReconnectPoolResponse {
        instance: String::new(),
        closed: small(before.idle),
        closing: small(before.in_use),
    }
}

pub(crate) fn resize(
    database: &Database,
    request: &ResizePoolRequest,
    operator: Option<SocketAddr>,
) -> Result<ResizePoolResponse> {
    if request.min.is_none() && request.max.is_none() {
        let description = "min, max or both must be set";
        return Err(Error::field(ErrorKind::InvalidOption, "max", description));
    }
    let control = database.backend().control();
    let before = control.snapshot();
    let wide = |bound: Option<u32>| {
        bound.map(|connections| usize::try_from(connections).unwrap_or(usize::MAX))
    };
    control.resize(wide(request.min), wide(request.max))?;
    let after = control.snapshot();
    let (min, max) = (after.min, after.max);
    tracing::info!(pool = database.name(), operator = named(operator), min, max, "pool resized");
    Ok(ResizePoolResponse {
        instance: String::new(),
        min: small(min),
        max: small(max),
        previous_min: small(before.min),
        previous_max: small(before.max),
        closing: small(after.open.saturating_sub(max)),
    })
}

pub(crate) fn terminate(
    database: &Database,
    checkout: u64,
    operator: Option<SocketAddr>,
) -> Result<()> {
    let pool = database.name();
    if !database.backend().control().terminate(checkout) {
        let message = format!("pool \"{pool}\" has no checkout {checkout}, or has it no more");
        return Err(Error::new(ErrorKind::PoolNotFound, message)
            .with_condition("CHECKOUT_NOT_FOUND")
            .with_hint("ListCheckouts tells what there is."));
    }
    tracing::info!(pool, checkout, operator = named(operator), "checkout terminated");
    Ok(())
}
