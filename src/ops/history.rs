//! The history of each database: its pool, its latency and its errors, so that whoever is woken sees the incident.
//!
//! It is kept at three resolutions, of which each has a bounded number of points. A point has what was highest in its
//! time, so that a short peak is not lost in a long point. The caller passes the time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

use crate::clock::{microseconds, milliseconds};
use crate::engine::Engine;
use crate::pool::PoolSnapshot;
use crate::telemetry::Telemetry;
use crate::telemetry::top_statements::Totals;

const SECOND: Duration = Duration::from_secs(1);

/// A resolution of the history.
#[derive(Debug, Clone, Copy)]
struct Span {
    /// The name in requests.
    name: &'static str,
    /// The time of one point.
    step: Duration,
    /// The time of all points.
    length: Duration,
}

/// The history of all databases.
pub(crate) struct History {
    spans: [Span; 3],
    databases: Mutex<Vec<(String, [Series; 3])>>,
}

/// The state of a database at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reading {
    /// The time since the start of the server.
    pub(crate) at: Duration,
    pub(crate) pool: PoolSnapshot,
    pub(crate) totals: Totals,
}

impl History {
    /// Creates a history that is kept for `longest`, and in finer resolutions for five minutes and an hour.
    pub(crate) fn new(longest: Duration) -> Self {
        let span = |name, seconds, length| Span { name, step: SECOND * seconds, length };
        let spans =
            [span("5m", 1, SECOND * 300), span("1h", 10, SECOND * 3600), span("all", 120, longest)];
        Self { spans, databases: Mutex::default() }
    }

    /// Reads all databases once a second, until it is dropped.
    pub(crate) async fn record(&self, engine: &Engine, telemetry: &Telemetry, started: Instant) {
        let mut ticks = tokio::time::interval(SECOND);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            for database in engine.databases() {
                let name = database.name();
                let pool = database.backend().pool();
                let totals = telemetry.totals(name);
                self.add(name, &Reading { at: started.elapsed(), pool, totals });
            }
        }
    }

    fn add(&self, database: &str, reading: &Reading) {
        let mut databases = self.databases.lock();
        let known = databases.iter().position(|(name, _)| name == database);
        let index = known.unwrap_or(databases.len());
        if known.is_none() {
            databases.push((database.to_owned(), self.spans.map(Series::new)));
        }
        for series in &mut databases[index].1 {
            series.add(reading);
        }
    }

    /// Renders the points of a span that are later than `after`, in milliseconds since the start, the oldest first;
    /// `None` if there is no such span.
    pub(crate) fn render(&self, span: &str, after: u64) -> Option<Value> {
        let index = self.spans.iter().position(|each| each.name == span)?;
        let databases = self.databases.lock();
        let databases = databases.iter().map(|(name, series)| {
            let series = &series[index];
            let is_later = |point: &&Point| milliseconds(point.at) > after;
            let later = series.points.iter().filter(is_later).map(Point::render);
            json!({ "name": name, "points": later.collect::<Vec<_>>() })
        });
        Some(json!({
            "span": span,
            "step_ms": milliseconds(self.spans[index].step),
            "length_ms": milliseconds(self.spans[index].length),
            "kept_ms": self.spans.map(|each| milliseconds(each.length)),
            "databases": databases.collect::<Vec<_>>(),
        }))
    }
}

/// The points of one database in one resolution.
struct Series {
    span: Span,
    points: VecDeque<Point>,
    /// The reading at the start of the point that is being made.
    first: Option<Reading>,
    peaks: Peaks,
}

/// The highest figures since the last point.
#[derive(Default)]
struct Peaks {
    in_use: usize,
    open: usize,
    waiting: usize,
    oldest_wait: Duration,
    paused: bool,
}

impl Series {
    fn new(span: Span) -> Self {
        Self { span, points: VecDeque::new(), first: None, peaks: Peaks::default() }
    }

    fn add(&mut self, reading: &Reading) {
        let pool = &reading.pool;
        let peaks = &mut self.peaks;
        peaks.in_use = peaks.in_use.max(pool.in_use);
        peaks.open = peaks.open.max(pool.open);
        peaks.waiting = peaks.waiting.max(pool.waiting);
        peaks.oldest_wait = peaks.oldest_wait.max(pool.oldest_wait.unwrap_or_default());
        peaks.paused |= pool.paused;
        let first = self.first.get_or_insert_with(|| reading.clone());
        // Half a second early is on time: readings are a second apart, and not exactly.
        if reading.at.saturating_sub(first.at) + SECOND / 2 < self.span.step {
            return;
        }
        let point = Point::new(first, reading, &std::mem::take(peaks));
        *first = reading.clone();
        self.points.push_back(point);
        let oldest = reading.at.saturating_sub(self.span.length);
        while self.points.front().is_some_and(|point| point.at <= oldest) {
            self.points.pop_front();
        }
    }
}

/// The figures of the time between two readings.
#[derive(Debug)]
struct Point {
    at: Duration,
    length: Duration,
    in_use: usize,
    open: usize,
    max: usize,
    waiting: usize,
    /// The mean of the waits that ended, or the longest that was in progress.
    wait: Duration,
    paused: bool,
    statements: u64,
    errors: u64,
    p50: Option<Duration>,
    p99: Option<Duration>,
    timeouts: u64,
    rejected: u64,
    connect_failures: u64,
    leaks: u64,
}

