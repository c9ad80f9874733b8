//! A running statement.

use std::borrow::BorrowMut;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_util::future::BoxFuture;
use tokio::time::Sleep;

use super::command_tag::{Returned, completion, controls_transaction};
use super::incoming::{Incoming, Received};
use crate::backend::attempt::AttemptResult;
use crate::backend::cancel::grace_end;
use crate::backend::postgres::commit::{commit_of, open_transaction, transaction_controlled};
use crate::backend::postgres::connection::prepared::Prepared;
use crate::backend::postgres::lanes::Candidate;
use crate::backend::postgres::session::Session;
use crate::backend::{
    Completion, Decimal, Delivery, Fill, RowSink, RowStream, Statement, TransactionMode,
};
use crate::clock::now;
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::value::Column;

/// The transaction that a statement runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StatementScope {
    /// A transaction of its own.
    Autocommit,
    /// The only statement of a transaction that was opened for it.
    Alone,
    /// An interactive transaction, which goes on.
    Transaction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadState {
    Reading,
    /// The statement was cancelled, and its end is still to be read.
    Cancelled,
    Done,
}

/// A statement whose rows are being read.
pub(crate) struct StatementRows<S> {
    // Declared before the session: the stream releases the connection first.
    rows: Incoming,
    session: S,
    scope: StatementScope,
    prepared: Arc<Prepared>,
    /// The columns with their origins, if they were asked for.
    described: Option<Vec<Column>>,
    statement: Arc<Statement>,
    timer: Pin<Box<Sleep>>,
    /// Ready when an operator terminates the call; created when rows are first waited for.
    terminated: Option<BoxFuture<'static, ()>>,
    state: ReadState,
    /// The error of a row of a write that could not be decoded: the write runs to its end.
    undecoded: Option<Error>,
    began: Instant,
    /// Takes note of the time that it ran.
    pub(crate) candidate: Option<Arc<Candidate>>,
}

impl<S: BorrowMut<Session>> StatementRows<S> {
    /// Starts a statement.
    pub(crate) async fn start(
        mut session: S,
        statement: Arc<Statement>,
        scope: StatementScope,
    ) -> AttemptResult<Self> {
        let started = start(session.borrow_mut(), &statement, scope).await;
        let Started { rows, prepared, described, began } =
            started.map_err(|error| session.borrow_mut().attempt_error(error))?;
        Ok(Self {
            rows,
            session,
            scope,
            prepared,
            described,
            timer: Box::pin(tokio::time::sleep_until(statement.deadline.instant().into())),
            statement,
            terminated: None,
            state: ReadState::Reading,
            undecoded: None,
            began,
            candidate: None,
        })
    }

