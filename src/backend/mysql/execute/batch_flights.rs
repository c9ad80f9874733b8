//! A batch: its statements go in one flight where nothing forbids it, and its commit in another: nothing aborts what
//! is sent behind a statement that fails.

use std::sync::Arc;

use super::admitted_text::{admit_to_read_only, admit_to_unit, text_of};
use super::statement_start::{ReadyStatement, completion, shape_of};
use super::unit::{check_open, opening, roll_back, roll_back_after_failure};
use crate::backend::attempt::{AttemptError, AttemptResult, RetryScope};
use crate::backend::mysql::commit::{CommitPlan, commit};
use crate::backend::mysql::commit_mark::CommitMark;
use crate::backend::mysql::connection::CommandEnd;
use crate::backend::mysql::keys::{claim, with_claimed_key};
use crate::backend::mysql::protocol::answers::Event;
use crate::backend::mysql::protocol::commands::Command;
use crate::backend::mysql::session::requests::Runnable;
use crate::backend::mysql::session::{Session, UnitState};
use crate::backend::resolution::outcome_unknown;
use crate::backend::result_quota::ResultQuota;
use crate::backend::result_reference::{refers_to_result, resolved};
use crate::backend::{Batch, BatchResult, BatchStatement, BatchStrategy, Completion};
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::sql::MysqlStatement;
use crate::value::proto::ResultSet;
use crate::value::{RowEncoder, RowsField, Value};

/// A batch at work on a session.
struct BatchRun<'a> {
    batch: &'a Batch,
    facts: Vec<Arc<MysqlStatement>>,
    /// Those that may stay in part although the batch fails.
    divisible: Vec<bool>,
    /// All statements are known to leave nothing behind.
    is_plain: bool,
    /// One of them may write, or the row of a key is written.
    writes: bool,
    /// The mark of the commit, once it was written.
    mark: Option<CommitMark>,
    quota: ResultQuota,
}

/// Runs a batch once.
pub(crate) async fn run(
    batch: &Batch,
    strategy: BatchStrategy,
    mut session: Session,
) -> AttemptResult<BatchResult> {
    let prepared = prepare(batch, &mut session).await;
    let mut run = prepared.map_err(|error| session.attempt_error(error))?;
    let ran = run.statements(&mut session, strategy).await;
    let results = match ran {
        Ok(Ran::Results(results)) => results,
        Ok(Ran::Replayed(done)) => {
            drop(roll_back(&mut session, batch.mode.read_only).await);
            return Ok(done);
        }
        Err(error) => return Err(run.abort(session, error).await),
    };
    if batch.dry_run {
        let outcome = roll_back_after_failure(&mut session, batch.mode.read_only).await;
        if outcome != Outcome::NotApplied {
            let message = "the dry run wrote to a table without transactions, which keeps it";
            return Err(outcome_unknown(message.to_owned()).into());
        }
        return Ok(BatchResult { results, replayed: false });
    }
    let plan = CommitPlan {
        key: batch.key.as_ref(),
        results: &results,
        is_read_only: batch.mode.read_only,
        is_guarded: !run.is_plain,
        writes: run.writes && !batch.mode.read_only,
        mark: run.mark,
    };
    let committed = commit(session, plan).await;
    committed.map_err(|error| with_claimed_key(batch.key.as_ref(), error))?;
    Ok(BatchResult { results, replayed: false })
}

/// The end of the statements of a batch.
enum Ran {
    Results(Vec<ResultSet>),
    /// They ran before, under the same key.
    Replayed(BatchResult),
}

