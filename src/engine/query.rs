//! Query: one statement, a bounded result.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use prost::Message;

use super::attempt_loop::{Success, retry};
use super::validate::{Bounds, check_key};
use super::{Caller, Database, Engine, request_hash, widen};
use crate::backend::{
    Batch, BatchStatement, Fill, IdempotencyKey, RowSink, Statement, TransactionMode, fill,
    response_too_large,
};
use crate::error::{Error, ErrorKind, Result};
use crate::resilience::Unit;
use crate::value::proto::{QueryOptions, QueryRequest, QueryResponse, ResultSet};

/// Rows are taken from the backend in portions of this size, in bytes.
const PORTION: usize = 64 << 10;

/// What a response has around its result, in bytes at most: tags, lengths, counters.
const ENVELOPE: u64 = 64;

/// How operators see these calls.
const RPC: &str = "Query";

impl Engine {
    /// Runs one statement and returns its whole result, after as many attempts as it takes and is
    /// allowed.
    ///
    /// # Errors
    /// Why it did not run, or `ResultTooLarge`; the outcome is in the error.
    ///
    /// # Cancel safety
    /// As [`crate::backend::Backend::execute`], and with an idempotency key
    /// [`crate::backend::Backend::execute_batch`].
    pub async fn query(
        &self,
        request: QueryRequest,
        caller: impl Into<Caller>,
    ) -> Result<QueryResponse> {
        let (database, caller) = (self.database(&request.database)?, caller.into());
        if options(&request).is_some_and(|options| !options.idempotency_key.is_empty()) {
            return database.query_once(request, &caller, self.response_limit).await;
        }
        let idempotent = options(&request).is_some_and(|options| options.idempotent);
        let unit = if idempotent { Unit::Idempotent } else { Unit::Statement };
        let (statement, bounds) = database.prepare(request, &caller, RPC, database.caps)?;
        let (deadline, statement) = (statement.deadline, Arc::new(statement));
        let attempts = database.retries.start(unit, None);
        let limit = self.response_limit;
        // Nothing reaches the caller before the whole result does: an attempt may fail anywhere.
        let attempt = || database.collect(Arc::clone(&statement), bounds, limit);
        let done = retry(statement.context.telemetry(), attempts, deadline, attempt).await;
        let done = done.map_err(|error| statement.context.explain(error));
        let Success { value: result, attempts } = done?;
        Ok(QueryResponse { result: Some(result), attempts, replayed: false })
    }
}

impl Database {
    async fn collect(
        &self,
        statement: Arc<Statement>,
        bounds: Bounds,
        response_limit: usize,
    ) -> Result<ResultSet> {
        let mut stream = self.backend.execute(statement).await?;
        let mut sink = RowSink::new(PORTION);
        let columns = stream.columns().map(<[_]>::to_vec);
        let mut result = ResultSet {
            has_columns: columns.is_some(),
            columns: columns.unwrap_or_default(),
            ..ResultSet::default()
        };
        let around = ENVELOPE + widen(result.encoded_len());
        let mut bytes: u64 = 0;
        while result.has_columns {
            let filled = fill(&mut *stream, &mut sink).await?;
            bytes += widen(sink.bytes());
            result.rows.append(&mut sink.take());
            let over = bounds
                .exceeded(widen(result.rows.len()), bytes)
                .or_else(|| over_response_limit(around + bytes, response_limit));
            if let Some(error) = over {
                return Err(error.with_outcome(stream.abandon().await));
            }
            if filled == Fill::Done {
                break;
            }
        }
        let end = stream.finish().await?;
        (result.rows_affected, result.command) = (end.rows_affected, end.command);
        Ok(result)
    }

    /// Runs a query under its idempotency key: a batch of one statement.
    async fn query_once(
        &self,
        request: QueryRequest,
        caller: &Caller,
        response_limit: usize,
    ) -> Result<QueryResponse> {
        let field = "options.idempotency_key";
        let key = options(&request).map(|options| options.idempotency_key.clone());
        let key = key.unwrap_or_default();
        check_key(&key, field)?;
        let request_hash = request_hash::of_query(&request, &self.name);
        let (statement, bounds) = self.prepare(request, caller, RPC, self.caps)?;
        let Statement { sql, parameters, analysis, read_only, deadline, context } = statement;
        if read_only {
            let description = "nothing that is READ_ONLY is kept under a key";
            return Err(Error::field(ErrorKind::InvalidOption, field, description));
        }
        let batch = Batch {
            statements: vec![BatchStatement { sql, parameters, analysis, expect: None }],
            mode: TransactionMode::default(),
            key: Some(IdempotencyKey { caller: String::new(), key, request_hash }),
            dry_run: false,
            max_rows: bounds.rows,
            max_bytes: bounds.bytes,
            max_response: widen(response_limit),
            deadline,
            context,
            is_piecemeal: AtomicBool::new(false),
        };
        let attempts = self.retries.start(Unit::Keyed, None);
        let Success { value: mut done, attempts } = self
            .run(batch, attempts)
            .await
            .map_err(|error| error.without_failed_statement().with_field(alone))?;
        Ok(QueryResponse { result: done.results.pop(), attempts, replayed: done.replayed })
    }
}

/// The error of a response that is over `grpc.max_response_size`.
pub(crate) fn over_response_limit(bytes: u64, limit: usize) -> Option<Error> {
    if bytes <= widen(limit) {
        return None;
    }
    Some(response_too_large(widen(limit)))
}

fn options(request: &QueryRequest) -> Option<&QueryOptions> {
    request.options.as_ref()
}

/// The path in a query of what stands in its batch at `path`.
fn alone(path: &str) -> String {
    path.strip_prefix("statements[0].").unwrap_or(path).to_owned()
}
