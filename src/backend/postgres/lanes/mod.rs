//! Lanes: a few connections for each worker that short reads share, instead of one each.
//!
//! A statement rides a lane if nothing but built-in code that only computes can be reached by it, if its meaning
//! stays, if its whole result is one answer, and if it has been measured to be fast. The database guards the
//! choice: sessions of lanes are read-only and have a small timeout. Whatever fails on a lane has applied nothing,
//! and runs again on a connection of its own: no error of a lane is ever shown. Nothing is ever cancelled on one.

mod candidate;
mod lane;
mod lane_rows;
mod record;
mod ride;
mod worker_lanes;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::runtime::Handle;

use super::session::database_context::DatabaseContext;
use crate::backend::{Delivery, RowStream, Statement};
use crate::clock::now;
use crate::config::PoolSettings;
use crate::error::{Error, ErrorKind, Result};
use crate::pool::LaneCounts;
use crate::sql::{PlanLifetime, StatementClass};
pub(crate) use candidate::Candidate;
use lane::{LaneFailure, Place};
use record::LaneRecord;
use worker_lanes::{PlaceSearch, WorkerLanes, longest_wait};

/// The longest text of a statement, in bytes.
const LONGEST_TEXT: usize = 4 << 10;
/// The most lanes of one worker.
pub(crate) const LANES_OF_WORKER: usize = 2;
/// The number of statements whose measurements are kept, about.
const CANDIDATES: usize = 2048;
/// The memory for the measurements of statements.
const CANDIDATE_BYTES: u64 = 2 << 20;
/// The weight of a statement's measurements beyond the names in it.
const CANDIDATE_WEIGHT: usize = 512;

/// The lanes of one database.
pub(crate) struct Lanes {
    pub(crate) settings: PoolSettings,
    /// By the address of the analysis: there is one for each text.
    candidates: CandidateCache,
    workers: RwLock<Vec<Arc<WorkerLanes>>>,
    /// Held from the count of the lanes until another one counts: workers count at once.
    opening: Mutex<()>,
    record: Arc<LaneRecord>,
}

type CandidateCache = Cache<usize, Arc<Candidate>, Weight>;

/// The cache of what is known of statements: bounded, however many there are.
fn candidate_cache() -> CandidateCache {
    Cache::with_weighter(CANDIDATES, CANDIDATE_BYTES, Weight)
}

#[derive(Debug, Clone)]
struct Weight;