    fn session(&mut self) -> &mut Session {
        self.session.borrow_mut()
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Received>>> {
        loop {
            if let Poll::Ready(row) = self.rows.poll_next(cx) {
                let session = self.session.borrow_mut();
                return Poll::Ready(match row {
                    Some(Ok(row)) => Ok(Some(row)),
                    Some(Err(error)) => Err(session.failed(error, &self.statement.sql)),
                    None => {
                        self.state = ReadState::Done;
                        if let Some(candidate) = self.candidate.take() {
                            let now = now();
                            candidate.ran_alone(now.saturating_duration_since(self.began), now);
                        }
                        session.rows_ended().map(|()| None)
                    }
                });
            }
            if self.state == ReadState::Reading && self.is_terminated(cx) {
                self.cancel();
                continue;
            }
            std::task::ready!(self.timer.as_mut().poll(cx));
            if self.state == ReadState::Cancelled {
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
        // Rows that come fast use up the budget of the task (tokio's coop), with which the event would be seen.
        terminated.as_mut().poll(cx).is_ready() || context.is_terminated()
    }

    fn cancel(&mut self) {
        self.state = ReadState::Cancelled;
        self.session().cancel();
        let end = grace_end(&self.statement.context, self.statement.deadline);
        self.timer.as_mut().reset(end.into());
    }

    /// Moves a row into the sink. One that cannot be decoded ends a read; a write runs to its end, as its
    /// outcome is not known before.
    fn push(&mut self, received: &Received, sink: &mut RowSink) -> Result<()> {
        if self.undecoded.is_some() {
            return Ok(());
        }
        let row = match received {
            Received::Row(row) => row,
            Received::Data(data) => {
                sink.push_data(data);
                return Ok(());
            }
        };
        let taken = match sink.encoder() {
            Some(encoder) => self.prepared.encode_row(row, encoder).map(|()| sink.end_row()),
            None => self.prepared.cells(row).and_then(|cells| sink.push_cells(cells)),
        };
        match taken {
            Ok(()) => {}
            Err(error) if self.scope != StatementScope::Autocommit => {
                // Its transaction applies nothing yet, or goes on as after any other failed statement.
                self.cancel();
                return Err(error);
            }
            Err(error) if self.session().work.writes.is_none() => return Err(error),
            Err(error) => self.undecoded = Some(error),
        }
        Ok(())
    }

    /// Reads the rest of the rows, only to learn how the statement ends; returns their number.
    async fn drain(&mut self) -> Result<usize> {
        let mut rows = 0;
        while self.state != ReadState::Done {
            let row = std::future::poll_fn(|cx| self.poll_next(cx)).await?;
            rows += usize::from(row.is_some());
        }
        Ok(rows)
    }

    /// Reads the rest of the rows. Returns the end of the statement, and the session for the next one.
    pub(super) async fn complete(mut self: Box<Self>) -> Result<(Completion, S)> {
        let drained = self.drain().await?;
        let returned = Returned::of(self.prepared.columns.as_deref(), drained);
        let read_only = self.statement.read_only;
        let scope = self.scope;
        let session = self.session();
        let tag = session.connection().protocol.tag();
        match scope {
            StatementScope::Alone | StatementScope::Transaction if controls_transaction(&tag) => {
                return Err(transaction_controlled());
            }
            StatementScope::Autocommit if read_only => {
                let end = commit_of(session);
                session.run(end).await?;
            }
            StatementScope::Autocommit if session.connection().protocol.in_transaction() => {
                let message = "the statement opened a transaction, which SQL text may not do here";
                return Err(Error::new(ErrorKind::TransactionControl, message));
            }
            StatementScope::Alone | StatementScope::Transaction | StatementScope::Autocommit => {}
        }
        let Self { session, .. } = *self;
        Ok((completion(&tag, returned), session))
    }
}

/// A statement that has been sent.
struct Started {
    rows: Incoming,
    prepared: Arc<Prepared>,
    described: Option<Vec<Column>>,
    began: Instant,
}

async fn start(
    session: &mut Session,
    statement: &Statement,
    scope: StatementScope,
) -> Result<Started> {
    let Statement { sql, parameters, analysis, read_only, .. } = statement;
    let effects = session.effects_of(analysis).await?;
    let (prepared, parameters) = session.prepare_with(sql, parameters).await?;
    statement.check_columns(prepared.columns.as_deref())?;
    let effects = session.effects_with_parameters(effects, &prepared).await?;
    let described = if statement.describe_columns {
        session.columns_with_origins(sql, &prepared).await?
    } else {
        None
    };
    session.will_run(sql, analysis);
    match scope {
        StatementScope::Autocommit if *read_only => {
            session.work.forbids_writes = true;
            let mode = TransactionMode { read_only: true, ..TransactionMode::default() };
            open_transaction(session, mode).await?;
        }
        StatementScope::Autocommit => session.autocommit(sql, effects),
        StatementScope::Alone | StatementScope::Transaction => {}
    }
    let began = now();
    let rows = if statement.delivery == Delivery::Copied {
        Incoming::copy(session.start_copy_out(sql, &prepared).await?)
    } else {
        Incoming::rows(session.start(sql, &prepared, parameters).await?)
    };
    if scope == StatementScope::Transaction {
        session.has_run(sql, analysis, effects);
    }
    Ok(Started { rows, prepared, described, began })
}

impl<S: BorrowMut<Session> + Send + Unpin> RowStream for StatementRows<S> {
    fn columns(&self) -> Option<&[Column]> {
        self.described.as_deref().or(self.prepared.columns.as_deref())
    }

    fn decimal(&self, column: usize) -> Option<Decimal> {
        self.prepared.decimal(column)
    }

    fn poll_rows(&mut self, cx: &mut Context<'_>, sink: &mut RowSink) -> Poll<Result<Fill>> {
        while !sink.is_full() {
            match std::task::ready!(self.poll_next(cx))? {
                Some(row) => self.push(&row, sink)?,
                None => {
                    let undecoded = self.undecoded.take();
                    let failed = undecoded.map(|error| error.with_outcome(Outcome::Applied));
                    return Poll::Ready(failed.map_or(Ok(Fill::Done), Err));
                }
            }
        }
        Poll::Ready(Ok(Fill::Full))
    }

    fn finish<'a>(self: Box<Self>) -> BoxFuture<'a, Result<Completion>>
    where
        Self: 'a,
    {
        Box::pin(async move { Ok(self.complete().await?.0) })
    }

    fn abandon<'a>(mut self: Box<Self>) -> BoxFuture<'a, Outcome>
    where
        Self: 'a,
    {
        Box::pin(async move {
            if self.scope != StatementScope::Autocommit {
                // The next command of a transaction that goes on waits until this one has ended.
                self.cancel();
                return Outcome::NotApplied;
            }
            if self.session().work.writes.is_none() || self.statement.read_only {
                return Outcome::NotApplied;
            }
            match self.drain().await {
                Ok(_) => Outcome::Applied,
                Err(error) => error.outcome(),
            }
        })
    }
}
