//! The figures of a pool by name, for programs and for the complete list.

use std::time::Duration;

use crate::clock;
use crate::value::proto::CloseReason::{
    Admin, Broken, Dirty, Failover, Idle, Lifetime, Overflow, Rebalanced, Shutdown,
};
use crate::value::proto::{
    BreakerState, CloseReason, DataType, LaneDemotionReason, PoolStats, ResultSet,
};
use crate::value::{Column, Kind, Row, Value};

/// Figures with their names, in the order of the columns.
pub(crate) type Figures = Vec<(String, Value)>;

/// The reasons to close connections, in the order of the figures.
const REASONS: [CloseReason; 9] =
    [Lifetime, Idle, Overflow, Rebalanced, Broken, Dirty, Failover, Admin, Shutdown];

/// The reasons to keep statements off the lanes, in the order of the figures.
const DEMOTIONS: [LaneDemotionReason; 6] = [
    LaneDemotionReason::Slow,
    LaneDemotionReason::Timeout,
    LaneDemotionReason::Write,
    LaneDemotionReason::Error,
    LaneDemotionReason::Large,
    LaneDemotionReason::Lost,
];

/// Returns the figures of a pool; durations are in milliseconds.
pub(crate) fn figures(instance: &str, stats: &PoolStats) -> Figures {
    let breaker = match stats.breaker() {
        BreakerState::Unspecified => Value::null(),
        BreakerState::Closed => Value::text("closed"),
        BreakerState::Open => Value::text("open"),
    };
    let all = [
        ("instance", Value::text(instance)),
        ("pool", Value::text(&stats.pool)),
        ("backend", Value::text(&stats.backend)),
        ("paused", Value::bool(stats.paused)),
        ("breaker", breaker),
        ("breaker_since_ms", milliseconds(stats.breaker_since)),
        ("breaker_opened", count(stats.breaker_opened)),
        ("min", count(stats.min.into())),
        ("max", count(stats.max.into())),
        ("max_overflow", count(stats.max_overflow.into())),
        ("open", count(stats.open.into())),
        ("idle", count(stats.idle.into())),
        ("in_use", count(stats.in_use.into())),
        ("overflow", count(stats.overflow.into())),
        ("connecting", count(stats.connecting.into())),
        ("waiting", count(stats.waiting.into())),
        ("oldest_wait_ms", milliseconds(stats.oldest_wait)),
        ("acquired", count(stats.acquired)),
        ("waited", count(stats.waited)),
        ("wait_time_ms", milliseconds(stats.wait_time)),
        ("timeouts", count(stats.timeouts)),
        ("cancelled_waits", count(stats.cancelled_waits)),
        ("rejected", count(stats.rejected)),
        ("leaks", count(stats.leaks)),
        ("statements", count(stats.statements)),
        ("transactions", count(stats.transactions)),
        ("retries", count(stats.retries)),
        ("retries_refused", count(stats.retries_refused)),
        ("resets", count(stats.resets)),
        ("lanes", count(stats.lanes.into())),
        ("lane_statements", count(stats.lane_statements)),
        ("opened", count(stats.opened)),
        ("connect_failures", count(stats.connect_failures)),
    ];
    let closed = REASONS.iter().map(|reason| {
        let name = reason.as_str_name().trim_start_matches("CLOSE_REASON_").to_lowercase();
        let closed = stats.closed.iter().filter(|closed| closed.reason() == *reason);
        (format!("closed_{name}"), count(closed.map(|closed| closed.count).sum()))
    });
    let demoted = DEMOTIONS.iter().map(|reason| {
        let name = reason.as_str_name().trim_start_matches("LANE_DEMOTION_REASON_").to_lowercase();
        let demoted = stats.lane_demotions.iter().filter(|demoted| demoted.reason() == *reason);
        (format!("lane_demoted_{name}"), count(demoted.map(|demoted| demoted.count).sum()))
    });
    let all = all.into_iter().map(|(name, value)| (name.to_owned(), value));
    all.chain(closed).chain(demoted).collect()
}

