//! Probes databases in the background, and reports health and readiness.
//!
//! The state of a database is its breaker's, which every connection attempt updates: health, readiness and callers
//! learn of an outage and of its end at the same moment.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join_all};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

use super::idempotency_install::create_table;
use super::role_warnings::warn_of_role;
use crate::config;
use crate::engine::{Database, Engine};
use crate::grpc::HealthReporter;
use crate::ops::Readiness;

/// The longest pause while a breaker is open: a changed login is soon used.
const MAX_OPEN_PAUSE: Duration = Duration::from_secs(1);

pub(crate) struct Prober {
    engine: Arc<Engine>,
    health: HealthReporter,
    readiness: watch::Sender<Readiness>,
    /// Set to true, readiness ends.
    pub(crate) draining: watch::Sender<bool>,
    workers: Vec<Handle>,
    settings: config::Health,
    /// True to tell, once a database is reachable, what is unsafe about its role.
    checks_roles: bool,
    /// The databases that were probed, and set up if they were reachable.
    probed: Mutex<BTreeSet<String>>,
    /// Notified when a report is due.
    changed: Notify,
}

impl Prober {
    pub(crate) fn new(
        config: &config::Config,
        engine: Arc<Engine>,
        health: HealthReporter,
        readiness: watch::Sender<Readiness>,
        workers: Vec<Handle>,
    ) -> Self {
        let draining = watch::Sender::new(false);
        let probed = Mutex::default();
        let changed = Notify::new();
        let settings = config.health.clone();
        // With `access.strict` they were looked at before the start; without callers nobody has fewer rights than a role.
        let checks_roles = !config.callers.is_empty() && !config.access.strict;
        Self {
            engine,
            health,
            readiness,
            draining,
            workers,
            settings,
            checks_roles,
            probed,
            changed,
        }
    }

    /// Registers every name with health, before any probe.
    pub(crate) fn announce(&self) {
        self.health.set("liveness", true);
        self.publish();
    }

    /// Probes until the server drains; the last report is NOT_SERVING.
    pub(crate) async fn run(self) {
        tokio::select! {
            _ = join_all(self.engine.databases().map(|database| self.probe(database))) => {}
            () = self.report() => {}
        }
    }

    /// Probes a database for ever, and sets it up when it is reachable.
    async fn probe(&self, database: &Database) {
        let config::Database { pool, idempotency, .. } = database.settings();
        // The work that is due once the database is reachable: its table of keys, the connections of readiness.
        let mut is_table_due = idempotency.create_table;
        let mut connections_due = if pool.warm_up { pool.min } else { 0 };
        let mut is_role_due = self.checks_roles;
        let breaker = database.backend().breaker();
        let mut changes = breaker.state();
        let reporting = async {
            let mut changes = breaker.state();
            // The channel is open as long as the breaker lives.
            while changes.changed().await.is_ok() {
                self.changed.notify_one();
            }
        };
        let probing = async {
            loop {
                let is_reachable = database.backend().probe(self.settings.timeout).await.is_ok();
                if is_reachable {
                    if is_table_due {
                        is_table_due = !create_table(database, &self.workers).await;
                    }
                    if is_role_due {
                        is_role_due = false;
                        warn_of_role(database, &self.workers).await;
                    }
                    if connections_due > 0 && self.warm_up(database, connections_due).await {
                        connections_due = 0;
                    }
                }
                self.probed.lock().insert(database.name().to_owned());
                self.changed.notify_one();
                let is_open = changes.borrow_and_update().open;
                let pause = if is_reachable && !is_open {
                    self.settings.interval
                } else {
                    breaker.time_to_next_probe().min(MAX_OPEN_PAUSE)
                };
                drop(tokio::time::timeout(pause, changes.changed()).await);
            }
        };
        join(reporting, probing).await;
    }

    /// Opens the connections that readiness requires, on each worker its share.
    async fn warm_up(&self, database: &Database, count: usize) -> bool {
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

    /// Reports every change, until the server drains.
    async fn report(&self) {
        let mut draining = self.draining.subscribe();
        loop {
            let is_last = *draining.borrow_and_update();
            self.publish();
            if is_last {
                return;
            }
            tokio::select! {
                () = self.changed.notified() => {}
                _ = draining.changed() => {}
            }
        }
    }

    fn is_ready(&self, database: &Database) -> bool {
        database.is_available() && self.probed.lock().contains(database.name())
    }

    fn publish(&self) {
        let draining = *self.draining.borrow();
        let is_starting = {
            let probed = self.probed.lock();
            self.settings.require.iter().any(|name| !probed.contains(name))
        };
        let readiness = if draining || !is_starting {
            let ready =
                |name: &str| self.engine.database(name).is_some_and(|each| self.is_ready(each));
            let unreachable = self.settings.require.iter().filter(|name| !ready(name)).cloned();
            Readiness::new(draining, unreachable.collect())
        } else {
            Readiness::starting()
        };
        for service in ["", "readiness", "rowgate.v1.DatabaseService"] {
            self.health.set(service, readiness.is_ready());
        }
        for database in self.engine.databases() {
            let serving = self.is_ready(database) && !draining;
            self.health.set(&format!("database.{}", database.name()), serving);
        }
        self.readiness.send_replace(readiness);
    }
}
