//! A batch: its statements go in one flight where nothing forbids it, and its commit in another: nothing aborts what
//! is sent behind a statement that fails.

use std::sync::Arc;

use super::admitted_text::{admit_to_read_only, admit_to_unit, text_of};
use super::statement_start::{ReadyStatement, completion, shape_of};
use super::unit::{
    begin_writes, check_open, end_writes, opening, roll_back, roll_back_after_failure,
};
use crate::backend::attempt::{AttemptError, AttemptResult, RetryScope};
use crate::backend::idempotency::rolled_back;
use crate::backend::mysql::commit::{CommitPlan, commit};
use crate::backend::mysql::commit_mark::CommitMark;
use crate::backend::mysql::keys::{claim, with_claimed_key};
use crate::backend::mysql::protocol::answers::Event;
use crate::backend::mysql::session::requests::Runnable;
use crate::backend::mysql::session::statement_effects::StatementEffects;
use crate::backend::mysql::session::{Session, UnitState};
use crate::backend::resolution::outcome_unknown;
use crate::backend::result_quota::ResultQuota;
use crate::backend::result_reference::{refers_to_result, resolved};
use crate::backend::{Batch, BatchResult, BatchStatement, BatchStrategy, Completion};
use crate::error::{Error, Outcome, Result};
use crate::sql::MysqlStatement;
use crate::value::proto::ResultSet;
use crate::value::{RowEncoder, RowsField, Value};

/// A batch at work on a session.
pub(super) struct BatchRun<'a> {
    pub(super) batch: &'a Batch,
    pub(super) facts: Vec<Arc<MysqlStatement>>,
    pub(super) effects: Vec<StatementEffects>,
    /// All statements are known to leave nothing behind.
    pub(super) is_plain: bool,
    /// One of them may write, or the row of a key is written.
    pub(super) writes: bool,
    /// The mark of the commit, once it was written.
    pub(super) mark: Option<CommitMark>,
    pub(super) quota: ResultQuota,
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
    let mut all_effects = Vec::with_capacity(facts.len());
    for facts in &facts {
        let effects = session.effects_of(facts).await?;
        is_plain &= effects.is_plain;
        writes |= effects.may_write;
        all_effects.push(effects);
    }
    session.work.unit = UnitState::Open;
    let quota = ResultQuota::new(batch.max_rows, batch.max_bytes);
    Ok(BatchRun { batch, facts, effects: all_effects, is_plain, writes, mark: None, quota })
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
            let values =
                resolved(&statement.parameters, &results, batch.max_bytes).map_err(failed)?;
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
        let mut ready =
            ReadyStatement::new(sql, text, runnable, values, session.database.ahead_of_utc)?;
        let writes_before = begin_writes(session, &self.effects[index])?;
        ready.is_probed = writes_before.is_probed;
        session.begin_request()?;
        let before = ready.queue(session, self.is_plain)?;
        for _ in 0..before {
            let end = session.answer(async |on| on.end_of_command().await).await?;
            session.must_be_cleared(end.map(drop), sql)?;
        }
        let result = self.result(session, &ready, index).await?;
        end_writes(session, writes_before).await?;
        Ok(result)
    }

    /// Reads the answer to a statement.
    pub(super) async fn result(
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
        self.quota.check()?;
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
        let error = if error.outcome() == Outcome::NotApplied {
            rolled_back(error, outcome, session.work.is_keyed)
        } else {
            session.of_unit(error)
        };
        // What may have been applied in part is not run again.
        let is_whole = error.outcome() == Outcome::NotApplied;
        AttemptError { error, retry: if is_whole { retry } else { RetryScope::None } }
    }
}
