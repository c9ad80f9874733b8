//! The answer to a statement as it comes: rows, or the data of a COPY.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use tokio_postgres::{CopyOutStream, Error, Row, RowStream};

/// The messages behind the data of a COPY: its command tag, and the end of the answer.
const END_OF_COPY: u8 = 2;

/// The rest of an answer.
pub(super) enum Incoming {
    Rows(Pin<Box<RowStream>>),
    Copy {
        data: Pin<Box<CopyOutStream>>,
        /// The messages that are still to come behind the data, once that is over.
        end: Option<u8>,
    },
}

/// A part of an answer.
pub(super) enum Received {
    Row(Row),
    /// Of one row, or of the header.
    Data(Bytes),
}

impl Incoming {
    pub(super) fn rows(rows: RowStream) -> Self {
        Self::Rows(Box::pin(rows))
    }

    pub(super) fn copy(data: CopyOutStream) -> Self {
        Self::Copy { data: Box::pin(data), end: None }
    }

    /// The next part; `None` once the server has ended its answer.
    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Received, Error>>> {
        let (data, end) = match self {
            Self::Rows(rows) => {
                return rows
                    .as_mut()
                    .poll_next(cx)
                    .map(|row| row.map(|row| row.map(Received::Row)));
            }
            Self::Copy { data, end } => (data, end),
        };
        loop {
            let left = match end {
                Some(0) => return Poll::Ready(None),
                Some(left) => left,
                None => match ready!(data.as_mut().poll_next(cx)) {
                    Some(part) => return Poll::Ready(Some(part.map(Received::Data))),
                    None => end.insert(END_OF_COPY),
                },
            };
            // The driver's stream knows nothing behind the data, and calls it unexpected.
            match ready!(data.as_mut().poll_next(cx)) {
                Some(Err(error)) if error.as_db_error().is_some() || error.is_closed() => {
                    return Poll::Ready(Some(Err(error)));
                }
                Some(_) | None => *left -= 1,
            }
        }
    }
}
