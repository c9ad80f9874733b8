//! A batch in an open transaction, in one pipeline: nothing of it counts once a statement has failed, so none has to wait
//! for the one before it.

use std::sync::Arc;

use super::batch_result::{check_results, result_set};
use crate::backend::Batch;
use crate::backend::postgres::connection::pipeline::{PipelineEnd, PipelineStep};
use crate::backend::postgres::connection::prepared::Prepared;
use crate::backend::postgres::session::Session;
use crate::backend::result_quota::ResultQuota;
use crate::backend::result_reference::refers_to_result;
use crate::error::{Error, Result};
use crate::sql::PlanLifetime;
use crate::value::proto::ResultSet;

/// The statements of a batch, prepared to be sent together.
struct Pipeline<'a> {
    steps: Vec<PipelineStep<'a>>,
    statements: Vec<Arc<Prepared>>,
}

/// Runs a batch in one pipeline; `None` if its statements must run one by one, and none has run.
pub(super) async fn run(session: &mut Session, batch: &Batch) -> Result<Option<Vec<ResultSet>>> {
    session.begin_command(batch.deadline).await?;
    let Some(Pipeline { steps, statements }) = prepare(session, batch).await? else {
        return Ok(None);
    };
    let mut quota = ResultQuota::new(batch.max_rows, batch.max_bytes);
    let mut responses = session.send_pipeline(steps, &quota, PipelineEnd::NoCommit).await?;
    let mut results = Vec::with_capacity(statements.len());
    for (index, (one, prepared)) in batch.statements.iter().zip(&statements).enumerate() {
        let failed = |error: Error| error.with_failed_statement(index);
        let tag = responses.tag(index);
        let output = session.step_output(responses.next(), &one.sql).map_err(failed)?;
        let result = result_set(prepared, output, &tag).map_err(failed)?;
        if let Some(expect) = one.expect {
            expect.check(result.rows_affected).map_err(failed)?;
        }
        results.push(result);
    }
    check_results(batch, &results, &mut quota)?;
    Ok(Some(results))
}

/// Prepares all statements; `None` if one needs a result of another, or may change the meaning of those behind it.
async fn prepare<'a>(session: &mut Session, batch: &'a Batch) -> Result<Option<Pipeline<'a>>> {
    let mut pipeline = Pipeline { steps: Vec::new(), statements: Vec::new() };
    for (index, one) in batch.statements.iter().enumerate() {
        if refers_to_result(&one.parameters) || one.analysis.lifetime == PlanLifetime::Moment {
            return Ok(None);
        }
        let failed = |error: Error| error.with_failed_statement(index);
        let effects = session.effects_of(&one.analysis).await.map_err(failed)?;
        if effects.may_redefine(&one.sql, &one.analysis) {
            return Ok(None);
        }
        let prepared = session.prepare_with(&one.sql, &one.parameters).await;
        let (prepared, parameters) = prepared.map_err(failed)?;
        let effects = session.effects_with_parameters(effects, &prepared).await.map_err(failed)?;
        if effects.may_redefine(&one.sql, &one.analysis) {
            return Ok(None);
        }
        pipeline.steps.push(PipelineStep::Statement(Arc::clone(&prepared), parameters));
        pipeline.statements.push(prepared);
    }
    for one in &batch.statements {
        session.will_run(&one.sql, &one.analysis);
    }
    Ok(Some(pipeline))
}
