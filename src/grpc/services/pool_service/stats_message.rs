//! The message of a pool's state and counters.

use crate::engine::Database;
use crate::grpc::services::{count, duration};
use crate::pool::{CloseReason, LaneDemotion};
use crate::value::proto;

pub(crate) fn encode(database: &Database) -> proto::PoolStats {
    let pool = database.backend().pool();
    let closed = CloseReason::ALL.iter().zip(pool.closed).filter(|(_, closed)| *closed > 0);
    let demotions = LaneDemotion::ALL.iter().zip(pool.lanes.demoted);
    let demotions = demotions.filter(|(_, demoted)| *demoted > 0);
    let counts = database.counts();
    let breaker = database.backend().breaker().snapshot();
    let state = if breaker.open { proto::BreakerState::Open } else { proto::BreakerState::Closed };
    proto::PoolStats {
        pool: database.name().to_owned(),
        backend: database.backend().name().to_owned(),
        max: count(pool.max),
        min: count(pool.min),
        open: count(pool.open),
        idle: count(pool.idle),
        in_use: count(pool.in_use),
        connecting: count(pool.connecting),
        waiting: count(pool.waiting),
        oldest_wait: pool.oldest_wait.and_then(duration),
        acquired: pool.acquired,
        waited: pool.waited,
        wait_time: duration(pool.wait_time),
        timeouts: pool.timeouts,
        cancelled_waits: pool.cancelled_waits,
        rejected: pool.rejected,
        opened: pool.opened,
        connect_failures: pool.connect_failures,
        closed: closed
            .map(|(reason, closed)| proto::ClosedConnections {
                reason: reason_of(*reason).into(),
                count: closed,
            })
            .collect(),
        statements: pool.statements,
        resets: pool.resets,
        overflow: count(pool.open.saturating_sub(pool.max)),
        max_overflow: count(pool.overflow),
        paused: pool.paused,
        leaks: pool.leaks,
        transactions: counts.transactions,
        retries: counts.retries.made,
        breaker: state.into(),
        breaker_since: duration(breaker.since),
        breaker_opened: breaker.opened,
        retries_refused: counts.retries.refused,
        lanes: count(pool.lanes.open),
        lane_statements: pool.lanes.statements,
        lane_demotions: demotions
            .map(|(reason, demoted)| proto::LaneDemotions {
                reason: demotion_of(*reason).into(),
                count: demoted,
            })
            .collect(),
    }
}

/// Clears the values that only ever grow; the others are the pool's state.
pub(crate) fn without_counters(stats: &proto::PoolStats) -> proto::PoolStats {
    proto::PoolStats {
        oldest_wait: None,
        acquired: 0,
        waited: 0,
        wait_time: None,
        timeouts: 0,
        cancelled_waits: 0,
        rejected: 0,
        opened: 0,
        connect_failures: 0,
        closed: Vec::new(),
        statements: 0,
        resets: 0,
        transactions: 0,
        retries: 0,
        breaker_since: None,
        retries_refused: 0,
        lane_statements: 0,
        lane_demotions: Vec::new(),
        ..stats.clone()
    }
}

fn reason_of(reason: CloseReason) -> proto::CloseReason {
    match reason {
        CloseReason::Lifetime => proto::CloseReason::Lifetime,
        CloseReason::Idle => proto::CloseReason::Idle,
        CloseReason::Broken => proto::CloseReason::Broken,
        CloseReason::Dirty => proto::CloseReason::Dirty,
        CloseReason::Overflow => proto::CloseReason::Overflow,
        CloseReason::Rebalanced => proto::CloseReason::Rebalanced,
        CloseReason::Failover => proto::CloseReason::Failover,
        CloseReason::Admin => proto::CloseReason::Admin,
        CloseReason::Shutdown => proto::CloseReason::Shutdown,
    }
}

fn demotion_of(reason: LaneDemotion) -> proto::LaneDemotionReason {
    match reason {
        LaneDemotion::Slow => proto::LaneDemotionReason::Slow,
        LaneDemotion::Timeout => proto::LaneDemotionReason::Timeout,
        LaneDemotion::Write => proto::LaneDemotionReason::Write,
        LaneDemotion::Error => proto::LaneDemotionReason::Error,
        LaneDemotion::Large => proto::LaneDemotionReason::Large,
        LaneDemotion::Lost => proto::LaneDemotionReason::Lost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_not_part_of_the_state() {
        let before = proto::PoolStats { in_use: 1, leaks: 1, ..proto::PoolStats::default() };
        let counted = proto::PoolStats { acquired: 9, statements: 9, retries: 1, ..before.clone() };
        assert_eq!(without_counters(&before), without_counters(&counted));
        for changed in [
            proto::PoolStats { in_use: 2, ..before.clone() },
            proto::PoolStats { waiting: 1, ..before.clone() },
            proto::PoolStats { paused: true, ..before.clone() },
            proto::PoolStats { leaks: 2, ..before.clone() },
            proto::PoolStats { breaker: proto::BreakerState::Open.into(), ..before.clone() },
        ] {
            assert_ne!(without_counters(&before), without_counters(&changed), "{changed:?}");
        }
    }
}
