//! A running statement.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_util::Stream;
use futures_util::future::BoxFuture;
use tokio::time::Sleep;
use tokio_postgres::types::{FromSql, Type};

use super::cancel::CANCEL_GRACE;
use super::connection::Prepared;
use super::lease::Lease;
use crate::backend::{Completion, Fill, RowSink, RowStream, Statement};
use crate::error::{Outcome, Result};
use crate::value::{Column, Row};

/// Ends a transaction that we opened; a transaction that failed or ended inside answers with an
/// error, never with a silent ROLLBACK.
const COMMIT: &str = "SAVEPOINT rowgate_guard; COMMIT";

/// A statement whose rows are being read.
pub(super) struct Running {
    // Declared before the lease: the stream lets go of the connection first.
    rows: Pin<Box<tokio_postgres::RowStream>>,
    lease: Lease,
    prepared: Arc<Prepared>,
    statement: Arc<Statement>,
    timer: Pin<Box<Sleep>>,
    cancelled: bool,
    over: bool,
}

impl Running {
    pub(super) fn new(
        rows: tokio_postgres::RowStream,
        lease: Lease,
        prepared: Arc<Prepared>,
        statement: Arc<Statement>,
    ) -> Self {
        Self {
            rows: Box::pin(rows),
            lease,
            prepared,
            timer: Box::pin(tokio::time::sleep_until(statement.deadline.instant().into())),
            statement,
            cancelled: false,
            over: false,
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<tokio_postgres::Row>>> {
        loop {
            match self.rows.as_mut().poll_next(cx) {
                Poll::Ready(Some(Ok(row))) => return Poll::Ready(Ok(Some(row))),
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Err(self.lease.failure(error, &self.statement.sql)));
                }
                Poll::Ready(None) => {
                    self.lease.busy = false;
                    self.over = true;
                    return Poll::Ready(Ok(None));
                }
                Poll::Pending => {}
            }
            std::task::ready!(self.timer.as_mut().poll(cx));
            if self.cancelled {
                return Poll::Ready(Err(self.lease.deadline_passed()));
            }
            self.cancelled = true;
            self.lease.cancel();
            let grace = Instant::now() + CANCEL_GRACE;
            self.timer.as_mut().reset(grace.into());
        }
    }

    /// Reads what is left of the rows, for its end alone.
    async fn drain(&mut self) -> Result<()> {
        while !self.over {
            std::future::poll_fn(|cx| self.poll_next(cx)).await?;
        }
        Ok(())
    }

    async fn complete(mut self: Box<Self>) -> Result<Completion> {
        self.drain().await?;
        let completion = completion(&self.lease.connection().wire.tag());
        if self.statement.read_only {
            self.lease.run(self.statement.deadline, COMMIT).await?;
        }
        Ok(completion)
    }
}

impl RowStream for Running {
    fn columns(&self) -> Option<&[Column]> {
        self.prepared.columns.as_deref()
    }

    fn poll_rows(&mut self, cx: &mut Context<'_>, sink: &mut RowSink) -> Poll<Result<Fill>> {
        while !sink.is_full() {
            match std::task::ready!(self.poll_next(cx))? {
                Some(row) => sink.push(decode(&self.prepared, &row)?),
                None => return Poll::Ready(Ok(Fill::Done)),
            }
        }
        Poll::Ready(Ok(Fill::Full))
    }

    fn finish<'a>(self: Box<Self>) -> BoxFuture<'a, Result<Completion>>
    where
        Self: 'a,
    {
        Box::pin(self.complete())
    }

    fn abandon<'a>(mut self: Box<Self>) -> BoxFuture<'a, Outcome>
    where
        Self: 'a,
    {
        Box::pin(async move {
            if self.lease.reads || self.statement.read_only {
                return Outcome::NotApplied;
            }
            match self.drain().await {
                Ok(()) => Outcome::Applied,
                Err(error) => error.outcome(),
            }
        })
    }
}

/// The bytes of a column as they came.
struct Raw<'a>(&'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(
        _: &Type,
        raw: &'a [u8],
    ) -> std::result::Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

fn decode(prepared: &Prepared, row: &tokio_postgres::Row) -> Result<Row> {
    let values =
        (0..row.len()).map(|index| row.get::<_, Option<Raw<'_>>>(index).map(|Raw(bytes)| bytes));
    prepared.decoder.decode(values)
}

/// A command tag is the command, for some an OID, and the count of rows (protocol 3.0,
/// CommandComplete).
fn completion(tag: &str) -> Completion {
    let (command, count) = match tag.rsplit_once(' ') {
        Some((head, last)) if last.bytes().all(|byte| byte.is_ascii_digit()) => {
            (head.strip_suffix(" 0").unwrap_or(head), last.parse().unwrap_or_default())
        }
        _ => (tag, 0),
    };
    let changes = matches!(command, "INSERT" | "UPDATE" | "DELETE" | "MERGE");
    let rows_affected = if changes { count } else { 0 };
    Completion { rows_affected, command: command.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_tag_tells_the_command_and_how_many_rows_it_changed() {
        let cases = [
            ("INSERT 0 5", "INSERT", 5),
            ("INSERT 0 0", "INSERT", 0),
            ("SELECT 3", "SELECT", 0),
            ("UPDATE 10", "UPDATE", 10),
            ("CREATE TABLE", "CREATE TABLE", 0),
            ("", "", 0),
        ];
        for (tag, command, rows_affected) in cases {
            let expected = Completion { rows_affected, command: command.to_owned() };
            assert_eq!(completion(tag), expected, "{tag}");
        }
    }
}
