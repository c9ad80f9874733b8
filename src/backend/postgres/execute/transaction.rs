//! An interactive transaction.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::row_stream::StatementRows;
use crate::backend::idempotency::{applied_before, in_progress};
use crate::backend::postgres::codec;
use crate::backend::postgres::commit::begin;
use crate::backend::postgres::session::Session;
use crate::backend::postgres::session::failure::RetryScope;
use crate::backend::{
    BeginRequest, IdempotencyKey, RowStream, SavepointCommand, Statement, Transaction,
};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::sql::invalidates_plans;

/// A transaction that is open on a connection of its own.
pub(crate) struct PostgresTransaction {
    session: Session,
    incarnation: String,
    key: Option<IdempotencyKey>,
}

impl PostgresTransaction {
    /// Opens a transaction; an error says whether another connection may do better.
    pub(crate) async fn begin(
        session: Session,
        request: &BeginRequest,
    ) -> std::result::Result<Self, (Error, RetryScope)> {
        let mut open = Self { session, incarnation: String::new(), key: request.key.clone() };
        match open.prepare(request).await {
            Ok(()) => Ok(open),
            Err(error) => Err((error, open.session.again)),
        }
    }

    async fn prepare(&mut self, request: &BeginRequest) -> Result<()> {
        let BeginRequest { mode, key, deadline, .. } = request;
        self.incarnation = self.session.incarnation(*deadline).await?;
        self.session.run(*deadline, &begin(*mode)).await?;
        match key {
            Some(key) => claim(&mut self.session, key, *deadline).await,
            None => Ok(()),
        }
    }

    async fn start<'a>(&'a mut self, statement: Arc<Statement>) -> Result<Box<dyn RowStream + 'a>> {
        let session = &mut self.session;
        let Statement { sql, parameters, analysis, deadline, .. } = &*statement;
        session.settle_cancel(*deadline).await?;
        let verdict = session.judge(analysis, *deadline).await?;
        let prepared = session.prepare(*deadline, sql).await?;
        let parameters = codec::encode(parameters, prepared.statement.params())?;
        session.trace = session.trace.max(verdict.trace);
        let rows = session.start(*deadline, sql, &prepared, parameters).await?;
        if invalidates_plans(sql, analysis) {
            session.redefine();
        }
        Ok(Box::new(StatementRows::within(rows, session, prepared, statement)))
    }
}

/// Claims a key within an open transaction.
async fn claim(session: &mut Session, key: &IdempotencyKey, deadline: Deadline) -> Result<()> {
    let keys = session.keys(deadline).await?;
    let values = keys.claiming(key);
    let Err(error) = session.execute(deadline, &keys.claim, &values).await else {
        return Ok(());
    };
    let Some(row) = session.standing(error, key, deadline).await? else {
        return Err(in_progress());
    };
    row.check(key)?;
    Err(applied_before())
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
            self.session.settle_cancel(deadline).await?;
            self.session.run(deadline, &sql).await?;
            if command == SavepointCommand::RollbackTo {
                self.session.undone();
            }
            Ok(())
        })
    }

    fn is_open(&self) -> bool {
        self.session.is_in_transaction()
    }

    fn commit(self: Box<Self>, deadline: Deadline) -> BoxFuture<'static, Result<()>> {
        let Self { mut session, incarnation, key } = *self;
        Box::pin(async move {
            session.settle_cancel(deadline).await?;
            let shared = Arc::clone(session.shared());
            match (session.commit(deadline, &incarnation).await, key) {
                (Err(doubt), Some(key)) if doubt.kind() == ErrorKind::OutcomeUnknown => {
                    shared.resolve_by_key(&key, doubt, deadline).await
                }
                (ended, _) => ended,
            }
        })
    }

    fn rollback(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move { self.session.roll_back().await })
    }
}
