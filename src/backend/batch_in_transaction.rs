//! The statements of a batch in an open transaction, one by one, for any backend.

use std::sync::Arc;

use super::result_quota::ResultQuota;
use super::result_reference::resolved;
use super::row_stream::{Fill, RowSink, RowStream, fill};
use super::statement::{Batch, Delivery, Statement};
use super::transaction::Transaction;
use crate::error::{Error, Result};
use crate::value::proto::ResultSet;

/// The bytes of rows that are taken in one turn.
const TURN_SIZE: usize = 64 << 10;

/// Runs the statements in order, each when the one before it has ended, until one fails.
pub(crate) async fn one_by_one(
    transaction: &mut dyn Transaction,
    batch: &Batch,
) -> Result<Vec<ResultSet>> {
    let mut quota = ResultQuota::new(batch.max_rows, batch.max_bytes);
    let mut results = Vec::with_capacity(batch.statements.len());
    for (index, one) in batch.statements.iter().enumerate() {
        let failed = |error: Error| error.with_failed_statement(index);
        let parameters = resolved(&one.parameters, &results, batch.max_bytes).map_err(failed)?;
        let statement = Statement {
            sql: one.sql.clone(),
            parameters: parameters.into_owned(),
            analysis: Arc::clone(&one.analysis),
            read_only: false,
            delivery: Delivery::Streamed,
            describe_columns: false,
            needs_names: false,
            preamble: batch.preamble.clone(),
            deadline: batch.deadline,
            context: Arc::clone(&batch.context),
        };
        let rows = transaction.query(Arc::new(statement)).await.map_err(failed)?;
        let result = collect(rows, &mut quota).await.map_err(failed)?;
        if let Some(expect) = one.expect {
            expect.check(result.rows_affected).map_err(failed)?;
        }
        results.push(result);
    }
    batch.check_response(&results)?;
    Ok(results)
}

/// Takes all rows of a statement, within the quota.
async fn collect(mut rows: Box<dyn RowStream + '_>, quota: &mut ResultQuota) -> Result<ResultSet> {
    let has_columns = rows.columns().is_some();
    let columns = rows.columns().unwrap_or_default().to_vec();
    let mut sink = RowSink::of_result(TURN_SIZE);
    let mut filled = if has_columns { Fill::Full } else { Fill::Done };
    while filled == Fill::Full {
        filled = fill(&mut *rows, &mut sink).await?;
        let is_taken = sink.check().and_then(|()| quota.take_all(sink.len(), sink.bytes));
        if let Err(error) = is_taken {
            rows.abandon().await;
            return Err(error);
        }
        sink.clear();
    }
    let encoded = sink.take();
    let end = rows.finish().await?;
    let result = ResultSet { has_columns, columns, encoded, ..ResultSet::default() };
    Ok(ResultSet { rows_affected: end.rows_affected, command: end.command, ..result })
}
