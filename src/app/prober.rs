//! Probes databases in the background; health and readiness follow what it finds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::keys::KeyTables;
use crate::config::Config;
use crate::engine::{Database, Engine};
use crate::error::{Error, ErrorKind, Result};
use crate::grpc::HealthReporter;
use crate::ops::Readiness;

/// Probes every database, and says what follows.
pub(super) struct Prober {
    engine: Arc<Engine>,
    health: HealthReporter,
    readiness: watch::Sender<Readiness>,
    draining: watch::Sender<bool>,
    workers: Vec<Handle>,
    interval: Duration,
    timeout: Duration,
    require: Vec<String>,
    /// Connections to open before readiness, by database; emptied once they are.
    warm_ups: Vec<(String, usize)>,
    tables: KeyTables,
    /// What was logged last of each database: why it is not reached, `None` when it is.
    told: BTreeMap<String, Option<(String, String)>>,
}

impl Prober {
    pub(super) fn new(
        config: &Config,
        engine: Arc<Engine>,
        health: HealthReporter,
        readiness: watch::Sender<Readiness>,
        workers: Vec<Handle>,
    ) -> Self {
        let warm = config.databases.iter().filter(|(_, database)| database.pool.warm_up);
        Self {
            warm_ups: warm.map(|(name, database)| (name.clone(), database.pool.min)).collect(),
            tables: KeyTables::new(config),
            told: BTreeMap::new(),
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
    pub(super) fn draining(&self) -> watch::Sender<bool> {
        self.draining.clone()
    }

    /// Makes every name known to health, before anything was probed.
    pub(super) async fn announce(&self) {
        self.health.set("liveness", true).await;
        self.publish(true).await;
    }

    /// Probes until the server drains; the last that is told is NOT_SERVING.
    pub(super) async fn run(mut self) {
        let mut draining = self.draining.subscribe();
        loop {
            if !*draining.borrow_and_update() {
                // Draining is told at once, however long a database does not answer.
                tokio::select! {
                    () = self.look() => {}
                    _ = draining.changed() => {}
                }
            }
            let last = *draining.borrow_and_update();
            self.publish(false).await;
            if last {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(self.interval) => {}
                _ = draining.changed() => {}
            }
        }
    }

    async fn look(&mut self) {
        let engine = Arc::clone(&self.engine);
        let probed = join_all(engine.databases().map(|each| self.probe(each))).await;
        for (database, probed) in engine.databases().zip(probed) {
            database.set_available(probed.is_ok());
            self.tell(database.name(), probed);
        }
        self.tables.create(&engine, &self.workers).await;
        self.warm_up().await;
    }

    async fn probe(&self, database: &Database) -> Result<()> {
        let probed = tokio::time::timeout(self.timeout, database.backend().probe()).await;
        probed.unwrap_or_else(|_elapsed| {
            Err(Error::new(ErrorKind::DatabaseUnavailable, "the probe timed out"))
        })
    }

    /// Logs what has changed since the last probe: a database that stays away says so once.
    fn tell(&mut self, database: &str, probed: Result<()>) {
        let now = probed.as_ref().err().map(|error| (error.reason().to_owned(), error.cause()));
        let before = self.told.insert(database.to_owned(), now.clone());
        if before.as_ref() == Some(&now) {
            return;
        }
        match probed {
            Ok(()) => tracing::info!(database, "database reached"),
            Err(error) => {
                let (reason, cause) = (error.reason(), error.cause());
                tracing::warn!(database, reason, %error, cause, "database not reached");
            }
        }
    }

    /// Opens what shall be open before readiness, its share on each worker.
    async fn warm_up(&mut self) {
        let mut left = Vec::new();
        for (name, count) in std::mem::take(&mut self.warm_ups) {
            let Ok(database) = self.engine.database(&name) else { continue };
            if !database.is_available() || !self.open(database, count).await {
                left.push((name, count));
            }
        }
        self.warm_ups = left;
    }

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

    async fn publish(&self, starting: bool) {
        let draining = *self.draining.borrow();
        let missing: Vec<String> = self
            .require
            .iter()
            .filter(|name| !self.engine.database(name).is_ok_and(Database::is_available))
            .cloned()
            .collect();
        let probed = Readiness::new(draining, missing);
        let readiness = if starting { Readiness::starting() } else { probed };
        for service in ["", "readiness", "rowgate.v1.DatabaseService"] {
            self.health.set(service, readiness.is_ready()).await;
        }
        for database in self.engine.databases() {
            let serving = database.is_available() && !draining;
            self.health.set(&format!("database.{}", database.name()), serving).await;
        }
        self.readiness.send_replace(readiness);
    }
}
