//! An interactive transaction.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::statement_rows::{Scope, StatementRows};
use super::unit::{
    ROLLBACK_LIMIT, open, outcome_behind_failure, roll_back, roll_back_after_failure,
    transaction_aborted,
};
use crate::backend::attempt::AttemptResult;
use crate::backend::batch_in_transaction::one_by_one;
use crate::backend::copy::{CopyIn, CopyWriter};
use crate::backend::idempotency::{applied_before, rolled_back};
use crate::backend::inserts::InsertWriter;
use crate::backend::mysql::commit::{CommitPlan, commit};
use crate::backend::mysql::keys::claim;
use crate::backend::mysql::session::{Session, UnitState};
use crate::backend::{
    Batch, BeginRequest, IdempotencyKey, RowStream, SavepointCommand, Statement, Transaction,
};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::planted_bug::PlantedBug;
use crate::value::proto::ResultSet;

/// The mode in which a 0 in an AUTO_INCREMENT column is what it is, and not the next number. A reset undoes it.
const KEEP_ZEROS: &str =
    "SET SESSION sql_mode=CONCAT(@@SESSION.sql_mode, ',NO_AUTO_VALUE_ON_ZERO')";

/// A transaction that is open on a session of its own.
pub(crate) struct MysqlTransaction {
    session: Session,
    key: Option<IdempotencyKey>,
    is_read_only: bool,
    savepoints: Savepoints,
    /// Something may have been written.
    writes: bool,
    /// The results to store under the key.
    stored: Vec<ResultSet>,
}

/// The savepoints that are set, by the names of the caller. The database knows them by numbers: to it a second one of
/// a name removes the first, and names differ not by case.
#[derive(Debug, Default)]
struct Savepoints {
    names: Vec<String>,
}

impl Savepoints {
    /// The number of the last savepoint of a name.
    fn find(&self, name: &str) -> Result<usize> {
        let found = self.names.iter().rposition(|known| known == name);
        found.ok_or_else(|| {
            let message = "there is no such savepoint in the transaction";
            Error::new(ErrorKind::InvalidStatement, message)
                .with_condition("INVALID_SAVEPOINT_SPECIFICATION")
        })
    }
}

impl MysqlTransaction {
    /// Opens a transaction.
    pub(crate) async fn begin(
        mut session: Session,
        request: &BeginRequest,
    ) -> AttemptResult<Box<dyn Transaction>> {
        let opened = open_and_claim(&mut session, request).await;
        opened.map_err(|error| session.attempt_error(error))?;
        Ok(Box::new(Self {
            session,
            key: request.key.clone(),
            is_read_only: request.mode.read_only,
            savepoints: Savepoints::default(),
            writes: request.key.is_some(),
            stored: Vec::new(),
        }))
    }

    /// Fails if nothing but a rollback is possible.
    fn check_usable(&self) -> Result<()> {
        if self.session.work.unit != UnitState::Open { Err(transaction_aborted()) } else { Ok(()) }
    }
}

/// Opens a transaction and claims its key.
async fn open_and_claim(session: &mut Session, request: &BeginRequest) -> Result<()> {
    open(session, request.mode, true).await?;
    if let Some(key) = &request.key
        && let Some(row) = claim(session, key).await?
    {
        row.check(key)?;
        return Err(applied_before());
    }
    session.work.unit = UnitState::Open;
    Ok(())
}

