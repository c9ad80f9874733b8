//! A batch statement by statement: where one needs what an earlier one creates, they cannot be prepared
//! before they run.

use std::sync::Arc;

use super::batch_result::{check_size, end_dry_run, result_set};
use super::command_tag::controls_transaction;
use crate::backend::postgres::commit::{begin, store_and_commit, transaction_controlled};
use crate::backend::postgres::connection::pipeline::{
    PipelineEnd, PipelineStep, ResultQuota, StepOutput,
};
use crate::backend::postgres::idempotency::{claim, with_claimed_key};
use crate::backend::postgres::session::Session;
use crate::backend::postgres::session::attempt::AttemptResult;
use crate::backend::{Batch, BatchResult, BatchStatement, BatchStrategy};
use crate::error::Result;
use crate::sql::invalidates_plans;
use crate::value::proto::ResultSet;

/// Runs a batch once.
pub(crate) async fn run(
    batch: &Batch,
    strategy: BatchStrategy,
    mut session: Session,
) -> AttemptResult<BatchResult> {
    let done = match run_statements(batch, strategy, &mut session).await {
        Ok(done) => done,
        Err(error) => return Err(session.abort(error).await),
    };
    if done.replayed {
        return Ok(done);
    }
    if batch.dry_run {
        end_dry_run(session).await?;
    } else {
        store_and_commit(session, batch.key.as_ref(), &done.results).await?;
    }
    Ok(done)
}

/// Opens a transaction and runs the statements, unless their results are stored under the key.
async fn run_statements(
    batch: &Batch,
    strategy: BatchStrategy,
    session: &mut Session,
) -> Result<BatchResult> {
    let key = batch.key.as_ref();
    session.run(&begin(batch.mode)).await?;
    if let Some(key) = key
        && let Some(row) = claim(session, key).await?
    {
        return row.replay(key);
    }
    let quota = ResultQuota::new(batch.max_rows, batch.max_bytes);
    let mut results = Vec::with_capacity(batch.statements.len());
    for (index, statement) in batch.statements.iter().enumerate() {
        let result = run_statement(strategy, session, statement, &quota).await;
        let result = result.map_err(|error| with_claimed_key(key, error));
        results.push(result.map_err(|error| error.with_failed_statement(index))?);
    }
    let checked = check_size(batch, &results, &quota);
    checked.map_err(|error| with_claimed_key(key, error))?;
    Ok(BatchResult { results, replayed: false })
}

async fn run_statement(
    strategy: BatchStrategy,
    session: &mut Session,
    statement: &BatchStatement,
    quota: &ResultQuota,
) -> Result<ResultSet> {
    let prepared = session.prepare(&statement.sql).await?;
    let parameters = prepared.encode(&statement.parameters)?;
    let steps = vec![PipelineStep::Statement(Arc::clone(&prepared), parameters)];
    let mut responses = session.send_pipeline(steps, quota, PipelineEnd::NoCommit).await?;
    let tag = responses.tag(0);
    let rows = match session.step_output(responses.next(), &statement.sql)? {
        StepOutput::Rows(rows) => rows,
        StepOutput::Script(_) => Vec::new(),
    };
    if controls_transaction(&tag) {
        return Err(transaction_controlled());
    }
    if strategy == BatchStrategy::Sequential
        || invalidates_plans(&statement.sql, &statement.analysis)
    {
        session.redefine();
    }
    let result = result_set(&prepared, rows, &tag);
    if let Some(expect) = statement.expect {
        expect.check(result.rows_affected)?;
    }
    Ok(result)
}
