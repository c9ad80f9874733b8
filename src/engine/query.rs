//! Query: one statement, a bounded result.

use std::sync::Arc;

use prost::Message;

use super::attempt_loop::{Success, retry};
use super::database::{Caller, Database};
use super::databases::Engine;
use super::request_hash;
use super::result_bounds::{ResultBounds, ResultCounter, check_response_size};
use super::row_batches::{ARROW_BATCH_SIZE, BATCH_SIZE};
use super::validate::{idempotency_key, refuse_result_options, result_format, statement_unit};
use crate::backend::{
    Batch, BatchStatement, Delivery, Fill, IdempotencyKey, JsonForm, RowSink, RowStream, Statement,
    TransactionMode, fill,
};
use crate::error::Result;
use crate::resilience::{Attempts, RetryUnit};
use crate::value::RowsField;
use crate::value::proto::{QueryRequest, QueryResponse, ResultFormat, ResultSet};
use crate::wire_size::{RESPONSE_OVERHEAD, widen};

impl Engine {
    /// Runs one statement and returns its whole result, with retries.
    ///
    /// # Cancel safety
    /// As [`crate::backend::Backend::execute`], and with an idempotency key
    /// [`crate::backend::Backend::execute_batch`].
    pub(crate) async fn query(
        &self,
        request: QueryRequest,
        caller: Caller,
    ) -> Result<QueryResponse> {
        let done = self.query_unbound(request, &caller).await;
        done.map_err(|error| self.transaction_tokens.bind(&caller.identity, error))
    }

    /// Runs it; a transaction token is not bound to the caller yet.
    async fn query_unbound(&self, request: QueryRequest, caller: &Caller) -> Result<QueryResponse> {
        let database = self.database_of(caller, &request.database)?;
        let limit = self.response_limit;
        let key = request.options.as_ref().map(|options| options.idempotency_key.clone());
        if let Some(key) = key.filter(|key| !key.is_empty()) {
            return database.query_with_key(request, &key, caller, limit).await;
        }
        let format = request.options.as_ref().map_or(Ok(ResultFormat::Rows), result_format)?;
        let unit = statement_unit(&request);
        let (statement, bounds) =
            database.validate_query(request, caller, Delivery::Whole, database.bounds(caller))?;
        let attempts = database.retries.start(unit, None);
        let is_plain = format == ResultFormat::Rows && !statement.describe_columns;
        if is_plain && !statement.preamble.is_empty() {
            let batch = batch_of(statement, bounds, None, limit);
            return database.run_query_batch(batch, attempts).await;
        }
        let statement = Arc::new(statement);
        // Nothing reaches the caller before the whole result does: every failure may be retried.
        let collector = Collector { database, bounds, response_limit: limit, format };
        let attempt = || collector.collect(Arc::clone(&statement));
        let done =
            retry(&*database.backend, &statement.context, attempts, statement.deadline, attempt)
                .await?;
        Ok(QueryResponse { result: Some(done.value), attempts: done.attempts, replayed: false })
    }
}

/// Takes whole results.
struct Collector<'a> {
    database: &'a Database,
    bounds: ResultBounds,
    response_limit: usize,
    format: ResultFormat,
}

impl Collector<'_> {
    async fn collect(&self, statement: Arc<Statement>) -> Result<ResultSet> {
        let mut stream = self.database.backend.execute(statement).await?;
        let has_columns = stream.columns().is_some();
        let columns = stream.columns().unwrap_or_default().to_vec();
        let mut sink = match self.sink(&*stream) {
            Ok(sink) => sink,
            Err(error) => return Err(error.with_outcome(stream.abandon().await)),
        };
        let mut result = ResultSet { has_columns, columns, ..ResultSet::default() };
        let overhead = widen(RESPONSE_OVERHEAD + result.encoded_len());
        let mut counter = ResultCounter { bounds: self.bounds, rows: 0, bytes: 0 };
        while result.has_columns {
            let filled = fill(&mut *stream, &mut sink).await?;
            let added = counter.add(&mut sink).and_then(|()| {
                // Encoded rows stay where they are until all are there.
                sink.clear();
                result.arrow.append(&mut sink.take_bytes(filled)?);
                let rows = counter.bytes.max(widen(result.arrow.len()));
                check_response_size(overhead + rows, self.response_limit)
            });
            if let Err(error) = added {
                return Err(error.with_outcome(stream.abandon().await));
            }
            if filled == Fill::Done {
                break;
            }
        }
        result.encoded = sink.take();
        let end = stream.finish().await?;
        Ok(ResultSet { rows_affected: end.rows_affected, command: end.command, ..result })
    }
}

impl Collector<'_> {
    /// The sink for the rows of a statement in the format that was asked for.
    fn sink(&self, stream: &dyn RowStream) -> Result<RowSink> {
        let json =
            |form| RowSink::json(stream, form, RowsField::JsonOfResult, BATCH_SIZE, usize::MAX);
        match self.format {
            ResultFormat::Arrow if stream.columns().is_some() => {
                RowSink::arrow(stream, ARROW_BATCH_SIZE)
            }
            ResultFormat::Json => json(JsonForm::Objects),
            ResultFormat::JsonArrays => json(JsonForm::Arrays),
            ResultFormat::Arrow | ResultFormat::Rows | ResultFormat::Unspecified => {
                Ok(RowSink::of_result(BATCH_SIZE))
            }
        }
    }
}

impl Database {
    /// Runs a query under its idempotency key, as a batch of one statement.
    async fn query_with_key(
        &self,
        request: QueryRequest,
        key: &str,
        caller: &Caller,
        response_limit: usize,
    ) -> Result<QueryResponse> {
        let field = "options.idempotency_key";
        if let Some(options) = &request.options {
            refuse_result_options(
                options,
                "a result in another format than rows is not stored under a key",
            )?;
        }
        let request_hash = request_hash::of_query(&request, &self.name);
        let (statement, bounds) =
            self.validate_query(request, caller, Delivery::Whole, self.bounds(caller))?;
        let unstored = statement.read_only.then_some("READ_ONLY");
        let key = idempotency_key(caller, key, field, unstored, || request_hash)?;
        let key = request_hash::with_claims(key, statement.preamble.claims.as_deref());
        let batch = batch_of(statement, bounds, key, response_limit);
        self.run_query_batch(batch, self.retries.start(RetryUnit::Keyed, None)).await
    }

    /// Runs the batch of a query: a transaction, with its truth about outcomes.
    async fn run_query_batch(&self, batch: Batch, attempts: Attempts<'_>) -> Result<QueryResponse> {
        let Success { value: mut done, attempts } =
            self.run_batch(batch, attempts).await.map_err(|error| {
                error
                    .without_failed_statement()
                    .with_field(|path| path.replace("statements[0].", ""))
            })?;
        Ok(QueryResponse { result: done.results.pop(), attempts, replayed: done.replayed })
    }
}

/// The batch that runs a query in a transaction of its own.
fn batch_of(
    statement: Statement,
    bounds: ResultBounds,
    key: Option<IdempotencyKey>,
    response_limit: usize,
) -> Batch {
    let Statement { sql, parameters, analysis, read_only, preamble, deadline, context, .. } =
        statement;
    Batch {
        statements: vec![BatchStatement { sql, parameters, analysis, expect: None }],
        mode: TransactionMode { read_only, ..TransactionMode::default() },
        preamble,
        key,
        dry_run: false,
        max_rows: bounds.rows,
        max_bytes: bounds.bytes,
        max_response: widen(response_limit),
        deadline,
        context,
    }
}
