//! A unit of work statement by statement: where one needs what an earlier one makes, they cannot be
//! prepared before they run.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::batch_pipelined::{CHECK_CONSTRAINTS, result_set, too_large};
use crate::backend::idempotency::in_progress;
use crate::backend::postgres::codec;
use crate::backend::postgres::commit::{begin, controls_transaction, was_controlled};
use crate::backend::postgres::connection::pipeline::{Answer, Pipeline, ResultQuota, Step};
use crate::backend::postgres::idempotency::key_table;
use crate::backend::postgres::idempotency::key_table::Conflict;
use crate::backend::postgres::session::Session;
use crate::backend::postgres::session::failure::RetryScope;
use crate::backend::{Batch, BatchResult, BatchStatement};
use crate::error::{Error, Result};
use crate::sql::invalidates_plans;
use crate::value::proto::ResultSet;

/// Runs a unit once; an error says whether another connection may do better.
pub(crate) async fn run(
    batch: &Batch,
    mut session: Session,
    incarnation: &str,
) -> std::result::Result<BatchResult, (Error, RetryScope)> {
    let key = batch.key.as_ref();
    let results = match statements(batch, &mut session).await {
        Ok(Done::Results(results)) => results,
        Ok(Done::Replayed(result)) => return Ok(result),
        Err(error) => {
            let again = session.again;
            session.roll_back().await;
            return Err((error, again));
        }
    };
    let ended = if batch.dry_run {
        let checked = session.run(batch.deadline, CHECK_CONSTRAINTS).await;
        session.roll_back().await;
        checked
    } else {
        session.store_and_commit(key, &results, incarnation, batch.deadline).await
    };
    match ended {
        Ok(()) => Ok(BatchResult { results, replayed: false }),
        Err(error) => Err((error, RetryScope::No)),
    }
}

enum Done {
    Results(Vec<ResultSet>),
    Replayed(BatchResult),
}

async fn statements(batch: &Batch, session: &mut Session) -> Result<Done> {
    let deadline = batch.deadline;
    session.run(deadline, &begin(batch.mode)).await?;
    if let Some(key) = &batch.key {
        let keys = session.keys(deadline).await?;
        let claimed = session.execute(deadline, &keys.claim, &keys.claiming(key)).await;
        if let Err(error) = claimed {
            return match session.claim_failed(error, key, deadline).await? {
                Conflict::Replayed(result) => Ok(Done::Replayed(result)),
                Conflict::Gone => Err(in_progress()),
            };
        }
    }
    let room = ResultQuota::new(batch.max_rows, batch.max_bytes);
    let mut results = Vec::with_capacity(batch.statements.len());
    for (index, one) in batch.statements.iter().enumerate() {
        let result = statement(batch, session, one, &room).await;
        let result = result.map_err(|error| key_table::had(batch.key.as_ref(), error));
        results.push(result.map_err(|error| error.with_failed_statement(index))?);
    }
    let checked = match room.exceeded() {
        Some(message) => Err(too_large(message)),
        None => batch.check_response(&results),
    };
    checked.map_err(|error| key_table::had(batch.key.as_ref(), error))?;
    Ok(Done::Results(results))
}

async fn statement(
    batch: &Batch,
    session: &mut Session,
    one: &BatchStatement,
    room: &ResultQuota,
) -> Result<ResultSet> {
    let prepared = session.prepare(batch.deadline, &one.sql).await?;
    let parameters = codec::encode(&one.parameters, prepared.statement.params())?;
    let steps = vec![Step::Statement(Arc::clone(&prepared), parameters)];
    let mut landing =
        session.send_pipeline(batch.deadline, Pipeline { steps, room, commits: false }).await?;
    let tag = landing.tag(0);
    let rows = match landing.next() {
        Some(Ok(Answer::Rows(rows))) => rows,
        Some(Ok(Answer::Script(_))) => Vec::new(),
        Some(Err(failure)) => return Err(session.misfortune(failure, &one.sql)),
        None => return Err(session.deadline_passed()),
    };
    if controls_transaction(&tag) {
        return Err(was_controlled());
    }
    if batch.is_piecemeal.load(Relaxed) || invalidates_plans(&one.sql, &one.analysis) {
        session.redefine();
    }
    let result = result_set(&prepared, rows, &tag);
    if let Some(expect) = one.expect {
        expect.check(result.rows_affected)?;
    }
    Ok(result)
}
