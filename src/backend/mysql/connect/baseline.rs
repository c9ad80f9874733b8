//! The settings that every session begins with, and is brought back to by a reset.

use std::fmt::Write;
use std::time::Duration;

use crate::backend::mysql::protocol::greeting::Flavor;
use crate::config::Database;

/// The deepest recursion of a common table expression: by default MariaDB cuts its rows off, with a mere warning.
const DEEPEST_RECURSION: u32 = u32::MAX;

/// The settings of one database.
#[derive(Debug)]
pub(crate) struct Baseline {
    sql_mode: String,
    time_zone: String,
    statement_timeout: Duration,
    lock_timeout: Duration,
}

impl Baseline {
    pub(crate) fn new(config: &Database) -> Self {
        Self {
            sql_mode: config.sql_mode.clone(),
            time_zone: config.time_zone.clone(),
            statement_timeout: config.statement_timeout,
            lock_timeout: config.lock_timeout,
        }
    }

    /// The one statement that sets them.
    pub(crate) fn statement(&self, flavor: Flavor) -> String {
        let lock_timeout = self.lock_timeout.as_secs_f64().ceil().max(1.0);
        let mut sql = format!(
            "SET NAMES utf8mb4, time_zone={}, sql_mode={}, autocommit=1, \
             innodb_lock_wait_timeout={lock_timeout}, lock_wait_timeout={lock_timeout}, \
             lc_messages='en_US', session_track_state_change=1, session_track_schema=1, \
             session_track_transaction_info='STATE', \
             session_track_system_variables='sql_mode,autocommit,session_track_transaction_info'",
            quoted(&self.time_zone),
            quoted(&self.sql_mode),
        );
        let limits = match flavor {
            Flavor::MariaDb => write!(
                sql,
                ", max_statement_time={:.3}, max_recursive_iterations={DEEPEST_RECURSION}",
                self.statement_timeout.as_secs_f64(),
            ),
            Flavor::MySql => write!(
                sql,
                ", max_execution_time={}, cte_max_recursion_depth={DEEPEST_RECURSION}",
                self.statement_timeout.as_millis(),
            ),
        };
        limits.expect("a text takes all that is written to it");
        sql
    }
}

/// A text as SQL; it has no backslashes.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
