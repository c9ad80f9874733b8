//! Sizes of messages on the wire, known before a message is made.

use prost::Message as _;

use crate::value::proto::ResultSet;

/// Converts a count or size to the type in which the contract carries it.
pub(crate) fn widen(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

/// The largest size of a unary response without its results, in bytes: tags, lengths, counters.
pub(crate) const RESPONSE_OVERHEAD: usize = 64;

/// The largest size of what surrounds a result in a response, in bytes: a tag and its length.
const RESULT_OVERHEAD: usize = 8;

/// The largest size of a message of streamed rows without the rows, in bytes: two tags and two lengths.
pub(crate) const ROW_BATCH_OVERHEAD: usize = 32;

/// The largest size of a transaction's reply without columns and rows, in bytes: the sequence, tags and
/// lengths, the counts, the command.
pub(crate) const REPLY_OVERHEAD: usize = 256;

/// Returns the most bytes that a response with these results takes.
pub(crate) fn response_size(results: &[ResultSet]) -> u64 {
    let sizes = results.iter().map(|result| RESULT_OVERHEAD + result.encoded_len());
    widen(RESPONSE_OVERHEAD + sizes.sum::<usize>())
}