impl Transaction for MysqlTransaction {
    fn query<'a>(
        &'a mut self,
        statement: Arc<Statement>,
    ) -> BoxFuture<'a, Result<Box<dyn RowStream + 'a>>> {
        Box::pin(async move {
            self.session.begin_command(statement.deadline).await?;
            self.check_usable()?;
            let reads = statement
                .analysis
                .mysql
                .as_ref()
                .is_some_and(|facts| facts.reads && facts.is_plain());
            self.writes |= !reads;
            let rows = StatementRows::start(&mut self.session, statement, Scope::Transaction).await;
            Ok(Box::new(rows.map_err(|failed| failed.error)?) as _)
        })
    }

    fn batch<'a>(&'a mut self, batch: &'a Batch) -> BoxFuture<'a, Result<Vec<ResultSet>>> {
        Box::pin(one_by_one(self, batch))
    }

    fn savepoint<'a>(
        &'a mut self,
        command: SavepointCommand,
        name: &'a str,
        deadline: Deadline,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.session.begin_command(deadline).await?;
            match command {
                SavepointCommand::Set => {
                    self.check_usable()?;
                    let number = self.savepoints.names.len();
                    self.session.run_own(&[&format!("SAVEPOINT rowgate_{number}")]).await?;
                    self.savepoints.names.push(name.to_owned());
                }
                SavepointCommand::RollbackTo => {
                    if self.session.work.unit == UnitState::RolledBack {
                        return Err(transaction_aborted());
                    }
                    let number = self.savepoints.find(name)?;
                    let sql = format!("ROLLBACK TO SAVEPOINT rowgate_{number}");
                    let end = self.session.run_own(&[&sql]).await?;
                    self.session.settle_rollback(end.warnings);
                    self.savepoints.names.truncate(number + 1);
                    self.session.work.unit = UnitState::Open;
                }
                SavepointCommand::Release => {
                    self.check_usable()?;
                    let number = self.savepoints.find(name)?;
                    let sql = format!("RELEASE SAVEPOINT rowgate_{number}");
                    self.session.run_own(&[&sql]).await?;
                    self.savepoints.names.truncate(number);
                }
            }
            Ok(())
        })
    }

    fn copy_in<'a>(
        &'a mut self,
        copy: Arc<CopyIn>,
    ) -> BoxFuture<'a, Result<Box<dyn CopyWriter + 'a>>> {
        Box::pin(async move { Ok(Box::new(InsertWriter::start(self, copy).await?) as _) })
    }

    fn keep_zeros(&mut self, deadline: Deadline) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.session.begin_command(deadline).await?;
            self.session.checkin.has_own_settings = true;
            self.session.run_own(&[KEEP_ZEROS]).await.map(drop)
        })
    }

    fn store(&mut self, results: Vec<ResultSet>) {
        self.stored = results;
    }

    fn is_open(&self) -> bool {
        self.session.takes_commands()
    }

    fn rolled_back_outcome(&self) -> Outcome {
        self.session.rolled_back_outcome()
    }

    fn lost(&self) -> BoxFuture<'static, Error> {
        let lost = self.session.lost();
        Box::pin(lost)
    }

    fn commit(self: Box<Self>, deadline: Deadline) -> BoxFuture<'static, Result<()>> {
        let Self { mut session, key, is_read_only, writes, stored, .. } = *self;
        Box::pin(async move {
            session.begin_command(deadline).await?;
            if session.work.unit != UnitState::Open && !PlantedBug::IgnoredTag.is_planted() {
                let outcome = roll_back_after_failure(&mut session, is_read_only).await;
                let message = "a statement of the transaction had failed, and it was rolled back";
                let error = Error::new(ErrorKind::TransactionAborted, message);
                return Err(rolled_back(error, outcome, key.is_some()));
            }
            let writes = writes && !is_read_only;
            let key = key.as_ref();
            let plan = CommitPlan {
                key,
                results: &stored,
                is_read_only,
                is_guarded: true,
                writes,
                mark: None,
            };
            commit(session, plan).await
        })
    }

    fn outcome_behind_failure(&mut self) -> BoxFuture<'_, Outcome> {
        Box::pin(outcome_behind_failure(&mut self.session))
    }

    fn undo(self: Box<Self>, deadline: Deadline) -> BoxFuture<'static, Outcome> {
        let Self { mut session, is_read_only, .. } = *self;
        session.deadline = deadline;
        Box::pin(async move { roll_back_after_failure(&mut session, is_read_only).await })
    }

    fn rollback(self: Box<Self>) -> BoxFuture<'static, ()> {
        let Self { mut session, is_read_only, .. } = *self;
        Box::pin(async move {
            let deadline = Deadline::at(std::time::Instant::now() + ROLLBACK_LIMIT);
            if session.takes_commands() && session.begin_command(deadline).await.is_ok() {
                drop(roll_back(&mut session, is_read_only).await);
            }
        })
    }
}