impl Weighter<usize, Arc<Candidate>> for Weight {
    fn weight(&self, _: &usize, candidate: &Arc<Candidate>) -> u64 {
        let bytes = CANDIDATE_WEIGHT + candidate.analysis.weight();
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

/// The way in which a statement runs.
pub(crate) enum Way {
    /// On a lane.
    Shared(Ride),
    /// On a connection of its own; what it takes is measured if it may ride a lane once.
    Alone(Option<Arc<Candidate>>),
}

/// A place on a lane for one statement.
pub(crate) struct Ride {
    place: Place,
    candidate: Arc<Candidate>,
    began: Instant,
}

impl Ride {
    /// Runs the statement; returns the way in which it must run again if it could not be run here.
    ///
    /// # Cancel safety
    /// As [`ride::run`].
    pub(crate) async fn run(
        self,
        context: &DatabaseContext,
        statement: &Statement,
        settings: &PoolSettings,
    ) -> Result<Result<Box<dyn RowStream>, Option<Arc<Candidate>>>> {
        let Self { place, candidate, began } = self;
        statement.context.telemetry().connection_acquired(Duration::ZERO, began);
        let prepared = place.0.prepared(&statement.sql);
        let waits_once = prepared.is_some();
        let running = ride::run(&place, statement, &candidate, began, prepared);
        let deadline = statement.deadline.instant();
        let is_far = deadline.saturating_duration_since(began) > longest_wait(settings);
        // A lane ends before most deadlines: they need no timer.
        let result = if waits_once && is_far {
            running.await
        } else {
            tokio::time::timeout_at(deadline.into(), running).await.map_err(|_elapsed| {
                let message = "the deadline passed while the database was working";
                Error::new(ErrorKind::DeadlineExceeded, message)
            })?
        };
        context.statements.fetch_add(u64::from(result.is_ok()), Relaxed);
        Ok(match result {
            Ok(result) => Ok(Box::new(result)),
            Err(LaneFailure::Alone) => Err(Some(candidate)),
            Err(LaneFailure::Demoted(reason)) => {
                candidate.demote(reason, now());
                Err(None)
            }
        })
    }
}

impl Lanes {
    pub(crate) fn new(settings: &PoolSettings) -> Self {
        Self {
            settings: settings.clone(),
            candidates: candidate_cache(),
            workers: RwLock::default(),
            opening: Mutex::default(),
            record: Arc::default(),
        }
    }

    /// Finds the way for a statement.
    pub(crate) fn find(&self, context: &Arc<DatabaseContext>, statement: &Statement) -> Way {
        if !self.may_take(statement) {
            return Way::Alone(None);
        }
        let began = now();
        let candidate = self.candidate(statement);
        if !candidate.shares(&context.effects, began) {
            return Way::Alone(None);
        }
        let place = if candidate.is_admitted() { self.place(context, began) } else { None };
        match place {
            Some(place) => Way::Shared(Ride { place, candidate, began }),
            None => Way::Alone(Some(candidate)),
        }
    }

    /// Returns true if a statement may ride a lane by what its text tells.
    fn may_take(&self, statement: &Statement) -> bool {
        let Statement { sql, analysis, delivery, describe_columns, preamble, .. } = statement;
        self.settings.lanes > 0
            && *delivery == Delivery::Whole
            && !describe_columns
            && preamble.is_empty()
            && sql.len() <= LONGEST_TEXT
            && analysis.lifetime == PlanLifetime::Kept
            && !analysis.lists_statements
            && matches!(&analysis.class, StatementClass::Read(uses) if !uses.exotic)
    }

    fn candidate(&self, statement: &Statement) -> Arc<Candidate> {
        let key = Arc::as_ptr(&statement.analysis).addr();
        if let Some(candidate) = self.candidates.get(&key) {
            return candidate;
        }
        let candidate = Arc::new(Candidate::new(&statement.analysis, &self.record));
        self.candidates.insert(key, Arc::clone(&candidate));
        candidate
    }

    /// A place on one of this worker's lanes; opens another lane when none has one.
    fn place(&self, context: &Arc<DatabaseContext>, now: Instant) -> Option<Place> {
        // While the pool is paused or closed, nobody gets a connection.
        let generation = context.pool.open_generation()?;
        let worker = self.worker();
        let open = match worker.take_place(generation, now) {
            PlaceSearch::Found(place) => return Some(place),
            PlaceSearch::None(open) => open,
        };
        if open >= LANES_OF_WORKER {
            return None;
        }
        let _counts_alone = self.opening.lock();
        if self.sum(WorkerLanes::open_or_opening) < self.settings.lanes
            && !context.opener.connector.is_behind_pooler()
            && context.opener.breaker.may_connect().is_ok()
        {
            worker.open_another(context, &self.settings, &self.record, generation);
        }
        None
    }

    fn worker(&self) -> Arc<WorkerLanes> {
        let id = Handle::current().id();
        let find = |workers: &[Arc<WorkerLanes>]| {
            workers.iter().find(|worker| worker.worker == id).cloned()
        };
        if let Some(worker) = find(&self.workers.read()) {
            return worker;
        }
        let mut workers = self.workers.write();
        let found = find(&workers);
        found.unwrap_or_else(|| {
            let worker = Arc::new(WorkerLanes::new(id));
            workers.push(Arc::clone(&worker));
            worker
        })
    }

    fn sum(&self, count: fn(&WorkerLanes) -> usize) -> usize {
        self.workers.read().iter().map(|worker| count(worker)).sum()
    }

    /// The counts for statistics.
    pub(crate) fn counts(&self) -> LaneCounts {
        self.record.counts(self.sum(WorkerLanes::open))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Analyzer, Dialect};

    #[test]
    fn what_is_kept_of_statements_is_bounded_however_many_there_are() {
        let analyzer = Analyzer::new(Dialect::Postgres, 64 << 20);
        let candidates = candidate_cache();
        let record = Arc::default();
        // Names that may be those of settings are kept with the analysis.
        let names: String = (0..200).map(|n| format!("name{n}.part ")).collect();
        for n in 0..2500 {
            let sql = format!("select {n} from t where a = '{names}' offset 0");
            let analysis = analyzer.analyze(&sql);
            assert!(matches!(analysis.class, StatementClass::Read(_)), "{sql}");
            let candidate = Arc::new(Candidate::new(&analysis, &record));
            candidates.insert(Arc::as_ptr(&analysis).addr(), candidate);
        }
        let held: usize = candidates.iter().map(|(_, one)| one.analysis.weight()).sum();
        assert!(held > 0 && held <= 2 << 20, "{} candidates hold {held}", candidates.len());
    }
}
