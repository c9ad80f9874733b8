//! A statement in a transaction of its own that begins with a preamble, and its rows.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;

use super::opening::open;
use super::row_stream::{StatementRows, StatementScope};
use crate::backend::attempt::AttemptResult;
use crate::backend::postgres::commit::{commit, query_incarnation};
use crate::backend::postgres::session::Session;
use crate::backend::{Completion, Decimal, Fill, RowSink, RowStream, Statement, TransactionMode};
use crate::error::{Outcome, Result};
use crate::value::Column;

/// The rows of the only statement of a transaction, which is committed behind them.
pub(crate) struct OwnTransactionRows(Box<StatementRows<Session>>);

impl OwnTransactionRows {
    /// Opens the transaction and starts its statement.
    pub(crate) async fn start(
        mut session: Session,
        statement: Arc<Statement>,
    ) -> AttemptResult<Self> {
        session.work.forbids_writes = statement.read_only;
        let opened = begin(&mut session, &statement).await;
        opened.map_err(|error| session.attempt_error(error))?;
        let scope = StatementScope::Alone;
        Ok(Self(Box::new(StatementRows::start(session, statement, scope).await?)))
    }
}

async fn begin(session: &mut Session, statement: &Statement) -> Result<()> {
    query_incarnation(session).await?;
    session.hide_sequences().await?;
    if !statement.preamble.changes_meaning() {
        // Outside of the transaction, which a question that fails would abort; it is asked again within, and known.
        session.effects_of(&statement.analysis).await?;
        session.prepare_with(&statement.sql, &statement.parameters).await?;
    }
    let mode = TransactionMode { read_only: statement.read_only, ..TransactionMode::default() };
    open(session, mode, &statement.preamble).await
}

impl RowStream for OwnTransactionRows {
    fn columns(&self) -> Option<&[Column]> {
        self.0.columns()
    }

    fn decimal(&self, column: usize) -> Option<Decimal> {
        self.0.decimal(column)
    }

    fn poll_rows(&mut self, cx: &mut Context<'_>, sink: &mut RowSink) -> Poll<Result<Fill>> {
        self.0.poll_rows(cx, sink)
    }

    fn finish<'a>(self: Box<Self>) -> BoxFuture<'a, Result<Completion>>
    where
        Self: 'a,
    {
        Box::pin(async move {
            let (completion, session) = self.0.complete().await?;
            commit(session, None, &[]).await?;
            Ok(completion)
        })
    }

    fn abandon<'a>(self: Box<Self>) -> BoxFuture<'a, Outcome>
    where
        Self: 'a,
    {
        // The end of the session rolls back.
        self.0.abandon()
    }
}
