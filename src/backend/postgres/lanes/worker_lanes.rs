//! The lanes of one worker, which opens them, uses them and drives their connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use tokio::runtime::Id;

use super::lane::{Lane, LaneLifetime, Place};
use super::record::LaneRecord;
use crate::backend::postgres::connect::capabilities::Ability;
use crate::backend::postgres::connection::Connection;
use crate::backend::postgres::session::database_context::DatabaseContext;
use crate::clock::now;
use crate::config::PoolSettings;
use crate::pool::Manager as _;

/// A lane that should answer and has not done so for this time, beyond its own timeout, is lost.
const STUCK: Duration = Duration::from_secs(1);
/// The time between two looks at a lane.
const LOOK: Duration = Duration::from_millis(500);
/// The time until a lane is tried again after one could not be opened.
const PAUSE: Duration = Duration::from_secs(1);

/// The lanes of one worker: those that were opened first are filled first.
pub(super) struct WorkerLanes {
    pub(super) worker: Id,
    lanes: RwLock<Vec<Arc<Lane>>>,
    is_opening: AtomicBool,
    paused_until: Mutex<Option<Instant>>,
}

/// The answer to the question for a place.
pub(super) enum PlaceSearch {
    Found(Place),
    /// All lanes, of which there are this many, are full or stand still.
    None(usize),
}

/// The longest time for which a request may wait on a lane until it is answered or the lane is given up.
pub(super) fn longest_wait(settings: &PoolSettings) -> Duration {
    let depth = u32::try_from(super::lane::DEEPEST).unwrap_or(u32::MAX);
    (settings.lane_timeout + STUCK + LOOK * 2).saturating_add(settings.lane_timeout * depth)
}

impl WorkerLanes {
    pub(super) fn new(worker: Id) -> Self {
        Self {
            worker,
            lanes: RwLock::default(),
            is_opening: AtomicBool::new(false),
            paused_until: Mutex::default(),
        }
    }

    /// Takes a place on the first lane that has one.
    pub(super) fn take_place(&self, generation: u64, now: Instant) -> PlaceSearch {
        let mut open = 0;
        for lane in self.lanes.read().iter() {
            let LaneLifetime { generation: its, expires } = lane.lifetime;
            if its != generation || expires.is_some_and(|expires| expires <= now) {
                lane.end();
            }
            if lane.has_ended() {
                continue;
            }
            open += 1;
            if let Some(place) = lane.take_place(now) {
                return PlaceSearch::Found(place);
            }
        }
        PlaceSearch::None(open)
    }

    /// The number of open lanes.
    pub(super) fn open(&self) -> usize {
        self.lanes.read().iter().filter(|lane| !lane.has_ended()).count()
    }

    /// The same, with one that is being opened.
    pub(super) fn open_or_opening(&self) -> usize {
        // In this order: one that has just been opened is counted twice rather than not at all.
        let opening = usize::from(self.is_opening.load(SeqCst));
        opening + self.open()
    }

    /// Opens another lane in a task of its own, unless one is being opened or could not be a moment ago.
    pub(super) fn open_another(
        self: &Arc<Self>,
        context: &Arc<DatabaseContext>,
        settings: &PoolSettings,
        record: &Arc<LaneRecord>,
        generation: u64,
    ) {
        if self.paused_until.lock().is_some_and(|until| now() < until)
            || self.is_opening.swap(true, SeqCst)
        {
            return;
        }
        let worker = Arc::clone(self);
        let context = Arc::clone(context);
        let record = Arc::clone(record);
        let settings = settings.clone();
        tokio::spawn(async move {
            let opened = open(&context, &settings, &record, generation).await;
            match opened {
                Ok(lane) => {
                    let lane = Arc::new(lane);
                    worker.lanes.write().push(Arc::clone(&lane));
                    worker.is_opening.store(false, SeqCst);
                    attend(&lane, &context, &settings).await;
                    worker.lanes.write().retain(|other| !Arc::ptr_eq(other, &lane));
                }
                Err(error) => {
                    tracing::debug!(database = %context.name, reason = error, "no lane was opened");
                    *worker.paused_until.lock() = Some(now() + PAUSE);
                    worker.is_opening.store(false, SeqCst);
                }
            }
        });
    }
}

/// Watches a lane until it takes no more statements. Ends it at its idle time, when the pool is flushed, paused or
/// closed, and when its server has changed; at once when it is stuck, or was lost while it was idle.
async fn attend(lane: &Lane, context: &DatabaseContext, settings: &PoolSettings) {
    let PoolSettings { idle_timeout, lane_timeout, validate_after_idle, .. } = *settings;
    let protocol = &lane.connection.protocol;
    let mut progress = (protocol.last_answered(), now());
    let mut validated_at = now();
    // Once it takes no more, what is under way on it still must end; also what is yet to be sent.
    while !lane.has_ended() || lane.is_in_use() && !lane.connection.client.is_closed() {
        tokio::time::sleep(LOOK).await;
        let now = now();
        let answered = protocol.last_answered();
        if answered != progress.0 || protocol.unanswered() == 0 {
            progress = (answered, now);
        } else if now.saturating_duration_since(progress.1) >= STUCK + lane_timeout {
            lane.abort();
            return;
        }
        let unused = lane.idle_time().min(now.saturating_duration_since(validated_at));
        if unused >= validate_after_idle && !lane.is_in_use() {
            if !is_valid(lane, lane_timeout).await {
                lane.abort();
                return;
            }
            validated_at = self::now();
        }
        let is_idle = !idle_timeout.is_zero() && lane.idle_time() >= idle_timeout;
        let is_current = context.pool.open_generation() == Some(lane.lifetime.generation);
        if is_idle || !is_current || lane.has_changed() {
            lane.end();
        }
    }
}

/// Returns true if the server answers. No call takes a place meanwhile: the lane stands still.
async fn is_valid(lane: &Lane, lane_timeout: Duration) -> bool {
    let answer = lane.connection.client.check_connection();
    tokio::time::timeout(STUCK + lane_timeout, answer).await.is_ok_and(|answer| answer.is_ok())
}

/// Opens a lane.
async fn open(
    context: &DatabaseContext,
    settings: &PoolSettings,
    record: &Arc<LaneRecord>,
    generation: u64,
) -> Result<Lane, String> {
    let opening = tokio::time::timeout(settings.connect_timeout, connect(context, settings)).await;
    let connection = opening.map_err(|_elapsed| "timed out".to_owned())??;
    let expires = (!settings.max_lifetime.is_zero()).then(|| now() + settings.max_lifetime);
    let lifetime = LaneLifetime { generation, expires };
    Ok(Lane::new(connection, record, &context.opener.statements, lifetime))
}

/// Opens a connection whose session is read-only, and has a small timeout.
async fn connect(context: &DatabaseContext, settings: &PoolSettings) -> Result<Connection, String> {
    // As the pool's: the server may be full of them.
    let opened = context.opener.connect().await;
    let connection = opened.map_err(|error| error.to_string())?;
    if connection.protocol.is_behind_pooler() {
        return Err("a pooler is between".to_owned());
    }
    if !connection.capabilities.has(Ability::Judgement) {
        return Err("the server's catalogs do not tell what a statement can reach".to_owned());
    }
    let timeout = settings.lane_timeout.as_millis().max(1);
    let guards = format!(
        "SET default_transaction_read_only = on; SET statement_timeout = {timeout}; \
         SET lock_timeout = {timeout}"
    );
    let guarded = connection.client.batch_execute(&guards).await;
    guarded.map_err(|error| error.to_string())?;
    Ok(connection)
}
