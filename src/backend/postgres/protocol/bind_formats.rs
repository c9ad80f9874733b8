//! The result formats of Binds, which are changed on their way to the server.
//!
//! tokio-postgres always requests binary results, with one format code for all columns. For a statement with columns
//! that have no binary decoder, the code is replaced by one for each column: a column comes in the same format
//! whatever its neighbours are.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::AsyncWrite;
use tokio_postgres::types::Format;

use super::own_copies::OwnCopies;
use super::text_results::TextResults;

/// The size of a header: the kind, and the length of the rest with itself.
const HEADER: usize = 5;

/// The end of each Bind of the driver: one format code, of binary.
const BINARY: [u8; 4] = [0, 1, 0, 1];

/// The messages whose formats are changed, between the driver and the socket.
#[derive(Debug, Default)]
pub(super) struct BindFormats {
    /// The begin of a message.
    held: BytesMut,
    /// The bytes that the socket has not accepted.
    ready: BytesMut,
    /// The Bind of a COPY was the last one.
    is_behind_copy: bool,
}

impl BindFormats {
    /// Returns true if a message has begun that is not complete.
    pub(super) fn is_within_message(&self) -> bool {
        !self.held.is_empty()
    }

    /// Takes the next bytes of the driver, which begin a message or continue the last one.
    pub(super) fn feed(
        &mut self,
        bytes: &[u8],
        results: &TextResults,
        copies: &OwnCopies,
    ) -> io::Result<()> {
        self.held.extend_from_slice(bytes);
        while let Some(length) =
            message_length(&self.held).filter(|length| *length <= self.held.len())
        {
            let message = self.held.split_to(length);
            if message[0] != b'B' {
                let is_dropped = message[0] == b'S'
                    && std::mem::take(&mut self.is_behind_copy)
                    && copies.take_dropped_sync();
                if !is_dropped {
                    self.ready.extend_from_slice(&message);
                }
                continue;
            }
            self.is_behind_copy = copies.drops_sync();
            // The rows would arrive in another format than they are decoded from.
            let refused = || {
                let message = "a statement's result format cannot be changed";
                io::Error::new(io::ErrorKind::InvalidData, message)
            };
            if results.is_incomplete() {
                return Err(refused());
            }
            match statement_name(&message[HEADER..]).and_then(|name| results.formats(name)) {
                None => self.ready.extend_from_slice(&message),
                Some(formats) => self.rewrite(&message, &formats).ok_or_else(refused)?,
            }
        }
        Ok(())
    }

    fn rewrite(&mut self, message: &[u8], formats: &[Format]) -> Option<()> {
        let body = &message[HEADER..];
        let kept = body.len() - result_formats(body).filter(|found| *found == BINARY)?.len();
        let length = 4 + kept + 2 + 2 * formats.len();
        self.ready.put_u8(message[0]);
        self.ready.put_u32(length.try_into().ok()?);
        self.ready.extend_from_slice(&body[..kept]);
        self.ready.put_u16(formats.len().try_into().ok()?);
        for format in formats {
            self.ready.put_u16(u16::from(matches!(format, Format::Binary)));
        }
        Some(())
    }

    /// Writes what is ready.
    pub(super) fn poll_write_ready<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.ready.is_empty() {
            let written = ready!(Pin::new(&mut *stream).poll_write(cx, &self.ready))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.ready.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

/// Returns the length of the first message, once its header is complete.
fn message_length(bytes: &[u8]) -> Option<usize> {
    let length = bytes.get(1..HEADER)?.get_u32();
    Some(usize::try_from(length).ok()?.max(4).saturating_add(1))
}

/// Takes a text that ends with a zero byte.
fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().position(|byte| *byte == 0)?;
    let text = &rest[..end];
    *rest = &rest[end + 1..];
    Some(text)
}

/// Returns the name of the statement that a Bind is of; the name of its portal comes first.
fn statement_name(mut body: &[u8]) -> Option<&[u8]> {
    take_text(&mut body)?;
    take_text(&mut body)
}

/// Returns the end of a Bind: the result formats behind the values of the parameters.
fn result_formats(body: &[u8]) -> Option<&[u8]> {
    let mut rest = body;
    take_text(&mut rest)?;
    take_text(&mut rest)?;
    let formats = usize::from(rest.try_get_u16().ok()?);
    rest.split_off(..formats * 2)?;
    for _ in 0..rest.try_get_u16().ok()? {
        // -1 is NULL, which has no bytes.
        if let Ok(length) = usize::try_from(rest.try_get_i32().ok()?) {
            rest.split_off(..length)?;
        }
    }
    Some(rest)
}
