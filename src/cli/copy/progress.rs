//! The progress of a copy, on one line of a terminal.

use std::io::{self, IsTerminal as _, Write};
use std::time::{Duration, Instant};

use tokio::time::{Interval, MissedTickBehavior, interval};

/// The time between two updates.
const UPDATE: Duration = Duration::from_millis(250);

/// The bytes of one MiB.
const MIB: f64 = 1024.0 * 1024.0;

/// The progress of one copy.
pub(super) struct Progress {
    began: Instant,
    /// The size of the whole, where it is known.
    total: Option<u64>,
    is_shown: bool,
    updates: Interval,
}

impl Progress {
    pub(super) fn new(total: Option<u64>) -> Self {
        let mut updates = interval(UPDATE);
        updates.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let is_shown = io::stderr().is_terminal();
        Self { began: Instant::now(), total: total.filter(|total| *total > 0), is_shown, updates }
    }

    /// Waits until the line is to be written again.
    pub(super) async fn due(&mut self) {
        if !self.is_shown {
            return std::future::pending().await;
        }
        self.updates.tick().await;
    }

    /// Returns true if the line is to be written again.
    pub(super) fn is_due(&mut self) -> bool {
        let tick = std::pin::pin!(self.updates.tick());
        self.is_shown && futures_util::FutureExt::now_or_never(tick).is_some()
    }

    pub(super) fn show(&self, bytes: u64, err: &mut dyn Write) -> io::Result<()> {
        if !self.is_shown {
            return Ok(());
        }
        write!(err, "\r{}\u{1b}[K", line(bytes, self.total, self.began.elapsed()))?;
        err.flush()
    }

    /// Removes the line.
    pub(super) fn clear(&self, err: &mut dyn Write) -> io::Result<()> {
        if !self.is_shown {
            return Ok(());
        }
        write!(err, "\r\u{1b}[K")?;
        err.flush()
    }

    /// The time and the rate of all, as in `in 1.5 s, 20.0 MiB/s`.
    pub(super) fn summary(&self, bytes: u64) -> String {
        let seconds = self.began.elapsed().as_secs_f64();
        format!("in {seconds:.1} s, {:.1} MiB/s", mebibytes(bytes) / seconds.max(0.001))
    }
}

fn line(bytes: u64, total: Option<u64>, took: Duration) -> String {
    let rate = mebibytes(bytes) / took.as_secs_f64().max(0.001);
    let done = format!("{:.1} MiB, {rate:.1} MiB/s", mebibytes(bytes));
    match total {
        Some(total) => format!("{done}, {} %", bytes.saturating_mul(100) / total),
        None => done,
    }
}

#[expect(clippy::cast_precision_loss, reason = "it is rounded for people")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / MIB
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_size_rate_and_share() {
        let took = Duration::from_secs(2);
        assert_eq!(line(3 << 20, Some(6 << 20), took), "3.0 MiB, 1.5 MiB/s, 50 %");
        assert_eq!(line(3 << 20, None, took), "3.0 MiB, 1.5 MiB/s");
    }
}