/// Returns the figures of items as a result set, for programs; the figures of a default item have its names and types.
pub(crate) fn result_set<T: Default>(items: &[T], figures: impl Fn(&T) -> Figures) -> ResultSet {
    let column = |(name, value): &(String, Value)| {
        let r#type = data_type(value).into();
        Column { name: name.clone(), r#type, ..Column::default() }
    };
    let columns = figures(&T::default()).iter().map(column).collect();
    let row = |item| Row { values: figures(item).into_iter().map(|(_, value)| value).collect() };
    let rows = items.iter().map(row).collect();
    ResultSet { has_columns: true, columns, rows, ..ResultSet::default() }
}

fn data_type(value: &Value) -> DataType {
    match value.kind {
        Some(Kind::Int64Value(_) | Kind::NullValue(_)) => DataType::Int64,
        Some(Kind::BoolValue(_)) => DataType::Bool,
        Some(_) | None => DataType::Text,
    }
}

fn count(count: u64) -> Value {
    Value::int64(i64::try_from(count).unwrap_or(i64::MAX))
}

/// Converts a duration of a message; `None` if it is unset or negative.
pub(crate) fn duration(duration: Option<prost_types::Duration>) -> Option<Duration> {
    Duration::try_from(duration?).ok()
}

/// Returns a duration as a number.
pub(crate) fn milliseconds(wire: Option<prost_types::Duration>) -> Value {
    duration(wire).map_or_else(Value::null, |duration| count(clock::milliseconds(duration)))
}

/// Returns a duration for people, in two units at most.
pub(crate) fn readable(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let rounded = match seconds {
        0 => Duration::from_millis(clock::milliseconds(duration)),
        1..60 => return format!("{:.1}s", duration.as_secs_f64()),
        60..3600 => Duration::from_secs(seconds),
        3600.. => Duration::from_secs(seconds / 60 * 60),
    };
    if rounded.is_zero() {
        "0ms".to_owned()
    } else {
        humantime::format_duration(rounded).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::proto::ClosedConnections;

    #[test]
    fn durations_for_people_are_short() {
        let cases = [
            (Duration::ZERO, "0ms"),
            (Duration::from_micros(12_900), "12ms"),
            (Duration::from_millis(1_250), "1.2s"),
            (Duration::from_millis(90_500), "1m 30s"),
            (Duration::from_secs(7_265), "2h 1m"),
        ];
        for (duration, expected) in cases {
            assert_eq!(readable(duration), expected);
        }
    }

    #[test]
    fn every_figure_has_one_name_and_every_reason_is_a_figure() {
        let mut stats = PoolStats { pool: "main".to_owned(), waiting: 3, ..PoolStats::default() };
        stats.closed =
            vec![ClosedConnections { reason: CloseReason::Admin.into(), count: u64::MAX }];
        let all = figures("host:1", &stats);
        let value = |wanted: &str| {
            let found: Vec<_> = all.iter().filter(|(name, _)| name == wanted).collect();
            let [(_, value)] = found.as_slice() else { panic!("{wanted}: {found:?}") };
            value.clone()
        };
        assert_eq!(value("waiting"), Value::int64(3));
        assert_eq!(value("closed_admin"), Value::int64(i64::MAX));
        assert_eq!(value("closed_lifetime"), Value::int64(0));
        assert_eq!(value("oldest_wait_ms"), Value::null());
        for number in 1.. {
            let Ok(reason) = CloseReason::try_from(number) else { break };
            assert!(REASONS.contains(&reason), "{reason:?} is shown nowhere");
        }
        for number in 1.. {
            let Ok(reason) = LaneDemotionReason::try_from(number) else { break };
            assert!(DEMOTIONS.contains(&reason), "{reason:?} is shown nowhere");
        }
    }
}
