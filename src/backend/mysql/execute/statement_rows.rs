//! A running statement.

use std::borrow::BorrowMut;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use futures_util::future::BoxFuture;
use tokio::time::Sleep;

use super::admitted_text::{admit_to_read_only, admit_to_unit, text_of};
use super::statement_start::{Head, ReadyStatement, completion, start};
use super::unit::{WritesBefore, begin_writes, closing, end_writes, open, transaction_controlled};
use crate::backend::attempt::AttemptResult;
use crate::backend::cancel::grace_end;
use crate::backend::mysql::connection::result_shape::ResultShape;
use crate::backend::mysql::protocol::answers::Event;
use crate::backend::mysql::protocol::ok_packet::OkPacket;
use crate::backend::mysql::session::requests::Runnable;
use crate::backend::mysql::session::{Applies, Session};
use crate::backend::{Completion, Decimal, Fill, RowSink, RowStream, Statement, TransactionMode};
use crate::error::{Error, Outcome, Result};
use crate::sql::{Dialect, MysqlStatement, may_extend_with_nulls};
use crate::value::Column;

/// The transaction that a statement runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// A transaction of its own, which the database opens and commits.
    Autocommit,
    /// One that was opened for it, in which the database forbids writes.
    ReadOnly,
    /// An interactive transaction, which goes on.
    Transaction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadState {
    Reading,
    /// The statement was killed, and its end is still to be read.
    Killed,
    Done,
}

/// A statement whose rows are being read.
pub(crate) struct StatementRows<S> {
    session: S,
    scope: Scope,
    writes_before: WritesBefore,
    statement: Arc<Statement>,
    facts: Arc<MysqlStatement>,
    /// The shape of the rows; `None` if it returns none.
    shape: Option<Arc<ResultShape>>,
    /// The columns with their origins, if they were asked for.
    described: Option<Vec<Column>>,
    /// The rows come as text.
    is_text: bool,
    timer: Pin<Box<Sleep>>,
    /// Ready when an operator terminates the call; created when rows are first waited for.
    terminated: Option<BoxFuture<'static, ()>>,
    state: ReadState,
    /// The end of the first result, then of the statement.
    end: OkPacket,
    /// The first result has ended; those of a procedure that follow are dropped.
    is_behind_result: bool,
    rows: u64,
    /// The error of a row of a write that could not be decoded: the write runs to its end.
    undecoded: Option<Error>,
}

impl<S: BorrowMut<Session>> StatementRows<S> {
    /// Starts a statement.
    pub(crate) async fn start(
        mut session: S,
        statement: Arc<Statement>,
        scope: Scope,
    ) -> AttemptResult<Self> {
        let started = begin(session.borrow_mut(), &statement, scope).await;
        let Started { head, scope, writes_before, facts, is_text } =
            started.map_err(|error| session.borrow_mut().attempt_error(error))?;
        let (shape, state, end) = match head {
            Head::Rows(shape) => (Some(shape), ReadState::Reading, OkPacket::default()),
            Head::Done(ok) => (None, ReadState::Done, ok),
        };
        let described = shape.as_ref().filter(|_| statement.describe_columns).map(|shape| {
            shape.columns_with_origins(may_extend_with_nulls(&statement.sql, Dialect::Mysql))
        });
        Ok(Self {
            described,
            session,
            scope,
            writes_before,
            timer: Box::pin(tokio::time::sleep_until(statement.deadline.instant().into())),
            statement,
            facts,
            shape,
            is_text,
            terminated: None,
            state,
            end,
            is_behind_result: false,
            rows: 0,
            undecoded: None,
        })
    }

    fn session(&mut self) -> &mut Session {
        self.session.borrow_mut()
    }

