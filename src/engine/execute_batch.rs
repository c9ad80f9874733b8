//! ExecuteBatch: statements that are applied together.
//!
//! The attempts run in the caller's future. Dropping it rolls an attempt back, unless its COMMIT was sent: the
//! backend's own task finishes that.

use std::sync::Arc;

use parking_lot::Mutex;

use super::attempt_loop::{Success, retry};
use super::database::{Caller, Database};
use super::databases::Engine;
use super::request_hash;
use super::validate::{
    StatementPlace, check_tag, idempotency_key, positive, refuse_options, refuse_result_options,
    transaction_mode,
};
use crate::backend::{Batch, BatchResult, BatchStatement, BatchStrategy, Expect};
use crate::error::{Error, ErrorKind, Outcome, Result};
use crate::resilience::{Attempts, RetryUnit};
use crate::value::proto::expectation::Rows;
use crate::value::proto::{self, ExecuteBatchRequest, ExecuteBatchResponse};
use crate::wire_size::widen;

impl Engine {
    /// Runs statements in one transaction, with retries.
    ///
    /// # Cancel safety
    /// As [`crate::backend::Backend::execute_batch`].
    pub(crate) async fn execute_batch(
        &self,
        request: ExecuteBatchRequest,
        caller: Caller,
    ) -> Result<ExecuteBatchResponse> {
        let database = self.database_of(&caller, &request.database)?;
        let max_attempts = Some(request.max_attempts).filter(|max| *max > 0);
        let idempotent = request.options.as_ref().is_some_and(|options| options.idempotent);
        let limit = widen(self.response_limit);
        let batch = database.validate_batch(request, limit, &caller)?;
        let unit = match &batch.key {
            Some(_) => RetryUnit::Keyed,
            None if idempotent => RetryUnit::Idempotent,
            None => RetryUnit::Batch,
        };
        let attempts = database.retries.start(unit, max_attempts);
        database.count_transaction();
        let done = database.run_batch(batch, attempts).await;
        let Success { value, attempts } =
            done.map_err(|error| self.transaction_tokens.bind(&caller.identity, error))?;
        Ok(ExecuteBatchResponse { results: value.results, attempts, replayed: value.replayed })
    }
}

impl Database {
    /// Runs a batch until an attempt succeeds or an error is final.
    pub(super) async fn run_batch(
        &self,
        batch: Batch,
        attempts: Attempts<'_>,
    ) -> Result<Success<BatchResult>> {
        let applies = !batch.dry_run && !batch.mode.read_only;
        let outcome = if applies { Outcome::Applied } else { Outcome::NotApplied };
        let batch = Arc::new(batch);
        let strategy = Mutex::new(BatchStrategy::Pipelined);
        let attempt = || async {
            let current = *strategy.lock();
            let done = self.backend.execute_batch(Arc::clone(&batch), current).await;
            if done.as_ref().is_err_and(|error| error.kind() == ErrorKind::PlanChanged) {
                *strategy.lock() = BatchStrategy::Sequential;
            }
            done
        };
        let done = retry(&*self.backend, &batch.context, attempts, batch.deadline, attempt).await;
        let done = done.map_err(with_path_in_batch)?;
        // The backend has checked all but replayed results.
        let checked = batch.check_response(&done.value.results);
        checked.map(|()| done).map_err(|error| error.with_outcome(outcome))
    }