/// Admits the statements and looks up their effects; nothing of the batch is sent before all are admitted.
async fn prepare<'a>(batch: &'a Batch, session: &mut Session) -> Result<BatchRun<'a>> {
    let mut facts = Vec::with_capacity(batch.statements.len());
    for (index, statement) in batch.statements.iter().enumerate() {
        let admitted = admit(batch, statement);
        facts.push(admitted.map_err(|error| error.with_failed_statement(index))?);
    }
    session.work.forbids_writes = batch.mode.read_only;
    let mut is_plain = true;
    let mut writes = batch.key.is_some();
    let mut divisible = Vec::with_capacity(facts.len());
    for facts in &facts {
        let effects = session.effects_of(facts).await?;
        is_plain &= effects.is_plain;
        writes |= effects.may_write;
        divisible.push(effects.is_divisible);
    }
    session.work.unit = UnitState::Open;
    let quota = ResultQuota::new(batch.max_rows, batch.max_bytes);
    Ok(BatchRun { batch, facts, divisible, is_plain, writes, mark: None, quota })
}

fn admit(batch: &Batch, statement: &BatchStatement) -> Result<Arc<MysqlStatement>> {
    let facts = Session::facts(&statement.analysis)?;
    text_of(&facts)?;
    admit_to_unit(&facts)?;
    if batch.mode.read_only {
        admit_to_read_only(&facts)?;
    }
    Ok(facts)
}

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
    /// Opens a transaction and runs the statements.
    async fn statements(&mut self, session: &mut Session, strategy: BatchStrategy) -> Result<Ran> {
        let is_together = strategy == BatchStrategy::Pipelined
            && self.is_plain
            && session.database.is_pipelined
            && !self.batch.statements.iter().any(|one| refers_to_result(&one.parameters))
            && self.batch.key.is_none();
        let facts = self.facts.clone();
        let leaves_mark = self.writes && !self.batch.mode.read_only && !self.batch.dry_run;
        let leaves_mark = leaves_mark && CommitMark::is_possible(session);
        let ready = if is_together {
            Self::ready(self.batch, &facts, leaves_mark, session).await?
        } else {
            None
        };
        let results = match ready {
            Some((ready, mark)) => self.together(session, &ready, mark).await?,
            None => match self.one_by_one(session).await? {
                Ran::Replayed(done) => return Ok(Ran::Replayed(done)),
                Ran::Results(results) => results,
            },
        };
        let claimed = |error| with_claimed_key(self.batch.key.as_ref(), error);
        self.check(session, &results).map_err(claimed)?;
        Ok(Ran::Results(results))
    }

    /// Makes all statements ready, and the mark of their commit; `None` if one cannot be prepared before those in front
    /// of it have run.
    async fn ready<'a>(
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
    async fn together(
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
        session.work.is_divisible |= self.divisible.contains(&true);
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
            None => Ok(results),
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
                    is_escaped |= check_open(session).is_err();
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

    /// Claims the key and runs the statements, each after the one before it has ended.
    async fn one_by_one(&mut self, session: &mut Session) -> Result<Ran> {
        session.run_own(&opening(self.batch.mode, !self.is_plain)).await?;
        let key = self.batch.key.as_ref();
        if let Some(key) = key
            && let Some(row) = claim(session, key).await?
        {
            return row.replay(key).map(Ran::Replayed);
        }
        let mut results = Vec::with_capacity(self.facts.len());
        let batch = self.batch;
        for (index, statement) in batch.statements.iter().enumerate() {
            let failed = |error| with_claimed_key(key, error).with_failed_statement(index);
            let values = resolved(&statement.parameters, &results).map_err(failed)?;
            let result = self.run_one(session, statement, index, &values).await;
            let result = result.map_err(failed)?;
            if let Some(expect) = statement.expect {
                expect.check(result.rows_affected).map_err(failed)?;
            }
            results.push(result);
        }
        Ok(Ran::Results(results))
    }

    async fn run_one(
        &mut self,
        session: &mut Session,
        statement: &BatchStatement,
        index: usize,
        values: &[Value],
    ) -> Result<ResultSet> {
        let sql = &statement.sql;
        let facts = Arc::clone(&self.facts[index]);
        let text = text_of(&facts)?;
        let runnable = session.prepare(sql, text).await?;
        let ready =
            ReadyStatement::new(sql, text, runnable, values, session.database.ahead_of_utc)?;
        session.work.is_divisible |= self.divisible[index];
        session.begin_request()?;
        let before = ready.queue(session, self.is_plain)?;
        for _ in 0..before {
            let end = session.answer(async |on| on.end_of_command().await).await?;
            session.must_be_cleared(end.map(drop), sql)?;
        }
        let result = self.result(session, &ready, index).await?;
        check_open(session)?;
        Ok(result)
    }

    /// Reads the answer to a statement.
    async fn result(
        &mut self,
        session: &mut Session,
        statement: &ReadyStatement<'_>,
        index: usize,
    ) -> Result<ResultSet> {
        let is_text = matches!(statement.runnable, Runnable::Text);
        let mut encoder = RowEncoder::new(RowsField::OfResult);
        let mut shape = None;
        let mut is_behind_result = false;
        let mut rows = 0;
        let end = loop {
            match session.answer(async |on| on.event().await).await? {
                Event::Columns(raw) if shape.is_none() => {
                    shape = Some(shape_of(session, raw, &statement.runnable)?);
                }
                Event::Row(row) if !is_behind_result => {
                    rows += 1;
                    let Some(shape) = &shape else { continue };
                    let encoded = if is_text {
                        shape.decoder.encode_text_row(&row, &mut encoder)
                    } else {
                        shape.decoder.encode_binary_row(&row, &mut encoder)
                    };
                    match encoded {
                        Ok(()) if self.quota.take(encoder.row_size()) => encoder.end_row(),
                        Ok(()) => {}
                        Err(error) => self.quota.refuse(error),
                    }
                }
                Event::Columns(_) | Event::Row(_) | Event::Prepared(_) => {}
                Event::ResultEnd(_) => is_behind_result |= shape.is_some(),
                Event::Done(ok) => break ok,
                Event::Failed(error) => return Err(session.refused(&error, statement.sql)),
            }
        };
        let facts = &self.facts[index];
        let returned = shape.is_some().then_some(rows);
        let Completion { rows_affected, command } = completion(facts, returned, end.affected_rows);
        Ok(ResultSet {
            has_columns: shape.is_some(),
            rows_affected,
            command,
            columns: shape.map(|shape| shape.columns.clone()).unwrap_or_default(),
            encoded: encoder.take(),
            ..ResultSet::default()
        })
    }

    /// Checks the results for what may not be committed: their size, and unexpected counts of rows.
    fn check(&mut self, session: &mut Session, results: &[ResultSet]) -> Result<()> {
        if let Some(error) = self.quota.take_undecoded() {
            return Err(error);
        }
        if let Some(message) = self.quota.exceeded() {
            return Err(Error::new(ErrorKind::ResultTooLarge, message).with_hint(
                "Select less, use StreamQuery or Transact, or raise max_rows and max_bytes.",
            ));
        }
        self.batch.check_response(results)?;
        for (index, (statement, result)) in self.batch.statements.iter().zip(results).enumerate() {
            if let Some(expect) = statement.expect {
                let checked = expect.check(result.rows_affected);
                checked.map_err(|error| error.with_failed_statement(index))?;
            }
        }
        check_open(session)
    }

    /// Rolls back after the failure of a statement.
    async fn abort(&self, mut session: Session, error: Error) -> AttemptError {
        let failed = session.attempt_error(error);
        let is_read_only = self.batch.mode.read_only;
        let outcome = roll_back_after_failure(&mut session, is_read_only).await;
        let AttemptError { error, retry } = failed;
        let is_known = error.outcome() == Outcome::NotApplied;
        let error = if is_known { error.with_outcome(outcome) } else { error };
        // What may have been applied in part is not run again.
        let is_whole = error.outcome() == Outcome::NotApplied;
        AttemptError { error, retry: if is_whole { retry } else { RetryScope::None } }
    }
}
