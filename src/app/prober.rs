//! Probes databases in the background, and tells health and readiness what is known of them.
//!
//! What is known is the breaker's, which whoever connects informs: so health, readiness and callers learn of an
//! outage and of its end at the same moment.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join_all};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

use super::idempotency_install::create_table;
use crate::config::Config;
use crate::engine::{Database, Engine};
use crate::grpc::HealthReporter;
use crate::ops::Readiness;

/// The longest pause while a database is given up: a login that was changed meanwhile is tried at once.
const GLANCE: Duration = Duration::from_secs(1);

/// Probes every database, and says what follows.
pub(crate) struct Prober {
    engine: Arc<Engine>,
    health: HealthReporter,
    readiness: watch::Sender<Readiness>,
    draining: watch::Sender<bool>,
    workers: Vec<Handle>,
    interval: Duration,
    timeout: Duration,
    require: Vec<String>,
    first: Vec<First>,
    /// The databases that were probed, and made ready if they were reached.
    looked: Mutex<BTreeSet<String>>,
    /// Something is to be told.
    news: Notify,
}

/// What is to be done once a database is reached.
struct First {
    database: String,
    key_table: bool,
    /// Connections to open before readiness.
    warm_up: usize,
}

impl Prober {
    pub(crate) fn new(
        config: &Config,
        engine: Arc<Engine>,
        health: HealthReporter,
        readiness: watch::Sender<Readiness>,
        workers: Vec<Handle>,
    ) -> Self {
        let first = config.databases.iter().map(|(name, database)| First {
            database: name.clone(),
            key_table: database.idempotency.create_table,
            warm_up: if database.pool.warm_up { database.pool.min } else { 0 },
        });
        Self {
            first: first.collect(),
            looked: Mutex::default(),
            news: Notify::new(),
            engine,
            health,
            readiness,
            draining: watch::channel(false).0,
            workers,
            interval: config.health.interval,
            timeout: config.health.timeout,
            require: config.health.require.clone(),
        }
    }

    /// Set to true, nothing is ready any more.
    pub(crate) fn draining(&self) -> watch::Sender<bool> {
        self.draining.clone()
    }

    /// Makes every name known to health, before anything was probed.
    pub(crate) async fn announce(&self) {
        self.health.set("liveness", true).await;
        self.publish().await;
    }

    /// Probes until the server drains; the last that is told is NOT_SERVING.
    pub(crate) async fn run(mut self) {
        let first = std::mem::take(&mut self.first);
        let probing = first.into_iter().map(|first| self.probe(first));
        tokio::select! {
            // Which it never does.
            _ = join_all(probing) => {}
            () = self.tell() => {}
        }
    }

    /// Probes a database for ever; does what is to be done first when it is reached.
    async fn probe(&self, mut first: First) {
        let Ok(database) = self.engine.database(&first.database) else {
            return std::future::pending().await;
        };
        let breaker = database.backend().breaker();
        let mut changes = breaker.state();
        let telling = async {
            let mut changes = breaker.state();
            // It is open as long as its breaker.
            while changes.changed().await.is_ok() {
                self.news.notify_one();
            }
        };
        let probing = async {
            loop {
                let reached = database.backend().probe(self.timeout).await.is_ok();
                if reached {
                    self.make_ready(database, &mut first).await;
                }
                self.looked.lock().insert(first.database.clone());
                self.news.notify_one();
                let open = changes.borrow_and_update().open;
                let pause = match reached && !open {
                    true => self.interval,
                    false => breaker.time_to_next_probe().min(GLANCE),
                };
                drop(tokio::time::timeout(pause, changes.changed()).await);
            }
        };
        join(telling, probing).await;
    }

    async fn make_ready(&self, database: &Database, first: &mut First) {
        if first.key_table && create_table(database, &self.workers).await {
            first.key_table = false;
        }
        if first.warm_up > 0 && self.open(database, first.warm_up).await {
            first.warm_up = 0;
        }
    }

    /// Opens what shall be open before readiness, its share on each worker.
    async fn open(&self, database: &Database, count: usize) -> bool {
        if database.backend().pool().open >= count {
            return true;
        }
        let workers = self.workers.len().max(1);
        let opening = self.workers.iter().enumerate().map(|(number, worker)| {
            let share = count / workers + usize::from(number < count % workers);
            let backend = Arc::clone(database.backend());
            worker.spawn(async move { backend.warm_up(share).await })
        });
        join_all(opening).await.into_iter().all(|opened| matches!(opened, Ok(Ok(()))))
    }

    /// Tells of all that changes, until the server drains.
    async fn tell(&self) {
        let mut draining = self.draining.subscribe();
        loop {
            let last = *draining.borrow_and_update();
            self.publish().await;
            if last {
                return;
            }
            tokio::select! {
                () = self.news.notified() => {}
                _ = draining.changed() => {}
            }
        }
    }

    fn is_ready(&self, database: &Database) -> bool {
        database.is_available() && self.looked.lock().contains(database.name())
    }

    async fn publish(&self) {
        let draining = *self.draining.borrow();
        let is_starting = {
            let looked = self.looked.lock();
            self.require.iter().any(|name| !looked.contains(name))
        };
        let reached = |name: &str| self.engine.database(name).is_ok_and(|each| self.is_ready(each));
        let missing = self.require.iter().filter(|name| !reached(name)).cloned().collect();
        let readiness = match is_starting && !draining {
            true => Readiness::starting(),
            false => Readiness::new(draining, missing),
        };
        for service in ["", "readiness", "rowgate.v1.DatabaseService"] {
            self.health.set(service, readiness.is_ready()).await;
        }
        for database in self.engine.databases() {
            let serving = self.is_ready(database) && !draining;
            self.health.set(&format!("database.{}", database.name()), serving).await;
        }
        self.readiness.send_replace(readiness);
    }
}