    /// The next row of the first result; `None` at the end of the statement.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<BytesMut>>> {
        if self.state == ReadState::Done {
            return Poll::Ready(Ok(None));
        }
        loop {
            if let Poll::Ready(event) = self.session.borrow_mut().connection().poll_event(cx) {
                match event {
                    Err(failure) => {
                        return Poll::Ready(Err(self.session().stream_failed(failure)));
                    }
                    Ok(Event::Row(_) | Event::Columns(_) | Event::Prepared(_))
                        if self.is_behind_result => {}
                    Ok(Event::Row(row)) => {
                        self.rows += 1;
                        return Poll::Ready(Ok(Some(row)));
                    }
                    Ok(Event::Columns(_) | Event::Prepared(_)) => {}
                    Ok(Event::ResultEnd(ok)) => {
                        self.is_behind_result = true;
                        self.end = ok;
                    }
                    Ok(Event::Done(ok)) => return Poll::Ready(self.ended(ok).map(|()| None)),
                    Ok(Event::Failed(error)) => {
                        self.state = ReadState::Done;
                        let sql = &self.statement.sql;
                        return Poll::Ready(Err(self.session.borrow_mut().refused(&error, sql)));
                    }
                }
                continue;
            }
            if self.state == ReadState::Reading && self.is_terminated(cx) {
                self.kill();
                continue;
            }
            std::task::ready!(self.timer.as_mut().poll(cx));
            if self.state == ReadState::Killed {
                return Poll::Ready(Err(self.session().deadline_passed()));
            }
            self.kill();
        }
    }

    /// Takes the end of the statement. The rows of a read that was killed are not believed: BENCHMARK and SLEEP return
    /// as if they had ended. A write is what the server says that it is.
    fn ended(&mut self, ok: OkPacket) -> Result<()> {
        let was_killed = self.state == ReadState::Killed;
        self.state = ReadState::Done;
        self.end = ok;
        if was_killed && self.session().work.applies == Applies::Nothing {
            return Err(self.session().deadline_passed());
        }
        Ok(())
    }

    fn is_terminated(&mut self, cx: &mut Context<'_>) -> bool {
        let context = &self.statement.context;
        let terminated = self.terminated.get_or_insert_with(|| {
            let context = Arc::clone(context);
            Box::pin(async move { context.terminated().await })
        });
        terminated.as_mut().poll(cx).is_ready() || context.is_terminated()
    }

    fn kill(&mut self) {
        self.state = ReadState::Killed;
        self.session().cancel();
        let end = grace_end(&self.statement.context, self.statement.deadline);
        self.timer.as_mut().reset(end.into());
    }

    /// Moves a row into the sink. One that cannot be decoded ends a read; a write runs to its end, as its
    /// outcome is not known before.
    fn push(&mut self, row: &[u8], sink: &mut RowSink) -> Result<()> {
        let Some(shape) = self.shape.as_ref().filter(|_| self.undecoded.is_none()) else {
            return Ok(());
        };
        let decoder = &shape.decoder;
        let taken = match (sink.encoder(), self.is_text) {
            (Some(encoder), false) => {
                decoder.encode_binary_row(row, encoder).map(|()| sink.end_row())
            }
            (Some(encoder), true) => decoder.encode_text_row(row, encoder).map(|()| sink.end_row()),
            (None, false) => Ok(decoder.binary_cells(row)).and_then(|cells| sink.push_cells(cells)),
            (None, true) => Ok(decoder.text_cells(row)).and_then(|cells| sink.push_cells(cells)),
        };
        match taken {
            Ok(()) => {}
            Err(error) if self.scope != Scope::Autocommit => {
                self.kill();
                return Err(error);
            }
            Err(error) if self.session().work.applies == Applies::Nothing => return Err(error),
            Err(error) => self.undecoded = Some(error),
        }
        Ok(())
    }

    /// Reads the rest of the rows, only to learn how the statement ends.
    async fn drain(&mut self) -> Result<()> {
        while self.state != ReadState::Done {
            std::future::poll_fn(|cx| self.poll_next(cx)).await?;
        }
        Ok(())
    }

    /// Ends a statement whose rows are done.
    async fn complete(mut self: Box<Self>) -> Result<Completion> {
        self.drain().await?;
        let Self { scope, writes_before, .. } = *self;
        let session = self.session.borrow_mut();
        session.work.applies = Applies::Nothing;
        match scope {
            Scope::Autocommit => {
                if session.connection().in_transaction() || !session.connection().commits_each() {
                    return Err(transaction_controlled());
                }
            }
            Scope::Transaction => end_writes(session, writes_before).await?,
            Scope::ReadOnly => {
                let mut end = vec!["COMMIT"];
                end.extend(closing(true));
                session.run_own(&end).await?;
            }
        }
        Ok(self.completion())
    }

    fn completion(&self) -> Completion {
        let returned = self.shape.is_some().then_some(self.rows);
        completion(&self.facts, returned, self.end.affected_rows)
    }
}

