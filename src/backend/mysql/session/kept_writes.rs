//! Writes that stay although their unit is rolled back: those to tables without transactions.
//!
//! Before a statement has ended, its text and the catalogs tell if it may have such writes. Behind its end the server
//! tells if the transaction has any, in the state that `session_track_transaction_info` asks for; an error packet has
//! none, but warnings tell what a rollback has left.

use std::sync::atomic::Ordering::Relaxed;

use super::statement_effects::StatementEffects;
use super::{Refusal, Session};
use crate::backend::idempotency::not_transactional;
use crate::backend::mysql::connection::Connection;
use crate::backend::mysql::protocol::server_error::ServerError;
use crate::error::Result;

/// The number of the warning of a rollback: some tables could not be rolled back.
const NOT_ROLLED_BACK: u16 = 1196;

/// The writes in the open transaction, as far as the server has told of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ToldWrites {
    /// A rollback undoes all of them.
    AllUndone,
    /// Some were to tables without transactions.
    SomeStay,
    Unknown,
}

impl Session {
    /// Fails if a unit has a key, which would not protect what this statement writes.
    pub(crate) fn check_key_protects(&self, effects: &StatementEffects) -> Result<()> {
        match &effects.without_transactions {
            Some(table) if self.work.is_keyed => Err(not_transactional(table)),
            Some(_) | None => Ok(()),
        }
    }

    /// Takes what the server tells behind a statement that ended well. Before it, a part of the unit might stay or not.
    pub(crate) fn settle_writes(&mut self, might_stay: bool) {
        match told_writes(self.connection()) {
            ToldWrites::AllUndone => self.work.is_divisible = might_stay,
            ToldWrites::SomeStay => self.work.is_divisible = true,
            ToldWrites::Unknown => {}
        }
    }

    /// Takes the end of a rollback to a savepoint, which warns of all writes of the transaction that it does not undo. That
    /// there was such a savepoint tells that the transaction has not been ended meanwhile.
    pub(crate) fn settle_rollback(&mut self, warnings: u16) {
        self.work.may_have_ended = false;
        if warnings > 0 {
            self.work.is_divisible = true;
        } else {
            self.settle_writes(false);
        }
    }

    /// Notes an error with which the server answered the last command.
    pub(super) fn note_refusal(&mut self, error: &ServerError) {
        let connection = self.connection();
        let is_last = connection.unanswered() == 0;
        let sent = connection.state.sent.load(Relaxed);
        self.work.refusal = is_last.then_some(Refusal { errno: error.errno, sent });
    }

    /// Returns true if the server tells that nothing stayed of what it has rolled back with its last error: that is the
    /// first in the whole list of warnings, and the list has none of such writes.
    pub(crate) async fn refusal_left_nothing(&mut self) -> bool {
        let Some(refusal) = self.work.refusal.take() else { return false };
        if self.connection().state.sent.load(Relaxed) != refusal.sent || !self.takes_commands() {
            return false;
        }
        let questions = ["SHOW WARNINGS".to_owned(), "SHOW COUNT(*) WARNINGS".to_owned()];
        let Ok(answers) = self.query_own(&questions).await else { return false };
        let [warnings, counts] = answers.as_slice() else { return false };
        let number = |row: &Vec<Option<String>>, at: usize| -> Option<usize> {
            row.get(at)?.as_deref()?.parse().ok()
        };
        let is_whole = counts.first().and_then(|row| number(row, 0)) == Some(warnings.len());
        let has = |errno: u16| warnings.iter().any(|row| number(row, 1) == Some(errno.into()));
        is_whole && has(refusal.errno) && !has(NOT_ROLLED_BACK)
    }
}

fn told_writes(connection: &Connection) -> ToldWrites {
    let changes = &connection.changes;
    let Some(state) = changes.transaction else { return ToldWrites::Unknown };
    if state.wrote_without_transaction {
        return ToldWrites::SomeStay;
    }
    // A statement that has changed settings may have stopped the server from telling.
    let is_told = state.is_open && !changes.session && !changes.variables;
    let is_of_innodb = !state.wrote_with_transaction || !connection.server.has_other_transactions;
    if is_told && is_of_innodb { ToldWrites::AllUndone } else { ToldWrites::Unknown }
}
