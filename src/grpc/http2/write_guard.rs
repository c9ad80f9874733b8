//! The guard against readers over HTTP/1.1 that take nothing: HTTP/2 gives up their streams alone, and HTTP/1.1 has a connection
//! for each call.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A connection that fails once its client takes nothing for a time.
#[derive(Debug)]
pub(crate) struct WriteGuard<S> {
    stream: S,
    timeout: Duration,
    /// The time left for a write that waits.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> WriteGuard<S> {
    pub(crate) fn new(stream: S, timeout: Duration) -> Self {
        Self { stream, timeout, waiting: None }
    }

    /// Passes on what became of a write, or an error once none has succeeded for too long.
    fn watch<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let timeout = self.timeout;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(timeout)));
        match waiting.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteGuard<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteGuard<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let guard = self.get_mut();
        let written = Pin::new(&mut guard.stream).poll_write(cx, bytes);
        guard.watch(written, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let guard = self.get_mut();
        let written = Pin::new(&mut guard.stream).poll_write_vectored(cx, slices);
        guard.watch(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let guard = self.get_mut();
        let flushed = Pin::new(&mut guard.stream).poll_flush(cx);
        guard.watch(flushed, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let guard = self.get_mut();
        let shut = Pin::new(&mut guard.stream).poll_shutdown(cx);
        guard.watch(shut, cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_loses_its_connection_and_a_slow_one_does_not() {
        let (ours, mut theirs) = duplex(8);
        let mut guarded = WriteGuard::new(ours, TIMEOUT);
        let writing = tokio::spawn(async move {
            guarded.write_all(&[7; 24]).await.expect("it is taken, slowly");
            let error = guarded.write_all(&[7; 24]).await.expect_err("nobody takes it");
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        });
        let mut taken = [0; 8];
        for _ in 0..3 {
            tokio::time::sleep(TIMEOUT - Duration::from_millis(1)).await;
            theirs.read_exact(&mut taken).await.expect("it is open");
        }
        tokio::time::sleep(TIMEOUT + Duration::from_millis(1)).await;
        writing.await.expect("it fails as expected");
        drop(theirs);
    }
}
