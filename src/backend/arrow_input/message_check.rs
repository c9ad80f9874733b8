//! The checks of a message before it is decoded.
//!
//! The decoder slices the body by what the metadata say, and takes their lengths for what they are; it would panic where they
//! lie outside.

use arrow_ipc::{
    DictionaryBatch, Endianness, Message, MessageHeader, RecordBatch, root_as_message,
};

use crate::backend::copy::BAD_FORMAT;
use crate::error::{Error, ErrorKind, Result};

/// The longest array, in elements.
const LONGEST: i64 = i32::MAX as i64;

/// A message that may be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MessageKind {
    Schema,
    Batch,
    /// The values of the dictionary of this number.
    Dictionary(i64),
}

/// The error of a stream that is malformed.
pub(super) fn unreadable(why: &str) -> Error {
    let message = format!("the Arrow stream cannot be read: {why}");
    Error::new(ErrorKind::InvalidStatement, message).with_condition(BAD_FORMAT)
}

/// Reads the metadata of a message.
pub(super) fn read_metadata(bytes: &[u8]) -> Result<Message<'_>> {
    let malformed = "its metadata are malformed";
    root_as_message(bytes).map_err(|error| unreadable(malformed).with_cause(error.to_string()))
}

/// Checks a message with a body of this size.
pub(super) fn check_message(message: Message<'_>, body: usize) -> Result<MessageKind> {
    match message.header_type() {
        MessageHeader::Schema => {
            let schema = message.header_as_schema().ok_or_else(incomplete)?;
            if schema.endianness() != Endianness::Little {
                return Err(unsupported("it is of big-endian numbers", "Write it little-endian."));
            }
            Ok(MessageKind::Schema)
        }
        MessageHeader::RecordBatch => {
            check_batch(message.header_as_record_batch().ok_or_else(incomplete)?, body)?;
            Ok(MessageKind::Batch)
        }
        MessageHeader::DictionaryBatch => {
            check_dictionary(message.header_as_dictionary_batch().ok_or_else(incomplete)?, body)
        }
        _ => Err(unreadable("it holds a message that is neither a schema nor rows")),
    }
}

fn check_dictionary(dictionary: DictionaryBatch<'_>, body: usize) -> Result<MessageKind> {
    // Each addition would copy all of the dictionary.
    if dictionary.isDelta() {
        let why = "one of its dictionaries is added to (a delta)";
        return Err(unsupported(why, "Write whole dictionaries: emit_dictionary_deltas = False."));
    }
    check_batch(dictionary.data().ok_or_else(incomplete)?, body)?;
    Ok(MessageKind::Dictionary(dictionary.id()))
}

fn check_batch(batch: RecordBatch<'_>, body: usize) -> Result<()> {
    if let Some(compression) = batch.compression() {
        let codec = compression.codec().variant_name().unwrap_or("an unknown codec");
        let why = format!("its record batches are compressed with {codec}");
        return Err(unsupported(&why, "Write the stream without compression."));
    }
    let is_length = |length: i64| (0..=LONGEST).contains(&length);
    let mut nodes = batch.nodes().into_iter().flatten();
    let has_lengths = is_length(batch.length())
        && nodes.all(|it| is_length(it.length()) && (0..=it.length()).contains(&it.null_count()));
    if !has_lengths {
        return Err(unreadable("the length of an array is beyond its bounds"));
    }
    let is_inside = |offset: i64, length: i64| {
        let end = offset.checked_add(length).and_then(|end| usize::try_from(end).ok());
        offset >= 0 && length >= 0 && end.is_some_and(|end| end <= body)
    };
    let mut buffers = batch.buffers().into_iter().flatten();
    if !buffers.all(|buffer| is_inside(buffer.offset(), buffer.length())) {
        return Err(unreadable("a buffer is outside its message"));
    }
    Ok(())
}

fn incomplete() -> Error {
    unreadable("a message has no content")
}

fn unsupported(why: &str, hint: &'static str) -> Error {
    let message = format!("the Arrow stream is not supported: {why}");
    Error::new(ErrorKind::Unsupported, message).with_hint(hint)
}
