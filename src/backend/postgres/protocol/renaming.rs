//! The stream below the tap, which gives prepared statements the names that the server knows.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsStream};

use super::framing::FrameParser;
use super::rewrite::{AnswerFilter, Rewriter, UnansweredRequests};
use super::statement_names::{Route, StatementNames};

/// The bytes that are read at once behind a pooler.
const READ: usize = 8 << 10;

/// A stream that renames prepared statements.
///
/// A write takes all bytes or none: after `Pending` the same bytes must be written again, perhaps with
/// others behind them, as the driver does.
pub(crate) struct Renaming<S> {
    pub(crate) stream: S,
    route: Route,
    outgoing: FrameParser,
    rewriter: Rewriter,
    /// The bytes of the rewriter's output that the stream has taken.
    written: usize,
    /// The bytes of the driver's that are rewritten, of which the stream has taken nothing yet.
    rewritten: usize,
    incoming: FrameParser,
    filter: AnswerFilter,
    /// The bytes of the filter's output that the driver has taken.
    given: usize,
    buffer: Vec<u8>,
}

impl<S> Renaming<S> {
    pub(crate) fn new(stream: S, names: Arc<StatementNames>) -> Self {
        let route = names.route;
        let requests = UnansweredRequests::default();
        let buffer = if route == Route::Pooler { vec![0; READ] } else { Vec::new() };
        Self {
            stream,
            route,
            outgoing: FrameParser::from_startup(),
            rewriter: Rewriter::new(Arc::clone(&names), Arc::clone(&requests)),
            written: 0,
            rewritten: 0,
            incoming: FrameParser::default(),
            filter: AnswerFilter::new(names, requests),
            given: 0,
            buffer,
        }
    }

    fn rewrite(&mut self, bytes: &[u8]) {
        self.outgoing.feed(bytes, &mut self.rewriter);
        self.rewritten = bytes.len();
    }
}

impl<S: AsyncWrite + Unpin> Renaming<S> {
    /// Writes what is rewritten, once.
    fn poll_write_some(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let left = &self.rewriter.out[self.written..];
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, left))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.written += written;
        if self.written == self.rewriter.out.len() {
            self.rewriter.out.clear();
            self.written = 0;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes all that is rewritten and was taken from the driver.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.rewritten == 0 && !self.rewriter.out.is_empty() {
            ready!(self.poll_write_some(cx))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Renaming<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let renaming = self.get_mut();
        ready!(renaming.poll_drain(cx))?;
        if renaming.rewritten == 0 {
            renaming.rewrite(bytes);
        }
        // The tap counts a request as sent once a part of it was: not before the stream took some.
        if !renaming.rewriter.out.is_empty() {
            ready!(renaming.poll_write_some(cx))?;
        }
        Poll::Ready(Ok(std::mem::take(&mut renaming.rewritten)))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let renaming = self.get_mut();
        ready!(renaming.poll_drain(cx))?;
        Pin::new(&mut renaming.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let renaming = self.get_mut();
        ready!(renaming.poll_drain(cx))?;
        Pin::new(&mut renaming.stream).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Renaming<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let renaming = self.get_mut();
        if renaming.route == Route::Direct {
            return Pin::new(&mut renaming.stream).poll_read(cx, buffer);
        }
        while renaming.given == renaming.filter.out.len() {
            renaming.filter.out.clear();
            renaming.given = 0;
            let mut read = ReadBuf::new(&mut renaming.buffer);
            ready!(Pin::new(&mut renaming.stream).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            renaming.incoming.feed(read.filled(), &mut renaming.filter);
            if renaming.filter.has_other_columns {
                let message = "the columns of a statement have changed since it was described";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, message)));
            }
        }
        let left = &renaming.filter.out[renaming.given..];
        let given = left.len().min(buffer.remaining());
        buffer.put_slice(&left[..given]);
        renaming.given += given;
        Poll::Ready(Ok(()))
    }
}

