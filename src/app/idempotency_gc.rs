//! Deletes idempotency keys that are past their retention, now and then.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::runtime::Handle;

use crate::deadline::Deadline;
use crate::engine::{Database, Engine};
use crate::error::{Error, ErrorKind, Result};

/// Between two sweeps at least and at most: a 24th of the retention.
const SHORTEST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(3600);

/// Deletions in one sweep at most, each of some thousands of keys: what is left has time.
const ROUNDS: usize = 100;

/// Deletes expired keys of every database.
pub(crate) struct Sweeper {
    engine: Arc<Engine>,
    workers: Vec<Handle>,
}

impl Sweeper {
    pub(crate) fn new(engine: Arc<Engine>, workers: Vec<Handle>) -> Self {
        Self { engine, workers }
    }

    /// Sweeps until it is dropped.
    pub(crate) async fn run(self) {
        // A connection is driven by the worker that opened it: the databases are spread over them.
        let pairs = self.engine.databases().zip(self.workers.iter().cycle());
        join_all(pairs.map(|(database, worker)| keep(database, worker))).await;
    }
}

/// Sweeps one database again and again.
async fn keep(database: &Database, worker: &Handle) {
    let period = period(database.settings().idempotency.retention);
    loop {
        // Instances that were started together do not sweep together.
        tokio::time::sleep(period.mul_f64(0.5 + fastrand::f64())).await;
        if !database.is_available() {
            continue;
        }
        match sweep(database, worker).await {
            Ok(0) => {}
            Ok(keys) => tracing::debug!(database = database.name(), keys, "expired keys deleted"),
            Err(error) => {
                let reason = error.reason();
                tracing::warn!(database = database.name(), reason, %error, "expired keys stay");
            }
        }
    }
}

fn period(retention: Duration) -> Duration {
    (retention / 24).clamp(SHORTEST, LONGEST)
}

/// Deletes what has expired; returns how many keys.
async fn sweep(database: &Database, worker: &Handle) -> Result<u64> {
    let mut deleted = 0;
    for _ in 0..ROUNDS {
        let backend = Arc::clone(database.backend());
        let deadline = Deadline::at(Instant::now() + database.limits().default);
        let deleting = worker.spawn(async move { backend.delete_expired_keys(deadline).await });
        let round = deleting.await.map_err(|error| {
            Error::new(ErrorKind::Internal, "the deletion broke off").with_cause(error)
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
    use super::*;
    use crate::backend::Backend;
    use crate::backend::scripted::{Scripted, Step};
    use crate::config;

    fn engine(steps: impl IntoIterator<Item = Result<u64>>) -> Arc<Engine> {
        let script = Scripted::new(steps.into_iter().map(Step::DeleteExpiredKeys));
        let config = config::load_from(&[]).expect("the defaults are right");
        let main = config.databases["main"].clone();
        let backend: Arc<dyn Backend> = script;
        Arc::new(Engine::new(vec![("main".to_owned(), main, backend)], &config))
    }

    #[test]
    fn a_sweep_comes_24_times_in_the_retention_within_bounds() {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let cases = [
            (Duration::from_secs(60), SHORTEST),
            (hours(1), Duration::from_secs(150)),
            (hours(24), LONGEST),
            (hours(24 * 366), LONGEST),
        ];
        for (retention, expected) in cases {
            assert_eq!(period(retention), expected, "{retention:?}");
        }
    }

    #[tokio::test]
    async fn a_sweep_goes_on_until_nothing_is_left_or_it_fails() {
        let lost = || Error::new(ErrorKind::ConnectionLost, "lost");
        let worker = Handle::current();
        let clean = engine([Ok(5000), Ok(5000), Ok(3), Ok(0)]);
        let deleted = sweep(clean.database("").expect("it is there"), &worker).await;
        assert_eq!(deleted.expect("it ran"), 10_003);
        let failing = engine([Ok(5000), Err(lost())]);
        let failed = sweep(failing.database("").expect("it is there"), &worker).await;
        assert_eq!(failed.expect_err("it was lost").kind(), ErrorKind::ConnectionLost);
    }

    #[tokio::test]
    async fn a_sweep_ends_though_keys_expire_as_fast_as_they_go() {
        let engine = engine((0..ROUNDS).map(|_| Ok(1)));
        let deleted = sweep(engine.database("").expect("it is there"), &Handle::current()).await;
        assert_eq!(deleted.expect("it ran"), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn a_database_that_is_away_is_not_asked() {
        let engine = engine([Ok(0)]);
        let sweeper = Sweeper::new(Arc::clone(&engine), vec![Handle::current()]);
        let sweeping = tokio::spawn(sweeper.run());
        tokio::time::sleep(LONGEST * 10).await;
        engine
            .database("")
            .expect("it is there")
            .backend()
            .probe(LONGEST)
            .await
            .expect("it answers");
        // The only step is left for now.
        tokio::time::sleep(LONGEST + LONGEST / 3).await;
        sweeping.abort();
    }
}
