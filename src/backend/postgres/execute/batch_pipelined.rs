//! A batch in one or two pipelines: all requests are sent at once, and answered in one round trip.
//!
//! One pipeline is enough where the commit does not depend on the results: BEGIN, the statements, the number of the
//! transaction, the commit. With a key their results are stored before it, and an expectation of a batch that may
//! write decides if there is one; PostgreSQL tells no statement how many rows the one before it has changed. So
//! both take two. What only reads, or is a dry run, applies nothing in any case.

use std::sync::Arc;

use super::batch_result::{check_of_constraints, check_results, end, result_set};
use super::batch_sequential;
use super::opening::Opening;
use crate::backend::attempt::AttemptResult;
use crate::backend::attempt::RetryScope;
use crate::backend::postgres::commit::{
    CommitAnswers, commit_of, conclude, number, query_incarnation, xid_of,
};
use crate::backend::postgres::connection::pipeline::{
    PipelineEnd, PipelineResponses, PipelineStep, StepOutput,
};
use crate::backend::postgres::connection::prepared::Prepared;
use crate::backend::postgres::idempotency::{
    conflicting_row, key_table, key_table_error, with_claimed_key,
};
use crate::backend::postgres::session::Session;
use crate::backend::postgres::session::failure::of_own_statement;
use crate::backend::result_quota::ResultQuota;
use crate::backend::result_reference::refers_to_result;
use crate::backend::{Batch, BatchResult, BatchStatement, BatchStrategy, IdempotencyKey};
use crate::error::{Outcome, Result};
use crate::sql::{PlanLifetime, invalidates_plans};
use crate::value::proto::ResultSet;

/// A batch at work on a session.
struct BatchRun<'a> {
    batch: &'a Batch,
    session: Session,
    opening: Option<Opening>,
    /// The statement that claims the key, when there is one.
    claim: Option<(&'a IdempotencyKey, Arc<Prepared>)>,
    statements: Vec<Arc<Prepared>>,
}

/// Runs a batch once.
pub(crate) async fn run(
    batch: &Batch,
    strategy: BatchStrategy,
    session: Session,
) -> AttemptResult<BatchResult> {
    let mut run = BatchRun { batch, session, opening: None, claim: None, statements: Vec::new() };
    let prepared = run.prepare(strategy).await;
    match prepared.map_err(|error| run.session.attempt_error(error))? {
        // Boxed: the usual batch, in one pipeline, has no room for the large futures of the others.
        BatchStrategy::Sequential => {
            Box::pin(batch_sequential::run(batch, strategy, run.session)).await
        }
        BatchStrategy::Pipelined if run.claim.is_some() || is_guarded(batch) => {
            Box::pin(run.in_two_pipelines()).await
        }
        BatchStrategy::Pipelined => run.in_one_pipeline().await,
    }
}

/// Tells whether the commit of a batch depends on the counts of rows.
fn is_guarded(batch: &Batch) -> bool {
    let expects = batch.statements.iter().any(|statement| statement.expect.is_some());
    expects && !batch.dry_run && !batch.mode.read_only
}

