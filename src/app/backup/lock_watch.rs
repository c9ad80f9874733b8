//! The watch over a restoration into PostgreSQL that waits for a lock: whoever comes behind it waits as well.
//!
//! pg_restore turns off `lock_timeout` in its own session, so that another session has to look.

use std::cell::RefCell;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use super::file_job::refused;
use crate::backend::AdminConnection;
use crate::error::Error;

/// The time between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// The watch over one restoration.
pub(super) struct LockWatch {
    session: String,
    timeout: Duration,
    blocked: RefCell<Option<Error>>,
}

impl LockWatch {
    pub(super) fn new(timeout: Duration) -> Self {
        let session = format!("rowgate restore {} {:08x}", std::process::id(), fastrand::u32(..));
        Self { session, timeout, blocked: RefCell::default() }
    }

    /// The `application_name` of the session that is watched.
    pub(super) fn session(&self) -> &str {
        &self.session
    }

    /// Looks until the session has waited for locks for longer than it may, and cancels its statement then. It looks
    /// no more once a look has failed.
    pub(super) async fn cancel_when_blocked(&self, server: &mut dyn AdminConnection) -> Infallible {
        let session = &self.session;
        let own = format!(
            "FROM pg_catalog.pg_stat_activity AS a WHERE a.application_name OPERATOR(pg_catalog.=) '{session}' \
             AND a.wait_event_type OPERATOR(pg_catalog.=) 'Lock'"
        );
        let look = format!(
            "SELECT pg_catalog.array_to_string(pg_catalog.pg_blocking_pids(a.pid), ', '), \
             pg_catalog.left(a.query, 100) {own}"
        );
        let mut since = None;
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        loop {
            looks.tick().await;
            let Ok(rows) = server.run(&look).await else { return std::future::pending().await };
            let Some(row) = rows.into_iter().next() else {
                since = None;
                continue;
            };
            let start: &mut Instant = since.get_or_insert_with(Instant::now);
            if start.elapsed() < self.timeout {
                continue;
            }
            let mut fields = row.into_iter().map(Option::unwrap_or_default);
            let holders = fields.next().unwrap_or_default();
            let statement = fields.next().unwrap_or_default();
            // Before it is cancelled: the program may end sooner than the answer comes.
            *self.blocked.borrow_mut() = Some(self.error(&holders, &statement));
            let cancel = format!("SELECT pg_catalog.pg_cancel_backend(a.pid) {own}");
            let has_lock = server.run(&cancel).await.is_ok_and(|cancelled| cancelled.is_empty());
            if !has_lock {
                return std::future::pending().await;
            }
            *self.blocked.borrow_mut() = None;
        }
    }

    /// The error of a restoration that was cancelled for its wait; `None` if it has failed otherwise.
    pub(super) fn reason_of(&self, failure: &Error) -> Option<Error> {
        let is_cancel = failure.message().contains("canceling statement due to user request");
        self.blocked.borrow_mut().take().filter(|_blocked| is_cancel)
    }

    fn error(&self, holders: &str, statement: &str) -> Error {
        let waited = self.timeout;
        let statement = statement.lines().next().unwrap_or_default();
        let message = format!(
            "the restoration waited for a lock for longer than lock_timeout ({waited:?}): `{statement}` waits for the session \
             of process {holders}"
        );
        refused(message).with_hint(
            "Nothing was changed: it ran in one transaction. Stop what uses the database, or end that session with \
             pg_terminate_backend(PID), or raise databases.NAME.lock_timeout for this command.",
        )
    }
}
