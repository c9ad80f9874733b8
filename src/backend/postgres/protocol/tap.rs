//! The tap: the stream under the driver, which observes all messages, and changes the result formats of some Binds
//! ([`BindFormats`]), leaves out the first Sync of a COPY, and cuts very long errors and notices ([`LongReports`]). Nothing else is
//! altered.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsStream};

use super::auth_guard::{AllowedAuth, AuthGuard};
use super::backend::{BackendMessages, MessageLimits};
use super::bind_formats::BindFormats;
use super::framing::FrameParser;
use super::frontend::FrontendMessages;
use super::long_reports::LongReports;
use super::protocol_state::{ConnectionEnd, ProtocolState};

/// A stream, and the state that its messages update.
pub(crate) struct Tap<S> {
    pub(crate) stream: S,
    state: Arc<ProtocolState>,
    incoming: FrameParser,
    backend: BackendMessages,
    long_reports: LongReports,
    outgoing: FrameParser,
    frontend: FrontendMessages,
    bind_formats: BindFormats,
}

impl<S> Tap<S> {
    pub(crate) fn new(stream: S, state: Arc<ProtocolState>, limits: MessageLimits) -> Self {
        Self {
            stream,
            incoming: FrameParser::default(),
            backend: BackendMessages::new(Arc::clone(&state), limits),
            long_reports: LongReports::new(limits.report),
            outgoing: FrameParser::from_startup(),
            frontend: FrontendMessages::new(Arc::clone(&state)),
            bind_formats: BindFormats::default(),
            state,
        }
    }

    /// The same tap, on which the server may authenticate the login in these ways only.
    pub(crate) fn allowing(mut self, allowed: AllowedAuth) -> Self {
        self.backend.auth = AuthGuard::new(allowed);
        self
    }

    fn read(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.incoming.feed(bytes, &mut self.backend);
        // The driver never sees the request, and so never answers it.
        self.backend.auth.check().map_err(io::Error::other)?;
        if !self.state.count_received(bytes.len()) {
            let message = "the rest of an abandoned result is larger than its limit";
            return Err(io::Error::other(message));
        }
        if self.backend.row_too_large {
            self.state.end(ConnectionEnd::RowTooLarge);
            let message = "a row is larger than max_row_size";
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        if self.backend.message_too_large {
            let message = "a message of the server is larger than any that a statement needs";
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(())
    }
}

impl<S: AsyncWrite + Unpin> Tap<S> {
    fn poll_write_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.bind_formats.poll_write_ready(&mut self.stream, cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tap<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let tap = self.get_mut();
        loop {
            if tap.long_reports.deliver(buffer) {
                return Poll::Ready(Ok(()));
            }
            let before = buffer.filled().len();
            std::task::ready!(Pin::new(&mut tap.stream).poll_read(cx, buffer))?;
            let bytes = &buffer.filled()[before..];
            if bytes.is_empty() {
                if buffer.remaining() > 0 && tap.long_reports.release() {
                    continue;
                }
                return Poll::Ready(Ok(()));
            }
            let read = tap.read(bytes);
            let direct = if read.is_ok() { tap.long_reports.feed(bytes) } else { 0 };
            // AsyncRead's contract: a failed read leaves the buffer unchanged.
            buffer.set_filled(before + direct);
            if read.is_err() || direct > 0 {
                return Poll::Ready(read);
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tap<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let tap = self.get_mut();
        std::task::ready!(tap.poll_write_ready(cx))?;
        let text_results = &tap.state.text_results;
        let copies = tap.state.copies();
        let within_message = tap.bind_formats.is_within_message();
        let is_unchanged = text_results.is_empty() && !copies.drops_sync();
        let written = if !within_message && is_unchanged {
            std::task::ready!(Pin::new(&mut tap.stream).poll_write(cx, bytes))?
        } else if !within_message && tap.outgoing.missing() > 0 {
            // The rest of a message that has begun without changes.
            let rest = &bytes[..bytes.len().min(tap.outgoing.missing())];
            std::task::ready!(Pin::new(&mut tap.stream).poll_write(cx, rest))?
        } else {
            tap.bind_formats.feed(bytes, text_results, copies)?;
            if let Poll::Ready(written) = tap.poll_write_ready(cx) {
                written?;
            }
            bytes.len()
        };
        tap.outgoing.feed(&bytes[..written], &mut tap.frontend);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let tap = self.get_mut();
        std::task::ready!(tap.poll_write_ready(cx))?;
        Pin::new(&mut tap.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let tap = self.get_mut();
        std::task::ready!(tap.poll_write_ready(cx))?;
        Pin::new(&mut tap.stream).poll_shutdown(cx)
    }
}

impl<S: TlsStream + Unpin> TlsStream for Tap<S> {
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
