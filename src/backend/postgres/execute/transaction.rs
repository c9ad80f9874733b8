//! An interactive transaction.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::row_stream::{StatementRows, StatementScope};
use crate::backend::idempotency::applied_before;
use crate::backend::postgres::commit::resolution::{TransactionName, resolve};
use crate::backend::postgres::commit::{begin, commit, query_incarnation};
use crate::backend::postgres::idempotency::claim;
use crate::backend::postgres::session::Session;
use crate::backend::postgres::session::attempt::AttemptResult;
use crate::backend::{
    BeginRequest, IdempotencyKey, RowStream, SavepointCommand, Statement, Transaction,
};
use crate::deadline::Deadline;
use crate::error::{ErrorKind, Result};
use crate::sql::invalidates_plans;

/// A transaction that is open on a session of its own.
pub(crate) struct PostgresTransaction {
    session: Session,
    key: Option<IdempotencyKey>,
}

impl PostgresTransaction {
    /// Opens a transaction.
    pub(crate) async fn begin(
        mut session: Session,
        request: &BeginRequest,
    ) -> AttemptResult<Box<dyn Transaction>> {
        match open(&mut session, request).await {
            Ok(()) => Ok(Box::new(Self { session, key: request.key.clone() })),
            Err(error) => Err(session.attempt_error(error)),
        }
    }

    async fn start<'a>(&'a mut self, statement: Arc<Statement>) -> Result<Box<dyn RowStream + 'a>> {
        let session = &mut self.session;
        let Statement { sql, parameters, analysis, deadline, .. } = &*statement;
        session.begin_command(*deadline).await?;
        let effects = session.effects_of(analysis).await?;
        let prepared = session.prepare(sql).await?;
        let parameters = prepared.encode(parameters)?;
        session.checkin.add(effects.session);
        let rows = session.start(sql, &prepared, parameters).await?;
        if invalidates_plans(sql, analysis) {
            session.redefine();
        }
        let scope = StatementScope::Transaction;
        Ok(Box::new(StatementRows::new(rows, session, scope, prepared, statement)))
    }
}

/// Opens a transaction and claims its key.
async fn open(session: &mut Session, request: &BeginRequest) -> Result<()> {
    query_incarnation(session).await?;
    session.run(&begin(request.mode)).await?;
    let Some(key) = &request.key else { return Ok(()) };
    match claim(session, key).await? {
        Some(row) => {
            row.check(key)?;
            Err(applied_before())
        }
        None => Ok(()),
    }
}

impl Transaction for PostgresTransaction {
    fn query<'a>(
        &'a mut self,
        statement: Arc<Statement>,
    ) -> BoxFuture<'a, Result<Box<dyn RowStream + 'a>>> {
        Box::pin(self.start(statement))
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
        let sql = format!("{verb} \"{}\"", name.replace('"', "\"\""));
        Box::pin(async move {
            self.session.begin_command(deadline).await?;
            self.session.run(&sql).await?;
            if command == SavepointCommand::RollbackTo {
                self.session.rolled_back_to_savepoint();
            }
            Ok(())
        })
    }

    fn is_open(&self) -> bool {
        self.session.is_in_transaction()
    }

    fn commit(self: Box<Self>, deadline: Deadline) -> BoxFuture<'static, Result<()>> {
        let Self { mut session, key } = *self;
        Box::pin(async move {
            session.begin_command(deadline).await?;
            let database = Arc::clone(&session.database);
            match (commit(session).await, key) {
                (Err(error), Some(key)) if error.kind() == ErrorKind::OutcomeUnknown => {
                    resolve(&database, TransactionName::Key(&key), error, deadline).await
                }
                (ended, _) => ended,
            }
        })
    }

    fn rollback(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(self.session.roll_back())
    }
}
