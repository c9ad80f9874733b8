//! A batch in a transaction: statements in one command, and their results in one reply.

use std::sync::Arc;

use super::begin::OpenTransaction;
use super::run_statement::check_options;
use crate::backend::{Batch, Preamble, TransactionMode};
use crate::engine::database::Caller;
use crate::engine::databases::Engine;
use crate::engine::execute_batch::with_path_in_batch;
use crate::engine::validate::positive;
use crate::error::Result;
use crate::value::proto::{ResultSet, TransactBatch};
use crate::wire_size::{REPLY_OVERHEAD, widen};

/// Runs the statements, and returns a result for each.
pub(super) async fn run(
    engine: &Engine,
    command: TransactBatch,
    open: &mut OpenTransaction,
    caller: &Caller,
) -> Result<Vec<ResultSet>> {
    let batch = validate(engine, command, open, caller)?;
    open.transaction.batch(&batch).await.map_err(with_path_in_batch)
}

fn validate(
    engine: &Engine,
    command: TransactBatch,
    open: &OpenTransaction,
    caller: &Caller,
) -> Result<Batch> {
    let TransactBatch { statements, options } = command;
    let database = &open.database;
    database.check_batch_size(statements.len(), caller)?;
    let statements = database.validate_batch_statements(statements)?;
    let options = options.unwrap_or_default();
    check_options(&options)?;
    let timeout = positive(options.timeout, "options.timeout")?;
    let bounds = database.bounds(caller).lowered(&options);
    if let Some(first) = statements.first() {
        open.context.runs(&first.analysis.summary);
    }
    Ok(Batch {
        statements,
        // The mode, the key and the settings are the transaction's.
        mode: TransactionMode::default(),
        preamble: Preamble::default(),
        key: None,
        dry_run: false,
        max_rows: bounds.rows,
        max_bytes: bounds.bytes,
        max_response: widen(engine.response_limit - REPLY_OVERHEAD),
        deadline: open.limits.command_deadline(database, timeout),
        context: Arc::clone(&open.context),
    })
}