/// A statement whose answer has begun.
struct Started {
    head: Head,
    scope: Scope,
    writes_before: WritesBefore,
    facts: Arc<MysqlStatement>,
    is_text: bool,
}

async fn begin(session: &mut Session, statement: &Statement, scope: Scope) -> Result<Started> {
    let Statement { sql, parameters, analysis, read_only, .. } = statement;
    let facts = Session::facts(analysis)?;
    let text = text_of(&facts)?;
    if scope == Scope::Transaction {
        admit_to_unit(&facts)?;
    }
    session.work.forbids_writes |= *read_only;
    if session.work.forbids_writes {
        admit_to_read_only(&facts)?;
    }
    let effects = session.effects_of(&facts).await?;
    let runnable = session.prepare(sql, text).await?;
    let mut ready =
        ReadyStatement::new(sql, text, runnable, parameters, session.database.ahead_of_utc)?;
    let mut scope = scope;
    let mut writes_before = WritesBefore::default();
    if scope == Scope::Autocommit {
        if *read_only && !effects.is_plain {
            // Code of the database's may write.
            let mode = TransactionMode { read_only: true, ..TransactionMode::default() };
            open(session, mode, false).await?;
            scope = Scope::ReadOnly;
        } else if effects.may_write {
            session.applies(Applies::Statement);
            session.work.is_divisible = effects.is_divisible;
        }
    } else {
        writes_before = begin_writes(session, &effects)?;
        ready.is_probed = writes_before.is_probed;
    }
    // A later statement of the transaction may ask for what is left from before it.
    let is_alone = scope != Scope::Transaction;
    let started = start(session, &ready, effects.is_plain && is_alone).await;
    let head = match started {
        Err(error) if is_alone && effects.is_divisible_by_triggers => {
            return Err(told_by_warnings(session, error).await);
        }
        started => started?,
    };
    let is_text = matches!(ready.runnable, Runnable::Text);
    Ok(Started { head, scope, writes_before, facts: Arc::clone(&facts), is_text })
}

/// The error of a statement that commits by itself, whose triggers may have left something: where the server has answered
/// with the error, its warnings tell.
async fn told_by_warnings(session: &mut Session, error: Error) -> Error {
    if error.outcome() == Outcome::Unknown && session.refusal_left_nothing().await {
        return error.with_outcome(Outcome::NotApplied);
    }
    error
}

impl<S: BorrowMut<Session> + Send + Unpin> RowStream for StatementRows<S> {
    fn columns(&self) -> Option<&[Column]> {
        let columns = self.shape.as_ref().map(|shape| shape.columns.as_slice());
        self.described.as_deref().or(columns)
    }

    fn decimal(&self, column: usize) -> Option<Decimal> {
        self.shape.as_ref().and_then(|shape| shape.decimal(column))
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
        Box::pin(self.complete())
    }

    fn abandon<'a>(mut self: Box<Self>) -> BoxFuture<'a, Outcome>
    where
        Self: 'a,
    {
        Box::pin(async move {
            if self.scope != Scope::Autocommit {
                // The next command of a transaction that goes on waits until this one has ended.
                self.session().cancel();
                return Outcome::NotApplied;
            }
            if self.session().work.applies == Applies::Nothing {
                return Outcome::NotApplied;
            }
            match self.drain().await {
                Ok(()) => Outcome::Applied,
                Err(error) => error.outcome(),
            }
        })
    }
}
