//! The guard against floods of control frames: HTTP/2 lets a client send PING, SETTINGS, WINDOW_UPDATE and others without
//! end (RFC 9113, 10.5), each of which costs the server work that no limit of a call counts.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::clock::now;

/// The length of the client's preface (RFC 9113, 3.4).
const PREFACE_LENGTH: usize = 24;
/// The length of a frame's header (RFC 9113, 4.1).
const HEADER_LENGTH: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
/// The flag of the last frame of a stream.
const END_STREAM: u8 = 1;

/// The control frames that a call brings with it: its reset, its window's updates, the settings of a connection.
const FRAMES_OF_CALL: u64 = 16;
/// The control frames that a message brings with it, in either direction: gRPC's C core widens the windows of the stream and
/// of the connection for each message that it awaits, and may probe the connection with a PING.
const FRAMES_OF_MESSAGE: u64 = 4;
/// The bytes of an answer for which a client may send one control frame, a WINDOW_UPDATE as a rule.
const BYTES_OF_FRAME: u64 = 1 << 10;
/// The frames of a second that may come at once.
const BURST: u64 = 10;

/// A connection that fails once its client sends more control frames than its calls need, and than a number a second
/// beyond that.
#[derive(Debug)]
pub(crate) struct FrameGuard<S> {
    stream: S,
    frames: FrameCounter,
}

/// The frames of one connection.
#[derive(Debug)]
struct FrameCounter {
    received: FrameWalker,
    written: FrameWalker,
    /// The frames a second beyond what calls need.
    rate: u64,
    /// The frames that may come now.
    credit: u64,
    refilled: Instant,
    /// The bytes sent for which no credit was given yet.
    sent: u64,
}

/// The place in the frames of one direction.
#[derive(Debug)]
struct FrameWalker {
    header: [u8; HEADER_LENGTH],
    header_length: usize,
    /// The bytes left of the payload, or of the preface.
    left: usize,
}

/// The header of a frame.
#[derive(Debug, Clone, Copy)]
struct FrameHeader {
    kind: u8,
    flags: u8,
    length: u32,
}

impl FrameHeader {
    /// Tells if the frame is a part of a message.
    const fn is_content(self) -> bool {
        self.kind == DATA && self.length > 0
    }
}

impl FrameWalker {
    const fn behind(preface: usize) -> Self {
        Self { header: [0; HEADER_LENGTH], header_length: 0, left: preface }
    }

    /// Takes the bytes up to the end of the next header, which it returns; `None` once there are no more.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<FrameHeader> {
        while !bytes.is_empty() {
            if self.left > 0 {
                let payload = self.left.min(bytes.len());
                self.left -= payload;
                *bytes = &bytes[payload..];
                continue;
            }
            let missing = (HEADER_LENGTH - self.header_length).min(bytes.len());
            self.header[self.header_length..][..missing].copy_from_slice(&bytes[..missing]);
            self.header_length += missing;
            *bytes = &bytes[missing..];
            if self.header_length == HEADER_LENGTH {
                self.header_length = 0;
                let [a, b, c, kind, flags, ..] = self.header;
                let length = u32::from_be_bytes([0, a, b, c]);
                self.left = usize::try_from(length).unwrap_or(usize::MAX);
                return Some(FrameHeader { kind, flags, length });
            }
        }
        None
    }
}

impl FrameCounter {
    fn new(rate: u32) -> Self {
        let rate = u64::from(rate);
        Self {
            received: FrameWalker::behind(PREFACE_LENGTH),
            written: FrameWalker::behind(0),
            rate,
            credit: rate * BURST,
            refilled: now(),
            sent: 0,
        }
    }

    /// Takes bytes that were received; returns false once there are too many control frames.
    fn received(&mut self, mut bytes: &[u8]) -> bool {
        while let Some(header) = self.received.next(&mut bytes) {
            if !self.admits(header) {
                return false;
            }
        }
        true
    }

    /// Counts a frame by its header.
    fn admits(&mut self, header: FrameHeader) -> bool {
        if header.kind == HEADERS {
            self.grant(FRAMES_OF_CALL);
            return true;
        }
        if header.is_content() {
            self.grant(FRAMES_OF_MESSAGE);
            return true;
        }
        if header.kind == DATA && header.flags & END_STREAM != 0 {
            return true;
        }
        // Frames without a meaning are no better than control frames, and unknown ones are ignored by all.
        if self.credit == 0 {
            self.refill();
        }
        let is_admitted = self.credit > 0;
        self.credit = self.credit.saturating_sub(1);
        is_admitted
    }

    fn grant(&mut self, frames: u64) {
        self.credit = self.credit.saturating_add(frames).min(self.most());
    }

