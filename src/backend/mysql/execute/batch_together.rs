//! The statements of a batch in one flight, with the opening before them and the mark of their commit behind them.

use std::sync::Arc;

use super::admitted_text::text_of;
use super::batch_flights::BatchRun;
use super::statement_start::ReadyStatement;
use super::unit::opening;
use crate::backend::Batch;
use crate::backend::mysql::commit_mark::CommitMark;
use crate::backend::mysql::connection::CommandEnd;
use crate::backend::mysql::protocol::commands::Command;
use crate::backend::mysql::session::Session;
use crate::error::{Error, Outcome, Result};
use crate::sql::MysqlStatement;
use crate::value::proto::ResultSet;

/// Reads how a command of our own ended, and keeps the first failure.
async fn take_end(session: &mut Session, failed: &mut Option<Error>) -> Result<()> {
    let end: CommandEnd = session.answer(async |on| on.end_of_command().await).await?;
    if let Err(error) = end {
        let error = session.refused(&error, "");
        failed.get_or_insert(error);
    }
    Ok(())
}

impl BatchRun<'_> {
    /// Makes all statements ready, and the mark of their commit; `None` if one cannot be prepared before those in front
    /// of it have run.
    pub(super) async fn ready<'a>(
        batch: &'a Batch,
        facts: &'a [Arc<MysqlStatement>],
        leaves_mark: bool,
        session: &mut Session,
    ) -> Result<Option<(Vec<ReadyStatement<'a>>, Option<CommitMark>)>> {
        let database = Arc::clone(&session.database);
        let mut texts = Vec::with_capacity(facts.len() + 1);
        for (statement, facts) in batch.statements.iter().zip(facts) {
            texts.push((statement.sql.as_str(), text_of(facts)?));
        }
        if leaves_mark {
            texts.push((&database.keys.claim.sql, &database.keys.claim));
        }
        // All of them at once: to prepare one may close another.
        let mut runnables = session.prepare_all(&texts).await?;
        let insert = if leaves_mark { runnables.pop() } else { None };
        let mark = match insert {
            Some(insert) => CommitMark::new(session, insert)?,
            None => None,
        };
        let mut ready = Vec::with_capacity(runnables.len());
        for ((index, statement), runnable) in batch.statements.iter().enumerate().zip(runnables) {
            let Ok(runnable) = runnable else { return Ok(None) };
            let made = ReadyStatement::new(
                &statement.sql,
                text_of(&facts[index])?,
                runnable,
                &statement.parameters,
                session.database.ahead_of_utc,
            );
            ready.push(made.map_err(|error| error.with_failed_statement(index))?);
        }
        Ok(Some((ready, mark)))
    }

    /// Sends the opening and all statements at once.
    pub(super) async fn together(
        &mut self,
        session: &mut Session,
        ready: &[ReadyStatement<'_>],
        mark: Option<CommitMark>,
    ) -> Result<Vec<ResultSet>> {
        session.begin_request()?;
        let opening = opening(self.batch.mode, false);
        for statement in &opening {
            session.connection().queue_own(Command::Query(statement));
        }
        session.work.is_divisible |= self.effects.iter().any(|effects| effects.is_divisible);
        for (index, statement) in ready.iter().enumerate() {
            let queued = statement.queue(session, true);
            queued.map_err(|error| error.with_failed_statement(index))?;
        }
        if let Some(mark) = &mark {
            mark.queue(session)?;
        }
        // Its answer has the state of the transaction, which that of an error has not.
        session.connection().queue_own(Command::Ping);
        let mut failed = None;
        for _ in &opening {
            take_end(session, &mut failed).await?;
            if session.connection().was_ended_before() {
                // Nothing of it has arrived.
                session.work.is_divisible = false;
                break;
            }
        }
        let results = self.results(session, ready, &mut failed).await?;
        if let Some(mark) = mark {
            let end = session.answer(async |on| on.end_of_command().await).await?;
            match mark.written(session, end) {
                Ok(mark) => self.mark = mark,
                Err(error) => drop(failed.get_or_insert(error)),
            }
        }
        take_end(session, &mut failed).await?;
        match failed {
            Some(error) => Err(error),
            None => {
                session.settle_writes(false);
                Ok(results)
            }
        }
    }

    /// Reads the answers to statements that were sent together, also those behind one that failed: the last one tells
    /// what became of the transaction.
    async fn results(
        &mut self,
        session: &mut Session,
        ready: &[ReadyStatement<'_>],
        failed: &mut Option<Error>,
    ) -> Result<Vec<ResultSet>> {
        let mut results = Vec::with_capacity(ready.len());
        let mut is_escaped = false;
        for (index, statement) in ready.iter().enumerate() {
            if !session.reads_on() {
                break;
            }
            match self.result(session, statement, index).await {
                Ok(result) => {
                    // Where the opening failed, it has committed by itself.
                    is_escaped |= session.connection().commits_each();
                    results.push(result);
                }
                Err(error) => {
                    let error = error.with_failed_statement(index);
                    failed.get_or_insert(error);
                }
            }
        }
        match failed.take() {
            Some(error) if is_escaped => Err(error.with_outcome(Outcome::Unknown)),
            Some(error) if !session.reads_on() => Err(error),
            other => {
                *failed = other;
                Ok(results)
            }
        }
    }
}
