//! WatchPoolStats: the pools whenever they change, and now and then.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, stream};
use tokio::time::{Instant, MissedTickBehavior};

use super::{pools, stats_message};
use crate::deadline::{CallLimits, Deadline};
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::value::proto::{PoolStats, WatchPoolStatsRequest, WatchPoolStatsResponse};

/// Between two looks, and so between two messages at least.
const LOOK: Duration = Duration::from_millis(100);
const DEFAULT_INTERVAL: Duration = Duration::from_secs(5);
const LONGEST_INTERVAL: Duration = Duration::from_secs(3600);

/// Longer than any watch lives, and short enough for the clock.
const FOR_EVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// One caller's watch.
struct Watch {
    engine: Arc<Engine>,
    instance: String,
    pool: String,
    interval: Duration,
    looks: tokio::time::Interval,
    deadline: Deadline,
    /// When the last message was sent, and what was the pools' state in it.
    sent: Option<(Instant, Vec<PoolStats>)>,
}

/// Watches until the caller goes, or its deadline comes, which is the status. The front door ends what never
/// ends by itself when the server shuts down.
pub(crate) fn watch(
    engine: Arc<Engine>,
    instance: String,
    request: WatchPoolStatsRequest,
    grpc_timeout: Option<Duration>,
) -> Result<impl Stream<Item = Result<WatchPoolStatsResponse>> + Send + use<>> {
    pools(&engine, &request.pool)?;
    let interval = interval(&request)?;
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let limits = CallLimits { default: FOR_EVER, cap: FOR_EVER };
    let deadline = Deadline::of_call(std::time::Instant::now(), grpc_timeout, None, limits);
    let pool = request.pool;
    let watch = Watch { engine, instance, pool, interval, looks, deadline, sent: None };
    Ok(stream::unfold(Some(watch), async |watch| {
        let mut watch = watch?;
        match watch.next().await {
            Ok(message) => Some((Ok(message), Some(watch))),
            Err(error) => Some((Err(error), None)),
        }
    }))
}

fn interval(request: &WatchPoolStatsRequest) -> Result<Duration> {
    let Some(wanted) = request.interval else { return Ok(DEFAULT_INTERVAL) };
    match Duration::try_from(wanted) {
        Ok(interval) if (LOOK..=LONGEST_INTERVAL).contains(&interval) => Ok(interval),
        Ok(_) | Err(_) => Err(Error::field(
            ErrorKind::InvalidOption,
            "interval",
            "an interval is 100 ms to 1 h long",
        )),
    }
}

impl Watch {
    /// The next message; an error is the end.
    async fn next(&mut self) -> Result<WatchPoolStatsResponse> {
        loop {
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(self.deadline.instant().into()) => {
                    let message = "the deadline of the watch has passed";
                    return Err(Error::new(ErrorKind::DeadlineExceeded, message));
                }
                now = self.looks.tick() => {
                    if let Some(message) = self.look(now)? {
                        return Ok(message);
                    }
                }
            }
        }
    }

    /// The message that is due at a moment.
    fn look(&mut self, now: Instant) -> Result<Option<WatchPoolStatsResponse>> {
        let found = pools(&self.engine, &self.pool)?;
        let pools: Vec<_> = found.into_iter().map(stats_message::encode).collect();
        let states: Vec<_> = pools.iter().map(stats_message::without_counters).collect();
        let is_due = self.sent.as_ref().is_none_or(|(sent, last)| {
            // A look that comes a moment early must not cost a whole one more.
            states != *last || now.duration_since(*sent) + LOOK / 2 >= self.interval
        });
        if !is_due {
            return Ok(None);
        }
        self.sent = Some((now, states));
        Ok(Some(WatchPoolStatsResponse { instance: self.instance.clone(), pools }))
    }
}
