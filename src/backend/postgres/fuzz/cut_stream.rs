//! A stream that takes and gives as many bytes at once as it is told.

use std::collections::VecDeque;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use futures_util::task::noop_waker_ref;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The places where reads and writes are cut: the sizes of the pieces, again and again. A zero is "not now".
#[derive(Debug, Clone, Default)]
pub(crate) struct Cuts {
    sizes: Vec<u8>,
    next: usize,
    was_pending: bool,
}

impl Cuts {
    pub(crate) fn of(sizes: &[u8]) -> Self {
        Self { sizes: sizes.to_vec(), ..Self::default() }
    }

    /// Returns the size of the next piece, of at most so many bytes; `None` for "not now".
    pub(crate) fn piece(&mut self, available: usize) -> Option<usize> {
        let size = self.sizes.get(self.next).copied();
        self.next = if self.next + 1 < self.sizes.len() { self.next + 1 } else { 0 };
        match size {
            None => Some(available),
            Some(0) if !self.was_pending && available > 0 => {
                self.was_pending = true;
                None
            }
            Some(size) => {
                self.was_pending = false;
                Some(usize::from(size).clamp(1, available.max(1)).min(available))
            }
        }
    }
}

/// The stream: it keeps what it takes.
#[derive(Debug, Default)]
pub(crate) struct CutStream {
    pub(crate) cuts: Cuts,
    pub(crate) taken: Vec<u8>,
    pub(crate) given: VecDeque<u8>,
}

impl AsyncWrite for CutStream {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let stream = self.get_mut();
        let Some(size) = stream.cuts.piece(bytes.len()) else { return Poll::Pending };
        stream.taken.extend_from_slice(&bytes[..size]);
        Poll::Ready(Ok(size))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for CutStream {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        let available = buffer.remaining().min(stream.given.len());
        let Some(size) = stream.cuts.piece(available) else { return Poll::Pending };
        buffer.put_slice(&stream.given.drain(..size).collect::<Vec<_>>());
        Poll::Ready(Ok(()))
    }
}

/// Polls a future that waits for such streams only until it is done.
pub(crate) fn run<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(noop_waker_ref());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}
