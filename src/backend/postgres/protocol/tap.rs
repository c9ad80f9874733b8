//! The stream under the driver: it reads along, and changes one byte of one kind of message.
//!
//! tokio-postgres always asks for binary results. For a statement with a column that has no binary
//! decoder, the result format in its Bind is changed from binary to text; the length stays. Nothing
//! else is altered. It knows of messages only what `wire` publishes, and nothing of what they are for.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsStream};

use super::backend::Received;
use super::framing::FrameWalker;
use super::frontend::{Sent, TextBinds};
use super::state::ProtocolState;

/// A stream and what its bytes say.
pub(crate) struct Tap<S> {
    pub(crate) stream: S,
    wire: Arc<ProtocolState>,
    incoming: FrameWalker,
    received: Received,
    outgoing: FrameWalker,
    sent: Sent,
    patched: Vec<u8>,
}

impl<S> Tap<S> {
    pub(crate) fn new(stream: S, wire: Arc<ProtocolState>, max_row_size: usize) -> Self {
        Self {
            stream,
            incoming: FrameWalker::new(),
            received: Received::new(Arc::clone(&wire), max_row_size),
            outgoing: FrameWalker::from_startup(),
            sent: Sent::new(Arc::clone(&wire)),
            patched: Vec::new(),
            wire,
        }
    }

    fn read(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.incoming.feed(bytes, &mut self.received);
        if !self.wire.spend(bytes.len()) {
            let message =
                "more was left of a result that nobody wants than it costs to connect anew";
            return Err(io::Error::other(message));
        }
        if self.received.refuses {
            self.wire.refuse_row();
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a row is over max_row_size"));
        }
        Ok(())
    }

    /// The offsets in `bytes` of the result formats to change.
    ///
    /// Scanned anew at each write, from the state at the last byte that was accepted: whatever the
    /// socket takes of it, and whatever is offered next, no byte is changed twice or missed.
    fn text_formats(&self, bytes: &[u8]) -> io::Result<Vec<usize>> {
        if !self.wire.sends_any_text() {
            return Ok(Vec::new());
        }
        let mut binds = TextBinds::new(&self.wire, self.sent.bind());
        let mut walker = self.outgoing;
        walker.feed(bytes, &mut binds);
        // Its rows would come in another format than they are decoded from.
        if binds.unexpected || self.wire.has_lost_a_statement() {
            let message = "a statement's result format cannot be changed";
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(binds.formats)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tap<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let tap = self.get_mut();
        let before = buffer.filled().len();
        std::task::ready!(Pin::new(&mut tap.stream).poll_read(cx, buffer))?;
        let read = tap.read(&buffer.filled()[before..]);
        if read.is_err() {
            // A failed read has read nothing: the contract of AsyncRead.
            buffer.set_filled(before);
        }
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tap<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let tap = self.get_mut();
        let formats = tap.text_formats(bytes)?;
        let written = if formats.is_empty() {
            std::task::ready!(Pin::new(&mut tap.stream).poll_write(cx, bytes))?
        } else {
            tap.patched.clear();
            tap.patched.extend_from_slice(bytes);
            for offset in formats {
                tap.patched[offset] = 0;
            }
            std::task::ready!(Pin::new(&mut tap.stream).poll_write(cx, &tap.patched))?
        };
        tap.outgoing.feed(&bytes[..written], &mut tap.sent);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

impl<S: TlsStream + Unpin> TlsStream for Tap<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.stream.channel_binding()
    }
}

/// The driver lets go of the stream whatever ends the connection: the server, an error on either
/// side, its own task being dropped.
impl<S> Drop for Tap<S> {
    fn drop(&mut self) {
        self.wire.close();
    }
}
