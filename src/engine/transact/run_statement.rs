//! A statement in a transaction: its rows in replies of bounded size.

use std::sync::Arc;

use prost::Message;

use super::begin::OpenTransaction;
use super::errors::CommandError;
use super::replies::{Replies, ReplyBody};
use crate::backend::{Delivery, Preamble, RowStream, Statement};
use crate::engine::databases::Engine;
use crate::engine::result_bounds::{ResultBounds, check_response_size};
use crate::engine::row_batches::{BATCH_SIZE, RowBatches};
use crate::engine::task_stream::SendFailure;
use crate::engine::validate::{
    StatementPlace, check_tag, positive, refuse_options, refuse_result_options,
};
use crate::error::{Error, ErrorKind, Result};
use crate::value::proto::{Column, QueryOptions, ResultSet, TransactQuery, TransactResult};
use crate::value::{EncodedRows, RowsField};
use crate::wire_size::{REPLY_OVERHEAD, ROW_BATCH_OVERHEAD, widen};

/// Runs a statement and replies with its result, in as many parts as it takes.
pub(super) async fn run(
    engine: &Engine,
    query: TransactQuery,
    open: &mut OpenTransaction,
    replies: &Replies,
) -> Result<(), CommandError> {
    let limits = open.limits;
    let (statement, bounds) = validate(query, open)?;
    let deadline = statement.deadline.instant();
    let mut stream = open.transaction.query(Arc::new(statement)).await?;
    let mut parts = match ResultParts::new(stream.columns(), engine.response_limit) {
        Ok(parts) => parts,
        Err(error) => return Err(abandon(stream, error).await),
    };
    let row_limit = parts.limit.saturating_sub(ROW_BATCH_OVERHEAD);
    let fair_yield = engine.fair_yields.of_this_worker();
    let mut batches = RowBatches::new(RowsField::OfResult, bounds, row_limit, fair_yield, deadline);
    let mut last = None;
    while parts.has_columns && last.is_none() {
        let batch = match batches.next(&mut *stream, BATCH_SIZE).await? {
            Ok(batch) => batch,
            Err(error) => return Err(abandon(stream, error).await),
        };
        let mut results = parts.results(batch.messages);
        if batch.is_last {
            last = Some(results.pop().unwrap_or_else(|| parts.result(EncodedRows::default())));
        }
        for result_set in results {
            let body = TransactResult { result_set: Some(result_set), more: true };
            // A slow reader must not keep the statement open beyond its deadline.
            match replies.try_send(Ok(ReplyBody::Result(body)), Some(deadline)).await {
                Ok(()) => {}
                Err(SendFailure::Late) => {
                    let message = "the deadline passed while the caller took no rows";
                    let error = Error::new(ErrorKind::DeadlineExceeded, message);
                    return Err(abandon(stream, error).await);
                }
                Err(failure) => return Err(CommandError::Stream(replies.error(failure, limits))),
            }
        }
    }
    let end = stream.finish().await?;
    let last = last.unwrap_or_else(|| parts.result(EncodedRows::default()));
    let last = ResultSet { rows_affected: end.rows_affected, command: end.command, ..last };
    let body = TransactResult { result_set: Some(last), more: false };
    replies.send(Ok(ReplyBody::Result(body)), limits).await.map_err(CommandError::Stream)
}

/// Ends a statement whose result the caller cannot have.
async fn abandon(stream: Box<dyn RowStream + '_>, error: Error) -> CommandError {
    // Its outcome does not matter: the transaction is aborted, and applies nothing of it.
    stream.abandon().await;
    CommandError::Command(error)
}

/// A result in parts, each of which fits into a message.
struct ResultParts {
    has_columns: bool,
    /// The columns, until the first part takes them.
    columns: Vec<Column>,
    columns_size: usize,
    limit: usize,
}

impl ResultParts {
    fn new(columns: Option<&[Column]>, response_limit: usize) -> Result<Self> {
        let has_columns = columns.is_some();
        let columns = columns.unwrap_or_default().to_vec();
        let header = ResultSet { columns, ..ResultSet::default() };
        let columns_size = header.encoded_len();
        check_response_size(widen(columns_size + REPLY_OVERHEAD), response_limit)?;
        let limit = response_limit - REPLY_OVERHEAD;
        Ok(Self { has_columns, columns: header.columns, columns_size, limit })
    }

    /// Makes a part of the rows of each message. Columns that do not fit beside the first rows get a part
    /// of their own.
    fn results(&mut self, messages: Vec<EncodedRows>) -> Vec<ResultSet> {
        let mut results = Vec::with_capacity(1);
        for rows in messages {
            if !self.columns.is_empty() && rows.as_bytes().len() + self.columns_size > self.limit {
                results.push(self.result(EncodedRows::default()));
            }
            results.push(self.result(rows));
        }
        results
    }

    fn result(&mut self, encoded: EncodedRows) -> ResultSet {
        let columns = std::mem::take(&mut self.columns);
        ResultSet { has_columns: self.has_columns, columns, encoded, ..ResultSet::default() }
    }
}

/// The failure of a statement that is not sent. It aborts the transaction like any other, as a commit may be on
/// its way that must not apply the rest alone. To set the mode of the transaction is no part of the work, and
/// is refused alone.
fn refused(error: Error, control: Option<&'static str>) -> CommandError {
    match control {
        Some("SET TRANSACTION" | "SET SESSION CHARACTERISTICS") => CommandError::Refused(error),
        Some(_) | None => CommandError::Command(error),
    }
}

/// Refuses the options that a command of a transaction does not have.
pub(super) fn check_options(options: &QueryOptions) -> Result<()> {
    check_tag(&options.tag, "options.tag")?;
    let has_key = !options.idempotency_key.is_empty();
    refuse_options(&[
        ("options.access_mode", options.access_mode != 0, "the access mode is set in begin"),
        ("options.idempotent", options.idempotent, "the server never retries a transaction"),
        ("options.idempotency_key", has_key, "the key is set in begin"),
        ("options.settings", !options.settings.is_empty(), "the settings are set in begin"),
    ])?;
    refuse_result_options(options, "the rows of a transaction are messages; use StreamQuery")
}

fn validate(
    query: TransactQuery,
    open: &OpenTransaction,
) -> Result<(Statement, ResultBounds), CommandError> {
    let TransactQuery { sql, parameters, options } = query;
    let place = StatementPlace::Transaction;
    let analysis = open.database.validate_statement(&sql, &parameters, place);
    let control = || open.database.analyzer.analyze(&sql).transaction_control;
    let analysis = analysis.map_err(|error| refused(error, control()))?;
    let options = options.unwrap_or_default();
    check_options(&options)?;
    let timeout = positive(options.timeout, "options.timeout")?;
    let deadline = open.limits.command_deadline(&open.database, timeout);
    // Large results come in several replies, so the server needs no cap.
    let bounds = ResultBounds::UNBOUNDED.lowered(&options);
    open.context.runs(&analysis.summary);
    let context = Arc::clone(&open.context);
    let statement = Statement {
        sql,
        parameters,
        analysis,
        // The access mode is the transaction's.
        read_only: false,
        delivery: Delivery::Streamed,
        describe_columns: false,
        needs_names: false,
        preamble: Preamble::default(),
        deadline,
        context,
    };
    Ok((statement, bounds))
}
