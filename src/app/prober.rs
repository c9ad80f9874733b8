//! Probes databases in the background, and reports health and readiness.
//!
//! The state of a database is its breaker's, which every connection attempt updates: health, readiness and callers
//! learn of an outage and of its end at the same moment. With `health.interval = "0s"` nothing is probed: health and
//! readiness then follow the breaker and the last call.

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

/// The longest pause between two attempts to set up a database that is reachable.
const MAX_SETUP_PAUSE: Duration = Duration::from_secs(60);

/// The work that is due once a database is reachable.
struct Setup {
    /// Its table of keys.
    is_table_due: bool,
    is_role_due: bool,
    /// The connections of readiness.
    connections_due: usize,
}

impl Setup {
    fn is_done(&self) -> bool {
        !self.is_table_due && !self.is_role_due && self.connections_due == 0
    }
}

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

    /// Probes a database for ever, or follows its calls, and sets it up when it is reachable.
    async fn probe(&self, database: &Database) {
        let config::Database { pool, idempotency, .. } = database.settings();
        let mut setup = Setup {
            is_table_due: idempotency.create_table,
            is_role_due: self.checks_roles,
            connections_due: if pool.warm_up { pool.min } else { 0 },
        };
        let breaker = database.backend().breaker();
        let mut changes = breaker.state();
        let mut calls = breaker.call_failures();
        let reporting = async {
            // The channels are open as long as the breaker lives.
            loop {
                tokio::select! {
                    _ = changes.changed() => {}
                    _ = calls.changed(), if !self.settings.probes() => {}
                }
                self.changed.notify_one();
            }
        };
        if self.settings.probes() {
            join(reporting, self.probe_at_intervals(database, &mut setup)).await;
        } else {
            join(reporting, self.set_up_when_reached(database, &mut setup)).await;
        }
    }

    async fn probe_at_intervals(&self, database: &Database, setup: &mut Setup) {
        let breaker = database.backend().breaker();
        let mut changes = breaker.state();
        loop {
            let is_reachable = database.backend().probe(self.settings.timeout).await.is_ok();
            if is_reachable {
                self.set_up(database, setup).await;
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
    }

    /// Sends nothing by itself: what is due is done right behind the call that has reached the database.
    async fn set_up_when_reached(&self, database: &Database, setup: &mut Setup) {
        let mut changes = database.backend().breaker().state();
        let mut pause = MAX_OPEN_PAUSE;
        while !setup.is_done() {
            let is_available = changes.borrow_and_update().is_available();
            if is_available {
                self.set_up(database, setup).await;
            }
            if is_available && !setup.is_done() {
                // The connection was lost: the database is awake, and nothing else would tell that it answers again.
                drop(tokio::time::timeout(pause, changes.changed()).await);
                pause = MAX_SETUP_PAUSE.min(2 * pause);
            } else if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Does what is due once a database is reachable.
    async fn set_up(&self, database: &Database, setup: &mut Setup) {
        if setup.is_table_due {
            setup.is_table_due = !create_table(database, &self.workers).await;
        }
        if setup.is_role_due {
            setup.is_role_due = false;
            warn_of_role(database, &self.workers).await;
        }
        if setup.connections_due > 0 && self.warm_up(database, setup.connections_due).await {
            setup.connections_due = 0;
        }
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
        let is_known = !self.settings.probes() || self.probed.lock().contains(database.name());
        database.is_available() && is_known
    }

    fn publish(&self) {
        let draining = *self.draining.borrow();
        let is_starting = {
            let probed = self.probed.lock();
            let is_unknown = |name: &String| self.settings.probes() && !probed.contains(name);
            self.settings.require.iter().any(is_unknown)
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
