//! The packet that ends an answer, and what it tells of the session.
//!
//! Its layout is that of `CLIENT_PROTOCOL_41` with `CLIENT_SESSION_TRACK` (MySQL protocol, "OK_Packet").

use super::length_encoded::PacketReader;

/// A transaction is open.
pub(crate) const IN_TRANSACTION: u16 = 0x0001;
/// Each statement commits by itself.
pub(crate) const AUTOCOMMIT: u16 = 0x0002;
/// Another result of the same command follows.
pub(crate) const MORE_RESULTS: u16 = 0x0008;
/// A backslash in a string is itself.
pub(crate) const NO_BACKSLASH_ESCAPES: u16 = 0x0200;
const SESSION_STATE_CHANGED: u16 = 0x4000;

// The kinds of changes ("Session State Information").
const SYSTEM_VARIABLES: u8 = 0;
const SCHEMA: u8 = 1;
const STATE_CHANGE: u8 = 2;
const TRANSACTION_STATE: u8 = 5;

/// The length of a transaction's state, as in `T___W__S`.
const STATE_LENGTH: usize = 8;

/// The end of an answer that did not fail.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct OkPacket {
    pub(crate) affected_rows: u64,
    pub(crate) last_insert_id: u64,
    pub(crate) status: u16,
    pub(crate) warnings: u16,
    pub(crate) changes: SessionChanges,
}

/// The changes of the session that an answer tells of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SessionChanges {
    /// Something of the session has changed: a setting, the schema, a temporary table, a prepared statement.
    pub(crate) session: bool,
    /// The default schema is another one.
    pub(crate) schema: bool,
    /// One of the settings changed by which texts are read or commits are made.
    pub(crate) variables: bool,
    /// The state of the transaction, if it has changed.
    pub(crate) transaction: Option<TransactionState>,
}

/// The state of a transaction, as `session_track_transaction_info` tells it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, of which any may hold"
)]
pub(crate) struct TransactionState {
    /// A transaction was begun by a statement, and is open.
    pub(crate) is_open: bool,
    /// A table of an engine with transactions was written, as the server calls it.
    pub(crate) wrote_with_transaction: bool,
    /// A table without transactions was written.
    pub(crate) wrote_without_transaction: bool,
    /// LOCK TABLES is in force.
    pub(crate) locks_tables: bool,
}

impl OkPacket {
    /// Reads a packet, with its first byte; `None` if it is malformed.
    pub(crate) fn parse(packet: &[u8]) -> Option<Self> {
        let mut reader = PacketReader::new(packet);
        reader.u8()?;
        let affected_rows = reader.integer()?;
        let last_insert_id = reader.integer()?;
        let status = reader.u16()?;
        let warnings = reader.u16()?;
        let mut changes = SessionChanges::default();
        if status & SESSION_STATE_CHANGED != 0 {
            // The text for people comes first.
            reader.string()?;
            changes = SessionChanges::parse(reader.string()?)?;
        }
        Some(Self { affected_rows, last_insert_id, status, warnings, changes })
    }
}

impl SessionChanges {
    fn parse(changed: &[u8]) -> Option<Self> {
        let mut changes = Self::default();
        let mut reader = PacketReader::new(changed);
        while !reader.is_empty() {
            let kind = reader.u8()?;
            let data = reader.string()?;
            match kind {
                SYSTEM_VARIABLES => changes.variables = true,
                SCHEMA => changes.schema = true,
                STATE_CHANGE => changes.session |= data == b"1",
                TRANSACTION_STATE => {
                    let state = PacketReader::new(data).string()?;
                    changes.transaction = Some(TransactionState::parse(state));
                }
                // Nothing else was asked for; whatever it is, it is a change.
                _ => changes.session = true,
            }
        }
        Some(changes)
    }

    /// Adds the changes of a later answer.
    pub(crate) fn add(&mut self, later: &Self) {
        self.session |= later.session;
        self.schema |= later.schema;
        self.variables |= later.variables;
        self.transaction = later.transaction.or(self.transaction);
    }
}

impl TransactionState {
    /// Reads a state. One that is not as long as it should be may mean anything.
    fn parse(state: &[u8]) -> Self {
        let is_known = state.len() == STATE_LENGTH;
        Self {
            is_open: is_known && state.first() == Some(&b'T'),
            wrote_with_transaction: !is_known || state.contains(&b'W'),
            wrote_without_transaction: !is_known || state.contains(&b'w'),
            locks_tables: !is_known || state.contains(&b'L'),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_tells_what_it_has_changed_of_the_session() {
        // 3 rows, id 7, in a transaction with a write to a table without transactions, 1 warning.
        let state = [5, 9, 8, b'T', b'_', b'_', b'w', b'_', b'_', b'_', b'_'];
        let changed = [2, 1, b'1'];
        let mut packet = vec![0, 3, 7, 0x01, 0x40, 1, 0, 0];
        packet.push(u8::try_from(state.len() + changed.len()).expect("it is short"));
        packet.extend(state);
        packet.extend(changed);
        let ok = OkPacket::parse(&packet).expect("it is well-formed");
        assert_eq!((ok.affected_rows, ok.last_insert_id, ok.warnings), (3, 7, 1));
        assert_eq!(ok.status & IN_TRANSACTION, IN_TRANSACTION);
        let transaction = Some(TransactionState {
            is_open: true,
            wrote_without_transaction: true,
            ..TransactionState::default()
        });
        let expected = SessionChanges { session: true, transaction, ..SessionChanges::default() };
        assert_eq!(ok.changes, expected);
        for cut in 0..packet.len() {
            assert_eq!(OkPacket::parse(&packet[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn a_kind_of_change_that_is_not_known_is_a_change() {
        let changes = SessionChanges::parse(&[99, 1, 0]).expect("it is well-formed");
        assert!(changes.session);
    }
}
