//! LISTEN: notifications of channels for any number of listeners, over one connection beside the pool.
//!
//! `listen_hub` knows the listeners and channels, and no connection; `listen_task` keeps the connection. Notifications go
//! from the task that drives the connection into the queues of the listeners, which `sleepers` wakes a few at a time.

mod listen_hub;
mod listen_task;
mod sleepers;

use std::sync::Arc;
use std::time::Duration;

use super::session::database_context::DatabaseContext;
use crate::backend::notification_queue::{ListenCounts, Subscription};
use crate::config::Database;
use crate::error::Result;
use crate::resilience::Backoff;
use listen_hub::{Joined, ListenHub};
use listen_task::ListenTask;

/// The listeners of a database.
pub(super) struct Listeners {
    hub: Arc<ListenHub>,
    backoff: Backoff,
    connect_timeout: Duration,
}

impl Listeners {
    pub(super) fn new(name: &str, config: &Database) -> Self {
        let backoff =
            Backoff { initial: config.retry.initial_backoff, max: config.retry.max_backoff };
        Self {
            hub: Arc::new(ListenHub::new(name, config.listen)),
            backoff,
            connect_timeout: config.pool.connect_timeout,
        }
    }

    /// Adds a listener. The worker of the first one drives the connection.
    pub(super) fn listen(
        &self,
        context: &Arc<DatabaseContext>,
        channels: Vec<Arc<str>>,
    ) -> Result<Subscription> {
        let Joined { subscription, starts_task } = self.hub.join(channels)?;
        if starts_task {
            let task = ListenTask {
                hub: Arc::clone(&self.hub),
                context: Arc::clone(context),
                backoff: self.backoff,
                connect_timeout: self.connect_timeout,
            };
            tokio::spawn(task.run());
        }
        Ok(subscription)
    }

    pub(super) fn counts(&self) -> ListenCounts {
        self.hub.counts()
    }

    pub(super) fn close(&self) {
        self.hub.close();
    }
}