    fn refill(&mut self) {
        let now = now();
        let elapsed = now.saturating_duration_since(self.refilled);
        let frames =
            u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).saturating_mul(self.rate) / 1000;
        if frames > 0 {
            self.refilled = now;
            // However long it was idle.
            self.credit = self.credit.saturating_add(frames.min(self.rate * BURST));
        }
    }

    /// Takes bytes that were sent: a client answers a message, and many bytes, with control frames. Other frames give
    /// no credit, or its own PINGs would pay for more of them.
    fn sent(&mut self, mut bytes: &[u8]) {
        self.sent = self.sent.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.grant(self.sent / BYTES_OF_FRAME);
        self.sent %= BYTES_OF_FRAME;
        while let Some(header) = self.written.next(&mut bytes) {
            if header.is_content() {
                self.grant(FRAMES_OF_MESSAGE);
            }
        }
    }

    fn most(&self) -> u64 {
        // What calls need is not lost to the bound of what may come without them.
        self.rate * BURST + (1 << 20)
    }
}

impl<S> FrameGuard<S> {
    /// Guards a connection from its first byte, the preface. `rate` is the number of control frames a second beyond
    /// what calls need.
    pub(crate) fn new(stream: S, rate: u32) -> Self {
        Self { stream, frames: FrameCounter::new(rate) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FrameGuard<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let guard = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut guard.stream).poll_read(cx, buffer))?;
        if guard.frames.received(&buffer.filled()[before..]) {
            return Poll::Ready(Ok(()));
        }
        // AsyncRead's contract: a failed read leaves the buffer unchanged.
        buffer.set_filled(before);
        tracing::info!("connection closed, its client floods it with control frames");
        Poll::Ready(Err(io::Error::other("too many control frames")))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FrameGuard<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let guard = self.get_mut();
        let written = ready!(Pin::new(&mut guard.stream).poll_write(cx, bytes))?;
        guard.frames.sent(&bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let guard = self.get_mut();
        let written = ready!(Pin::new(&mut guard.stream).poll_write_vectored(cx, slices))?;
        let mut left = written;
        for slice in slices {
            let taken = left.min(slice.len());
            guard.frames.sent(&slice[..taken]);
            left -= taken;
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PING: u8 = 6;
    const WINDOW_UPDATE: u8 = 8;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).expect("it is short").to_be_bytes();
        let head = [length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        [&head[..], &vec![0; payload]].concat()
    }

    fn counter() -> FrameCounter {
        let mut counter = FrameCounter::new(10);
        assert!(counter.received(&[0; PREFACE_LENGTH]));
        counter
    }

    /// The frames that are admitted of many, which are cut wherever reads cut them.
    fn admitted(counter: &mut FrameCounter, frame: &[u8]) -> usize {
        let mut admitted = 0;
        while admitted < 100_000 && frame.chunks(4).all(|part| counter.received(part)) {
            admitted += 1;
        }
        counter.received = FrameWalker::behind(0);
        admitted
    }

    #[tokio::test(start_paused = true)]
    async fn control_frames_are_bounded_by_time_and_by_what_calls_need() {
        let mut counter = counter();
        assert_eq!(admitted(&mut counter, &frame(PING, 0, 8)), 100);
        assert_eq!(admitted(&mut counter, &frame(PING, 0, 8)), 0);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(admitted(&mut counter, &frame(0xfa, 0, 0)), 10, "unknown frames too");
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(admitted(&mut counter, &frame(PING, 0, 8)), 100, "no more after an idle hour");
        assert!(counter.received(&frame(HEADERS, 4, 100)));
        assert_eq!(admitted(&mut counter, &frame(WINDOW_UPDATE, 0, 4)), 16);
        // The inside of one message, whose header was counted before.
        counter.written = FrameWalker::behind(100 << 10);
        counter.sent(&vec![0; 100 << 10]);
        assert_eq!(admitted(&mut counter, &frame(WINDOW_UPDATE, 0, 4)), 100);
        assert_eq!(admitted(&mut counter, &frame(DATA, 0, 0)), 0, "empty frames are a flood, too");
    }

    #[tokio::test(start_paused = true)]
    async fn data_is_no_control_frame() {
        let mut counter = counter();
        assert_eq!(admitted(&mut counter, &frame(DATA, 0, 5)), 100_000);
        assert_eq!(admitted(&mut counter, &frame(DATA, END_STREAM, 0)), 100_000);
    }
    #[tokio::test(start_paused = true)]
    async fn each_message_pays_for_the_frames_that_grpc_sends_with_it() {
        let mut counter = counter();
        assert_eq!(admitted(&mut counter, &frame(PING, 0, 8)), 100);
        assert!(counter.received(&frame(DATA, 0, 5)));
        assert_eq!(admitted(&mut counter, &frame(WINDOW_UPDATE, 0, 4)), 4, "received");
        frame(DATA, 0, 5).chunks(4).for_each(|part| counter.sent(part));
        assert_eq!(admitted(&mut counter, &frame(WINDOW_UPDATE, 0, 4)), 4, "sent");
        counter.sent(&frame(PING, 1, 8));
        counter.sent(&frame(DATA, END_STREAM, 0));
        assert_eq!(admitted(&mut counter, &frame(PING, 0, 8)), 0, "answers to PINGs pay for none");
    }
}