impl<'a> BatchRun<'a> {
    /// Prepares every statement, and returns the strategy to run them: they must be prepared one by one if
    /// an earlier one may change the meaning of a later one, one has its meaning only when it runs, refers to an earlier
    /// result, or cannot be prepared, perhaps because it needs what an earlier one creates.
    async fn prepare(&mut self, strategy: BatchStrategy) -> Result<BatchStrategy> {
        let session = &mut self.session;
        let Batch { statements, mode, preamble, key, .. } = self.batch;
        query_incarnation(session).await?;
        self.opening = Some(Opening::prepare(session, *mode, preamble).await?);
        let mut effects = Vec::with_capacity(statements.len());
        for statement in statements {
            effects.push(session.effects_of(&statement.analysis).await?);
            session.will_run(&statement.sql, &statement.analysis);
        }
        if let Some(key) = key {
            let table = key_table(session).await?;
            let claim = session.prepare(&table.claim).await;
            self.claim = Some((key, claim.map_err(|error| key_table_error(session, error))?));
        }
        let redefines = |one: &BatchStatement| invalidates_plans(&one.sql, &one.analysis);
        let redefining = statements.iter().position(redefines);
        let redefines_others = redefining.is_some_and(|index| index + 1 < statements.len());
        let is_passing = |one: &BatchStatement| one.analysis.lifetime == PlanLifetime::Moment;
        let has_passing = statements.iter().any(is_passing);
        // They can only be prepared behind the settings that give them their meaning.
        let has_unprepared = preamble.changes_meaning()
            && !statements.iter().all(|one| session.is_prepared(&one.sql));
        if strategy == BatchStrategy::Sequential
            || redefines_others
            || has_passing
            || statements.iter().any(|one| refers_to_result(&one.parameters))
            || has_unprepared
        {
            return Ok(BatchStrategy::Sequential);
        }
        for (index, (statement, effects)) in statements.iter().zip(effects).enumerate() {
            match session.prepare(&statement.sql).await {
                Ok(mut prepared) => {
                    if prepared.has_looked_up_types() && !preamble.changes_meaning() {
                        let fitting =
                            session.prepare_with(&statement.sql, &statement.parameters).await;
                        prepared = fitting.map_err(|error| error.with_failed_statement(index))?.0;
                    }
                    session.effects_with_parameters(effects, &prepared).await?;
                    self.statements.push(prepared);
                }
                Err(error)
                    if session.work.retry == RetryScope::None && error.report().is_some() =>
                {
                    return Ok(BatchStrategy::Sequential);
                }
                Err(error) => return Err(error),
            }
        }
        if redefining.is_some() {
            // It is the last. Only the statement that stores the response is prepared behind it.
            session.redefine();
        }
        Ok(BatchStrategy::Pipelined)
    }

