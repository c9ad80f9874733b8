//! A pool's figures by name, for programs and for whoever wants all of them.

use std::time::Duration;

use crate::value::proto::{BreakerState, CloseReason, DataType, PoolStats, ResultSet};
use crate::value::{Column, Kind, Row, Value};

/// The reasons why connections are closed, in the order of the figures.
const REASONS: [CloseReason; 8] = [
    CloseReason::Lifetime,
    CloseReason::Idle,
    CloseReason::Overflow,
    CloseReason::Broken,
    CloseReason::Dirty,
    CloseReason::Failover,
    CloseReason::Admin,
    CloseReason::Shutdown,
];

/// What is known of a pool. Durations are in milliseconds.
pub(crate) fn figures(instance: &str, stats: &PoolStats) -> Vec<(String, Value)> {
    let mut all = vec![
        ("instance".to_owned(), Value::text(instance)),
        ("pool".to_owned(), Value::text(&stats.pool)),
        ("backend".to_owned(), Value::text(&stats.backend)),
        ("paused".to_owned(), Value::bool(stats.paused)),
        ("breaker".to_owned(), breaker(stats.breaker())),
        ("breaker_since_ms".to_owned(), milliseconds(stats.breaker_since)),
        counter(("breaker_opened", stats.breaker_opened)),
    ];
    let now = [
        ("min", stats.min),
        ("max", stats.max),
        ("max_overflow", stats.max_overflow),
        ("open", stats.open),
        ("idle", stats.idle),
        ("in_use", stats.in_use),
        ("overflow", stats.overflow),
        ("connecting", stats.connecting),
        ("waiting", stats.waiting),
    ];
    all.extend(now.map(|(name, count)| (name.to_owned(), Value::int64(count.into()))));
    all.push(("oldest_wait_ms".to_owned(), milliseconds(stats.oldest_wait)));
    all.extend([("acquired", stats.acquired), ("waited", stats.waited)].map(counter));
    all.push(("wait_time_ms".to_owned(), milliseconds(stats.wait_time)));
    let counters = [
        ("timeouts", stats.timeouts),
        ("cancelled_waits", stats.cancelled_waits),
        ("rejected", stats.rejected),
        ("leaks", stats.leaks),
        ("statements", stats.statements),
        ("transactions", stats.transactions),
        ("retries", stats.retries),
        ("retries_refused", stats.retries_refused),
        ("resets", stats.resets),
        ("opened", stats.opened),
        ("connect_failures", stats.connect_failures),
    ];
    all.extend(counters.map(counter));
    all.extend(REASONS.map(|reason| {
        let name = reason.as_str_name().trim_start_matches("CLOSE_REASON_").to_lowercase();
        (format!("closed_{name}"), wide(closed(stats, reason)))
    }));
    all
}

/// Rows of the same figures as a result; `example` has their names, should there be no row.
pub(crate) fn table(example: &[(String, Value)], rows: Vec<Vec<(String, Value)>>) -> ResultSet {
    let columns = example.iter().map(|(name, value)| Column {
        name: name.clone(),
        r#type: kind(value).into(),
        ..Column::default()
    });
    let rows = rows
        .into_iter()
        .map(|row| Row { values: row.into_iter().map(|(_, value)| value).collect() });
    ResultSet {
        has_columns: true,
        columns: columns.collect(),
        rows: rows.collect(),
        ..ResultSet::default()
    }
}

fn kind(value: &Value) -> DataType {
    match &value.kind {
        Some(Kind::Int64Value(_) | Kind::NullValue(_)) => DataType::Int64,
        Some(Kind::BoolValue(_)) => DataType::Bool,
        Some(
            Kind::TextValue(_)
            | Kind::Float64Value(_)
            | Kind::BytesValue(_)
            | Kind::TimestampValue(_)
            | Kind::ArrayValue(_)
            | Kind::RecordValue(_),
        )
        | None => DataType::Text,
    }
}

fn counter((name, count): (&str, u64)) -> (String, Value) {
    (name.to_owned(), wide(count))
}

fn wide(count: u64) -> Value {
    Value::int64(i64::try_from(count).unwrap_or(i64::MAX))
}

fn breaker(state: BreakerState) -> Value {
    match state {
        BreakerState::Unspecified => Value::null(),
        BreakerState::Closed => Value::text("closed"),
        BreakerState::Open => Value::text("open"),
    }
}

fn closed(stats: &PoolStats, reason: CloseReason) -> u64 {
    stats.closed.iter().filter(|closed| closed.reason() == reason).map(|closed| closed.count).sum()
}

/// A duration of a message; nothing where it is unset or negative.
pub(crate) fn duration(duration: Option<prost_types::Duration>) -> Option<Duration> {
    Duration::try_from(duration?).ok()
}

/// A duration as a number.
pub(crate) fn milliseconds(wire: Option<prost_types::Duration>) -> Value {
    match duration(wire) {
        Some(duration) => Value::int64(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)),
        None => Value::null(),
    }
}

/// A duration for people: of two units at most.
pub(crate) fn readable(duration: Duration) -> String {
    let whole = match duration {
        short if short < Duration::from_secs(1) => {
            Duration::from_millis(u64::try_from(short.as_millis()).unwrap_or_default())
        }
        some if some < Duration::from_secs(60) => {
            return format!("{:.1}s", some.as_secs_f64());
        }
        long if long < Duration::from_secs(3600) => Duration::from_secs(long.as_secs()),
        hours => Duration::from_secs(hours.as_secs() / 60 * 60),
    };
    match whole {
        Duration::ZERO => "0ms".to_owned(),
        whole => humantime::format_duration(whole).to_string(),
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
    fn every_figure_has_one_name_and_every_reason_is_one() {
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
    }
}