impl Point {
    fn new(first: &Reading, last: &Reading, peaks: &Peaks) -> Self {
        let added = |of: fn(&PoolSnapshot) -> u64| of(&last.pool).saturating_sub(of(&first.pool));
        let waited = u32::try_from(added(|pool| pool.waited)).unwrap_or(u32::MAX);
        let wait_time = last.pool.wait_time.saturating_sub(first.pool.wait_time);
        let mean = wait_time.checked_div(waited).unwrap_or_default();
        let permille = |of| last.totals.latencies.permille_since(&first.totals.latencies, of);
        Self {
            at: last.at,
            length: last.at.saturating_sub(first.at),
            in_use: peaks.in_use,
            open: peaks.open.max(peaks.in_use),
            max: last.pool.max,
            waiting: peaks.waiting,
            wait: mean.max(peaks.oldest_wait),
            paused: peaks.paused,
            statements: added(|pool| pool.statements),
            errors: last.totals.errors.saturating_sub(first.totals.errors),
            p50: permille(500),
            p99: permille(990),
            timeouts: added(|pool| pool.timeouts),
            rejected: added(|pool| pool.rejected),
            connect_failures: added(|pool| pool.connect_failures),
            leaks: added(|pool| pool.leaks),
        }
    }

    fn render(&self) -> Value {
        json!({
            "at_ms": milliseconds(self.at),
            "length_ms": milliseconds(self.length),
            "in_use": self.in_use,
            "idle": self.open - self.in_use,
            "max": self.max,
            "waiting": self.waiting,
            "wait_us": microseconds(self.wait),
            "paused": self.paused,
            "statements": self.statements,
            "errors": self.errors,
            "p50_us": self.p50.map(microseconds),
            "p99_us": self.p99.map(microseconds),
            "timeouts": self.timeouts,
            "rejected": self.rejected,
            "connect_failures": self.connect_failures,
            "leaks": self.leaks,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u32 = 24 * 3600;

    /// A history of a database that nobody uses but at one moment, in seconds: then callers wait and calls fail.
    fn lived(seconds: u32, incident: u32) -> History {
        let history = History::new(SECOND * DAY);
        let mut reading = Reading::default();
        reading.pool.max = 5;
        for second in 0..=seconds {
            reading.at = SECOND * second;
            let is_incident = second == incident;
            reading.pool.waiting = if is_incident { 40 } else { 0 };
            reading.pool.oldest_wait = is_incident.then_some(SECOND * 3);
            if is_incident {
                reading.totals.errors += 7;
                reading.totals.latencies.add(SECOND * 2);
            }
            reading.pool.statements += 10;
            history.add("main", &reading);
        }
        history
    }

    fn points(history: &History, span: &str) -> Vec<Value> {
        let rendered = history.render(span, 0).expect("there is such a span");
        rendered["databases"][0]["points"].as_array().expect("a list").clone()
    }

    #[test]
    fn an_incident_of_hours_ago_is_still_there() {
        let history = lived(6 * 3600, 3600);
        assert!(points(&history, "5m").iter().all(|point| point["errors"] == 0));
        let found = points(&history, "all").into_iter().find(|point| point["errors"] != 0);
        let found = found.expect("the incident is there");
        assert_eq!((&found["at_ms"], &found["length_ms"]), (&3_600_000.into(), &120_000.into()));
        assert_eq!((&found["errors"], &found["waiting"]), (&7.into(), &40.into()), "{found}");
        assert_eq!((&found["wait_us"], &found["statements"]), (&3_000_000.into(), &1200.into()));
        let p99 = found["p99_us"].as_u64().expect("one ran");
        assert!((1_900_000..2_100_000).contains(&p99), "{p99}");
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_oldest_makes_room() {
        let history = lived(2 * DAY, 0);
        for (span, count) in [("5m", 300), ("1h", 360), ("all", 720)] {
            let points = points(&history, span);
            assert_eq!(points.len(), count, "{span}");
            assert_eq!(points[count - 1]["at_ms"], u64::from(2 * DAY) * 1000, "{span}");
        }
        assert!(history.render("1y", 0).is_none());
    }

    #[test]
    fn a_page_is_told_what_it_does_not_have_yet() {
        let history = lived(100, 0);
        let rendered = history.render("5m", 98_000).expect("there is such a span");
        let points = rendered["databases"][0]["points"].as_array().expect("a list");
        let ages: Vec<_> = points.iter().map(|point| point["at_ms"].as_u64()).collect();
        assert_eq!(ages, [Some(99_000), Some(100_000)]);
    }

    #[test]
    fn readings_that_come_late_make_longer_points_and_no_lost_figures() {
        let history = History::new(SECOND * DAY);
        let mut reading = Reading::default();
        for at in [0, 1_300, 1_900, 65_000, 65_900] {
            reading.at = Duration::from_millis(at);
            reading.pool.statements += 10;
            history.add("main", &reading);
        }
        let points = points(&history, "5m");
        let sum: u64 = points.iter().filter_map(|point| point["statements"].as_u64()).sum();
        assert_eq!((sum, points.len()), (40, 4));
    }
}
