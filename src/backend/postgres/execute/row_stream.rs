//! A running statement.

use std::borrow::BorrowMut;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_util::Stream;
use futures_util::future::BoxFuture;
use tokio::time::Sleep;
use tokio_postgres::types::{FromSql, Type};

use crate::backend::postgres::commit::{COMMIT, controls_transaction, was_controlled};
use crate::backend::postgres::connection::Prepared;
use crate::backend::postgres::connection::cancel::CANCEL_GRACE;
use crate::backend::postgres::session::Session;
use crate::backend::{Completion, Fill, RowSink, RowStream, Statement};
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::value::{Column, Row};

/// A statement whose rows are being read.
pub(crate) struct StatementRows<L> {
    // Declared before the session: the stream lets go of the connection first.
    rows: Pin<Box<tokio_postgres::RowStream>>,
    session: L,
    prepared: Arc<Prepared>,
    statement: Arc<Statement>,
    timer: Pin<Box<Sleep>>,
    /// Ready when an operator ends the call; made when something is first waited for.
    terminated: Option<BoxFuture<'static, ()>>,
    cancelled: bool,
    over: bool,
    /// Whether it is one of several in a transaction that goes on.
    within: bool,
}

impl StatementRows<Session> {
    /// A statement that is a call of its own.
    pub(crate) fn alone(
        rows: tokio_postgres::RowStream,
        session: Session,
        prepared: Arc<Prepared>,
        statement: Arc<Statement>,
    ) -> Self {
        Self::new(rows, session, prepared, statement)
    }
}

impl<'a> StatementRows<&'a mut Session> {
    /// A statement in a transaction.
    pub(crate) fn within(
        rows: tokio_postgres::RowStream,
        session: &'a mut Session,
        prepared: Arc<Prepared>,
        statement: Arc<Statement>,
    ) -> Self {
        Self { within: true, ..Self::new(rows, session, prepared, statement) }
    }
}

impl<L: BorrowMut<Session>> StatementRows<L> {
    fn new(
        rows: tokio_postgres::RowStream,
        session: L,
        prepared: Arc<Prepared>,
        statement: Arc<Statement>,
    ) -> Self {
        Self {
            rows: Box::pin(rows),
            session,
            prepared,
            timer: Box::pin(tokio::time::sleep_until(statement.deadline.instant().into())),
            statement,
            terminated: None,
            cancelled: false,
            over: false,
            within: false,
        }
    }

    fn session(&mut self) -> &mut Session {
        self.session.borrow_mut()
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<tokio_postgres::Row>>> {
        loop {
            match self.rows.as_mut().poll_next(cx) {
                Poll::Ready(Some(Ok(row))) => return Poll::Ready(Ok(Some(row))),
                Poll::Ready(Some(Err(error))) => {
                    let session = self.session.borrow_mut();
                    return Poll::Ready(Err(session.failure(error, &self.statement.sql)));
                }
                Poll::Ready(None) => {
                    self.over = true;
                    return Poll::Ready(self.session().finished().map(|()| None));
                }
                Poll::Pending => {}
            }
            if !self.cancelled && self.is_terminated(cx) {
                self.cancel();
                continue;
            }
            std::task::ready!(self.timer.as_mut().poll(cx));
            if self.cancelled {
                return Poll::Ready(Err(self.session().deadline_passed()));
            }
            self.cancel();
        }
    }

    fn is_terminated(&mut self, cx: &mut Context<'_>) -> bool {
        let context = &self.statement.context;
        let terminated = self.terminated.get_or_insert_with(|| {
            let context = Arc::clone(context);
            Box::pin(async move { context.terminated().await })
        });
        terminated.as_mut().poll(cx).is_ready()
    }

    fn cancel(&mut self) {
        self.cancelled = true;
        self.session().cancel();
        let grace = Instant::now() + CANCEL_GRACE;
        self.timer.as_mut().reset(grace.into());
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
        let (within, read_only) = (self.within, self.statement.read_only);
        let deadline = self.statement.deadline;
        let session = self.session();
        let tag = session.connection().wire.tag();
        if within && controls_transaction(&tag) {
            return Err(was_controlled());
        }
        if !within && !read_only && session.connection().wire.in_transaction() {
            let message = "the statement opened a transaction, which SQL text may not do here";
            return Err(Error::new(ErrorKind::TransactionControl, message));
        }
        if !within && read_only {
            session.run(deadline, COMMIT).await?;
        }
        Ok(completion(&tag))
    }
}

impl<L: BorrowMut<Session> + Send + Unpin> RowStream for StatementRows<L> {
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
            if self.within {
                // The transaction goes on; its next command waits until this one has ended.
                self.cancel();
                return Outcome::NotApplied;
            }
            if self.session().reads || self.statement.read_only {
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

pub(crate) fn decode(prepared: &Prepared, row: &tokio_postgres::Row) -> Result<Row> {
    let values =
        (0..row.len()).map(|index| row.get::<_, Option<Raw<'_>>>(index).map(|Raw(bytes)| bytes));
    prepared.decoder.decode(values)
}

/// A command tag is the command, for some an OID, and the count of rows (protocol 3.0,
/// CommandComplete).
pub(crate) fn completion(tag: &str) -> Completion {
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
