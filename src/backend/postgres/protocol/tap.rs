//! The tap: the stream under the driver, which observes all messages and changes one byte of one.
//!
//! tokio-postgres always requests binary results. For a statement with a column that has no binary
//! decoder, the result format in its Bind is changed from binary to text; the length stays. Nothing
//! else is altered.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsStream};

use super::backend::BackendMessages;
use super::framing::FrameParser;
use super::frontend::{FrontendMessages, TextBinds};
use super::protocol_state::{ConnectionEnd, ProtocolState};

/// A stream, and the state that its messages update.
pub(crate) struct Tap<S> {
    pub(crate) stream: S,
    state: Arc<ProtocolState>,
    incoming: FrameParser,
    backend: BackendMessages,
    outgoing: FrameParser,
    frontend: FrontendMessages,
    patched: Vec<u8>,
}

impl<S> Tap<S> {
    pub(crate) fn new(stream: S, state: Arc<ProtocolState>, max_row_size: usize) -> Self {
        Self {
            stream,
            incoming: FrameParser::default(),
            backend: BackendMessages::new(Arc::clone(&state), max_row_size),
            outgoing: FrameParser::from_startup(),
            frontend: FrontendMessages::new(Arc::clone(&state)),
            patched: Vec::new(),
            state,
        }
    }

    fn read(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.incoming.feed(bytes, &mut self.backend);
        if !self.state.count_received(bytes.len()) {
            let message = "the rest of an abandoned result is larger than its limit";
            return Err(io::Error::other(message));
        }
        if self.backend.row_too_large {
            self.state.end(ConnectionEnd::RowTooLarge);
            let message = "a row is larger than max_row_size";
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(())
    }

    /// Returns the offsets in `bytes` of the result formats to change.
    ///
    /// Each write is parsed from the state at the last byte that the socket accepted, so that no byte
    /// is changed twice or missed, however much of a write is accepted.
    fn text_formats(&self, bytes: &[u8]) -> io::Result<Vec<usize>> {
        let text_results = &self.state.text_results;
        if text_results.is_empty() {
            return Ok(Vec::new());
        }
        let mut binds = TextBinds::new(text_results, self.frontend.bind());
        let mut parser = self.outgoing;
        parser.feed(bytes, &mut binds);
        // The rows would arrive in another format than they are decoded from.
        if binds.unexpected || text_results.is_incomplete() {
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
            // AsyncRead's contract: a failed read leaves the buffer unchanged.
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
        tap.outgoing.feed(&bytes[..written], &mut tap.frontend);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

impl<S: TlsStream + Unpin + ?Sized> TlsStream for Tap<Box<S>> {
    fn channel_binding(&self) -> ChannelBinding {
        self.stream.channel_binding()
    }
}

/// The driver drops the stream whenever the connection ends: by the server, by an error, or because
/// its own task is dropped.
impl<S> Drop for Tap<S> {
    fn drop(&mut self) {
        self.state.end(ConnectionEnd::Closed);
    }
}
