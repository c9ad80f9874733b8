//! Packets over a stream: their framing, and the bound on their size.
//!
//! A packet has a header of four bytes, its length and its number within the command; one of 16 MiB or more is sent
//! in parts (MySQL protocol, "MySQL Packets").

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio_rustls::client::TlsStream;

use crate::backend::network::{Socket, SocketWatch};

/// The header of a packet, in bytes.
const HEADER: usize = 4;
/// The most bytes in one part of a packet.
const LONGEST_PART: usize = 0xFF_FFFF;
/// The bytes that are read at once, at least.
const CHUNK: usize = 8 << 10;
/// The most bytes of memory that an idle connection keeps for reading.
const KEPT: usize = 32 << 10;

/// A stream of bytes to a server, encrypted or not.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Send + Sync + Unpin {
    /// Makes a watch that tells when the server has closed the connection.
    fn watch(&self) -> io::Result<SocketWatch>;
}

impl ByteStream for Socket {
    fn watch(&self) -> io::Result<SocketWatch> {
        Self::watch(self)
    }
}

impl ByteStream for TlsStream<Box<dyn ByteStream>> {
    fn watch(&self) -> io::Result<SocketWatch> {
        self.get_ref().0.watch()
    }
}

/// A failure of the stream, after which nothing more can be read.
#[derive(Debug)]
pub(crate) enum StreamFailure {
    /// The connection was lost.
    Lost(io::Error),
    /// A packet is larger than the bound.
    TooLarge,
    /// The server does not follow the protocol.
    Malformed(&'static str),
}

impl From<io::Error> for StreamFailure {
    fn from(error: io::Error) -> Self {
        Self::Lost(error)
    }
}

/// Packets over a stream.
pub(crate) struct PacketStream {
    stream: Box<dyn ByteStream>,
    received: BytesMut,
    /// The parts of a packet that is not whole yet.
    parts: BytesMut,
    to_send: Vec<u8>,
    sent: usize,
    /// The most bytes in a packet that is received, all of its parts together.
    pub(crate) max_packet: usize,
    /// The number of the last packet that was received, within its command.
    pub(crate) sequence: u8,
}

impl PacketStream {
    pub(crate) fn new(stream: Box<dyn ByteStream>, max_packet: usize) -> Self {
        Self {
            stream,
            received: BytesMut::new(),
            parts: BytesMut::new(),
            to_send: Vec::new(),
            sent: 0,
            max_packet,
            sequence: 0,
        }
    }

    /// Takes the stream out, to be encrypted; fails if bytes were received that nobody asked for.
    pub(crate) fn into_stream(self) -> Result<Box<dyn ByteStream>, StreamFailure> {
        if self.received.is_empty() {
            Ok(self.stream)
        } else {
            Err(StreamFailure::Malformed("bytes in plain text before the encryption"))
        }
    }

    /// Queues a packet whose first part has this number; returns the length of its body.
    pub(crate) fn queue(&mut self, sequence: u8, body: impl FnOnce(&mut Vec<u8>)) -> usize {
        let start = self.to_send.len();
        self.to_send.extend([0; HEADER]);
        body(&mut self.to_send);
        let length = self.to_send.len() - start - HEADER;
        if length < LONGEST_PART {
            self.to_send[start..start + HEADER].copy_from_slice(&header(length, sequence));
            return length;
        }
        let body = self.to_send.split_off(start + HEADER);
        self.to_send.truncate(start);
        let mut number = sequence;
        let mut rest = body.as_slice();
        loop {
            let length = rest.len().min(LONGEST_PART);
            self.to_send.extend(header(length, number));
            let (part, others) = rest.split_at(length);
            self.to_send.extend_from_slice(part);
            rest = others;
            number = number.wrapping_add(1);
            // A part that is full is followed by another, if need be an empty one.
            if length < LONGEST_PART {
                return body.len();
            }
        }
    }

    /// The bytes that are still to be sent.
    pub(crate) fn unsent(&self) -> usize {
        self.to_send.len() - self.sent
    }

