//! Sizes of messages on the wire, known before a message is made.

use prost::Message as _;

use crate::value::Row;

/// A count or size as the contract carries it.
#[must_use]
pub fn widen(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

/// The bytes a row takes in a `repeated Row` field: its own, a tag, and its length.
#[must_use]
pub fn encoded_row_size(row: &Row) -> usize {
    let body = row.encoded_len();
    1 + prost::length_delimiter_len(body) + body
}
