//! A batch statement by statement: where one needs what an earlier one creates, they cannot be prepared
//! before they run; where one refers to an earlier result, its parameters are not known.

use std::sync::Arc;

use super::batch_result::{check_results, end, result_set};
use super::opening::open;
use crate::backend::attempt::AttemptResult;
use crate::backend::postgres::connection::pipeline::{PipelineEnd, PipelineStep};
use crate::backend::postgres::idempotency::{claim, with_claimed_key};
use crate::backend::postgres::session::Session;
use crate::backend::postgres::session::effects::StatementEffects;
use crate::backend::result_quota::ResultQuota;
use crate::backend::result_reference::resolved;
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
    match run_statements(batch, strategy, &mut session).await {
        Ok(done) if done.replayed => Ok(done),
        Ok(done) => Ok(end(batch, session, done.results).await?),
        Err(error) => Err(session.abort(error).await),
    }
}

/// Opens a transaction and runs the statements, unless their results are stored under the key.
async fn run_statements(
    batch: &Batch,
    strategy: BatchStrategy,
    session: &mut Session,
) -> Result<BatchResult> {
    let key = batch.key.as_ref();
    session.hide_sequences().await?;
    open(session, batch.mode, &batch.preamble).await?;
    if let Some(key) = key
        && let Some(row) = claim(session, key).await?
    {
        return row.replay(key);
    }
    let claimed = |error| with_claimed_key(key, error);
    let mut quota = ResultQuota::new(batch.max_rows, batch.max_bytes);
    let mut results = Vec::with_capacity(batch.statements.len());
    for (index, statement) in batch.statements.iter().enumerate() {
        let result = run_statement(session, statement, &results, &quota, batch.max_bytes).await;
        let failed = |error| claimed(error).with_failed_statement(index);
        let (result, effects) = result.map_err(failed)?;
        if strategy == BatchStrategy::Sequential {
            session.redefine();
        } else if index + 1 < batch.statements.len()
            || key.is_some()
            || invalidates_plans(&statement.sql, &statement.analysis)
        {
            // Whatever code the last one ran: nothing is prepared behind it.
            session.has_run(&statement.sql, &statement.analysis, effects);
        }
        if let Some(expect) = statement.expect {
            expect.check(result.rows_affected).map_err(failed)?;
        }
        results.push(result);
    }
    check_results(batch, &results, &mut quota).map_err(claimed)?;
    Ok(BatchResult { results, replayed: false })
}

async fn run_statement(
    session: &mut Session,
    statement: &BatchStatement,
    earlier: &[ResultSet],
    quota: &ResultQuota,
    max_bytes: u64,
) -> Result<(ResultSet, StatementEffects)> {
    let values = resolved(&statement.parameters, earlier, max_bytes)?;
    let effects = session.effects_of(&statement.analysis).await?;
    let (prepared, parameters) = session.prepare_with(&statement.sql, &values).await?;
    session.effects_with_parameters(effects, &prepared).await?;
    let steps = vec![PipelineStep::Statement(Arc::clone(&prepared), parameters)];
    let mut responses = session.send_pipeline(steps, quota, PipelineEnd::NoCommit).await?;
    let tag = responses.tag(0);
    let output = session.step_output(responses.next(), &statement.sql)?;
    let result = result_set(&prepared, output, &tag)?;
    Ok((result, effects))
}
