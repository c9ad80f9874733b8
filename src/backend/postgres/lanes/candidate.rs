//! A statement that may run on a lane: the judgement of the catalogs, and the measurements of its runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::record::LaneRecord;
use crate::backend::postgres::session::effects::EffectCache;
use crate::pool::LaneDemotion;
use crate::sql::Analysis;

/// The runs on a connection of its own that a statement needs before it may run on a lane.
const RUNS_ALONE: u32 = 3;
/// The longest time, beyond the round trip, that the fastest of them may have taken. The others may have waited for
/// the processor.
const FAST: Duration = Duration::from_millis(1);
/// The average time that it may keep a lane from its other statements in any case.
const FAST_ON_LANE: Duration = Duration::from_millis(2);
/// The most that it may take of what the lane's statements usually take: on a busy machine all of them wait.
const TIMES_THE_USUAL: u32 = 4;
/// The time for which a lane may have stood still when a call gives up, before its statement is blamed.
const STANDSTILL: Duration = Duration::from_millis(10);
/// The weight of the last run in averages is one to this.
const AVERAGED: u32 = 64;
/// The time for which a statement is kept off the lanes first; it doubles each time.
const FIRST_EXCLUSION: Duration = Duration::from_secs(1);
/// The longest time for which it is.
const LONGEST_EXCLUSION: Duration = Duration::from_secs(300);
/// After this many times its last exclusion it begins with the first one again.
const FORGIVEN_AFTER: u32 = 8;

/// A statement that may run on a lane.
#[derive(Debug)]
pub(crate) struct Candidate {
    /// Held, so that no other analysis gets its address.
    pub(super) analysis: Arc<Analysis>,
    record: Arc<LaneRecord>,
    judgement: Mutex<Option<Judgement>>,
    measured: Mutex<Measurements>,
}

/// The last answer of the catalogs.
#[derive(Debug)]
struct Judgement {
    shares: bool,
    generation: u64,
    until: Instant,
}

#[derive(Debug, Default)]
struct Measurements {
    /// Runs alone since it was last kept off.
    alone: u32,
    /// The fastest of these.
    fastest: Option<Duration>,
    /// The average time on a lane.
    average: Duration,
    excluded_until: Option<Instant>,
    /// The time of the last exclusion.
    exclusion: Duration,
}

impl Candidate {
    pub(super) fn new(analysis: &Arc<Analysis>, record: &Arc<LaneRecord>) -> Self {
        Self {
            analysis: Arc::clone(analysis),
            record: Arc::clone(record),
            judgement: Mutex::default(),
            measured: Mutex::default(),
        }
    }

    /// Returns true if the statement is known to be one that may share a session, by the catalogs.
    pub(super) fn shares(&self, effects: &EffectCache, now: Instant) -> bool {
        let mut last = self.judgement.lock();
        let generation = effects.generation();
        if let Some(last) = &*last
            && last.generation == generation
            && now < last.until
        {
            return last.shares;
        }
        *last = effects.standing(&self.analysis).map(|(effects, until)| {
            let shares = effects.shares;
            Judgement { shares, generation, until }
        });
        last.as_ref().is_some_and(|last| last.shares)
    }

    /// Returns true if it is fast enough for a lane.
    pub(super) fn is_admitted(&self) -> bool {
        let measured = self.measured.lock();
        let fast = FAST + self.record.round_trip();
        measured.alone >= RUNS_ALONE && measured.fastest.is_some_and(|fastest| fastest <= fast)
    }

    /// Notes a run on a connection of its own.
    pub(crate) fn ran_alone(&self, took: Duration, now: Instant) {
        self.record.ran_alone(took);
        let mut measured = self.measured.lock();
        if measured.excluded_until.is_some_and(|until| now < until) {
            return;
        }
        measured.alone = measured.alone.saturating_add(1);
        measured.fastest = Some(measured.fastest.map_or(took, |fastest| fastest.min(took)));
    }

    /// Notes a run on a lane, which kept it from others for this time; `usual` is what is usual there. One that is
    /// too slow, by itself and beside the others, is demoted.
    pub(super) fn ran_on_lane(&self, took: Duration, usual: Duration, now: Instant) {
        self.record.ran();
        let mut measured = self.measured.lock();
        measured.average = averaged(measured.average, took);
        let limit = FAST_ON_LANE.max(usual * TIMES_THE_USUAL) + self.record.round_trip();
        if measured.average <= limit {
            return;
        }
        measured.exclude(now);
        drop(measured);
        self.record.demoted(LaneDemotion::Slow);
    }

    /// Notes that a call did not wait for its answer, on a lane that has stood still for this time.
    pub(super) fn given_up(&self, stood: Duration, usual: Duration, now: Instant) {
        let limit = STANDSTILL.max(usual * TIMES_THE_USUAL) + self.record.round_trip();
        if stood > limit {
            self.demote(LaneDemotion::Slow, now);
        }
    }

    /// Keeps it off the lanes for a while; then it is measured anew.
    pub(super) fn demote(&self, reason: LaneDemotion, now: Instant) {
        self.measured.lock().exclude(now);
        self.record.demoted(reason);
    }
}