    /// The opening of the transaction and the statements.
    fn steps<'s>(&self, opening: &'s Opening) -> Result<Vec<PipelineStep<'s>>>
    where
        'a: 's,
    {
        let mut steps = opening.steps()?;
        let statements = self.batch.statements.iter().zip(&self.statements);
        for (index, (statement, prepared)) in statements.enumerate() {
            let parameters = prepared.encode(&statement.parameters);
            let parameters = parameters.map_err(|error| error.with_failed_statement(index))?;
            steps.push(PipelineStep::Statement(Arc::clone(prepared), parameters));
        }
        Ok(steps)
    }

    /// Sends the opening, the statements, the number of the transaction and the commit at once.
    async fn in_one_pipeline(mut self) -> AttemptResult<BatchResult> {
        let Batch { mode, dry_run, max_rows, max_bytes, .. } = *self.batch;
        let (last, end) = if dry_run {
            ([check_of_constraints(&mut self.session), "ROLLBACK"], PipelineEnd::NoCommit)
        } else {
            let xid = xid_of(&mut self.session);
            ([xid, commit_of(&mut self.session)], PipelineEnd::Commit)
        };
        let opening = self.take_opening();
        let mut steps = self.steps(&opening)?;
        steps.extend(last.map(PipelineStep::script));
        let mut quota = ResultQuota::new(max_rows, max_bytes);
        let mut responses = self.session.send_pipeline(steps, &quota, end).await?;
        let opened = opening.check(&mut self.session, &mut responses);
        let results = opened.and_then(|()| self.results(&mut responses, opening.len()));
        let results = results.map_err(|error| self.session.attempt_error(error))?;
        let checked = self.check(&results, &mut quota);
        let [first, second] = [responses.next(), responses.next()];
        if dry_run {
            // As in the run that it rehearses, before deferred constraints.
            checked.map_err(|error| error.with_outcome(Outcome::NotApplied))?;
            self.session.step_output(first, "")?;
            let output = self.session.step_output(second, "");
            output.map_err(|error| of_own_statement(error, &self.session.database.name))?;
        } else {
            // Without a number nothing was written before the commit, and a read writes nothing in it.
            let has_written = !matches!(first, Some(Ok(StepOutput::Script(None))));
            let may_write = self.session.work.may_write || has_written;
            let xid = number(&mut self.session, first)?;
            let end = responses.transaction_end();
            conclude(self.session, CommitAnswers { xid, commit: second, end }).await?;
            let applied = may_write && !mode.read_only;
            let outcome = if applied { Outcome::Applied } else { Outcome::NotApplied };
            checked.map_err(|error| error.with_outcome(outcome))?;
        }
        Ok(BatchResult { results, replayed: false })
    }

    /// Sends the opening, the claim of the key and the statements; then, once their results are known, the
    /// response to store, the number of the transaction and the commit.
    async fn in_two_pipelines(mut self) -> AttemptResult<BatchResult> {
        let Batch { ref key, max_rows, max_bytes, .. } = *self.batch;
        let database = Arc::clone(&self.session.database);
        let claim_values = key.as_ref().map(|key| database.key_table.claim_values(key));
        let opening = self.take_opening();
        let mut steps = self.steps(&opening)?;
        if let (Some((_, claim)), Some(values)) = (&self.claim, &claim_values) {
            let claim = PipelineStep::OwnStatement(Arc::clone(claim), claim.encode(values)?);
            steps.insert(opening.len(), claim);
        }
        let mut quota = ResultQuota::new(max_rows, max_bytes);
        let open = PipelineEnd::NoCommit;
        let mut responses = self.session.send_pipeline(steps, &quota, open).await?;
        if let Err(error) = opening.check(&mut self.session, &mut responses) {
            return Err(self.session.abort(error).await);
        }
        if let Some((key, _)) = self.claim
            && let Some(failed) = responses.take_error(0)
        {
            // The results may be stored under the key.
            let error = self.session.step_failed(failed, "");
            let row = conflicting_row(&mut self.session, error, key).await;
            let replayed = row.and_then(|row| row.replay(key));
            return replayed.map_err(|error| self.session.attempt_error(error));
        }
        let checked = self.results(&mut responses, opening.len()).and_then(|results| {
            let checked = self.check(&results, &mut quota);
            checked.map_err(|error| with_claimed_key(key.as_ref(), error)).map(|()| results)
        });
        match checked {
            Ok(results) => Ok(end(self.batch, self.session, results).await?),
            Err(error) => Err(self.session.abort(error).await),
        }
    }

    /// Takes the opening, which was prepared with the statements.
    fn take_opening(&mut self) -> Opening {
        self.opening.take().expect("a run is prepared before it is sent")
    }

    /// Checks the results for what may not be committed: their size, and unexpected counts of rows.
    fn check(&self, results: &[ResultSet], quota: &mut ResultQuota) -> Result<()> {
        check_results(self.batch, results, quota)?;
        for (index, (statement, result)) in self.batch.statements.iter().zip(results).enumerate() {
            if let Some(expect) = statement.expect {
                let checked = expect.check(result.rows_affected);
                checked.map_err(|error| error.with_failed_statement(index))?;
            }
        }
        Ok(())
    }

    /// Returns the results of the statements, or the first error. They are behind the opening, which was `opened` with
    /// so many requests, and the claim of the key.
    fn results(
        &mut self,
        responses: &mut PipelineResponses,
        opened: usize,
    ) -> Result<Vec<ResultSet>> {
        let first_statement = opened + usize::from(self.claim.is_some());
        if self.claim.is_some() {
            let output = self.session.step_output(responses.next(), "");
            output.map_err(|error| of_own_statement(error, &self.session.database.name))?;
        }
        let mut results = Vec::with_capacity(self.statements.len());
        for (index, prepared) in self.statements.iter().enumerate() {
            let tag = responses.tag(first_statement + index);
            let sql = &self.batch.statements[index].sql;
            let output = self.session.step_output(responses.next(), sql);
            let result = output.and_then(|output| result_set(prepared, output, &tag));
            let claimed = |error| with_claimed_key(self.batch.key.as_ref(), error);
            results.push(result.map_err(|error| claimed(error).with_failed_statement(index))?);
        }
        Ok(results)
    }
}
