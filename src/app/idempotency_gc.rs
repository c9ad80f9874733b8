//! The garbage collection of idempotency keys that are past their retention.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::runtime::Handle;

use crate::config::Health;
use crate::deadline::Deadline;
use crate::engine::{Database, Engine};
use crate::error::{Error, ErrorKind, Result};

/// The bounds of the interval between two collections, a 24th of the retention.
const MIN_INTERVAL: Duration = Duration::from_secs(60);
const MAX_INTERVAL: Duration = Duration::from_secs(3600);

/// The deletions of one collection, each of some thousands of keys; the next collection deletes what is left.
const MAX_ROUNDS: usize = 100;

/// The time between two looks for a call on a database that is to be left alone, which send nothing.
const LOOK: Duration = Duration::from_secs(1);

/// The moment of a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CollectAt {
    /// The end of the interval.
    Interval,
    /// The next call behind it that takes a connection: an idle database is not woken.
    NextCall,
}

impl CollectAt {
    pub(crate) fn of(health: &Health) -> Self {
        if health.probes() { Self::Interval } else { Self::NextCall }
    }
}

/// Deletes the expired keys of every database at intervals, until it is dropped.
pub(crate) async fn run(engine: Arc<Engine>, workers: Vec<Handle>, at: CollectAt) {
    // A worker drives the connections that it opens: the databases are spread over the workers.
    let pairs = engine.databases().zip(workers.iter().cycle());
    join_all(pairs.map(|(database, worker)| run_database(database, worker, at))).await;
}

async fn run_database(database: &Database, worker: &Handle, at: CollectAt) {
    let interval = interval(database.settings().idempotency.retention);
    loop {
        // Instances that were started together do not collect together.
        tokio::time::sleep(interval.mul_f64(0.5 + fastrand::f64())).await;
        if at == CollectAt::NextCall {
            called(database).await;
        }
        match collect(database, worker).await {
            Ok(0) => {}
            Ok(keys) => tracing::debug!(database = database.name(), keys, "expired keys deleted"),
            Err(error) => {
                let reason = error.reason();
                tracing::warn!(database = database.name(), reason, %error, "expired keys not deleted");
            }
        }
    }
}

/// Waits for the next call.
async fn called(database: &Database) {
    let acquired = || database.backend().pool().acquired;
    let before = acquired();
    while acquired() == before {
        tokio::time::sleep(LOOK).await;
    }
}

fn interval(retention: Duration) -> Duration {
    (retention / 24).clamp(MIN_INTERVAL, MAX_INTERVAL)
}

/// Deletes the expired keys of a database, if it is available; returns their number.
async fn collect(database: &Database, worker: &Handle) -> Result<u64> {
    let mut deleted = 0;
    for _ in 0..MAX_ROUNDS {
        if !database.is_available() {
            break;
        }
        let backend = Arc::clone(database.backend());
        let deadline = Deadline::at(Instant::now() + database.limits().default);
        let deletion = worker.spawn(async move { backend.delete_expired_keys(deadline).await });
        let round = deletion.await.map_err(|error| {
            Error::new(ErrorKind::Internal, "the deletion task failed").with_cause(error)
        })??;
        if round == 0 {
            break;
        }
        deleted += round;
    }
    Ok(deleted)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;
    use crate::backend::Backend;
    use crate::backend::scripted::{Scripted, Step};
    use crate::clock::now;
    use crate::config;

    fn scripted(steps: impl IntoIterator<Item = Result<u64>>) -> Arc<Scripted> {
        Scripted::new(steps.into_iter().map(Step::DeleteExpiredKeys))
    }

    fn unreachable(script: &Arc<Scripted>) -> Arc<Engine> {
        let config = config::load_from(&[]).expect("the defaults are right");
        let main = config.databases["main"].clone();
        let backend: Arc<dyn Backend> = Arc::<Scripted>::clone(script);
        Arc::new(Engine::new(vec![("main".to_owned(), main, backend)], &config))
    }

    fn main(engine: &Engine) -> &Database {
        engine.database("").expect("it is configured")
    }

    async fn reach(engine: &Engine) {
        main(engine).backend().probe(MAX_INTERVAL).await.expect("it answers");
    }

    async fn reachable(steps: impl IntoIterator<Item = Result<u64>>) -> Arc<Engine> {
        let engine = unreachable(&scripted(steps));
        reach(&engine).await;
        engine
    }

    async fn collected(engine: &Engine) -> Result<u64> {
        collect(main(engine), &Handle::current()).await
    }

    #[test]
    fn keys_are_collected_24_times_in_the_retention_within_bounds() {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let cases = [
            (Duration::from_secs(60), MIN_INTERVAL),
            (hours(1), Duration::from_secs(150)),
            (hours(24), MAX_INTERVAL),
            (hours(24 * 366), MAX_INTERVAL),
        ];
        for (retention, expected) in cases {
            assert_eq!(interval(retention), expected, "{retention:?}");
        }
    }

    #[tokio::test]
    async fn a_collection_ends_when_no_key_is_left_or_it_fails() {
        let complete = reachable([Ok(5000), Ok(5000), Ok(3), Ok(0)]).await;
        assert_eq!(collected(&complete).await.expect("it ran"), 10_003);
        let lost = Error::new(ErrorKind::ConnectionLost, "lost");
        let failing = reachable([Ok(5000), Err(lost)]).await;
        let error = collected(&failing).await.expect_err("it was lost");
        assert_eq!(error.kind(), ErrorKind::ConnectionLost);
    }

    #[tokio::test]
    async fn a_collection_ends_though_keys_expire_as_fast_as_they_are_deleted() {
        let engine = reachable((0..MAX_ROUNDS).map(|_| Ok(1))).await;
        assert_eq!(collected(&engine).await.expect("it ran"), 100);
    }

    #[tokio::test]
    async fn an_unreachable_database_is_not_asked() {
        let engine = unreachable(&scripted([Ok(3), Ok(0)]));
        assert_eq!(collected(&engine).await.expect("it was skipped"), 0);
        reach(&engine).await;
        assert_eq!(collected(&engine).await.expect("it ran"), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn keys_are_collected_at_the_interval() {
        let script = scripted([Ok(3), Ok(0), Ok(0)]);
        let engine = unreachable(&script);
        reach(&engine).await;
        let start = now();
        let both = async {
            while !script.is_played() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            () = run(Arc::clone(&engine), vec![Handle::current()], CollectAt::Interval) => panic!("it ended"),
            () = both => {}
        }
        let bounds = MAX_INTERVAL..=MAX_INTERVAL * 3 + Duration::from_secs(2);
        let took = now() - start;
        assert!(bounds.contains(&took), "two collections took {took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_database_is_not_woken_for_its_keys() {
        let script = scripted([Ok(3), Ok(0)]);
        let engine = unreachable(&script);
        reach(&engine).await;
        let idle = async {
            tokio::time::sleep(MAX_INTERVAL * 100).await;
            assert!(!script.is_played(), "nobody has called");
            script.acquired.fetch_add(1, Relaxed);
            tokio::time::sleep(LOOK * 2).await;
            assert!(script.is_played(), "somebody has");
        };
        let workers = vec![Handle::current()];
        tokio::select! {
            () = run(Arc::clone(&engine), workers, CollectAt::NextCall) => panic!("it ended"),
            () = idle => {}
        }
    }
}
