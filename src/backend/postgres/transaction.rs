//! An interactive transaction.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::codec;
use super::commit::begin;
use super::keys;
use super::lease::Lease;
use super::run::Running;
use crate::backend::{
    BeginRequest, IdempotencyKey, RowStream, SavepointCommand, Statement, Transaction,
};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Outcome, Result};

/// A transaction that is open on a connection of its own.
pub(super) struct Open {
    lease: Lease,
    incarnation: String,
}

impl Open {
    pub(super) async fn begin(mut lease: Lease, request: BeginRequest) -> Result<Self> {
        let BeginRequest { mode, key, deadline } = request;
        let incarnation = lease.incarnation(deadline).await?;
        lease.run(deadline, &begin(mode)).await?;
        if let Some(key) = &key {
            claim(&mut lease, key, deadline).await?;
        }
        Ok(Self { lease, incarnation })
    }

    async fn start<'a>(
        &'a mut self,
        statement: Arc<Statement>,
    ) -> Result<Box<dyn RowStream + 'a>> {
        let lease = &mut self.lease;
        let Statement { sql, parameters, analysis, deadline, .. } = &*statement;
        let verdict = lease.judge(analysis, *deadline).await?;
        let prepared = lease.prepare(*deadline, sql).await?;
        let parameters = codec::encode(parameters, prepared.statement.params())?;
        lease.trace = lease.trace.max(verdict.trace);
        let rows = lease.start(*deadline, sql, &prepared, parameters).await?;
        Ok(Box::new(Running::within(rows, lease, prepared, statement)))
    }
}

/// Claims a key within an open transaction.
async fn claim(lease: &mut Lease, key: &IdempotencyKey, deadline: Deadline) -> Result<()> {
    let shared = Arc::clone(lease.shared());
    let values = shared.keys.claiming(key);
    let claimed = match lease.execute(deadline, &shared.keys.claim, &values).await {
        Ok(_rows) => return Ok(()),
        Err(error) => error,
    };
    match claimed.report().map(|report| report.sqlstate.as_str()) {
        Some("42P01") => Err(keys::not_installed()),
        Some("55P03" | "57014") => Err(keys::in_progress()),
        Some("23505") => {
            lease.run(deadline, "ROLLBACK").await?;
            let Some(row) = lease.claimed(key, deadline).await? else {
                return Err(keys::in_progress());
            };
            if row.expired {
                lease.forget(key, deadline).await?;
                return Err(keys::in_progress());
            }
            row.check(key)?;
            let message = "the transaction with this idempotency key was applied before";
            Err(Error::new(ErrorKind::KeyApplied, message).with_outcome(Outcome::Applied))
        }
        Some(_) | None => Err(claimed),
    }
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
        Box::pin(async move { self.lease.run(deadline, &sql).await })
    }

    fn is_open(&self) -> bool {
        self.lease.is_in_transaction()
    }

    fn commit(self: Box<Self>, deadline: Deadline) -> BoxFuture<'static, Result<()>> {
        Box::pin(async move { self.lease.commit(deadline, &self.incarnation).await })
    }

    fn rollback(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move { self.lease.roll_back().await })
    }
}
