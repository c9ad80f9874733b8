//! The engine: all databases by name, and the drain of their transactions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::database::{Caller, Database};
use super::fair_yield::FairYields;
use crate::access::{Policy, TransactionTokens};
use crate::backend::Backend;
use crate::config;
use crate::error::{Error, ErrorKind, Result};

/// The databases and the calls on them.
pub(crate) struct Engine {
    databases: BTreeMap<String, Arc<Database>>,
    default_database: String,
    pub(super) stall_timeout: Duration,
    pub(super) response_limit: usize,
    pub(super) fair_yields: FairYields,
    pub(super) transaction_tokens: Arc<TransactionTokens>,
    /// The moment at which interactive transactions must have ended, once the server drains.
    drain: watch::Sender<Option<Instant>>,
}

impl Engine {
    /// Makes an engine of opened backends; `default_database` is one of them.
    pub(crate) fn new(
        databases: Vec<(String, config::Database, Arc<dyn Backend>)>,
        config: &config::Config,
    ) -> Self {
        let health = config.health.clone();
        let open = |(name, config, backend): (String, config::Database, _)| {
            (name.clone(), Arc::new(Database::new(name, config, &health, backend)))
        };
        Self {
            databases: databases.into_iter().map(open).collect(),
            default_database: config.default_database.clone(),
            stall_timeout: config.stream.stall_timeout,
            response_limit: config.grpc.max_response_size,
            fair_yields: FairYields::default(),
            transaction_tokens: Arc::new(TransactionTokens::new(&config.access)),
            drain: watch::Sender::new(None),
        }
    }

    /// Rolls back interactive transactions: now those that wait for their caller, the others once the
    /// commands that they have received are done, and at `end` all that are open.
    pub(crate) fn drain(&self, end: Instant) {
        self.drain.send_replace(Some(end));
    }

    /// Returns once the server drains, with the moment at which transactions must have ended.
    pub(super) async fn drain_started(&self) -> Instant {
        let mut drain = self.drain.subscribe();
        match drain.wait_for(Option::is_some).await.map(|end| *end) {
            Ok(Some(end)) => end,
            // The sender lives as long as this engine.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// Returns once interactive transactions must have ended.
    pub(super) async fn drain_ended(&self) {
        tokio::time::sleep_until(self.drain_started().await.into()).await;
    }

    /// Finds the database of a request; an empty name is the caller's default one. One that the caller may not use
    /// is not there for it.
    pub(crate) fn database_of(&self, caller: &Caller, name: &str) -> Result<&Arc<Database>> {
        let policy = &caller.identity.policy;
        let default = policy.default_database(&self.default_database);
        let name = if name.is_empty() { default } else { name };
        let found = self.databases.get(name).filter(|_| policy.permits_database(name));
        found.ok_or_else(|| {
            let known: Vec<&str> = self.databases_of(policy).map(Database::name).collect();
            let message = format!("there is no database \"{name}\"");
            let error = Error::new(ErrorKind::DatabaseNotFound, message)
                .with_hint(format!("Known here: {}.", known.join(", ")));
            if policy.permits_database(name) { error } else { error.denying_database(name) }
        })
    }

    /// Finds a database for the server itself; an empty name is the default one.
    pub(crate) fn database(&self, name: &str) -> Option<&Arc<Database>> {
        let name = if name.is_empty() { &*self.default_database } else { name };
        self.databases.get(name)
    }

    /// Returns the databases that a caller may use, by name.
    pub(crate) fn databases_of<'a>(
        &'a self,
        policy: &'a Policy,
    ) -> impl Iterator<Item = &'a Database> {
        self.databases().filter(|database| policy.permits_database(database.name()))
    }

    /// Returns all databases, by name.
    pub(crate) fn databases(&self) -> impl Iterator<Item = &Database> {
        self.databases.values().map(Arc::as_ref)
    }

    /// The database of a request that names none.
    pub(crate) fn default_database(&self) -> &str {
        &self.default_database
    }
}