impl Measurements {
    fn exclude(&mut self, now: Instant) {
        let Self { exclusion: last, excluded_until, .. } = *self;
        let is_forgiven = excluded_until.is_none_or(|until| now >= until + last * FORGIVEN_AFTER);
        let exclusion = match excluded_until {
            // The calls that ran at the same time failed together.
            Some(until) if now < until => last,
            _ if is_forgiven => FIRST_EXCLUSION,
            _ => (last * 2).min(LONGEST_EXCLUSION),
        };
        *self = Self { excluded_until: Some(now + exclusion), exclusion, ..Self::default() };
    }
}

/// The average of the last runs, with another.
pub(super) fn averaged(average: Duration, took: Duration) -> Duration {
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 128);
    let sum = nanos(average).saturating_mul(u64::from(AVERAGED) - 1).saturating_add(nanos(took));
    Duration::from_nanos(sum / u64::from(AVERAGED))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FASTER: Duration = Duration::from_micros(200);

    fn candidate() -> Candidate {
        Candidate::new(&Arc::new(Analysis::unknown()), &Arc::default())
    }

    fn after_runs(times: &[Duration]) -> Candidate {
        let candidate = candidate();
        for took in times {
            candidate.ran_alone(*took, Instant::now());
        }
        candidate
    }

    fn demoted(candidate: &Candidate) -> u64 {
        candidate.record.counts(0).demoted.iter().sum()
    }

    #[test]
    fn a_statement_is_admitted_after_some_fast_runs_alone() {
        assert!(!after_runs(&[FASTER; 2]).is_admitted());
        assert!(after_runs(&[FASTER; 3]).is_admitted());
        assert!(after_runs(&[FAST * 9, FASTER, FAST * 9]).is_admitted());
    }

    #[test]
    fn the_way_to_the_database_makes_no_statement_slow() {
        let [far, slow] = [after_runs(&[FAST * 4; 3]), after_runs(&[FAST * 4; 3])];
        assert!(far.is_admitted());
        slow.record.ran_alone(FASTER);
        assert!(!slow.is_admitted());
    }

    #[test]
    fn a_statement_that_was_excluded_is_measured_anew_after_a_time_that_doubles() {
        let candidate = after_runs(&[FASTER; 3]);
        let mut now = Instant::now();
        for exclusion in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            candidate.demote(LaneDemotion::Timeout, now);
            assert!(!candidate.is_admitted());
            let end = now + Duration::from_secs(exclusion);
            for at in [end - FASTER; 3] {
                candidate.ran_alone(FASTER, at);
            }
            assert!(!candidate.is_admitted(), "before {exclusion} s");
            for at in [end; 3] {
                candidate.ran_alone(FASTER, at);
            }
            assert!(candidate.is_admitted(), "after {exclusion} s");
            now = end;
        }
    }

    #[test]
    fn calls_that_fail_together_count_as_one() {
        let candidate = after_runs(&[FASTER; 3]);
        let now = Instant::now();
        for _ in 0..32 {
            candidate.demote(LaneDemotion::Timeout, now);
        }
        for _ in 0..3 {
            candidate.ran_alone(FASTER, now + FIRST_EXCLUSION);
        }
        assert!(candidate.is_admitted());
    }

    #[test]
    fn a_statement_that_has_run_well_for_long_begins_with_the_first_exclusion_again() {
        let candidate = after_runs(&[FASTER; 3]);
        let now = Instant::now();
        candidate.demote(LaneDemotion::Timeout, now);
        let later = now + FIRST_EXCLUSION * (1 + FORGIVEN_AFTER);
        candidate.demote(LaneDemotion::Timeout, later);
        for at in [later + FIRST_EXCLUSION; 3] {
            candidate.ran_alone(FASTER, at);
        }
        assert!(candidate.is_admitted());
    }

    #[test]
    fn a_slow_run_on_a_lane_is_forgiven_and_many_are_not_unless_all_are_slow() {
        let [slow, now] = [Duration::from_millis(50), FASTER].map(|took| (took, Instant::now()));
        let candidate = after_runs(&[FASTER; 3]);
        candidate.ran_on_lane(slow.0, FASTER, slow.1);
        for _ in 0..100 {
            candidate.ran_on_lane(now.0, FASTER, now.1);
        }
        assert_eq!(demoted(&candidate), 0);
        for _ in 0..4 {
            candidate.ran_on_lane(slow.0, slow.0, slow.1);
        }
        assert_eq!(demoted(&candidate), 0);
        candidate.ran_on_lane(slow.0, FASTER, slow.1);
        assert_eq!(demoted(&candidate), 1);
        assert!(!candidate.is_admitted());
    }

    #[test]
    fn a_call_that_gives_up_on_a_lane_that_stands_still_is_blamed() {
        let candidate = after_runs(&[FASTER; 3]);
        candidate.given_up(FASTER, FASTER, Instant::now());
        assert!(candidate.is_admitted());
        candidate.given_up(STANDSTILL * 2, FASTER, Instant::now());
        assert!(!candidate.is_admitted());
    }
}