    fn validate_batch(
        &self,
        request: ExecuteBatchRequest,
        max_response: u64,
        caller: &Caller,
    ) -> Result<Batch> {
        self.check_batch_size(request.statements.len(), caller)?;
        let options = request.options.clone().unwrap_or_default();
        let transaction = request.transaction.unwrap_or_default();
        check_tag(&options.tag, "options.tag")?;
        let elsewhere = "the access mode of a batch is transaction.access_mode";
        let interactive = "this is for Transact; a batch has options.timeout";
        refuse_options(&[
            ("options.access_mode", options.access_mode != 0, elsewhere),
            ("transaction.idle_timeout", transaction.idle_timeout.is_some(), interactive),
            ("transaction.max_duration", transaction.max_duration.is_some(), interactive),
        ])?;
        refuse_result_options(
            &options,
            "the results of a batch are rows; use Query or StreamQuery",
        )?;
        let mode = transaction_mode(&transaction, "transaction")?;
        let timeout = positive(options.timeout, "options.timeout")?;
        let unstored =
            if request.dry_run { Some("dry_run") } else { mode.read_only.then_some("READ_ONLY") };
        let hash = || request_hash::of_batch(&request, &self.name);
        let field = "options.idempotency_key";
        let key = idempotency_key(caller, &options.idempotency_key, field, unstored, hash)?;
        let deadline = self.deadline(caller, timeout);
        let bounds = self.bounds(caller).lowered(&options);
        let statements = self.validate_batch_statements(request.statements)?;
        for (index, one) in statements.iter().enumerate() {
            self.check_session_state(&one.analysis, StatementPlace::Batch(index))?;
        }
        let context = self.context(caller, "ExecuteBatch", &options.tag);
        if let Some(first) = statements.first() {
            context.runs(&first.analysis.summary);
        }
        // Now that the line of audit can tell what is refused.
        let access_mode = "transaction.access_mode";
        caller.identity.policy.check_access_mode(mode.read_only, access_mode)?;
        let preamble = self.preamble(&options.settings, "options.settings", caller)?;
        Ok(Batch {
            statements,
            mode,
            key: request_hash::with_claims(key, preamble.claims.as_deref()),
            preamble,
            dry_run: request.dry_run,
            max_rows: bounds.rows,
            max_bytes: bounds.bytes,
            max_response,
            deadline,
            context,
        })
    }

    /// Checks the number of a batch's statements.
    pub(super) fn check_batch_size(&self, count: usize, caller: &Caller) -> Result<()> {
        let max = caller.identity.policy.max_batch(self.settings().max_batch);
        if (1..=max).contains(&count) {
            return Ok(());
        }
        let description = format!("a batch has 1 to {max} statements, not {count}");
        Err(Error::field(ErrorKind::InvalidParameter, "statements", description))
    }

    /// Validates the statements of a batch.
    pub(super) fn validate_batch_statements(
        &self,
        statements: Vec<proto::BatchStatement>,
    ) -> Result<Vec<BatchStatement>> {
        let statements = statements.into_iter().enumerate();
        statements.map(|(index, one)| self.validate_batch_statement(index, one)).collect()
    }

    fn validate_batch_statement(
        &self,
        index: usize,
        statement: proto::BatchStatement,
    ) -> Result<BatchStatement> {
        let proto::BatchStatement { sql, parameters, expect } = statement;
        let place = StatementPlace::Batch(index);
        let analysis = self.validate_statement(&sql, &parameters, place)?;
        let expect = match expect.map(|expect| expect.rows) {
            None => None,
            Some(Some(Rows::Exactly(count))) => Some(Expect::Exactly(count)),
            Some(Some(Rows::AtLeast(count))) => Some(Expect::AtLeast(count)),
            Some(Some(Rows::AtMost(count))) => Some(Expect::AtMost(count)),
            Some(None) => {
                let description = "none of exactly, at_least and at_most is set";
                return Err(place.error(ErrorKind::InvalidParameter, "expect", description));
            }
        };
        Ok(BatchStatement { sql, parameters, analysis, expect })
    }
}

/// Names a field by its path in the batch; backends name it by its path in the statement.
pub(super) fn with_path_in_batch(error: Error) -> Error {
    let Some(index) = error.failed_statement() else { return error };
    error.with_field(|path| match path.strip_prefix("statements[") {
        Some(_) => path.to_owned(),
        None => format!("statements[{index}].{path}"),
    })
}
