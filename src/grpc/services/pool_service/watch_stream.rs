//! WatchPoolStats: the pools after every change, and at an interval.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, stream};
use tokio::time::{Instant, MissedTickBehavior};

use super::{pools, stats_message};
use crate::access::Policy;
use crate::deadline::{CallLimits, Deadline};
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::value::proto::{PoolStats, WatchPoolStatsRequest, WatchPoolStatsResponse};

/// The time between two checks for a change, and the least time between two messages.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);
const DEFAULT_INTERVAL: Duration = Duration::from_secs(5);
const LONGEST_INTERVAL: Duration = Duration::from_secs(3600);

/// The deadline of a watch whose caller sent none: longer than any watch, and within the clock's range.
const NO_DEADLINE: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The pools that a caller may watch.
pub(crate) struct WatchedPools {
    pub(crate) engine: Arc<Engine>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) instance: String,
}

struct Watch {
    pools: WatchedPools,
    pool: String,
    interval: Duration,
    checks: tokio::time::Interval,
    deadline: Deadline,
    /// The moment of the last message, and the state of the pools in it.
    sent: Option<(Instant, Vec<PoolStats>)>,
}

/// Watches until the caller disconnects or its deadline passes, which is the status. The dispatch ends watches
/// when the server shuts down.
pub(crate) fn watch(
    watched: WatchedPools,
    request: WatchPoolStatsRequest,
    grpc_timeout: Option<Duration>,
) -> Result<impl Stream<Item = Result<WatchPoolStatsResponse>> + Send + use<>> {
    pools(&watched.engine, &watched.policy, &request.pool)?;
    let interval = interval(&request)?;
    let mut checks = tokio::time::interval(CHECK_INTERVAL);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let limits = CallLimits { default: NO_DEADLINE, cap: NO_DEADLINE };
    let deadline = Deadline::of_call(std::time::Instant::now(), grpc_timeout, None, limits);
    let pool = request.pool;
    let watch = Watch { pools: watched, pool, interval, checks, deadline, sent: None };
    Ok(stream::try_unfold(watch, async |mut watch| {
        let message = watch.next().await?;
        Ok(Some((message, watch)))
    }))
}

fn interval(request: &WatchPoolStatsRequest) -> Result<Duration> {
    let Some(wanted) = request.interval else { return Ok(DEFAULT_INTERVAL) };
    let interval = Duration::try_from(wanted).ok();
    interval.filter(|interval| (CHECK_INTERVAL..=LONGEST_INTERVAL).contains(interval)).ok_or_else(
        || {
            let description = format!("an interval is 100 ms to 1 h long, not {wanted}");
            Error::field(ErrorKind::InvalidOption, "interval", description)
        },
    )
}

impl Watch {
    /// Returns the next message, or the error that ends the watch.
    async fn next(&mut self) -> Result<WatchPoolStatsResponse> {
        loop {
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(self.deadline.instant().into()) => {
                    let message = "the deadline of the watch has passed";
                    return Err(Error::new(ErrorKind::DeadlineExceeded, message));
                }
                now = self.checks.tick() => {
                    if let Some(message) = self.check(now)? {
                        return Ok(message);
                    }
                }
            }
        }
    }

    /// Returns a message if one is due.
    fn check(&mut self, now: Instant) -> Result<Option<WatchPoolStatsResponse>> {
        let WatchedPools { engine, policy, instance } = &self.pools;
        let found = pools(engine, policy, &self.pool)?;
        let pools: Vec<_> = found.into_iter().map(stats_message::encode).collect();
        let states: Vec<_> = pools.iter().map(stats_message::without_counters).collect();
        let is_due = self.sent.as_ref().is_none_or(|(sent, last)| {
            // A check that is a little early must not delay the message until the next one.
            states != *last || now.duration_since(*sent) + CHECK_INTERVAL / 2 >= self.interval
        });
        if !is_due {
            return Ok(None);
        }
        self.sent = Some((now, states));
        Ok(Some(WatchPoolStatsResponse { instance: instance.clone(), pools }))
    }
}
