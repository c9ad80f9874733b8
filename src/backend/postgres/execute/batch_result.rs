//! The results of a batch, and the checks on them.

use super::command_tag::{Returned, completion, controls_transaction};
use crate::backend::postgres::commit::{commit, transaction_controlled};
use crate::backend::postgres::connect::capabilities::{Ability, Expected, Probe};
use crate::backend::postgres::connection::pipeline::StepOutput;
use crate::backend::postgres::connection::prepared::Prepared;
use crate::backend::postgres::idempotency::with_claimed_key;
use crate::backend::postgres::session::Session;
use crate::backend::result_quota::ResultQuota;
use crate::backend::{Batch, BatchResult, Completion};
use crate::error::Result;
use crate::value::proto::ResultSet;

/// Checks deferred constraints before the commit.
const CHECK_CONSTRAINTS: &str = "SET CONSTRAINTS ALL IMMEDIATE";

/// The question that shows whether deferred constraints can be checked.
pub(crate) fn probe() -> Probe {
    let script = format!("BEGIN; {CHECK_CONSTRAINTS}; COMMIT");
    Probe::new(Ability::DeferredConstraints, script, Expected::Answered)
}

/// The statement that checks deferred constraints, or does nothing where a server has none.
pub(crate) fn check_of_constraints(session: &mut Session) -> &'static str {
    if session.can(Ability::DeferredConstraints) { CHECK_CONSTRAINTS } else { "SELECT 1" }
}

/// The result of one statement; an error if its text controlled the transaction.
pub(crate) fn result_set(prepared: &Prepared, output: StepOutput, tag: &str) -> Result<ResultSet> {
    match output {
        StepOutput::Rows(rows) if !controls_transaction(tag) => {
            let returned = Returned::of(prepared.columns.as_deref(), usize::from(!rows.is_empty()));
            let Completion { rows_affected, command } = completion(tag, returned);
            let has_columns = prepared.columns.is_some();
            let columns = prepared.columns.clone().unwrap_or_default();
            let result = ResultSet { has_columns, columns, encoded: rows, ..ResultSet::default() };
            Ok(ResultSet { rows_affected, command, ..result })
        }
        StepOutput::Rows(_) | StepOutput::Script(_) => Err(transaction_controlled()),
    }
}

/// Checks that the results were decoded, and are within the limits of the batch.
pub(crate) fn check_results(
    batch: &Batch,
    results: &[ResultSet],
    quota: &mut ResultQuota,
) -> Result<()> {
    quota.check()?;
    batch.check_response(results)
}

/// Ends a batch whose results are known: commits it, or checks deferred constraints and rolls back.
pub(crate) async fn end(
    batch: &Batch,
    mut session: Session,
    results: Vec<ResultSet>,
) -> Result<BatchResult> {
    if batch.dry_run {
        let check = check_of_constraints(&mut session);
        let checked = session.run(check).await;
        session.roll_back_in_time().await;
        checked?;
    } else {
        let key = batch.key.as_ref();
        let committed = commit(session, key, &results).await;
        committed.map_err(|error| with_claimed_key(key, error))?;
    }
    Ok(BatchResult { results, replayed: false })
}