    /// Sends what is queued, as far as the stream takes it.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.to_send.len() {
            let rest = &self.to_send[self.sent..];
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written;
        }
        if self.sent > 0 {
            self.sent = 0;
            self.to_send.clear();
            self.to_send.shrink_to(KEPT);
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Sends all that is queued.
    pub(crate) async fn send(&mut self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_send(cx)).await
    }

    /// Sends what is queued, as far as the stream takes it at once.
    pub(crate) fn send_now(&mut self) {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        drop(self.poll_send(&mut cx));
    }

    /// Receives the next packet, and sends meanwhile what is queued: a server that waits for its answers to be read
    /// reads nothing.
    pub(crate) fn poll_packet(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<BytesMut, StreamFailure>> {
        if let Poll::Ready(Err(error)) = self.poll_send(cx) {
            // The server may have said why before it closed the connection.
            if self.received.is_empty() && !self.receive_rest(cx) {
                return Poll::Ready(Err(error.into()));
            }
            self.to_send.clear();
            self.sent = 0;
        }
        loop {
            if let Some(packet) = self.take_packet()? {
                return Poll::Ready(Ok(packet));
            }
            if ready!(self.poll_receive(cx))? == 0 {
                let error = io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed it");
                return Poll::Ready(Err(error.into()));
            }
        }
    }

    /// Receives the next packet.
    pub(crate) async fn packet(&mut self) -> Result<BytesMut, StreamFailure> {
        std::future::poll_fn(|cx| self.poll_packet(cx)).await
    }

    /// Returns true if nothing was received that nobody has asked for, and the server has not closed the connection.
    pub(crate) fn is_quiet(&mut self) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        self.received.is_empty()
            && self.parts.is_empty()
            && self.unsent() == 0
            && self.poll_receive(&mut cx).is_pending()
    }

    /// Makes a watch that tells when the server has closed the connection.
    pub(crate) fn watch(&self) -> io::Result<SocketWatch> {
        self.stream.watch()
    }

    /// Gives back memory that one large answer took.
    pub(crate) fn shrink(&mut self) {
        if self.received.is_empty() && self.received.capacity() > KEPT {
            self.received = BytesMut::new();
        }
    }

    fn receive_rest(&mut self, cx: &mut Context<'_>) -> bool {
        matches!(self.poll_receive(cx), Poll::Ready(Ok(read)) if read > 0)
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let missing = self.missing().clamp(CHUNK, 1 << 20);
        self.received.reserve(missing);
        let read = std::pin::pin!(self.stream.read_buf(&mut self.received));
        read.poll(cx)
    }

    /// The bytes that are missing to the whole part that is being received.
    fn missing(&self) -> usize {
        let Some(header) = self.received.first_chunk::<HEADER>() else { return CHUNK };
        (HEADER + length(*header)).saturating_sub(self.received.len())
    }

    /// Takes the next whole packet from the bytes that were received.
    fn take_packet(&mut self) -> Result<Option<BytesMut>, StreamFailure> {
        loop {
            let Some(header) = self.received.first_chunk::<HEADER>() else { return Ok(None) };
            let length = length(*header);
            if self.parts.len() + length > self.max_packet {
                return Err(StreamFailure::TooLarge);
            }
            if self.received.len() < HEADER + length {
                return Ok(None);
            }
            self.sequence = header[3];
            self.received.advance(HEADER);
            let part = self.received.split_to(length);
            if length == LONGEST_PART {
                self.parts.extend_from_slice(&part);
            } else if self.parts.is_empty() {
                return Ok(Some(part));
            } else {
                self.parts.extend_from_slice(&part);
                return Ok(Some(std::mem::take(&mut self.parts)));
            }
        }
    }
}

/// The header of a part.
fn header(length: usize, sequence: u8) -> [u8; HEADER] {
    let [a, b, c, ..] = length.to_le_bytes();
    [a, b, c, sequence]
}

/// The length of a part by its header.
fn length([a, b, c, _]: [u8; HEADER]) -> usize {
    usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16
}