impl<S: TlsStream + Unpin + ?Sized> TlsStream for Renaming<Box<S>> {
    fn channel_binding(&self) -> ChannelBinding {
        self.stream.channel_binding()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).expect("it is small").to_be_bytes();
        [&[kind][..], &length, body].concat()
    }

    fn startup() -> Vec<u8> {
        [&13_u32.to_be_bytes()[..], b"\0\x03\0\0user\0"].concat()
    }

    const DEFINITION: &[u8] = b"select $1\0\0\0";
    const VALUES: &[u8] = b"\0\0\0\x01\0\0\0\x02\0s\0\x01\0\x01";

    /// The messages of the driver to prepare one statement, and then to execute and close it.
    fn requests() -> [Vec<u8>; 2] {
        let prepare = [
            message(b'P', &[b"s1\0", DEFINITION].concat()),
            message(b'D', b"Ss1\0"),
            message(b'S', b""),
        ];
        let others = [
            message(b'B', &[b"\0s1\0", VALUES].concat()),
            message(b'E', b"\0\0\0\0\0"),
            message(b'S', b""),
            message(b'C', b"Ss1\0"),
            message(b'S', b""),
        ];
        [prepare.concat(), others.concat()]
    }

    /// Sends the requests in pieces of a size; returns what arrives.
    async fn sent(names: Arc<StatementNames>, size: usize) -> Vec<u8> {
        let (near, mut far) = tokio::io::duplex(5);
        let reader = tokio::spawn(async move {
            let mut received = Vec::new();
            far.read_to_end(&mut received).await.expect("it is open");
            received
        });
        let mut renaming = Renaming::new(near, names);
        for piece in [startup(), requests().concat()].concat().chunks(size) {
            renaming.write_all(piece).await.expect("it is taken");
        }
        renaming.shutdown().await.expect("all is written");
        drop(renaming);
        reader.await.expect("it does not panic")
    }

    #[tokio::test]
    async fn a_statement_has_one_name_of_its_own_in_all_messages() {
        for size in [1, 2, 7, 1000] {
            let names = Arc::new(StatementNames::default());
            let name = StatementNames::default().parse(b"s1", DEFINITION);
            let expected = [
                startup(),
                message(b'P', &[&name[..], b"\0", DEFINITION].concat()),
                message(b'D', &[b"S", &name[..], b"\0"].concat()),
                message(b'S', b""),
                message(b'B', &[b"\0", &name[..], b"\0", VALUES].concat()),
                message(b'E', b"\0\0\0\0\0"),
                message(b'S', b""),
                message(b'C', &[b"S", &name[..], b"\0"].concat()),
                message(b'S', b""),
            ];
            assert_eq!(sent(names, size).await, expected.concat(), "{size}");
        }
    }

    #[tokio::test]
    async fn behind_a_pooler_each_execution_brings_its_text() {
        for size in [1, 3, 1000] {
            let names = Arc::new(StatementNames::new(Route::Pooler));
            let expected = [
                startup(),
                message(b'P', &[b"\0", DEFINITION].concat()),
                message(b'D', b"S\0"),
                message(b'S', b""),
                message(b'P', &[b"\0", DEFINITION].concat()),
                message(b'B', &[b"\0\0", VALUES].concat()),
                message(b'D', b"P\0"),
                message(b'E', b"\0\0\0\0\0"),
                message(b'S', b""),
                message(b'C', b"S\0"),
                message(b'S', b""),
            ];
            assert_eq!(sent(names, size).await, expected.concat(), "{size}");
        }
    }

    fn idle() -> Vec<u8> {
        message(b'Z', b"I")
    }

    /// A description of one column of a type, with the format of its values.
    fn row_description(data_type: u8, format: u8) -> Vec<u8> {
        let column = [0, 0, 0, 0, 0, 0, 0, 0, 0, data_type, 0, 8, 255, 255, 255, 255, 0, format];
        message(b'T', &[&b"\0\x01n\0"[..], &column].concat())
    }

    /// The answers to the requests as the driver gets them, and as it must; the execution has a column of
    /// this type.
    async fn answers(executed: u8) -> (io::Result<usize>, Vec<u8>, Vec<u8>) {
        let described = [message(b't', b"\0\x01\0\0\0\x19"), row_description(20, 0), idle()];
        let prepared = [message(b'1', b""), described.concat()].concat();
        let ended = [message(b'D', b"\0\0"), message(b'C', b"SELECT 1\0"), idle()].concat();
        let bound = [message(b'1', b""), message(b'2', b""), row_description(executed, 1)].concat();
        let closed = [message(b'3', b""), idle()].concat();
        let expected = [&prepared[..], &message(b'2', b"")[..], &ended, &closed].concat();
        let login = [message(b'R', b"\0\0\0\0"), idle()].concat();
        let (near, mut far) = tokio::io::duplex(1 << 12);
        let names = Arc::new(StatementNames::new(Route::Pooler));
        let mut renaming = Renaming::new(near, Arc::clone(&names));
        renaming.write_all(&startup()).await.expect("it is taken");
        far.write_all(&login).await.expect("it is taken");
        let mut received = vec![0; login.len()];
        renaming.read_exact(&mut received).await.expect("the login is answered");
        let [prepare, others] = requests();
        renaming.write_all(&prepare).await.expect("it is taken");
        far.write_all(&prepared).await.expect("it is taken");
        let mut received = vec![0; prepared.len()];
        renaming.read_exact(&mut received).await.expect("it is answered");
        assert!(names.get(b"s1").definition.ends_with(b"\0\0\x01\0\0\0\x19"));
        renaming.write_all(&others).await.expect("it is taken");
        for byte in [bound, ended, closed].concat() {
            far.write_all(&[byte]).await.expect("it is taken");
        }
        drop(far);
        let read = renaming.read_to_end(&mut received).await;
        (read, received, expected)
    }

    #[tokio::test]
    async fn the_answers_to_what_was_added_are_left_out() {
        let (read, received, expected) = answers(20).await;
        read.expect("the columns are the same");
        assert_eq!(received, expected);
    }

    #[tokio::test]
    async fn rows_of_other_columns_than_described_end_the_connection() {
        let (read, ..) = answers(25).await;
        assert_eq!(read.map_err(|error| error.kind()), Err(io::ErrorKind::InvalidData));
    }
}
