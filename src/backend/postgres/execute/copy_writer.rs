//! A COPY into a table, which the server parses itself: rows are sent as lines of its text format.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use prost::Message as _;

use super::copy_statement::copy_in_statement;
use crate::backend::copy::{
    CopyData, CopyIn, CopyWriter, EndSearch, row_too_large, write_text_row,
};
use crate::backend::postgres::session::Session;
use crate::backend::postgres::session::session_copies::CopySink;
use crate::error::Result;

/// The data that is sent in one message, in bytes, where it is made of rows.
const CHUNK: usize = 64 << 10;

/// A COPY that runs in a transaction. Dropped, it fails.
pub(super) struct PostgresCopy<'a> {
    // Declared before the session: it releases the connection first.
    sink: CopySink,
    session: &'a mut Session,
    copy: Arc<CopyIn>,
    /// The search for data that the server would not read, unless the data is rows.
    end: Option<EndSearch>,
    /// The rows that were written here.
    written: u64,
    /// The server takes no more data.
    has_failed: bool,
}

impl<'a> PostgresCopy<'a> {
    pub(super) async fn start(session: &'a mut Session, copy: Arc<CopyIn>) -> Result<Self> {
        let sql = copy_in_statement(&copy.table, copy.text.as_ref());
        session.effects_of(&copy.analysis).await?;
        let prepared = session.prepare(&sql).await?;
        let sink = session.start_copy_in(&sql, &prepared).await?;
        let end = copy.text.as_ref().map(EndSearch::new);
        Ok(Self { sink, session, copy, end, written: 0, has_failed: false })
    }

    async fn send(&mut self, data: Bytes) -> Result<()> {
        if !self.has_failed && !data.is_empty() {
            self.has_failed = !self.session.send_copy(&mut self.sink, data).await?;
        }
        Ok(())
    }
}

impl CopyWriter for PostgresCopy<'_> {
    fn write<'w>(&'w mut self, data: CopyData) -> BoxFuture<'w, Result<bool>> {
        Box::pin(async move {
            match data {
                CopyData::Bytes(bytes) => {
                    if let Some(end) = &mut self.end {
                        end.look(&bytes)?;
                    }
                    self.send(bytes.into()).await?;
                }
                CopyData::Rows(rows) => {
                    let mut lines = Vec::with_capacity(CHUNK);
                    for row in &rows {
                        self.written += 1;
                        if row.encoded_len() > self.copy.max_row_size {
                            return Err(row_too_large(self.copy.max_row_size, self.written));
                        }
                        write_text_row(row, &mut lines)?;
                        if lines.len() >= CHUNK {
                            let chunk = std::mem::replace(&mut lines, Vec::with_capacity(CHUNK));
                            self.send(chunk.into()).await?;
                        }
                    }
                    self.send(lines.into()).await?;
                }
            }
            Ok(!self.has_failed)
        })
    }

    fn finish<'w>(self: Box<Self>) -> BoxFuture<'w, Result<u64>>
    where
        Self: 'w,
    {
        let Self { sink, session, copy, .. } = *self;
        Box::pin(async move { session.finish_copy(sink, &copy.table.table).await })
    }
}
