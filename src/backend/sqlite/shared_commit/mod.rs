//! Writes that share a commit: those that wait for the connection that writes are run one after the other in one
//! transaction, each in a savepoint of its own, and are answered after the one COMMIT, whose sync of the file is
//! what a write costs.
//!
//! Each keeps its own outcome. One that fails is rolled back to its savepoint. Whatever ends or endangers the
//! transaction itself (`OR ROLLBACK`, an interrupt, a full disk, a COMMIT that failed) makes each of them run again
//! by itself, as it would without the others; only where a COMMIT's outcome is not known, that is what all are
//! told. Then those that had failed are told that they are not applied, and of no reason that may be another's write.
//!
//! A closed list says what may share: INSERT, UPDATE and DELETE, alone or in batches, whose results are small, in a
//! database without constraints that are checked at the COMMIT and without virtual tables.

mod group;
mod member;
mod schema;
mod write_queue;

pub(super) use group::{GroupLimits, group_job};
pub(super) use member::{BatchWrite, SharedWork, StatementWrite, Write};
#[cfg(test)]
pub(super) use write_queue::Place;
pub(super) use write_queue::WriteQueue;

use super::command_tag::{command, counts_changes};
use crate::backend::{Batch, Delivery, Statement};

/// Tells whether a statement may share a commit.
pub(super) fn statement_may_share(statement: &Statement) -> bool {
    statement.delivery == Delivery::Whole
        && !statement.describe_columns
        && counts_changes(&command(&statement.sql))
}

/// Tells whether a batch may share a commit.
pub(super) fn batch_may_share(batch: &Batch) -> bool {
    let is_plain = |sql: &str| {
        let command = command(sql);
        counts_changes(&command) || command == "SELECT"
    };
    !batch.dry_run
        && !batch.mode.read_only
        && batch.statements.iter().all(|statement| is_plain(&statement.sql))
}
