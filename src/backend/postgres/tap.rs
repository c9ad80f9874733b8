//! The stream under the driver: it reads along, and changes one byte of one kind of message.
//!
//! tokio-postgres always asks for binary results. For a statement with a column that has no binary
//! decoder, the result format in its Bind is changed from binary to text; the length stays. Nothing
//! else is altered.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsStream};

use super::wire::{Wire, hash};

/// The head of a message is kept up to this many bytes: names, tags and keys fit.
const HEAD: usize = 128;

/// A stream and what its bytes say.
pub(super) struct Tap<S> {
    stream: S,
    wire: Arc<Wire>,
    incoming: Walker,
    outgoing: Walker,
    max_row_size: usize,
    patched: Vec<u8>,
}

/// Walks the messages of one direction, wherever the reads and writes cut them.
#[derive(Clone)]
struct Walker {
    header: [u8; 5],
    header_length: usize,
    left: usize,
    /// The whole body of a Parse, the head of any other message that is kept.
    body: Vec<u8>,
    keep: usize,
    startup: bool,
}

impl Walker {
    fn new(startup: bool) -> Self {
        let header_length = usize::from(startup);
        Self { header: [0; 5], header_length, left: 0, body: Vec::new(), keep: 0, startup }
    }

    /// Takes bytes; calls `begins(kind, length)` for each message, which says how much of its body
    /// to keep, and `ends(kind, body, offset of its last byte)` when it is over.
    fn feed(
        &mut self,
        bytes: &[u8],
        mut begins: impl FnMut(u8, usize) -> usize,
        mut ends: impl FnMut(u8, &[u8], usize),
    ) {
        let mut at = 0;
        while at < bytes.len() {
            if self.header_length < 5 {
                self.header[self.header_length] = bytes[at];
                self.header_length += 1;
                at += 1;
                if self.header_length < 5 {
                    continue;
                }
                let [kind, length @ ..] = self.header;
                let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                self.left = length.saturating_sub(4);
                self.body.clear();
                self.keep = if self.startup { 0 } else { begins(kind, self.left) };
            }
            let take = self.left.min(bytes.len() - at);
            let kept = take.min(self.keep.saturating_sub(self.body.len()));
            self.body.extend_from_slice(&bytes[at..at + kept]);
            at += take;
            self.left -= take;
            if self.left == 0 {
                if !self.startup {
                    ends(self.header[0], &self.body, at.saturating_sub(1));
                }
                self.startup = false;
                self.header_length = 0;
            }
        }
    }
}

impl<S> Tap<S> {
    pub(super) fn new(stream: S, wire: Arc<Wire>, max_row_size: usize) -> Self {
        Self {
            stream,
            wire,
            incoming: Walker::new(false),
            outgoing: Walker::new(true),
            max_row_size,
            patched: Vec::new(),
        }
    }

    fn read(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (wire, bound) = (&self.wire, self.max_row_size);
        let mut refused = false;
        let begins = |kind, length| match kind {
            b'D' => {
                refused |= length > bound;
                0
            }
            b'Z' | b'K' | b'C' | b'I' | b'G' | b'H' | b'W' => HEAD,
            _ => 0,
        };
        self.incoming.feed(bytes, begins, |kind, head, _| {
            if kind != b'D' {
                wire.received(kind, head);
            }
        });
        if refused {
            wire.refuse_row();
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a row is over max_row_size"));
        }
        Ok(())
    }

    /// The offsets in `bytes` of the result formats to change, and the walker behind them.
    fn scan(&self, bytes: &[u8]) -> (Vec<usize>, Walker) {
        let mut walker = self.outgoing.clone();
        let mut offsets = Vec::new();
        walker.feed(bytes, kept_of_ours, |kind, head, last| {
            if kind == b'B' && bound_statement(head).is_some_and(|name| self.wire.sends_text(name))
            {
                offsets.push(last);
            }
        });
        (offsets, walker)
    }

    fn wrote(&mut self, bytes: &[u8]) {
        let wire = &self.wire;
        self.outgoing.feed(bytes, kept_of_ours, |kind, body, _| {
            if kind == b'P' {
                let mut parts = body.splitn(3, |byte| *byte == 0);
                let name = parts.next().unwrap_or_default().to_vec();
                wire.parsed(name, hash(parts.next().unwrap_or_default()));
            } else {
                wire.sent(kind, body);
            }
        });
    }
}

fn kept_of_ours(kind: u8, length: usize) -> usize {
    match kind {
        b'P' => length,
        b'B' | b'C' | b'S' | b'Q' => HEAD,
        _ => 0,
    }
}

/// The statement's name in a Bind: after the portal's.
fn bound_statement(body: &[u8]) -> Option<&[u8]> {
    body.split(|byte| *byte == 0).nth(1)
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
        Poll::Ready(tap.read(&buffer.filled()[before..]))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tap<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let tap = self.get_mut();
        // Scanned anew at each call, from the state at the last byte that was accepted: whatever
        // the socket takes of it, no byte is changed twice or missed.
        let (offsets, _) = tap.scan(bytes);
        let written = if offsets.is_empty() {
            std::task::ready!(Pin::new(&mut tap.stream).poll_write(cx, bytes))?
        } else {
            tap.patched.clear();
            tap.patched.extend_from_slice(bytes);
            for offset in offsets {
                tap.patched[offset] = 0;
            }
            std::task::ready!(Pin::new(&mut tap.stream).poll_write(cx, &tap.patched))?
        };
        tap.wrote(&bytes[..written]);
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
