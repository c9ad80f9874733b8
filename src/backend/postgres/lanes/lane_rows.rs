//! The rows of a statement that has run on a lane, as a stream that is always ready.

use std::task::{Context, Poll};

use futures_util::future::BoxFuture;

use super::ride::LaneResult;
use crate::backend::{Completion, Decimal, Fill, RowSink, RowStream};
use crate::error::{Outcome, Result};
use crate::value::Column;

impl RowStream for LaneResult {
    fn columns(&self) -> Option<&[Column]> {
        self.prepared.columns.as_deref()
    }

    fn decimal(&self, column: usize) -> Option<Decimal> {
        self.prepared.decimal(column)
    }

    fn poll_rows(&mut self, _: &mut Context<'_>, sink: &mut RowSink) -> Poll<Result<Fill>> {
        let rows = std::mem::take(&mut self.rows);
        rows.iter().for_each(|row| sink.push(row));
        Poll::Ready(Ok(Fill::Done))
    }

    fn finish<'a>(self: Box<Self>) -> BoxFuture<'a, Result<Completion>>
    where
        Self: 'a,
    {
        // Every query that a lane takes has the command tag of a SELECT.
        let completion = Completion { rows_affected: 0, command: "SELECT".to_owned() };
        Box::pin(std::future::ready(Ok(completion)))
    }

    fn abandon<'a>(self: Box<Self>) -> BoxFuture<'a, Outcome>
    where
        Self: 'a,
    {
        Box::pin(std::future::ready(Outcome::NotApplied))
    }
}
