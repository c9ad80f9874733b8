//! Batches on a connection's own thread.
//!
//! There is one writer, so a batch that has its transaction has the database: two batches under one key
//! simply queue. A failure leaves the transaction open; [`Session::reset`] rolls it back before
//! the caller is answered.

use std::time::Instant;

use super::statement_run::{Access, RowConsumer, run_in_transaction};
use crate::backend::result_reference::resolved;
use crate::backend::sqlite::idempotency;
use crate::backend::sqlite::row_channel::{ResultHeader, RowSender};
use crate::backend::sqlite::session::Session;
use crate::backend::{Batch, BatchResult, BatchStatement, Completion};
use crate::error::{Error, ErrorKind, Result};
use crate::value::proto::ResultSet;
use crate::value::{RowEncoder, RowsField, Value, size_in_field};
use crate::wire_size::widen;

/// Runs a batch once. An error names the statement that failed; nothing of the batch is applied then.
pub(crate) fn run_batch(
    session: &mut Session,
    batch: &Batch,
    sender: &RowSender<BatchResult>,
) -> Result<BatchResult> {
    session.begin()?;
    let done = run_statements(session, batch, sender, sender.deadline())?;
    if done.replayed {
        return Ok(done);
    }
    if batch.dry_run {
        session.check_open()?;
        session.rehearse_commit()?;
    } else {
        session.commit(sender)?;
    }
    Ok(done)
}

/// Runs the statements of a batch in the open transaction, until `until` at most, unless their results are stored
/// under its key.
pub(crate) fn run_statements(
    session: &mut Session,
    batch: &Batch,
    sender: &RowSender<BatchResult>,
    until: Instant,
) -> Result<BatchResult> {
    if let Some(key) = &batch.key
        && let Some(claimed) = idempotency::claim(session, key)?
    {
        return claimed.replay(key);
    }
    let mut quota = ResultQuota { rows: batch.max_rows, bytes: batch.max_bytes, batch };
    let mut results = Vec::with_capacity(batch.statements.len());
    for (index, one) in batch.statements.iter().enumerate() {
        // A statement of few steps ends before SQLite looks.
        sender.check()?;
        // Each statement has a time limit of its own.
        let own = Instant::now() + session.config.statement_timeout;
        session.arm(sender, own.min(until))?;
        let parameters = resolved(&one.parameters, &results, batch.max_bytes);
        let result =
            parameters.and_then(|parameters| run_one(session, one, &parameters, &mut quota));
        results.push(result.map_err(|error| error.with_failed_statement(index))?);
    }
    batch.check_response(&results)?;
    if let Some(key) = &batch.key {
        idempotency::store(session, key, &results)?;
    }
    Ok(BatchResult { results, replayed: false })
}

fn run_one(
    session: &mut Session,
    one: &BatchStatement,
    parameters: &[Value],
    quota: &mut ResultQuota<'_>,
) -> Result<ResultSet> {
    let access = Access::of(quota.batch.mode.read_only);
    let encoder = RowEncoder::new(RowsField::OfResult);
    let mut rows = BatchRows { result: ResultSet::default(), encoder, quota };
    let completion = run_in_transaction(session, &one.sql, parameters, access, &mut rows)?;
    if let Some(expect) = one.expect {
        expect.check(completion.rows_affected)?;
    }
    let encoded = rows.encoder.take();
    let Completion { rows_affected, command } = completion;
    Ok(ResultSet { encoded, rows_affected, command, ..rows.result })
}

/// The rest of the result size that a batch is allowed.
struct ResultQuota<'a> {
    rows: u64,
    bytes: u64,
    batch: &'a Batch,
}

/// The rows of one statement of a batch.
struct BatchRows<'q, 'b> {
    result: ResultSet,
    encoder: RowEncoder,
    quota: &'q mut ResultQuota<'b>,
}

impl RowConsumer for BatchRows<'_, '_> {
    fn start(&mut self, header: ResultHeader) {
        self.result.has_columns = true;
        self.result.columns = header.columns;
    }

    fn push(&mut self, row: &[u8]) -> Result<()> {
        let size = widen(size_in_field(row.len()));
        let ResultQuota { rows, bytes, batch } = &mut *self.quota;
        let message = if *rows == 0 {
            format!("the results have more than {} rows", batch.max_rows)
        } else if *bytes < size {
            format!("the results are larger than {} bytes", batch.max_bytes)
        } else {
            *rows -= 1;
            *bytes -= size;
            self.encoder.push(row);
            return Ok(());
        };
        Err(Error::new(ErrorKind::ResultTooLarge, message).with_hint(
            "Select less, use StreamQuery or Transact, or raise max_rows and max_bytes.",
        ))
    }
}
