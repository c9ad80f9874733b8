//! ExecuteBatch: statements that are applied together.
//!
//! The attempts run in the caller's future, as those of a query do. Dropped with it, an attempt is
//! cancelled and rolled back at once, unless its commit was sent: that one the backend's own task
//! finishes, so that nothing here has to outlive the caller.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::attempt_loop::{Success, retry};
use super::validate::{Place, check_key, check_tag, read_only, timeout, transaction_mode};
use super::{Caller, Database, Engine, request_hash, widen};
use crate::backend::{Batch, BatchResult, BatchStatement, Expect, IdempotencyKey, TransactionMode};
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::resilience::{Attempts, Unit};
use crate::value::proto::expectation::Rows;
use crate::value::proto::{
    BatchStatement as WireStatement, ExecuteBatchRequest, ExecuteBatchResponse, Expectation,
    QueryOptions, TransactionOptions,
};

impl Engine {
    /// Runs statements in one transaction, as often as it takes and is allowed.
    ///
    /// # Errors
    /// Why it was not applied, and which statement is to blame; the outcome is in the error.
    ///
    /// # Cancel safety
    /// As [`crate::backend::Backend::execute_batch`].
    pub async fn execute_batch(
        &self,
        request: ExecuteBatchRequest,
        caller: impl Into<Caller>,
    ) -> Result<ExecuteBatchResponse> {
        let database = self.database(&request.database)?;
        let max = Some(request.max_attempts).filter(|max| *max > 0);
        let idempotent = request.options.as_ref().is_some_and(|options| options.idempotent);
        let limit = widen(self.response_limit);
        let batch = database.admit_batch(request, limit, &caller.into())?;
        let unit = match (&batch.key, idempotent) {
            (Some(_), _) => Unit::Keyed,
            (None, true) => Unit::Idempotent,
            (None, false) => Unit::Batch,
        };
        let attempts = database.retries.start(unit, max);
        database.count_transaction();
        let done = database.run(batch, attempts).await?;
        let Success { value: BatchResult { results, replayed }, attempts } = done;
        Ok(ExecuteBatchResponse { results, attempts, replayed })
    }
}

impl Database {
    /// Runs a unit until an attempt succeeds or fails for good.
    pub(crate) async fn run(
        &self,
        batch: Batch,
        attempts: Attempts<'_>,
    ) -> Result<Success<BatchResult>> {
        let deadline = batch.deadline;
        let leaves_nothing = batch.dry_run || batch.mode.read_only;
        let batch = Arc::new(batch);
        let attempt = || self.backend.execute_batch(Arc::clone(&batch));
        let done = retry(batch.context.telemetry(), attempts, deadline, attempt).await;
        let done = done.map_err(|error| blame_field(batch.context.explain(error)))?;
        // The backend has seen to it but for what it replays.
        match batch.check_response(&done.value.results) {
            Ok(()) => Ok(done),
            Err(error) if leaves_nothing => Err(error),
            Err(error) => Err(error.with_outcome(Outcome::Applied)),
        }
    }

    fn admit_batch(
        &self,
        request: ExecuteBatchRequest,
        max_response: u64,
        caller: &Caller,
    ) -> Result<Batch> {
        let count = request.statements.len();
        if !(1..=self.max_batch).contains(&count) {
            let description =
                format!("a batch has 1 to {} statements, not {count}", self.max_batch);
            return Err(Error::field(ErrorKind::InvalidParameter, "statements", description));
        }
        let options = request.options.clone().unwrap_or_default();
        check_options(&options)?;
        let mode = mode(&request.transaction.unwrap_or_default())?;
        let timeout = timeout(&options)?;
        let key = key(&request, &options, mode, &self.name)?;
        let deadline = self.deadline(super::now(), caller.time_left, timeout);
        let bounds = self.caps.lowered(&options);
        let statements = request.statements.into_iter().enumerate();
        let statements = statements
            .map(|(index, statement)| self.admit_one(index, statement))
            .collect::<Result<Vec<_>>>()?;
        let context = caller.context(&self.name, "ExecuteBatch", &options.tag);
        if let Some(first) = statements.first() {
            context.runs(&first.analysis.summary);
        }
        Ok(Batch {
            statements,
            mode,
            key,
            dry_run: request.dry_run,
            max_rows: bounds.rows,
            max_bytes: bounds.bytes,
            max_response,
            deadline,
            context,
            is_piecemeal: AtomicBool::new(false),
        })
    }

    fn admit_one(&self, index: usize, statement: WireStatement) -> Result<BatchStatement> {
        let WireStatement { sql, parameters, expect } = statement;
        let place = Place::Batch(index);
        let analysis = self.admit_statement(&sql, &parameters, place)?;
        let expect = expect.map(|expect| expectation(expect, place)).transpose();
        let expect = expect.map_err(|error| error.with_failed_statement(index))?;
        Ok(BatchStatement { sql, parameters, analysis, expect })
    }
}

fn check_options(options: &QueryOptions) -> Result<()> {
    check_tag(&options.tag, "options.tag")?;
    let field = "options.access_mode";
    read_only(options.access_mode, field)?;
    if options.access_mode != 0 {
        let description = "the access mode of a batch is transaction.access_mode";
        return Err(Error::field(ErrorKind::InvalidOption, field, description));
    }
    Ok(())
}

fn mode(options: &TransactionOptions) -> Result<TransactionMode> {
    let interactive =
        [("idle_timeout", options.idle_timeout), ("max_duration", options.max_duration)];
    if let Some((name, _)) = interactive.iter().find(|(_, duration)| duration.is_some()) {
        let description = "this is for Transact; a batch has options.timeout";
        let field = format!("transaction.{name}");
        return Err(Error::field(ErrorKind::InvalidOption, field, description));
    }
    transaction_mode(options, "transaction")
}

fn key(
    request: &ExecuteBatchRequest,
    options: &QueryOptions,
    mode: TransactionMode,
    database: &str,
) -> Result<Option<IdempotencyKey>> {
    let (field, key) = ("options.idempotency_key", &options.idempotency_key);
    if key.is_empty() {
        return Ok(None);
    }
    check_key(key, field)?;
    if request.dry_run || mode.read_only {
        let what = if request.dry_run { "dry_run" } else { "READ_ONLY" };
        let description = format!("nothing that is {what} is kept under a key");
        return Err(Error::field(ErrorKind::InvalidOption, field, description));
    }
    let request_hash = request_hash::of_batch(request, database);
    Ok(Some(IdempotencyKey { caller: String::new(), key: key.clone(), request_hash }))
}

fn expectation(expectation: Expectation, place: Place) -> Result<Expect> {
    match expectation.rows {
        Some(Rows::Exactly(count)) => Ok(Expect::Exactly(count)),
        Some(Rows::AtLeast(count)) => Ok(Expect::AtLeast(count)),
        Some(Rows::AtMost(count)) => Ok(Expect::AtMost(count)),
        None => {
            let description = "none of exactly, at_least and at_most is set";
            let field = place.field("expect");
            Err(Error::field(ErrorKind::InvalidParameter, field, description))
        }
    }
}

/// Backends name fields within a statement; callers know them within the batch.
fn blame_field(error: Error) -> Error {
    let Some(index) = error.failed_statement() else { return error };
    let root = format!("statements[{index}].");
    error.with_field(|path| match path.starts_with("statements[") {
        true => path.to_owned(),
        false => format!("{root}{path}"),
    })
}
