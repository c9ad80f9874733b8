//! The rights of the role of a database, looked at once it is reachable: the log tells what is unsafe about them.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::preflight::ask;
use super::safety::{self, ROLE_RIGHTS};
use crate::config::Target;
use crate::engine::Database;

/// Warns of the rights by which the callers of a database get more than its tables. Runs on a worker, which then drives the
/// connection.
pub(super) async fn warn_of_role(database: &Database, workers: &[Handle]) {
    match &database.settings().target {
        Target::Sqlite(_) => return,
        Target::Postgres(_) => {}
    }
    let backend = Arc::clone(database.backend());
    let worker = workers.first().cloned().unwrap_or_else(Handle::current);
    let asked = worker.spawn(async move { ask(&*backend, ROLE_RIGHTS).await }).await;
    let database = database.name();
    match asked {
        Ok(Ok(rows)) => {
            for text in safety::of_role(&rows) {
                tracing::warn!(database, "unsafe: {text}");
            }
        }
        Ok(Err(error)) => {
            tracing::warn!(database, %error, cause = error.cause(), "rights of the role are unknown");
        }
        Err(error) => {
            tracing::error!(database, %error, "asking for the rights of the role panicked")
        }
    }
}
