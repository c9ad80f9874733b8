//! Callers in closed loops: each sends its next call when the last one is answered.

use crate::histogram::Histogram;
use crate::machine::{Role, Snapshot, Spent};
use crate::{Result, fail};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const WARM_UP: Duration = Duration::from_millis(400);

/// The figures of one round of one variant, by name.
pub type Sample = BTreeMap<&'static str, f64>;

/// One who calls again and again. Its answers are checked.
pub trait Caller {
    /// Makes one call and returns how many units of work it was: calls, or rows.
    async fn call(&mut self) -> Result<u64>;
}

/// Lets all call at the same time for as long as told, after a warm-up. `beside` call as well, but do not count.
pub async fn drive<C, B>(
    known: &[(Role, u32)],
    time: Duration,
    callers: Vec<C>,
    beside: Vec<B>,
) -> Result<Sample>
where
    C: Caller + 'static,
    B: Caller + 'static,
{
    let begin = Instant::now() + WARM_UP;
    let end = begin + time;
    let tasks: Vec<_> =
        callers.into_iter().map(|one| tokio::task::spawn_local(repeat(one, begin, end))).collect();
    let others: Vec<_> =
        beside.into_iter().map(|one| tokio::task::spawn_local(repeat(one, begin, end))).collect();
    tokio::time::sleep_until(begin.into()).await;
    let start = Snapshot::take()?;
    tokio::time::sleep_until(end.into()).await;
    let spent = start.until(&Snapshot::take()?, known);
    let mut latencies = Histogram::default();
    let mut units = 0.0;
    for task in tasks {
        let (one, count) = task.await??;
        latencies.merge(&one);
        units += count;
    }
    for other in others {
        other.await??;
    }
    if latencies.total() == 0 {
        return fail("no call was answered in time");
    }
    let mut sample = figures(&spent, units);
    sample.insert("p50_us", latencies.percentile_us(0.5));
    sample.insert("p99_us", latencies.percentile_us(0.99));
    Ok(sample)
}

/// The units done in the time, those of a call over its edges by their share.
async fn repeat<C: Caller>(
    mut caller: C,
    begin: Instant,
    end: Instant,
) -> Result<(Histogram, f64)> {
    let mut latencies = Histogram::default();
    let mut units = 0.0;
    let mut start = Instant::now();
    while start < end {
        let count = caller.call().await?;
        let now = Instant::now();
        let within = now.min(end).saturating_duration_since(start.max(begin));
        let whole = now - start;
        units += count as f64 * within.as_secs_f64() / whole.as_secs_f64().max(1e-9);
        if !within.is_zero() {
            latencies.add(whole);
        }
        start = now;
    }
    Ok((latencies, units))
}

/// The rate, and the processor time of each process for one unit.
pub fn figures(spent: &Spent, units: f64) -> Sample {
    let each = |seconds: f64| seconds * 1e6 / units;
    Sample::from([
        ("per_second", units / spent.seconds),
        ("gateway_us", each(spent.gateway)),
        ("pooler_us", each(spent.pooler)),
        ("database_us", each(spent.database)),
        ("loader_us", each(spent.loader)),
        ("all_us", each(spent.gateway + spent.pooler + spent.database + spent.loader)),
        ("foreign", spent.foreign),
    ])
}
