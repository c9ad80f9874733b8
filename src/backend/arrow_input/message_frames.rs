//! The messages of an Arrow IPC stream, whose bytes come in pieces.
//!
//! A message is a prefix (a marker and the size of the metadata, both of four bytes), the metadata, and a body (Arrow, "Encapsulated
//! message format"). Without the marker, as before Arrow 0.15, any text would look like a very large message: it is refused.

use super::message_check::{read_metadata, unreadable};
use crate::error::{Error, ErrorKind, Result};
use crate::wire_size::widen;

/// The marker before the size of the metadata.
const MARKER: &[u8] = &[0xff; 4];

/// The size of the prefix.
const PREFIX: usize = 8;

/// The begin of a file in Arrow's other format.
const FILE_MAGIC: &[u8] = b"ARROW1";

/// A message that is whole.
#[derive(Debug)]
pub(super) struct MessageFrame {
    /// The bytes of all of it.
    pub(super) bytes: Vec<u8>,
    /// The place of its metadata.
    pub(super) metadata: std::ops::Range<usize>,
}

impl MessageFrame {
    /// The size of the body.
    pub(super) fn body_size(&self) -> usize {
        self.bytes.len() - self.metadata.end
    }
}

/// The search for the ends of messages.
#[derive(Debug)]
pub(super) struct MessageFrames {
    max_size: usize,
    /// The message that is not whole yet.
    buffer: Vec<u8>,
    /// The bytes of it that must be there for the next step.
    wanted: usize,
    stage: Stage,
}

/// The part of a message that comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Prefix,
    Metadata,
    /// The metadata end here.
    Body(usize),
    /// The stream has ended.
    Ended,
}

impl MessageFrames {
    /// Makes the search; a message has at most this size.
    pub(super) fn new(max_size: usize) -> Self {
        Self { max_size, buffer: Vec::new(), wanted: PREFIX, stage: Stage::Prefix }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.stage == Stage::Ended
    }

    /// Takes bytes from the front of a piece; returns a message once it is whole.
    pub(super) fn next(&mut self, piece: &mut &[u8]) -> Result<Option<MessageFrame>> {
        loop {
            if self.has_ended() {
                let behind = "there is data behind its end";
                return if piece.is_empty() { Ok(None) } else { Err(unreadable(behind)) };
            }
            let missing = self.wanted - self.buffer.len();
            let (taken, rest) = piece.split_at(missing.min(piece.len()));
            self.buffer.extend_from_slice(taken);
            *piece = rest;
            if self.buffer.len() < self.wanted {
                return Ok(None);
            }
            match self.stage {
                Stage::Prefix => self.read_prefix()?,
                Stage::Metadata => self.read_metadata()?,
                Stage::Body(end) => {
                    let bytes = std::mem::take(&mut self.buffer);
                    self.stage = Stage::Prefix;
                    self.wanted = PREFIX;
                    return Ok(Some(MessageFrame { bytes, metadata: PREFIX..end }));
                }
                Stage::Ended => {}
            }
        }
    }

    fn read_prefix(&mut self) -> Result<()> {
        if self.buffer.starts_with(FILE_MAGIC) {
            let error = unreadable("it is an Arrow file, not a stream");
            return Err(error.with_hint(
                "Write a stream: pyarrow.ipc.new_stream, or write_ipc_stream of Polars.",
            ));
        }
        if !self.buffer.starts_with(MARKER) {
            let error = unreadable("no message begins where one has to");
            return Err(
                error.with_hint("Send an Arrow IPC stream, as pyarrow.ipc.new_stream writes it.")
            );
        }
        let word = self.buffer.last_chunk().copied().unwrap_or_default();
        let size = usize::try_from(u32::from_le_bytes(word)).unwrap_or(usize::MAX);
        if size == 0 {
            self.stage = Stage::Ended;
            return Ok(());
        }
        self.stage = Stage::Metadata;
        self.want(size)
    }

    fn read_metadata(&mut self) -> Result<()> {
        let message = read_metadata(&self.buffer[PREFIX..])?;
        let size = usize::try_from(message.bodyLength())
            .map_err(|error| unreadable("a size is negative").with_cause(error))?;
        self.stage = Stage::Body(self.wanted);
        self.want(size)
    }

    /// Waits for so many more bytes.
    fn want(&mut self, more: usize) -> Result<()> {
        self.wanted = self.wanted.saturating_add(more);
        if self.wanted > self.max_size {
            return Err(self.too_large());
        }
        self.buffer.reserve_exact(more);
        Ok(())
    }

    fn too_large(&self) -> Error {
        let limit = widen(self.max_size);
        let message = format!("a record batch of the Arrow stream has more than {limit} bytes");
        Error::new(ErrorKind::RowTooLarge, message).with_hint(
            "Write smaller record batches, as with max_chunksize of pyarrow, or raise databases.NAME.max_row_size.",
        )
    }
}
