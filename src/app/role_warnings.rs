//! The role of a database, looked at once it is reachable: the log tells what is unsafe about its rights, and if calls with
//! claims will fail.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::preflight::{ask, try_claims};
use super::safety;
use crate::engine::Database;

/// Warns of the rights by which the callers of a database get more than its tables. Runs on a worker, which then drives the
/// connection.
pub(super) async fn warn_of_role(database: &Database, workers: &[Handle]) {
    let target = &database.settings().target;
    let Some(question) = safety::rights_question(target) else { return };
    let backend = Arc::clone(database.backend());
    let worker = workers.first().cloned().unwrap_or_else(Handle::current);
    let has_claims = database.settings().claims.key.is_some();
    let asked_target = target.clone();
    let asking = async move {
        let rights = ask(&*backend, &asked_target, question).await;
        let claims = if has_claims { try_claims(&*backend).await } else { Ok(()) };
        rights.map(|rows| (rows, claims))
    };
    let asked = worker.spawn(asking).await;
    let database = database.name();
    match asked {
        Ok(Ok((rows, claims))) => {
            for text in safety::of_rights(target, &rows) {
                tracing::warn!(database, "unsafe: {text}");
            }
            if let Err(error) = claims {
                let reason = error.reason();
                let hint = error.hint().unwrap_or_default();
                tracing::warn!(database, reason, %error, hint, "calls on this database fail");
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
