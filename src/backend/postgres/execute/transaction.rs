//! An interactive transaction.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::copy_writer::PostgresCopy;
use super::opening::open;
use super::row_stream::{StatementRows, StatementScope};
use super::transaction_pipeline;
use crate::backend::attempt::AttemptResult;
use crate::backend::batch_in_transaction::one_by_one;
use crate::backend::copy::{CopyIn, CopyWriter};
use crate::backend::idempotency::applied_before;
use crate::backend::postgres::commit::resolution::outcome_of_claim;
use crate::backend::postgres::commit::{READ_ONLY_SAVEPOINT, commit, query_incarnation};
use crate::backend::postgres::idempotency::claim;
use crate::backend::postgres::session::Session;
use crate::backend::resolution::resolve;
use crate::backend::{
    Batch, BeginRequest, IdempotencyKey, RowStream, SavepointCommand, Statement, Transaction,
};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::value::proto::ResultSet;

/// A transaction that is open on a session of its own.
pub(crate) struct PostgresTransaction {
    session: Session,
    key: Option<IdempotencyKey>,
    /// The results to store under the key; empty for none.
    stored: Vec<ResultSet>,
}

impl PostgresTransaction {
    /// Opens a transaction.
    pub(crate) async fn begin(
        mut session: Session,
        request: &BeginRequest,
    ) -> AttemptResult<Box<dyn Transaction>> {
        let opened = open_and_claim(&mut session, request).await;
        opened.map_err(|error| session.attempt_error(error))?;
        Ok(Box::new(Self { session, key: request.key.clone(), stored: Vec::new() }))
    }
}

/// Opens a transaction and claims its key.
async fn open_and_claim(session: &mut Session, request: &BeginRequest) -> Result<()> {
    query_incarnation(session).await?;
    session.hide_sequences().await?;
    open(session, request.mode, &request.preamble).await?;
    if let Some(key) = &request.key
        && let Some(row) = claim(session, key).await?
    {
        row.check(key)?;
        return Err(applied_before());
    }
    Ok(())
}

impl Transaction for PostgresTransaction {
    fn query<'a>(
        &'a mut self,
        statement: Arc<Statement>,
    ) -> BoxFuture<'a, Result<Box<dyn RowStream + 'a>>> {
        Box::pin(async move {
            let session = &mut self.session;
            session.begin_command(statement.deadline).await?;
            let rows = StatementRows::start(session, statement, StatementScope::Transaction).await;
            Ok(Box::new(rows.map_err(|failed| failed.error)?) as _)
        })
    }

    fn batch<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Result<Vec<ResultSet>>> {
        Box::pin(async move {
            match transaction_pipeline::run(&mut self.session, batch).await? {
                Some(results) => Ok(results),
                None => one_by_one(self, batch).await,
            }
        })
    }

    fn savepoint<'a>(
        &'a mut self,
        command: SavepointCommand,
        name: &'a str,
        deadline: Deadline,
    ) -> BoxFuture<'a, Result<()>> {
        let verb = match command {
            SavepointCommand::Set => "SAVEPOINT",
            SavepointCommand::RollbackTo => "ROLLBACK TO SAVEPOINT",
            SavepointCommand::Release => "RELEASE SAVEPOINT",
        };
        let is_reserved = name == READ_ONLY_SAVEPOINT;
        let sql = format!("{verb} \"{}\"", name.replace('"', "\"\""));
        Box::pin(async move {
            if is_reserved {
                let description = "this name is the server's own; choose another";
                return Err(Error::field(ErrorKind::InvalidParameter, "name", description));
            }
            self.session.begin_command(deadline).await?;
            self.session.run(&sql).await?;
            if command == SavepointCommand::RollbackTo {
                self.session.rolled_back_to_savepoint();
            }
            Ok(())
        })
    }

    fn copy_in<'a>(
        &'a mut self,
        copy: Arc<CopyIn>,
    ) -> BoxFuture<'a, Result<Box<dyn CopyWriter + 'a>>> {
        Box::pin(async move {
            self.session.begin_command(copy.deadline).await?;
            Ok(Box::new(PostgresCopy::start(&mut self.session, copy).await?) as _)
        })
    }

    fn store(&mut self, results: Vec<ResultSet>) {
        self.stored = results;
    }

    fn is_open(&self) -> bool {
        self.session.is_in_transaction()
    }

    fn lost(&self) -> BoxFuture<'static, Error> {
        let lost = self.session.lost();
        Box::pin(lost)
    }

    fn commit(self: Box<Self>, deadline: Deadline) -> BoxFuture<'static, Result<()>> {
        let Self { mut session, key, stored } = *self;
        Box::pin(async move {
            session.begin_command(deadline).await?;
            let database = Arc::clone(&session.database);
            let storing = key.as_ref().filter(|_| !stored.is_empty());
            match (commit(session, storing, &stored).await, key.clone()) {
                (Err(error), Some(key)) if error.kind() == ErrorKind::OutcomeUnknown => {
                    resolve(&database.name, || outcome_of_claim(&database, &key), error, deadline)
                        .await
                }
                (ended, _) => ended,
            }
        })
    }

    fn rollback(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(self.session.roll_back())
    }

    fn undo(mut self: Box<Self>, deadline: Deadline) -> BoxFuture<'static, Outcome> {
        // What was given up still runs, such as a COPY whose data has ended.
        self.session.cancel_if_busy();
        self.session.deadline = deadline;
        Box::pin(async move {
            self.session.roll_back_in_time().await;
            Outcome::NotApplied
        })
    }
}
