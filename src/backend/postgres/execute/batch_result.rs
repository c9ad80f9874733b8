//! The results of a batch, and the checks on them.

use super::command_tag::completion;
use crate::backend::Batch;
use crate::backend::postgres::connection::pipeline::ResultQuota;
use crate::backend::postgres::connection::prepared::Prepared;
use crate::backend::postgres::session::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::value::Row;
use crate::value::proto::ResultSet;

/// Checks deferred constraints before the commit.
pub(crate) const CHECK_CONSTRAINTS: &str = "SET CONSTRAINTS ALL IMMEDIATE";

/// The result of one statement.
pub(crate) fn result_set(prepared: &Prepared, rows: Vec<Row>, tag: &str) -> ResultSet {
    let completion = completion(tag);
    ResultSet {
        has_columns: prepared.columns.is_some(),
        columns: prepared.columns.clone().unwrap_or_default(),
        rows,
        rows_affected: completion.rows_affected,
        command: completion.command,
    }
}

/// Checks that the results are within the limits of the batch.
pub(crate) fn check_size(batch: &Batch, results: &[ResultSet], quota: &ResultQuota) -> Result<()> {
    if let Some(message) = quota.exceeded() {
        return Err(Error::new(ErrorKind::ResultTooLarge, message).with_hint(
            "Select less, use StreamQuery or Transact, or raise max_rows and max_bytes.",
        ));
    }
    batch.check_response(results)
}

/// Ends a dry run: checks deferred constraints, and rolls back.
pub(crate) async fn end_dry_run(mut session: Session) -> Result<()> {
    let checked = session.run(CHECK_CONSTRAINTS).await;
    session.roll_back().await;
    checked
}
