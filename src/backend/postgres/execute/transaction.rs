//! An interactive transaction.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::row_stream::Running;
use crate::backend::idempotency::{applied_before, in_progress};
use crate::backend::postgres::codec;
use crate::backend::postgres::commit::begin;
use crate::backend::postgres::session::Lease;
use crate::backend::postgres::session::failure::Again;
use crate::backend::{
    BeginRequest, IdempotencyKey, RowStream, SavepointCommand, Statement, Transaction,
};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::sql::redefines;

/// A transaction that is open on a connection of its own.
pub(crate) struct Open {
    lease: Lease,
    incarnation: String,
    key: Option<IdempotencyKey>,
}

impl Open {
    /// Opens a transaction; an error says whether another connection may do better.
    pub(crate) async fn begin(
        lease: Lease,
        request: &BeginRequest,
    ) -> std::result::Result<Self, (Error, Again)> {
        let mut open = Self { lease, incarnation: String::new(), key: request.key.clone() };
        match open.prepare(request).await {
            Ok(()) => Ok(open),
            Err(error) => Err((error, open.lease.again)),
        }
    }

    async fn prepare(&mut self, request: &BeginRequest) -> Result<()> {
        let BeginRequest { mode, key, deadline, .. } = request;
        self.incarnation = self.lease.incarnation(*deadline).await?;
        self.lease.run(*deadline, &begin(*mode)).await?;
        match key {
            Some(key) => claim(&mut self.lease, key, *deadline).await,
            None => Ok(()),
        }
    }

    async fn start<'a>(&'a mut self, statement: Arc<Statement>) -> Result<Box<dyn RowStream + 'a>> {
        let lease = &mut self.lease;
        let Statement { sql, parameters, analysis, deadline, .. } = &*statement;
        lease.settle_cancel(*deadline).await?;
        let verdict = lease.judge(analysis, *deadline).await?;
        let prepared = lease.prepare(*deadline, sql).await?;
        let parameters = codec::encode(parameters, prepared.statement.params())?;
        lease.trace = lease.trace.max(verdict.trace);
        let rows = lease.start(*deadline, sql, &prepared, parameters).await?;
        if redefines(sql, analysis) {
            lease.redefine();
        }
        Ok(Box::new(Running::within(rows, lease, prepared, statement)))
    }
}

/// Claims a key within an open transaction.
async fn claim(lease: &mut Lease, key: &IdempotencyKey, deadline: Deadline) -> Result<()> {
    let keys = lease.keys(deadline).await?;
    let values = keys.claiming(key);
    let Err(error) = lease.execute(deadline, &keys.claim, &values).await else {
        return Ok(());
    };
    let Some(row) = lease.standing(error, key, deadline).await? else {
        return Err(in_progress());
    };
    row.check(key)?;
    Err(applied_before())
}

impl Transaction for Open {
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
            self.lease.settle_cancel(deadline).await?;
            self.lease.run(deadline, &sql).await?;
            if command == SavepointCommand::RollbackTo {
                self.lease.undone();
            }
            Ok(())
        })
    }

    fn is_open(&self) -> bool {
        self.lease.is_in_transaction()
    }

    fn commit(self: Box<Self>, deadline: Deadline) -> BoxFuture<'static, Result<()>> {
        let Self { mut lease, incarnation, key } = *self;
        Box::pin(async move {
            lease.settle_cancel(deadline).await?;
            let shared = Arc::clone(lease.shared());
            match (lease.commit(deadline, &incarnation).await, key) {
                (Err(doubt), Some(key)) if doubt.kind() == ErrorKind::OutcomeUnknown => {
                    shared.resolve_by_key(&key, doubt, deadline).await
                }
                (ended, _) => ended,
            }
        })
    }

    fn rollback(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move { self.lease.roll_back().await })
    }
}
